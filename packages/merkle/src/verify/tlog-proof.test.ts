import { errorCode, toBase64, utf8 } from '@cipherlog/core'
import { describe, expect, test } from 'vitest'
import { buildLog, keys, logKey, signedNote } from '../log.fixture.ts'
import { recursivePath } from '../recursive-twin.fixture.ts'
import { formatTlogProof, parseTlogProof, proofExtraBytesMax, type TlogProof, verifyTlogProof } from './tlog-proof.ts'

const log = buildLog(13)
const checkpoint = signedNote(log.checkpointAt(13))
const proof: TlogProof = { index: 5, proof: recursivePath(5, log.leaves), checkpoint }
const file = formatTlogProof(proof)

function codeOf(run: () => unknown): string | undefined {
  try {
    run()
    return 'ok'
  } catch (error) {
    return errorCode(error)
  }
}

describe('.tlog-proof', () => {
  test('is header, index, hashes, blank line, checkpoint verbatim', () => {
    expect(file).toBe(
      `c2sp.org/tlog-proof@v1\nindex 5\n${proof.proof.map((h) => toBase64(h) + '\n').join('')}\n${checkpoint}`,
    )
    expect(parseTlogProof(file)).toEqual(proof)
    expect(parseTlogProof(utf8(file))).toEqual(proof)
  })

  test('carries extra bytes in a line before the index', () => {
    const extra = utf8('age-v1.2.1')
    const withExtra = formatTlogProof({ ...proof, extra })
    expect(withExtra.split('\n')[1]).toBe('extra YWdlLXYxLjIuMQ==')
    expect(parseTlogProof(withExtra)).toEqual({ ...proof, extra })
  })

  test('has no hash lines for a tree of one leaf', () => {
    const note = signedNote(log.checkpointAt(1))
    const one = formatTlogProof({ index: 0, proof: [], checkpoint: note })
    expect(one).toBe(`c2sp.org/tlog-proof@v1\nindex 0\n\n${note}`)
    expect(verifyTlogProof(one, log.leaves[0]!, keys).checkpoint.size).toBe(1)
  })

  const rejected: Record<string, string> = {
    empty: '',
    'other-version': file.replace('@v1', '@v2'),
    'no-header': file.slice(file.indexOf('index')),
    'no-index': file.replace('index 5\n', ''),
    'index-twice': file.replace('index 5\n', 'index 5\nindex 5\n'),
    'leading-zero-index': file.replace('index 5', 'index 05'),
    'negative-index': file.replace('index 5', 'index -5'),
    'index-2^53': file.replace('index 5', 'index 9007199254740992'),
    'empty-extra': file.replace('index', 'extra \nindex'),
    'extra-after-index': file.replace('index 5\n', 'index 5\nextra AAAA\n'),
    'lenient-extra': file.replace('index', 'extra AAB\nindex'),
    'short-hash': formatTlogProof(proof).replace(toBase64(proof.proof[0]!), toBase64(new Uint8Array(31))),
    'no-blank-line': file.slice(0, file.indexOf('\n\n') + 1),
    'carriage-returns': file.replaceAll('\n', '\r\n'),
    'lone-surrogate': file + '\ud800',
  }
  test.each(Object.entries(rejected))('rejects %s', (_name, text) => {
    expect(codeOf(() => parseTlogProof(text))).toBe('ERR_DECODE_TLOG_PROOF')
  })

  test('rejects bytes that are not UTF-8, and a checkpoint that is no note', () => {
    expect(codeOf(() => parseTlogProof(new Uint8Array([0xff])))).toBe('ERR_DECODE_TLOG_PROOF')
    expect(codeOf(() => parseTlogProof(file.slice(0, -1)))).toBe('ERR_DECODE_NOTE')
    expect(codeOf(() => formatTlogProof({ ...proof, checkpoint: 'x' }))).toBe('ERR_DECODE_NOTE')
  })

  test('takes 63 hashes and 64 KiB of extra, and not one more', () => {
    const hash = new Uint8Array(32)
    const extra = new Uint8Array(proofExtraBytesMax)
    const largest = { extra, index: 5, proof: Array.from({ length: 63 }, () => hash), checkpoint }
    expect(parseTlogProof(formatTlogProof(largest)).proof).toHaveLength(63)
    expect(() => formatTlogProof({ ...largest, proof: [...largest.proof, hash] })).toThrow(RangeError)
    expect(() => formatTlogProof({ ...largest, extra: new Uint8Array(proofExtraBytesMax + 1) })).toThrow(RangeError)
    const tooMany = file.replace('index 5\n', 'index 5\n' + (toBase64(hash) + '\n').repeat(60))
    expect(codeOf(() => parseTlogProof(tooMany))).toBe('ERR_DECODE_LIMIT')
    const longExtra = toBase64(new Uint8Array(proofExtraBytesMax + 1))
    expect(codeOf(() => parseTlogProof(file.replace('index', `extra ${longExtra}\nindex`)))).toBe('ERR_DECODE_LIMIT')
    expect(codeOf(() => parseTlogProof('x'.repeat(1_000_000)))).toBe('ERR_DECODE_LIMIT')
    expect(codeOf(() => parseTlogProof(new Uint8Array(1_000_000)))).toBe('ERR_DECODE_LIMIT')
  })
})

describe('verifyTlogProof()', () => {
  test('proves the leaf under the size and root of the checkpoint inside', () => {
    const verified = verifyTlogProof(file, log.leaves[5]!, keys)
    expect(verified.index).toBe(5)
    expect(verified.checkpoint).toEqual(log.checkpointAt(13))
    expect(verified.cosignatures).toHaveLength(3)
    expect(verifyTlogProof(proof, log.leaves[5]!, keys).logSignatures).toEqual([{ key: logKey.key }])
  })

  test('rejects another leaf, another index and a checkpoint of another size', () => {
    expect(codeOf(() => verifyTlogProof(file, log.leaves[6]!, keys))).toBe('ERR_VERIFY_INCLUSION')
    expect(codeOf(() => verifyTlogProof({ ...proof, index: 4 }, log.leaves[5]!, keys))).toBe('ERR_VERIFY_INCLUSION')
    expect(codeOf(() => verifyTlogProof({ ...proof, index: 13 }, log.leaves[5]!, keys))).toBe('ERR_VERIFY_INCLUSION')
    for (const size of [6, 8, 12]) {
      const other = { ...proof, checkpoint: signedNote(log.checkpointAt(size)) }
      expect(codeOf(() => verifyTlogProof(other, log.leaves[5]!, keys))).toBe('ERR_VERIFY_INCLUSION')
    }
  })

  test('says nothing about a leaf before the checkpoint’s signatures hold', () => {
    const forged = checkpoint.replace('\n13\n', '\n14\n')
    expect(codeOf(() => verifyTlogProof({ ...proof, checkpoint: forged }, log.leaves[5]!, keys))).toBe(
      'ERR_VERIFY_NOTE_SIGNATURE',
    )
    expect(codeOf(() => verifyTlogProof(file, log.leaves[5]!, { log: [], cosigners: [] }))).toBe(
      'ERR_VERIFY_NOTE_UNSIGNED',
    )
  })
})

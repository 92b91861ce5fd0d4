import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { crc32 } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { errorCode, fromHex, toHex, utf8, writeU32 } from '@cipherlog/core'
import {
  decodeWalSegmentHeader,
  encodeWalSegmentHeader,
  readWalRecordHeader,
  type WalRecordHeader,
  walMagic,
  walPayloadBytesMax,
  walRecordBytes,
  walRecordHeaderBytes,
  walRefsMagic,
  walSegmentHeaderBytes,
  writeWalRecord,
  writeWalRecordHeader,
} from './wal-record.ts'

const payload = utf8('sealed')
const example: WalRecordHeader = {
  bytes: payload.length,
  kind: 1,
  entryKind: 3,
  endOfBatch: true,
  sequence: 4,
  group: new Uint8Array(16),
  term: 7,
  index: 5,
  time: 1_700_000_000_000,
  fencingTerm: 7,
  fencingFlush: 2,
  digest: new Uint8Array(createHash('sha256').update(payload).digest()),
}

function record(header: WalRecordHeader = example, bytes: Uint8Array = payload): Uint8Array {
  const out = new Uint8Array(walRecordBytes(bytes.length))
  writeWalRecord(out, 0, header, bytes)
  return out
}

function codeOf(action: () => unknown): string | undefined {
  try {
    action()
  } catch (error) {
    return errorCode(error) ?? (error as Error).name
  }
  return undefined
}

/** Sets bytes of a header and repairs its CRC-32: what a faulty writer would leave. */
function forged(at: number, ...bytes: number[]): Uint8Array {
  const out = record()
  out.set(bytes, at)
  writeU32(out, 96, crc32(out.subarray(0, 96)))
  return out
}

describe('WAL record', () => {
  it('round-trips its header and has the bytes of docs/formats/wal.md', () => {
    const bytes = record()
    expect(readWalRecordHeader(bytes, 0)).toEqual(example)
    const page = readFileSync(new URL('../../../docs/formats/wal.md', import.meta.url), 'utf8')
    const listing = /```hex record\n([^`]*)```/
      .exec(page)![1]!
      .replace(/ {2}.*$/gm, '')
      .replace(/\s/g, '')
    expect(listing).toBe(toHex(bytes))
  })

  it('notices every single bit flip in the header and in the payload', () => {
    const bytes = record()
    for (let bit = 0; bit < 8 * bytes.length; bit++) {
      const flipped = bytes.slice()
      flipped[bit >> 3]! ^= 1 << (bit & 7)
      if (bit < 8 * walRecordHeaderBytes) {
        expect(codeOf(() => readWalRecordHeader(flipped, 0))).toBe('ERR_DECODE_CHECKSUM')
      } else {
        const body = flipped.subarray(walRecordHeaderBytes, -4)
        expect(crc32(body)).not.toBe(Buffer.from(flipped).readUInt32BE(flipped.length - 4))
      }
    }
  })

  it('refuses a truncated header, unknown kinds and flags, and an entry without a kind', () => {
    expect(codeOf(() => readWalRecordHeader(record().subarray(0, walRecordHeaderBytes - 1), 0))).toBe(
      'ERR_DECODE_TRUNCATED',
    )
    expect(codeOf(() => readWalRecordHeader(forged(4, 5), 0))).toBe('ERR_DECODE_VALUE')
    expect(codeOf(() => readWalRecordHeader(forged(5, 2), 0))).toBe('ERR_DECODE_VALUE')
    expect(codeOf(() => readWalRecordHeader(forged(6, 0, 0), 0))).toBe('ERR_DECODE_VALUE')
    expect(codeOf(() => readWalRecordHeader(forged(4, 2), 0))).toBe('ERR_DECODE_VALUE')
    expect(codeOf(() => readWalRecordHeader(forged(8, 0xff), 0))).toBe('ERR_DECODE_LIMIT')
  })

  it('takes a payload at the limit and refuses one byte more, on both sides', () => {
    const out = new Uint8Array(walRecordHeaderBytes)
    writeWalRecordHeader(out, 0, { ...example, bytes: walPayloadBytesMax })
    expect(readWalRecordHeader(out, 0).bytes).toBe(walPayloadBytesMax)
    expect(() => writeWalRecordHeader(out, 0, { ...example, bytes: walPayloadBytesMax + 1 })).toThrow(RangeError)
    const above = new Uint8Array(4)
    writeU32(above, 0, walPayloadBytesMax + 1)
    expect(codeOf(() => readWalRecordHeader(forged(0, ...above), 0))).toBe('ERR_DECODE_LIMIT')
  })

  it('refuses to write fields that do not fit', () => {
    const out = new Uint8Array(walRecordHeaderBytes)
    for (const bad of [
      { fencingTerm: 2 ** 32 },
      { fencingFlush: -1 },
      { term: 2 ** 53 },
      { index: 0.5 },
      { entryKind: 65_536 },
      { entryKind: 0 },
      { group: new Uint8Array(15) },
      { digest: new Uint8Array(31) },
    ]) {
      expect(() => writeWalRecordHeader(out, 0, { ...example, ...bad })).toThrow(RangeError)
    }
    expect(() => record(example, utf8('short'))).toThrow(RangeError)
  })
})

describe('WAL segment header', () => {
  const header = {
    magic: walMagic,
    cluster: fromHex('11'.repeat(32)),
    peerId: fromHex('22'.repeat(16)),
    firstSequence: 65_536,
  }

  it('round-trips', () => {
    const bytes = encodeWalSegmentHeader(header)
    expect(bytes.length).toBe(walSegmentHeaderBytes)
    expect(decodeWalSegmentHeader(bytes, walMagic)).toEqual(header)
  })

  it('notices every single bit flip', () => {
    const bytes = encodeWalSegmentHeader(header)
    for (let bit = 0; bit < 8 * bytes.length; bit++) {
      const flipped = bytes.slice()
      flipped[bit >> 3]! ^= 1 << (bit & 7)
      expect(codeOf(() => decodeWalSegmentHeader(flipped, walMagic))).toBe('ERR_DECODE_CHECKSUM')
    }
  })

  it('refuses the other magic, another version, filled reserved bytes, and short input', () => {
    const bytes = encodeWalSegmentHeader(header)
    expect(codeOf(() => decodeWalSegmentHeader(bytes, walRefsMagic))).toBe('ERR_DECODE_VERSION')
    expect(codeOf(() => decodeWalSegmentHeader(bytes.subarray(0, 511), walMagic))).toBe('ERR_DECODE_TRUNCATED')
    for (const [at, code] of [
      [7, 'ERR_DECODE_VERSION'],
      [64, 'ERR_DECODE_VALUE'],
    ] as const) {
      const changed = bytes.slice()
      changed[at]! ^= 1
      writeU32(changed, 508, crc32(changed.subarray(0, 508)))
      expect(codeOf(() => decodeWalSegmentHeader(changed, walMagic))).toBe(code)
    }
  })
})

import { errorCode, fromHex, toBase64 } from '@cipherlog/core'
import { describe, expect, test } from 'vitest'
import { formatCheckpoint, parseCheckpoint } from './checkpoint.ts'
import { emptyRoot } from './hashing.ts'

const root = 'mc4xUCfq5dV11oyKFdoBQFQAAZdXIIQ0anyhZ1zHCtk='
const golden = `golden.example/log\n4\n${root}\n`
const rootHash = fromHex('99ce315027eae5d575d68c8a15da014054000197572084346a7ca1675cc70ad9')

describe('parseCheckpoint()', () => {
  test('reads the golden checkpoint', () => {
    expect(parseCheckpoint(golden)).toEqual({ origin: 'golden.example/log', size: 4, rootHash })
    expect(formatCheckpoint(parseCheckpoint(golden))).toBe(golden)
  })

  test('keeps extension lines, and origins with spaces as the Go checksum database has', () => {
    const text = `go.sum database tree\n4\n${root}\none\ntwo\n`
    expect(parseCheckpoint(text)).toEqual({
      origin: 'go.sum database tree',
      size: 4,
      rootHash,
      extensions: ['one', 'two'],
    })
    expect(formatCheckpoint(parseCheckpoint(text))).toBe(text)
  })

  test('reads the empty tree with its one root', () => {
    const text = `a\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n`
    expect(parseCheckpoint(text).rootHash).toEqual(emptyRoot)
    expect(formatCheckpoint({ origin: 'a', size: 0, rootHash: emptyRoot })).toBe(text)
  })

  test('reads sizes up to 2^53-1', () => {
    const size = Number.MAX_SAFE_INTEGER
    expect(parseCheckpoint(`a\n${size}\n${root}\n`).size).toBe(size)
  })

  const rejected: Record<string, string> = {
    empty: '',
    'newline-only': '\n',
    'two-lines': 'a\n4\n',
    'no-final-newline': golden.slice(0, -1),
    'empty-origin': `\n4\n${root}\n`,
    'empty-size': `a\n\n${root}\n`,
    'empty-root': 'a\n4\n\n',
    'leading-zero': `a\n04\n${root}\n`,
    'zero-zero': `a\n00\n${root}\n`,
    'plus-sign': `a\n+4\n${root}\n`,
    'minus-sign': `a\n-4\n${root}\n`,
    'space-before-size': `a\n 4\n${root}\n`,
    'hex-size': `a\n0x4\n${root}\n`,
    'exponent-size': `a\n4e1\n${root}\n`,
    'fractional-size': `a\n4.0\n${root}\n`,
    'arabic-digits': `a\n\u0664\n${root}\n`,
    'size-2^53': `a\n9007199254740992\n${root}\n`,
    'size-2^64': `a\n18446744073709551616\n${root}\n`,
    'endless-size': `a\n${'1'.repeat(1000)}\n${root}\n`,
    'short-root': `a\n4\n${toBase64(new Uint8Array(31))}\n`,
    'long-root': `a\n4\n${toBase64(new Uint8Array(33))}\n`,
    'unpadded-root': `a\n4\n${root.slice(0, -1)}\n`,
    'stray-bits-in-root': `a\n4\n${root.replace('tk=', 'tl=')}\n`,
    'space-after-root': `a\n4\n${root} \n`,
    'empty-extension': `a\n4\n${root}\n\n`,
    'empty-extension-between': `a\n4\n${root}\none\n\ntwo\n`,
    'carriage-returns': golden.replaceAll('\n', '\r\n'),
    'root-of-leaves-at-size-zero': `a\n0\n${root}\n`,
    'lone-surrogate': `a\ud800\n4\n${root}\n`,
  }
  test.each(Object.entries(rejected))('rejects %s', (_name, text) => {
    let code: string | undefined
    try {
      parseCheckpoint(text)
    } catch (error) {
      code = errorCode(error)
    }
    expect(code).toBe('ERR_DECODE_CHECKPOINT')
  })

  test('formatCheckpoint() refuses what it could not read back', () => {
    const checkpoint = { origin: 'a', size: 4, rootHash }
    expect(() => formatCheckpoint({ ...checkpoint, origin: '' })).toThrow(RangeError)
    expect(() => formatCheckpoint({ ...checkpoint, origin: 'a\nb' })).toThrow(RangeError)
    expect(() => formatCheckpoint({ ...checkpoint, size: -1 })).toThrow(RangeError)
    expect(() => formatCheckpoint({ ...checkpoint, size: 2 ** 53 })).toThrow(RangeError)
    expect(() => formatCheckpoint({ ...checkpoint, size: 0 })).toThrow(RangeError)
    expect(() => formatCheckpoint({ ...checkpoint, rootHash: rootHash.subarray(1) })).toThrow(RangeError)
    expect(() => formatCheckpoint({ ...checkpoint, extensions: [''] })).toThrow(RangeError)
    expect(() => formatCheckpoint({ ...checkpoint, extensions: ['a\n\nb'] })).toThrow(RangeError)
  })
})

import { describe, expect, it } from 'vitest'
import {
  bigintToBytes,
  bytesToBigint,
  compareBytes,
  concatBytes,
  equalBytes,
  fromBase64,
  fromHex,
  plainBytes,
  readU32,
  readU64,
  toBase64,
  toHex,
  utf8,
  utf8ToString,
  writeU32,
  writeU64,
} from './bytes.ts'
import { errorCode } from './errors.ts'

/** The stable code of what `run` throws. */
function codeOf(run: () => unknown): string | undefined {
  try {
    run()
  } catch (error) {
    return errorCode(error) ?? String(error)
  }
  return undefined
}

const allBytes = Uint8Array.from({ length: 256 }, (_, i) => i)

describe('comparison and concatenation', () => {
  it('equalBytes() tells content and length apart', () => {
    expect(equalBytes(Uint8Array.of(1, 2), Uint8Array.of(1, 2))).toBe(true)
    expect(equalBytes(Uint8Array.of(1, 2), Uint8Array.of(1, 3))).toBe(false)
    expect(equalBytes(Uint8Array.of(1, 2), Uint8Array.of(1, 2, 0))).toBe(false)
  })

  it('compareBytes() orders by byte, then by length', () => {
    const sorted = [[], [0], [0, 0], [0, 255], [1], [10], [9, 9], [255]].map((list) => Uint8Array.from(list))
    const shuffled = [...sorted].reverse()
    expect(shuffled.sort(compareBytes).map(toHex)).toEqual(['', '00', '0000', '00ff', '01', '0909', '0a', 'ff'])
    for (const bytes of sorted) expect(compareBytes(bytes, bytes.slice())).toBe(0)
  })

  it('concatBytes() returns a fresh array', () => {
    const only = Uint8Array.of(1, 2)
    const joined = concatBytes(only)
    joined[0] = 9
    expect(only[0]).toBe(1)
    expect(concatBytes()).toEqual(new Uint8Array(0))
    expect(concatBytes(Uint8Array.of(1), Uint8Array.of(), Uint8Array.of(2, 3))).toEqual(Uint8Array.of(1, 2, 3))
  })

  it('plainBytes() strips the Buffer class over the same memory', () => {
    const buffer = Buffer.from('pooled')
    const plain = plainBytes(buffer)
    expect(plain.constructor).toBe(Uint8Array)
    expect(plain).toEqual(utf8('pooled'))
    buffer[0] = 0x50
    expect(plain[0]).toBe(0x50)
    expect(plainBytes(plain)).toBe(plain)
  })
})

describe('text encodings', () => {
  it('hex and base64 round-trip every byte and every padding', () => {
    for (let length = 0; length <= 256; length++) {
      const bytes = allBytes.subarray(0, length)
      expect(toHex(bytes)).toBe(Buffer.from(bytes).toString('hex'))
      expect(toBase64(bytes)).toBe(Buffer.from(bytes).toString('base64'))
      expect(fromHex(toHex(bytes))).toEqual(bytes)
      expect(fromBase64(toBase64(bytes))).toEqual(bytes)
    }
    const long = new Uint8Array(100_000).fill(0xa5)
    expect(fromBase64(toBase64(long))).toEqual(long)
  })

  it.each(['0', '0g', 'AA', ' 00', '00 ', '0x00', '00\n'])('fromHex() refuses %j', (text) => {
    expect(codeOf(() => fromHex(text))).toBe('ERR_DECODE_VALUE')
  })

  it.each(['A', 'AA', 'AAA', 'AA=', 'AB==', 'AAB=', 'AA==AA==', 'AA==\n', ' AA==', 'A-_=', '====', 'A===', '='])(
    'fromBase64() refuses %j',
    (text) => {
      expect(codeOf(() => fromBase64(text))).toBe('ERR_DECODE_VALUE')
    },
  )

  it.each(['80', 'c080', 'eda080', 'f4908080', 'e282', 'ff'])('utf8ToString() refuses %s', (hex) => {
    expect(codeOf(() => utf8ToString(fromHex(hex)))).toBe('ERR_DECODE_VALUE')
  })

  it('utf8ToString() keeps a byte order mark, so that text round-trips', () => {
    const text = '\ufeffünï€😀'
    expect(utf8ToString(utf8(text))).toBe(text)
  })
})

describe('integers', () => {
  it('32-bit integers are big-endian, at any offset', () => {
    for (const value of [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]) {
      const bytes = new Uint8Array(6).fill(0xee)
      writeU32(bytes, 1, value)
      expect(readU32(bytes, 1)).toBe(value)
      expect(toHex(bytes)).toBe('ee' + value.toString(16).padStart(8, '0') + 'ee')
    }
  })

  it('64-bit integers go up to 2^53-1 and are refused one past it', () => {
    for (const value of [0, 1, 0xffff_ffff, 0x1_0000_0000, Number.MAX_SAFE_INTEGER]) {
      const bytes = new Uint8Array(8)
      writeU64(bytes, 0, value)
      expect(readU64(bytes, 0)).toBe(value)
      expect(toHex(bytes)).toBe(value.toString(16).padStart(16, '0'))
    }
    expect(codeOf(() => readU64(fromHex('0020000000000000'), 0))).toBe('ERR_DECODE_LIMIT')
    expect(codeOf(() => readU64(fromHex('ffffffffffffffff'), 0))).toBe('ERR_DECODE_LIMIT')
  })

  it('bigints round-trip in the bytes they are given and are refused beyond', () => {
    expect(bigintToBytes(0x0102n, 4)).toEqual(Uint8Array.of(0, 0, 1, 2))
    expect(bigintToBytes(255n, 1)).toEqual(Uint8Array.of(255))
    expect(() => bigintToBytes(256n, 1)).toThrow(RangeError)
    expect(() => bigintToBytes(-1n, 4)).toThrow(RangeError)
    expect(bytesToBigint(new Uint8Array(0))).toBe(0n)
    expect(bytesToBigint(bigintToBytes(2n ** 255n + 19n, 32))).toBe(2n ** 255n + 19n)
  })
})

import { describe, expect, it } from 'vitest'
import { fromHex, toHex } from './bytes.ts'
import { CborReader, CborWriter, majorType } from './cbor.ts'
import { DecodeError } from './errors.ts'

function written(write: (writer: CborWriter) => void): string {
  const writer = new CborWriter(1)
  write(writer)
  return toHex(writer.finish())
}

/** The code of the DecodeError that `read` throws; anything else thrown fails the test. */
function refusal(hex: string, read: (reader: CborReader) => unknown): string | undefined {
  try {
    read(new CborReader(fromHex(hex)))
  } catch (error) {
    expect(error).toBeInstanceOf(DecodeError)
    return (error as DecodeError).code
  }
  return undefined
}

const uint = (reader: CborReader) => reader.uint(Number.MAX_SAFE_INTEGER)

// RFC 8949 appendix A, as far as this profile goes.
const integers: readonly [number, string][] = [
  [0, '00'],
  [1, '01'],
  [10, '0a'],
  [23, '17'],
  [24, '1818'],
  [25, '1819'],
  [100, '1864'],
  [255, '18ff'],
  [256, '190100'],
  [1000, '1903e8'],
  [65_535, '19ffff'],
  [65_536, '1a00010000'],
  [1_000_000, '1a000f4240'],
  [4_294_967_295, '1affffffff'],
  [4_294_967_296, '1b0000000100000000'],
  [1_000_000_000_000, '1b000000e8d4a51000'],
  [Number.MAX_SAFE_INTEGER, '1b001fffffffffffff'],
]

describe('unsigned integers (RFC 8949 §3, appendix A)', () => {
  it.each(integers)('%d is %s, both ways', (value, hex) => {
    expect(written((writer) => writer.uint(value))).toBe(hex)
    expect(uint(new CborReader(fromHex(hex)))).toBe(value)
  })

  it.each([-1, 0.5, NaN, Infinity, 2 ** 53])('the writer refuses %d', (value) => {
    expect(() => new CborWriter().uint(value)).toThrow(RangeError)
  })

  it('the reader refuses 2^53 and everything above it', () => {
    expect(refusal('1b0020000000000000', uint)).toBe('ERR_DECODE_LIMIT')
    expect(refusal('1b0020000000000001', uint)).toBe('ERR_DECODE_LIMIT')
    expect(refusal('1bffffffffffffffff', uint)).toBe('ERR_DECODE_LIMIT')
  })

  it.each(['1800', '1817', '190000', '1900ff', '1a00000000', '1a0000ffff', '1b0000000000000000', '1b00000000ffffffff'])(
    'a longer form is refused: %s',
    (hex) => {
      expect(refusal(hex, uint)).toBe('ERR_DECODE_NOT_CANONICAL')
    },
  )

  it('reserved and indefinite lengths are refused in every major type', () => {
    for (let major = 0; major < 8; major++) {
      for (const info of [28, 29, 30, 31]) {
        const hex = toHex(Uint8Array.of((major << 5) | info, 0, 0, 0, 0, 0, 0, 0, 0))
        expect(refusal(hex, (reader) => reader.head(major))).toBe('ERR_DECODE_NOT_CANONICAL')
      }
    }
  })

  it('every integer is refused when cut anywhere', () => {
    for (const [, hex] of integers) {
      for (let length = 0; length < hex.length; length += 2) {
        expect(refusal(hex.slice(0, length), uint)).toBe('ERR_DECODE_TRUNCATED')
      }
    }
  })

  it('a limit holds at the bound and one past it', () => {
    expect(new CborReader(fromHex('1864')).uint(100)).toBe(100)
    expect(refusal('1865', (reader) => reader.uint(100))).toBe('ERR_DECODE_LIMIT')
  })
})

describe('strings, arrays, booleans', () => {
  it('byte strings keep their length bounds, at the bound and one past it', () => {
    const read = (reader: CborReader) => reader.bytes(2, 3)
    expect(refusal('4101', read)).toBe('ERR_DECODE_LIMIT')
    expect(toHex(read(new CborReader(fromHex('420102'))))).toBe('0102')
    expect(toHex(read(new CborReader(fromHex('43010203'))))).toBe('010203')
    expect(refusal('4401020304', read)).toBe('ERR_DECODE_LIMIT')
  })

  it('a length beyond the input is refused before anything is allocated', () => {
    expect(refusal('5b001fffffffffffff', (reader) => reader.bytes(0, Number.MAX_SAFE_INTEGER))).toBe(
      'ERR_DECODE_TRUNCATED',
    )
    expect(refusal('7affffffff61', (reader) => reader.text(Number.MAX_SAFE_INTEGER))).toBe('ERR_DECODE_TRUNCATED')
  })

  it('byte strings are views of the plain class, also when the input is a Buffer', () => {
    const input = Buffer.from('43010203', 'hex')
    const view = new CborReader(input).bytes(0, 3)
    expect(view.constructor).toBe(Uint8Array)
    input[1] = 9
    expect(view[0]).toBe(9)
  })

  it.each(['', 'a', 'IETF', '"\\', 'ü', '水', '𐅑', '\ufeffx', 'plain, then ü'])('text %j round-trips', (value) => {
    const hex = written((writer) => writer.text(value))
    expect(new CborReader(fromHex(hex)).text(100)).toBe(value)
    expect(hex.endsWith(Buffer.from(value).toString('hex'))).toBe(true)
  })

  it('text bounds count bytes of UTF-8, at the bound and one past it', () => {
    for (const value of ['abcd', 'üü', '𐅑']) {
      const hex = written((writer) => writer.text(value, 4))
      expect(new CborReader(fromHex(hex)).text(4)).toBe(value)
      expect(refusal(hex, (reader) => reader.text(3))).toBe('ERR_DECODE_LIMIT')
      expect(() => new CborWriter().text(value, 3)).toThrow(RangeError)
    }
  })

  it('text that is not UTF-8 is refused on reading, a lone surrogate on writing', () => {
    expect(refusal('62c328', (reader) => reader.text(10))).toBe('ERR_DECODE_VALUE')
    expect(refusal('63eda080', (reader) => reader.text(10))).toBe('ERR_DECODE_VALUE')
    expect(() => new CborWriter().text('a\ud800')).toThrow(TypeError)
  })

  it('booleans are f4 and f5 and nothing else is one', () => {
    expect(written((writer) => writer.boolean(false))).toBe('f4')
    expect(written((writer) => writer.boolean(true))).toBe('f5')
    expect(new CborReader(fromHex('f5')).boolean()).toBe(true)
    expect(new CborReader(fromHex('f4')).boolean()).toBe(false)
    for (const hex of ['f6', 'f7', 'e0', 'f3']) {
      expect(refusal(hex, (reader) => reader.boolean())).toBe('ERR_DECODE_TYPE')
    }
    expect(refusal('f814', (reader) => reader.boolean())).toBe('ERR_DECODE_NOT_CANONICAL')
    expect(refusal('f97e00', (reader) => reader.boolean())).toBe('ERR_DECODE_TYPE')
    expect(refusal('01', (reader) => reader.boolean())).toBe('ERR_DECODE_TYPE')
  })

  it('array lengths keep their bounds, at the bound and one past it', () => {
    const read = (reader: CborReader) => reader.array(1, 2)
    expect(refusal('80', read)).toBe('ERR_DECODE_LIMIT')
    expect(read(new CborReader(fromHex('81')))).toBe(1)
    expect(read(new CborReader(fromHex('82')))).toBe(2)
    expect(refusal('83', read)).toBe('ERR_DECODE_LIMIT')
  })

  it('every major type is refused where another one is expected', () => {
    const expected = [majorType.uint, majorType.bytes, majorType.text, majorType.array, majorType.map, majorType.simple]
    for (const major of expected) {
      for (let found = 0; found < 8; found++) {
        const code = refusal(toHex(Uint8Array.of(found << 5)), (reader) => reader.head(major))
        expect(code).toBe(found === major ? undefined : 'ERR_DECODE_TYPE')
      }
    }
  })
})

describe('the writer', () => {
  it('grows from any size and is empty after finish() and reset()', () => {
    const writer = new CborWriter(1)
    const long = new Uint8Array(10_000).fill(7)
    writer.bytes(long)
    const first = writer.finish()
    expect(toHex(first.subarray(0, 3))).toBe('592710')
    expect(first.subarray(3)).toEqual(long)
    writer.uint(1)
    writer.reset()
    writer.uint(2)
    expect(toHex(writer.finish())).toBe('02')
    expect(writer.finish()).toEqual(new Uint8Array(0))
  })

  it('a map opened before counting takes 23 fields and not one more', () => {
    const filled = (fields: number) =>
      written((writer) => {
        const start = writer.beginMap()
        for (let i = 0; i < fields; i++) {
          writer.uint(i)
          writer.boolean(true)
        }
        writer.endMap(start, fields)
      })
    expect(filled(0)).toBe('a0')
    expect(filled(23).startsWith('b700f501f5')).toBe(true)
    expect(() => filled(24)).toThrow(RangeError)
  })

  it('refuses values of the wrong JavaScript type instead of writing something else', () => {
    const loose = new CborWriter() as unknown as Record<'bytes' | 'text' | 'boolean' | 'uint', (value: unknown) => void>
    expect(() => loose.bytes([1, 2])).toThrow(TypeError)
    expect(() => loose.bytes(Uint16Array.of(1, 2))).toThrow(TypeError)
    expect(() => loose.text(5)).toThrow(TypeError)
    expect(() => loose.boolean('no')).toThrow(TypeError)
    expect(() => loose.uint('5')).toThrow(RangeError)
    expect(() => loose.uint(5n)).toThrow(RangeError)
  })
})

describe('the reader', () => {
  it('end() refuses what follows the value and says how much', () => {
    const reader = new CborReader(fromHex('0000'))
    reader.uint(0)
    expect(() => reader.end()).toThrow(/1 bytes follow/)
    reader.uint(0)
    reader.end()
  })

  it('a failure carries the path and the byte', () => {
    const reader = new CborReader(fromHex('00ff'))
    reader.path.push('bundle', 'heads')
    reader.uint(0)
    let thrown: unknown
    try {
      reader.boolean()
    } catch (error) {
      thrown = error
    }
    expect(thrown).toMatchObject({ code: 'ERR_DECODE_NOT_CANONICAL', details: { path: ['bundle', 'heads'], at: 1 } })
    expect((thrown as Error).message).toContain('bundle.heads')
  })
})

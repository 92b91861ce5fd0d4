import { describe, expect, expectTypeOf, it } from 'vitest'
import { fromHex, toHex } from './bytes.ts'
import {
  array,
  boolean,
  bytes,
  choice,
  constant,
  decode,
  encode,
  enumeration,
  named,
  record,
  refine,
  text,
  tuple,
  uint,
  type Codec,
  type TypeOf,
} from './codec.ts'
import { DecodeError } from './errors.ts'

const point = record(
  'point',
  { version: [0, constant(1)], x: [1, uint(100, 10)], name: [3, text(4, /^[a-z]*$/)] },
  { tags: [2, array(bytes(1, 2), 2, 1)], hidden: [24, boolean()] },
)
const shape = choice('shape', {
  dot: [1, record('dot', { at: [1, point] })],
  gap: [300, record('gap', {}, { width: [1, uint()] })],
})

/** The DecodeError that decoding `hex` throws; anything else thrown fails the test. */
function refused<T>(codec: Codec<T>, hex: string): DecodeError {
  let value: unknown
  try {
    value = decode(codec, fromHex(hex))
  } catch (error) {
    expect(error).toBeInstanceOf(DecodeError)
    return error as DecodeError
  }
  throw new Error(`accepted ${hex} as ${JSON.stringify(value)}`)
}
const refusal = <T>(codec: Codec<T>, hex: string) => refused(codec, hex).code

describe('records', () => {
  const minimal = { version: 1 as const, x: 10, name: 'ab' }
  const full = { ...minimal, tags: [Uint8Array.of(1), Uint8Array.of(2, 3)], hidden: true }

  it('are maps with ascending integer keys, absent fields left out', () => {
    expect(toHex(encode(point, minimal))).toBe('a30001010a03626162')
    expect(toHex(encode(point, full))).toBe('a50001010a0282410142020303626162' + '1818f5')
    expect(decode(point, encode(point, full))).toStrictEqual(full)
    expect(decode(point, encode(point, minimal))).toStrictEqual(minimal)
    expect(encode(point, { ...minimal, hidden: undefined })).toEqual(encode(point, minimal))
  })

  it('have the type that their declaration says', () => {
    expectTypeOf<TypeOf<typeof point>>().toEqualTypeOf<{
      version: 1
      x: number
      name: string
      tags?: Uint8Array[] | undefined
      hidden?: boolean | undefined
    }>()
  })

  it.each([
    ['swapped keys', 'a3010a000103626162', 'ERR_DECODE_NOT_CANONICAL'],
    ['a repeated key', 'a400010001010a03626162', 'ERR_DECODE_NOT_CANONICAL'],
    ['a key in a longer form', 'a3180001010a03626162', 'ERR_DECODE_NOT_CANONICAL'],
    ['a count in a longer form', 'b8030001010a03626162', 'ERR_DECODE_NOT_CANONICAL'],
    ['an unknown field between', 'a40001010a036261620400', 'ERR_DECODE_VALUE'],
    ['an unknown last field', 'a40001010a03626162181900', 'ERR_DECODE_VALUE'],
    ['a missing required field', 'a3000103626162' + '1818f5', 'ERR_DECODE_VALUE'],
    ['too few fields', 'a20001010a', 'ERR_DECODE_VALUE'],
    ['more fields than are known', 'a60001010a028142010203626162' + '1818f51819f5', 'ERR_DECODE_VALUE'],
    ['a huge count', 'bb001fffffffffffff0001010a036261621818f51818f5', 'ERR_DECODE_NOT_CANONICAL'],
    ['an unknown version', 'a30002010a03626162', 'ERR_DECODE_VERSION'],
    ['a text key', 'a3613001010a03626162', 'ERR_DECODE_TYPE'],
    ['null for an absent field', 'a40001010a02f603626162', 'ERR_DECODE_TYPE'],
    ['a byte after the end', 'a30001010a0362616200', 'ERR_DECODE_TRAILING'],
    ['a text that breaks its pattern', 'a30001010a03624142', 'ERR_DECODE_VALUE'],
    ['an integer below its limit', 'a30001010903626162', 'ERR_DECODE_LIMIT'],
    ['an integer above its limit', 'a3000101186503626162', 'ERR_DECODE_LIMIT'],
    ['a text above its limit', 'a30001010a03656162636465', 'ERR_DECODE_LIMIT'],
    ['an array below its limit', 'a40001010a028003626162', 'ERR_DECODE_LIMIT'],
    ['an array above its limit', 'a40001010a028341004100410003626162', 'ERR_DECODE_LIMIT'],
  ])('refuse %s', (_, hex, code) => {
    expect(refusal(point, hex)).toBe(code)
  })

  it('refuse a valid encoding cut anywhere', () => {
    const hex = toHex(encode(point, full))
    for (let length = 0; length < hex.length; length += 2) {
      expect(refusal(point, hex.slice(0, length))).toBe('ERR_DECODE_TRUNCATED')
    }
  })

  it('name the field that is wrong', () => {
    const error = refused(shape, '8201a101a30001010903626162')
    expect(error.details['path']).toEqual(['shape', 'dot', 'at', 'x'])
    expect(error.message).toContain('shape.dot.at.x')
  })

  it('refuse to encode a value outside their limits', () => {
    expect(() => encode(point, { ...minimal, x: 9 })).toThrow(RangeError)
    expect(() => encode(point, { ...minimal, x: 101 })).toThrow(RangeError)
    expect(() => encode(point, { ...minimal, name: 'abcde' })).toThrow(RangeError)
    expect(() => encode(point, { ...minimal, name: 'A' })).toThrow(RangeError)
    expect(() => encode(point, { ...minimal, tags: [] })).toThrow(RangeError)
    expect(() => encode(point, { ...minimal, version: 2 as 1 })).toThrow(RangeError)
    expect(() => encode(point, { version: 1, x: 10 } as TypeOf<typeof point>)).toThrow(/point.name is missing/)
  })

  it('are declared with distinct keys and names, and with at most 23 fields', () => {
    const fields = (count: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, i) => [`f${i}`, [i, uint()]]))
    expect(() => record('r', fields(23) as Record<string, [number, Codec<number>]>)).not.toThrow()
    expect(() => record('r', fields(24) as Record<string, [number, Codec<number>]>)).toThrow(TypeError)
    expect(() => record('r', { a: [1, uint()], b: [1, uint()] })).toThrow(TypeError)
    expect(() => record('r', { a: [1, uint()] }, { a: [2, uint()] })).toThrow(TypeError)
    expect(() => record('r', { a: [256, uint()] })).toThrow(TypeError)
    expect(() => record('r', { a: [0.5, uint()] })).toThrow(TypeError)
  })
})

describe('choices', () => {
  it('are [tag, record] and come back with their type', () => {
    const value: TypeOf<typeof shape> = { type: 'gap', width: 7 }
    expect(toHex(encode(shape, value))).toBe('8219012ca10107')
    expect(decode(shape, encode(shape, value))).toStrictEqual(value)
  })

  it.each([
    ['an unknown tag', '8202a0', 'ERR_DECODE_VALUE'],
    ['a missing record', '8101', 'ERR_DECODE_LIMIT'],
    ['a third item', '8319012ca000', 'ERR_DECODE_LIMIT'],
    ['a tag in a longer form', '821800a0', 'ERR_DECODE_NOT_CANONICAL'],
    ['the record of another case', '8201a10107', 'ERR_DECODE_TYPE'],
  ])('refuse %s', (_, hex, code) => {
    expect(refusal(shape, hex)).toBe(code)
  })

  it('refuse to encode an unknown type', () => {
    expect(() => encode(shape, { type: 'line' } as unknown as TypeOf<typeof shape>)).toThrow(TypeError)
  })

  it('are declared over records without a field "type", with distinct tags', () => {
    const empty = record(undefined, {})
    expect(() => choice('c', { a: [1, empty], b: [1, empty] })).toThrow(TypeError)
    expect(() => choice('c', { a: [1, uint()] })).toThrow(TypeError)
    expect(() => choice('c', { a: [1, record(undefined, { type: [1, uint()] })] })).toThrow(TypeError)
  })
})

describe('other codecs', () => {
  it('tuples have exactly their items', () => {
    const pair = tuple(uint(), bytes(1))
    expect(toHex(encode(pair, [5, Uint8Array.of(6)]))).toBe('82054106')
    expect(refusal(pair, '8105')).toBe('ERR_DECODE_LIMIT')
    expect(refusal(pair, '8305410600')).toBe('ERR_DECODE_LIMIT')
    expect(() => encode(pair, [5] as unknown as TypeOf<typeof pair>)).toThrow(RangeError)
  })

  it('enumerations take their numbers only', () => {
    const colour = enumeration({ red: 1, blue: 300 })
    expect(toHex(encode(colour, 300))).toBe('19012c')
    expect(decode(colour, fromHex('01'))).toBe(1)
    expect(refusal(colour, '02')).toBe('ERR_DECODE_VALUE')
    expect(() => encode(colour, 2 as 1)).toThrow(RangeError)
  })

  it('a refinement holds in both directions, and refinements add up', () => {
    const even = refine(uint(), (value) => (value % 2 === 0 ? undefined : 'odd'))
    const small = refine(even, (value) => (value < 10 ? undefined : 'large'))
    expect(decode(small, encode(small, 8))).toBe(8)
    expect(refusal(small, '07')).toBe('ERR_DECODE_VALUE')
    expect(refusal(small, '0a')).toBe('ERR_DECODE_VALUE')
    expect(() => encode(small, 7)).toThrow(RangeError)
    expect(() => encode(small, 10)).toThrow(RangeError)
    expect(small.check?.(7)).toBe('odd')
    expect(small.check?.(10)).toBe('large')
    expect(small.check?.(8)).toBeUndefined()
    expect(named('n', small).check?.(7)).toBe('odd')
  })

  it('named() changes the name in errors and nothing else', () => {
    const age = named('age', uint(9))
    expect(toHex(encode(age, 9))).toBe('09')
    expect(refused(age, '0a').details['path']).toEqual(['age'])
  })
})

describe('encode() and decode()', () => {
  it('decode() refuses input above bytesMax before reading it', () => {
    const blob = bytes(0, 100)
    expect(decode(blob, encode(blob, new Uint8Array(8)), 9)).toEqual(new Uint8Array(8))
    let thrown: unknown
    try {
      decode(blob, new Uint8Array(10), 9)
    } catch (error) {
      thrown = error
    }
    expect(thrown).toMatchObject({ name: 'DecodeError', code: 'ERR_DECODE_LIMIT' })
  })

  it('nesting deeper than the format is refused at its first item, however deep', () => {
    const nested = new Uint8Array(1_000_000).fill(0x81)
    expect(() => decode(array(array(uint(), 1), 1), nested)).toThrow(DecodeError)
    expect(refusal(point, 'a30081'.padEnd(2_000, '81'))).toBe('ERR_DECODE_TYPE')
  })

  it('an announced length costs nothing: 2^32 items in five bytes end at the first missing one', () => {
    const list = array(uint(), Number.MAX_SAFE_INTEGER)
    expect(refusal(list, '9affffffff')).toBe('ERR_DECODE_TRUNCATED')
  })

  it('encode() is clean again after a value it refused', () => {
    expect(() => encode(tuple(uint(), uint(9)), [1, 10])).toThrow(RangeError)
    expect(toHex(encode(uint(), 1))).toBe('01')
  })

  it('encode() may be called from within a check, and returns fresh bytes', () => {
    const inner = record('inner', { a: [1, uint()] })
    const outer = refine(array(inner, 4), (items) =>
      items.every((item) => encode(inner, item).length === 3) ? undefined : 'large',
    )
    const first = encode(tuple(text(2), outer), ['ab', [{ a: 1 }]])
    const copy = first.slice()
    encode(text(10), 'other')
    expect(first).toEqual(copy)
    expect(toHex(first)).toBe('8262616281a10101')
  })
})

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { encode as encodeAny } from 'cbor2'
import { checkedName, decodeContent, encodeContent, type Value } from './content.ts'

const value: fc.Arbitrary<Value> = fc.letrec<{ value: Value }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.constant(null),
    fc.boolean(),
    fc.integer(),
    fc.double({ noNaN: true }),
    fc.bigInt({ min: 2n ** 53n, max: 2n ** 64n - 1n }),
    fc.bigInt({ min: -(2n ** 64n), max: -(2n ** 53n) }),
    fc.string({ unit: 'grapheme' }),
    fc.uint8Array(),
    fc.array(tie('value'), { maxLength: 5 }),
    fc.dictionary(fc.string({ unit: 'grapheme' }), tie('value'), { maxKeys: 5, noNullPrototype: true }),
  ),
})).value

test('decodeContent() gives back what encodeContent() was given', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), value, (name, given) => {
      expect(decodeContent(encodeContent(name, given))).toEqual({ name, value: given })
    }),
  )
})

describe('encodeContent()', () => {
  test('an integer comes back as a number where a number can hold it', () => {
    expect(decodeContent(encodeContent('n', 5n)).value).toBe(5)
    expect(decodeContent(encodeContent('n', 2n ** 60n)).value).toBe(2n ** 60n)
  })

  test('a Buffer is sealed as the bytes it shows, not as the pool behind it', () => {
    const bytes = Buffer.from('hello').subarray(1, 3)
    expect(decodeContent(encodeContent('b', bytes)).value).toEqual(new Uint8Array([101, 108]))
  })

  test('the same content has the same bytes, whatever the order of an object', () => {
    expect(encodeContent('o', { b: 1, a: [2] })).toEqual(encodeContent('o', { a: [2], b: 1 }))
  })

  test('a property called __proto__ stays a property', () => {
    const given = JSON.parse('{"__proto__":{"polluted":true}}') as Value
    const { value: decoded } = decodeContent(encodeContent('p', given))
    expect(Object.keys(decoded as object)).toEqual(['__proto__'])
    expect((decoded as { polluted?: boolean }).polluted).toBeUndefined()
  })

  test.each<[string, unknown]>([
    ['undefined', undefined],
    ['undefined inside', { a: undefined }],
    ['a function', () => 1],
    ['a symbol', Symbol('s')],
    ['an instance of a class', new Date()],
    ['a map', new Map()],
    ['a lone surrogate', '\ud800'],
    ['a name with a lone surrogate', { '\ud800': 1 }],
  ])('refuses %s', (_what, given) => {
    expect(() => encodeContent('x', given as Value)).toThrow(TypeError)
  })

  test('refuses integers beyond 64 bits, and nesting beyond 64 levels, one past the bound', () => {
    expect(() => encodeContent('x', 2n ** 64n)).toThrow(RangeError)
    expect(() => encodeContent('x', -(2n ** 64n) - 1n)).toThrow(RangeError)
    const nested = (depth: number): Value => (depth === 0 ? 1 : [nested(depth - 1)])
    expect(decodeContent(encodeContent('x', nested(64))).value).toEqual(nested(64))
    expect(() => encodeContent('x', nested(65))).toThrow(RangeError)
  })
})

describe('decodeContent()', () => {
  test.each<[string, Uint8Array]>([
    ['nothing', new Uint8Array(0)],
    ['another array', encodeAny([1, 2])],
    ['three items', encodeAny(['a', 1, 2])],
    ['trailing bytes', new Uint8Array([...encodeAny(['a', 1]), 0])],
    ['an integer in a longer form', new Uint8Array([0x82, 0x61, 0x61, 0x18, 0x01])],
    ['an indefinite array', new Uint8Array([0x9f, 0x61, 0x61, 0x01, 0xff])],
    ['undefined', new Uint8Array([0x82, 0x61, 0x61, 0xf7])],
    ['a tag', new Uint8Array([0x82, 0x61, 0x61, 0xc1, 0x01])],
    ['a regular expression', new Uint8Array([0x82, 0x61, 0x61, 0xd8, 0x23, 0x61, 0x2e])],
    ['a map with a number for a name', new Uint8Array([0x82, 0x61, 0x61, 0xa1, 0x01, 0x01])],
    ['a map with a name twice', new Uint8Array([0x82, 0x61, 0x61, 0xa2, 0x61, 0x62, 0x01, 0x61, 0x62, 0x02])],
    ['a map out of order', new Uint8Array([0x82, 0x61, 0x61, 0xa2, 0x61, 0x63, 0x01, 0x61, 0x62, 0x02])],
    ['a nest of 10,000 arrays', new Uint8Array([0x82, 0x61, 0x61, ...new Array<number>(10_000).fill(0x81), 0x01])],
  ])('refuses %s', (_what, bytes) => {
    expect(() => decodeContent(bytes)).toThrow(expect.objectContaining({ code: 'ERR_DECODE_CONTENT' }))
  })
})

test('checkedName() takes 1 to 1,024 bytes of UTF-8', () => {
  expect(checkedName('é'.repeat(512))).toHaveLength(512)
  expect(() => checkedName('é'.repeat(512) + 'a')).toThrow(RangeError)
  expect(() => checkedName('')).toThrow(RangeError)
  expect(() => checkedName('\udc00')).toThrow(TypeError)
})

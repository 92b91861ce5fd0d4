import { describe, expect, test } from 'vitest'
import { amount, hexBytes, id, integer, numbers, oneOf, textOrJson } from './arguments.ts'

const usage = expect.objectContaining({ code: 'ERR_USAGE' }) as Error

describe('integer()', () => {
  const port = integer(1, 65_000)
  test('takes its bounds and nothing beyond', () => {
    expect([port('1'), port('65000')]).toEqual([1, 65_000])
    for (const text of ['0', '65001', '-1', '1.5', '1e3', '0x10', '', ' 7', '७'])
      expect(() => port(text)).toThrow(usage)
  })
})

describe('id()', () => {
  test('takes 32 lowercase hex digits', () => {
    expect(id('00112233445566778899aabbccddeeff', 'client')).toHaveLength(16)
    for (const text of ['', '00', 'A'.repeat(32), 'g'.repeat(32), '0'.repeat(33)]) {
      expect(() => id(text, 'client')).toThrow(usage)
    }
  })

  test('hexBytes() counts bytes', () => {
    expect(hexBytes('00ff', 2, '--key')).toEqual(new Uint8Array([0, 255]))
    expect(() => hexBytes('00ff', 3, '--key')).toThrow(usage)
  })
})

test('oneOf() names what may be chosen', () => {
  expect(oneOf('kv', ['kv', 'log'], 'machine')).toBe('kv')
  expect(() => oneOf('kw', ['kv', 'log'], 'machine')).toThrow('"kw" is not a machine; choose one of kv, log.')
})

describe('amount()', () => {
  test('is exact above 2^53', () => {
    expect(amount('18446744073709551615')).toBe(18446744073709551615n)
  })
  test.each(['-1', '1.5', '1_000', '0x10', '', '1n'])('refuses %j', (text) => {
    expect(() => amount(text)).toThrow(usage)
  })
})

describe('numbers()', () => {
  test('reads a vector', () => {
    expect(numbers('[1, -2, 3]')).toEqual([1, -2, 3])
  })
  test.each(['[]', '[1.5]', '["1"]', '{}', '[1,', '[9007199254740993]'])('refuses %s', (text) => {
    expect(() => numbers(text)).toThrow(usage)
  })
})

describe('textOrJson()', () => {
  test('takes JSON as JSON and everything else as text', () => {
    expect(textOrJson('{"total":1999}')).toEqual({ total: 1999 })
    expect(textOrJson('42')).toBe(42)
    expect(textOrJson('hello world')).toBe('hello world')
    expect(textOrJson('')).toBe('')
  })
  test.each(['9007199254740993', '{"a":[12345678901234567890]}'])('refuses %s, which JSON would round', (text) => {
    expect(() => textOrJson(text)).toThrow(usage)
  })
})

import { describe, expect, test } from 'vitest'
import { parseGrant } from './grants.ts'

describe('parseGrant()', () => {
  test('takes every operation where none is named', () => {
    expect(parseGrant('*').operations).toEqual(['envelope', 'put', 'delete', 'append', 'add'])
  })

  test('adds the envelope that sealed values need, once', () => {
    expect(parseGrant('orders/*:put')).toEqual({ namespaces: 'orders/*', operations: ['envelope', 'put'] })
    expect(parseGrant('orders:envelope,put').operations).toEqual(['envelope', 'put'])
    expect(parseGrant('revenue:add').operations).toEqual(['add'])
  })

  test.each(['', ':put', 'orders:', 'Orders', 'orders:put:add', 'orders:put,', 'orders:PUT', '**'])(
    'refuses %j',
    (text) => {
      expect(() => parseGrant(text)).toThrow(expect.objectContaining({ code: 'ERR_USAGE' }) as Error)
    },
  )
})

import { errorCode, fromHex, toHex, utf8 } from '@cipherlog/core'
import { describe, expect, test } from 'vitest'
import { formatEntryBundle, parseEntryBundle } from './entry-bundle.ts'
import { leafHash } from './hashing.ts'

function codeOf(bytes: Uint8Array): string | undefined {
  try {
    parseEntryBundle(bytes)
    return 'parsed'
  } catch (error) {
    return errorCode(error)
  }
}

describe('entry bundles', () => {
  test('are u16 big-endian length and bytes, an empty entry being 0000', () => {
    const bundle = formatEntryBundle([utf8('entry 0\n'), new Uint8Array(0)])
    expect(toHex(bundle)).toBe('0008' + '656e74727920300a' + '0000')
    expect(parseEntryBundle(bundle)).toEqual([utf8('entry 0\n'), new Uint8Array(0)])
    expect(toHex(leafHash(utf8('entry 0\n')))).toMatch(/^1621ce7d.*bc116791$/)
    expect(toHex(leafHash(new Uint8Array(0)))).toMatch(/^6e340b9c.*a01d$/)
  })

  test('take entries of 65,535 bytes and not one more', () => {
    const largest = new Uint8Array(65_535).fill(7)
    expect(parseEntryBundle(formatEntryBundle([largest]))).toEqual([largest])
    expect(() => formatEntryBundle([new Uint8Array(65_536)])).toThrow(RangeError)
  })

  test('take 1 to 256 entries', () => {
    const entries = Array.from({ length: 257 }, (_, i) => Uint8Array.of(i))
    expect(parseEntryBundle(formatEntryBundle(entries.slice(0, 256)))).toHaveLength(256)
    expect(() => formatEntryBundle(entries)).toThrow(RangeError)
    expect(() => formatEntryBundle([])).toThrow(RangeError)
    expect(codeOf(new Uint8Array(0))).toBe('ERR_DECODE_ENTRY_BUNDLE')
    expect(codeOf(new Uint8Array(2 * 256))).toBe('parsed')
    expect(codeOf(new Uint8Array(2 * 257))).toBe('ERR_DECODE_ENTRY_BUNDLE')
  })

  test.each(['00', '0001', '000200', '0001ff00', 'ffff00'])('refuse %s: it ends too early', (hex) => {
    expect(codeOf(fromHex(hex))).toBe('ERR_DECODE_ENTRY_BUNDLE')
  })

  test('of fewer leaves are prefixes of those of more', () => {
    const entries = ['a', 'bc', ''].map(utf8)
    const full = formatEntryBundle(entries)
    const partial = formatEntryBundle(entries.slice(0, 2))
    expect(full.subarray(0, partial.length)).toEqual(partial)
  })
})

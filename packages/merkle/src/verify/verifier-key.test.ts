import { errorCode, fromHex, toBase64, toHex, utf8 } from '@cipherlog/core'
import { describe, expect, test } from 'vitest'
import { cosignatureKeyType, ed25519KeyType, formatVkey, keyId, parseVkey } from './verifier-key.ts'

const example = 'example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k'
const publicKey = fromHex('e932791ae6e7a840a46164c904786426d5e7821dd8b29a00d61cae72afdd4da4')

describe('vkeys', () => {
  test('the published example.com/foo key, both ways', () => {
    const key = parseVkey(example)
    expect(key).toEqual({ name: 'example.com/foo', type: ed25519KeyType, publicKey })
    expect(keyId(key)).toBe('530d903a')
    expect(formatVkey(key)).toBe(example)
  })

  test('the type is part of the id', () => {
    const key = { name: 'example.com/foo', type: cosignatureKeyType, publicKey } as const
    expect(keyId(key)).not.toBe('530d903a')
    expect(parseVkey(formatVkey(key))).toEqual(key)
  })

  test('a key whose base64 contains a plus', () => {
    const key = { name: 'a', type: ed25519KeyType, publicKey: new Uint8Array(32).fill(0xfb) } as const
    expect(formatVkey(key).split('+').length).toBeGreaterThan(3)
    expect(parseVkey(formatVkey(key))).toEqual(key)
  })

  const base64Of = (type: number, length: number) => toBase64(new Uint8Array([type, ...publicKey.subarray(0, length)]))
  const rejected: Record<string, string> = {
    empty: '',
    'no-plus': 'example.com/foo',
    'one-plus': 'example.com/foo+530d903a',
    'empty-name': example.replace('example.com/foo', ''),
    'space-in-name': example.replace('example.com', 'example com'),
    'other-name': example.replace('foo', 'bar'),
    'other-id': example.replace('530d903a', '530d903b'),
    'upper-case-id': example.replace('530d903a', '530D903A'),
    'long-id': example.replace('530d903a', '0530d903a'),
    'no-key': 'example.com/foo+530d903a+',
    'lenient-base64': example.replace('U2k', 'U2l'),
    'trailing-newline': example + '\n',
    'short-key': `example.com/foo+530d903a+${base64Of(1, 31)}`,
    'ecdsa-type': `example.com/foo+530d903a+${base64Of(2, 32)}`,
    'ml-dsa-type': `example.com/foo+530d903a+${base64Of(6, 32)}`,
  }
  test.each(Object.entries(rejected))('rejects %s', (_name, text) => {
    let code: string | undefined
    try {
      parseVkey(text)
    } catch (error) {
      code = errorCode(error)
    }
    expect(code).toBe('ERR_DECODE_VKEY')
  })

  test('refuses to name or write what could not be read back', () => {
    expect(() => keyId({ name: 'a b', type: ed25519KeyType, publicKey })).toThrow(RangeError)
    expect(() => formatVkey({ name: 'a+b', type: ed25519KeyType, publicKey })).toThrow(RangeError)
    expect(() => formatVkey({ name: 'a', type: ed25519KeyType, publicKey: publicKey.subarray(1) })).toThrow(RangeError)
  })

  test('the id is that of the worked example in bytes', () => {
    expect(toHex(utf8('example.com/foo\n'))).toBe('6578616d706c652e636f6d2f666f6f0a')
  })
})

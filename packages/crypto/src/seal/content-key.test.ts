import { concatBytes, encode, fromHex, tuple, bytes, text, uint, utf8 } from '@cipherlog/core'
import { describe, expect, test } from 'vitest'
import { hmacSha256 } from '../hash/index.ts'
import { blindName, commitContentKey } from './index.ts'

const contentKey = new Uint8Array(32).fill(3)
const cluster = new Uint8Array(32).fill(4)
const client = new Uint8Array(16).fill(5)
const keyset = new Uint8Array(16).fill(6)
const nameKey = new Uint8Array(32).fill(7)

describe('commitContentKey()', () => {
  const input = { contentKey, cluster, client, keyset, keyEpoch: 3 }

  test('is HMAC(contentKey, label ‖ 00 ‖ CBOR array), an absent subject being empty bytes', () => {
    const array = tuple(bytes(32), bytes(16), bytes(16), uint(), bytes(0, 64))
    const cbor = encode(array, [cluster, client, keyset, 3, new Uint8Array(0)])
    const expected = hmacSha256(contentKey, concatBytes(utf8('cipherlog/v1/commit'), fromHex('00'), cbor))
    expect(commitContentKey(input)).toEqual(expected)
    expect(commitContentKey({ ...input, subject: new Uint8Array(0) })).toEqual(expected)
  })

  test('every input changes it', () => {
    const commits = [
      input,
      { ...input, contentKey: new Uint8Array(32) },
      { ...input, cluster: new Uint8Array(32) },
      { ...input, client: keyset },
      { ...input, keyset: client },
      { ...input, keyEpoch: 4 },
      { ...input, subject: utf8('person-7') },
    ].map((each) => Buffer.from(commitContentKey(each)).toString('hex'))
    expect(new Set(commits).size).toBe(commits.length)
  })

  test('a content key of another length is a RangeError', () => {
    expect(() => commitContentKey({ ...input, contentKey: new Uint8Array(31) })).toThrow(RangeError)
  })
})

describe('blindName()', () => {
  const input = { nameKey, nameKeyVersion: 2, cluster, namespace: 'orders', name: 'order-42' }

  test('is version ‖ HMAC(nameKey, label ‖ 00 ‖ CBOR [cluster, namespace, name]), 33 bytes', () => {
    const cbor = encode(tuple(bytes(32), text(128), text(1024)), [cluster, 'orders', 'order-42'])
    const mac = hmacSha256(nameKey, concatBytes(utf8('cipherlog/v1/name'), fromHex('00'), cbor))
    expect(blindName(input)).toEqual(concatBytes(Uint8Array.of(2), mac))
  })

  test('moving a character between namespace and name changes it', () => {
    expect(blindName({ ...input, namespace: 'orderso', name: 'rder-42' })).not.toEqual(blindName(input))
  })

  test('versions 0 and 255 are allowed, 256 and −1 are not', () => {
    expect(blindName({ ...input, nameKeyVersion: 255 })[0]).toBe(255)
    expect(blindName({ ...input, nameKeyVersion: 0 })[0]).toBe(0)
    for (const nameKeyVersion of [256, -1, 0.5])
      expect(() => blindName({ ...input, nameKeyVersion })).toThrow(RangeError)
    expect(() => blindName({ ...input, nameKey: new Uint8Array(16) })).toThrow(RangeError)
  })
})

import { bigintToBytes, concatBytes, errorCode, type Random, systemRandom, toHex, utf8 } from '@cipherlog/core'
import { ed25519 } from '@noble/curves/ed25519.js'
import { sha512 } from '@noble/hashes/sha2.js'
import { describe, expect, test } from 'vitest'
import { labels } from '../hash/index.ts'
import { BoundedCache } from './bounded-cache.ts'
import * as nodeTwin from './ed25519-node.ts'
import * as nobleTwin from './ed25519-noble.ts'
import * as index from './index.ts'

const { checkPublicKey, generateSigningKey, publicKeyOf, sign, signLabelled, verify, verifyLabelled } = index
const { Point } = ed25519
const L = Point.Fn.ORDER
const message = utf8('a message')

const littleEndian = (value: bigint) => bigintToBytes(value, 32).reverse()
const fromLittleEndian = (bytes: Uint8Array) => BigInt('0x' + toHex(bytes.slice().reverse()))

/** The eight torsion points, from a point of order 8 found by clearing the prime-order part. */
const torsion = (() => {
  for (let y = 2n; ; y++) {
    let point
    try {
      point = Point.fromBytes(littleEndian(y))
    } catch {
      continue // about half of all y have no point
    }
    const small = point.multiplyUnsafe(L - 1n).add(point)
    if (!small.multiplyUnsafe(4n).is0()) return Array.from({ length: 8 }, (_, i) => small.multiplyUnsafe(BigInt(i)))
  }
})()

/** Signs with a chosen nonce and a torsion point added to R: what a malicious signer can always do. */
function signWithTorsion(secretScalar: bigint, publicKey: Uint8Array, nonce: bigint, inR: number, text = message) {
  const r = Point.BASE.multiply(nonce).add(torsion[inR]!).toBytes()
  const k = fromLittleEndian(sha512(concatBytes(r, publicKey, text)).slice()) % L
  return concatBytes(r, littleEndian((nonce + k * secretScalar) % L))
}

const keys = generateSigningKey(systemRandom)
const scalar = ed25519.utils.getExtendedPublicKey(keys.secretKey).scalar % L

describe('verify()', () => {
  test('accepts what sign() made and nothing with one bit flipped', () => {
    const signature = sign(keys.secretKey, message)
    expect(signature).toHaveLength(64)
    expect(verify(keys.publicKey, message, signature)).toBe(true)
    for (let bit = 0; bit < 512; bit += 37) {
      const bad = signature.slice()
      bad[bit >> 3]! ^= 1 << (bit & 7)
      expect(verify(keys.publicKey, message, bad)).toBe(false)
    }
    expect(verify(keys.publicKey, utf8('another'), signature)).toBe(false)
  })

  test('is false on lengths that are not 32 and 64, and takes Buffers', () => {
    const signature = sign(keys.secretKey, message)
    expect(verify(keys.publicKey.slice(1), message, signature)).toBe(false)
    expect(verify(keys.publicKey, message, signature.slice(1))).toBe(false)
    expect(verify(keys.publicKey, message, concatBytes(signature, Uint8Array.of(0)))).toBe(false)
    expect(verify(Buffer.from(keys.publicKey), Buffer.from(message), Buffer.from(signature))).toBe(true)
  })

  const good = signWithTorsion(scalar, keys.publicKey, 12345n, 0)
  const s = fromLittleEndian(good.subarray(32))
  const cases: [string, Uint8Array, boolean][] = [
    ['chosen-nonce', good, true],
    ...[1, 2, 3, 4, 5, 6, 7].map((i): [string, Uint8Array, boolean] => [
      `torsion-${i}-in-r`,
      signWithTorsion(scalar, keys.publicKey, 12345n, i),
      false,
    ]),
    ['s-plus-l', concatBytes(good.subarray(0, 32), littleEndian(s + L)), false],
    ['s-all-ones', concatBytes(good.subarray(0, 32), new Uint8Array(32).fill(255)), false],
    ['r-not-canonical', signWithNonCanonicalIdentity(), false],
    ['r-identity-sign-bit', signWithNonCanonicalIdentity(0x80), false],
    ['r-off-curve', concatBytes(littleEndian(2n), good.subarray(32)), false],
  ]

  /** R = the identity written as y = p + 1, or with the sign bit set: a decoder may take it, the bytes differ. */
  function signWithNonCanonicalIdentity(signBit?: number): Uint8Array {
    const r = signBit === undefined ? littleEndian(Point.Fp.ORDER + 1n) : littleEndian(1n)
    if (signBit !== undefined) r[31]! |= signBit
    return signWithRBytes(r)
  }

  function signWithRBytes(r: Uint8Array): Uint8Array {
    const k = fromLittleEndian(sha512(concatBytes(r, keys.publicKey, message)).slice()) % L
    return concatBytes(r, littleEndian((k * scalar) % L))
  }

  test.each(cases)('gives the same verdict on every path: %s', (_, signature, expected) => {
    expect(nodeTwin.verifierFor(keys.publicKey)(message, signature)).toBe(expected)
    expect(nobleTwin.verifierFor(keys.publicKey)(message, signature)).toBe(expected)
    expect(verify(keys.publicKey, message, signature)).toBe(expected)
  })

  test('refuses R = the identity, on which versions of Node disagree, although the equation holds', () => {
    const signature = signWithRBytes(littleEndian(1n))
    expect(nobleTwin.verifierFor(keys.publicKey)(message, signature)).toBe(true)
    expect(verify(keys.publicKey, message, signature)).toBe(false)
  })

  test('the torsion vectors are real: with the cofactor they would hold', () => {
    expect(ed25519.verify(signWithTorsion(scalar, keys.publicKey, 12345n, 3), message, keys.publicKey)).toBe(true)
  })

  test('refuses a key of mixed order even for the messages a library accepts', () => {
    const mixed = Point.fromBytes(keys.publicKey).add(torsion[4]!).toBytes()
    let acceptedByNode = 0
    for (let i = 0; i < 16; i++) {
      const text = Uint8Array.of(i)
      const signature = signWithTorsion(scalar, mixed, 777n, 0, text)
      if (nodeTwin.verifierFor(mixed)(text, signature)) acceptedByNode++
      expect(verify(mixed, text, signature)).toBe(false)
    }
    expect(acceptedByNode).toBeGreaterThan(0)
  })
})

describe('checkPublicKey()', () => {
  const refusal = (publicKey: Uint8Array) => {
    try {
      checkPublicKey(publicKey)
    } catch (error) {
      return errorCode(error)
    }
    return undefined
  }

  test('accepts a generated key', () => {
    expect(refusal(keys.publicKey)).toBeUndefined()
  })

  test.each([
    ['wrong-length', new Uint8Array(31)],
    ['identity', littleEndian(1n)],
    ['identity-not-canonical', littleEndian(Point.Fp.ORDER + 1n)],
    ['off-curve', littleEndian(2n)],
    ['all-ones', new Uint8Array(32).fill(255)],
    ['zero-x-with-sign', concatBytes(littleEndian(1n).subarray(0, 31), Uint8Array.of(0x80))],
    ...[1, 2, 3, 4, 5, 6, 7].map((i): [string, Uint8Array] => [`torsion-${i}`, torsion[i]!.toBytes()]),
    ...[1, 4].map((i): [string, Uint8Array] => [
      `mixed-order-${i}`,
      Point.fromBytes(keys.publicKey).add(torsion[i]!).toBytes(),
    ]),
  ])('refuses %s, and verify() is false under it', (_, publicKey) => {
    expect(refusal(publicKey)).toBe('ERR_VERIFY_PUBLIC_KEY')
    expect(verify(publicKey, message, new Uint8Array(64))).toBe(false)
    // R = A·0 + identity, S = 0: holds under the identity and small-order keys in lax libraries.
    expect(verify(publicKey, message, concatBytes(littleEndian(1n), new Uint8Array(32)))).toBe(false)
  })
})

describe('labelled signatures', () => {
  test('verify under their own label only', () => {
    const signature = signLabelled(keys.secretKey, labels.bundle, message)
    expect(verifyLabelled(keys.publicKey, labels.bundle, message, signature)).toBe(true)
    expect(verifyLabelled(keys.publicKey, labels.applied, message, signature)).toBe(false)
    expect(verify(keys.publicKey, message, signature)).toBe(false)
  })
})

describe('keys', () => {
  test('generateSigningKey() takes 32 bytes of the given randomness as the seed', () => {
    const seed = new Uint8Array(32).fill(7)
    const random: Random = { bytes: (length) => seed.slice(0, length) }
    expect(generateSigningKey(random)).toEqual({ secretKey: seed, publicKey: publicKeyOf(seed) })
  })

  test('a seed of another length is a RangeError', () => {
    expect(() => sign(new Uint8Array(31), message)).toThrow(RangeError)
    expect(() => publicKeyOf(new Uint8Array(33))).toThrow(RangeError)
  })

  test('a seed array overwritten by its owner signs with its new content', () => {
    const seed = new Uint8Array(32).fill(1)
    sign(seed, message)
    seed.fill(2)
    expect(verify(publicKeyOf(new Uint8Array(32).fill(2)), message, sign(seed, message))).toBe(true)
  })
})

test('BoundedCache forgets the entry not used for longest', () => {
  const cache = new BoundedCache<string, number>(2)
  cache.set('a', 1)
  cache.set('b', 2)
  expect(cache.get('a')).toBe(1)
  cache.set('c', 3)
  expect(cache.size).toBe(2)
  expect(cache.get('b')).toBeUndefined()
  expect(cache.get('a')).toBe(1)
  cache.set('a', 4)
  expect(cache.get('c')).toBe(3)
})

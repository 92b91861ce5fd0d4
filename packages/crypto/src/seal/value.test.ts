import { createCipheriv } from 'node:crypto'
import { concatBytes, emptyBytes, errorCode, type Random, systemRandom, utf8 } from '@cipherlog/core'
import { describe, expect, test } from 'vitest'
import { hmacSha256 } from '../hash/index.ts'
import { commitContentKey, openValue, padme, sealValue } from './index.ts'
import { aesGcmOpen } from './symmetric-node.ts'

const contentKey = new Uint8Array(32).fill(1)
const context = new Uint8Array(32).fill(2)
const random = systemRandom
const content = utf8('order-42: 1999')
const sealed = sealValue({ contentKey, context, content, random })
const code = (action: () => unknown) => {
  try {
    action()
  } catch (error) {
    return errorCode(error)
  }
  return undefined
}

describe('sealValue() and openValue()', () => {
  test.each([0, 1, 4, 27, 28, 29, 1000, 100_000])('round trip with %i bytes of content', (length) => {
    const original = Uint8Array.from({ length }, (_, i) => i & 255)
    const bytes = sealValue({ contentKey, context, content: original, random })
    expect(bytes).toHaveLength(48 + padme(4 + length))
    const opened = openValue({ contentKey, context, sealed: bytes })
    expect(opened).toEqual(original)
    expect(opened.constructor).toBe(Uint8Array)
  })

  test('is salt ‖ AES-256-GCM as DESIGN §6 writes it, built by hand', () => {
    const salt = sealed.subarray(0, 32)
    // label ‖ 00 ‖ CBOR [bytes(32), bytes(32)]
    const input = concatBytes(utf8('cipherlog/v1/value\0'), Uint8Array.of(0x82, 0x58, 32), salt)
    const key = hmacSha256(contentKey, concatBytes(input, Uint8Array.of(0x58, 32), context))
    const cipher = createCipheriv('aes-256-gcm', key, new Uint8Array(12))
    cipher.setAAD(context)
    const plaintext = new Uint8Array(padme(18))
    plaintext.set(concatBytes(Uint8Array.of(0, 0, 0, 14), content))
    const expected = concatBytes(salt, cipher.update(plaintext), cipher.final(), cipher.getAuthTag())
    expect(sealed).toEqual(expected)
  })

  test('two seals of one value share no bytes beyond chance', () => {
    const value = new Uint8Array(4096)
    const a = sealValue({ contentKey, context, content: value, random })
    const b = sealValue({ contentKey, context, content: value, random })
    let equal = 0
    for (let i = 0; i < a.length; i++) if (a[i] === b[i]) equal++
    // 4,176 bytes agree in 16 places on average; 60 is eleven standard deviations away.
    expect(equal).toBeLessThan(60)
  })

  test('a clone with the same random state reuses no key for another plaintext', () => {
    const stuck: Random = { bytes: (length) => new Uint8Array(length) }
    const a = sealValue({ contentKey, context, content: utf8('a'), random: stuck })
    const b = sealValue({ contentKey, context, content: utf8('b'), random: stuck })
    expect(a.subarray(0, 32)).not.toEqual(b.subarray(0, 32))
    expect(sealValue({ contentKey, context, content: utf8('a'), random: stuck })).toEqual(a)
  })

  test('any flipped bit, cut or added byte, other context or other key is one error without detail', () => {
    const failures: Uint8Array[] = [emptyBytes, sealed.subarray(0, 31), sealed.subarray(0, 40), sealed.subarray(1)]
    for (let i = 0; i < sealed.length; i++) {
      const bad = sealed.slice()
      bad[i]! ^= 1 << (i & 7)
      failures.push(bad)
    }
    failures.push(concatBytes(sealed, Uint8Array.of(0)), sealed.subarray(0, sealed.length - 1))
    for (const bad of failures)
      expect(code(() => openValue({ contentKey, context, sealed: bad }))).toBe('ERR_OPEN_FAILED')
    const otherContext = new Uint8Array(32)
    expect(code(() => openValue({ contentKey, context: otherContext, sealed }))).toBe('ERR_OPEN_FAILED')
    expect(code(() => openValue({ contentKey: new Uint8Array(32), context, sealed }))).toBe('ERR_OPEN_FAILED')
  })

  test.each<[string, number[]]>([
    ['nonzero-padding', [0, 0, 0, 2, 7, 7, 0, 0, 1, 0]],
    ['one-zero-too-many', [0, 0, 0, 1, 7, 0]],
    ['length-above-plaintext', [0, 0, 0, 9, 7]],
    ['length-maximal', [255, 255, 255, 255, 7]],
    ['no-length', [0, 0]],
  ])('an authentic plaintext with bad padding does not open: %s', (_, plaintext) => {
    const salt = new Uint8Array(32)
    const input = concatBytes(utf8('cipherlog/v1/value\0'), Uint8Array.of(0x82, 0x58, 32), salt)
    const key = hmacSha256(contentKey, concatBytes(input, Uint8Array.of(0x58, 32), context))
    const cipher = createCipheriv('aes-256-gcm', key, new Uint8Array(12))
    cipher.setAAD(context)
    const bytes = concatBytes(salt, cipher.update(Uint8Array.from(plaintext)), cipher.final(), cipher.getAuthTag())
    expect(code(() => openValue({ contentKey, context, sealed: bytes }))).toBe('ERR_OPEN_FAILED')
  })

  test('keys and contexts of another length are RangeErrors', () => {
    expect(() => sealValue({ contentKey: new Uint8Array(16), context, content, random })).toThrow(RangeError)
    expect(() => openValue({ contentKey, context: new Uint8Array(31), sealed })).toThrow(RangeError)
  })
})

describe('padme()', () => {
  test('gives the values of the paper and is monotone, idempotent and at most 12 % above', () => {
    expect([0, 1, 2, 8, 9, 10, 15, 16, 17, 1000, 1025].map(padme)).toEqual([0, 1, 2, 8, 10, 10, 16, 16, 18, 1024, 1088])
    let last = 0
    for (let n = 0; n < 5000; n++) {
      const padded = padme(n)
      expect(padded).toBeGreaterThanOrEqual(Math.max(n, last))
      expect(padme(padded)).toBe(padded)
      expect(padded).toBeLessThanOrEqual(n * 1.12)
      last = padded
    }
  })

  test('works at the largest length and refuses the next, negative and fractional ones', () => {
    expect(padme(0x8000_0000)).toBe(0x8000_0000)
    expect(padme(0x7fff_ffff)).toBe(0x8000_0000)
    for (const bad of [0x8000_0001, -1, 1.5, NaN]) expect(() => padme(bad)).toThrow(RangeError)
  })
})

describe('AES-GCM does not commit to its key', () => {
  // GF(2^128) of GCM: bit 0 of the field element is the first bit of the block.
  const R = 0xe1n << 120n
  const block = (bytes: Uint8Array) => BigInt('0x' + Buffer.from(bytes).toString('hex'))
  const unblock = (value: bigint) => new Uint8Array(Buffer.from(value.toString(16).padStart(32, '0'), 'hex'))
  const multiply = (a: bigint, b: bigint) => {
    let product = 0n
    let v = b
    for (let i = 127n; i >= 0n; i--) {
      if ((a >> i) & 1n) product ^= v
      v = v & 1n ? (v >> 1n) ^ R : v >> 1n
    }
    return product
  }
  const inverse = (a: bigint) => {
    let result = 1n << 127n
    let square = a
    for (let i = 1; i < 128; i++) {
      square = multiply(square, square)
      result = multiply(result, square)
    }
    return result
  }
  const encryptBlock = (key: Uint8Array, input: Uint8Array) => {
    const cipher = createCipheriv('aes-256-ecb', key, null).setAutoPadding(false)
    return block(concatBytes(cipher.update(input), cipher.final()))
  }

  test('one value opens under two content keys, and the commitments of the envelope tell them apart', () => {
    const keys = [new Uint8Array(32).fill(11), new Uint8Array(32).fill(12)] as const
    const salt = new Uint8Array(32).fill(9)
    const input = concatBytes(utf8('cipherlog/v1/value\0'), Uint8Array.of(0x82, 0x58, 32), salt)
    const messageKeys = keys.map((key) => hmacSha256(key, concatBytes(input, Uint8Array.of(0x58, 32), context)))
    const counter = (n: number) => concatBytes(new Uint8Array(12), Uint8Array.of(0, 0, 0, n))

    // Two blocks: the first is free, the second is solved so that both keys compute one tag over (aad, ciphertext).
    const [h1, h2] = messageKeys.map((key) => encryptBlock(key, new Uint8Array(16))) as [bigint, bigint]
    const [s1, s2] = messageKeys.map((key) => encryptBlock(key, counter(1))) as [bigint, bigint]
    const lengths = block(concatBytes(new Uint8Array(6), Uint8Array.of(1, 0), new Uint8Array(6), Uint8Array.of(1, 0)))
    const c1 = 0n
    const tagWithout = (h: bigint, s: bigint) => {
      let y = 0n
      for (const part of [block(context.subarray(0, 16)), block(context.subarray(16)), c1, 0n])
        y = multiply(y ^ part, h)
      return multiply(y ^ lengths, h) ^ s
    }
    // tag = tagWithout(h) + c2 · h²; equal for both keys gives c2.
    const c2 = multiply(tagWithout(h1, s1) ^ tagWithout(h2, s2), inverse(multiply(h1, h1) ^ multiply(h2, h2)))
    const tag = tagWithout(h1, s1) ^ multiply(c2, multiply(h1, h1))
    const ciphertext = concatBytes(unblock(c1), unblock(c2))

    // Both keys accept one ciphertext and tag.
    const plaintexts = messageKeys.map((key) => {
      const opened = aesGcmOpen(key, new Uint8Array(12), context, concatBytes(ciphertext, unblock(tag)))
      expect(opened).toBeDefined()
      return opened!
    })
    expect(plaintexts[0]).not.toEqual(plaintexts[1])

    const envelope = {
      cluster: new Uint8Array(32),
      client: new Uint8Array(16),
      keyset: new Uint8Array(16),
      keyEpoch: 1,
    }
    const commits = keys.map((key) => commitContentKey({ contentKey: key, ...envelope }))
    expect(commits[0]).not.toEqual(commits[1])
  })
})

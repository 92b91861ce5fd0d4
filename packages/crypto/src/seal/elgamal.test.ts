import { babyjubjub } from '@noble/curves/misc.js'
import { bigintToBytes, errorCode, type Random, systemRandom } from '@cipherlog/core'
import { describe, expect, test } from 'vitest'
import {
  addElgamal,
  babyJubjubOrder,
  checkElgamalPublicKey,
  elgamalIdentity,
  verifyElgamalPop,
} from '../evaluate/elgamal/index.ts'
import { elgamalPop, encryptElgamal, generateElgamalKey, openElgamal } from './index.ts'

const random = systemRandom
const { secretKey, publicKey } = generateElgamalKey(random)
const encrypt = (amount: bigint) => encryptElgamal({ publicKey, amount, random }).ciphertext
const codeOf = (opening: Promise<unknown>) => opening.then(() => undefined, errorCode)

describe('generateElgamalKey()', () => {
  test('gives a canonical scalar and its checked public key', () => {
    expect(secretKey).toHaveLength(32)
    const scalar = BigInt('0x' + Buffer.from(secretKey).toString('hex'))
    expect(scalar < babyJubjubOrder).toBe(true)
    expect(checkElgamalPublicKey(publicKey)).toEqual(babyjubjub.Point.BASE.multiply(scalar).toAffine())
  })

  test('rejects 0 and L instead of reducing, so scalars are uniform', () => {
    const outputs = [0n, babyJubjubOrder, 5n].map((value) => bigintToBytes(value, 32))
    const scripted: Random = { bytes: () => outputs.shift()! }
    expect(generateElgamalKey(scripted).secretKey).toEqual(bigintToBytes(5n, 32))
    expect(outputs).toHaveLength(0)
  })
})

describe('encryptElgamal()', () => {
  test('c1 = r·G with the r it returns, 1 ≤ r < 2^250', () => {
    const { ciphertext, randomness } = encryptElgamal({ publicKey, amount: 7n, random })
    const c1 = babyjubjub.Point.BASE.multiply(randomness).toAffine()
    expect(ciphertext.subarray(0, 32)).toEqual(bigintToBytes(c1.x, 32))
    expect(randomness >= 1n && randomness < 2n ** 250n).toBe(true)
  })

  test('refuses amounts outside 0 to 2^32 − 1 and a bad public key', () => {
    for (const amount of [-1n, 2n ** 32n])
      expect(() => encryptElgamal({ publicKey, amount, random })).toThrow(RangeError)
    expect(() => encryptElgamal({ publicKey: new Uint8Array(64), amount: 1n, random })).toThrow('not on Baby Jubjub')
  })
})

describe('openElgamal()', () => {
  test.each([0n, 1n, 1023n, 1024n, 65_535n, 65_536n, 1_000_000n])('opens %i', async (amount) => {
    expect(await openElgamal({ secretKey, ciphertext: encrypt(amount), max: 1_000_000n })).toBe(amount)
  })

  test('a sum opens to the sum of its amounts, and the fresh cell to 0', async () => {
    let cell = elgamalIdentity
    expect(await openElgamal({ secretKey, ciphertext: cell, max: 10n })).toBe(0n)
    for (const amount of [1999n, 0n, 77n, 4_000_000_000n]) cell = addElgamal(cell, encrypt(amount))
    expect(await openElgamal({ secretKey, ciphertext: cell, from: 3_999_999_999n, max: 4_100_000_000n })).toBe(
      4_000_002_076n,
    )
  })

  test('searches upward from a lower bound, both bounds included', async () => {
    const ciphertext = encrypt(50_000n)
    expect(await openElgamal({ secretKey, ciphertext, from: 50_000n, max: 50_000n })).toBe(50_000n)
    expect(await codeOf(openElgamal({ secretKey, ciphertext, from: 50_001n, max: 60_000n }))).toBe(
      'ERR_OPEN_OUT_OF_RANGE',
    )
    expect(await codeOf(openElgamal({ secretKey, ciphertext, max: 49_999n }))).toBe('ERR_OPEN_OUT_OF_RANGE')
  })

  test('another key opens nothing', async () => {
    const stranger = generateElgamalKey(random)
    const opening = openElgamal({ secretKey: stranger.secretKey, ciphertext: encrypt(5n), max: 5000n })
    expect(await codeOf(opening)).toBe('ERR_OPEN_OUT_OF_RANGE')
  })

  test('tells progress up to 1 and lets the event loop turn', async () => {
    const fractions: number[] = []
    let turns = 0
    const timer = setInterval(() => turns++, 1)
    await codeOf(
      openElgamal({
        secretKey,
        ciphertext: encrypt(9_000_000n),
        max: 8_000_000n,
        onProgress: (f) => fractions.push(f),
      }),
    )
    clearInterval(timer)
    expect(fractions.at(-1)).toBe(1)
    expect(turns).toBeGreaterThan(0)
  })

  test('refuses bounds and keys that make no sense', async () => {
    const ciphertext = encrypt(1n)
    await expect(openElgamal({ secretKey, ciphertext, from: 5n, max: 4n })).rejects.toThrow(RangeError)
    await expect(openElgamal({ secretKey, ciphertext, from: -1n, max: 4n })).rejects.toThrow(RangeError)
    await expect(openElgamal({ secretKey, ciphertext, max: 2n ** 48n + 1n })).rejects.toThrow(RangeError)
    await expect(openElgamal({ secretKey: new Uint8Array(32), ciphertext, max: 4n })).rejects.toThrow(RangeError)
    expect(await codeOf(openElgamal({ secretKey, ciphertext: new Uint8Array(128), max: 4n }))).toBe('ERR_ELGAMAL_CURVE')
  })
})

test('elgamalPop() passes verifyElgamalPop() for its key version only', () => {
  const version = { cluster: new Uint8Array(32).fill(1), keyset: new Uint8Array(16).fill(2), keyEpoch: 1 }
  const pop = elgamalPop({ secretKey, ...version, random })
  expect(pop).toHaveLength(96)
  expect(verifyElgamalPop({ ...version, publicKey }, pop)).toBe(true)
  expect(verifyElgamalPop({ ...version, keyEpoch: 2, publicKey }, pop)).toBe(false)
  const stranger = generateElgamalKey(random)
  expect(verifyElgamalPop({ ...version, publicKey: stranger.publicKey }, pop)).toBe(false)
})

/**
 * Exponential ElGamal on Baby Jubjub, the half that needs secrets or hides amounts (suite 2, DESIGN §6):
 * c1 = r·G, c2 = m·G + r·PK. Everything that servers do with ciphertexts is in evaluate/elgamal.
 */
import { babyjubjub } from '@noble/curves/misc.js'
import { bigintToBytes, bytesToBigint, concatBytes, type Random } from '@cipherlog/core'
import {
  babyJubjubOrder,
  checkElgamalPublicKey,
  elgamalPopChallenge,
  encodeElgamalCiphertext,
  encodeElgamalPoint,
} from '../evaluate/elgamal/index.ts'

const { Point } = babyjubjub

/** Largest amount that a circuit proves and that opening is meant for. */
export const elgamalAmountMax = 2n ** 32n - 1n

export interface ElgamalKeyPair {
  /** sk, 32 bytes big-endian, 1 ≤ sk < L. */
  readonly secretKey: Uint8Array
  /** PK = sk·G, 64 bytes x ‖ y. */
  readonly publicKey: Uint8Array
}

/** A fresh key pair. */
export function generateElgamalKey(random: Random): ElgamalKeyPair {
  const scalar = randomScalar(random)
  return { secretKey: bigintToBytes(scalar, 32), publicKey: multipleOfG(scalar) }
}

/** The scalar of a secret key. @throws RangeError unless it is 32 bytes, big-endian, 1 ≤ sk < L. */
export function elgamalSecretScalar(secretKey: Uint8Array): bigint {
  const scalar = secretKey.length === 32 ? bytesToBigint(secretKey) : 0n
  if (scalar === 0n || scalar >= babyJubjubOrder)
    throw new RangeError('an ElGamal secret key is 32 bytes big-endian, from 1 to L - 1')
  return scalar
}

/**
 * Proves possession of a secret key for one key version: 96 bytes T ‖ z (see evaluate/elgamal/possession.ts).
 * @throws RangeError on a malformed secret key.
 */
export function elgamalPop(input: {
  readonly secretKey: Uint8Array
  readonly cluster: Uint8Array
  readonly keyset: Uint8Array
  readonly keyEpoch: number
  readonly random: Random
}): Uint8Array {
  const { cluster, keyset, keyEpoch } = input
  const sk = elgamalSecretScalar(input.secretKey)
  const k = randomScalar(input.random)
  const commitment = multipleOfG(k)
  const e = elgamalPopChallenge({ cluster, keyset, keyEpoch, publicKey: multipleOfG(sk) }, commitment)
  return concatBytes(commitment, bigintToBytes((k + e * sk) % babyJubjubOrder, 32))
}

/**
 * Encrypts an amount.
 * @param input.publicKey - 64 bytes, checked (about 1 ms).
 * @param input.amount - 0 to {@link elgamalAmountMax}.
 * @returns the 128-byte ciphertext and r, uniform in [1, 2^250), which the prover needs; keep it secret.
 * @throws RangeError if the amount is out of range; {@link DecodeError} on a bad public key.
 */
export function encryptElgamal(input: {
  readonly publicKey: Uint8Array
  readonly amount: bigint
  readonly random: Random
}): { ciphertext: Uint8Array; randomness: bigint } {
  const { amount } = input
  if (amount < 0n || amount > elgamalAmountMax) throw new RangeError('an amount is 0 to 2^32 - 1')
  const publicKey = Point.fromAffine(checkElgamalPublicKey(input.publicKey))
  const r = randomBelow(input.random, 2n ** 250n)
  const message = amount === 0n ? Point.ZERO : Point.BASE.multiply(amount)
  const ciphertext = encodeElgamalCiphertext({
    c1: Point.BASE.multiply(r).toAffine(),
    c2: message.add(publicKey.multiply(r)).toAffine(),
  })
  return { ciphertext, randomness: r }
}

/** scalar·G for 1 ≤ scalar < L, by noble's multiplication for secrets. */
function multipleOfG(scalar: bigint): Uint8Array {
  return encodeElgamalPoint(Point.BASE.multiply(scalar).toAffine())
}

function randomScalar(random: Random): bigint {
  return randomBelow(random, babyJubjubOrder)
}

/** Uniform in [1, limit) for limit ≤ 2^251, by rejection, so without bias. */
function randomBelow(random: Random, limit: bigint): bigint {
  const mask = (1n << BigInt((limit - 1n).toString(2).length)) - 1n
  for (;;) {
    const candidate = bytesToBigint(random.bytes(32)) & mask
    if (candidate >= 1n && candidate < limit) return candidate
  }
}

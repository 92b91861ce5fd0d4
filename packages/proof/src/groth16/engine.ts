/**
 * What the two implementations of Groth16 (mcl in WebAssembly, noble in plain JavaScript) have in common, and
 * the weights that let one pairing product check many proofs (DESIGN §3, "Verification batches"):
 *
 *     ∏ e(ρᵢ·Aᵢ, Bᵢ) · e(−Σρᵢ·alpha, beta) · e(−Σⱼ sⱼ·IC[j], gamma) · e(−Σ ρᵢ·Cᵢ, delta) = 1
 *     s₀ = Σρᵢ,  sⱼ = Σ ρᵢ·signalᵢⱼ mod r
 *
 * A product of valid proofs is 1 whatever the weights; with a bad one it is 1 for at most a 2⁻¹²⁸ part of
 * them, and they are hashed from the very bytes that are checked. So batches never change a verdict.
 */
import { bytesToBigint, concatBytes } from '@cipherlog/core'
import { bn254ScalarOrder, labelledHash, labels, sha256 } from '@cipherlog/crypto/hash'

/** Most proofs that one batch may hold. */
export const batchProofsMax = 256

/** A decoded proof with its public signals. */
export interface DecodedCheck<Proof> {
  readonly proof: Proof
  readonly signals: readonly bigint[]
}

/** An implementation of the equation above. Errors of the `decode` functions are `DecodeError`s. */
export interface Groth16Engine<Key, Proof> {
  decodeKey(bytes: Uint8Array): Key
  decodeProof(bytes: Uint8Array): Proof
  /** Number of public signals under `key`. */
  signalCount(key: Key): number
  /** Whether the product is 1. `checks` and `weights` have the same length, at least 1. */
  holds(key: Key, checks: readonly DecodedCheck<Proof>[], weights: readonly bigint[]): boolean
}

/** The bytes that a batch's weights are hashed from. */
export interface BatchItem {
  /** Public signals, 32 bytes big-endian each. */
  readonly statement: Uint8Array
  /** 128 bytes. */
  readonly proof: Uint8Array
}

/** Plain SHA-256 of a verification key's bytes: its name in the registry and in caches. */
export function verificationKeyDigest(verificationKey: Uint8Array): Uint8Array {
  return sha256(verificationKey)
}

/**
 * ρᵢ = first 16 bytes, big-endian, of SHA-256(seed ‖ u16 i), 0 taken as 1, with seed = labelled hash of
 * (vk digest, then proof ‖ statement of each). A single proof needs no weight: 1.
 * @throws RangeError on an empty batch or one of more than 256.
 */
export function batchWeights(keyDigest: Uint8Array, items: readonly BatchItem[]): bigint[] {
  if (items.length < 1 || items.length > batchProofsMax)
    throw new RangeError(`a batch has 1 to ${batchProofsMax} proofs, not ${items.length}`)
  if (items.length === 1) return [1n]
  const seed = labelledHash(labels.batchSeed, keyDigest, ...items.flatMap((item) => [item.proof, item.statement]))
  return items.map((_, i) => {
    const weight = bytesToBigint(sha256(concatBytes(seed, Uint8Array.of(i >> 8, i & 0xff))).subarray(0, 16))
    return weight === 0n ? 1n : weight
  })
}

/** The scalars s₀ … sₙ of the key's IC points. */
export function icScalars<Proof>(checks: readonly DecodedCheck<Proof>[], weights: readonly bigint[]): bigint[] {
  const signalCount = checks[0]!.signals.length
  const scalars = new Array<bigint>(signalCount + 1).fill(0n)
  checks.forEach(({ signals }, i) => {
    scalars[0]! += weights[i]!
    signals.forEach((signal, j) => (scalars[j + 1] = (scalars[j + 1]! + weights[i]! * signal) % bn254ScalarOrder))
  })
  return scalars
}

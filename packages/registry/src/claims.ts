/**
 * What single keys sign for the registry: possession of themselves, readiness and endorsement of a key version.
 *
 * Each claim names the cluster, so a signature made for one cluster says nothing in another.
 */
import { encode } from '@cipherlog/core'
import { labels, sha256 } from '@cipherlog/crypto/hash'
import { publicKeyOf, signLabelled, verifyLabelled } from '@cipherlog/crypto/signature'
import {
  keyVersion as keyVersionCodec,
  keyVersionClaim,
  possessionClaim,
  type KeyVersion,
  type Role,
} from '@cipherlog/format'

/** Names a key version and pins its public part. */
export interface KeyVersionClaim {
  /** 32 bytes. */
  readonly cluster: Uint8Array
  /** 16 bytes. */
  readonly keyset: Uint8Array
  readonly keyEpoch: number
  readonly version: KeyVersion
}

/**
 * Proof of possession of an Ed25519 key for one role: its signature over CBOR [cluster, role, key].
 * @param secretKey - 32-byte seed.
 * @returns 64 bytes.
 */
export function possessionOf(secretKey: Uint8Array, role: Role, cluster: Uint8Array): Uint8Array {
  return signLabelled(secretKey, labels.pop, encode(possessionClaim, [cluster, role, publicKeyOf(secretKey)]))
}

/** Whether `signature` is {@link possessionOf} the secret of `publicKey`. */
export function provesPossession(
  publicKey: Uint8Array,
  role: Role,
  cluster: Uint8Array,
  signature: Uint8Array,
): boolean {
  return verifyLabelled(publicKey, labels.pop, encode(possessionClaim, [cluster, role, publicKey]), signature)
}

/**
 * SHA-256 of a version's public part: its encoding without `shares`, which each member checks by opening its own.
 * @returns 32 bytes.
 */
export function keyVersionDigest({ memberKeys, publicKey, possession }: KeyVersion): Uint8Array {
  return sha256(encode(keyVersionCodec, { memberKeys, publicKey, possession }))
}

/** A member's word that it has checked its key or share of the version. 64 bytes. */
export function readySignature(secretKey: Uint8Array, claim: KeyVersionClaim): Uint8Array {
  return signLabelled(secretKey, labels.ready, claimBytes(claim))
}

/** Whether `signature` is a {@link readySignature} by `signingKey`. */
export function saysReady(signingKey: Uint8Array, claim: KeyVersionClaim, signature: Uint8Array): boolean {
  return verifyLabelled(signingKey, labels.ready, claimBytes(claim), signature)
}

/** The word of a reader of the current version that the next one is genuine. 64 bytes. */
export function endorseSignature(secretKey: Uint8Array, claim: KeyVersionClaim): Uint8Array {
  return signLabelled(secretKey, labels.endorse, claimBytes(claim))
}

/** Whether `signature` is an {@link endorseSignature} by `signingKey`. */
export function endorses(signingKey: Uint8Array, claim: KeyVersionClaim, signature: Uint8Array): boolean {
  return verifyLabelled(signingKey, labels.endorse, claimBytes(claim), signature)
}

function claimBytes({ cluster, keyset, keyEpoch, version }: KeyVersionClaim): Uint8Array {
  return encode(keyVersionClaim, [cluster, keyset, keyEpoch, keyVersionDigest(version)])
}

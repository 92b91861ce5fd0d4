/**
 * Ed25519 signatures (RFC 8032) under the strict rule of DESIGN §5: A is canonical, in the prime-order
 * subgroup and not the identity; S < L; R is not the identity; and encode(S·B − k·A) equals the R bytes,
 * without cofactor.
 *
 * R ≠ identity stands in no RFC, but newer Nodes and WebCrypto refuse an R of small order
 * (https://github.com/nodejs/node/pull/64026) and older Nodes do not. Of those points only the identity can
 * satisfy the equation for such an A, so refusing it here makes all versions agree. No honest nonce is 0.
 *
 * Invariant: every implementation gives the same verdict on the same bytes, so replicas never contradict
 * auditors. That is why a bad key makes `verify` false here, even where a library would accept it.
 */
import { publicKeyOfSeed, signWithSeed, verifierFor } from '#ed25519'
import { ed25519 } from '@noble/curves/ed25519.js'
import { plainBytes, type Random, toHex, VerificationError } from '@cipherlog/core'
import { sha256 } from '../hash/digest.ts'
import { labelledBytes } from '../hash/labelled.ts'
import { type Label } from '../hash/labels.ts'
import { BoundedCache } from './bounded-cache.ts'

export interface SigningKeyPair {
  /** The 32-byte seed (RFC 8032 calls it the private key). */
  readonly secretKey: Uint8Array
  /** The 32-byte encoding of A. */
  readonly publicKey: Uint8Array
}

/** Verifiers of keys that passed the check, which takes about a millisecond. Bounded: keys come from outside. */
const verifiers = new BoundedCache<string, ReturnType<typeof verifierFor>>(4096)

/** A fresh key pair. */
export function generateSigningKey(random: Random): SigningKeyPair {
  const secretKey = random.bytes(32)
  return { secretKey, publicKey: publicKeyOf(secretKey) }
}

/** The 32-byte public key of a 32-byte seed. @throws RangeError on another length. */
export function publicKeyOf(secretKey: Uint8Array): Uint8Array {
  return publicKeyOfSeed(checkedSeed(secretKey))
}

/** The 64-byte signature R ‖ S of `message`; deterministic. @throws RangeError if the seed is not 32 bytes. */
export function sign(secretKey: Uint8Array, message: Uint8Array): Uint8Array {
  return signWithSeed(checkedSeed(secretKey), plainBytes(message))
}

/**
 * Whether `signature` is valid for `message` under `publicKey`. False on anything malformed; never throws
 * on bytes, whatever they are.
 */
export function verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  if (publicKey.length !== 32 || signature.length !== 64 || startsWithIdentity(signature)) return false
  const verifier = verifierOf(publicKey)
  return typeof verifier === 'string' ? false : verifier(plainBytes(message), plainBytes(signature))
}

/** The verifier of a key, or what is wrong with the key. */
function verifierOf(publicKey: Uint8Array): ReturnType<typeof verifierFor> | string {
  const id = toHex(publicKey)
  const known = verifiers.get(id)
  if (known !== undefined) return known
  const problem = problemOfPublicKey(publicKey)
  if (problem !== undefined) return problem
  const verifier = verifierFor(plainBytes(publicKey))
  verifiers.set(id, verifier)
  return verifier
}

/**
 * Checks a key at registration.
 * @throws {@link VerificationError} `ERR_VERIFY_PUBLIC_KEY` unless it is the canonical 32-byte encoding of a
 * point of the prime-order subgroup other than the identity.
 */
export function checkPublicKey(publicKey: Uint8Array): void {
  const verifier = verifierOf(publicKey)
  if (typeof verifier === 'string') {
    throw new VerificationError(
      'ERR_VERIFY_PUBLIC_KEY',
      `The Ed25519 public key ${verifier}; generate it with a standard library and send its 32 bytes.`,
    )
  }
}

/** Signs label ‖ 00 ‖ SHA-256(bytes). */
export function signLabelled(secretKey: Uint8Array, label: Label, bytes: Uint8Array): Uint8Array {
  return sign(secretKey, labelledBytes(label, sha256(bytes)))
}

/** Verifies a signature over label ‖ 00 ‖ SHA-256(bytes), as {@link verify} does. */
export function verifyLabelled(publicKey: Uint8Array, label: Label, bytes: Uint8Array, signature: Uint8Array): boolean {
  return verify(publicKey, labelledBytes(label, sha256(bytes)), signature)
}

/** Whether R is the canonical encoding of the identity, (0, 1): 01 and 31 zero bytes. */
function startsWithIdentity(signature: Uint8Array): boolean {
  if (signature[0] !== 1) return false
  for (let i = 1; i < 32; i++) if (signature[i] !== 0) return false
  return true
}

function checkedSeed(secretKey: Uint8Array): Uint8Array {
  if (secretKey.length !== 32) throw new RangeError(`an Ed25519 secret key is 32 bytes, not ${secretKey.length}`)
  return plainBytes(secretKey)
}

/** What is wrong with a public key, or undefined. */
function problemOfPublicKey(publicKey: Uint8Array): string | undefined {
  if (publicKey.length !== 32) return `has ${publicKey.length} bytes instead of 32`
  let point
  try {
    point = ed25519.Point.fromBytes(plainBytes(publicKey), false)
  } catch {
    // noble throws plain errors here, for y ≥ p, for a y without x, and for the sign bit on x = 0.
    return 'is not the canonical encoding of a point'
  }
  if (point.is0()) return 'is the identity'
  if (!point.isTorsionFree()) return 'is not in the prime-order subgroup'
  return undefined
}

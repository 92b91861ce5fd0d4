/**
 * Ed25519 on noble's points, for browsers; the twin for Node is ed25519-node.ts.
 *
 * Never noble's own `verify`: it multiplies by the cofactor, so it accepts torsion in R that OpenSSL refuses.
 * Here the equation of DESIGN §5 is computed and its result compared as bytes.
 */
import { ed25519 } from '@noble/curves/ed25519.js'
import { bytesToNumberLE } from '@noble/curves/utils.js'
import { sha512 } from '@noble/hashes/sha2.js'
import { concatBytes, equalBytes } from '@cipherlog/core'

const { Point } = ed25519
const order = Point.Fn.ORDER

/** The public key of a 32-byte seed (RFC 8032 §5.1.5). */
export function publicKeyOfSeed(secretKey: Uint8Array): Uint8Array {
  return ed25519.getPublicKey(secretKey)
}

/** The signature of `message` (RFC 8032 §5.1.6), 64 bytes R ‖ S. */
export function signWithSeed(secretKey: Uint8Array, message: Uint8Array): Uint8Array {
  return ed25519.sign(message, secretKey)
}

/** A verifier of 64-byte signatures by `publicKey`, which must have passed `checkPublicKey`. */
export function verifierFor(publicKey: Uint8Array): (message: Uint8Array, signature: Uint8Array) => boolean {
  const keyBytes = new Uint8Array(publicKey)
  const minusA = Point.fromBytes(keyBytes).negate()
  return (message, signature) => {
    const r = signature.subarray(0, 32)
    const s = bytesToNumberLE(signature.subarray(32))
    if (s >= order) return false
    const k = bytesToNumberLE(sha512(concatBytes(r, keyBytes, message))) % order
    return equalBytes(Point.BASE.multiplyUnsafe(s).add(minusA.multiplyUnsafe(k)).toBytes(), r)
  }
}

/**
 * Ed25519 by node:crypto; the twin for browsers is ed25519-noble.ts.
 *
 * OpenSSL refuses S ≥ L and compares encode(S·B − k·A) with the R bytes, which is the rule of DESIGN §5 for a
 * key that passed our own check; the tests hold both twins to the same vectors.
 */
import { createPrivateKey, createPublicKey, type KeyObject, sign as nodeSign, verify as nodeVerify } from 'node:crypto'
import { concatBytes, toHex } from '@cipherlog/core'
import { sha256 } from '../hash/digest.ts'
import { BoundedCache } from './bounded-cache.ts'

/** DER in front of the 32 raw bytes (RFC 8410 §7 and §4). */
const pkcs8Prefix = Uint8Array.from([
  0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
])
const spkiPrefix = Uint8Array.from([0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00])

/** Keyed by the seed's digest, so that no secret becomes a map key; a process signs with a handful of keys. */
const privateKeys = new BoundedCache<string, KeyObject>(64)

function privateKeyOf(secretKey: Uint8Array): KeyObject {
  const id = toHex(sha256(secretKey))
  let key = privateKeys.get(id)
  if (key === undefined) {
    const der = concatBytes(pkcs8Prefix, secretKey)
    key = createPrivateKey({ key: der as Buffer, format: 'der', type: 'pkcs8' })
    der.fill(0)
    privateKeys.set(id, key)
  }
  return key
}

/** The public key of a 32-byte seed (RFC 8032 §5.1.5). */
export function publicKeyOfSeed(secretKey: Uint8Array): Uint8Array {
  const der = createPublicKey(privateKeyOf(secretKey)).export({ format: 'der', type: 'spki' })
  return new Uint8Array(der.subarray(spkiPrefix.length))
}

/** The signature of `message` (RFC 8032 §5.1.6), 64 bytes R ‖ S. */
export function signWithSeed(secretKey: Uint8Array, message: Uint8Array): Uint8Array {
  return new Uint8Array(nodeSign(null, message, privateKeyOf(secretKey)))
}

/** A verifier of 64-byte signatures by `publicKey`, which must have passed `checkPublicKey`. */
export function verifierFor(publicKey: Uint8Array): (message: Uint8Array, signature: Uint8Array) => boolean {
  const key = createPublicKey({ key: concatBytes(spkiPrefix, publicKey) as Buffer, format: 'der', type: 'spki' })
  return (message, signature) => nodeVerify(null, message, key, signature)
}

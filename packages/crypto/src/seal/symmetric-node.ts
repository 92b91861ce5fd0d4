/** AES-256-GCM (NIST SP 800-38D) and scrypt (RFC 7914) by node:crypto, synchronous. */
import { createCipheriv, createDecipheriv, createSecretKey, scryptSync } from 'node:crypto'
import { concatBytes } from '@cipherlog/core'

const tagBytes = 16

/** Ciphertext ‖ 16-byte tag. Never call it twice with one key and nonce. */
export function aesGcmSeal(key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): Uint8Array {
  // A KeyObject, although made for this one call: node:crypto takes three times as long on a raw key.
  const cipher = createCipheriv('aes-256-gcm', createSecretKey(key), nonce, { authTagLength: tagBytes })
  cipher.setAAD(aad)
  return concatBytes(cipher.update(plaintext), cipher.final(), cipher.getAuthTag())
}

/** The plaintext, or undefined if the tag does not fit (or there is none). */
export function aesGcmOpen(
  key: Uint8Array,
  nonce: Uint8Array,
  aad: Uint8Array,
  ciphertext: Uint8Array,
): Uint8Array | undefined {
  if (ciphertext.length < tagBytes) return undefined
  const decipher = createDecipheriv('aes-256-gcm', createSecretKey(key), nonce, { authTagLength: tagBytes })
  decipher.setAAD(aad)
  decipher.setAuthTag(ciphertext.subarray(ciphertext.length - tagBytes))
  const plaintext = decipher.update(ciphertext.subarray(0, ciphertext.length - tagBytes))
  try {
    decipher.final()
  } catch {
    return undefined // OpenSSL's only failure here is a tag that does not fit
  }
  return new Uint8Array(plaintext)
}

/** 32 bytes from a passphrase; memory 128 · r · 2^logN bytes. */
export function scrypt(passphrase: Uint8Array, salt: Uint8Array, logN: number, r: number, p: number): Uint8Array {
  const N = 2 ** logN
  return new Uint8Array(scryptSync(passphrase, salt, 32, { N, r, p, maxmem: 2 * 128 * N * r }))
}

/** Plain digests: SHA-256 (FIPS 180-4), HMAC-SHA256 (RFC 2104), BLAKE2b-256 (RFC 7693). */
import { sha256 } from '#sha256'
import { concatBytes } from '@cipherlog/core'
import { blake2b } from '@noble/hashes/blake2.js'

export { sha256 }

/** SHA-256 of the parts, one after the other with nothing between: 32 bytes. */
export function sha256Of(...parts: readonly Uint8Array[]): Uint8Array {
  return sha256(parts.length === 1 ? parts[0]! : concatBytes(...parts))
}

/**
 * HMAC-SHA256: 32 bytes. Written out, since with one-shot hashes it takes a tenth of the time that setting up
 * OpenSSL's HMAC object costs for the short inputs we have.
 */
export function hmacSha256(key: Uint8Array, bytes: Uint8Array): Uint8Array {
  const block = key.length > 64 ? sha256(key) : key
  const inner = new Uint8Array(64 + bytes.length)
  const outer = new Uint8Array(64 + 32)
  for (let i = 0; i < 64; i++) {
    const byte = block[i] ?? 0
    inner[i] = byte ^ 0x36
    outer[i] = byte ^ 0x5c
  }
  inner.set(bytes, 64)
  outer.set(sha256(inner), 64)
  return sha256(outer)
}

/** BLAKE2b with a 32-byte output (not BLAKE2b-512 cut short), as SEAL computes its parms_id. */
export function blake2b256(bytes: Uint8Array): Uint8Array {
  return blake2b(bytes, { dkLen: 32 })
}

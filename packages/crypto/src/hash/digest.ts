/** Plain digests: SHA-256 (FIPS 180-4), HMAC-SHA256 (RFC 2104), BLAKE2b-256 (RFC 7693). */
import { hmacSha256, sha256 } from '#sha256'
import { concatBytes } from '@cipherlog/core'
import { blake2b } from '@noble/hashes/blake2.js'

export { hmacSha256, sha256 }

/** SHA-256 of the parts, one after the other with nothing between: 32 bytes. */
export function sha256Of(...parts: readonly Uint8Array[]): Uint8Array {
  return sha256(parts.length === 1 ? parts[0]! : concatBytes(...parts))
}

/** BLAKE2b with a 32-byte output (not BLAKE2b-512 cut short), as SEAL computes its parms_id. */
export function blake2b256(bytes: Uint8Array): Uint8Array {
  return blake2b(bytes, { dkLen: 32 })
}

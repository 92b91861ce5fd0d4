/** SHA-256 (FIPS 180-4) for browsers; the twin for Node is sha256-node.ts. */
import { sha256 as nobleSha256 } from '@noble/hashes/sha2.js'

/** SHA-256 of `bytes`: 32 fresh bytes. */
export function sha256(bytes: Uint8Array): Uint8Array {
  return nobleSha256(bytes)
}

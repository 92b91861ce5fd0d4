/**
 * The hashes of a transparency log's tree (RFC 6962 §2.1): SHA-256, leaves prefixed 00 and nodes 01.
 *
 * The prefixes keep a node from being presented as a leaf. Every hash here is 32 bytes.
 */
import { sha256, sha256Of } from '@cipherlog/crypto/hash'

/** Bytes of a SHA-256 hash. */
export const hashBytes = 32

const leafPrefix = Uint8Array.of(0)
const nodePrefix = Uint8Array.of(1)

/** Root of the tree without leaves: SHA-256 of nothing. Read only. */
export const emptyRoot: Uint8Array = sha256(new Uint8Array(0))

/** SHA-256(00 ‖ bytes), the hash of a leaf. */
export function leafHash(bytes: Uint8Array): Uint8Array {
  return sha256Of(leafPrefix, bytes)
}

/** SHA-256(01 ‖ left ‖ right), the hash of a node. */
export function nodeHash(left: Uint8Array, right: Uint8Array): Uint8Array {
  return sha256Of(nodePrefix, left, right)
}

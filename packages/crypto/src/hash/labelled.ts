/** Labelled hashes and MACs (DESIGN §5, "Labels"): label ‖ 00 in front of what is hashed. */
import { concatBytes, utf8 } from '@cipherlog/core'
import { hmacSha256, sha256 } from './digest.ts'
import { labels, type Label } from './labels.ts'

const zero = Uint8Array.of(0)
const prefixes = new Map<Label, Uint8Array>(
  Object.values(labels).map((label) => [label, concatBytes(utf8(label), zero)]),
)

function prefixOf(label: Label): Uint8Array {
  const prefix = prefixes.get(label)
  if (prefix === undefined) throw new TypeError(`not a label of the protocol: ${label}`)
  return prefix
}

/** label ‖ 00 ‖ parts, fresh bytes. @throws TypeError if `label` is none of {@link labels}. */
export function labelledBytes(label: Label, ...parts: readonly Uint8Array[]): Uint8Array {
  return concatBytes(prefixOf(label), ...parts)
}

/** SHA-256(label ‖ 00 ‖ parts): 32 bytes. */
export function labelledHash(label: Label, ...parts: readonly Uint8Array[]): Uint8Array {
  return sha256(labelledBytes(label, ...parts))
}

/**
 * HMAC-SHA256(key, label ‖ 00 ‖ cborBytes): 32 bytes.
 * @param cborBytes - the deterministic CBOR array of the inputs, so that no two lists of inputs look alike.
 */
export function labelledMac(key: Uint8Array, label: Label, cborBytes: Uint8Array): Uint8Array {
  return hmacSha256(key, labelledBytes(label, cborBytes))
}

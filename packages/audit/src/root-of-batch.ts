/**
 * Batch roots by a compact range alone. Replicas use merkletreejs beside it, which needs Node's `Buffer`; an audit runs
 * in browsers too, and one more independent computation is no loss.
 */
import { CompactRange } from '@cipherlog/merkle/tree'

/** RFC 6962 root of leaf hashes as a tree of their own. */
export function rootOfBatch(leafHashes: readonly Uint8Array[]): Uint8Array {
  const tree = new CompactRange()
  for (const hash of leafHashes) tree.append(hash)
  return tree.root()
}

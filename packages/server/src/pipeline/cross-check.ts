/**
 * The second computation that stands between a tree and a signature: merkletreejs roots the leaves since the last
 * multiple of 256, which must equal what the compact range folds; and every tile that was completed.
 */
import { equalBytes, invariant, toHex } from '@cipherlog/core'
import { type ClosedBatch } from '@cipherlog/machine'
import { batchRoot } from '@cipherlog/merkle/batch'

/** @throws InvariantViolation if the two trees differ: this size must not be signed. */
export function crossCheckTree({
  size,
  tail,
  tailRoot,
  completedTiles,
}: Pick<ClosedBatch, 'size' | 'tail' | 'tailRoot' | 'completedTiles'>): void {
  invariant(tail.length === size % 256, 'The tail does not reach from the last full tile to the end.', { size })
  if (tail.length > 0) {
    const twin = batchRoot(tail)
    invariant(tailRoot !== undefined && equalBytes(twin, tailRoot), 'Two computations of the tree differ.', {
      size,
      twin: toHex(twin),
    })
  }
  for (const { leafHashes, hash } of completedTiles) {
    invariant(equalBytes(batchRoot(leafHashes), hash), 'Two computations of a tile differ.', { size })
  }
}

/**
 * Batch roots by `merkletreejs`: a second, independent computation of what the compact range says.
 *
 * Its defaults are not RFC 6962: leaves come hashed, nodes are prefixed 01 by our concatenator, and a lone node is
 * promoted. No other option, verifier or multiproof of that library is used: they check membership, not position.
 *
 * Invariant: both computations agree on every batch, or the replica stops.
 */
import { equalBytes, InvariantViolation, toHex } from '@cipherlog/core'
import { sha256 } from '@cipherlog/crypto/hash'
import { MerkleTree } from 'merkletreejs'
import { CompactRange } from '../tree/compact-range.ts'
import { emptyRoot, hashBytes } from '../verify/hashing.ts'

/** Leaves of a batch, and hashes of a full tile. The library rebuilds the tree at each call, so batches are small. */
export const batchLeavesMax = 256

/**
 * The RFC 6962 root of up to 256 leaf hashes as a tree of their own, by merkletreejs alone.
 * @param leafHashes - 32 bytes each; any node hashes do, such as a tile's.
 * @returns 32 bytes; SHA-256 of nothing for no leaves.
 * @throws RangeError on more than 256 hashes or one that is not 32 bytes.
 */
export function batchRoot(leafHashes: readonly Uint8Array[]): Uint8Array {
  if (leafHashes.length > batchLeavesMax) {
    throw new RangeError(`a batch has at most ${batchLeavesMax} leaves, not ${leafHashes.length}`)
  }
  if (leafHashes.some((hash) => hash.length !== hashBytes)) throw new RangeError(`a leaf hash is ${hashBytes} bytes`)
  // The library answers an empty tree with no bytes at all.
  if (leafHashes.length === 0) return emptyRoot.slice()
  const tree = new MerkleTree(leafHashes.map(asBuffer), hashOf, { concatenator: prefixed })
  return new Uint8Array(tree.getRoot())
}

/**
 * The root of a full tile's 256 hashes by merkletreejs: what our own log must have put one tile level above.
 * @throws RangeError unless there are exactly 256.
 */
export function crossCheckTile(hashes: readonly Uint8Array[]): Uint8Array {
  if (hashes.length !== batchLeavesMax) throw new RangeError(`a full tile has 256 hashes, not ${hashes.length}`)
  return batchRoot(hashes)
}

/**
 * Compares merkletreejs's root of up to 256 leaf hashes with one computed by other code.
 * @throws {@link InvariantViolation} with both roots if they differ: one of the computations is broken.
 */
export function assertBatchRoot(leafHashes: readonly Uint8Array[], twinRoot: Uint8Array): void {
  const root = batchRoot(leafHashes)
  if (!equalBytes(root, twinRoot)) {
    throw new InvariantViolation('Two computations of one Merkle root differ; stop and report both.', {
      leafCount: leafHashes.length,
      batchRoot: toHex(root),
      twinRoot: toHex(twinRoot),
    })
  }
}

/**
 * The root of a batch for its batch record: by merkletreejs, with a fresh compact range as twin.
 * @throws {@link InvariantViolation} if they differ.
 */
export function rootOfBatch(leafHashes: readonly Uint8Array[]): Uint8Array {
  const twin = new CompactRange()
  for (const hash of leafHashes) twin.append(hash)
  const root = twin.root()
  assertBatchRoot(leafHashes, root)
  return root
}

/** The library reads hex out of strings and copies other arrays: it gets Buffers only, over the same memory. */
function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function hashOf(bytes: Uint8Array): Buffer {
  return asBuffer(sha256(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)))
}

/** 01 ‖ left ‖ right. */
function prefixed(nodes: Buffer[]): Buffer {
  return Buffer.concat([Buffer.of(1), ...nodes])
}

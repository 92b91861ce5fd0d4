/**
 * Inclusion proofs (RFC 9162 §2.1.3.2): that a leaf hash stands at an index of the tree with a given size and root.
 *
 * The root does not bind the size: many proofs also pass for size + 1. Take size and root from one signed
 * checkpoint (`openCheckpoint`), never from the party that hands in the proof.
 */
import { equalBytes, toHex, VerificationError } from '@cipherlog/core'
import { isCount } from './decimal.ts'
import { hashBytes, nodeHash } from './hashing.ts'

export interface InclusionProof {
  /** Index of the leaf, from 0. */
  readonly leafIndex: number
  /** Number of leaves of the tree, from a checkpoint. */
  readonly treeSize: number
  /** 32 bytes. */
  readonly leafHash: Uint8Array
  /** The siblings on the way up, the leaf's own first; 32 bytes each. */
  readonly proof: readonly Uint8Array[]
}

/**
 * The root that the proof leads to. The number of hashes is decided by index and size alone (RFC 9162 §2.1.3.1),
 * so it is checked before anything is hashed.
 * @returns 32 bytes, to be compared with a checkpoint's root of the same `treeSize`.
 * @throws {@link VerificationError} `ERR_VERIFY_INCLUSION` if the index is outside the tree, the number of hashes is
 * not the one that index and size demand, or a hash is not 32 bytes.
 */
export function rootFromInclusionProof({ leafIndex, treeSize, leafHash, proof }: InclusionProof): Uint8Array {
  if (!isCount(leafIndex) || !isCount(treeSize) || leafIndex >= treeSize) {
    throw refused(`There is no leaf ${leafIndex} in a tree of size ${treeSize}`, { leafIndex, treeSize })
  }
  const expected = inclusionProofLength(leafIndex, treeSize)
  if (proof.length !== expected) {
    throw refused(`Leaf ${leafIndex} of ${treeSize} takes ${expected} hashes, the proof has ${proof.length}`, {
      leafIndex,
      treeSize,
    })
  }
  if (leafHash.length !== hashBytes || proof.some((hash) => hash.length !== hashBytes)) {
    throw refused('A hash of the proof is not 32 bytes', { leafIndex, treeSize })
  }
  // RFC 9162 calls these fn and sn. Halving instead of shifting: sizes may exceed 32 bits.
  let index = leafIndex
  let last = treeSize - 1
  let root = leafHash
  for (const sibling of proof) {
    if (index % 2 === 1 || index === last) {
      root = nodeHash(sibling, root)
      while (index % 2 === 0 && index !== 0) {
        index /= 2
        last = Math.floor(last / 2)
      }
    } else {
      root = nodeHash(root, sibling)
    }
    index = Math.floor(index / 2)
    last = Math.floor(last / 2)
  }
  return root.slice()
}

/**
 * Checks that the leaf hash stands at its index in the tree with this size and root.
 * @throws {@link VerificationError} `ERR_VERIFY_INCLUSION` if it does not; `details` tells which leaf and root.
 */
export function verifyInclusion(claim: InclusionProof & { readonly rootHash: Uint8Array }): void {
  const root = rootFromInclusionProof(claim)
  if (!equalBytes(root, claim.rootHash)) {
    throw refused(`The proof for leaf ${claim.leafIndex} leads to another root than the checkpoint's`, {
      leafIndex: claim.leafIndex,
      treeSize: claim.treeSize,
      rootHash: toHex(claim.rootHash),
      computedRoot: toHex(root),
    })
  }
}

/** How many siblings a leaf has on its way up: one a level, except where its subtree is the unpaired right edge. */
function inclusionProofLength(leafIndex: number, treeSize: number): number {
  let length = 0
  for (
    let index = leafIndex, last = treeSize - 1;
    last > 0;
    index = Math.floor(index / 2), last = Math.floor(last / 2)
  ) {
    if (index !== last || index % 2 === 1) length++
  }
  return length
}

function refused(what: string, details: Record<string, unknown>): VerificationError {
  return new VerificationError('ERR_VERIFY_INCLUSION', `${what}; ask for the proof again, from another replica too.`, {
    details,
  })
}

/**
 * Consistency proofs (RFC 9162 §2.1.4.2): that a tree of size2 only appended to the tree of size1.
 *
 * Both sizes and roots come from signed checkpoints. A failed check between two verified checkpoints of one origin
 * that no proof can repair is a fork; the caller keeps both notes as evidence.
 */
import { equalBytes, toHex, VerificationError } from '@cipherlog/core'
import { isCount } from './decimal.ts'
import { emptyRoot, hashBytes, nodeHash } from './hashing.ts'

export interface ConsistencyProof {
  readonly size1: number
  /** Root at `size1`, 32 bytes. */
  readonly root1: Uint8Array
  /** At least `size1`. */
  readonly size2: number
  /** Root at `size2`, 32 bytes. */
  readonly root2: Uint8Array
  /** Hashes in RFC 6962 §2.1.2 order, 32 bytes each; none if the sizes are equal or `size1` is 0. */
  readonly proof: readonly Uint8Array[]
}

/**
 * Checks that the tree (size2, root2) starts with the leaves of the tree (size1, root1).
 * @throws {@link VerificationError} `ERR_VERIFY_CONSISTENCY` otherwise, `details` holding both sizes and roots.
 */
export function verifyConsistency(claim: ConsistencyProof): void {
  const { size1, root1, size2, root2, proof } = claim
  if (!isCount(size1) || !isCount(size2) || size1 > size2) {
    throw refused(claim, `A tree of size ${size2} cannot extend one of size ${size1}`)
  }
  if ([root1, root2, ...proof].some((hash) => hash.length !== hashBytes)) {
    throw refused(claim, 'A root or a hash of the proof is not 32 bytes')
  }
  if ((size1 === 0 && !equalBytes(root1, emptyRoot)) || (size2 === 0 && !equalBytes(root2, emptyRoot))) {
    throw refused(claim, 'A tree without leaves has another root')
  }
  if (size1 === size2 || size1 === 0) {
    if (proof.length !== 0) throw refused(claim, 'These sizes take an empty proof')
    if (size1 === size2 && !equalBytes(root1, root2)) throw refused(claim, 'Two roots are given for one size')
    return
  }
  verifyGrowth(claim)
}

/** 0 < size1 < size2. Both roots are rebuilt from the same hashes, which is what ties them together. */
function verifyGrowth(claim: ConsistencyProof): void {
  const { size1, root1, size2, root2, proof } = claim
  // RFC 9162 calls these fn and sn: walk up from the last leaf of the old tree to the root of the new one.
  let index = size1 - 1
  let last = size2 - 1
  while (index % 2 === 1) {
    index = (index - 1) / 2
    last = Math.floor(last / 2)
  }
  // Only if size1 is a power of two is the old tree one node of the new; its root is then left out of the proof.
  const path = index === 0 ? [root1, ...proof] : proof
  const first = path[0]
  if (first === undefined) throw refused(claim, 'The proof is empty')
  let computed1 = first
  let computed2 = first
  for (const hash of path.slice(1)) {
    if (last === 0) throw refused(claim, 'The proof has too many hashes')
    if (index % 2 === 1 || index === last) {
      computed1 = nodeHash(hash, computed1)
      computed2 = nodeHash(hash, computed2)
      while (index % 2 === 0 && index !== 0) {
        index /= 2
        last = Math.floor(last / 2)
      }
    } else {
      computed2 = nodeHash(computed2, hash)
    }
    index = Math.floor(index / 2)
    last = Math.floor(last / 2)
  }
  if (last !== 0) throw refused(claim, 'The proof has too few hashes')
  if (!equalBytes(computed1, root1)) throw refused(claim, `The proof does not lead to the root at size ${size1}`)
  if (!equalBytes(computed2, root2)) throw refused(claim, `The proof does not lead to the root at size ${size2}`)
}

function refused({ size1, root1, size2, root2 }: ConsistencyProof, what: string): VerificationError {
  return new VerificationError(
    'ERR_VERIFY_CONSISTENCY',
    `${what}; ask another replica for the proof, and if it fails too keep both checkpoints: they show a fork.`,
    { details: { size1, root1: toHex(root1), size2, root2: toHex(root2) } },
  )
}

import { equalBytes, errorCode } from '@cipherlog/core'
import { describe, expect, test } from 'vitest'
import { leafHashes, recursivePath, recursiveRoot } from '../recursive-twin.fixture.ts'
import { nodeHash } from './hashing.ts'
import { type InclusionProof, rootFromInclusionProof, verifyInclusion } from './inclusion-proof.ts'

type Claim = InclusionProof & { rootHash: Uint8Array }

function claimOf(leafIndex: number, leaves: readonly Uint8Array[]): Claim {
  return {
    leafIndex,
    treeSize: leaves.length,
    leafHash: leaves[leafIndex]!,
    proof: recursivePath(leafIndex, leaves),
    rootHash: recursiveRoot(leaves),
  }
}

function codeOf(claim: Claim): string | undefined {
  try {
    verifyInclusion(claim)
    return 'verified'
  } catch (error) {
    return errorCode(error)
  }
}

const flipped = (bytes: Uint8Array) => bytes.map((byte, i) => (i === 31 ? byte ^ 1 : byte))

describe('verifyInclusion()', () => {
  test('accepts every proof of the recursive twin, sizes 1 to 64, and of sampled leaves up to 300', () => {
    const leaves = leafHashes(300)
    for (let size = 1; size <= 300; size += size < 64 ? 1 : 59) {
      const tree = leaves.slice(0, size)
      const rootHash = recursiveRoot(tree)
      for (let leafIndex = 0; leafIndex < size; leafIndex += size < 64 ? 1 : 13) {
        verifyInclusion({
          leafIndex,
          treeSize: size,
          leafHash: leaves[leafIndex]!,
          proof: recursivePath(leafIndex, tree),
          rootHash,
        })
      }
    }
  })

  // Named after the mutation, as in transparency-dev/merkle.
  const mutations: Record<string, (claim: Claim) => Claim> = {
    'one-hash-too-many': (c) => ({ ...c, proof: [...c.proof, c.rootHash] }),
    'trailing-garbage': (c) => ({ ...c, proof: [...c.proof, new Uint8Array(0)] }),
    'preceding-garbage': (c) => ({ ...c, proof: [new Uint8Array(32), ...c.proof] }),
    'truncated-proof': (c) => ({ ...c, proof: c.proof.slice(0, -1) }),
    'truncated-hash': (c) => ({ ...c, proof: c.proof.map((hash) => hash.subarray(0, 31)) }),
    'long-hash': (c) => ({ ...c, proof: c.proof.map((hash) => new Uint8Array([...hash, 0])) }),
    'reversed-proof': (c) => ({ ...c, proof: c.proof.toReversed() }),
    'flipped-bit-in-proof': (c) => ({ ...c, proof: c.proof.map((hash, i) => (i === 1 ? flipped(hash) : hash)) }),
    'flipped-bit-in-leaf': (c) => ({ ...c, leafHash: flipped(c.leafHash) }),
    'flipped-bit-in-root': (c) => ({ ...c, rootHash: flipped(c.rootHash) }),
    'empty-root': (c) => ({ ...c, rootHash: new Uint8Array(0) }),
    'truncated-leaf': (c) => ({ ...c, leafHash: c.leafHash.subarray(0, 31) }),
    'next-index': (c) => ({ ...c, leafIndex: c.leafIndex + 1 }),
    'index-equals-size': (c) => ({ ...c, leafIndex: c.treeSize }),
    'negative-index': (c) => ({ ...c, leafIndex: -1 }),
    'fractional-index': (c) => ({ ...c, leafIndex: c.leafIndex + 0.5 }),
    'nan-size': (c) => ({ ...c, treeSize: NaN }),
    'infinite-size': (c) => ({ ...c, treeSize: Infinity }),
    'size-zero': (c) => ({ ...c, treeSize: 0 }),
    'doubled-size': (c) => ({ ...c, treeSize: 2 * c.treeSize }),
    'root-as-leaf': (c) => ({ ...c, leafHash: c.rootHash, proof: [] }),
  }
  test.each(Object.entries(mutations))('rejects %s', (_name, mutate) => {
    for (const [index, size] of [
      [2, 7],
      [4, 7],
      [0, 8],
      [9, 13],
    ] as const) {
      const claim = claimOf(index, leafHashes(size))
      expect(codeOf(claim)).toBe('verified')
      expect(codeOf(mutate(claim))).toBe('ERR_VERIFY_INCLUSION')
    }
  })

  test('rejects a node of the tree presented as a leaf with the rest of its proof', () => {
    const claim = claimOf(4, leafHashes(8))
    const node = nodeHash(claim.leafHash, claim.proof[0]!)
    expect(codeOf({ ...claim, leafHash: node, proof: claim.proof.slice(1) })).toBe('ERR_VERIFY_INCLUSION')
  })

  test('cannot tell a size from the next one: so size and root must come from one checkpoint', () => {
    const leaves = leafHashes(99)
    const rootHash = recursiveRoot(leaves)
    const alsoPass = leaves.filter((_, leafIndex) => {
      return codeOf({ ...claimOf(leafIndex, leaves), treeSize: 100, rootHash }) === 'verified'
    })
    // Every proof but the last leaf's is as long at size 100, and nothing in it says 99.
    expect(alsoPass).toHaveLength(98)
    const nextRoot = recursiveRoot(leafHashes(100))
    for (const leaf of [0, 50, 98]) {
      expect(codeOf({ ...claimOf(leaf, leaves), treeSize: 100, rootHash: nextRoot })).toBe('ERR_VERIFY_INCLUSION')
    }
  })

  test('handles sizes beyond 32 bits without rounding', () => {
    const [leaf, sibling] = leafHashes(2)
    const root = rootFromInclusionProof({
      leafIndex: 2 ** 40,
      treeSize: 2 ** 40 + 1,
      leafHash: leaf!,
      proof: [sibling!],
    })
    expect(equalBytes(root, nodeHash(sibling!, leaf!))).toBe(true)
    const largest = { leafIndex: 0, treeSize: Number.MAX_SAFE_INTEGER, leafHash: leaf! }
    expect(rootFromInclusionProof({ ...largest, proof: leafHashes(53) })).toHaveLength(32)
    expect(() => rootFromInclusionProof({ ...largest, proof: leafHashes(54) })).toThrow('53 hashes')
    expect(() => rootFromInclusionProof({ ...largest, treeSize: 2 ** 53, proof: leafHashes(53) })).toThrow()
  })

  test('returns bytes of its own, even for a tree of one leaf', () => {
    const [leaf] = leafHashes(1)
    const root = rootFromInclusionProof({ leafIndex: 0, treeSize: 1, leafHash: leaf!, proof: [] })
    root[0]! ^= 1
    expect(leaf).toEqual(leafHashes(1)[0])
  })
})

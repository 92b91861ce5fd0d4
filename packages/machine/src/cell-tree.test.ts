import { leafHash, nodeHash, rootFromInclusionProof } from '@cipherlog/merkle/verify'
import { expect, test } from 'vitest'
import { CellTree } from './cell-tree.ts'
import { opaque } from './cluster.fixture.ts'

/** RFC 6962 §2.1 as it is written. */
function rootOf(digests: readonly Uint8Array[]): Uint8Array {
  if (digests.length === 1) return leafHash(digests[0]!)
  let split = 1
  while (split * 2 < digests.length) split *= 2
  return nodeHash(rootOf(digests.slice(0, split)), rootOf(digests.slice(split)))
}

test('a tree of 1 to 70 digests, each changed in turn, has the root and the paths of RFC 6962', () => {
  const tree = new CellTree()
  const digests: Uint8Array[] = []
  expect(tree.root()).toBeUndefined()
  for (let size = 1; size <= 70; size++) {
    digests.push(opaque(`digest ${size}`, 32))
    tree.set(size - 1, digests[size - 1]!)
    const changed = (size * 37) % size
    digests[changed] = opaque(`changed ${size}`, 32)
    tree.set(changed, digests[changed])
    expect(tree.size).toBe(size)
    expect(tree.root()).toEqual(rootOf(digests))
    for (let leafIndex = 0; leafIndex < size; leafIndex++) {
      const proof = tree.path(leafIndex)
      const hash = leafHash(digests[leafIndex]!)
      expect(rootFromInclusionProof({ leafIndex, treeSize: size, leafHash: hash, proof })).toEqual(tree.root())
    }
  }
})

test('a leaf is set in order of its number, never with a gap', () => {
  const tree = new CellTree()
  expect(() => tree.set(1, opaque('digest', 32))).toThrow(/out of order/)
})

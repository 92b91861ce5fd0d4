/** The vectors of Certificate Transparency (google/certificate-transparency, merkle_tree_test.cc). */
import { fromHex, toHex } from '@cipherlog/core'
import { describe, expect, test } from 'vitest'
import { recursiveConsistency, recursivePath, recursiveRoot } from '../recursive-twin.fixture.ts'
import { CompactRange } from '../tree/compact-range.ts'
import { verifyConsistency } from './consistency-proof.ts'
import { emptyRoot, leafHash } from './hashing.ts'
import { verifyInclusion } from './inclusion-proof.ts'

const data = ['', '00', '10', '2021', '3031', '40414243', '5051525354555657', '606162636465666768696a6b6c6d6e6f'].map(
  fromHex,
)

const roots = [
  'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
  '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
].map(fromHex)

const inclusionProofs = [
  { leafIndex: 0, treeSize: 1, proof: [] },
  {
    leafIndex: 0,
    treeSize: 8,
    proof: [
      '96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7',
      '5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e',
      '6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4',
    ],
  },
  {
    leafIndex: 5,
    treeSize: 8,
    proof: [
      'bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b',
      'ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0',
      'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
    ],
  },
  { leafIndex: 2, treeSize: 3, proof: ['fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125'] },
  {
    leafIndex: 1,
    treeSize: 5,
    proof: [
      '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
      '5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e',
      'bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b',
    ],
  },
]

const consistencyProofs = [
  { size1: 1, size2: 1, proof: [] },
  {
    size1: 1,
    size2: 8,
    proof: [
      '96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7',
      '5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e',
      '6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4',
    ],
  },
  {
    size1: 6,
    size2: 8,
    proof: [
      '0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a',
      'ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0',
      'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
    ],
  },
  {
    size1: 2,
    size2: 5,
    proof: [
      '5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e',
      'bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b',
    ],
  },
]

describe('RFC 6962 §2.1', () => {
  const leaves = data.map(leafHash)

  test('roots of the first 0 to 8 leaves, by compact range and by the recursive twin', () => {
    const range = new CompactRange()
    expect(toHex(emptyRoot)).toBe(toHex(roots[0]!))
    for (let size = 0; size <= 8; size++) {
      expect(toHex(range.root())).toBe(toHex(roots[size]!))
      expect(toHex(recursiveRoot(leaves.slice(0, size)))).toBe(toHex(roots[size]!))
      if (size < 8) range.append(leaves[size]!)
    }
  })

  test.each(inclusionProofs)('§2.1.1 inclusion of leaf $leafIndex in $treeSize', ({ leafIndex, treeSize, proof }) => {
    expect(recursivePath(leafIndex, leaves.slice(0, treeSize)).map(toHex)).toEqual(proof)
    const claim = { leafIndex, treeSize, leafHash: leaves[leafIndex]!, proof: proof.map(fromHex) }
    verifyInclusion({ ...claim, rootHash: roots[treeSize]! })
    expect(() => verifyInclusion({ ...claim, rootHash: roots[0]! })).toThrow('another root')
  })

  test.each(consistencyProofs)('§2.1.2 consistency of $size1 with $size2', ({ size1, size2, proof }) => {
    expect(recursiveConsistency(size1, leaves.slice(0, size2)).map(toHex)).toEqual(proof)
    const claim = { size1, root1: roots[size1]!, size2, root2: roots[size2]!, proof: proof.map(fromHex) }
    verifyConsistency(claim)
    expect(() => verifyConsistency({ ...claim, root2: roots[0]! })).toThrow()
  })
})

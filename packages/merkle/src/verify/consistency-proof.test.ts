import { CipherlogError, errorCode, toHex } from '@cipherlog/core'
import { describe, expect, test } from 'vitest'
import { leafHashes, recursiveConsistency, recursiveRoot } from '../recursive-twin.fixture.ts'
import { type ConsistencyProof, verifyConsistency } from './consistency-proof.ts'
import { emptyRoot } from './hashing.ts'

const leaves = leafHashes(300)
const roots = leaves.map((_, i) => recursiveRoot(leaves.slice(0, i)))

function claimOf(size1: number, size2: number): ConsistencyProof {
  const proof = recursiveConsistency(size1, leaves.slice(0, size2))
  return { size1, root1: roots[size1]!, size2, root2: roots[size2]!, proof }
}

function codeOf(claim: ConsistencyProof): string | undefined {
  try {
    verifyConsistency(claim)
    return 'verified'
  } catch (error) {
    return errorCode(error)
  }
}

describe('verifyConsistency()', () => {
  test('accepts every proof of the recursive twin, sizes 1 to 48, and of sampled pairs up to 299', () => {
    for (let size2 = 1; size2 < 300; size2 += size2 < 48 ? 1 : 41) {
      for (let size1 = 1; size1 <= size2; size1 += size2 < 48 ? 1 : 17) verifyConsistency(claimOf(size1, size2))
    }
  })

  test('accepts anything as an extension of the empty tree, with an empty proof and its own root only', () => {
    const claim = { size1: 0, root1: emptyRoot, size2: 5, root2: roots[5]!, proof: [] }
    expect(codeOf(claim)).toBe('verified')
    expect(codeOf({ ...claim, size2: 0, root2: emptyRoot })).toBe('verified')
    expect(codeOf({ ...claim, root1: roots[1]! })).toBe('ERR_VERIFY_CONSISTENCY')
    expect(codeOf({ ...claim, proof: [roots[5]!] })).toBe('ERR_VERIFY_CONSISTENCY')
    expect(codeOf({ ...claim, size2: 0, root2: roots[1]! })).toBe('ERR_VERIFY_CONSISTENCY')
  })

  const mutations: Record<string, (claim: ConsistencyProof) => ConsistencyProof> = {
    'swapped-roots': (c) => ({ ...c, root1: c.root2, root2: c.root1 }),
    'swapped-sizes': (c) => ({ ...c, size1: c.size2, size2: c.size1 }),
    'one-hash-too-many': (c) => ({ ...c, proof: [...c.proof, c.root1] }),
    'trailing-garbage': (c) => ({ ...c, proof: [...c.proof, new Uint8Array(0)] }),
    'preceding-garbage': (c) => ({ ...c, proof: [new Uint8Array(32), ...c.proof] }),
    'preceding-root1': (c) => ({ ...c, proof: [c.root1, ...c.proof] }),
    'truncated-proof': (c) => ({ ...c, proof: c.proof.slice(0, -1) }),
    'beheaded-proof': (c) => ({ ...c, proof: c.proof.slice(1) }),
    'empty-proof': (c) => ({ ...c, proof: [] }),
    'truncated-hash': (c) => ({ ...c, proof: c.proof.map((hash) => hash.subarray(1)) }),
    'size1-minus-one': (c) => ({ ...c, size1: c.size1 - 1 }),
    'equal-sizes': (c) => ({ ...c, size1: c.size2 }),
    'wrong-root1': (c) => ({ ...c, root1: roots[c.size1 + 1]! }),
    'wrong-root2': (c) => ({ ...c, root2: roots[c.size2 + 1]! }),
    'short-root': (c) => ({ ...c, root1: c.root1.subarray(0, 31) }),
    'negative-size': (c) => ({ ...c, size1: -1 }),
    'fractional-size': (c) => ({ ...c, size2: c.size2 + 0.5 }),
    'nan-size': (c) => ({ ...c, size1: NaN }),
  }
  test.each(Object.entries(mutations))('rejects %s', (_name, mutate) => {
    for (const [size1, size2] of [
      [3, 7],
      [4, 7],
      [6, 8],
      [1, 2],
      [200, 257],
    ] as const) {
      const claim = claimOf(size1, size2)
      expect(codeOf(claim)).toBe('verified')
      expect(codeOf(mutate(claim))).toBe('ERR_VERIFY_CONSISTENCY')
    }
  })

  test('rejects a fork and hands out both sizes and roots as evidence', () => {
    const forked = recursiveRoot([...leaves.slice(0, 9), ...leafHashes(1, 1000)])
    const error = thrownBy(() => verifyConsistency({ ...claimOf(9, 20), size1: 10, root1: forked }))
    expect(error.code).toBe('ERR_VERIFY_CONSISTENCY')
    expect(error.details).toEqual({ size1: 10, root1: toHex(forked), size2: 20, root2: toHex(roots[20]!) })
  })

  test('rejects two roots for one size', () => {
    expect(codeOf({ size1: 4, root1: roots[4]!, size2: 4, root2: roots[5]!, proof: [] })).toBe('ERR_VERIFY_CONSISTENCY')
  })
})

function thrownBy(run: () => void): CipherlogError {
  try {
    run()
  } catch (error) {
    if (error instanceof CipherlogError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}

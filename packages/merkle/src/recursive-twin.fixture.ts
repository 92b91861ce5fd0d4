/**
 * The slow, obvious twin: RFC 6962 §2.1 written down as it is printed, for tests to compare the fast code with.
 */
import { utf8 } from '@cipherlog/core'
import { emptyRoot, leafHash, nodeHash } from './verify/hashing.ts'

/** Hashes of leaves `leaf 0`, `leaf 1`, … */
export function leafHashes(count: number, from = 0): Uint8Array[] {
  return Array.from({ length: count }, (_, i) => leafHash(utf8(`leaf ${from + i}`)))
}

/** MTH(D[n]), over leaf hashes. */
export function recursiveRoot(leaves: readonly Uint8Array[]): Uint8Array {
  if (leaves.length === 0) return emptyRoot
  if (leaves.length === 1) return leaves[0]!
  const k = splitOf(leaves.length)
  return nodeHash(recursiveRoot(leaves.slice(0, k)), recursiveRoot(leaves.slice(k)))
}

/** PATH(m, D[n]). */
export function recursivePath(m: number, leaves: readonly Uint8Array[]): Uint8Array[] {
  if (leaves.length === 1) return []
  const k = splitOf(leaves.length)
  return m < k
    ? [...recursivePath(m, leaves.slice(0, k)), recursiveRoot(leaves.slice(k))]
    : [...recursivePath(m - k, leaves.slice(k)), recursiveRoot(leaves.slice(0, k))]
}

/** PROOF(m, D[n]) for 0 < m ≤ n. */
export function recursiveConsistency(m: number, leaves: readonly Uint8Array[]): Uint8Array[] {
  return subproof(m, leaves, true)
}

function subproof(m: number, leaves: readonly Uint8Array[], complete: boolean): Uint8Array[] {
  if (m === leaves.length) return complete ? [] : [recursiveRoot(leaves)]
  const k = splitOf(leaves.length)
  return m <= k
    ? [...subproof(m, leaves.slice(0, k), complete), recursiveRoot(leaves.slice(k))]
    : [...subproof(m - k, leaves.slice(k), false), recursiveRoot(leaves.slice(0, k))]
}

function splitOf(n: number): number {
  let k = 1
  while (2 * k < n) k *= 2
  return k
}

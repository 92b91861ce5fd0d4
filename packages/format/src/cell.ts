/**
 * Homomorphic cells: one slice per key epoch. The arrays below are what cell digests (label `cell`) and
 * contribution chains (label `cell-chain`) hash; `storedCell` is how a replica keeps a cell.
 */
import { array, bytes, record, tuple, uint, type TypeOf } from '@cipherlog/core'
import { digest, namespaceName } from './common.ts'
import { keyBytesMax } from './command-bundle.ts'

/** [epoch, count, SHA-256 of sum, chain, declared bound]. */
export const sliceDigestInput = tuple(uint(), uint(), digest, digest, uint())
/** CBOR [number, namespace, key, slices in order of epoch]; label `cell`. */
export const cellDigestInput = tuple(uint(), namespaceName, bytes(0, keyBytesMax), array(sliceDigestInput, 256))
/** CBOR [number]: digest of a removed cell, which keeps its place; label `cell`. */
export const tombstoneInput = tuple(uint())
/** CBOR [previous chain, leaf, command, weight, SHA-256 of the ciphertext]; label `cell-chain`. */
export const chainInput = tuple(digest, uint(), uint(255), uint(), digest)

export const storedSlice = record('slice', {
  keyEpoch: [1, uint(0xffff_ffff, 1)],
  count: [2, uint()],
  /** The suite's canonical bytes: ElGamal 128, BFV the gated uncompressed form. */
  sum: [3, bytes(0, 524_401)],
  chain: [4, digest],
  bound: [5, uint()],
})
export const storedCell = record('cell', {
  number: [1, uint()],
  namespace: [2, namespaceName],
  key: [3, bytes(0, keyBytesMax)],
  slices: [4, array(storedSlice, 256)],
})
export type StoredCell = TypeOf<typeof storedCell>
export type StoredSlice = TypeOf<typeof storedSlice>

/** A cell as a reader gets it: with its place among all cells and the path to the state root. */
export const cellProof = record('cell-proof', {
  cell: [1, storedCell],
  /** Number of cells under the state root. */
  cellCount: [2, uint(Number.MAX_SAFE_INTEGER, 1)],
  path: [3, array(digest, 64)],
})
export type CellProof = TypeOf<typeof cellProof>

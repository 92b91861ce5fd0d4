/**
 * Batch records: the last leaf of every batch, so that a checkpoint covers state, registry and time. It has no
 * `tile/bundle` slot: nobody signs it, every replica computes it.
 */
import { constant, record, tuple, bytes, uint, type TypeOf } from '@cipherlog/core'
import { digest, groupId, timeMs } from './common.ts'
import { leafKinds } from './numbers.ts'

/** Newest key event: number and SHA-256 of its bytes without signatures; {0, cluster} at genesis. */
export const registryHead = record('registry-head', { number: [1, uint()], digest: [2, digest] })
export type RegistryHead = TypeOf<typeof registryHead>

/** How the state root is computed; 1: cells in order of creation. */
export const stateRootAlgorithm = 1

export const batchRecord = record(
  'batch-record',
  {
    kind: [1, constant(leafKinds.batchRecord, 'kind')],
    group: [2, groupId],
    logIndex: [3, uint()],
    logTime: [4, timeMs],
    firstLeaf: [5, uint()],
    /** Leaves of the batch, this record not counted. */
    leafCount: [6, uint(255, 1)],
    /** RFC 6962 root of those leaves as a tree of their own. */
    batchRoot: [7, digest],
    registryHead: [9, registryHead],
    rulesVersion: [10, uint(0xffff, 1)],
  },
  { stateRoot: [8, tuple(uint(255, 1), bytes(32))] },
)
export type BatchRecord = TypeOf<typeof batchRecord>

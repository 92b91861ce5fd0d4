/**
 * Group start: leaf 0 of a generation above 0, which goes on from the end of an older log that was restored from a
 * backup (docs/ARCHITECTURE.md "Generations"). Its cosigner set governs from size 2; sessions have ended.
 *
 * Travels as CBOR [group start bytes, [[role, index, signature] …]]; label `group-start`, by k distinct operators.
 */
import { array, bytes, constant, record, text, tuple, uint, type TypeOf } from '@cipherlog/core'
import { registryHead } from './batch-record.ts'
import { clusterId, cosignerSet, cosignersMax, formatVersion, groupId, seen, signature, timeMs } from './common.ts'
import { roleSignature } from './genesis.ts'

export const groupStart = record('group-start', {
  version: [0, constant(formatVersion)],
  cluster: [1, clusterId],
  group: [2, groupId],
  /** Above that of the old log. */
  generation: [3, uint(Number.MAX_SAFE_INTEGER, 1)],
  oldOrigin: [4, text(256)],
  /** Size and root of the old log's checkpoint from which it was restored. */
  end: [5, seen],
  /** Of the batch record that ends it. */
  registryHead: [6, registryHead],
  operatorSetVersion: [7, uint()],
  cosigners: [8, cosignerSet],
  /** [index of the replica, signature by its answer key]: proofs of possession, one for each. */
  possessions: [9, array(tuple(uint(cosignersMax - 1), signature), cosignersMax)],
  /** First log time of the generation; at least the old log's last. */
  startedAt: [10, timeMs],
})
export type GroupStart = TypeOf<typeof groupStart>

/** Longest group start: seven replicas. */
export const groupStartBytesMax = 8192
export const signedGroupStart = tuple(bytes(1, groupStartBytesMax), array(roleSignature, 16, 1))
export type SignedGroupStart = TypeOf<typeof signedGroupStart>

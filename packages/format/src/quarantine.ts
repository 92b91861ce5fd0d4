/**
 * Quarantine: k operators set aside a log entry at which nodes stop (docs/ARCHITECTURE.md "Quarantine"). It stands
 * on the log behind the entry that it names, outside the chain of key events, for that chain may be what is stuck.
 *
 * Travels as CBOR [quarantine bytes, [[role, index, signature] …]]; label `quarantine`, by k distinct operators.
 */
import { array, bytes, constant, record, tuple, uint, type TypeOf } from '@cipherlog/core'
import { clusterId, digest, formatVersion, groupId } from './common.ts'
import { roleSignature } from './genesis.ts'

export const quarantine = record('quarantine', {
  version: [0, constant(formatVersion)],
  cluster: [1, clusterId],
  group: [2, groupId],
  generation: [3, uint()],
  /** Log index of the entry. */
  index: [4, uint(Number.MAX_SAFE_INTEGER, 1)],
  /** SHA-256 of the entry's signed CBOR array, as in its leaf record. */
  digest: [5, digest],
  operatorSetVersion: [6, uint()],
})
export type Quarantine = TypeOf<typeof quarantine>

export const signedQuarantine = tuple(bytes(1, 256), array(roleSignature, 16, 1))
export type SignedQuarantine = TypeOf<typeof signedQuarantine>

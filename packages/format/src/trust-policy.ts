/**
 * Trust policy: all that a client or auditor believes beforehand. It never changes by itself; what was seen is
 * kept beside it.
 */
import { array, constant, record, text, uint, type TypeOf } from '@cipherlog/core'
import { clusterId, formatVersion, groupId, seen } from './common.ts'

export const trustPolicy = record(
  'trust-policy',
  {
    version: [0, constant(formatVersion)],
    /** SHA-256 of the genesis. */
    cluster: [1, clusterId],
    group: [2, groupId],
    /** Least generation accepted. */
    generation: [3, uint()],
    /** vkeys of outside witnesses. */
    witnesses: [4, array(text(512), 16)],
    /** How many of them must have signed. */
    witnessesRequired: [5, uint(16)],
  },
  { start: [6, seen] },
)
export type TrustPolicy = TypeOf<typeof trustPolicy>

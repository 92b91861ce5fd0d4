/** Leaf records: what the tree hashes of an entry. At most 65,535 bytes (C2SP entry bundle). */
import { array, record, refine, uint, type TypeOf } from '@cipherlog/core'
import { digest, groupId, id16, timeMs } from './common.ts'
import { leafKinds } from './numbers.ts'

export const leafRecordBytesMax = 65_535

export const leafRecord = record(
  'leaf-record',
  {
    /** A batch record is a leaf of its own format with the same first keys, so its kind is not among these. */
    kind: [1, refine(uint(6), (kind) => (kind === leafKinds.batchRecord ? 'that is a batch record' : undefined))],
    group: [2, groupId],
    logIndex: [3, uint()],
    logTime: [4, timeMs],
    /** SHA-256 of the signed CBOR array in the leaf's `tile/bundle` slot. */
    digest: [5, digest],
  },
  {
    client: [6, id16],
    session: [7, uint()],
    /** First sequence and number of commands; an opening is sequence 0. */
    firstSequence: [8, uint()],
    sequenceCount: [9, uint(256, 1)],
    /** The key epoch of each command. */
    epochs: [10, array(uint(0xffff_ffff), 256)],
    verdicts: [11, array(uint(0xff), 256)],
  },
)
export type LeafRecord = TypeOf<typeof leafRecord>

/**
 * Key envelopes: a content key wrapped to every reader of a keyset, once per key session.
 *
 * The fixed part goes into a command's `args` (`op: envelope`), so signature and context cover it; its id is
 * SHA-256(label `envelope-id` ‖ 00 ‖ fixed part). The wraps are the command's third body and are kept in state.
 */
import { array, bytes, record, tuple, uint, type TypeOf } from '@cipherlog/core'
import { clusterId, digest, id16 } from './common.ts'

export const keyEnvelope = record(
  'key-envelope',
  {
    cluster: [1, clusterId],
    client: [2, id16],
    keyset: [3, id16],
    keyEpoch: [4, uint(0xffff_ffff, 1)],
    /** HMAC(contentKey, label `commit`, …): one content key fits, so all readers open the same plaintexts. */
    commit: [6, digest],
  },
  { subject: [5, bytes(1, 64)] },
)
export type KeyEnvelope = TypeOf<typeof keyEnvelope>

/** The content key sealed to one reader: HPKE base mode, X-Wing; 1,120 + 48 bytes. */
export const wrap = record('wrap', {
  wrapEpoch: [1, uint(0xffff_ffff, 1)],
  readerKeyId: [2, digest],
  enc: [3, bytes(1120)],
  ciphertext: [4, bytes(48)],
})
export type Wrap = TypeOf<typeof wrap>

export const wraps = array(wrap, 64, 1)

/** HPKE `info` of a wrap: CBOR [label, envelope id, wrapEpoch, reader key id]; the label goes in as bytes. */
export const wrapInfo = tuple(bytes(1, 64), digest, uint(0xffff_ffff, 1), digest)

/** What the commitment covers beside the key: CBOR [cluster, client, keyset, keyEpoch, subject or empty]. */
export const commitInput = tuple(clusterId, id16, id16, uint(0xffff_ffff, 1), bytes(0, 64))

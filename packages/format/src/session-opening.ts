/**
 * Session openings: a client session lives on the log, so that old bytes can never become a fresh one.
 * Travels as CBOR [opening bytes, signature]; label `open-session`, by the client's key.
 */
import { bytes, constant, record, tuple, uint, type TypeOf } from '@cipherlog/core'
import { clusterId, formatVersion, groupId, id16, seen, signature, timeMs } from './common.ts'

export const sessionOpening = record('session-opening', {
  version: [0, constant(formatVersion)],
  cluster: [1, clusterId],
  group: [2, groupId],
  generation: [3, uint()],
  client: [4, id16],
  /** Above every number this client ever used: the high-water mark is never forgotten. */
  number: [5, uint(Number.MAX_SAFE_INTEGER, 1)],
  seen: [6, seen],
  notAfter: [7, timeMs],
})
export type SessionOpening = TypeOf<typeof sessionOpening>

export const signedSessionOpening = tuple(bytes(1, 1024), signature)

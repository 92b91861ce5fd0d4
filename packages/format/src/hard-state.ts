/**
 * Raft's HardState as a replica stores it (docs/formats/wal.md): the payload of a WAL record of kind `hardState`.
 *
 * A replica must never answer before what it vouches for is durable: `term` and `votedFor` are promises to the
 * other voters, `commit` is a hint that saves work after a restart.
 */
import { decode, encode, fromHex, record, toHex, uint, type TypeOf } from '@cipherlog/core'
import type { HardState } from '@cipherlog/raft'
import { peerId } from './common.ts'

/** CBOR map; `votedFor` is left out while no vote was cast in `term`. */
export const hardState = record('hard-state', { term: [1, uint()], commit: [3, uint()] }, { votedFor: [2, peerId] })
/** HardState with the peer id as 16 bytes. */
export type StoredHardState = TypeOf<typeof hardState>

/** Largest encoding: a map of three, two 64-bit integers, 16 bytes. */
export const hardStateBytesMax = 1 + 10 + 18 + 10

/** The canonical bytes of a HardState whose `votedFor` is a peer id in 32 hex digits. @throws RangeError, DecodeError. */
export function encodeHardState(value: HardState): Uint8Array {
  const { term, votedFor, commit } = value
  return encode(hardState, votedFor === undefined ? { term, commit } : { term, commit, votedFor: fromHex(votedFor) })
}

/** Reads a HardState. @throws {@link DecodeError} on anything but the one valid encoding of one HardState. */
export function decodeHardState(bytes: Uint8Array): HardState {
  const { term, votedFor, commit } = decode(hardState, bytes, hardStateBytesMax)
  return { term, votedFor: votedFor === undefined ? undefined : toHex(votedFor), commit }
}

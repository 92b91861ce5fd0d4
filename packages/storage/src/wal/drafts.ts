/** Appends as they are checked before anything changes, and the records that will make them durable. */
import { hash } from 'node:crypto'
import { emptyBytes, equalBytes, invariant } from '@cipherlog/core'
import { encodeHardState } from '@cipherlog/format/hard-state'
import {
  walPayloadBytesMax,
  type WalRecordHeader,
  type WalRecordKind,
  walRecordKinds,
} from '@cipherlog/format/wal-record'
import type { HardState, PeerId } from '@cipherlog/raft'
import { type GroupLog, type Slot, termAtLeast } from './group-log.ts'
import { WalFencedError } from '../errors.ts'
import { type WalAppend, type WalBase, type WalSettlement } from './wal.ts'

const u32Max = 0xffff_ffff

/** Kinds of records without payload. */
type PlainKind = Exclude<WalRecordKind, typeof walRecordKinds.entry | typeof walRecordKinds.hardState>

/** A record whose place in the log is not fixed yet. */
export interface Draft extends Pick<WalRecordHeader, 'kind' | 'entryKind' | 'term' | 'index' | 'time' | 'digest'> {
  readonly payload: Uint8Array
  /** Of an entry. */
  readonly slot?: Slot
  /** What the payload encodes, if it is a HardState. */
  readonly hardState?: HardState
}

export function hardStateDraft(hardState: HardState): Draft {
  const payload = encodeHardState(hardState)
  const { term, commit: index } = hardState
  return {
    kind: walRecordKinds.hardState,
    entryKind: 0,
    term,
    index,
    time: 0,
    digest: sha256(payload),
    payload,
    hardState,
  }
}

const emptyDigest = sha256(emptyBytes)

/** A record without payload. @param at - what its term and time are of. */
export function plainDraft(kind: PlainKind, index: number, { term, time }: WalBase): Draft {
  return { kind, entryKind: 0, term, index, time, digest: emptyDigest, payload: emptyBytes }
}

/** Refuses an append that does not continue the log, before anything changes. */
export function checkAppend(
  log: GroupLog,
  { hardState, snapshot, truncateFrom, entries, fencingTerm }: WalAppend,
): void {
  const { baseIndex, lastIndex } = log
  if (!Number.isSafeInteger(fencingTerm) || fencingTerm < 0 || fencingTerm > u32Max) {
    throw new RangeError(`the fencing term ${fencingTerm} does not fit 32 bits`)
  }
  if (fencingTerm < log.fencingTerm) throw new WalFencedError(fencingTerm, log.fencingTerm)
  // What a reader concludes from a token after a lost record: no promise before it was of a later term.
  invariant((hardState?.term ?? 0) <= fencingTerm, 'A HardState is written in its own term', { fencingTerm })
  invariant(log.doubt === undefined || hardState === undefined, 'In doubt only a settlement writes a HardState')
  invariant(snapshot === undefined || truncateFrom === undefined, 'A snapshot already drops the whole log')
  invariant(
    truncateFrom === undefined || (truncateFrom > baseIndex && truncateFrom <= lastIndex + 1),
    'A truncation must start inside the log',
    { truncateFrom, baseIndex, lastIndex },
  )
  let index = snapshot?.index ?? (truncateFrom ?? lastIndex + 1) - 1
  // In doubt committed entries may be missing, or stand under others that were truncated.
  const kept = Math.min(log.hardState?.commit ?? 0, (log.doubt?.fromIndex ?? Infinity) - 1)
  invariant(index >= kept, 'Committed entries must not be dropped', { index })
  let term = snapshot?.term ?? log.termOf(index)
  for (const { ref, payload } of entries) {
    invariant(ref.index === index + 1, 'Entries must follow the log without a gap', { index: ref.index, after: index })
    invariant(ref.term >= term && ref.term > 0, 'Terms of entries must not decrease', { term: ref.term, after: term })
    if (payload.length > walPayloadBytesMax) {
      throw new RangeError(`a payload of ${payload.length} bytes is above the limit ${walPayloadBytesMax}`)
    }
    invariant(
      payload.length === ref.bytes && equalBytes(sha256(payload), ref.digest),
      'A payload must have the length and SHA-256 of its ref',
      { index: ref.index },
    )
    index = ref.index
    term = ref.term
  }
  invariant(term <= fencingTerm, 'Entries are written in their term or a later one', { term, fencingTerm })
  invariant((hardState?.commit ?? 0) <= index, 'Committed entries must be in the log', { lastIndex: index })
}

/** Refuses a settlement that contradicts what this disk knows. */
export function checkSettlement(log: GroupLog, { hardState, through }: WalSettlement, self: PeerId): void {
  const { doubt, lastIndex, hardState: known } = log
  invariant(doubt !== undefined, 'Only a doubt can be settled')
  const least = termAtLeast(log)
  invariant(hardState.term >= least && hardState.term <= u32Max, 'A settled term is not below a promised one', {
    term: hardState.term,
    termAtLeast: least,
  })
  const vote = known?.term === least ? (known.votedFor ?? self) : self
  invariant(hardState.term > least || hardState.votedFor === vote, 'In the last known term no other vote is possible', {
    votedFor: hardState.votedFor,
  })
  invariant(hardState.commit <= lastIndex && hardState.commit >= (known?.commit ?? 0), 'The commit index is in the log')
  invariant(log.matches(through.index, through.term), 'The log holds what the leader held', { ...through, lastIndex })
}

function sha256(bytes: Uint8Array): Uint8Array {
  return hash('sha256', bytes, 'buffer')
}

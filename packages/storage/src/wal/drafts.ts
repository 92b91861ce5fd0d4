/** Appends as they are checked before anything changes, and the records that will make them durable. */
import { hash } from 'node:crypto'
import { emptyBytes, equalBytes, invariant } from '@cipherlog/core'
import { encodeHardState } from '@cipherlog/format/hard-state'
import { walPayloadBytesMax, type WalRecordHeader, walRecordKinds } from '@cipherlog/format/wal-record'
import type { HardState } from '@cipherlog/raft'
import { type GroupLog, type Slot } from './group-log.ts'
import { type WalAppend } from './wal.ts'

const u32Max = 0xffff_ffff

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

export function plainDraft(kind: 3 | 4, index: number, term: number): Draft {
  return { kind, entryKind: 0, term, index, time: 0, digest: sha256(emptyBytes), payload: emptyBytes }
}

/** Refuses an append that does not continue the log, before anything changes. */
export function checkAppend(log: GroupLog, { hardState, truncateFrom, entries, fencingTerm }: WalAppend): void {
  const { baseIndex, lastIndex } = log
  if (!Number.isSafeInteger(fencingTerm) || fencingTerm > u32Max) {
    throw new RangeError(`the fencing term ${fencingTerm} does not fit 32 bits`)
  }
  invariant(fencingTerm >= log.fencingTerm, 'A deposed leadership must not write', {
    fencingTerm,
    newest: log.fencingTerm,
  })
  invariant(
    truncateFrom === undefined || (truncateFrom > baseIndex && truncateFrom <= lastIndex + 1),
    'A truncation must start inside the log',
    { truncateFrom, baseIndex, lastIndex },
  )
  let index = (truncateFrom ?? lastIndex + 1) - 1
  invariant(index >= (log.hardState?.commit ?? 0), 'Committed entries must not be dropped', { truncateFrom })
  let term = log.termOf(index)
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
  invariant((hardState?.commit ?? 0) <= index, 'Committed entries must be in the log', { lastIndex: index })
}

function sha256(bytes: Uint8Array): Uint8Array {
  return hash('sha256', bytes, 'buffer')
}

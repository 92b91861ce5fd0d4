/**
 * Replays the records of a log, in memory, and says for each group what lost records leave uncertain. Pure.
 *
 * A lost record may have been of any group and kind. What restores certainty for a group, in the order of the log:
 *
 * - its term and vote: the next record's fencing token. The token is the writer's term, so no lost HardState was of a
 *   later one; at worst the vote in that term is lost, and the replica votes for nobody else in it. A later HardState
 *   says it all;
 * - its entries: a record that names an entry (index and term) which was in the log before the loss. By Raft's Log
 *   Matching (§3.5) everything up to it is the same, whatever was lost. Every new segment begins with such a record.
 *   After a single lost record the next entry tells too: it follows the log, or the lost one was the truncation it
 *   needs. A snapshot replaces all.
 *
 * What stays uncertain is a {@link Doubt}.
 */
import { equalBytes, InvariantViolation, toHex } from '@cipherlog/core'
import { decodeHardState } from '@cipherlog/format/hard-state'
import { type WalLayout, type WalRecordHeader, walRecordKinds } from '@cipherlog/format/wal-record'
import type { PeerId } from '@cipherlog/raft'
import { WalCorruptError } from '../errors.ts'
import { type Doubt, GroupLog, type Slot } from './group-log.ts'
import { type ScannedRecord, type ScannedSegment } from './scan.ts'
import { type Segment } from './segment.ts'

export interface ReplayedGroup {
  readonly hex: string
  readonly log: GroupLog
  /** Fencing token of its last record. */
  token: { term: number; flush: number }
  /** Records lost since the last one that told where the log stands. */
  lostLog: number
  /** Commit index as of the last whole batch: a HardState may name entries that follow it in its batch. */
  commit: number
  /** Up to here no lost record can have changed an entry: what was committed or compacted before the loss. */
  certain: number
  /** A HardState of an unknown term may be lost. */
  lostTerm: boolean
}

export class Replay {
  readonly groups = new Map<string, ReplayedGroup>()
  readonly #self: PeerId
  #last: ReplayedGroup | undefined
  /** All records lost; a group that never appears may have been in any of them. */
  #lost = 0

  /** @param peerId - of this replica, 16 bytes. */
  constructor(peerId: Uint8Array) {
    this.#self = toHex(peerId)
  }

  /** The records of the next segment. @throws {@link WalCorruptError} if they contradict each other. */
  take(segment: Segment, { items, layout }: ScannedSegment): void {
    for (const item of items) {
      if ('lost' in item) this.#lose(item.lost)
      else this.#replay(segment, item, layout)
    }
  }

  /** To be called after the last segment. */
  finish(): void {
    for (const group of this.groups.values()) {
      const { log, lostLog, lostTerm, certain } = group
      const reason = lostTerm ? 'tailUnproven' : 'headersLost'
      if (lostLog > 0 && log.doubt === undefined) {
        log.doubt = newDoubt(reason, lostLog === 1 ? log.lastIndex + 1 : certain + 1)
      }
      if (lostTerm) log.doubt ??= newDoubt(reason, log.lastIndex + 1)
      if (log.doubt !== undefined) log.doubt = { ...log.doubt, termUnknown: log.doubt.termUnknown || lostTerm }
    }
  }

  /** The doubt of a group that no record names. */
  get doubtOfUnknown(): Doubt | undefined {
    return this.#lost === 0 ? undefined : { ...newDoubt('tailUnproven', 1), termUnknown: true }
  }

  #lose(count: number): void {
    this.#lost += count
    for (const group of this.groups.values()) {
      const { log } = group
      const certain = Math.min(log.lastIndex, Math.max(log.baseIndex, group.commit))
      group.certain = group.lostLog > 0 ? Math.min(group.certain, certain) : certain
      group.lostLog += count
      group.lostTerm = true
      if (log.doubt === undefined) continue
      const fromIndex = Math.min(log.doubt.fromIndex, group.certain + 1)
      log.doubt = { ...log.doubt, fromIndex, resumed: false }
    }
  }

  #replay(segment: Segment, record: ScannedRecord, layout: WalLayout): void {
    const { header, offset } = record
    const { hex, isNew, group } = this.#group(header.group)
    const { log, token } = group
    const { fencingTerm: term, fencingFlush: flush } = header
    if (term < token.term || (term === token.term && flush < token.flush)) {
      throw new WalCorruptError(segment.name, offset, 'the fencing token is older than that of an earlier record')
    }
    group.token = { term, flush }
    log.fencingTerm = term
    if (header.kind === walRecordKinds.entry) segment.noteEntry(hex, header.index)
    this.#apply(group, segment, record, layout, isNew)
    const isCertain = group.lostLog === 0 && log.doubt === undefined
    if (header.endOfBatch && isCertain) group.commit = log.hardState?.commit ?? 0
  }

  #apply(group: ReplayedGroup, segment: Segment, record: ScannedRecord, layout: WalLayout, isNew: boolean): void {
    const { log } = group
    const { header } = record
    const corrupt = (reason: string, cause?: unknown) => new WalCorruptError(segment.name, record.offset, reason, cause)
    // What was written in doubt was written without knowing the lost term.
    const tellsTerm = header.kind !== walRecordKinds.resume && log.doubt?.resumed !== true
    try {
      if (group.lostTerm && tellsTerm && layout.version > 1) {
        this.#abstain(log, header.fencingTerm)
        group.lostTerm = false
      }
      if (header.kind === walRecordKinds.hardState) {
        if (tellsTerm) group.lostTerm = false
        if (record.payload === undefined) this.#abstain(log, header.term, header.index)
        else log.hardState = decodeHardState(record.payload)
        return
      }
      if (header.kind === walRecordKinds.resume) {
        resume(group, header, isNew)
      } else if (log.doubt !== undefined) {
        if (inDoubt(log, log.doubt, segment, record)) group.lostLog = 0
      } else if (group.lostLog > 0) {
        if (!afterLoss(group, segment, record)) return
        group.lostLog = 0
      } else {
        const problem = plainly(log, segment, record, isNew)
        if (problem !== undefined) throw corrupt(problem)
      }
    } catch (error) {
      if (error instanceof InvariantViolation) throw corrupt(error.message, error)
      throw error
    }
  }

  #group(id: Uint8Array): { hex: string; isNew: boolean; group: ReplayedGroup } {
    // Mostly the same as that of the record before.
    if (this.#last !== undefined && equalBytes(this.#last.log.id, id)) {
      return { hex: this.#last.hex, isNew: false, group: this.#last }
    }
    const found = this.#find(id)
    this.#last = found.group
    return found
  }

  #find(id: Uint8Array): { hex: string; isNew: boolean; group: ReplayedGroup } {
    const hex = toHex(id)
    const known = this.groups.get(hex)
    if (known !== undefined) return { hex, isNew: false, group: known }
    const group: ReplayedGroup = {
      hex,
      log: new GroupLog(id),
      token: { term: 0, flush: 0 },
      lostLog: this.#lost,
      commit: 0,
      certain: 0,
      lostTerm: this.#lost > 0,
    }
    this.groups.set(hex, group)
    return { hex, isNew: true, group }
  }

  /** The vote in `term` may be lost: unless it is known, it goes to nobody but this replica. */
  #abstain(log: GroupLog, term: number, commit = 0): void {
    const { hardState: known } = log
    if (known !== undefined && (known.term > term || (known.term === term && known.votedFor !== undefined))) {
      if (commit > known.commit) log.hardState = { ...known, commit }
    } else {
      log.hardState = { term, votedFor: this.#self, commit: Math.max(commit, known?.commit ?? 0) }
    }
  }
}

/** A record of a group of which nothing is lost; what is wrong with it, if anything is. */
function plainly(log: GroupLog, segment: Segment, record: ScannedRecord, isNew: boolean): string | undefined {
  const { kind, index, term, time } = record.header
  switch (kind) {
    case walRecordKinds.entry:
      log.push(slotOf(segment, record))
      break
    case walRecordKinds.truncate:
      // What it cuts into may have stood in a segment that was compacted since.
      if (index <= log.baseIndex) log.startAfter({ index: index - 1, term, time })
      else log.truncate(index)
      break
    case walRecordKinds.start:
      if (isNew) log.startAfter({ index, term, time })
      else if (index !== log.lastIndex || term !== log.termOf(index)) {
        return `the segment continues a log that ends at entry ${index}, not ${log.lastIndex}`
      }
      break
    case walRecordKinds.snapshot:
      log.startAfter({ index, term, time })
      break
    case walRecordKinds.hardState:
    case walRecordKinds.resume:
    case walRecordKinds.settled:
      break
  }
  return undefined
}

/** The first record of a group that tells of its entries after some were lost; false if it tells nothing. */
function afterLoss(group: ReplayedGroup, segment: Segment, record: ScannedRecord): boolean {
  const { log, lostLog, certain } = group
  const { kind, index, term, time } = record.header
  const { lastIndex, baseIndex } = log
  const one = lostLog === 1
  switch (kind) {
    case walRecordKinds.entry: {
      const follows = one && index <= lastIndex + 1 && index > baseIndex
      if (index > certain && (follows || index === baseIndex + 1) && term >= log.termOf(index - 1)) {
        log.truncate(index)
        log.push(slotOf(segment, record))
        return true
      }
      log.doubt = newDoubt('headersLost', one && index === lastIndex + 2 ? index - 1 : certain + 1)
      log.doubt.known.push(slotOf(segment, record))
      return true
    }
    case walRecordKinds.truncate:
      if (index <= baseIndex) log.startAfter({ index: index - 1, term, time })
      else if (log.matches(index - 1, term)) log.truncate(index)
      else log.doubt = newDoubt('headersLost', certain + 1)
      return true
    case walRecordKinds.start:
    case walRecordKinds.settled:
      // Of a group that is new here nobody can tell what was compacted and what is lost: it matches only at 0.
      if (log.matches(index, term)) log.truncate(index + 1)
      else log.doubt = newDoubt('headersLost', one && index === lastIndex + 1 ? index : certain + 1)
      return true
    case walRecordKinds.snapshot:
      log.startAfter({ index, term, time })
      return true
    case walRecordKinds.hardState:
    case walRecordKinds.resume:
      return false
  }
}

/** A record of a group in doubt; true if it ends the doubt. */
function inDoubt(log: GroupLog, doubt: Doubt, segment: Segment, record: ScannedRecord): boolean {
  const { kind, index, term, time } = record.header
  switch (kind) {
    case walRecordKinds.entry:
      if (doubt.resumed && index === log.lastIndex + 1 && term >= log.termOf(log.lastIndex)) {
        log.push(slotOf(segment, record))
      } else {
        doubt.resumed = false
        if (index !== (doubt.known.at(-1)?.ref.index ?? -1) + 1) doubt.known = []
        doubt.known.push(slotOf(segment, record))
      }
      return false
    case walRecordKinds.truncate:
    case walRecordKinds.start: {
      const last = kind === walRecordKinds.truncate ? index - 1 : index
      const isHere = log.matches(last, term)
      if (doubt.resumed && isHere) {
        log.truncate(last + 1)
        return false
      }
      doubt.resumed = false
      if (isHere && last < doubt.fromIndex) return endDoubt(log, last)
      const first = doubt.known[0]?.ref.index ?? 0
      doubt.known.length = Math.max(0, Math.min(doubt.known.length, last + 1 - first))
      return false
    }
    case walRecordKinds.snapshot:
      log.startAfter({ index, term, time })
      // Before `resume`, the writer knew all of its log; after it, what was acknowledged above the snapshot is unknown.
      if (!doubt.resumed) log.doubt = undefined
      return !doubt.resumed
    case walRecordKinds.settled:
      return doubt.resumed && index === log.lastIndex && log.matches(index, term) ? endDoubt(log, index) : false
    case walRecordKinds.hardState:
    case walRecordKinds.resume:
      return false
  }
}

/** From here on the log was written in doubt, until `settled`; what it goes on after was certain to the writer. */
function resume(group: ReplayedGroup, { index, term, time }: WalRecordHeader, isNew: boolean): void {
  const { log, lostTerm, certain } = group
  const doubt = log.doubt ?? newDoubt(lostTerm ? 'tailUnproven' : 'headersLost', certain + 1)
  const matches = log.matches(index, term)
  if (matches) log.truncate(index + 1)
  else if (isNew) log.startAfter({ index, term, time })
  const termUnknown = doubt.termUnknown || lostTerm || isNew
  log.doubt = { ...doubt, known: [], resumed: matches || isNew, termUnknown }
  group.lostTerm = false
  group.lostLog = 0
}

function endDoubt(log: GroupLog, lastIndex: number): true {
  log.truncate(lastIndex + 1)
  log.doubt = undefined
  return true
}

function newDoubt(reason: Doubt['reason'], fromIndex: number): Doubt {
  return { reason, fromIndex, termUnknown: false, known: [], resumed: false }
}

function slotOf(segment: Segment, { header, offset, damaged }: ScannedRecord): Slot {
  const { term, index, entryKind: kind, time, bytes, digest } = header
  const ref = { term, index, kind, time, bytes, digest }
  return { ref, payload: undefined, segment, offset, durable: true, damaged }
}

/**
 * The log as segments on a {@link Disk}; see wal.ts for its promise and scan.ts for how damage is told from a torn
 * write.
 *
 * Order on disk, which everything rests on: a flush is written and synced in the segment; then its headers are
 * written and synced in the refs file; then its appends resolve. The two steps are pipelined: while the headers of
 * one flush are on their way, the next flush is already being written, so only latency pays for the second sync.
 * A new segment is begun after the last flush to the old one is synced, and starts by repeating each group's last
 * index and HardState, so that the old ones can be dropped.
 *
 * After a failed write or sync nothing is ever retried: every append, pending or later, rejects.
 */
import { hash } from 'node:crypto'
import { CipherlogError, concatBytes, equalBytes, invariant, toHex } from '@cipherlog/core'
import {
  walLayouts,
  walRecordBytes,
  type WalRecordHeader,
  walRecordHeaderBytes,
  walRecordKinds,
  walSegmentHeaderBytes,
  writeWalRecord,
} from '@cipherlog/format/wal-record'
import type { EntryRef, HardState } from '@cipherlog/raft'
import { type Disk } from '../disk/disk.ts'
import {
  StorageClosedError,
  StorageFailedError,
  WalCorruptError,
  WalReadOnlyError,
  WalRepairMismatchError,
} from '../errors.ts'
import { checkAppend, checkSettlement, type Draft, hardStateDraft, plainDraft } from './drafts.ts'
import { type Doubt, doubtOf, GroupLog, type Slot } from './group-log.ts'
import { readSlots, rewritePayload } from './read-slots.ts'
import { mendSegment, readLog, type SegmentPlan } from './recover.ts'
import { type ScrubCursor, scrubSegment } from './scrub-segment.ts'
import { createSegment, openSegmentFiles, preallocate, type Segment, segmentNames } from './segment.ts'
import {
  type Wal,
  type WalAppend,
  type WalBase,
  type WalContents,
  type WalEntry,
  type WalGroupContents,
  type WalOptions,
  type WalRetention,
  type WalScrub,
  type WalSettlement,
} from './wal.ts'

const segmentBytesDefault = 64 * 1024 * 1024

const cacheBytesMaxDefault = 64 * 1024 * 1024
const flushBytesMaxDefault = 16 * 1024 * 1024
const u32Max = 0xffff_ffff

interface Batch {
  readonly group: Group
  readonly drafts: readonly Draft[]
  readonly payloadBytes: number
  readonly fencingTerm: number
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

/** Batches that go to disk together. */
interface Flush {
  readonly segment: Segment
  readonly firstSequence: number
  readonly records: Uint8Array
  readonly headers: Uint8Array
  readonly batches: readonly Batch[]
}

/** Where the log stands as of the last record handed to the disk. */
type Written = WalBase & { hardState: HardState | undefined; doubt: 'open' | 'resumed' | undefined }

/** A group's log, and how far of it has been put into records: what a new segment must repeat. */
interface Group {
  readonly hex: string
  readonly log: GroupLog
  written: Written
  /** Fencing token of its last record, and the flush that record went out with. */
  token: { term: number; flush: number; flushNumber: number }
  /** The caller needs nothing up to here. */
  compactedTo: number
}

/** The log in a directory that is the root of `disk`. */
export function createWal(disk: Disk, options: WalOptions): Wal {
  return new SegmentedWal(disk, options)
}

class SegmentedWal implements Wal {
  readonly #disk: Disk
  readonly #options: WalOptions
  readonly #segmentBytes: number
  readonly #cacheBytesMax: number
  readonly #flushBytesMax: number
  readonly #groups = new Map<string, Group>()
  readonly #segments: Segment[] = []
  readonly #preallocatedBytes: number
  #readOnly = false
  /** The last segment takes no more records. */
  #mustRoll = false
  #doubtOfUnknown: Doubt | undefined
  #state: 'new' | 'opening' | 'open' | 'closed' = 'new'
  #failure: StorageFailedError | undefined
  #nextSequence = 0
  /** Every record below has its copy synced. */
  #confirmedSequence = 0
  #flushNumber = 0
  /** Appends that no write has taken yet. */
  #queue: Batch[] = []
  /** Flushes that are synced in the segment and not yet in the refs file. */
  #written: Flush[] = []
  /** Batches that have not resolved. */
  readonly #unresolved = new Set<Batch>()
  #writer: Promise<void> | undefined
  #confirmer: Promise<void> | undefined
  readonly #reads = new Set<Promise<unknown>>()
  /** Writes into records that are there already. */
  readonly #writesInPlace = new Set<Promise<unknown>>()
  /** The segment scrubbed last, and where in it to go on; nowhere if it is done. */
  #scrubbed: { readonly firstSequence: number; readonly next: ScrubCursor | undefined } | undefined
  /** Slots with a payload in memory, oldest first. */
  readonly #cache = new Set<Slot>()
  #cacheBytes = 0

  constructor(disk: Disk, options: WalOptions) {
    this.#disk = disk
    this.#options = options
    this.#segmentBytes = options.segmentBytes ?? segmentBytesDefault
    this.#preallocatedBytes = options.preallocate === true ? this.#segmentBytes : 0
    this.#cacheBytesMax = options.cacheBytesMax ?? cacheBytesMaxDefault
    this.#flushBytesMax = options.flushBytesMax ?? flushBytesMaxDefault
  }

  // Opening

  async open(): Promise<WalContents> {
    if (this.#state !== 'new') throw new StorageClosedError('write-ahead log')
    this.#state = 'opening'
    try {
      const contents = await this.#recover()
      this.#state = 'open'
      return contents
    } catch (error) {
      await this.close()
      throw error instanceof CipherlogError ? error : new StorageFailedError('the write-ahead log', error)
    }
  }

  async #recover(): Promise<WalContents> {
    const plan = await readLog(this.#disk, this.#options.identity)
    const unmended = plan.damage.filter(({ outcome }) => outcome !== 'mended')
    const [first] = unmended
    const policy = this.#options.onDamage ?? 'truncateToLastGood'
    if (policy === 'refuseStart' && first !== undefined) {
      throw new WalCorruptError(first.segment, first.offset, `${first.reason}, and the policy is refuseStart`)
    }
    this.#readOnly = policy === 'alertAndContinue' && unmended.some(({ outcome }) => outcome !== 'cut')
    for (const one of plan.segments) {
      await this.#openSegment(one)
      this.#segments.push(one.segment)
      this.#nextSequence = one.segment.nextSequence
    }
    if (!this.#readOnly) {
      for (const firstSequence of plan.empty) await this.#removeSegment(firstSequence, 'none')
      const last = plan.segments.at(-1)
      this.#mustRoll =
        last !== undefined && (last.scanned.lostTail || last.segment.layout.version < walLayouts.v2.version)
      if (last !== undefined && !this.#mustRoll) await preallocate(last.segment, this.#preallocatedBytes)
    }
    this.#confirmedSequence = this.#nextSequence
    this.#doubtOfUnknown = plan.replay.doubtOfUnknown
    for (const { hex, log, token } of plan.replay.groups.values()) {
      const { doubt, hardState } = log
      const inDoubt = doubt === undefined ? undefined : doubt.resumed ? 'resumed' : 'open'
      // Segments of version 1 have no tokens: no later term than its HardState's has written in the group.
      log.fencingTerm = Math.max(log.fencingTerm, hardState?.term ?? 0)
      const written: Written = { ...log.baseAt(log.lastIndex), hardState, doubt: inDoubt }
      this.#groups.set(hex, {
        hex,
        log,
        written,
        token: { term: log.fencingTerm, flush: Math.max(1, token.flush), flushNumber: 0 },
        compactedTo: 0,
      })
    }
    return {
      repairs: this.#readOnly ? { bytesCut: 0, recordsMended: 0, refsMended: 0 } : plan.repairs,
      damage: plan.damage,
      readOnly: this.#readOnly,
      groups: [...this.#groups.values()].map(({ log }) => log.id.slice()),
      group: (id) => contentsOf(this.#groups.get(toHex(id))?.log ?? this.#newLog(id)),
    }
  }

  /** Opens a segment's files, and mends them unless nothing may be written. */
  async #openSegment(plan: SegmentPlan): Promise<void> {
    const { segment } = plan
    if (!this.#readOnly) {
      segment.attach(...(await openSegmentFiles(this.#disk, segment.firstSequence)))
      await mendSegment(plan)
    } else if (plan.hasWal) {
      // Without the file every entry in it is a hole, which no read touches.
      const file = await this.#disk.open(segment.name, { readOnly: true })
      segment.attach(file, file)
    }
  }

  /**
   * A whole segment loses its refs file first: until the segment is gone too, it can be read without. A segment
   * without records goes first itself: a refs file without headers, and only that, may be left alone.
   */
  async #removeSegment(firstSequence: number, has: 'records' | 'none'): Promise<void> {
    const { wal, refs } = segmentNames(firstSequence)
    for (const name of has === 'records' ? [refs, wal] : [wal, refs]) {
      await this.#disk.remove(name)
      await this.#disk.syncDirectory('')
    }
  }

  // Appending

  async append(append: WalAppend): Promise<void> {
    this.#checkWritable()
    const group = this.#group(append.group)
    checkAppend(group.log, append)
    return this.#enqueue(this.#draft(group, append))
  }

  #enqueue(batch: Omit<Batch, 'resolve' | 'reject'>): Promise<void> {
    return new Promise((resolve, reject) => {
      const queued = { ...batch, resolve, reject }
      this.#unresolved.add(queued)
      this.#queue.push(queued)
      this.#writer ??= this.#write()
    })
  }

  /** Changes the group's log in memory and says which records will make the change durable. */
  #draft(group: Group, append: WalAppend): Omit<Batch, 'resolve' | 'reject'> {
    const { log } = group
    const drafts: Draft[] = []
    let payloadBytes = 0
    log.fencingTerm = append.fencingTerm
    if (log.doubt !== undefined && !log.doubt.resumed) drafts.push(this.#resume(log))
    if (append.snapshot !== undefined) {
      for (const slot of log.startAfter(append.snapshot)) this.#uncache(slot)
      const { index } = append.snapshot
      // Twice, so that the loss of one record cannot hide it: see replay.ts.
      drafts.push(plainDraft(walRecordKinds.snapshot, index, append.snapshot))
      drafts.push(plainDraft(walRecordKinds.start, index, append.snapshot))
    }
    if (append.hardState !== undefined) {
      log.hardState = append.hardState
      drafts.push(hardStateDraft(append.hardState))
    }
    if (append.truncateFrom !== undefined) {
      const from = append.truncateFrom
      for (const slot of log.truncate(from)) this.#uncache(slot)
      drafts.push(plainDraft(walRecordKinds.truncate, from, log.baseAt(from - 1)))
    }
    for (const { ref, payload } of append.entries) {
      const slot: Slot = { ref, payload, segment: undefined, offset: 0, durable: false, damaged: false }
      log.push(slot)
      this.#cache.add(slot)
      this.#cacheBytes += payload.length
      payloadBytes += payload.length
      const { term, index, kind: entryKind, time, digest } = ref
      drafts.push({ kind: walRecordKinds.entry, entryKind, term, index, time, digest, payload, slot })
    }
    return { group, drafts, payloadBytes, fencingTerm: append.fencingTerm }
  }

  async #write(): Promise<void> {
    // Appends of the same turn share a flush.
    await Promise.resolve()
    try {
      while (this.#queue.length > 0 && this.#failure === undefined) {
        let segment = this.#segments.at(-1)
        const roll = segment === undefined || segment.bytes >= this.#segmentBytes || this.#mustRoll
        if (segment === undefined || roll) {
          // What was set ahead and not used: harmless if a crash keeps it.
          if (this.#preallocatedBytes > 0 && !this.#mustRoll) await segment?.wal.truncate(segment.bytes)
          const { identity } = this.#options
          segment = await createSegment(this.#disk, identity, this.#nextSequence, this.#preallocatedBytes)
          this.#segments.push(segment)
          this.#mustRoll = false
        }
        const position = segment.bytes
        const flush = this.#takeFlush(segment, roll)
        if (flush.records.length > 0) await segment.wal.write(flush.records, position)
        this.#written.push(flush)
        this.#confirmer ??= this.#confirm()
      }
    } catch (error) {
      this.#fail(error)
    }
    this.#writer = undefined
  }

  /** Takes batches from the queue and puts them into bytes, at the end of `segment`. */
  #takeFlush(segment: Segment, isNew: boolean): Flush {
    let payloadBytes = 0
    let count = 0
    do payloadBytes += this.#queue[count++]!.payloadBytes
    while (count < this.#queue.length && payloadBytes < this.#flushBytesMax)
    const batches = this.#queue.splice(0, count)
    this.#flushNumber++

    const appends: Pick<Batch, 'group' | 'drafts' | 'fencingTerm'>[] = isNew ? this.#segmentStart() : []
    appends.push(...batches)
    let bytes = 0
    let records = 0
    for (const { drafts } of appends) {
      records += drafts.length
      for (const { payload } of drafts) bytes += walRecordBytes(payload.length)
    }
    const flush: Flush = {
      segment,
      firstSequence: this.#nextSequence,
      records: new Uint8Array(bytes),
      headers: new Uint8Array(records * walRecordHeaderBytes),
      batches,
    }
    let at = 0
    for (const { group, drafts, fencingTerm } of appends) {
      const token = this.#nextToken(group, fencingTerm, drafts.length)
      for (const [number, draft] of drafts.entries()) {
        const { slot, hardState: _, payload, ...rest } = draft
        const header: WalRecordHeader = {
          ...rest,
          group: group.log.id,
          bytes: payload.length,
          endOfBatch: number === drafts.length - 1,
          sequence: this.#nextSequence,
          fencingTerm: token.term,
          fencingFlush: token.flush,
        }
        writeWalRecord(flush.records, at, header, payload)
        const copyAt = (this.#nextSequence - flush.firstSequence) * walRecordHeaderBytes
        flush.headers.set(flush.records.subarray(at, at + walRecordHeaderBytes), copyAt)
        if (slot !== undefined) {
          slot.segment = segment
          slot.offset = segment.bytes + at
          segment.noteEntry(group.hex, slot.ref.index)
        }
        noteWritten(group, draft)
        at += walRecordBytes(payload.length)
        this.#nextSequence++
      }
    }
    segment.bytes += at
    segment.nextSequence = this.#nextSequence
    return flush
  }

  /**
   * What a new segment repeats, so that it can be read without those before it. Of a group in doubt it must say
   * nothing that would end the doubt.
   */
  #segmentStart(): Pick<Batch, 'group' | 'drafts' | 'fencingTerm'>[] {
    const out: Pick<Batch, 'group' | 'drafts' | 'fencingTerm'>[] = []
    for (const group of this.#groups.values()) {
      const { hardState, doubt, ...at } = group.written
      if (group.token.flush === 0 || doubt === 'open') continue
      const drafts = [plainDraft(walRecordKinds[doubt === 'resumed' ? 'resume' : 'start'], at.index, at)]
      if (hardState !== undefined && doubt === undefined) drafts.push(hardStateDraft(hardState))
      out.push({ group, drafts, fencingTerm: group.token.term })
    }
    return out
  }

  #nextToken(group: Group, term: number, records: number): { term: number; flush: number } {
    const { token } = group
    if (records > 0 && (term > token.term || token.flush === 0)) {
      group.token = { term, flush: 1, flushNumber: this.#flushNumber }
    } else if (records > 0 && token.flushNumber !== this.#flushNumber) {
      // The count stands still at its end: a token must never decrease, and within a term the sequence number orders.
      group.token = { term, flush: Math.min(token.flush + 1, u32Max), flushNumber: this.#flushNumber }
    }
    return group.token
  }

  /** Puts the headers of written flushes into the refs file, then acknowledges. */
  async #confirm(): Promise<void> {
    await Promise.resolve()
    try {
      while (this.#written.length > 0 && this.#failure === undefined) {
        const { segment, firstSequence } = this.#written[0]!
        const other = this.#written.findIndex((flush) => flush.segment !== segment)
        const flushes = this.#written.splice(0, other === -1 ? this.#written.length : other)
        const headers = flushes.length === 1 ? flushes[0]!.headers : concatBytes(...flushes.map((one) => one.headers))
        if (headers.length > 0) await segment.refs.write(headers, segment.refsPosition(firstSequence))
        if (this.#failure !== undefined) return
        this.#confirmedSequence = firstSequence + headers.length / walRecordHeaderBytes
        for (const { batches } of flushes) for (const batch of batches) this.#acknowledge(batch)
        this.#trimCache()
      }
    } catch (error) {
      this.#fail(error)
    } finally {
      this.#confirmer = undefined
    }
  }

  #acknowledge(batch: Batch): void {
    for (const { slot } of batch.drafts) if (slot !== undefined) slot.durable = true
    this.#unresolved.delete(batch)
    batch.resolve()
  }

  #fail(cause: unknown): void {
    this.#failure ??= new StorageFailedError('the write-ahead log', cause)
    this.#queue = []
    this.#written = []
    for (const batch of this.#unresolved) batch.reject(this.#failure)
    this.#unresolved.clear()
  }

  // Reading

  async read(groupId: Uint8Array, from: number, to: number, bytesMax: number): Promise<WalEntry[]> {
    if (this.#state !== 'open') throw new StorageClosedError('write-ahead log')
    const { log } = this.#group(groupId)
    if (to < from) throw new RangeError(`no entries from ${from} to ${to}`)
    log.slot(to)
    const slots: Slot[] = []
    let bytes = 0
    for (let index = from; index <= to; index++) {
      const slot = log.slot(index)
      bytes += slot.ref.bytes
      if (bytes > bytesMax && slots.length > 0) break
      slots.push(slot)
    }
    const reading = readSlots(slots)
    this.#reads.add(reading)
    try {
      return await reading
    } finally {
      this.#reads.delete(reading)
    }
  }

  // Damage

  holes(groupId: Uint8Array): readonly EntryRef[] {
    return this.#group(groupId).log.damaged.map(({ ref }) => ref)
  }

  async repair(groupId: Uint8Array, index: number, payload: Uint8Array): Promise<void> {
    this.#checkWritable()
    const slot = this.#group(groupId).log.slot(index)
    const { ref } = slot
    if (payload.length !== ref.bytes || !equalBytes(hash('sha256', payload, 'buffer'), ref.digest)) {
      throw new WalRepairMismatchError(index, ref.term)
    }
    if (slot.damaged) await this.#inPlace(() => rewritePayload(slot, payload))
  }

  async settle(groupId: Uint8Array, settlement: WalSettlement): Promise<void> {
    this.#checkWritable()
    const group = this.#group(groupId)
    const { log } = group
    const { hardState } = settlement
    checkSettlement(log, settlement, toHex(this.#options.identity.peerId))
    const drafts = [
      ...(log.doubt!.resumed ? [] : [this.#resume(log)]),
      hardStateDraft(hardState),
      plainDraft(walRecordKinds.settled, log.lastIndex, log.baseAt(log.lastIndex)),
    ]
    const fencingTerm = Math.max(hardState.term, log.fencingTerm)
    log.hardState = hardState
    log.fencingTerm = fencingTerm
    log.doubt = undefined
    await this.#enqueue({ group, drafts, payloadBytes: 0, fencingTerm })
  }

  async scrub(bytesMax: number): Promise<WalScrub> {
    this.#checkWritable()
    const found = { bytes: 0, mended: 0, headersLost: 0, finished: false }
    const holes: { group: Uint8Array; ref: EntryRef }[] = []
    while (found.bytes < bytesMax && !found.finished) {
      const segment = this.#coldSegment()
      if (segment === undefined) {
        this.#scrubbed = undefined
        found.finished = true
        break
      }
      const start = { sequence: segment.firstSequence, offset: walSegmentHeaderBytes }
      const { firstSequence, next } = this.#scrubbed ?? {}
      const cursor = firstSequence === segment.firstSequence && next !== undefined ? next : start
      const stretch = await this.#inPlace(() => scrubSegment(segment, cursor, bytesMax - found.bytes))
      this.#scrubbed = { firstSequence: segment.firstSequence, next: stretch.next }
      found.bytes += stretch.bytes
      found.mended += stretch.mended
      found.headersLost += stretch.headersLost
      for (const { groupHex, index, offset } of stretch.damaged) {
        const log = this.#groups.get(groupHex)?.log
        const slot = log?.find(index)
        // Entries that were truncated or compacted are nobody's loss.
        if (slot?.segment !== segment || slot.offset !== offset) continue
        if (slot.payload !== undefined) {
          const { payload } = slot
          await this.#inPlace(() => rewritePayload(slot, payload))
          found.mended++
        } else if (!slot.damaged) {
          slot.damaged = true
          holes.push({ group: log!.id.slice(), ref: slot.ref })
        }
      }
    }
    return { ...found, holes }
  }

  /** The segment that scrubbing goes on with; undefined at the end of those that are not written any more. */
  #coldSegment(): Segment | undefined {
    const { firstSequence = -1, next } = this.#scrubbed ?? {}
    return this.#segments
      .slice(0, -1)
      .find((one) => (next === undefined ? one.firstSequence > firstSequence : one.firstSequence >= firstSequence))
  }

  /** The record before all others that are written in doubt. */
  #resume(log: GroupLog): Draft {
    log.doubt = { ...log.doubt!, resumed: true }
    return plainDraft(walRecordKinds.resume, log.lastIndex, log.baseAt(log.lastIndex))
  }

  /** Runs a write into records that are there already. */
  async #inPlace<T>(write: () => Promise<T>): Promise<T> {
    const writing = write()
    this.#writesInPlace.add(writing)
    try {
      return await writing
    } catch (error) {
      this.#fail(error)
      throw this.#failure!
    } finally {
      this.#writesInPlace.delete(writing)
    }
  }

  // Compaction, closing

  compactionIndex(groupId: Uint8Array, index: number, { entriesMax, bytesMax }: WalRetention): number {
    const { log } = this.#group(groupId)
    let keep = log.lastIndex
    for (let bytes = 0; keep > log.baseIndex && log.lastIndex - keep < entriesMax; keep--) {
      bytes += log.slot(keep).ref.bytes
      if (bytes > bytesMax) break
    }
    return Math.min(index, keep)
  }

  async compactTo(groupId: Uint8Array, index: number): Promise<number> {
    this.#checkWritable()
    const group = this.#group(groupId)
    invariant(index <= group.log.lastIndex, 'Entries that are not here cannot be compacted', { index })
    group.compactedTo = Math.max(group.compactedTo, index)
    let count = 0
    // A group in doubt may need any of them.
    const inDoubt = [...this.#groups.values()].some(({ log }) => log.doubt !== undefined)
    while (!inDoubt && count + 1 < this.#segments.length && this.#isDroppable(count)) count++
    const dropped = this.#segments.splice(0, count)
    const gone = new Set(dropped)
    for (const { log } of this.#groups.values()) for (const slot of log.compact(gone)) this.#uncache(slot)
    // What began before still uses the files.
    await Promise.allSettled([...this.#reads, ...this.#writesInPlace])
    try {
      for (const segment of dropped) {
        await segment.close()
        await this.#removeSegment(segment.firstSequence, 'records')
      }
    } catch (error) {
      this.#fail(error)
      throw this.#failure!
    }
    return group.log.baseIndex
  }

  /** Nobody needs its entries, and the start of the next segment, which repeats what else it holds, is durable. */
  #isDroppable(number: number): boolean {
    for (const [hex, last] of this.#segments[number]!.lastIndexes) {
      if (last > this.#groups.get(hex)!.compactedTo) return false
    }
    return this.#confirmedSequence > this.#segments[number + 1]!.firstSequence
  }

  async close(): Promise<void> {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    await this.#writer
    await this.#confirmer
    await Promise.allSettled([...this.#reads, ...this.#writesInPlace])
    for (const segment of this.#segments) await segment.close()
  }

  #checkWritable(): void {
    if (this.#state !== 'open') throw new StorageClosedError('write-ahead log')
    if (this.#readOnly) throw new WalReadOnlyError()
    if (this.#failure !== undefined) throw this.#failure
  }

  #group(id: Uint8Array): Group {
    const hex = toHex(id)
    let group = this.#groups.get(hex)
    if (group === undefined) {
      invariant(id.length === 16, 'A group id has 16 bytes')
      group = {
        hex,
        log: this.#newLog(id),
        written: { index: 0, term: 0, time: 0, hardState: undefined, doubt: this.#doubtOfUnknown && 'open' },
        token: { term: 0, flush: 0, flushNumber: 0 },
        compactedTo: 0,
      }
      this.#groups.set(hex, group)
    }
    return group
  }

  #newLog(id: Uint8Array): GroupLog {
    const log = new GroupLog(id)
    if (this.#doubtOfUnknown !== undefined) log.doubt = { ...this.#doubtOfUnknown, known: [] }
    return log
  }

  #trimCache(): void {
    for (const slot of this.#cache) {
      if (this.#cacheBytes <= this.#cacheBytesMax || !slot.durable) return
      this.#uncache(slot)
    }
  }

  #uncache(slot: Slot): void {
    if (!this.#cache.delete(slot)) return
    this.#cacheBytes -= slot.ref.bytes
    slot.payload = undefined
  }
}

function noteWritten(group: Group, { kind, index, term, time, hardState }: Draft): void {
  const { written } = group
  if (hardState !== undefined) {
    group.written = { ...written, hardState }
    return
  }
  const doubt = kind === walRecordKinds.resume ? 'resumed' : kind === walRecordKinds.settled ? undefined : written.doubt
  group.written = { ...written, index: kind === walRecordKinds.truncate ? index - 1 : index, term, time, doubt }
}

function contentsOf(log: GroupLog): WalGroupContents {
  const { hardState, baseIndex, baseTerm, baseTime, refs } = log
  const holes = log.damaged.map(({ ref }) => ref)
  return { hardState, baseIndex, baseTerm, baseTime, refs, holes, doubt: doubtOf(log) }
}

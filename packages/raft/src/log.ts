/**
 * The log's refs in memory: 55 bytes an entry in typed arrays, so a million entries cost 55 MB.
 *
 * Entries are `base.index + 1 … lastIndex` without gaps; terms never decrease along the log (so searches by term are
 * binary). Of the base, which was compacted or came in a snapshot, index, term and log time are known. Chunks keep
 * growth from copying. What is on disk is not known here: see pending-writes.ts.
 */
import { fromHex, invariant, toHex } from '@cipherlog/core'
import { type ConfChange } from './membership.ts'
import { type EntryRef, type LogBase, membershipKind } from './types.ts'

const chunkEntries = 4096
/** The first chunk starts small: many groups hold few entries. */
const firstChunkEntries = 64
const digestBytes = 32

interface Chunk {
  readonly capacity: number
  readonly terms: Float64Array
  readonly times: Float64Array
  readonly bytes: Uint32Array
  readonly kinds: Uint16Array
  readonly digests: Uint8Array
}

/** What others may do with a Raft object's log: read it. */
export type ReadonlyRaftLog = Omit<RaftLog, 'append' | 'truncateFrom' | 'compact' | 'restore'>

/** A log as plain JSON: the base, and per entry term, kind, time, bytes, digest in hex. */
export interface LogDump {
  readonly base: LogBase
  readonly entries: readonly (readonly [number, number, number, number, string, ConfChange?])[]
}

export class RaftLog {
  #base: LogBase
  /** The first chunk holds the entries from `#origin + 1`; `#origin <= base.index`. */
  #origin: number
  #chunks: Chunk[] = []
  #lastIndex: number
  /** The entries that change membership, few and in order: applying them must not scan the log. */
  #changes: { readonly index: number; readonly change: ConfChange }[] = []

  /** An empty log. @param base - what came before it, or log time before the first entry in ms. */
  constructor(base: LogBase | number) {
    this.#base = typeof base === 'number' ? { index: 0, term: 0, time: base } : base
    this.#origin = this.#base.index
    this.#lastIndex = this.#base.index
  }

  /** What the log does not hold any more; index 0: nothing. */
  get base(): LogBase {
    return this.#base
  }

  /** The first entry the log holds, or would hold. */
  get firstIndex(): number {
    return this.#base.index + 1
  }

  /** The base's if there are no entries. */
  get lastIndex(): number {
    return this.#lastIndex
  }

  /** 0 before the first entry. */
  get lastTerm(): number {
    return this.#termAt(this.#lastIndex)
  }

  /** Log time of the last entry, or of the base. */
  get lastTime(): number {
    if (this.#lastIndex === this.#base.index) return this.#base.time
    return this.#chunkOf(this.#lastIndex).times[this.#slotOf(this.#lastIndex)]!
  }

  /** The term at `index`: the base's and the entries' are known, undefined otherwise. */
  term(index: number): number | undefined {
    return index > this.#lastIndex || index < this.#base.index ? undefined : this.#termAt(index)
  }

  /** Payload length of an existing entry, without building its ref. */
  payloadBytes(index: number): number {
    return this.#chunkOf(index).bytes[this.#slotOf(index)]!
  }

  /** A fresh ref of an existing entry; its digest is the caller's to keep. */
  ref(index: number): EntryRef {
    const chunk = this.#chunkOf(index)
    const slot = this.#slotOf(index)
    const ref = {
      term: chunk.terms[slot]!,
      index,
      kind: chunk.kinds[slot]!,
      time: chunk.times[slot]!,
      bytes: chunk.bytes[slot]!,
      digest: chunk.digests.slice(slot * digestBytes, (slot + 1) * digestBytes),
    }
    return ref.kind === membershipKind ? { ...ref, change: this.#changeAt(index) } : ref
  }

  /** Fresh refs of `from` … `to - 1`, all of which exist. */
  slice(from: number, to: number): EntryRef[] {
    const refs: EntryRef[] = []
    for (let index = from; index < to; index++) refs.push(this.ref(index))
    return refs
  }

  /** The first entry after `index` that changes membership. */
  nextChange(index: number): { readonly index: number; readonly change: ConfChange } | undefined {
    // Nearly always none: look at the last one first.
    const last = this.#changes.at(-1)
    if (last === undefined || last.index <= index) return undefined
    return this.#changes.find((found) => found.index > index)
  }

  /**
   * The last but one entry that changes membership, 0 if there is none. Its leader appended the last one only after
   * that one had been committed, so whoever holds both knows it is.
   */
  get committedChange(): number {
    return this.#changes.at(-2)?.index ?? 0
  }

  /** Copies `ref` to the end. */
  append(ref: EntryRef): void {
    invariant(ref.index === this.#lastIndex + 1, 'A log entry does not follow the last one', { index: ref.index })
    invariant(ref.term >= this.lastTerm, 'A log entry has a lower term than the one before', { index: ref.index })
    invariant(
      (ref.kind === membershipKind) === (ref.change !== undefined),
      'A change of membership came without its meaning, or another entry with one',
      { index: ref.index },
    )
    const slot = this.#slotOf(ref.index)
    const chunk = this.#room(Math.floor((ref.index - 1 - this.#origin) / chunkEntries), slot)
    this.#lastIndex = ref.index
    chunk.terms[slot] = ref.term
    chunk.times[slot] = ref.time
    chunk.bytes[slot] = ref.bytes
    chunk.kinds[slot] = ref.kind
    chunk.digests.set(ref.digest, slot * digestBytes)
    if (ref.change !== undefined) this.#changes.push({ index: ref.index, change: ref.change })
  }

  /** Drops `index`, which exists, and everything after it. */
  truncateFrom(index: number): void {
    invariant(index > this.#base.index && index <= this.#lastIndex, 'A truncation outside the log', { index })
    this.#lastIndex = index - 1
    this.#chunks.length = Math.ceil((this.#lastIndex - this.#origin) / chunkEntries)
    while ((this.#changes.at(-1)?.index ?? 0) >= index) this.#changes.pop()
  }

  /** Forgets the entries up to `index`, which exists; their memory is freed by whole chunks. */
  compact(index: number): void {
    if (index <= this.#base.index) return
    invariant(index <= this.#lastIndex, 'A compaction beyond the log', { index, lastIndex: this.#lastIndex })
    const time = this.#chunkOf(index).times[this.#slotOf(index)]!
    this.#base = { index, term: this.#termAt(index), time }
    const chunks = Math.floor((index - this.#origin) / chunkEntries)
    this.#chunks.splice(0, chunks)
    this.#origin += chunks * chunkEntries
    const kept = this.#changes.findIndex((found) => found.index > index)
    this.#changes = kept < 0 ? [] : this.#changes.slice(kept)
  }

  /** Replaces everything by a log that begins after `base`. */
  restore({ index, term, time }: LogBase): void {
    this.#base = { index, term, time }
    this.#origin = index
    this.#lastIndex = index
    this.#chunks = []
    this.#changes = []
  }

  /** Raft §3.6.1: a log whose last entry is (index, term) is at least as up-to-date as this one. */
  isUpToDate(index: number, term: number): boolean {
    return term > this.lastTerm || (term === this.lastTerm && index >= this.#lastIndex)
  }

  /** Position in `entries` of the first that this log does not hold, or -1 if it holds them all (Raft fig. 3.1, 3 and 4). */
  findConflict(entries: readonly EntryRef[]): number {
    return entries.findIndex((entry) => this.term(entry.index) !== entry.term)
  }

  /**
   * The largest index ≤ `index` whose term is ≤ `term`: where a log that has `term` at `index` can still agree with
   * this one. Both sides of a refused append use it, so that a whole term is skipped per round trip (Raft §3.5).
   * Before the base no terms are known: then it may be too high.
   */
  findConflictByTerm(index: number, term: number): number {
    let high = Math.min(index, this.#lastIndex)
    let low = this.#base.index
    if (high < low) return high
    if (this.#base.term > term) return low - 1
    while (low < high) {
      const middle = Math.ceil((low + high) / 2)
      if (this.#termAt(middle) <= term) low = middle
      else high = middle - 1
    }
    return low
  }

  dump(): LogDump {
    const entries: LogDump['entries'][number][] = []
    for (let index = this.firstIndex; index <= this.#lastIndex; index++) {
      const { term, kind, time, bytes, digest, change } = this.ref(index)
      const entry = [term, kind, time, bytes, toHex(digest)] as const
      entries.push(change === undefined ? entry : [...entry, change])
    }
    return { base: this.#base, entries }
  }

  static fromDump({ base, entries }: LogDump): RaftLog {
    const log = new RaftLog(base)
    for (const [term, kind, time, bytes, digest, change] of entries) {
      const ref = { term, index: log.lastIndex + 1, kind, time, bytes, digest: fromHex(digest) }
      log.append(change === undefined ? ref : { ...ref, change })
    }
    return log
  }

  #termAt(index: number): number {
    return index === this.#base.index ? this.#base.term : this.#chunkOf(index).terms[this.#slotOf(index)]!
  }

  #changeAt(index: number): ConfChange {
    const found = this.#changes.find((candidate) => candidate.index === index)
    invariant(found !== undefined, 'A change of membership lost its meaning', { index })
    return found.change
  }

  #chunkOf(index: number): Chunk {
    invariant(index > this.#base.index && index <= this.#lastIndex, 'A read outside the log', {
      index,
      base: this.#base.index,
      lastIndex: this.#lastIndex,
    })
    return this.#chunks[Math.floor((index - 1 - this.#origin) / chunkEntries)]!
  }

  #slotOf(index: number): number {
    return (index - 1 - this.#origin) % chunkEntries
  }

  /** The chunk `at`, with room for `slot`. */
  #room(at: number, slot: number): Chunk {
    const chunk = this.#chunks[at]
    if (chunk !== undefined && slot < chunk.capacity) return chunk
    const grown = newChunk(chunk === undefined ? (at === 0 ? firstChunkEntries : chunkEntries) : chunk.capacity * 2)
    if (chunk !== undefined) {
      grown.terms.set(chunk.terms)
      grown.times.set(chunk.times)
      grown.bytes.set(chunk.bytes)
      grown.kinds.set(chunk.kinds)
      grown.digests.set(chunk.digests)
    }
    this.#chunks[at] = grown
    return grown
  }
}

function newChunk(capacity: number): Chunk {
  return {
    capacity,
    terms: new Float64Array(capacity),
    times: new Float64Array(capacity),
    bytes: new Uint32Array(capacity),
    kinds: new Uint16Array(capacity),
    digests: new Uint8Array(capacity * digestBytes),
  }
}

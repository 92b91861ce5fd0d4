/**
 * The log's refs in memory: 55 bytes an entry in typed arrays, so a million entries cost 55 MB.
 *
 * Entries are numbered from 1 without gaps; terms never decrease along the log (so searches by term are binary).
 * Chunks keep growth from copying. What is on disk is not known here: see pending-writes.ts.
 */
import { invariant } from '@cipherlog/core'
import { type EntryRef } from './types.ts'

const chunkEntries = 4096
const digestBytes = 32

interface Chunk {
  readonly terms: Float64Array
  readonly times: Float64Array
  readonly bytes: Uint32Array
  readonly kinds: Uint16Array
  readonly digests: Uint8Array
}

/** What others may do with a Raft object's log: read it. */
export type ReadonlyRaftLog = Omit<RaftLog, 'append' | 'truncateFrom'>

export class RaftLog {
  readonly #initialTimeMs: number
  readonly #chunks: Chunk[] = []
  #lastIndex = 0

  /** An empty log. @param initialTimeMs - log time before the first entry. */
  constructor(initialTimeMs: number) {
    this.#initialTimeMs = initialTimeMs
  }

  /** 0 if empty. */
  get lastIndex(): number {
    return this.#lastIndex
  }

  /** 0 if empty. */
  get lastTerm(): number {
    return this.#termAt(this.#lastIndex)
  }

  /** Stamp of the last entry, or the initial time. */
  get lastTime(): number {
    if (this.#lastIndex === 0) return this.#initialTimeMs
    return this.#chunkOf(this.#lastIndex).times[slotOf(this.#lastIndex)]!
  }

  /** The term at `index`: 0 at 0, undefined beyond the end. */
  term(index: number): number | undefined {
    return index > this.#lastIndex ? undefined : this.#termAt(index)
  }

  /** Payload length of an existing entry, without building its ref. */
  payloadBytes(index: number): number {
    return this.#chunkOf(index).bytes[slotOf(index)]!
  }

  /** A fresh ref of an existing entry; its digest is the caller's to keep. */
  ref(index: number): EntryRef {
    const chunk = this.#chunkOf(index)
    const slot = slotOf(index)
    return {
      term: chunk.terms[slot]!,
      index,
      kind: chunk.kinds[slot]!,
      time: chunk.times[slot]!,
      bytes: chunk.bytes[slot]!,
      digest: chunk.digests.slice(slot * digestBytes, (slot + 1) * digestBytes),
    }
  }

  /** Fresh refs of `from` … `to - 1`, all of which exist. */
  slice(from: number, to: number): EntryRef[] {
    const refs: EntryRef[] = []
    for (let index = from; index < to; index++) refs.push(this.ref(index))
    return refs
  }

  /** Copies `ref` to the end. */
  append(ref: EntryRef): void {
    invariant(ref.index === this.#lastIndex + 1, 'A log entry does not follow the last one', { index: ref.index })
    invariant(ref.term >= this.lastTerm, 'A log entry has a lower term than the one before', { index: ref.index })
    const slot = slotOf(ref.index)
    if (slot === 0) this.#chunks.push(newChunk())
    this.#lastIndex = ref.index
    const chunk = this.#chunkOf(ref.index)
    chunk.terms[slot] = ref.term
    chunk.times[slot] = ref.time
    chunk.bytes[slot] = ref.bytes
    chunk.kinds[slot] = ref.kind
    chunk.digests.set(ref.digest, slot * digestBytes)
  }

  /** Drops `index`, which exists, and everything after it. */
  truncateFrom(index: number): void {
    invariant(index >= 1 && index <= this.#lastIndex, 'A truncation outside the log', { index })
    this.#lastIndex = index - 1
    this.#chunks.length = Math.ceil(this.#lastIndex / chunkEntries)
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
   */
  findConflictByTerm(index: number, term: number): number {
    let low = 0
    let high = Math.min(index, this.#lastIndex)
    while (low < high) {
      const middle = Math.ceil((low + high) / 2)
      if (this.#termAt(middle) <= term) low = middle
      else high = middle - 1
    }
    return low
  }

  #termAt(index: number): number {
    return index === 0 ? 0 : this.#chunkOf(index).terms[slotOf(index)]!
  }

  #chunkOf(index: number): Chunk {
    invariant(index >= 1 && index <= this.#lastIndex, 'A read outside the log', { index, lastIndex: this.#lastIndex })
    return this.#chunks[Math.floor((index - 1) / chunkEntries)]!
  }
}

const slotOf = (index: number): number => (index - 1) % chunkEntries

function newChunk(): Chunk {
  return {
    terms: new Float64Array(chunkEntries),
    times: new Float64Array(chunkEntries),
    bytes: new Uint32Array(chunkEntries),
    kinds: new Uint16Array(chunkEntries),
    digests: new Uint8Array(chunkEntries * digestBytes),
  }
}

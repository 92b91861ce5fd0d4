/**
 * What one group has in the log, in memory: its HardState, its entries without payloads, and where each payload is.
 *
 * Invariant: entries are `baseIndex + 1 … lastIndex` without gaps, and their terms never decrease.
 */
import { InvariantViolation, invariant } from '@cipherlog/core'
import type { EntryRef, HardState } from '@cipherlog/raft'
import { type Segment } from './segment.ts'
import { type WalBase, type WalDoubt } from './wal.ts'

/** An entry and where its payload is: in memory, on disk, or both. */
export interface Slot {
  readonly ref: EntryRef
  /** Set while the payload is cached. */
  payload: Uint8Array | undefined
  /** Where its record starts; undefined until it is written. */
  segment: Segment | undefined
  offset: number
  /** Acknowledged: the cache may let go of the payload. */
  durable: boolean
  /** The payload on disk is damaged or missing. */
  damaged: boolean
}

/** What this disk cannot say of a group (wal.ts, {@link WalDoubt}). */
export interface Doubt extends Pick<WalDoubt, 'reason' | 'fromIndex' | 'termUnknown'> {
  /** Entries after the gap, a run without gaps. */
  known: Slot[]
  /** A `resume` record says after which entry the log goes on. */
  resumed: boolean
}

export class GroupLog {
  /** 16 bytes. */
  readonly id: Uint8Array
  hardState: HardState | undefined
  baseIndex = 0
  baseTerm = 0
  /** Log time of entry `baseIndex`. */
  baseTime = 0
  #slots: Slot[] = []
  /** Newest term that a batch was written in. */
  fencingTerm = 0
  doubt: Doubt | undefined

  constructor(id: Uint8Array) {
    this.id = id.slice()
  }

  get lastIndex(): number {
    return this.baseIndex + this.#slots.length
  }

  get refs(): EntryRef[] {
    return this.#slots.map((slot) => slot.ref)
  }

  /** Entries whose payload is not here. */
  get damaged(): Slot[] {
    return this.#slots.filter((slot) => slot.damaged)
  }

  /** The entry `index`, or of those known after the gap of a doubt. @throws RangeError if it is not here. */
  slot(index: number): Slot {
    const slot = this.find(index)
    if (slot === undefined) {
      throw new RangeError(`entry ${index} is not in the log, which holds ${this.baseIndex + 1} to ${this.lastIndex}`)
    }
    return slot
  }

  /** The same, or undefined if it is not here. */
  find(index: number): Slot | undefined {
    const known = this.doubt?.known ?? []
    return this.#slots[index - this.baseIndex - 1] ?? known[index - (known[0]?.ref.index ?? 0)]
  }

  /** Term of entry `index`, which is the base or later. */
  termOf(index: number): number {
    return index === this.baseIndex ? this.baseTerm : this.slot(index).ref.term
  }

  /** The log holds, or begins after, an entry of this index and term: then all before it is the same too (Raft §3.5). */
  matches(index: number, term: number): boolean {
    return index >= this.baseIndex && index <= this.lastIndex && this.termOf(index) === term
  }

  /** Where a log that went on after entry `index`, which is the base or later, would begin. */
  baseAt(index: number): WalBase {
    if (index === this.baseIndex) return { index, term: this.baseTerm, time: this.baseTime }
    const { term, time } = this.slot(index).ref
    return { index, term, time }
  }

  push(slot: Slot): void {
    const { index, term } = slot.ref
    const problem = this.#problemOf(index, term)
    if (problem !== undefined) throw new InvariantViolation(`The entry does not follow the log: ${problem}`, { index })
    this.#slots.push(slot)
  }

  #problemOf(index: number, term: number): string | undefined {
    if (index !== this.lastIndex + 1) return `index ${index} after ${this.lastIndex}`
    const last = this.termOf(this.lastIndex)
    return term < last || term < 1 ? `term ${term} after ${last}` : undefined
  }

  /** Drops entry `from` and all after it; returns them. */
  truncate(from: number): Slot[] {
    invariant(from > this.baseIndex && from <= this.lastIndex + 1, 'A truncation must start inside the log', {
      from,
      baseIndex: this.baseIndex,
      lastIndex: this.lastIndex,
    })
    return this.#slots.splice(from - this.baseIndex - 1)
  }

  /** Drops all entries; the log goes on after `base`. Returns the entries. */
  startAfter(base: WalBase): Slot[] {
    this.baseIndex = base.index
    this.baseTerm = base.term
    this.baseTime = base.time
    return this.#slots.splice(0)
  }

  /** Forgets the leading entries whose payloads are in `segments`; returns them. */
  compact(segments: ReadonlySet<Segment>): Slot[] {
    let count = 0
    while (count < this.#slots.length) {
      const { segment } = this.#slots[count]!
      if (segment === undefined || !segments.has(segment)) break
      count++
    }
    const last = this.#slots[count - 1]
    if (last === undefined) return []
    this.baseIndex = last.ref.index
    this.baseTerm = last.ref.term
    this.baseTime = last.ref.time
    return this.#slots.splice(0, count)
  }
}

/** The highest term that is known to have been promised. */
export function termAtLeast({ hardState, fencingTerm }: GroupLog): number {
  return Math.max(hardState?.term ?? 0, fencingTerm)
}

/** A log's doubt as the caller sees it. */
export function doubtOf(log: GroupLog): WalDoubt | undefined {
  if (log.doubt === undefined) return undefined
  const { reason, fromIndex, termUnknown, known } = log.doubt
  return { reason, fromIndex, termUnknown, termAtLeast: termAtLeast(log), known: known.map((slot) => slot.ref) }
}

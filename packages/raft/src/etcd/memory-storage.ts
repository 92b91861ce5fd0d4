/**
 * A log in memory, as etcd's `MemoryStorage`: what a replica wrote, for the view to start from.
 *
 * Invariant: entries are `snapshot index or compacted index + 1 … lastIndex`, without gaps.
 */
import { EtcdError } from './errors.ts'
import {
  type ConfState,
  emptyConfState,
  emptyHardState,
  emptySnapshot,
  type Entry,
  type HardState,
  type Snapshot,
  type Storage,
} from './types.ts'

export class MemoryStorage implements Storage {
  #hardState: HardState = emptyHardState
  #snapshot: Snapshot = emptySnapshot
  /** What precedes the first entry. */
  #base = { index: 0, term: 0 }
  #entries: Entry[] = []

  initialState(): { readonly hardState: HardState; readonly confState: ConfState } {
    return { hardState: this.#hardState, confState: this.#snapshot.metadata.confState ?? emptyConfState }
  }

  firstIndex(): number {
    return this.#base.index + 1
  }

  lastIndex(): number {
    return this.#base.index + this.#entries.length
  }

  /** @throws {@link EtcdError} `ERR_RAFT_STORAGE_RANGE` */
  term(index: number): number {
    if (index === this.#base.index) return this.#base.term
    return this.entries(index, index + 1)[0]!.term
  }

  /** @throws {@link EtcdError} `ERR_RAFT_STORAGE_RANGE` */
  entries(lo: number, hi: number): readonly Entry[] {
    if (lo < this.firstIndex() || hi > this.lastIndex() + 1 || lo > hi) throw outside(lo)
    return this.#entries.slice(lo - this.firstIndex(), hi - this.firstIndex())
  }

  snapshot(): Snapshot {
    return this.#snapshot
  }

  setHardState(hardState: HardState): void {
    this.#hardState = hardState
  }

  /** Appends entries that follow the log, or replaces its end by them; what was compacted is left out. */
  append(entries: readonly Entry[]): void {
    const kept = entries.filter(({ index }) => index >= this.firstIndex())
    const [first] = kept
    if (first === undefined) return
    if (first.index > this.lastIndex() + 1) throw outside(first.index)
    this.#entries = [...this.#entries.slice(0, first.index - this.firstIndex()), ...kept]
  }

  /**
   * Replaces everything by a snapshot.
   * @throws {@link EtcdError} `ERR_RAFT_STORAGE_RANGE` if it is older than the one held.
   */
  applySnapshot(snapshot: Snapshot): void {
    const { index, term } = snapshot.metadata
    if (this.#snapshot.metadata.index >= index) throw outside(index)
    this.#snapshot = snapshot
    this.#base = { index, term }
    this.#entries = []
  }

  /**
   * The machine's state after `index`, to be given to others; the log stays.
   * @throws {@link EtcdError} `ERR_RAFT_STORAGE_RANGE` if it is not newer, or the entry is not there.
   */
  createSnapshot(index: number, confState: ConfState, data: Uint8Array): void {
    if (this.#snapshot.metadata.index >= index) throw outside(index)
    this.#snapshot = { data: data.slice(), metadata: { confState, index, term: this.term(index) } }
  }

  /**
   * Forgets the entries up to `index`.
   * @throws {@link EtcdError} `ERR_RAFT_STORAGE_RANGE` if they are gone already, or not there yet.
   */
  compact(index: number): void {
    const term = this.entries(index, index + 1)[0]!.term
    this.#entries = this.#entries.slice(index - this.#base.index)
    this.#base = { index, term }
  }
}

function outside(index: number): EtcdError {
  return new EtcdError('ERR_RAFT_STORAGE_RANGE', `Entry ${index} is compacted or not written yet; ask for another.`)
}

/**
 * Which committed entries may be handed out to be applied, and how many bytes of them at once (etcd's `raftLog`).
 *
 * Invariant: applied <= applying; what lies between has been handed out and is not applied yet, and is at most
 * `maxBytes` (as protobuf), one entry apart.
 */
import { type Entry } from './types.ts'

export class CommittedEntries {
  readonly #maxBytes: number
  /** Handed out up to here. */
  #applying: number
  #applyingBytes = 0
  #paused = false

  constructor(applied: number, maxBytes: number) {
    this.#applying = applied
    this.#maxBytes = maxBytes
  }

  /** What may be handed out now, of entries up to `last`. */
  next(last: number, entryAt: (index: number) => Entry): Entry[] {
    const entries: Entry[] = []
    if (this.#paused) return entries
    let room = this.#maxBytes - this.#applyingBytes
    for (let index = this.#applying + 1; index <= last; index++) {
      const entry = entryAt(index)
      room -= entryBytes(entry)
      if (room < 0 && entries.length > 0) break
      entries.push(entry)
    }
    return entries
  }

  /** `entries`, some of those up to `last`, were handed out. */
  accept(entries: readonly Entry[], last: number): void {
    const newest = entries.at(-1)
    if (newest === undefined) return
    this.#applying = newest.index
    this.#applyingBytes += sumBytes(entries)
    this.#paused = this.#applyingBytes >= this.#maxBytes || newest.index < last
  }

  applied(entries: readonly Entry[]): void {
    this.#applyingBytes = Math.max(0, this.#applyingBytes - sumBytes(entries))
    this.#paused = this.#applyingBytes >= this.#maxBytes
  }

  /** A snapshot up to `index` took the place of entries. */
  restored(index: number): void {
    this.#applying = Math.max(this.#applying, index)
  }
}

const sumBytes = (entries: readonly Entry[]): number => entries.reduce((sum, entry) => sum + entryBytes(entry), 0)

/** Its size as etcd's protobuf: type, term, index, data. */
export function entryBytes({ term, index, data }: Entry): number {
  const payload = data.length === 0 ? 0 : 1 + varintBytes(data.length) + data.length
  return 2 + 1 + varintBytes(term) + 1 + varintBytes(index) + payload
}

function varintBytes(value: number): number {
  let bytes = 1
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes++
  return bytes
}

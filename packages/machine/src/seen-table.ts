/**
 * Checkpoints that session openings and key events may name as `seen`: the last 4,096 batch records and the
 * first of each hour of log time for 30 days. Clients are witnesses by this: a rolled-back cluster does not
 * know what they saw.
 */
import { decode, encode, equalBytes, readU64 } from '@cipherlog/core'
import { storedSeen, type Seen } from '@cipherlog/format'
import { stateKeys, statePrefixes } from './state-keys.ts'
import { type State } from './state.ts'

export const seenRecentMax = 4096
const hourMs = 3_600_000
const hourlyKeptMs = 30 * 24 * hourMs

interface SeenRow {
  readonly size: number
  readonly rootHash: Uint8Array
  readonly logTime: number
  readonly firstOfHour: boolean
}

export class SeenTable {
  /** In order of size. */
  #rows: SeenRow[] = []
  readonly #bySize = new Map<number, SeenRow>()

  static async open(state: State): Promise<SeenTable> {
    const table = new SeenTable()
    for await (const [key, value] of state.iterate(statePrefixes.seen)) {
      const { rootHash, logTime } = decode(storedSeen, value)
      table.#push(readU64(key, 1), rootHash, logTime)
    }
    return table
  }

  #push(size: number, rootHash: Uint8Array, logTime: number): void {
    const hour = Math.floor(logTime / hourMs)
    const last = this.#rows.at(-1)
    const firstOfHour = last === undefined || Math.floor(last.logTime / hourMs) < hour
    const row = { size, rootHash: rootHash.slice(), logTime, firstOfHour }
    this.#rows.push(row)
    this.#bySize.set(size, row)
  }

  /** Records the root of a batch record's size and drops what nobody may name any more. */
  add(state: State, size: number, rootHash: Uint8Array, logTime: number): void {
    this.#push(size, rootHash, logTime)
    state.put(stateKeys.seen(size), encode(storedSeen, { rootHash, logTime }))
    const agedOut = this.#rows.length - seenRecentMax - 1
    if (agedOut < 0) return
    // One row leaves the recent ones; hourly rows leave after 30 days.
    const dropped = this.#rows.filter(
      (row, i) => i <= agedOut && (!row.firstOfHour || row.logTime < logTime - hourlyKeptMs),
    )
    if (dropped.length === 0) return
    const gone = new Set(dropped)
    this.#rows = this.#rows.filter((row) => !gone.has(row))
    for (const row of dropped) {
      this.#bySize.delete(row.size)
      state.delete(stateKeys.seen(row.size))
    }
  }

  /** Whether `seen` names a checkpoint of this log that is still in the table. */
  knows(seen: Seen): boolean {
    const row = this.#bySize.get(seen.treeSize)
    return row !== undefined && equalBytes(row.rootHash, seen.rootHash)
  }
}

/**
 * Checkpoints that session openings and key events may name as `seen`: the last 4,096 batch records and the
 * first of each hour of log time for 30 days. Clients are witnesses by this: a rolled-back cluster does not
 * know what they saw.
 *
 * Invariant: what the table knows is a function of the log, also after a restart, which recomputes `firstOfHour`
 * from the rows that are left. So hours expire as a whole: else an hour's second row, alone after the first had
 * expired, would be an hourly one on replicas that restarted and on no other.
 */
import { encode, equalBytes, readU64 } from '@cipherlog/core'
import { storedSeen, type Seen } from '@cipherlog/format'
import { stateKeys, statePrefixes } from './state-keys.ts'
import { decodeStored, type State } from './state.ts'

export const seenRecentMax = 4096
const hourMs = 3_600_000
/** Whole hours before the present one. */
const hoursKept = 30 * 24

interface SeenRow {
  readonly size: number
  readonly rootHash: Uint8Array
  /** Hours of log time since the Unix epoch, rounded down. */
  readonly hour: number
  readonly firstOfHour: boolean
}

export class SeenTable {
  /** In order of size. */
  #rows: SeenRow[] = []
  readonly #bySize = new Map<number, SeenRow>()

  static async open(state: State): Promise<SeenTable> {
    const table = new SeenTable()
    for await (const [key, value] of state.iterate(statePrefixes.seen)) {
      const { rootHash, logTime } = decodeStored(storedSeen, value)
      table.#push(readU64(key, 1), rootHash, logTime)
    }
    return table
  }

  #push(size: number, rootHash: Uint8Array, logTime: number): void {
    const hour = Math.floor(logTime / hourMs)
    const last = this.#rows.at(-1)
    const row = { size, rootHash: rootHash.slice(), hour, firstOfHour: last === undefined || last.hour < hour }
    this.#rows.push(row)
    this.#bySize.set(size, row)
  }

  /** Records the root of a batch record's size and drops what nobody may name any more. */
  add(state: State, size: number, rootHash: Uint8Array, logTime: number): void {
    this.#push(size, rootHash, logTime)
    state.put(stateKeys.seen(size), encode(storedSeen, { rootHash, logTime }))
    const agedOut = this.#rows.length - seenRecentMax
    if (agedOut <= 0) return
    // One row leaves the recent ones; hourly rows leave after 30 days.
    const oldestHour = Math.floor(logTime / hourMs) - hoursKept
    const dropped = this.#rows.slice(0, agedOut).filter((row) => !row.firstOfHour || row.hour < oldestHour)
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

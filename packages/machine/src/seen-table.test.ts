import { expect, test } from 'vitest'
import { createdAt, hourMs, opaque } from './cluster.fixture.ts'
import { contentsOf } from './ledger-driver.fixture.ts'
import { SeenTable, seenRecentMax } from './seen-table.ts'
import { createMemoryState } from './state.ts'

const rootOf = (size: number): Uint8Array => opaque(`root ${size}`, 32)

/** Everything that was ever added, and the rule as DESIGN §4 says it, evaluated over all of it. */
class SlowTwin {
  readonly added: { size: number; logTime: number }[] = []

  knows(size: number): boolean {
    const hourOf = (logTime: number) => Math.floor(logTime / hourMs)
    const now = hourOf(this.added.at(-1)!.logTime)
    const i = this.added.findIndex((row) => row.size === size)
    if (i === -1) return false
    if (i >= this.added.length - seenRecentMax) return true
    const hour = hourOf(this.added[i]!.logTime)
    const first = i === 0 || hourOf(this.added[i - 1]!.logTime) < hour
    return first && now - hour <= 30 * 24
  }
}

test('knows the last 4,096 checkpoints, and not one more that is no hour’s first', () => {
  const [table, state] = [new SeenTable(), createMemoryState()]
  for (let size = 1; size <= seenRecentMax + 3; size++) table.add(state, size, rootOf(size), createdAt)
  const knows = (size: number) => table.knows({ treeSize: size, rootHash: rootOf(size) })
  expect([1, 2, 3, 4].map(knows)).toEqual([true, false, false, true])
  expect(knows(seenRecentMax + 3)).toBe(true)
  expect(knows(seenRecentMax + 4)).toBe(false)
  expect(table.knows({ treeSize: 4, rootHash: rootOf(5) })).toBe(false)
})

test('agrees with a slow twin over months, and a table that was opened again at any time agrees with it', async () => {
  const [table, state, twin] = [new SeenTable(), createMemoryState(), new SlowTwin()]
  let logTime = createdAt
  // Bursts and pauses: hours with many checkpoints, and days with one; over two months, past the recent ones.
  for (let size = 1; size <= 9000; size++) {
    logTime += size % 7 === 0 ? hourMs * (size % 3) : 60_000
    table.add(state, size, rootOf(size), logTime)
    twin.added.push({ size, logTime })
    if (size % 1500 !== 0) continue
    const opened = await SeenTable.open(state)
    for (let known = 1; known <= size; known++) {
      const seen = { treeSize: known, rootHash: rootOf(known) }
      if (table.knows(seen) !== twin.knows(known) || opened.knows(seen) !== twin.knows(known)) {
        expect.fail(`size ${known} of ${size}: table ${table.knows(seen)}, twin ${twin.knows(known)}`)
      }
    }
  }
  expect(logTime - createdAt).toBeGreaterThan(45 * 24 * hourMs)
})

test('a restart never makes an hourly checkpoint of one that was none', async () => {
  // An idle cluster: the recent checkpoints reach further back than 30 days, so an hour's first row expires while
  // its second one is still recent.
  const kept = { table: new SeenTable(), state: createMemoryState() }
  const reopened = { table: new SeenTable(), state: createMemoryState() }
  const add = (size: number, logTime: number) => {
    for (const { table, state } of [kept, reopened]) table.add(state, size, rootOf(size), logTime)
  }
  add(1, createdAt)
  add(2, createdAt + hourMs - 1)
  let logTime = createdAt + hourMs
  // Ages out the first row only once it is 30 days old, to the millisecond.
  for (let size = 3; size <= seenRecentMax + 4; size++) {
    if (size === seenRecentMax + 1) logTime = createdAt + 30 * 24 * hourMs + 1
    add(size, logTime)
    if (size === seenRecentMax + 1) reopened.table = await SeenTable.open(reopened.state)
  }
  for (const size of [1, 2, 3]) {
    const seen = { treeSize: size, rootHash: rootOf(size) }
    expect([size, reopened.table.knows(seen)]).toEqual([size, kept.table.knows(seen)])
  }
  expect(await contentsOf(reopened.state)).toBe(await contentsOf(kept.state))
})

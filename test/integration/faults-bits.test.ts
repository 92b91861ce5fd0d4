/** Promise 4 with bits that flip in the log of nodes, while clients go on. */
import { readFile } from 'node:fs/promises'
import { entryKinds } from '@cipherlog/format'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { Load } from './load.ts'
import { caughtUp, expectCleanAudits, statusOf, waitForLeader } from './observe.ts'
import { startProcesses, type ProcessCluster } from './processes.ts'
import { entriesOnDisk, flipBit, type EntryOnDisk } from './wal-files.ts'

const seed = Number(process.env['CIPHERLOG_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const everyone = [1, 2, 3]

let cluster: ProcessCluster
let load: Load

describe('bits that flip in the log', () => {
  beforeAll(async () => (cluster = await startProcesses()))
  afterEach(() => load.close())
  afterAll(() => cluster.close())

  test('in the last acknowledged record, while the leader changes, lose nothing', async () => {
    load = await Load.start(cluster, { seed, name: 'last' })
    await load.progress(20)
    const leader = await waitForLeader(cluster, everyone)
    await cluster.kill(leader)
    const others = everyone.filter((node) => node !== leader)
    const next = await waitForLeader(cluster, others)
    const { commitIndex } = (await statusOf(cluster, next))!
    const last = (await bundlesOf(leader)).filter(({ header }) => header.index <= commitIndex).at(-1)!
    await startDamaged(leader, last)
    await load.progress(10)
    // Now it may lead: what it mended is what the others have.
    await cluster.kill(next)
    await waitForLeader(
      cluster,
      everyone.filter((node) => node !== next),
    )
    await load.progress(10)
    await cluster.start(next)
    await load.finish()
  })

  test('at different entries of two nodes of three lose nothing', async () => {
    load = await Load.start(cluster, { seed, name: 'two' })
    await load.progress(20)
    const leader = await waitForLeader(cluster, everyone)
    const victims = everyone.filter((node) => node !== leader)
    await Promise.all(victims.map((node) => cluster.kill(node)))
    const entries = await bundlesOf(victims[0]!)
    const indexes = [entries.at(-6)!, entries.at(-3)!].map(({ header }) => header.index)
    for (const [n, node] of victims.entries()) {
      const damaged = (await bundlesOf(node)).findLast(({ header }) => header.index === indexes[n])!
      await startDamaged(node, damaged)
    }
    await load.progress(10)
    for (const node of everyone) await caughtUp(cluster, node)
    await load.finish()
    await expectCleanAudits(cluster)
  })

  async function bundlesOf(node: number): Promise<EntryOnDisk[]> {
    const entries = await entriesOnDisk(cluster.nodes[node - 1]!)
    return entries.filter(({ header }) => header.entryKind === entryKinds.commandBundle)
  }

  /** Flips a bit of a node that is down, and starts it. */
  async function startDamaged(node: number, entry: EntryOnDisk): Promise<void> {
    const payload = async (): Promise<Buffer> =>
      (await readFile(entry.file)).subarray(entry.offset, entry.offset + entry.header.bytes)
    const before = await payload()
    await flipBit(entry)
    expect(await payload()).not.toEqual(before)
    await cluster.start(node)
    await caughtUp(cluster, node)
    await expect.poll(payload, { timeout: 10_000 }).toEqual(before)
  }
})

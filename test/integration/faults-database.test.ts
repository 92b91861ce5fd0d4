/**
 * A node on real LevelDB, killed at each step of bringing its state to disk, again and again on the same disk: what it
 * acknowledged is there exactly once, and its trail is valid. Unlike a power loss a kill loses nothing that was written,
 * so this shows that the steps are in the right order, and that LevelDB recovers; what syncs are for is shown on disks
 * in memory (packages/server/src/pipeline/crash-points.test.ts).
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { errorCode } from '@cipherlog/core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { caughtUp, expectCleanAudits } from './observe.ts'
import { createKv, startProcesses, type ProcessCluster } from './processes.ts'

/** Of the process that is started: operations are counted from its beginning. */
const points = [
  ...['level 1 before', 'level 1 during', 'level 2 during', 'level 3 after'],
  ...['rename 1 before', 'fdatasync 9 after', 'fsync 2 during', 'write 20 during'],
]

let cluster: ProcessCluster
beforeAll(async () => {
  cluster = await startProcesses({ nodes: 1 })
  await createKv(cluster, 'orders')
})
afterAll(() => cluster.close())

test('a node that is killed at each step of writing its state down loses and repeats nothing', async () => {
  const orders = cluster.log.kv('orders')
  const lasting = new Map<string, number>()
  const leaves = new Set<number>()
  await cluster.stop(1)
  for (const [n, point] of points.entries()) {
    const { died } = await startUntilItDies(point)
    // The client sends the same bytes until a node answers.
    let running = true
    const write = async (): Promise<void> => {
      for (let i = 0; running; i++) {
        const name = `order-${i % 7}`
        const { leaf, duplicate } = await orders.put(name, n * 1000 + i)
        lasting.set(name, n * 1000 + i)
        expect(leaves.has(leaf) && !duplicate, `leaf ${leaf} was given twice`).toBe(false)
        leaves.add(leaf)
      }
    }
    const kill = async (): Promise<void> => {
      try {
        const alive = sleep(20_000).then(() => 'alive')
        expect(await Promise.race([died, alive]), point).toBe('SIGKILL')
        await cluster.start(1)
      } finally {
        running = false
      }
    }
    await Promise.all([write(), kill()])
    for (const [name, value] of lasting) expect((await orders.get(name))?.value, `${name} after ${point}`).toBe(value)
    await cluster.stop(1)
  }
  await cluster.start(1)
  await caughtUp(cluster, 1)
  await (await orders.put('the last', 1)).receipt()
  const seen: string[] = []
  for await (const { position, name } of cluster.log.watch({ from: 0, namespace: 'orders' })) {
    seen.push(position)
    if (name === 'the last') break
  }
  expect(new Set(seen).size).toBe(seen.length)
  expect(seen.length).toBeGreaterThan(points.length)
  await expectCleanAudits(cluster)
})

/** Starts the node with an end in it. It may come before the node is up. `died`: how it ended. */
async function startUntilItDies(point: string): Promise<{ readonly died: Promise<number | NodeJS.Signals> }> {
  process.env['KILL_AT'] = point
  process.env['NODE_OPTIONS'] = `--import=${import.meta.resolve('./kill-at.ts')}`
  try {
    await cluster.start(1)
    return { died: cluster.exited(1) }
  } catch (error) {
    if (errorCode(error) !== 'ERR_NODE_START' || !(error as Error).message.includes('ended with SIGKILL')) throw error
    return { died: Promise.resolve('SIGKILL') }
  } finally {
    delete process.env['KILL_AT']
    delete process.env['NODE_OPTIONS']
  }
}

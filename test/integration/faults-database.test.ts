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
  let running = true
  // The client sends the same bytes until a node answers.
  const write = async (): Promise<void> => {
    for (let n = 0; running; n++) {
      const name = `order-${n % 7}`
      const { leaf } = await orders.put(name, n)
      expect(leaves.has(leaf), `leaf ${leaf} was given twice`).toBe(false)
      leaves.add(leaf)
      lasting.set(name, n)
    }
  }
  const kill = async (): Promise<void> => {
    try {
      await cluster.stop(1)
      for (const point of points) {
        const { died } = await startUntilItDies(point)
        const alive = sleep(20_000).then(() => 'alive')
        expect(await Promise.race([died, alive]), point).toBe('SIGKILL')
      }
      await cluster.start(1)
    } finally {
      running = false
    }
  }
  await Promise.all([write(), kill()])
  await caughtUp(cluster, 1)
  for (const [name, value] of lasting) expect((await orders.get(name))?.value, name).toBe(value)
  await (await orders.put('the last', 1)).receipt()
  const seen = new Set<number>()
  for await (const { leaf, name } of cluster.log.watch({ from: 0, namespace: 'orders' })) {
    if (name === 'the last') break
    expect(seen.has(leaf)).toBe(false)
    seen.add(leaf)
  }
  // Whatever was acknowledged, and nothing else: every put was repeated until it was.
  expect(seen).toEqual(leaves)
  expect(leaves.size).toBeGreaterThan(points.length)
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

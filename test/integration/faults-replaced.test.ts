/** Promise 4 while every replica in turn loses its disk and comes back as its next incarnation, under light load. */
import { rm } from 'node:fs/promises'
import { openAdmin, peerIdOf, replaceLocal, stopRunning } from '@cipherlog/cli/cluster'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Load } from './load.ts'
import { expectCleanAudits, statusOf } from './observe.ts'
import { startProcesses, type ProcessCluster } from './processes.ts'

const seed = Number(process.env['CIPHERLOG_SEED'] ?? Math.floor(Math.random() * 2 ** 31))

let cluster: ProcessCluster
let load: Load | undefined
beforeAll(async () => (cluster = await startProcesses()))
afterAll(async () => {
  await load?.close()
  await Promise.all(cluster.nodes.map((node) => stopRunning(node)))
  await cluster.close()
})

test('three replicas lose their disks one after the other, and publication never ends', async () => {
  load = await Load.start(cluster, { seed, name: 'replaced', clients: 1 })
  await load.progress(5)
  for (const { number, dataDirectory } of cluster.nodes) {
    await cluster.kill(number)
    await rm(dataDirectory, { recursive: true })
    const admin = await openAdmin(cluster.directory, cluster.log)
    await replaceLocal(cluster.nodes[number - 1]!, cluster.directory, cluster.log, admin, () => {}).finally(() =>
      admin.close(),
    )
    // An answered write is published: the newcomer signs, or one of the others knows what it lacks.
    await load.progress(1)
  }
  const { publishedSize } = (await statusOf(cluster, 3))!
  for (const node of cluster.nodes) {
    expect((await peerIdOf(node)).slice(24)).toBe('00000001')
    await expect
      .poll(async () => (await statusOf(cluster, node.number))?.publishedSize, { timeout: 20_000 })
      .toBeGreaterThanOrEqual(publishedSize)
  }
  await load.finish()
  await Promise.all(cluster.nodes.map((node) => stopRunning(node)))
  await expectCleanAudits(cluster)
})

/** Promise 4 while leadership is handed on and nodes are restarted in turn, under load. */
import { openAdmin, peerIdOf } from '@cipherlog/cli/cluster'
import { entryKinds } from '@cipherlog/format'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { Load } from './load.ts'
import { caughtUp, statusOf, waitForLeader } from './observe.ts'
import { startProcesses, type ProcessCluster } from './processes.ts'
import { entriesOnDisk, flipBit } from './wal-files.ts'

const seed = Number(process.env['CIPHERLOG_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const everyone = [1, 2, 3]

let cluster: ProcessCluster
let load: Load
beforeAll(async () => (cluster = await startProcesses()))
afterEach(() => load.close())
afterAll(() => cluster.close())

test('leadership goes to a node whose last acknowledged record has a flipped bit, and nothing is lost', async () => {
  load = await Load.start(cluster, { seed, name: 'transfer' })
  await load.progress(20)
  const leader = await waitForLeader(cluster, everyone)
  const heir = everyone.find((node) => node !== leader)!
  const files = cluster.nodes[heir - 1]!
  await cluster.kill(heir)
  const { commitIndex } = (await statusOf(cluster, leader))!
  const last = (await entriesOnDisk(files)).findLast(
    ({ header }) => header.entryKind === entryKinds.commandBundle && header.index <= commitIndex,
  )!
  await flipBit(last)
  await cluster.start(heir)
  const admin = await openAdmin(cluster.directory, cluster.log)
  try {
    expect(await admin.transferLeadership(await peerIdOf(files))).toBe(await peerIdOf(files))
  } finally {
    admin.close()
  }
  await load.progress(20)
  await caughtUp(cluster, heir)
  await load.finish()
})

test('node by node, the leader last and after handing on, a restart of all is no outage', async () => {
  load = await Load.start(cluster, { seed, name: 'rolling' })
  await load.progress()
  const leader = await waitForLeader(cluster, everyone)
  for (const node of [...everyone.filter((each) => each !== leader), leader]) {
    if ((await waitForLeader(cluster, everyone)) === node) {
      const admin = await openAdmin(cluster.directory, cluster.log)
      await admin.transferLeadership().finally(() => admin.close())
    }
    await cluster.stop(node)
    await load.progress(5)
    await cluster.start(node)
    await caughtUp(cluster, node)
  }
  await load.finish()
})

/**
 * Promise 4 with real links that are cut, both ways and one way, while clients go on. Each node lives in a network
 * namespace of its own; without root or the right to make them there is nothing to run.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { Load } from './load.ts'
import { Namespaces, noNamespaces } from './namespaces.ts'
import { caughtUp, expectCleanAudits, statusOf, waitForLeader } from './observe.ts'
import { startProcesses, type ProcessCluster } from './processes.ts'

const seed = Number(process.env['CIPHERLOG_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const everyone = [1, 2, 3]
const reason = noNamespaces()

describe.runIf(reason === undefined)(`links that are cut (seed ${seed}; ${reason ?? 'in network namespaces'})`, () => {
  let namespaces: Namespaces
  let cluster: ProcessCluster
  let load: Load
  beforeAll(async () => {
    namespaces = Namespaces.create(everyone)
    try {
      cluster = await startProcesses({
        prepare: (nodes) => namespaces.prepare(nodes),
        startWith: namespaces.startWith,
      })
    } catch (error) {
      namespaces.remove()
      throw error
    }
  })
  afterEach(() => namespaces.heal())
  afterAll(async () => {
    await load.close()
    await cluster.close()
    namespaces.remove()
  })

  test('a leader that its peers do not hear is deposed, and answers no read from before', async () => {
    load = await Load.start(cluster, { seed, name: 'cut' })
    await load.progress()
    const leader = await waitForLeader(cluster, everyone)
    const others = everyone.filter((node) => node !== leader)
    // Clients still reach it, so that whatever it would answer is in their histories.
    namespaces.part([leader], others)
    await waitForLeader(cluster, others)
    await load.progress(20)
    await expect.poll(async () => (await statusOf(cluster, leader))?.role, { timeout: 10_000 }).not.toBe('leader')
    namespaces.heal()
    await caughtUp(cluster, leader)
    await load.progress()
  })

  test('one way: a leader that speaks and does not hear', async () => {
    const leader = await waitForLeader(cluster, everyone)
    const others = everyone.filter((node) => node !== leader)
    for (const other of others) namespaces.cutOneWay(other, leader)
    await expect.poll(async () => (await statusOf(cluster, leader))?.role, { timeout: 10_000 }).not.toBe('leader')
    await load.progress(20)
    namespaces.heal()
    await caughtUp(cluster, leader)
    await load.progress()
  })

  test('one way: a follower that hears nothing of its leader deposes nobody that works', async () => {
    const leader = await waitForLeader(cluster, everyone)
    const deaf = everyone.find((node) => node !== leader)!
    const { term } = (await statusOf(cluster, leader))!
    namespaces.cutOneWay(leader, deaf)
    await load.progress(20)
    await sleep(2000)
    // Pre-votes and leases: its campaigns reach nobody's term.
    expect(await statusOf(cluster, leader)).toMatchObject({ role: 'leader', term })
    namespaces.heal()
    await caughtUp(cluster, deaf)
  })

  test('a chain: two that only the third connects go on, and every cable that is pulled in turn', async () => {
    const leader = await waitForLeader(cluster, everyone)
    const [a, b] = everyone.filter((node) => node !== leader)
    namespaces.part([a!], [b!])
    await load.progress(10)
    namespaces.heal()
    for (const node of everyone) {
      namespaces.setLink(node, 'down')
      await waitForLeader(
        cluster,
        everyone.filter((other) => other !== node),
      )
      await load.progress(5)
      namespaces.setLink(node, 'up')
      await caughtUp(cluster, node)
    }
    await load.finish()
    await expectCleanAudits(cluster)
  })
})

test.runIf(reason !== undefined)(`links are not cut here: ${reason}`, () => {
  expect(reason).not.toBe('')
})

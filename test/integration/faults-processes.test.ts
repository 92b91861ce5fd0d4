/** Promise 4 with real processes: nodes that are killed and nodes that stand still, while clients go on. */
import { setTimeout as sleep } from 'node:timers/promises'
import { connectAs } from '@cipherlog/cli/cluster'
import { type Cipherlog, inMemory } from '@cipherlog/client'
import { errorCode } from '@cipherlog/core'
import { blindName } from '@cipherlog/crypto/seal'
import { Prng } from '@cipherlog/testkit'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { waitForLeader } from './observe.ts'
import { Load } from './load.ts'
import { passphrase, startProcesses, type ProcessCluster } from './processes.ts'

const seed = Number(process.env['CIPHERLOG_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const everyone = [1, 2, 3]
const namespace = 'pauses-registers'

let cluster: ProcessCluster
let load: Load
beforeAll(async () => (cluster = await startProcesses()))
afterEach(() => load.close())
afterAll(() => cluster.close())

test(`killed leaders and followers: what clients see has one order (seed ${seed})`, async () => {
  const random = new Prng(seed)
  load = await Load.start(cluster, { seed, name: 'kills' })
  await load.progress()
  for (let kill = 0; kill < 5; kill++) {
    // Every other time the leader; the last two die at once, and nobody is left who could decide.
    const leader = await waitForLeader(cluster, everyone)
    const victim = kill % 2 === 0 ? leader : random.pick(everyone.filter((node) => node !== leader))
    const victims = kill < 4 ? [victim] : [victim, random.pick(everyone.filter((node) => node !== victim))]
    await Promise.all(victims.map((node) => cluster.kill(node)))
    if (victims.length === 1) await load.progress(5)
    else await sleep(1000)
    await Promise.all(victims.map((node) => cluster.start(node)))
    await load.progress(5)
  }
  await load.finish()
})

test(`a leader that stood still answers no read from before it fell asleep (seed ${seed})`, async () => {
  load = await Load.start(cluster, { seed, name: 'pauses' })
  await load.progress()
  const own = cluster.log.kv(namespace)
  for (let round = 0; round < 2; round++) {
    await own.put('asleep', `old ${round}`)
    const old = (await own.get('asleep'))!
    const paused = await waitForLeader(cluster, everyone)
    const others = everyone.filter((node) => node !== paused)
    // Readers of that node alone, connected before; and one of the others, which wait for nobody.
    const direct = await guest(paused)
    const awake = await guest(others[0]!)
    const key = keyOf(cluster.log, 'asleep')
    const url = cluster.profile.endpoints[paused - 1]!
    const ask = (linearizable: boolean) => direct.replicas.connection(url).value({ namespace, key, linearizable })
    expect((await ask(true)).value?.leaf).toBe(old.leaf)

    cluster.signal(paused, 'SIGSTOP')
    try {
      await waitForLeader(cluster, others)
      const written = await awake.kv(namespace).put('asleep', `new ${round}`)
      // These wait in its socket: it finds them before it can learn that it was deposed.
      const [reads, plain] = [Array.from({ length: 20 }, () => ask(true)), ask(false)]
      await sleep(50)
      cluster.signal(paused, 'SIGCONT')
      for (const answer of await Promise.allSettled(reads)) {
        if (answer.status === 'fulfilled') expect(answer.value.value!.leaf).toBeGreaterThanOrEqual(written.leaf)
        else expect(['ERR_NOT_LEADER', 'ERR_UNAVAILABLE']).toContain(errorCode(answer.reason))
      }
      // A read that does not ask for a quorum may be old, and here it can only be so or newer.
      expect((await plain).value!.leaf).toBeGreaterThanOrEqual(old.leaf)
    } finally {
      cluster.signal(paused, 'SIGCONT')
      await Promise.all([direct.close(), awake.close()])
    }
    await load.progress(5)
  }
  await load.finish()
})

/** Another connection with the same keys, which begins with one node and remembers nothing. */
function guest(node: number): Promise<Cipherlog> {
  const endpoints = [cluster.profile.endpoints[node - 1]!]
  return connectAs(cluster.profile, passphrase, { endpoints, readOnly: true, memory: inMemory() })
}

function keyOf({ keyring, cluster: id }: Cipherlog, name: string): Uint8Array {
  const { key: nameKey, version: nameKeyVersion } = keyring.nameKey(id)!
  return blindName({ nameKey, nameKeyVersion, cluster: id, namespace, name })
}

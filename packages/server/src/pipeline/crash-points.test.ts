/**
 * Crash at each write, sync, rename and removal of log, trail, state store and signed head in turn, then restart:
 * the roots are those of a replica that never crashed, and everything acknowledged is there exactly once.
 *
 * A run counts its operations; run `n` loses power at operation `n`, and the first run that comes to its end before
 * that has shown that there are no more. The long run takes a larger workload and, by seed, one operation of many.
 */
import { errorCode } from '@cipherlog/core'
import { type Proposal } from '@cipherlog/machine'
import { Prng } from '@cipherlog/testkit'
import { afterAll, describe, expect, it } from 'vitest'
import { TestCluster, Writer } from './cluster.fixture.ts'
import {
  committedEntries,
  Comparison,
  CrashingReplica,
  Machine,
  Witnessed,
  type Unsynced,
} from './power-loss.fixture.ts'
import { RaftCluster } from './raft-cluster.fixture.ts'
import { type RaftReplicator } from './raft-replicator.ts'
import { CosigningNetwork, startReplica, until, type ReplicaBench } from './replica.fixture.ts'

/** Bundles after the setup. With 260 the trail fills tiles. */
const bundles = Number(process.env['CIPHERLOG_CRASH_BUNDLES'] ?? 4)
/** One of so many operations, if given; which ones is up to the seed. */
const stride = Number(process.env['CIPHERLOG_CRASH_STRIDE'] ?? 1)
const seed = Number(process.env['CIPHERLOG_SEED'] ?? 1)

const unsyncedKinds: readonly Unsynced[] = ['lost', 'kept', 'torn']
/** Batches as soon as somebody waits for one; segments of the log that end after a few records. */
const overrides = { batchIntervalMs: 1, idleMarkMs: 1000 }
const segmentBytes = 8192
const timeoutMs = 600_000

const cluster = await TestCluster.build(['r1'], 'values')
const trioCluster = await TestCluster.build(['r1', 'r2', 'r3'], 'values')
const comparison = new Comparison(cluster)
const trioComparison = new Comparison(trioCluster)

/** Everything that is ever proposed, in order. */
function proposalsFor(of: TestCluster): Proposal[] {
  const writer = new Writer(of)
  const proposals = [...of.setup, writer.open(), writer.bundle(writer.envelope())]
  for (let i = 0; i < bundles; i++) proposals.push(writer.bundle(writer.put(String(i % 3)), writer.put('x')))
  return proposals
}

/** Proposals after which a client waits until they are published: so a batch closes, and all of its steps happen. */
const waitsFor = (proposals: readonly Proposal[], at: number): boolean => at % 3 === 0 || at === proposals.length - 1

/**
 * Runs with power failing at operation `first`, then at every `step`-th one behind it, until a run has no more. All
 * that a whole run does must have been hit.
 */
async function atEachOperation(run: (operation: number) => Promise<Machine>, first = 1, step = 1): Promise<void> {
  const hit = new Set<string>()
  for (let operation = first; ; operation += step) {
    const { operations } = await run(operation)
    const at = operations[operation - 1]
    if (at !== undefined) {
      hit.add(at)
      continue
    }
    expect(operations.length).toBeGreaterThan(100)
    if (step === 1) expect(hit).toEqual(new Set(operations))
    return
  }
}

describe('a replica that loses power ends like one that never did', () => {
  it.each(unsyncedKinds)(
    'at any operation of its disks, if what was not synced is %s',
    (unsynced) => atEachOperation((operation) => loseThePower(operation, unsynced), 1 + (seed % stride), stride),
    timeoutMs,
  )

  it(
    'and again while it recovers',
    async () => {
      let twice = 0
      const again = stride === 1 ? 5 : stride
      await atEachOperation(
        async (operation) => {
          const machine = await loseThePower(operation, unsyncedKinds[operation % 3]!, 1 + (operation % 29))
          twice += machine.cuts - 1
          return machine
        },
        1 + (seed % again),
        again,
      )
      expect(twice).toBeGreaterThan(0)
    },
    timeoutMs,
  )

  afterAll(() => {
    // Else the twin that it is compared with would not be another one.
    expect(comparison.logs).toBeGreaterThan(5)
  })
})

/**
 * One replica that works through its proposals and loses power at one operation, unless it is done before.
 * @param again - and at so many operations after the restart.
 */
async function loseThePower(operation: number, unsynced: Unsynced, again?: number): Promise<Machine> {
  const machine = new Machine(unsynced, new Prng(operation))
  machine.cutAt(operation)
  const witnessed = new Witnessed()
  const replica = new CrashingReplica({ cluster, machine, witnessed, seed: operation, segmentBytes, overrides })
  const proposals = proposalsFor(cluster)
  let next = 0
  for (let done = false; !done;) {
    try {
      await replica.start()
      for (; next < proposals.length; next++) {
        replica.look()
        const wait = waitsFor(proposals, next)
        const { leaf } = await witnessed.propose(replica.bench.replica, proposals[next]!, wait)
        if (!wait) continue
        await until(() => replica.dark || replica.bench.replica.status().publishedSize > leaf, 'it is published')
        if (replica.dark) break
      }
    } catch (error) {
      if (!replica.dark) throw error
    }
    done = !replica.dark
    if (done) continue
    await replica.restore()
    if (again === undefined) await comparison.expectWholeTrail(machine)
    else if (machine.cuts === 1) machine.cutAt(machine.operations.length + again)
  }
  machine.cutAt(Infinity)
  replica.look()
  expect(replica.bench.faults).toEqual([])
  const entries = await replica.stop()
  await comparison.expectUninterrupted({ entries, machine, witnessed, proposals })
  return machine
}

describe('one of three replicas loses power; the others go on, and it ends like them', () => {
  const each = stride === 1 ? 16 : stride
  it.each(['leader', 'follower'] as const)(
    'as a %s',
    (role) =>
      atEachOperation(
        (operation) => loseOneOfThree(role, operation, unsyncedKinds[operation % 3]!),
        1 + (seed % each),
        // Not a multiple of 3: each operation's neighbours lose in other ways.
        each % 3 === 0 ? each + 1 : each,
      ),
    timeoutMs,
  )
})

type Bench = ReplicaBench<RaftReplicator>

/** Three replicas, of which r1 loses power at one operation and comes back three proposals later. */
async function loseOneOfThree(role: 'leader' | 'follower', operation: number, unsynced: Unsynced): Promise<Machine> {
  const names = ['r1', 'r2', 'r3']
  const victim = 'r1'
  const random = new Prng(operation)
  const machines = new Map(names.map((name) => [name, new Machine(unsynced, random)]))
  const machine = machines.get(victim)!
  machine.cutAt(operation)
  const raft = new RaftCluster(names, operation)
  raft.walOptions = { segmentBytes }
  const network = new CosigningNetwork()
  const benches = new Map<string, Bench>()
  const witnessed = new Witnessed()

  const start = async (name: string): Promise<void> => {
    const { disk, walDisk } = machines.get(name)!
    const { replicator } = await raft.startNode(name, walDisk)
    const found = () => Promise.resolve(replicator)
    const options = { cluster: trioCluster, name, disk, network, overrides }
    benches.set(name, await startReplica({ ...options, replicator: found }))
  }
  const leader = (): Bench | undefined =>
    [...benches.values()].find(({ replicator }) => replicator.leadingSince() !== undefined)
  /** What it has signed and published is noted, and its disks have power again. */
  const takeDown = async (): Promise<void> => {
    const bench = benches.get(victim)
    const node = raft.nodes.get(victim)
    witnessed.look(machine, bench?.trail)
    network.leave(victim)
    benches.delete(victim)
    raft.nodes.delete(victim)
    node?.replicator.stop()
    bench?.replica.halt()
    await bench?.replica.stop()
    await node?.wal.close()
    machine.restore()
    await trioComparison.expectWholeTrail(machine)
    if (leader() === undefined) await raft.elect(['r2', 'r3'])
  }
  const whileDark = async (work: () => Promise<void>): Promise<void> => {
    try {
      await work()
    } catch (error) {
      if (!machine.dark) throw error
    }
  }
  // Heartbeats of whoever leads; without the others' ticks nobody else campaigns.
  const beat = setInterval(() => leader()?.replicator.tick(), 5)
  const proposals = proposalsFor(trioCluster)
  try {
    for (const name of names) await whileDark(() => start(name))
    const first = role === 'leader' ? victim : 'r2'
    for (let tick = 0; tick < 40 && leader() === undefined && !machine.dark; tick++) {
      raft.tick([first])
      await raft.settle(5)
    }
    let backAt = Infinity
    for (let next = 0; next < proposals.length;) {
      if (machine.dark) {
        await takeDown()
        backAt = next + 3
      }
      if (next >= backAt) {
        backAt = Infinity
        await start(victim)
      }
      const wait = waitsFor(proposals, next)
      const bench = leader()!
      try {
        const { leaf } = await witnessed.propose(bench.replica, proposals[next]!, wait)
        if (wait) await until(() => machine.dark || bench.replica.status().publishedSize > leaf, 'it is published')
        next++
      } catch (error) {
        // The leader's power failed, or it stopped because of that; the next one answers the retry.
        const passing = ['ERR_OUTCOME_UNKNOWN', 'ERR_UNAVAILABLE', 'ERR_NOT_LEADER'].includes(errorCode(error) ?? '')
        if (!passing || !machine.dark) throw error
      }
      for (const [name, { trail }] of benches) witnessed.look(machines.get(name)!, trail)
    }
    if (machine.dark) await takeDown()
    machine.cutAt(Infinity)
    if (!benches.has(victim)) await start(victim)
    const entries = await committedEntries(leader()!.replicator)
    const size = leader()!.ledger.treeSize
    const finished = ({ replica, ledger }: Bench) =>
      ledger.appliedIndex === entries.length && replica.status().publishedSize === size
    await until(() => [...benches.values()].every(finished), 'all have everything, and have published it')
    for (const name of names) {
      expect(benches.get(name)!.faults).toEqual([])
      await benches.get(name)!.stop()
      witnessed.look(machines.get(name)!, benches.get(name)!.trail)
      await trioComparison.expectUninterrupted({ entries, machine: machines.get(name)!, witnessed, proposals })
    }
  } finally {
    clearInterval(beat)
    await raft.stop()
  }
  return machine
}

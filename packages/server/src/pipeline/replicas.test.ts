import { decode, equalBytes, errorCode, InvariantViolation } from '@cipherlog/core'
import { group0, policyChain, type TrustPolicy } from '@cipherlog/format'
import { type Proposal } from '@cipherlog/machine'
import { rootFromTiles } from '@cipherlog/merkle/tree'
import { parseCheckpoint, parseNote } from '@cipherlog/merkle/verify'
import { openPolicyChain, verifyReceipt } from '@cipherlog/registry'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { appliedOf, ledgerOptions, opaque, TestCluster, Writer } from './cluster.fixture.ts'
import { RaftCluster, type RaftNode } from './raft-cluster.fixture.ts'
import { type RaftReplicator } from './raft-replicator.ts'
import {
  CosigningNetwork,
  createReplicaDisk,
  startReplica,
  until,
  type ReplicaBench,
  type ReplicaDisk,
} from './replica.fixture.ts'

type Bench = ReplicaBench<RaftReplicator>

describe('three replicas on Raft', () => {
  const names = ['r1', 'r2', 'r3']
  let cluster: TestCluster
  let raft: RaftCluster
  let network: CosigningNetwork
  let disks: Map<string, ReplicaDisk>
  let benches: Map<string, Bench>
  let beat: ReturnType<typeof setInterval>
  let trustPolicy: TrustPolicy

  beforeEach(async () => {
    cluster = await TestCluster.build(names)
    trustPolicy = { version: 1, cluster: cluster.id, group: group0, generation: 0, witnesses: [], witnessesRequired: 0 }
    raft = await RaftCluster.start(names)
    network = new CosigningNetwork()
    disks = new Map(names.map((name) => [name, createReplicaDisk()]))
    benches = new Map()
    for (const name of names) await startOn(raft.nodes.get(name)!)
    await raft.elect()
    // Heartbeats of whoever leads; without the others' ticks nobody else campaigns.
    beat = setInterval(() => {
      for (const { replicator } of raft.nodes.values()) if (replicator.leadingSince() !== undefined) replicator.tick()
    }, 5)
  })
  afterEach(async () => {
    clearInterval(beat)
    for (const bench of benches.values()) await bench.stop()
    await raft.stop()
  })

  async function startOn(node: RaftNode, options: Partial<Parameters<typeof startReplica>[0]> = {}): Promise<Bench> {
    const { name } = node
    const bench = await startReplica<RaftReplicator>({
      cluster,
      name,
      disk: disks.get(name)!,
      network,
      replicator: () => Promise.resolve(node.replicator),
      ...(options as object),
    })
    benches.set(name, bench)
    return bench
  }
  /** Stops replica and Raft node; the disks stay. */
  async function stop(name: string): Promise<RaftNode> {
    const node = raft.nodes.get(name)!
    await benches.get(name)!.stop()
    benches.delete(name)
    raft.nodes.delete(name)
    await node.wal.close()
    return node
  }
  /** Raft's log decides what to replay: the state of the disk may be anything older. */
  async function start(node: RaftNode): Promise<Bench> {
    return startOn(await raft.startNode(node.name, node.disk))
  }
  const leader = (): Bench => {
    const bench = [...benches.values()].find(({ replicator }) => replicator.leadingSince() !== undefined)
    if (bench === undefined) throw new Error('nobody leads')
    return bench
  }
  const propose = (proposal: Proposal) => leader().replica.propose({ ...proposal, receipt: true })
  async function setUp(): Promise<Writer> {
    for (const event of cluster.setup) await propose(event)
    const writer = new Writer(cluster)
    await propose(writer.open())
    await propose(writer.bundle(writer.envelope()))
    return writer
  }
  const publishedBy = (bench: Bench): number => bench.replica.status().publishedSize
  const allPublished = (size: number, who: readonly Bench[] = [...benches.values()]): Promise<void> =>
    until(() => who.every((bench) => publishedBy(bench) >= size), `size ${size} is published everywhere`)
  const rootOf = (bench: Bench, size: number): Promise<Uint8Array> =>
    rootFromTiles(size, (level, index, width) => bench.trail.readTile(level, index, width))
  async function expectSameTrails(): Promise<void> {
    const [first, ...others] = [...benches.values()]
    for (const other of others) {
      const size = Math.min(first!.trail.size, other.trail.size)
      expect(await rootOf(other, size)).toEqual(await rootOf(first!, size))
    }
    for (const { faults } of benches.values()) expect(faults).toEqual([])
  }

  it('publish the same history, each for itself, and any of them hands out receipts', async () => {
    const writer = await setUp()
    let leaf = 0
    for (let i = 0; i < 10; i++) leaf = appliedOf(await propose(writer.bundle(writer.put(String(i))))).leaf
    await allPublished(leaf + 1)
    await expectSameTrails()
    for (const { replica } of benches.values()) {
      const { checkpoint, policyChain: chain } = await replica.checkpoint()
      expect(openPolicyChain(chain, trustPolicy).verifyCheckpoint(checkpoint).size).toBeGreaterThan(leaf)
      expect(verifyReceipt({ receipt: await replica.receipt(leaf, 1000), trustPolicy }).leafIndex).toBe(leaf)
    }
  })

  it('keep what was acknowledged when the leader dies, and answer a retry as it did', async () => {
    const writer = await setUp()
    const bundle = writer.bundle(writer.put('a'))
    const answer = appliedOf(await propose(bundle))
    const dead = leader().name
    const node = await stop(dead)
    await raft.elect()
    const again = await propose(bundle)
    expect(again.duplicate).toBe(true)
    expect(appliedOf(again)).toEqual(answer)
    const { value } = await leader().replica.value({
      namespace: 'orders',
      key: opaque('key a', 33),
      linearizable: true,
    })
    expect(value).toMatchObject({ leaf: answer.leaf })
    const next = appliedOf(await propose(writer.bundle(writer.put('b'))))
    await start(node)
    await allPublished(next.leaf + 1)
    await expectSameTrails()
  })

  it('publish with a quorum while one hears nothing, and it catches up when it hears again', async () => {
    const writer = await setUp()
    network.cut.add('r3')
    const { leaf } = appliedOf(await propose(writer.bundle(writer.put('a'))))
    const [r1, r2, r3] = names.map((name) => benches.get(name)!)
    await allPublished(leaf + 1, [r1!, r2!])
    await until(() => r3!.ledger.treeSize > leaf + 1, 'r3 applies')
    expect(publishedBy(r3!)).toBeLessThanOrEqual(leaf)
    network.cut.clear()
    await allPublished(leaf + 1)
    await expectSameTrails()
  })

  it('stop one that computes another root, with the evidence of the others; these go on', async () => {
    const node = await stop('r3')
    const wrong = await startOn(await raft.startNode('r3', node.disk), {
      // The disk is fine; what it computes is not. Its tree passes its own cross-check.
      ledgerOptions: { ...ledgerOptions, rootOfBatch: () => opaque('a broken machine', 32) },
    })
    if (raft.nodes.get('r3')!.replicator.leadingSince() !== undefined) throw new Error('r3 must not lead')
    await raft.elect(['r1', 'r2'])
    const writer = await setUp()
    const { leaf } = appliedOf(await propose(writer.bundle(writer.put('a'))))
    await until(() => wrong.faults.length > 0, 'r3 stops')
    expect(wrong.faults).toHaveLength(1)
    expect(wrong.faults[0]).toBeInstanceOf(InvariantViolation)
    const { notes } = (wrong.faults[0] as InvariantViolation).details
    expect((notes as string[]).length).toBeGreaterThanOrEqual(2)
    benches.delete('r3')
    await allPublished(leaf + 1)
    await expectSameTrails()
    for (const note of notes as string[]) {
      const { size, rootHash } = parseCheckpoint(parseNote(note).text)
      expect(equalBytes(await rootOf(benches.get('r1')!, size), rootHash)).toBe(true)
    }
    await wrong.stop()
  })

  it('pass from one cosigner set to the next; a replica that slept meanwhile publishes it too', async () => {
    const writer = await setUp()
    await propose(writer.bundle(writer.put('before')))
    const sleeper = await stop('r2')
    await raft.elect()
    // The new set has r1 and r3 and a key that nobody holds yet: 2 of 3 must sign.
    const event = appliedOf(await propose(cluster.event(cluster.cosignerSet(['r1', 'r3', 'r4']))))
    let leaf = event.leaf
    for (let i = 0; i < 5; i++) leaf = appliedOf(await propose(writer.bundle(writer.put(`after ${i}`)))).leaf
    await allPublished(leaf + 1)
    const transition = leader().ledger.registry.cosignerSets.at(-1)!.transitionSize!
    expect(transition).toBeGreaterThan(event.leaf)

    // Everyone restarts: what signed the transition is known only from the published notes.
    const others = [await stop('r1'), await stop('r3')]
    for (const node of [...others, sleeper]) await start(node)
    await raft.elect(['r1', 'r3'])
    const last = appliedOf(await propose(writer.bundle(writer.put('last'))))
    await allPublished(last.leaf + 1)
    await expectSameTrails()
    for (const { replica } of benches.values()) {
      const receipt = await replica.receipt(last.leaf, 1000)
      const { checkpoint } = verifyReceipt({ receipt, trustPolicy })
      expect(checkpoint.cosignatures).toHaveLength(1)
      const chain = openPolicyChain((await replica.checkpoint()).policyChain, trustPolicy)
      expect(chain.verifyCheckpoint((await replica.checkpoint()).checkpoint).size).toBeGreaterThan(transition)
    }
  })

  it('publish a transition that nobody had published when all lost power, before anything larger', async () => {
    const writer = await setUp()
    const before = appliedOf(await propose(writer.bundle(writer.put('before'))))
    await allPublished(before.leaf + 1)
    for (const name of names) network.cut.add(name)
    const event = appliedOf(await propose(cluster.event(cluster.cosignerSet(['r1', 'r3', 'r4']))))
    for (let i = 0; i < 5; i++) await propose(writer.bundle(writer.put(`after ${i}`)))
    await until(() => leader().ledger.registry.cosignerSets.at(-1)!.transitionSize !== undefined, 'the batch is closed')
    const transition = leader().ledger.registry.cosignerSets.at(-1)!.transitionSize!
    await until(() => [...benches.values()].every(({ ledger }) => ledger.treeSize >= transition), 'all have it')
    for (const node of [await stop('r1'), await stop('r2'), await stop('r3')]) await start(node)
    expect([...benches.values()].every((bench) => publishedBy(bench) <= event.leaf)).toBe(true)
    network.cut.clear()
    await raft.elect()
    const last = appliedOf(await propose(writer.bundle(writer.put('last'))))
    await allPublished(last.leaf + 1)
    await expectSameTrails()
    for (const { replica } of benches.values()) {
      const { policyChain: chain, checkpoint } = await replica.checkpoint()
      expect(openPolicyChain(chain, trustPolicy).verifyCheckpoint(checkpoint).size).toBeGreaterThan(transition)
      expect(decode(policyChain, chain)[1]).toHaveLength(1)
    }
  })

  it('answer unknown, never applied, for what a deposed leader could not commit', async () => {
    const writer = await setUp()
    const old = leader()
    const bundle = writer.bundle(writer.put('a'))
    raft.cut(old.name)
    network.cut.add(old.name)
    const answer = old.replica.propose({ ...bundle, receipt: false }).then(
      () => 'applied',
      (error: unknown) => errorCode(error),
    )
    const others = names.filter((name) => name !== old.name)
    // Its own ticks tell it that it has lost its quorum.
    for (let i = 0; i < 30; i++) {
      raft.tick([old.name])
      await raft.settle(2)
    }
    expect(await answer).toBe('ERR_OUTCOME_UNKNOWN')
    await raft.elect(others)
    const successor = benches.get(
      others.find((name) => raft.nodes.get(name)!.replicator.leadingSince() !== undefined)!,
    )!
    const retry = await successor.replica.propose({ ...bundle, receipt: true })
    expect(appliedOf(retry).verdicts).toEqual([0])
    raft.heal()
    network.cut.clear()
    await allPublished(appliedOf(retry).leaf + 1)
    await expectSameTrails()
  })
})

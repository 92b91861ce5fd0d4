/**
 * A replica loses power at random points of its disk's work, again and again, while a client goes on retrying. In the
 * end its trail must be that of a replica that was never interrupted, and must hold everything it ever acknowledged,
 * signed or published.
 */
import { decode, equalBytes, errorCode, invariant, toHex } from '@cipherlog/core'
import { sha256 } from '@cipherlog/crypto/hash'
import { leafKinds, leafRecord } from '@cipherlog/format'
import { type Proposal } from '@cipherlog/machine'
import { rootFromTiles } from '@cipherlog/merkle/tree'
import { parseCheckpoint, parseNote } from '@cipherlog/merkle/verify'
import { createMemoryDisk } from '@cipherlog/storage'
import { Prng } from '@cipherlog/testkit'
import { beforeAll, describe, expect, it } from 'vitest'
import { type CommittedEntry } from '../replicator.ts'
import { appliedOf, createdAt, TestCluster, Writer } from './cluster.fixture.ts'
import { MemoryReplicator } from './memory-replicator.fixture.ts'
import { RaftCluster, type RaftNode } from './raft-cluster.fixture.ts'
import { type RaftReplicator } from './raft-replicator.ts'
import { createReplicaDisk, startReplica, until, type ReplicaBench } from './replica.fixture.ts'

/** What a client and a mirror saw; none of it may ever turn out untrue. */
interface Witnessed {
  /** By digest of what was proposed. */
  readonly answers: Map<string, { leaf: number; verdicts: readonly number[] }>
  /** Root by size, signed or published. */
  readonly roots: Map<number, Uint8Array>
  crashes: number
}

function noteRoot({ roots }: Witnessed, size: number, rootHash: Uint8Array): void {
  const before = roots.get(size)
  invariant(before === undefined || equalBytes(before, rootHash), 'Two roots for one size.', { size })
  roots.set(size, rootHash)
}

/** One replica, and power that fails after a number of operations on any of its disks. */
class CrashingReplica {
  readonly #cluster: TestCluster
  readonly #raft: RaftCluster
  readonly #random: Prng
  readonly #witnessed: Witnessed
  readonly #disk = createReplicaDisk()
  readonly #walDisk = createMemoryDisk()
  #node: RaftNode | undefined
  #bench: ReplicaBench<RaftReplicator> | undefined
  #power = Infinity
  #dark = false

  constructor(cluster: TestCluster, seed: number, random: Prng, witnessed: Witnessed) {
    this.#cluster = cluster
    this.#raft = new RaftCluster(['r1'], seed)
    this.#random = random
    this.#witnessed = witnessed
    this.#disk.trail.fault = () => this.#operation()
    this.#walDisk.fault = () => this.#operation()
    this.#disk.signedHead.before = async () => {
      if (this.#operation() !== undefined) throw new Error('no power')
    }
  }

  #operation(): 'crash' | undefined {
    if (!this.#dark && --this.#power > 0) return undefined
    this.#dark = true
    this.#disk.trail.crash()
    this.#walDisk.crash()
    return 'crash'
  }

  get bench(): ReplicaBench<RaftReplicator> {
    return this.#bench!
  }

  /** It lost power, or stopped because of that. */
  get dark(): boolean {
    return this.#dark
  }

  /** Power for so many operations; starting may need more than that. */
  async start(power: number): Promise<void> {
    this.#power = power
    this.#dark = false
    this.#node = await this.#raft.startNode('r1', this.#walDisk)
    const { replicator } = this.#node
    this.#bench = await startReplica({
      cluster: this.#cluster,
      name: 'r1',
      disk: this.#disk,
      replicator: () => Promise.resolve(replicator),
    })
    // There is nobody else to lead.
    for (let tick = 0; tick < 40 && replicator.leadingSince() === undefined && !this.#dark; tick++) {
      this.#raft.tick()
      await this.#raft.settle(3)
    }
  }

  /** Notes what is signed and published at this moment. */
  witness(): void {
    const note = this.#bench?.trail.checkpoint()
    if (note !== undefined) {
      const { size, rootHash } = parseCheckpoint(parseNote(note).text)
      noteRoot(this.#witnessed, size, rootHash)
    }
    const head = this.#disk.signedHead.read()
    if (head !== undefined) noteRoot(this.#witnessed, head.size, head.rootHash)
  }

  /** The lights are out; then some of what was not synced is gone. */
  async restore(): Promise<void> {
    this.witness()
    const before = this.#bench
    this.#bench = undefined
    this.#node?.replicator.stop()
    before?.replica.halt()
    await before?.replica.stop()
    await this.#node?.wal.close()
    this.#node = undefined
    this.#disk.trail.restart(this.#random.float)
    this.#walDisk.restart(this.#random.float)
    this.#witnessed.crashes++
  }

  /** Stops it gracefully. Returns its log. */
  async stop(): Promise<CommittedEntry[]> {
    const { replicator, wal } = this.#node!
    const entries: CommittedEntry[] = []
    const { commitIndex } = replicator.status()
    while (entries.length < commitIndex) entries.push(...(await replicator.committed(entries.length + 1, 1 << 20)))
    await this.bench.stop()
    await wal.close()
    return entries.slice(0, commitIndex)
  }
}

describe('a replica that loses power at random', () => {
  let cluster: TestCluster
  beforeAll(async () => {
    cluster = await TestCluster.build(['r1'])
  })

  it.each([1, 2, 3])(
    'ends like one that never did (seed %i)',
    async (seed) => {
      const random = new Prng(seed)
      const witnessed: Witnessed = { answers: new Map(), roots: new Map(), crashes: 0 }
      const crashing = new CrashingReplica(cluster, seed, random, witnessed)

      const writer = new Writer(cluster)
      const proposals: Proposal[] = [...cluster.setup, writer.open(), writer.bundle(writer.envelope())]
      while (proposals.length < 60) {
        const puts = Array.from({ length: random.between(1, 3) }, () => writer.put(String(random.between(0, 9))))
        proposals.push(random.chance(0.1) ? writer.open() : writer.bundle(...puts))
      }
      let next = 0
      const tryNext = async (): Promise<void> => {
        const proposal = proposals[next]!
        const { replica } = crashing.bench
        const answer = appliedOf(await replica.propose({ ...proposal, receipt: random.chance(0.5) }))
        const digest = toHex(sha256(proposal.signed))
        expect(toHex(answer.digest)).toBe(digest)
        witnessed.answers.set(digest, { leaf: answer.leaf, verdicts: answer.verdicts })
        next++
        if (!random.chance(0.2)) return
        await replica.receipt(answer.leaf, 200).catch((error: unknown) => {
          // Without power nothing is published.
          if (errorCode(error) !== 'ERR_NOT_PUBLISHED') throw error
        })
      }
      while (next < proposals.length) {
        try {
          await crashing.start(next < proposals.length - 5 ? random.between(15, 120) : Infinity)
          while (next < proposals.length && !crashing.dark) {
            crashing.witness()
            await tryNext()
          }
        } catch (error) {
          // Nothing but the lack of power stops it.
          if (!crashing.dark) throw error
        }
        if (crashing.dark) await crashing.restore()
      }
      if (crashing.dark) await crashing.start(Infinity)
      const { bench } = crashing
      await until(() => bench.ledger.appliedIndex >= bench.replicator.status().commitIndex, 'everything is applied')
      crashing.witness()
      expect(bench.faults).toEqual([])
      expect(witnessed.crashes).toBeGreaterThan(2)

      const size = bench.ledger.treeSize
      const records = await Promise.all(Array.from({ length: size }, (_, i) => bench.trail.readEntry(i)))
      const signed = await Promise.all(Array.from({ length: size }, (_, i) => bench.trail.readSigned(i)))
      const entries = await crashing.stop()

      // One that was never interrupted, on the same log.
      const replicator = new MemoryReplicator({ log: { entries, term: 1 }, id: 'me', now: () => createdAt })
      const twin = await startReplica({
        cluster,
        name: 'r1',
        disk: createReplicaDisk(),
        replicator: () => Promise.resolve(replicator),
      })
      await until(() => twin.ledger.appliedIndex === entries.length, 'the twin has applied the log')
      expect(twin.ledger.treeSize).toBe(size)
      for (let leaf = 0; leaf < size; leaf++) {
        expect(toHex(records[leaf]!), `leaf ${leaf}`).toBe(toHex(await twin.trail.readEntry(leaf)))
        expect(equalBytes(signed[leaf]!, await twin.trail.readSigned(leaf))).toBe(true)
      }
      for (const [of, root] of witnessed.roots) {
        const expected = await rootFromTiles(of, (level, index, width) => twin.trail.readTile(level, index, width))
        expect(toHex(root), `root of size ${of}`).toBe(toHex(expected))
      }
      expect(witnessed.roots.size).toBeGreaterThan(2)

      // Exactly once, as it was answered.
      const leaves = new Map<string, number[]>()
      records.forEach((record, leaf) => {
        if (signed[leaf]!.length === 0) return
        const { kind, digest } = decode(leafRecord, record)
        if (kind === leafKinds.genesis) return
        leaves.set(toHex(digest), [...(leaves.get(toHex(digest)) ?? []), leaf])
      })
      expect(leaves.size).toBe(proposals.length)
      for (const proposal of proposals) {
        const digest = toHex(sha256(proposal.signed))
        const answer = witnessed.answers.get(digest)!
        expect(leaves.get(digest)).toEqual([answer.leaf])
        expect(decode(leafRecord, records[answer.leaf]!).verdicts ?? []).toEqual(answer.verdicts)
      }
      await twin.stop()
    },
    30_000,
  )
})

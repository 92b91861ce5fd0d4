import { decode } from '@cipherlog/core'
import { batchRecord, cellProof } from '@cipherlog/format'
import { cellDigest, type ClosedBatch } from '@cipherlog/machine'
import { rootOfBatch } from '@cipherlog/merkle/batch'
import { leafHash, verifyInclusion } from '@cipherlog/merkle/verify'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { appliedOf, createdAt, ledgerOptions, opaque, TestCluster, Writer } from './cluster.fixture.ts'
import { MemoryReplicator } from './memory-replicator.fixture.ts'
import { Reads } from './reads.ts'
import { createReplicaDisk, startReplica, until, type ReplicaBench } from './replica.fixture.ts'
import { Signal } from './signal.ts'

/**
 * While a batch closes, the ledger has its record and the replica does not know it yet, for a few turns of the
 * microtask queue. These readers wake in just that moment.
 */
describe('Reads, in the moment in which a batch closes', () => {
  let cluster: TestCluster
  let bench: ReplicaBench<MemoryReplicator>
  let reads: Reads
  let lastClosed: ClosedBatch | undefined
  /** Told synchronously while the ledger closes a batch. */
  let closing: (() => void) | undefined
  const waiting: (() => void)[] = []

  beforeEach(async () => {
    cluster = await TestCluster.build(['r1'])
    closing = undefined
    waiting.length = 0
    const replicator = new MemoryReplicator({ log: { entries: [], term: 0 }, id: 'me', now: () => createdAt })
    bench = await startReplica({
      cluster,
      name: 'r1',
      disk: createReplicaDisk(),
      replicator: () => Promise.resolve(replicator),
      ledgerOptions: {
        ...ledgerOptions,
        rootOfBatch: (hashes) => {
          closing?.()
          return rootOfBatch(hashes)
        },
      },
      overrides: {
        idleMarkMs: 60_000,
        batchIntervalMs: 1,
        crossCheck: (closed) => {
          lastClosed = closed
        },
      },
    })
    replicator.lead()
    const leaves = new Signal()
    leaves.wait = () => new Promise((resolve) => waiting.push(resolve))
    reads = new Reads({
      ledger: bench.ledger,
      trail: bench.trail,
      publisher: { publishedSize: Infinity, published: () => Promise.resolve(true) },
      clock: { now: () => createdAt, monotonic: () => 0 },
      leaves,
      stopped: () => false,
      lastClosed: () => lastClosed,
      olderTrails: new Map(),
      policyChain: () => new Uint8Array(0),
      caughtUp: () => Promise.resolve(),
      wantMark: () => {},
    })
  })
  afterEach(() => bench.stop())

  const wake = (): void => {
    for (const resolve of waiting.splice(0)) resolve()
  }
  /** Proposes, and waits until a batch record covers it. */
  async function closeBehind(proposal: Parameters<typeof bench.replica.propose>[0]): Promise<void> {
    const { leaf } = appliedOf(await bench.replica.propose(proposal))
    await until(() => (lastClosed?.size ?? 0) > leaf, 'the batch is closed')
  }
  async function setUp(): Promise<Writer> {
    const writer = new Writer(cluster)
    for (const event of [...cluster.setup, writer.open()]) await bench.replica.propose({ ...event, receipt: false })
    return writer
  }

  it('shows no cell under the record of the batch before', async () => {
    const writer = await setUp()
    const namespace = 'revenue'
    const key = opaque('key a', 33)
    const first = bench.replica.propose({ ...writer.bundle(writer.add('a', 1n)), receipt: true })
    await until(() => bench.ledger.openLeaves > 0 && appliedLeaves() > cluster.setup.length + 1, 'the first is applied')
    const reading = reads.cell({ namespace, key })
    await first
    await until(() => (lastClosed?.size ?? 0) > 2, 'its batch is closed')
    // It sleeps on; the next batch closes, and wakes it in the middle.
    closing = wake
    await closeBehind({ ...writer.bundle(writer.add('a', 2n)), receipt: true })
    closing = undefined
    const answer = setInterval(wake, 1)
    const { cellProof: cell, batchRecord: record } = (await reading.finally(() => clearInterval(answer)))!
    const proven = decode(cellProof, cell)
    verifyInclusion({
      leafIndex: proven.cell.number,
      treeSize: proven.cellCount,
      leafHash: leafHash(cellDigest(proven.cell)),
      proof: proven.path,
      rootHash: decode(batchRecord, record).stateRoot![1],
    })
  })
  const appliedLeaves = (): number => bench.trail.size - 2

  it('shows a watcher no leaf that is not in the trail yet', async () => {
    const writer = await setUp()
    const bundle = writer.bundle(writer.envelope())
    const { leaf } = appliedOf(await bench.replica.propose({ ...bundle, receipt: false }))
    const watching = reads.watch({ fromLeaf: leaf + 1, namespace: undefined }, new AbortController().signal)
    const next = watching.next()
    await until(() => waiting.length > 0, 'the watcher waits for the batch record')
    closing = wake
    // Sent again, it makes no leaf, and closes the batch.
    await closeBehind({ ...bundle, receipt: true })
    closing = undefined
    const answer = setInterval(wake, 1)
    expect(await next.finally(() => clearInterval(answer))).toMatchObject({ value: { leaf: leaf + 1 } })
    await watching.return(undefined)
  })
})

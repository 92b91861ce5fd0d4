/**
 * A replica that joins with a snapshot, from the first chunk to the audit of its filled trail: ledger, snapshot
 * store, state store and trail together, as a server joins them.
 */
import { auditTrail, trailFiles } from '@cipherlog/audit'
import { equalBytes } from '@cipherlog/core'
import { group0, isSnapshotEdge, type SnapshotPair } from '@cipherlog/format'
import { openSnapshot, type ClosedBatch, type Leaf } from '@cipherlog/machine'
import {
  createMemoryDisk,
  createMemoryStateStore,
  installMemoryTrail,
  openMemorySnapshots,
  openMemoryTrail,
  trailEdge,
  type MemoryDisk,
  type SnapshotStore,
  type StoredSnapshot,
  type TrailStore,
} from '@cipherlog/storage'
import { expect, test } from 'vitest'
import { TestCluster, Writer } from '../../../packages/machine/src/cluster.fixture.ts'
import { ledgerOptions, LedgerDriver } from '../../../packages/machine/src/ledger-driver.fixture.ts'
import { firstReplicas, noteOf } from './rich-trail.ts'

function appendTo(trail: TrailStore, leaves: readonly Leaf[]): void {
  for (const { leafIndex: index, record: entry, signed, trailBody: body, tiles } of leaves.slice(trail.size)) {
    trail.append({ index, entry, signed, body, tiles })
  }
}

const configuration = {
  voters: firstReplicas.map((_, i) => new Uint8Array(16).fill(i + 1)),
  learners: [],
  votersOutgoing: [],
  learnersNext: [],
  autoLeave: false,
}

async function* inTurn(...parts: readonly AsyncIterable<SnapshotPair>[]): AsyncGenerator<SnapshotPair> {
  for (const part of parts) yield* part
}

async function* stateOf(pairs: AsyncIterable<SnapshotPair>): AsyncGenerator<SnapshotPair> {
  for await (const pair of pairs) if (!isSnapshotEdge(pair[0])) yield pair
}

/** What a replica does at a batch record where a snapshot is due. */
function take(store: SnapshotStore, { ledger }: LedgerDriver, closed: ClosedBatch, trail: TrailStore) {
  const { pairs, ...head } = ledger.snapshot(closed)
  const edge = trailEdge(trail, closed.size)
  return store.write({ ...head, term: 3, confState: configuration }, inTurn(edge, pairs))
}

async function fetchFrom(peer: SnapshotStore, offered: StoredSnapshot, store: SnapshotStore): Promise<StoredSnapshot> {
  const download = await store.download(offered.digest, offered.manifestBytes)
  for (const number of download.missing()) await download.put(number, await peer.readChunk(offered.digest, number))
  return download.complete()
}

async function filesOn(disk: MemoryDisk): Promise<Map<string, Uint8Array>> {
  const files = new Map<string, Uint8Array>()
  for (const path of disk.paths()) files.set(path, (await disk.readFile(path))!)
  return files
}

test('a replica that joins with a snapshot has, once filled, the trail of one that was there from the start', async () => {
  const cluster = await TestCluster.build({ limits: { snapshotEveryLeaves: 600 } })
  const driver = await LedgerDriver.start(cluster)
  const originalDisk = createMemoryDisk()
  const original = await openMemoryTrail(0, originalDisk)
  const snapshots = await openMemorySnapshots()
  const alice = new Writer(cluster)
  const envelope = alice.envelope()
  await driver.apply(alice.open())
  await driver.apply(alice.bundle([envelope]))

  const joiner = {
    snapshots: await openMemorySnapshots(),
    memory: new Map<string, Uint8Array>(),
    disk: createMemoryDisk(),
  }
  let joined: LedgerDriver | undefined
  let trail: TrailStore | undefined
  for (let i = 0; i < 900; i++) {
    for (const each of [driver, joined]) {
      if (each !== undefined && i % 40 === 0) await each.mark()
    }
    appendTo(original, driver.leaves)
    const closed = driver.closed.at(-1)!
    if (closed.snapshotDue && joined === undefined) {
      const offered = await take(snapshots, driver, closed, original)
      // The joiner: fetch, write beside the empty state, check, then put state and trail in force.
      const snapshot = await fetchFrom(snapshots, offered, joiner.snapshots)
      const pairs = (): AsyncGenerator<SnapshotPair> => joiner.snapshots.pairs(snapshot.digest)
      const next = await createMemoryStateStore(joiner.memory).prepareReplacement(stateOf(pairs()))
      const ledger = await openSnapshot(next.store, snapshot, ledgerOptions)
      await next.commit()
      await installMemoryTrail(joiner.disk, snapshot.manifest, pairs())
      trail = await openMemoryTrail(ledger.treeSize, joiner.disk)
      joined = LedgerDriver.joined(driver, next.store, ledger)
      expect(ledger.newestBatch(await trail.readEntry(ledger.treeSize - 1)).rootHash).toEqual(closed.rootHash)
    }
    const bundle = alice.bundle([alice.put(`${i}`, envelope.id), alice.put(`${i % 7}`, envelope.id)])
    for (const each of [driver, joined]) await each?.apply(bundle)
  }
  if (joined === undefined || trail === undefined) throw new Error('no snapshot was due')
  await driver.mark()
  await joined.mark()
  appendTo(original, driver.leaves)
  appendTo(trail, joined.leaves)

  const { size, rootHash } = driver.closed.at(-1)!
  const checkpoint = noteOf(driver.ledger.origin, { treeSize: size, rootHash }, { cosigners: firstReplicas })
  const policyChain = driver.ledger.registry.policyChain(() => undefined)
  for (const each of [original, trail]) await each.publish({ checkpoint, size, policyChain })

  const witnesses: string[] = []
  const trustPolicy = {
    version: 1,
    cluster: cluster.id,
    group: group0,
    generation: 0,
    witnesses,
    witnessesRequired: 0,
  } as const
  const audit = async (disk: MemoryDisk) => auditTrail(trailFiles(await filesOn(disk)), { trustPolicy })
  expect(trail.trailFrom).toBeGreaterThan(255)
  expect((await audit(joiner.disk)).valid).toBe(false)
  while (trail.trailFrom > 0) await trail.backfill(original)

  const [expected, found] = [await filesOn(originalDisk), await filesOn(joiner.disk)]
  expect([...found.keys()]).toEqual([...expected.keys()])
  for (const [path, bytes] of expected) expect(equalBytes(found.get(path)!, bytes), path).toBe(true)
  const report = await audit(joiner.disk)
  expect(report).toMatchObject({ valid: true, complete: true })
  expect(report).toEqual(await audit(originalDisk))
})

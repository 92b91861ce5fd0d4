import { encode, errorCode, fromHex, toHex } from '@cipherlog/core'
import { sha256 } from '@cipherlog/crypto/hash'
import { logEntry, suites, verdicts } from '@cipherlog/format'
import { builtInMachines, type Proposal, type StateMachine } from '@cipherlog/machine'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { forgetfulNotes, type ApplyNotes } from './apply-guard.ts'
import { appliedOf, createdAt, ledgerOptions, TestCluster, Writer } from './cluster.fixture.ts'
import { MemoryReplicator, type MemoryLog } from './memory-replicator.fixture.ts'
import { createReplicaDisk, startReplica, until, type ReplicaBench, type ReplicaDisk } from './replica.fixture.ts'

/** An application's machine with a fault: one key makes it throw. */
const faulty: StateMachine = {
  ...builtInMachines.find(({ name }) => name === 'kv')!,
  name: 'sealed-bids',
  version: 3,
  code: sha256(new Uint8Array(1)),
  accepts: (head) => head.suite === suites.hpkeXwing && head.key !== undefined,
  apply(_context, head) {
    if (toHex(head.key!) === poisonKey) throw new TypeError('cannot read what is not there')
    return verdicts.applied
  },
}
let poisonKey = ''

describe('a replica that stops twice at one entry', () => {
  let cluster: TestCluster
  let log: MemoryLog
  let disk: ReplicaDisk
  let notes: ApplyNotes
  let bench: ReplicaBench<MemoryReplicator>
  let writer: Writer
  let poison: Proposal

  async function start(version = '1'): Promise<void> {
    const replicator = new MemoryReplicator({ log, id: 'me', now: () => createdAt })
    bench = await startReplica({
      cluster,
      name: 'r1',
      disk,
      replicator: () => Promise.resolve(replicator),
      ledgerOptions: { ...ledgerOptions, machines: [faulty] },
      overrides: { applyNotes: notes, version },
    })
    replicator.lead()
  }
  const propose = (proposal: Proposal) => bench.replica.propose({ ...proposal, receipt: false })
  const codeOf = (promise: Promise<unknown>) =>
    promise.then(
      () => undefined,
      (error: unknown) => errorCode(error),
    )
  /** Starts and stops twice at the poison entry, and once more. */
  async function untilPaused(): Promise<void> {
    for (let stops = 0; stops < 2; stops++) {
      if (stops > 0) await start()
      await until(() => bench.faults.length > 0, 'the entry stops the replica')
      expect(bench.faults[0]).toBeInstanceOf(TypeError)
      await bench.stop()
    }
    await start()
    await until(() => bench.replica.status().paused !== undefined, 'the replica pauses')
  }
  beforeEach(async () => {
    cluster = await TestCluster.build(['r1'], 'all', 2)
    log = { entries: [], term: 0 }
    disk = createReplicaDisk()
    notes = forgetfulNotes()
    await start()
    for (const event of cluster.setup) await propose(event)
    await propose(cluster.event(cluster.applicationNamespace('bids', faulty)))
    writer = new Writer(cluster)
    await propose(writer.open())
    await propose(writer.bundle(writer.envelope(), writer.put('a', 'a', 'bids')))
    const command = writer.put('poison', 'p', 'bids')
    poisonKey = toHex(command.head.key!)
    poison = writer.bundle(command)
    void propose(poison).catch(() => 'the replica stops')
  })
  afterEach(() => bench.stop())

  it('pauses before it while the log goes on, and says so; operators set it aside, and it goes on', async () => {
    await untilPaused()
    const { paused, appliedIndex, commitIndex } = bench.replica.status()
    expect(paused).toEqual({ index: appliedIndex + 1, kind: 3, digest: toHex(sha256(poison.signed)) })
    expect(commitIndex).toBeGreaterThan(appliedIndex)
    expect(bench.replica.ready()).toMatchObject({ ok: false, reasons: [expect.stringContaining('set it aside')] })
    expect(await codeOf(propose(writer.bundle(writer.put('b'))))).toBe('ERR_UNAVAILABLE')
    const query = { namespace: 'orders', key: new Uint8Array(33), linearizable: true }
    expect(await codeOf(bench.replica.value(query))).toBe('ERR_UNAVAILABLE')

    const { index, digest } = paused!
    expect(await codeOf(propose(cluster.quarantine(index, sha256(fromHex(digest!)))))).toBe('ERR_QUARANTINE_ENTRY')
    expect(await codeOf(propose(cluster.quarantine(commitIndex + 5, fromHex(digest!))))).toBe('ERR_QUARANTINE_ENTRY')
    const answer = await propose(cluster.quarantine(index, fromHex(digest!)))
    expect(appliedOf(answer)).toMatchObject({ verdicts: [], leaf: bench.ledger.treeSize - 1 })
    expect(bench.replica.status().paused).toBeUndefined()
    expect(bench.replica.ready()).toEqual({ ok: true, reasons: [] })
    expect(appliedOf(await propose(poison))).toMatchObject({ verdicts: [verdicts.quarantined] })
    const next = new Writer(cluster, 'bob')
    await propose(next.open())
    expect(bench.faults).toEqual([])
  })

  it('finds the quarantine before it, wherever it begins: after a restart, and from nothing', async () => {
    await untilPaused()
    const { index, digest } = bench.replica.status().paused!
    await propose(cluster.quarantine(index, fromHex(digest!)))
    await until(() => bench.ledger.openLeaves === 0, 'the batch closes')
    const { treeSize } = bench.ledger
    const record = await bench.trail.readEntry(treeSize - 1)
    await bench.stop()
    disk = createReplicaDisk()
    notes = forgetfulNotes()
    await start()
    await until(() => bench.ledger.treeSize >= treeSize, 'the log is replayed')
    // A batch record covers the batch before it.
    expect(await bench.trail.readEntry(treeSize - 1)).toEqual(record)
    expect(bench.faults).toEqual([])
  })

  it('tries it once more under other software', async () => {
    await untilPaused()
    await bench.stop()
    poisonKey = ''
    await start('2')
    await until(() => bench.ledger.appliedIndex === log.entries.length, 'the mended machine applies it')
    expect(bench.replica.status().paused).toBeUndefined()
    expect(appliedOf(await propose(poison))).toMatchObject({ verdicts: [verdicts.applied] })
  })
})

it('a leader that applies its log admits no quarantine, and one that did stops at it with what to do', async () => {
  const cluster = await TestCluster.build(['r1'])
  const log: MemoryLog = { entries: [], term: 0 }
  const replicator = new MemoryReplicator({ log, id: 'me', now: () => createdAt })
  const disk = createReplicaDisk()
  const bench = await startReplica({ cluster, name: 'r1', disk, replicator: () => Promise.resolve(replicator) })
  try {
    replicator.lead()
    for (const event of cluster.setup) await bench.replica.propose({ ...event, receipt: false })
    const writer = new Writer(cluster)
    const opening = writer.open()
    await bench.replica.propose({ ...opening, receipt: false })
    const quarantine = cluster.quarantine(log.entries.length, sha256(opening.signed))
    await expect(bench.replica.propose({ ...quarantine, receipt: false })).rejects.toMatchObject({
      code: expect.stringMatching(/^ERR_QUARANTINE_(NOT_PAUSED|APPLIED)$/) as string,
    })
    replicator.inject(quarantine.kind, log.entries.at(-1)!.payload)
    await until(() => bench.ledger.appliedIndex === log.entries.length, 'what is no quarantine has no effect')
    replicator.inject(quarantine.kind, encode(logEntry, [quarantine.signed, quarantine.body]))
    await until(() => bench.faults.length > 0, 'the replica stops')
    expect(errorCode(bench.faults[0])).toBe('ERR_QUARANTINE_APPLIED')
  } finally {
    await bench.stop()
  }
})

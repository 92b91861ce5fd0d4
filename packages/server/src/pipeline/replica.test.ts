import { decode, encode, equalBytes, errorCode, InvariantViolation, RefusedError, toHex, utf8 } from '@cipherlog/core'
import { labels } from '@cipherlog/crypto/hash'
import { publicKeyOf, verifyLabelled } from '@cipherlog/crypto/signature'
import { openElgamal } from '@cipherlog/crypto/seal'
import {
  batchRecord,
  cellProof,
  entryKinds,
  group0,
  mark,
  markReasons,
  signedApplied,
  verdicts,
  wraps,
  type TrustPolicy,
} from '@cipherlog/format'
import { cellDigest, type Proposal } from '@cipherlog/machine'
import { leafHash, parseCheckpoint, parseNote, parseTlogProof, verifyInclusion } from '@cipherlog/merkle/verify'
import { createInlineVerifier, type ProofVerifier } from '@cipherlog/proof'
import { openPolicyChain, verifyReceipt } from '@cipherlog/registry'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type ProposalAnswer, type WatchedLeaf } from '../node-api.ts'
import { appliedOf, createdAt, nodeKeysOf, opaque, TestCluster, Writer } from './cluster.fixture.ts'
import { MemoryReplicator, type MemoryLog } from './memory-replicator.fixture.ts'
import {
  admitAnything,
  createReplicaDisk,
  startAlone,
  startReplica,
  until,
  type ReplicaBench,
  type ReplicaDisk,
} from './replica.fixture.ts'
import { type ReplicaOptions } from './replica.ts'

let cluster: TestCluster
let trustPolicy: TrustPolicy
beforeEach(async () => {
  // Its chain of key events goes on with every test.
  cluster = await TestCluster.build(['r1'])
})

let log: MemoryLog
let disk: ReplicaDisk
let bench: ReplicaBench<MemoryReplicator>
beforeEach(() => {
  log = { entries: [], term: 0 }
  disk = createReplicaDisk()
  trustPolicy = { version: 1, cluster: cluster.id, group: group0, generation: 0, witnesses: [], witnessesRequired: 0 }
})
afterEach(() => bench.stop())

async function start(overrides: Partial<ReplicaOptions> = {}): Promise<void> {
  bench = await startAlone(cluster, log, disk, overrides)
}
async function restart(overrides: Partial<ReplicaOptions> = {}): Promise<void> {
  await bench.stop()
  await start(overrides)
}
const propose = (proposal: Proposal, receipt = false): Promise<ProposalAnswer> =>
  bench.replica.propose({ ...proposal, receipt })
const codeOf = (promise: Promise<unknown>): Promise<string | undefined> =>
  promise.then(
    () => undefined,
    (error: unknown) => errorCode(error) ?? String(error),
  )

/** Key events, a session, an envelope. */
async function setUp(name = 'alice'): Promise<Writer> {
  if (bench.ledger.registry.head.number === 0) for (const event of cluster.setup) await propose(event)
  const writer = new Writer(cluster, name)
  await propose(writer.open())
  await propose(writer.bundle(writer.envelope()))
  return writer
}

describe('Replica, writing', () => {
  it('answers with what it signed, and with a receipt that verifies offline', async () => {
    await start()
    const writer = await setUp()
    const bundle = writer.bundle(writer.put('a'), writer.put('b'))
    const answer = await propose(bundle, true)
    const statement = appliedOf(answer)
    expect(statement).toMatchObject({ origin: bench.ledger.origin, verdicts: [0, 0] })
    const [bytes, signature] = decode(signedApplied, answer.applied)
    expect(verifyLabelled(publicKeyOf(nodeKeysOf('r1').answer), labels.applied, bytes, signature)).toBe(true)

    const receipt = await bench.replica.receipt(statement.leaf, 5000)
    const verified = verifyReceipt({ receipt, trustPolicy, bundle: bundle.signed, command: 1 })
    expect(verified).toMatchObject({ leafIndex: statement.leaf, verdict: verdicts.applied })
    expect(verified.position).toBe(`${bench.ledger.origin}#${statement.leaf}.1`)
  })

  it('gives a retry the first answer, at once, after a restart, and joined', async () => {
    await start()
    const writer = await setUp()
    const bundle = writer.bundle(writer.put('a'))
    const answers = await Promise.all([propose(bundle), propose(bundle), propose(bundle)])
    const again = await propose(bundle)
    await restart()
    const later = await propose(bundle)
    expect(new Set([...answers, again, later].map(({ applied }) => toHex(applied))).size).toBe(1)
    expect([again.duplicate, later.duplicate]).toEqual([true, true])
    const copies = log.entries.filter(({ payload }) => toHex(payload).includes(toHex(bundle.signed)))
    expect(copies).toHaveLength(1)
  })

  it('refuses where it does not lead, and names nobody it does not know', async () => {
    await start()
    const writer = await setUp()
    bench.replicator.depose()
    expect(await codeOf(propose(writer.bundle(writer.put('a'))))).toBe('ERR_NOT_LEADER')
    expect(
      await codeOf(bench.replica.value({ namespace: 'orders', key: opaque('key a', 33), linearizable: true })),
    ).toBe('ERR_NOT_LEADER')
    expect(await codeOf(bench.replica.cell({ namespace: 'revenue', key: opaque('key a', 33) }))).toBe('ERR_NOT_LEADER')
  })

  it.each(['lost', 'kept'] as const)(
    'says unknown at once when it is deposed; a retry learns the truth (%s)',
    async (fate) => {
      await start()
      const writer = await setUp()
      const bundle = writer.bundle(writer.put('a'))
      bench.replicator.hold()
      const answer = codeOf(propose(bundle))
      await new Promise((resolve) => setTimeout(resolve, 20))
      bench.replicator.depose(fate)
      expect(await answer).toBe('ERR_OUTCOME_UNKNOWN')
      bench.replicator.lead()
      bench.replicator.release()
      const retry = await propose(bundle)
      expect(retry.duplicate).toBe(fate === 'kept')
      expect(appliedOf(retry).verdicts).toEqual([0])
    },
  )

  it('admits nothing before it has applied what came before its term', async () => {
    await start()
    const writer = await setUp()
    const bundle = writer.bundle(writer.put('a'))
    bench.replicator.hold()
    const first = codeOf(propose(bundle))
    await new Promise((resolve) => setTimeout(resolve, 10))
    bench.replicator.depose('kept')
    bench.replicator.lead()
    // The same turn: the entry that was kept is committed, and not applied yet.
    const again = propose(bundle)
    bench.replicator.release()
    expect((await again).duplicate).toBe(true)
    expect(await first).toBe('ERR_OUTCOME_UNKNOWN')
  })

  it('spends no log space on a bad proof, and names the command', async () => {
    await start()
    const writer = await setUp()
    await bench.replica.receipt(bench.ledger.treeSize - 1, 5000)
    const entries = log.entries.length
    const error: unknown = await propose(writer.bundle(writer.add('a', 1n), writer.add('b', 2n, true))).catch(
      (thrown: unknown) => thrown,
    )
    expect(error).toMatchObject({ code: 'ERR_PROOF', details: { command: 1 } })
    expect(log.entries).toHaveLength(entries)
    expect(bench.faults).toEqual([])
  })

  it('rejects in the trail what a faulty leader let in', async () => {
    await start({ admit: admitAnything })
    const writer = await setUp()
    const answer = await propose(writer.bundle(writer.add('a', 1n), writer.add('b', 2n, true), writer.put('c')))
    expect(appliedOf(answer).verdicts).toEqual([verdicts.applied, verdicts.proof, verdicts.applied])
    expect(bench.faults).toEqual([])
  })

  it('refuses by cost, fairly: what one writer cannot have, another can', async () => {
    await start({ unappliedCostMsMax: 20 })
    const alice = await setUp('alice')
    const bob = await setUp('bob')
    bench.replicator.hold()
    // Two proofs are 10 ms of work, half of what there is.
    const first = propose(alice.bundle(alice.add('a', 1n), alice.add('b', 2n)))
    const second = propose(bob.bundle(bob.add('c', 3n)))
    await new Promise((resolve) => setImmediate(resolve))
    const busy = (await propose(alice.open()).catch((thrown: unknown) => thrown)) as RefusedError
    expect(busy).toBeInstanceOf(RefusedError)
    expect(busy.code).toBe('ERR_BUSY')
    expect(busy.details['retryAfterMs']).toBeGreaterThanOrEqual(10)
    bench.replicator.release()
    expect(appliedOf(await first).verdicts).toEqual([0, 0])
    expect(appliedOf(await second).verdicts).toEqual([0])
    // All of it was given back.
    await propose(alice.open())
    bench.replicator.hold()
    const last = [propose(alice.bundle(alice.put('d'))), propose(bob.bundle(bob.add('e', 4n)))]
    await new Promise((resolve) => setTimeout(resolve, 5))
    bench.replicator.release()
    for (const answer of last) expect(appliedOf(await answer).verdicts).toHaveLength(1)
  })

  it('takes a verifier that fails in admission for a fault of its own, and stops', async () => {
    const real = createInlineVerifier()
    let broken = false
    const verifier: ProofVerifier = {
      verify: (checks, options) => (broken ? Promise.reject(new Error('worker died')) : real.verify(checks, options)),
      close: () => real.close(),
    }
    await start({ verifier })
    const writer = await setUp()
    broken = true
    expect(await codeOf(propose(writer.bundle(writer.add('a', 1n))))).toBe('ERR_UNAVAILABLE')
    expect(bench.faults).toHaveLength(1)
    expect(await codeOf(propose(writer.bundle(writer.put('b'))))).toBe('ERR_UNAVAILABLE')
    expect(bench.replica.ready().ok).toBe(false)
  })

  it('leaves nobody waiting when it stops', async () => {
    await start()
    const writer = await setUp()
    bench.replicator.hold()
    const answers = [
      codeOf(propose(writer.bundle(writer.put('a')))),
      codeOf(bench.replica.receipt(0, 60_000)),
      codeOf(bench.replica.receipt(bench.ledger.treeSize - 1, 60_000)),
    ]
    const watching = (async () => {
      const leaves: number[] = []
      const never = new AbortController()
      for await (const { leaf } of bench.replica.watch({ fromLeaf: 0, namespace: undefined }, never.signal))
        leaves.push(leaf)
      return leaves
    })()
    await new Promise((resolve) => setTimeout(resolve, 20))
    const size = bench.ledger.treeSize
    await bench.stop()
    expect(await answers[0]).toBe('ERR_OUTCOME_UNKNOWN')
    await Promise.all(answers)
    expect(await watching).toEqual(Array.from({ length: size }, (_, i) => i))
  })
})

describe('Replica, reading', () => {
  it('proves a value, and reads what was written before', async () => {
    await start()
    const writer = await setUp()
    const key = opaque('key a', 33)
    for (const value of ['1', '2', '3']) {
      const { leaf } = appliedOf(await propose(writer.bundle(writer.put('a', value))))
      const { value: read } = await bench.replica.value({ namespace: 'orders', key, linearizable: true })
      expect(read).toMatchObject({ leaf, command: 0, ciphertext: opaque(`value ${value}`, 80) })
    }
    const { leaf } = (await bench.replica.value({ namespace: 'orders', key, linearizable: false })).value!
    await bench.replica.receipt(leaf, 5000)
    const { value } = await bench.replica.value({ namespace: 'orders', key, linearizable: true })
    const { index, proof, checkpoint } = parseTlogProof(value!.tlogProof)
    const { size, rootHash } = parseCheckpoint(parseNote(checkpoint).text)
    verifyInclusion({ leafIndex: index, treeSize: size, leafHash: leafHash(value!.record), proof, rootHash })
    expect(index).toBe(leaf)
    expect(
      (await bench.replica.value({ namespace: 'orders', key: opaque('none', 33), linearizable: true })).value,
    ).toBeUndefined()
  })

  it('proves every cell under the batch record that comes with it, however writes and batches race', async () => {
    await start()
    const writer = await setUp()
    const key = opaque('key a', 33)
    let written = 0n
    let done = false
    const writing = (async () => {
      for (let amount = 1n; amount <= 6n; amount++) {
        await propose(writer.bundle(writer.add('a', amount)), true)
        written += amount
      }
      done = true
    })()
    let reads = 0
    while (!done || reads < 3) {
      const least = written
      const cell = await bench.replica.cell({ namespace: 'revenue', key })
      await new Promise((resolve) => setImmediate(resolve))
      if (cell === undefined) {
        expect(least).toBe(0n)
        continue
      }
      const proven = decode(cellProof, cell.cellProof)
      const { stateRoot } = decode(batchRecord, cell.batchRecord)
      verifyInclusion({
        leafIndex: proven.cell.number,
        treeSize: proven.cellCount,
        leafHash: leafHash(cellDigest(proven.cell)),
        proof: proven.path,
        rootHash: stateRoot![1],
      })
      const { index, proof, checkpoint } = parseTlogProof(cell.tlogProof)
      const { size, rootHash } = parseCheckpoint(parseNote(checkpoint).text)
      verifyInclusion({ leafIndex: index, treeSize: size, leafHash: leafHash(cell.batchRecord), proof, rootHash })
      const { secretKey } = cluster.elgamal
      const sum = await openElgamal({ secretKey, ciphertext: proven.cell.slices[0]!.sum, max: 100n })
      expect(sum).toBeGreaterThanOrEqual(least)
      reads++
    }
    await writing
  }, 20_000)

  it('shows every leaf once and in order to who watches, batch records too', async () => {
    await start()
    const abort = new AbortController()
    const all: WatchedLeaf[] = []
    const orders: number[] = []
    const watching = [
      (async () => {
        for await (const leaf of bench.replica.watch({ fromLeaf: 0, namespace: undefined }, abort.signal))
          all.push(leaf)
      })(),
      (async () => {
        const query = { fromLeaf: 3, namespace: 'events' }
        for await (const { leaf } of bench.replica.watch(query, abort.signal)) orders.push(leaf)
      })(),
    ]
    const writer = await setUp()
    for (let i = 0; i < 20; i++) await propose(writer.bundle(writer.put(String(i))), true)
    await until(() => bench.ledger.openLeaves === 0 && all.length === bench.ledger.treeSize, 'all leaves are watched')
    abort.abort()
    await Promise.all(watching)
    expect(all.map(({ leaf }) => leaf)).toEqual(all.map((_, i) => i))
    for (const { leaf, record, signed, body } of all) {
      expect(equalBytes(record, await bench.trail.readEntry(leaf))).toBe(true)
      expect(equalBytes(signed, await bench.trail.readSigned(leaf))).toBe(true)
      expect(equalBytes(body, await bench.trail.readBody(leaf))).toBe(true)
    }
    expect(orders).toEqual([])
  })

  it('serves leaves with their wraps, key events, envelopes, sessions and the checkpoint', async () => {
    await start()
    const writer = await setUp()
    const { leaf } = appliedOf(await propose(writer.bundle(writer.put('a')), true))
    await bench.replica.receipt(leaf, 5000)
    const envelopeLeaf = await bench.replica.leaf(leaf - 1)
    const { fixed, wraps: stored } = await bench.replica.envelope(writer.envelopeId)
    expect(fixed.length).toBeGreaterThan(0)
    expect(decode(wraps, stored)).toHaveLength(1)
    // The batch record may stand between them.
    const withWraps = envelopeLeaf.wraps.length > 0 ? envelopeLeaf : await bench.replica.leaf(leaf - 2)
    expect(equalBytes(withWraps.wraps, stored)).toBe(true)
    expect((await bench.replica.keyEvents(0, 100))[0]).toEqual(cluster.signedGenesis)
    expect(await bench.replica.keyEvents(1, 3)).toEqual(cluster.setup.slice(0, 3).map(({ signed }) => signed))
    const checkpoint = await bench.replica.checkpoint()
    const { size, rootHash } = parseCheckpoint(parseNote(checkpoint.checkpoint).text)
    openPolicyChain(checkpoint.policyChain, trustPolicy).verifyCheckpoint(checkpoint.checkpoint)
    verifyInclusion({
      leafIndex: size - 1,
      treeSize: size,
      leafHash: leafHash(checkpoint.lastLeaf),
      proof: checkpoint.proof,
      rootHash,
    })
    expect(decode(batchRecord, checkpoint.lastLeaf).registryHead.number).toBe(cluster.setup.length)
    expect(await codeOf(bench.replica.leaf(10_000))).toBe('ERR_NOT_FOUND')
    expect(await codeOf(bench.replica.receipt(10_000, 1))).toBe('ERR_NOT_FOUND')
    expect(await codeOf(bench.replica.envelope(new Uint8Array(32)))).toBe('ERR_NOT_FOUND')
  })

  it('hands out nothing of a namespace that is not public', async () => {
    await start()
    const writer = await setUp()
    const open = appliedOf(await propose(writer.bundle(writer.put('a'))))
    expect(bench.replica.bodiesArePublic()).toBe(true)
    await propose(cluster.event(cluster.privateNamespace()))
    const secret = appliedOf(await propose(writer.bundle(writer.put('s', 's', 'secrets'), writer.put('b'))))
    expect(secret.verdicts).toEqual([0, 0])
    expect(bench.replica.bodiesArePublic()).toBe(false)
    expect((await bench.replica.leaf(open.leaf)).body.length).toBeGreaterThan(0)
    expect((await bench.replica.leaf(secret.leaf)).body).toHaveLength(0)
    const abort = new AbortController()
    for await (const { leaf, body } of bench.replica.watch(
      { fromLeaf: secret.leaf, namespace: 'secrets' },
      abort.signal,
    )) {
      expect([leaf, body.length]).toEqual([secret.leaf, 0])
      abort.abort()
    }
    const key = opaque('key s', 33)
    expect(await codeOf(bench.replica.value({ namespace: 'secrets', key, linearizable: true }))).toBe('ERR_POLICY_READ')
    expect(await codeOf(bench.replica.cell({ namespace: 'secrets', key }))).toBe('ERR_POLICY_READ')
  })

  it('ends a wait for a receipt when the caller goes away', async () => {
    await start({ idleMarkMs: 60_000, batchIntervalMs: 60_000 })
    const writer = await setUp()
    const { leaf } = appliedOf(await propose(writer.bundle(writer.put('a'))))
    await bench.replica.receipt(leaf, 5000)
    const next = appliedOf(await propose(writer.bundle(writer.put('b'))))
    const abort = new AbortController()
    const waiting = codeOf(bench.replica.receipt(next.leaf, 60_000, abort.signal))
    abort.abort()
    expect(await waiting).toBe('ERR_NOT_PUBLISHED')
  })
})

describe('Replica, its disk', () => {
  it('publishes nothing that the database does not hold yet', async () => {
    let release = (): void => {}
    const gate = new Promise<void>((resolve) => (release = resolve))
    await start()
    await setUp()
    await bench.stop()
    const persisted = new Map(disk.state)
    bench = await startAlone(cluster, log, disk)
    const { replica, trail } = bench
    const flush = trail.flush.bind(trail)
    trail.flush = async (options) => {
      await gate
      await flush(options)
    }
    const writer = new Writer(cluster, 'bob')
    const { leaf } = appliedOf(await propose(writer.open(), true))
    expect(await codeOf(replica.receipt(leaf, 200))).toBe('ERR_NOT_PUBLISHED')
    expect(disk.state).toEqual(persisted)
    expect(disk.signedHead.read()!.size).toBeGreaterThan(leaf)
    release()
    await replica.receipt(leaf, 5000)
    expect(disk.state).not.toEqual(persisted)
  })

  it('shows no checkpoint while a lost database is replayed, then the same trail', async () => {
    await start()
    const writer = await setUp()
    for (let i = 0; i < 10; i++) await propose(writer.bundle(writer.put(String(i))), true)
    await bench.replica.receipt(bench.ledger.treeSize - 1, 5000)
    await until(() => bench.ledger.openLeaves === 0, 'the batch is closed')
    const before = await bench.replica.checkpoint()
    const { size } = parseCheckpoint(parseNote(before.checkpoint).text)
    const records = await Promise.all(Array.from({ length: size }, (_, i) => bench.trail.readEntry(i)))
    await bench.stop()

    disk.state.clear()
    const replicator = new MemoryReplicator({ log: { entries: [], term: 0 }, id: 'me', now: () => createdAt })
    const replaying = await startReplica({
      cluster,
      name: 'r1',
      disk,
      replicator: () => Promise.resolve(replicator),
    })
    expect(replaying.ledger.treeSize).toBe(2)
    expect(await codeOf(replaying.replica.checkpoint())).toBe('ERR_UNAVAILABLE')
    expect(await replaying.replica.trailFile('checkpoint')).toBeUndefined()
    expect(replaying.replica.ready().reasons.join()).toContain('replayed')
    expect(await codeOf(replaying.replica.receipt(0, 10))).toBe('ERR_UNAVAILABLE')
    for (const { kind, payload } of log.entries) replicator.inject(kind, payload)
    await until(() => replaying.ledger.appliedIndex === log.entries.length, 'the log is replayed')
    const after = await replaying.replica.checkpoint()
    expect(parseCheckpoint(parseNote(after.checkpoint).text).size).toBeGreaterThanOrEqual(size)
    for (let i = 0; i < size; i++) expect(equalBytes(await replaying.trail.readEntry(i), records[i]!)).toBe(true)
    expect(replaying.faults).toEqual([])
    await replaying.stop()
    bench = await startAlone(cluster, log, disk)
  })

  it('does not start on a trail that is not the one it signed', async () => {
    await start()
    await setUp()
    await bench.replica.receipt(bench.ledger.treeSize - 1, 5000)
    await until(() => bench.ledger.openLeaves === 0, 'the batch is closed')
    const { size } = disk.signedHead.read()!
    await bench.stop()
    for (const signed of [2, size]) {
      await disk.signedHead.write(signed, opaque('another root', 32))
      expect(await codeOf(startAlone(cluster, log, disk)), `size ${signed}`).toBe('ERR_INVARIANT')
    }
  })

  it('stops when its second computation of the tree differs, and neither signs nor publishes that size', async () => {
    let wrong = false
    await start({
      crossCheck: ({ size }) => {
        if (wrong) throw new InvariantViolation('Two computations of the tree differ.', { size })
      },
    })
    const writer = await setUp()
    await bench.replica.receipt(bench.ledger.treeSize - 1, 5000)
    await until(() => bench.ledger.openLeaves === 0, 'the batch is closed')
    const { size } = disk.signedHead.read()!
    const published = bench.replica.status().publishedSize
    wrong = true
    const answer = codeOf(propose(writer.bundle(writer.put('a')), true))
    await until(() => bench.faults.length > 0, 'it stopped')
    await answer
    expect(bench.faults.map(errorCode)).toEqual(['ERR_INVARIANT'])
    expect(disk.signedHead.read()!.size).toBe(size)
    expect(bench.replica.status().publishedSize).toBe(published)
  })

  it('stops when a read finds the trail damaged', async () => {
    await start()
    const writer = await setUp()
    for (let i = 0; i < 250; i++) await propose(writer.bundle(writer.put('a')))
    await until(() => bench.replica.status().publishedSize > 256, 'a tile is full')
    disk.trail.damage('tile/entries/000', (bytes) => bytes.subarray(0, bytes.length >> 1))
    expect(await codeOf(bench.replica.leaf(7))).toMatch(/ERR_TRAIL_DAMAGED|ERR_INVARIANT/)
    expect(bench.faults).toHaveLength(1)
    expect(await codeOf(propose(writer.bundle(writer.put('a'))))).toBe('ERR_UNAVAILABLE')
  })

  it('stops at a failed write of the trail, after which nothing is written or published', async () => {
    await start()
    const writer = await setUp()
    await bench.replica.receipt(bench.ledger.treeSize - 1, 5000)
    disk.trail.fault = ({ kind }) => (kind === 'datasync' ? 'fail' : undefined)
    await codeOf(propose(writer.bundle(writer.put('a')), true))
    await until(() => bench.faults.length > 0, 'it stopped')
    expect(bench.faults.map(errorCode)).toEqual(['ERR_STORAGE_FAILED'])
    const state = new Map(disk.state)
    disk.trail.fault = () => undefined
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(disk.state).toEqual(state)
  })

  it('ignores marks of a faulty leader that make no sense, and goes on', async () => {
    await start()
    const writer = await setUp()
    bench.replicator.inject(entryKinds.mark, utf8('?'))
    bench.replicator.inject(entryKinds.mark, encode(mark, { reason: markReasons.interval }))
    const answer = await propose(writer.bundle(writer.put('a')))
    expect(appliedOf(answer).verdicts).toEqual([0])
    expect(bench.faults).toEqual([])
  })
})

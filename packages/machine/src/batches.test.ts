import { decode, encode } from '@cipherlog/core'
import { sha256 } from '@cipherlog/crypto/hash'
import { batchRecord, entryKinds, group0, leafKinds, leafRecord, storedLedger } from '@cipherlog/format'
import { batchRoot } from '@cipherlog/merkle/batch'
import { leafHash, nodeHash, origin } from '@cipherlog/merkle/verify'
import { signGenesis } from '@cipherlog/registry'
import { describe, expect, test } from 'vitest'
import { createdAt, keyEvent, opaque, seedOf, TestCluster, vector, Writer } from './cluster.fixture.ts'
import { LedgerDriver, ledgerOptions } from './ledger-driver.fixture.ts'
import { batchLeavesMax, Ledger } from './ledger.ts'
import { builtInMachines } from './machines.ts'
import { createMemoryState } from './state.ts'
import { stateKeys } from './state-keys.ts'

const cluster = await TestCluster.build()

/** RFC 6962 §2.1 as it is written. */
function rootOf(records: readonly Uint8Array[]): Uint8Array {
  if (records.length === 1) return leafHash(records[0]!)
  let split = 1
  while (split * 2 < records.length) split *= 2
  return nodeHash(rootOf(records.slice(0, split)), rootOf(records.slice(split)))
}

describe('genesis', () => {
  test('is leaf 0 and closed at once at size 2, without a log entry, at the time it was created', async () => {
    const { ledger, leaf, closed } = await Ledger.create(createMemoryState(), cluster.signedGenesis, ledgerOptions)
    expect(decode(leafRecord, leaf.record)).toEqual({
      kind: leafKinds.genesis,
      group: group0,
      logIndex: 0,
      logTime: createdAt,
      digest: sha256(cluster.signedGenesis),
    })
    expect(decode(batchRecord, closed.leaf.record)).toEqual({
      kind: leafKinds.batchRecord,
      group: group0,
      logIndex: 0,
      logTime: createdAt,
      firstLeaf: 0,
      leafCount: 1,
      batchRoot: leafHash(leaf.record),
      registryHead: { number: 0, digest: cluster.id },
      rulesVersion: 1,
    })
    expect(closed).toMatchObject({ size: 2, transition: false, rootHash: rootOf([leaf.record, closed.leaf.record]) })
    expect(ledger).toMatchObject({ treeSize: 2, appliedIndex: 0, logTime: createdAt, openLeaves: 0 })
    expect(ledger.origin).toBe(
      origin({ name: 'example.com/ledger', cluster: cluster.id, group: group0, generation: 0 }),
    )
  })
})

describe('a batch', () => {
  test('is closed by a mark, and its record says what it covers', async () => {
    const driver = await LedgerDriver.start(cluster)
    const alice = new Writer(cluster)
    driver.now += 5
    const envelope = alice.envelope()
    await driver.apply(alice.open())
    await driver.apply(alice.bundle([envelope, alice.put('a', envelope.id), alice.add('x')]))
    const firstLeaf = driver.leaves.length - 2
    driver.now += 7
    const closed = (await driver.mark())!

    const covered = driver.leaves.slice(firstLeaf, -1).map(({ record }) => record)
    expect(driver.batchRecord).toEqual({
      kind: leafKinds.batchRecord,
      group: group0,
      logIndex: driver.entries.length,
      logTime: createdAt + 12,
      firstLeaf,
      leafCount: 2,
      batchRoot: rootOf(covered),
      stateRoot: [1, expect.any(Uint8Array) as Uint8Array],
      registryHead: driver.ledger.registry.head,
      rulesVersion: 1,
    })
    expect(closed.leaf).toMatchObject({ leafIndex: firstLeaf + 2, kind: leafKinds.batchRecord, verdicts: [] })
    expect(closed.leaf.signed).toHaveLength(0)
    expect(closed.size).toBe(firstLeaf + 3)
    expect(closed.rootHash).toEqual(rootOf(driver.leaves.map(({ record }) => record)))
    expect(closed.tail).toHaveLength(closed.size)
    expect(closed.tailRoot).toEqual(batchRoot(closed.tail))
  })

  test('has a leaf record for each kind that says who, which sequences, epochs and verdicts', async () => {
    const driver = await LedgerDriver.start(cluster)
    const alice = new Writer(cluster)
    const opening = alice.open({ number: 3 })
    const bundle = alice.bundle([alice.add('x'), alice.add('x', undefined, undefined, { keyEpoch: 9 })])
    await driver.apply(opening)
    await driver.apply(bundle)
    const place = { group: group0, logTime: driver.now }
    expect(driver.leaves.slice(-2).map(({ record }) => decode(leafRecord, record))).toEqual([
      {
        ...place,
        kind: leafKinds.sessionOpening,
        logIndex: driver.entries.length - 1,
        digest: sha256(opening.signed),
        client: alice.id,
        session: 3,
        firstSequence: 0,
        sequenceCount: 1,
        verdicts: [0],
      },
      {
        ...place,
        kind: leafKinds.commandBundle,
        logIndex: driver.entries.length,
        digest: sha256(bundle.signed),
        client: alice.id,
        session: 3,
        firstSequence: 1,
        sequenceCount: 2,
        epochs: [1, 9],
        verdicts: [0, 4],
      },
    ])
    expect(decode(leafRecord, driver.leaves[2]!.record)).toEqual({
      ...place,
      kind: leafKinds.keyEvent,
      logIndex: 1,
      digest: sha256(cluster.setup[0]!),
    })
  })

  test('is not closed by a mark without new leaves, but the mark’s place is noted', async () => {
    const driver = await LedgerDriver.start(cluster)
    const { treeSize } = driver.ledger
    driver.now += 1000
    await driver.drive({ kind: entryKinds.noOp, logTime: driver.now })
    expect(await driver.mark()).toBeUndefined()
    expect(driver.ledger).toMatchObject({ treeSize, appliedIndex: driver.entries.length, logTime: driver.now })
  })

  test('closes by rule at its 255th leaf, in the step of that entry, and a full tile is handed out once', async () => {
    const driver = await LedgerDriver.start(cluster)
    const alice = new Writer(cluster)
    await driver.apply(alice.open({ number: 1 }))
    const before = driver.closed.length
    for (let i = 1; i < batchLeavesMax - 1; i++) await driver.apply(alice.bundle([alice.put('a', undefined)]))
    expect([driver.closed.length, driver.ledger.openLeaves]).toEqual([before, 254])
    expect(driver.ledger.batchDue).toBe(false)
    driver.now += 3
    await driver.apply(alice.bundle([alice.put('a', undefined)]))
    expect([driver.closed.length, driver.ledger.openLeaves]).toEqual([before + 1, 0])
    expect(driver.batchRecord).toMatchObject({
      leafCount: 255,
      logIndex: driver.entries.length,
      logTime: driver.now,
    })
    const { leafIndex, record } = driver.leaves.at(-2)!
    expect(decode(leafRecord, record).logIndex).toBe(driver.entries.length)
    expect(driver.batchRecord.firstLeaf + 254).toBe(leafIndex)

    const hashes = driver.leaves.map((leaf) => leafHash(leaf.record))
    const { completedTiles, size, tail, tailRoot } = driver.closed.at(-1)!
    expect(completedTiles).toEqual([{ leafHashes: hashes.slice(0, 256), hash: batchRoot(hashes.slice(0, 256)) }])
    expect(tail).toEqual(hashes.slice(256))
    expect([size % 256, tailRoot]).toEqual([tail.length, batchRoot(tail)])
    expect(driver.closed.slice(0, -1).flatMap((closed) => closed.completedTiles)).toEqual([])
    const level1 = driver.leaves.flatMap(({ tiles }) => tiles).filter(({ level }) => level === 1)
    expect(level1).toEqual([{ level: 1, index: 0, hash: batchRoot(hashes.slice(0, 256)) }])
  })
})

describe('the ledger stops rather than', () => {
  test('let log time go back, in a plan, an entry or a batch record', async () => {
    const driver = await LedgerDriver.start(cluster)
    const alice = new Writer(cluster)
    driver.now += 10
    await driver.apply(alice.open())
    const logIndex = driver.entries.length + 1
    const late = { logIndex, logTime: driver.now - 1 }
    expect(() => driver.ledger.plan(alice.bundle([alice.add('x')]), late)).toThrow(/Log time went back/)
    expect(() => driver.ledger.skip(late)).toThrow(/Log time went back/)
    await expect(driver.ledger.close(late)).rejects.toThrow(/Log time went back/)
  })

  test('apply an entry twice, out of order, or past a full batch', async () => {
    const driver = await LedgerDriver.start(cluster)
    const alice = new Writer(cluster)
    const place = { logIndex: driver.entries.length, logTime: driver.now }
    const plan = driver.ledger.plan(alice.open(), place)
    if (plan.outcome !== 'accepted') throw new Error(plan.outcome)
    expect(() => driver.ledger.apply(2, plan, [], place)).toThrow(/applied twice/)
    expect(() => driver.ledger.skip(place)).toThrow(/applied twice/)
    await expect(driver.ledger.close({ ...place, logIndex: place.logIndex - 1 })).rejects.toThrow(/out of order/)
  })

  test('apply a plan that was made for another state, time or kind', async () => {
    const driver = await LedgerDriver.start(cluster)
    const alice = new Writer(cluster)
    const bob = new Writer(cluster, 'bob')
    const place = { logIndex: driver.entries.length + 1, logTime: driver.now }
    const plan = driver.ledger.plan(alice.open(), place)
    if (plan.outcome !== 'accepted') throw new Error(plan.outcome)
    expect(() => driver.ledger.apply(3, plan, [], place)).toThrow(/another kind/)
    expect(() => driver.ledger.apply(2, plan, [], { ...place, logTime: place.logTime + 1 })).toThrow(/another log time/)
    await driver.apply(bob.open())
    expect(() => driver.ledger.apply(2, plan, [], { ...place, logIndex: place.logIndex + 1 })).toThrow(/another state/)
  })

  test('apply anything while a batch is being closed, or after its sums have failed', async () => {
    const vectors = await TestCluster.build({ vectors: true })
    let fail: (error: Error) => void = () => {}
    const driver = await LedgerDriver.fromGenesis(vectors, {
      ...ledgerOptions,
      evaluator: { add: () => new Promise((_, reject) => (fail = reject)) },
    })
    for (const signed of vectors.setup) await driver.apply(keyEvent(signed))
    const alice = new Writer(vectors)
    await driver.apply(alice.open())
    await driver.apply(alice.bundle([alice.addVector('p99', await vector(vectors, [1]))]))
    const place = { logIndex: driver.entries.length + 1, logTime: driver.now }
    const closing = driver.ledger.close(place)
    const next = { ...place, logIndex: place.logIndex + 1 }
    expect(() => driver.ledger.skip(next)).toThrow(/being closed/)
    fail(new Error('out of memory'))
    await expect(closing).rejects.toThrow('out of memory')
    expect(() => driver.ledger.skip(next)).toThrow(/being closed/)
    await expect(driver.ledger.close(next)).rejects.toThrow(/being closed/)
  })
})

describe('a ledger opened again', () => {
  test('is where its last batch record left it, and knows that batch for cosigning', async () => {
    const driver = await LedgerDriver.start(cluster)
    const alice = new Writer(cluster)
    await driver.apply(alice.open())
    await driver.apply(alice.bundle([alice.add('x')]))
    await driver.mark()
    const { treeSize, appliedIndex, logTime, origin: name } = driver.ledger
    await driver.reopen()
    expect(driver.ledger).toMatchObject({ treeSize, appliedIndex, logTime, origin: name, openLeaves: 0 })
    const { size, rootHash, tail, tailRoot, transition, leaf } = driver.closed.at(-1)!
    const again = driver.ledger.newestBatch(leaf.record)
    expect(again).toMatchObject({ size, rootHash, tail, tailRoot, transition })
    expect(again.leaf).toMatchObject({ record: leaf.record, leafIndex: leaf.leafIndex, kind: leaf.kind })
  })

  test('is undefined without a state, and refuses one that newer software wrote', async () => {
    expect(await Ledger.open(createMemoryState(), ledgerOptions)).toBeUndefined()
    const { state } = await LedgerDriver.start(cluster)
    const stored = decode(storedLedger, state.get(stateKeys.ledger)!)
    state.put(stateKeys.ledger, encode(storedLedger, { ...stored, rulesVersion: 3 }))
    await expect(Ledger.open(state, ledgerOptions)).rejects.toMatchObject({ code: 'ERR_RULES_UNKNOWN' })
  })

  test.each([
    ['tail', { tail: [] }],
    ['peaks', { peaks: undefined }],
    ['cell count', { cellCount: 1 }],
    ['origin', { origin: 'example.com/other' }],
  ] as const)('stops at a state whose %s does not fit', async (_name, change) => {
    const { state } = await LedgerDriver.start(cluster)
    const stored = decode(storedLedger, state.get(stateKeys.ledger)!)
    const peaks = stored.peaks.map((peak, i) => (i === 0 ? opaque('peak', 32) : peak))
    const damaged = { ...stored, ...('peaks' in change ? { peaks } : change) }
    state.put(stateKeys.ledger, encode(storedLedger, damaged as typeof stored))
    await expect(Ledger.open(state, ledgerOptions)).rejects.toMatchObject({ code: 'ERR_INVARIANT' })
  })

  test('stops at a batch record of the trail that is not its own', async () => {
    const driver = await LedgerDriver.start(cluster)
    const [genesisRecord] = driver.closed
    await driver.reopen()
    expect(() => driver.ledger.newestBatch(genesisRecord!.leaf.record)).toThrow(/different states/)
  })

  test('also where the tree ends with a full tile, so that no leaf hash says which record it was', async () => {
    const driver = await LedgerDriver.start(cluster)
    const alice = new Writer(cluster)
    await driver.apply(alice.open())
    while (driver.ledger.treeSize < 255) await driver.apply(alice.bundle([alice.add('x')]))
    const { leaf, size, tail } = (await driver.mark())!
    expect([size, tail]).toEqual([256, []])
    await driver.reopen()
    expect(driver.ledger.newestBatch(leaf.record)).toMatchObject({ size: 256, tail: [], tailRoot: undefined })
    const record = decode(batchRecord, leaf.record)
    const { number, digest } = record.registryHead
    for (const change of [
      { logIndex: record.logIndex - 1 },
      { logTime: record.logTime - 1 },
      { stateRoot: undefined },
      { stateRoot: [1, opaque('root', 32)] as [number, Uint8Array] },
      { registryHead: { number: number - 1, digest } },
      { registryHead: { number, digest: opaque('digest', 32) } },
    ]) {
      const other = encode(batchRecord, { ...record, ...change })
      expect(() => driver.ledger.newestBatch(other)).toThrow(/different states/)
    }
  })
})

test('a genesis with a circuit that this software lacks is not started, and two machines of one name neither', async () => {
  const { genesis } = cluster
  const secrets = ['olga', 'otto', 'ole', 'r1 answer', 'r2 answer', 'r3 answer'].map(seedOf)
  const signed = signGenesis({ ...genesis, circuits: [{ ...genesis.circuits[0]!, id: 'sealed-vote' }] }, secrets)
  await expect(Ledger.create(createMemoryState(), signed, ledgerOptions)).rejects.toMatchObject({
    code: 'ERR_RULES_UNKNOWN',
  })
  const options = { ...ledgerOptions, machines: [{ ...builtInMachines[0]!, version: 2 }] }
  await expect(Ledger.create(createMemoryState(), cluster.signedGenesis, options)).rejects.toThrow(RangeError)
})

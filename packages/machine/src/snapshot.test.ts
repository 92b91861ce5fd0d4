import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { decode, encode, errorCode, utf8 } from '@cipherlog/core'
import { sha256 } from '@cipherlog/crypto/hash'
import {
  entryKinds,
  storedClientSessions,
  storedLedger,
  type OpenedSnapshotManifest,
  type SnapshotPair,
} from '@cipherlog/format'
import { openMemorySnapshots, type SnapshotStore, type StoredSnapshot } from '@cipherlog/storage'
import { Prng } from '@cipherlog/testkit'
import { beforeAll, describe, expect, test } from 'vitest'
import { amount, idOf, keyEvent, TestCluster, Writer } from './cluster.fixture.ts'
import { type ClosedBatch } from './entry.ts'
import {
  contentsOf,
  copyOf,
  firstDifference,
  ledgerOptions,
  LedgerDriver,
  type TestEntry,
} from './ledger-driver.fixture.ts'
import { Ledger } from './ledger.ts'
import { openSnapshot } from './open-snapshot.ts'
import { RandomLog } from './random-log.fixture.ts'
import { createMemoryState, type State } from './state.ts'
import { stateKeys } from './state-keys.ts'
import { recordProblem } from './state-records.ts'

/** Fails with its name, so that `CIPHERLOG_SEED=<seed>` repeats the run. */
const seed = Number(process.env['CIPHERLOG_SEED'] ?? Math.floor(Math.random() * 2 ** 32))

const nobody = { voters: [], learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false }

function take(store: SnapshotStore, ledger: Ledger, closed: ClosedBatch): Promise<StoredSnapshot> {
  const { pairs, ...head } = ledger.snapshot(closed)
  return store.write({ ...head, term: 1, confState: nobody }, pairs)
}

async function stateOf(pairs: AsyncIterable<SnapshotPair> | Iterable<SnapshotPair>): Promise<State> {
  const state = createMemoryState()
  for await (const [key, value] of pairs) state.put(key.slice(), value.slice())
  return state
}

async function pairsOf(state: State): Promise<SnapshotPair[]> {
  const pairs: SnapshotPair[] = []
  for await (const pair of state.iterate(new Uint8Array(0))) pairs.push(pair)
  return pairs
}

describe('a snapshot', () => {
  test('is due at the first batch record after each multiple of the limit, and of no other', async () => {
    const cluster = await TestCluster.build({ limits: { snapshotEveryLeaves: 10 } })
    const driver = await LedgerDriver.start(cluster)
    const alice = new Writer(cluster)
    await driver.apply(alice.open())
    const envelope = alice.envelope()
    await driver.apply(alice.bundle([envelope]))
    for (let i = 0; i < 60; i++) {
      await driver.apply(alice.bundle([alice.put(`${i}`, envelope.id)]))
      if (i % 3 === 0 || i > 40) await driver.mark()
    }
    await driver.mark()
    let before = 0
    for (const { size, snapshotDue } of driver.closed) {
      // Genesis is nobody's log entry.
      expect([size, snapshotDue]).toEqual([size, before > 0 && Math.floor(size / 10) > Math.floor(before / 10)])
      before = size
    }
    expect(driver.closed.filter(({ snapshotDue }) => snapshotDue).length).toBeGreaterThan(5)
    const due = driver.closed.at(-1)!.snapshotDue
    const again = (await Ledger.open(await copyOf(driver.state), ledgerOptions))!
    expect(again.newestBatch(driver.closed.at(-1)!.leaf.record).snapshotDue).toBe(due)
  })

  test('is due at each batch that ends at a multiple, but not for genesis', async () => {
    const cluster = await TestCluster.build({ limits: { snapshotEveryLeaves: 2 } })
    const driver = await LedgerDriver.fromGenesis(cluster)
    // Genesis has two leaves; then each batch has one leaf and its record.
    for (const signed of cluster.setup.slice(0, 3)) {
      await driver.apply(keyEvent(signed))
      await driver.mark()
    }
    expect(driver.closed.map(({ size, snapshotDue }) => [size, snapshotDue])).toEqual([
      [2, false],
      [4, true],
      [6, true],
      [8, true],
    ])
  })

  test('is of the newest batch record, and is refused while anything has been applied since', async () => {
    const cluster = await TestCluster.build()
    const driver = await LedgerDriver.start(cluster)
    const closed = driver.closed.at(-1)!
    expect(driver.ledger.snapshot(closed)).toMatchObject({
      treeSize: closed.size,
      rootHash: closed.rootHash,
      index: driver.ledger.appliedIndex,
      batchRecord: closed.leaf.record,
    })
    expect(() => driver.ledger.snapshot(driver.closed[0]!)).toThrow(/newest batch record/)
    await driver.drive({ kind: entryKinds.noOp, logTime: driver.now })
    expect(() => driver.ledger.snapshot(closed)).toThrow(/newest batch record/)
    await driver.apply(new Writer(cluster).open())
    expect(() => driver.ledger.snapshot(closed)).toThrow(/newest batch record/)
  })

  test(`is the same on ledgers that crash, and a ledger restored from it goes on bit by bit like one that never stopped (seed ${seed})`, async () => {
    const random = new Prng(seed)
    const cluster = await TestCluster.build({ limits: { snapshotEveryLeaves: 50 } })
    const steady = await LedgerDriver.start(cluster)
    const crashing = await LedgerDriver.start(cluster)
    const log = new RandomLog(cluster, random)
    const joined: LedgerDriver[] = []
    const [store, other] = [await openMemorySnapshots(), await openMemorySnapshots()]
    let persisted = await copyOf(crashing.state)

    for (let i = 0; i < 450; i++) {
      const logTime = steady.now + (random.chance(0.3) ? random.between(1, 3000) : 0)
      const proposal = random.chance(0.08) ? undefined : log.next(steady)
      const entry: TestEntry =
        proposal === undefined
          ? { kind: random.pick([entryKinds.mark, entryKinds.noOp]), logTime }
          : { kind: proposal.kind, proposal, logTime }
      const before = steady.closed.length
      for (const driver of [steady, crashing, ...joined]) await driver.drive(entry)
      if (crashing.ledger.openLeaves === 0 && random.chance(0.5)) persisted = await copyOf(crashing.state)
      if (steady.closed.length > before && steady.closed.at(-1)!.snapshotDue) {
        const snapshot = await take(store, steady.ledger, steady.closed.at(-1)!)
        expect((await take(other, crashing.ledger, crashing.closed.at(-1)!)).digest).toEqual(snapshot.digest)
        const state = await stateOf(store.pairs(snapshot.digest))
        joined.push(LedgerDriver.joined(steady, state, await openSnapshot(state, snapshot, ledgerOptions)))
      }
      if (random.chance(0.02)) await crashing.reopen(persisted)
      // One restored ledger after the other restarts, too.
      if (joined.length > 0 && random.chance(0.02)) {
        const driver = random.pick(joined)
        if (driver.ledger.openLeaves === 0) await driver.reopen()
      }
    }
    for (const driver of [steady, ...joined]) await driver.mark()

    expect(joined.length).toBeGreaterThan(1)
    const records = steady.leaves.map(({ record }) => record)
    const contents = await contentsOf(steady.state)
    for (const driver of joined) {
      expect(
        firstDifference(
          driver.leaves.map(({ record }) => record),
          records,
        ),
      ).toBeUndefined()
      expect(driver.closed.map(({ rootHash }) => rootHash)).toEqual(steady.closed.map(({ rootHash }) => rootHash))
      expect(await contentsOf(driver.state)).toBe(contents)
    }
  })

  test('keeps an unfinished change of cosigners: whoever restores it signs the transition size for both sets', async () => {
    const cluster = await TestCluster.build()
    const driver = await LedgerDriver.start(cluster)
    await driver.apply(keyEvent(cluster.event(cluster.cosignerSet(['r1', 'r2', 'r4']))))
    const closed = (await driver.mark())!
    expect(closed.transition).toBe(true)
    const store = await openMemorySnapshots()
    const snapshot = await take(store, driver.ledger, closed)
    const state = await stateOf(store.pairs(snapshot.digest))
    const restored = await openSnapshot(state, snapshot, ledgerOptions)
    expect(restored.newestBatch(closed.leaf.record)).toMatchObject({ transition: true, size: closed.size })
    expect(restored.registry.setsFor(closed.size)).toHaveLength(2)
    expect(restored.registry.cosignerSets).toEqual(driver.ledger.registry.cosignerSets)
  })

  test('answers a retry of what was applied before it, and refuses what came earlier', async () => {
    const cluster = await TestCluster.build()
    const driver = await LedgerDriver.start(cluster)
    const alice = new Writer(cluster)
    const opening = alice.open()
    await driver.apply(opening)
    const bundles = [1n, 2n].map((value) => alice.bundle([alice.add('x', amount(cluster, value))]))
    for (const bundle of bundles) await driver.apply(bundle)
    const closed = (await driver.mark())!
    const store = await openMemorySnapshots()
    const snapshot = await take(store, driver.ledger, closed)
    const state = await stateOf(store.pairs(snapshot.digest))
    const joined = LedgerDriver.joined(driver, state, await openSnapshot(state, snapshot, ledgerOptions))
    expect(await joined.commit(bundles[1]!)).toMatchObject({ outcome: 'duplicate' })
    expect(await joined.commit(bundles[0]!)).toMatchObject({ outcome: 'refused', error: { code: 'ERR_SEQUENCE_PAST' } })
    expect(await joined.commit(opening)).toMatchObject({ outcome: 'refused', error: { code: 'ERR_SESSION_EXPIRED' } })
  })
})

describe('a snapshot that somebody made wrong', () => {
  let snapshot: OpenedSnapshotManifest
  let pairs: SnapshotPair[]
  let other: OpenedSnapshotManifest
  beforeAll(async () => {
    const store = await openMemorySnapshots()
    const cluster = await TestCluster.build()
    const driver = await LedgerDriver.start(cluster)
    const alice = new Writer(cluster)
    const envelope = alice.envelope()
    for (let i = 0; i < 2; i++) await driver.apply(alice.open({ number: i + 1 }))
    await driver.apply(alice.bundle([envelope, alice.put('a', envelope.id), alice.add('x'), alice.add('y')]))
    const bob = new Writer(cluster, 'bob')
    await driver.apply(bob.open())
    await driver.apply(bob.bundle([bob.add('x', amount(cluster, 4n))]))
    await driver.apply(keyEvent(cluster.event(cluster.cosignerSet(['r1', 'r2', 'r4']))))
    const aside = alice.bundle([alice.put('b', envelope.id)])
    const quarantine = cluster.quarantine({ index: driver.nextIndex, digest: sha256(aside.signed) })
    driver.ledger.lookAhead(quarantine.signed, driver.nextIndex + 1)
    await driver.apply(aside)
    await driver.apply(quarantine)
    snapshot = await take(store, driver.ledger, (await driver.mark())!)
    pairs = await pairsOf(driver.state)
    await driver.apply(alice.bundle([alice.add('z')]))
    other = await take(store, driver.ledger, (await driver.mark())!)
  })

  async function codeOf(changed: readonly SnapshotPair[], manifest = snapshot): Promise<string | undefined> {
    try {
      await openSnapshot(await stateOf(changed), manifest, ledgerOptions)
      return undefined
    } catch (error) {
      return errorCode(error) ?? `${error as Error}`
    }
  }
  const letter = ([key]: SnapshotPair): string => String.fromCharCode(key[0]!)
  const replaced = (which: SnapshotPair, value: Uint8Array): SnapshotPair[] =>
    pairs.map((pair) => (pair === which ? [pair[0], value] : pair))

  test('is taken as it is, has every kind of record, and fits no other manifest', async () => {
    expect([...new Set(pairs.map(letter))].join('')).toBe('GLcehkqrstu')
    expect(await codeOf(pairs)).toBeUndefined()
    expect(await codeOf(pairs, other)).toBe('ERR_SNAPSHOT_STATE')
    const { manifest } = snapshot
    for (const change of [
      { cluster: new Uint8Array(32) },
      { generation: 1 },
      { group: idOf('group') },
      { treeSize: manifest.treeSize + 1 },
      { rootHash: new Uint8Array(32) },
      { batchRecord: other.manifest.batchRecord },
    ]) {
      expect(await codeOf(pairs, { ...snapshot, manifest: { ...manifest, ...change } })).toBe('ERR_SNAPSHOT_STATE')
    }
    const record = { ...snapshot.record, rulesVersion: 2 }
    expect(await codeOf(pairs, { ...snapshot, record })).toBe('ERR_SNAPSHOT_STATE')
  })

  test('is refused if a session, a client’s sessions, a key event, a cell, genesis or the tree is missing', async () => {
    for (const pair of pairs.filter((each) => 'LGrcsh'.includes(letter(each)))) {
      const without = pairs.filter((each) => each !== pair)
      expect([letter(pair), await codeOf(without)]).toEqual([letter(pair), 'ERR_SNAPSHOT_STATE'])
    }
    const newest = pairs.findLast((pair) => letter(pair) === 't')!
    expect(await codeOf(pairs.filter((pair) => pair !== newest))).toBe('ERR_SNAPSHOT_STATE')
  })

  test('is refused if a client has a session more or less than its record says', async () => {
    const client = pairs.find((pair) => letter(pair) === 'h')!
    const sessions = decode(storedClientSessions, client[1])
    const { highWaterMark, open } = sessions
    expect(open.length).toBeGreaterThan(0)
    for (const change of [
      { highWaterMark, open: open.slice(1) },
      { highWaterMark: highWaterMark + 1, open: [...open, highWaterMark + 1] },
      { highWaterMark: 0, open },
    ]) {
      expect(await codeOf(replaced(client, encode(storedClientSessions, change)))).toBe('ERR_SNAPSHOT_STATE')
    }
  })

  test('is refused with a record that is damaged, unknown, or under the key of another', async () => {
    for (const kind of 'GLcehkqrstu') {
      const pair = pairs.find((each) => letter(each) === kind)!
      expect([kind, await codeOf(replaced(pair, pair[1].subarray(1)))]).toEqual([kind, 'ERR_SNAPSHOT_STATE'])
    }
    expect(await codeOf([...pairs, [utf8('x'), utf8('1')]])).toBe('ERR_SNAPSHOT_STATE')
    expect(await codeOf([...pairs, [utf8('Lx'), utf8('1')]])).toBe('ERR_SNAPSHOT_STATE')
    const copy = (from: string, key: Uint8Array): SnapshotPair[] => [
      ...pairs,
      [key, pairs.find((pair) => letter(pair) === from)![1]],
    ]
    for (const [from, key] of [
      ['e', stateKeys.envelope(new Uint8Array(32))],
      ['q', stateKeys.quota(idOf('mallory'))],
      ['s', stateKeys.session(idOf('mallory'), 1)],
      ['c', stateKeys.cell(9)],
      ['r', stateKeys.keyEvent(99)],
    ] as const) {
      expect([from, await codeOf(copy(from, key))]).toEqual([from, 'ERR_SNAPSHOT_STATE'])
    }
  })

  test(`is refused with any bit flipped in genesis, key events, cells or tree (seed ${seed})`, async () => {
    const random = new Prng(seed)
    let refused = 0
    for (const kind of 'GLcr') {
      for (let n = 0; n < 25; n++) {
        const pair = random.pick(pairs.filter((each) => letter(each) === kind))
        const at = random.between(0, pair[1].length - 1)
        const bit = 1 << random.between(0, 7)
        const flipped = pair[1].map((byte, i) => (i === at ? byte ^ bit : byte))
        const code = await codeOf(replaced(pair, flipped))
        // Where and when a key event was applied is nobody's root: these few bytes are the majority's word.
        if (kind === 'r' && code === undefined) continue
        expect([kind, at, code]).toEqual([kind, at, 'ERR_SNAPSHOT_STATE'])
        refused++
      }
    }
    expect(refused).toBeGreaterThan(85)
  })

  test('of newer rules says that newer software is needed, not that it is wrong', async () => {
    const ledger = pairs.find((pair) => letter(pair) === 'L')!
    const newer = encode(storedLedger, { ...decode(storedLedger, ledger[1]), rulesVersion: 99 })
    expect(await codeOf(replaced(ledger, newer))).toBe('ERR_RULES_UNKNOWN')
  })

  test('can hold every kind of record that the ledger writes', () => {
    const source = readFileSync(join(import.meta.dirname, 'state-keys.ts'), 'utf8')
    const letters = [...source.matchAll(/utf8\('(.)'\)/g)].map(([, found]) => found!)
    expect(letters.length).toBeGreaterThan(10)
    for (const found of letters) {
      expect([found, recordProblem(utf8(found), new Uint8Array(0))]).not.toEqual([found, 'is of an unknown kind'])
    }
    expect(recordProblem(utf8('x'), new Uint8Array(0))).toBe('is of an unknown kind')
  })
})

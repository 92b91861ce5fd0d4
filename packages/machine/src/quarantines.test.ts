import { decode } from '@cipherlog/core'
import { sha256 } from '@cipherlog/crypto/hash'
import { leafKinds, leafRecord, verdicts } from '@cipherlog/format'
import { beforeEach, describe, expect, test } from 'vitest'
import { createdAt, hourMs, keyEvent, TestCluster, Writer } from './cluster.fixture.ts'
import { contentsOf, firstDifference, LedgerDriver, replayLeaves } from './ledger-driver.fixture.ts'
import { type Proposal } from './entry.ts'

describe('an entry that operators have set aside', () => {
  let cluster: TestCluster
  let driver: LedgerDriver
  let alice: Writer
  let envelope: Uint8Array
  beforeEach(async () => {
    cluster = await TestCluster.build()
    driver = await LedgerDriver.start(cluster)
    alice = new Writer(cluster)
    await driver.apply(alice.open())
    const command = alice.envelope()
    envelope = command.id
    await driver.apply(alice.bundle([command]))
    await driver.mark()
  })

  const nameOf = (proposal: Proposal, index = driver.nextIndex) => ({ index, digest: sha256(proposal.signed) })
  /** The quarantine of the next entry, which stands right behind it and is seen beforehand. */
  function setAside(proposal: Proposal): Proposal {
    const quarantine = cluster.quarantine(nameOf(proposal))
    expect(driver.ledger.lookAhead(quarantine.signed, driver.nextIndex + 1)).toEqual(nameOf(proposal))
    return quarantine
  }
  const codeAt = async (proposal: Proposal): Promise<string | undefined> => {
    const outcome = await driver.commit(proposal)
    return outcome.outcome === 'refused' ? outcome.error.code : undefined
  }

  test('is rejected whole, with a leaf, and changes nothing but its session; a retry gets that answer', async () => {
    const bundle = alice.bundle([alice.put('a', envelope), alice.add('total')])
    const quarantine = setAside(bundle)
    const before = await contentsOf(driver.state)
    expect(await driver.apply(bundle)).toEqual([verdicts.quarantined, verdicts.quarantined])
    const differing = (await contentsOf(driver.state)).split('\n').filter((line) => !before.includes(line))
    // The session's last bundle, and that it was set aside.
    expect(differing.map((line) => line.slice(0, 2))).toEqual(['73', '75'])
    expect(driver.ledger.value('orders', alice.put('a', envelope).head.key!)).toBeUndefined()
    expect(await driver.commit(bundle)).toMatchObject({ outcome: 'duplicate', answer: { verdicts: [12, 12] } })
    await driver.drive({ kind: 33, logTime: driver.now })
    expect(await driver.commit(quarantine)).toMatchObject({ outcome: 'applied', leaf: { kind: leafKinds.quarantine } })
    expect(await driver.apply(alice.bundle([alice.put('b', envelope)]))).toEqual([verdicts.applied])
  })

  test('can be a session opening, which opens nothing, or a key event, in whose place another is signed', async () => {
    const opening = alice.open()
    setAside(opening)
    expect(await driver.apply(opening)).toEqual([verdicts.quarantined])
    expect(driver.ledger.sessions(alice.id)).toMatchObject({ highWaterMark: 2, open: [{ number: 1 }] })

    const { head } = driver.ledger.registry
    const event = keyEvent(cluster.event(cluster.addClient('zoe', []), { keep: false }))
    setAside(event)
    await driver.apply(event)
    expect(decode(leafRecord, driver.leaves.at(-1)!.record)).toMatchObject({ kind: 1, verdicts: [12] })
    expect(driver.ledger.registry.head).toEqual(head)
    await driver.apply(keyEvent(cluster.event(cluster.addClient('zac', []))))
    expect(driver.ledger.registry.head.number).toBe(head.number + 1)
  })

  test('is the same on a restart in between, for an auditor, and at every batch record', async () => {
    const bundle = alice.bundle([alice.put('a', envelope)])
    const quarantine = setAside(bundle)
    await driver.apply(bundle)
    await driver.mark()
    await driver.apply(alice.bundle([alice.put('b', envelope)]))
    await driver.apply(quarantine)
    await driver.mark()
    const records = driver.leaves.map(({ record }) => record)
    const state = await contentsOf(driver.state)
    expect(firstDifference(await replayLeaves(driver.leaves), records)).toBeUndefined()
    await driver.reopen()
    expect(await driver.commit(quarantine)).toMatchObject({ outcome: 'duplicate', answer: { verdicts: [] } })
    driver.entries.pop()
    const fresh = await LedgerDriver.fromGenesis(cluster)
    driver.entries.forEach(({ proposal }, i) => {
      if (proposal?.kind === 4) fresh.ledger.lookAhead(proposal.signed, i + 1)
    })
    for (const entry of driver.entries) await fresh.drive(entry)
    expect(
      firstDifference(
        fresh.leaves.map(({ record }) => record),
        records,
      ),
    ).toBeUndefined()
    expect(await contentsOf(fresh.state)).toBe(state)
  })

  test('that would be refused anyway leaves no leaf, and its quarantine has no effect', async () => {
    const bundle = alice.bundle([alice.put('a', envelope)], { firstSequence: 7 })
    const quarantine = setAside(bundle)
    expect(await codeAt(bundle)).toBe('ERR_SEQUENCE_GAP')
    expect(await codeAt(quarantine)).toBe('ERR_QUARANTINE_ENTRY')
  })

  test('stops a ledger that had applied it as usual, whenever that learns of it', async () => {
    const bundle = alice.bundle([alice.put('a', envelope)])
    const index = driver.nextIndex
    await driver.apply(bundle)
    const quarantine = cluster.quarantine(nameOf(bundle, index))
    // Since the last batch record: a leader may still append it, for its restart will go back behind the entry.
    expect(driver.ledger.plan(quarantine)).toMatchObject({ outcome: 'accepted' })
    expect(() => driver.ledger.lookAhead(quarantine.signed, driver.nextIndex)).toThrow(
      expect.objectContaining({ code: 'ERR_QUARANTINE_APPLIED' }),
    )
    await driver.mark()
    expect(driver.ledger.plan(quarantine)).toMatchObject({ error: { code: 'ERR_QUARANTINE_APPLIED' } })
    await expect(driver.commit(quarantine)).rejects.toMatchObject({ code: 'ERR_QUARANTINE_APPLIED' })
  })

  test('was named by k operators of this log, exactly, and from behind', async () => {
    const bundle = alice.bundle([alice.put('a', envelope)])
    const entry = nameOf(bundle)
    const at = driver.nextIndex + 1
    const ahead = (proposal: Proposal, index = at) => driver.ledger.lookAhead(proposal.signed, index)
    const bad: [Proposal, string][] = [
      [cluster.quarantine(entry, { signers: [0] }), 'ERR_REGISTRY_SIGNATURES'],
      [cluster.quarantine(entry, { signers: [0, 0] }), 'ERR_REGISTRY_SIGNATURES'],
      [cluster.quarantine(entry, { cluster: new Uint8Array(32) }), 'ERR_OTHER_CLUSTER'],
      [cluster.quarantine(entry, { group: new Uint8Array(16).fill(1) }), 'ERR_OTHER_GROUP'],
      [cluster.quarantine(entry, { generation: 1 }), 'ERR_OTHER_GROUP'],
      [{ ...cluster.quarantine(entry), signed: entry.digest }, 'ERR_DECODE_TYPE'],
    ]
    for (const [proposal] of bad) expect(ahead(proposal)).toBeUndefined()
    expect(ahead(cluster.quarantine(entry), entry.index)).toBeUndefined()
    expect(ahead(cluster.quarantine({ ...entry, digest: sha256(entry.digest) }))).toMatchObject({ index: entry.index })
    expect(await driver.apply(bundle)).toEqual([verdicts.applied])
    for (const [proposal, code] of bad) expect(await codeAt(proposal)).toBe(code)
    expect(await codeAt(cluster.quarantine({ ...entry, digest: sha256(entry.digest) }))).toBe('ERR_QUARANTINE_ENTRY')
    expect(await codeAt(cluster.quarantine({ ...entry, index: driver.nextIndex }))).toBe('ERR_QUARANTINE_ENTRY')
    expect(await codeAt({ ...cluster.quarantine(entry), body: entry.digest })).toBe('ERR_DECODE_BODY')
  })
})

describe('a plan for admission', () => {
  test('lists the proofs of commands whose grant or key version may be under way, and refuses what nobody can check', async () => {
    const cluster = await TestCluster.build()
    const driver = await LedgerDriver.start(cluster)
    const grants = [{ namespaces: 'orders', operations: ['put'] }]
    await driver.apply(keyEvent(cluster.event(cluster.addClient('zoe', grants))))
    const zoe = new Writer(cluster, 'zoe')
    await driver.apply(zoe.open())
    const ungranted = zoe.bundle([zoe.add('total')])
    const plan = driver.ledger.plan(ungranted)
    if (plan.outcome !== 'accepted') throw new Error(plan.outcome)
    expect(plan.proofs).toEqual([])
    expect(plan.admission).toMatchObject({ proofsOfRejected: [{ command: 0 }], inadmissible: undefined, costMs: 5.3 })
    // The very check that is needed once the grant has come.
    const { proofsOfRejected } = plan.admission
    await driver.apply(
      keyEvent(
        cluster.event({ type: 'setGrants', client: zoe.id, grants: [{ namespaces: 'revenue', operations: ['add'] }] }),
      ),
    )
    expect(driver.ledger.plan(ungranted)).toMatchObject({ proofs: proofsOfRejected })
    // Its leaf needs none of it.
    const bad = zoe.bundle([zoe.add('total', new Uint8Array(128))], { firstSequence: 1 })
    expect(driver.ledger.plan(bad)).toMatchObject({ admission: { inadmissible: { command: 0 } } })

    const nextEpoch = zoe.bundle([zoe.add('total', undefined, undefined, { keyEpoch: 2 })], { firstSequence: 1 })
    expect(driver.ledger.plan(nextEpoch)).toMatchObject({
      admission: { inadmissible: { command: 0, error: { code: 'ERR_PROOF_UNCHECKED' } } },
    })
    const other = zoe.bundle([zoe.add('total', undefined, undefined, { namespace: 'elsewhere' })], { firstSequence: 1 })
    expect(driver.ledger.plan(other)).toMatchObject({ admission: { proofsOfRejected: [], inadmissible: undefined } })
    const place = { logIndex: driver.nextIndex, logTime: createdAt + hourMs }
    expect(driver.ledger.plan(nextEpoch, place)).toMatchObject({
      outcome: 'accepted',
      admission: { proofsOfRejected: [] },
    })
  })
})

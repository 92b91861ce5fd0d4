import { decode } from '@cipherlog/core'
import { batchRecord, leafKinds, leafRecord, storedValue, verdicts } from '@cipherlog/format'
import { beforeAll, describe, expect, test } from 'vitest'
import { amount, createdAt, keyEvent, minuteMs, TestCluster, Writer } from './cluster.fixture.ts'
import { contentsOf, copyOf, firstDifference, ledgerOptions, LedgerDriver } from './ledger-driver.fixture.ts'
import { Ledger } from './ledger.ts'

const newReplicas = ['n1', 'n2', 'n3']

/** A log with a value, a sum and a client's sessions, closed. */
async function oldLog(): Promise<{ cluster: TestCluster; driver: LedgerDriver; alice: Writer; envelope: Uint8Array }> {
  const cluster = await TestCluster.build()
  const driver = await LedgerDriver.start(cluster)
  const alice = new Writer(cluster)
  for (let session = 0; session < 5; session++) await driver.apply(alice.open())
  const command = alice.envelope()
  await driver.apply(alice.bundle([command]))
  await driver.apply(alice.bundle([alice.put('a', command.id), alice.add('total', amount(cluster, 7n))]))
  await driver.mark()
  return { cluster, driver, alice, envelope: command.id }
}
const endOf = (driver: LedgerDriver) => {
  const { size, rootHash } = driver.closed.at(-1)!
  return { treeSize: size, rootHash }
}

const oldLogOf = (cluster: TestCluster) => ({
  cluster: cluster.id,
  group: new Uint8Array(16),
  generation: 0,
  operatorSetVersion: 0,
})

describe('Ledger.startGeneration()', () => {
  let cluster: TestCluster
  let old: LedgerDriver
  let alice: Writer
  let envelope: Uint8Array
  let signed: Uint8Array
  beforeAll(async () => {
    ;({ cluster, driver: old, alice, envelope } = await oldLog())
    signed = cluster.groupStart(old.ledger, endOf(old), newReplicas)
  })

  test('begins a tree of its own with the group start, closed at size 2, under another origin', async () => {
    const { ledger, leaves, closed } = await old.restored(signed)
    expect(ledger).toMatchObject({ generation: 1, treeSize: 2, appliedIndex: 0, openLeaves: 0 })
    expect(ledger.origin).toBe(old.ledger.origin.replace(/0$/, '1'))
    expect(leaves[0]).toMatchObject({ kind: leafKinds.groupStart, signed, leafIndex: 0 })
    const place = { logIndex: 0, logTime: old.ledger.logTime + minuteMs }
    expect(decode(leafRecord, leaves[0]!.record)).toMatchObject({ kind: 6, ...place })
    const first = decode(batchRecord, leaves[1]!.record)
    expect(first).toMatchObject({ ...place, firstLeaf: 0, leafCount: 1, registryHead: old.ledger.registry.head })
    expect(first.stateRoot).toEqual(old.batchRecord.stateRoot)
    expect(closed[0]!.transition).toBe(false)
    expect(ledger.registry.setsFor(2)).toEqual(ledger.registry.setsFor(1_000_000))
    expect(ledger.registry.setsFor(2)[0]!.members).toHaveLength(3)
  })

  test('ends sessions, keeps their highest number, values, sums and key events, and forgets who saw what', async () => {
    const driver = await old.restored(signed)
    const { ledger } = driver
    expect(old.ledger.sessions(alice.id)).toMatchObject({ highWaterMark: 5, open: [{}, {}, {}] })
    expect(ledger.sessions(alice.id)).toEqual({ highWaterMark: 5, open: [] })
    const key = alice.put('a', envelope).head.key!
    expect(ledger.value('orders', key)).toEqual(old.ledger.value('orders', key))
    expect(ledger.registry.head).toEqual(old.ledger.registry.head)
    const cell = alice.add('total').head.key!
    expect(ledger.cell('revenue', cell)).toEqual(old.ledger.cell('revenue', cell))

    const seen = endOf(driver)
    const writer = new Writer(cluster)
    const refusal = async (proposal: Parameters<typeof driver.commit>[0]) => {
      const outcome = await driver.commit(proposal)
      return outcome.outcome === 'refused' ? outcome.error.code : outcome.outcome
    }
    expect(await refusal(writer.open({ generation: 0, number: 6, seen: cluster.seen }))).toBe('ERR_OTHER_GROUP')
    expect(await refusal(writer.open({ generation: 1, number: 5, seen }))).toBe('ERR_SESSION_EXPIRED')
    expect(await driver.apply(writer.open({ generation: 1, number: 6, seen: cluster.seen }))).toEqual([verdicts.seen])
    expect(await driver.apply(writer.open({ generation: 1, number: 7, seen }))).toEqual([verdicts.applied])
    expect(await refusal(writer.bundle([writer.put('b', envelope)]))).toBe('ERR_OTHER_GROUP')
    const put = writer.put('b', envelope)
    expect(await driver.apply(writer.bundle([put], { generation: 1, firstSequence: 1 }))).toEqual([verdicts.applied])
    expect(decode(storedValue, ledger.value('orders', put.head.key!)!)).toMatchObject({ leaf: 4, generation: 1 })
  })

  test('goes on with the chain of key events, whose numbers never repeat', async () => {
    const driver = await old.restored(signed)
    const before = driver.ledger.registry.head.number
    await driver.apply(
      keyEvent(
        cluster.event(cluster.addClient('zoe', []), {
          after: driver.ledger.registry,
          seen: endOf(driver),
          keep: false,
        }),
      ),
    )
    expect(driver.ledger.registry.event(before + 1)).toMatchObject({ generation: 1, leafIndex: 2 })
    const outcome = await driver.commit(keyEvent(cluster.setup[0]!))
    expect(outcome).toMatchObject({
      outcome: 'refused',
      error: { code: 'ERR_OTHER_GROUP', details: { generation: 0 } },
    })
  })

  test('opens again as it was, and can be followed by another generation', async () => {
    const driver = await old.restored(signed)
    await driver.apply(
      keyEvent(
        cluster.event(cluster.cosignerSet(['m1', 'n2', 'n3']), {
          after: driver.ledger.registry,
          seen: endOf(driver),
          keep: false,
        }),
      ),
    )
    const closed = await driver.mark()
    expect(closed!.transition).toBe(true)
    const state = await contentsOf(driver.state)
    await driver.reopen()
    expect(await contentsOf(driver.state)).toBe(state)
    expect(driver.ledger).toMatchObject({ generation: 1, treeSize: 4 })
    expect(driver.ledger.registry.setsFor(4)).toHaveLength(2)
    expect(driver.ledger.registry.setsFor(5)[0]!.members[0]!.peerId).not.toEqual(
      old.ledger.registry.setsFor(5)[0]!.members[0]!.peerId,
    )
    // Without the transition's note the chain does not lead to the newest set.
    const next = cluster.groupStart(driver.ledger, endOf(driver), ['o1'], { generation: 7 })
    await expect(driver.restored(next)).rejects.toMatchObject({ code: 'ERR_VERIFY_POLICY_CHAIN' })
  })

  test('gives equal states and leaves wherever it is done', async () => {
    const [one, two] = [await old.restored(signed), await old.restored(signed)]
    expect(await contentsOf(one.state)).toBe(await contentsOf(two.state))
    expect(
      firstDifference(
        one.leaves.map(({ record }) => record),
        two.leaves.map(({ record }) => record),
      ),
    ).toBeUndefined()
  })

  test.each<[string, (parts: { cluster: TestCluster; driver: LedgerDriver }) => Uint8Array]>([
    ['one operator only', (p) => p.cluster.groupStart(p.driver.ledger, endOf(p.driver), newReplicas, {}, [0])],
    ['another end', (p) => p.cluster.groupStart(p.driver.ledger, { ...endOf(p.driver), treeSize: 4 }, newReplicas)],
    [
      'another root',
      (p) => p.cluster.groupStart(p.driver.ledger, { ...endOf(p.driver), rootHash: new Uint8Array(32) }, newReplicas),
    ],
    [
      'another head',
      (p) =>
        p.cluster.groupStart(p.driver.ledger, endOf(p.driver), newReplicas, {
          registryHead: { number: 1, digest: new Uint8Array(32) },
        }),
    ],
    [
      'a time before the old log ended',
      (p) => p.cluster.groupStart(p.driver.ledger, endOf(p.driver), newReplicas, { startedAt: createdAt - 1 }),
    ],
    ['keys of a replica that was there before', (p) => p.cluster.groupStart(p.driver.ledger, endOf(p.driver), ['r1'])],
    [
      'keys whose holders did not sign',
      (p) => p.cluster.groupStart(p.driver.ledger, endOf(p.driver), newReplicas, { possessions: [] }),
    ],
    [
      'another log',
      (p) =>
        p.cluster.groupStart(p.driver.ledger, endOf(p.driver), newReplicas, {
          log: { ...oldLogOf(p.cluster), origin: 'example.com/other' },
        }),
    ],
  ])('refuses a group start with %s, and changes nothing', async (_, make) => {
    const state = await copyOf(old.state)
    const before = await contentsOf(state)
    const chain = old.ledger.registry.policyChain(() => undefined)
    await expect(
      Ledger.startGeneration(state, make({ cluster, driver: old }), chain, ledgerOptions),
    ).rejects.toMatchObject({ code: 'ERR_VERIFY_GROUP_START' })
    expect(await contentsOf(state)).toBe(before)
  })
})

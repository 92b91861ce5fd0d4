import { decode } from '@cipherlog/core'
import { storedKeyEvent } from '@cipherlog/format'
import { buildKeyEvent, signKeyEvent } from '@cipherlog/registry'
import { describe, expect, test } from 'vitest'
import { cosignerSetOf, createdAt, hourMs, idOf, keyEvent, seedOf, TestCluster, Writer } from './cluster.fixture.ts'
import { contentsOf, LedgerDriver } from './ledger-driver.fixture.ts'
import { stateKeys } from './state-keys.ts'

describe('a key event', () => {
  test('takes effect at its leaf, not at the batch record, and the batch record names it', async () => {
    const cluster = await TestCluster.build()
    const driver = await LedgerDriver.start(cluster)
    const zoe = new Writer(cluster, 'zoe')
    const opening = zoe.open()
    expect(await driver.commit(opening)).toMatchObject({ error: { code: 'ERR_CLIENT_UNKNOWN' } })
    const grants = [{ namespaces: 'revenue', operations: ['add'] }]
    await driver.apply(keyEvent(cluster.event(cluster.addClient('zoe', grants))))
    expect(driver.leaves.at(-1)).toMatchObject({ kind: 1, keyEventNumber: cluster.setup.length + 1, verdicts: [] })
    expect(await driver.apply(opening)).toEqual([0])
    expect(await driver.apply(zoe.bundle([zoe.add('x')], { registry: cluster.setup.length + 1 }))).toEqual([0])
    await driver.mark()
    expect(driver.batchRecord.registryHead).toEqual(cluster.position.head)
    expect(driver.batchRecord.registryHead.number).toBe(cluster.setup.length + 1)
  })

  test('is a duplicate if its bytes without signatures are on the log, whoever signed them, however long ago', async () => {
    const cluster = await TestCluster.build()
    const driver = await LedgerDriver.start(cluster)
    const operation = cluster.addClient('zoe', [])
    const parts = {
      after: cluster.position,
      operation,
      seen: cluster.seen,
      notAfter: createdAt + hourMs,
    }
    const names = ['olga', 'otto', 'ole']
    const signedBy = (...signers: number[]) =>
      keyEvent(
        signKeyEvent(
          buildKeyEvent(parts),
          signers.map((index) => ({ index, secretKey: seedOf(names[index]!) })),
        ),
      )
    const first = await driver.commit(signedBy(0, 1))
    driver.now += 2 * hourMs
    const before = await contentsOf(driver.state)
    const again = await driver.commit(signedBy(1, 2))
    if (first.outcome !== 'applied' || again.outcome !== 'duplicate') throw new Error(again.outcome)
    expect(again.answer).toEqual({ leaf: first.leaf.leafIndex, digest: first.leaf.digest, verdicts: [] })
    expect(await driver.commit(keyEvent(cluster.setup[3]!))).toMatchObject({
      outcome: 'duplicate',
      answer: { leaf: 5 },
    })
    expect(await contentsOf(driver.state)).toBe(before)
    expect(driver.ledger.registry.head.number).toBe(cluster.setup.length + 1)
  })

  test('that lost a race is refused, and the winner stands', async () => {
    const cluster = await TestCluster.build()
    const driver = await LedgerDriver.start(cluster)
    const rivals = ['zoe', 'zac'].map((name) => cluster.event(cluster.addClient(name, []), { keep: false }))
    await driver.apply(keyEvent(rivals[0]!))
    expect(await driver.commit(keyEvent(rivals[1]!))).toMatchObject({ error: { code: 'ERR_REGISTRY_NUMBER' } })
    expect(driver.ledger.registry.client(idOf('zoe'))).toBeDefined()
    expect(driver.ledger.registry.client(idOf('zac'))).toBeUndefined()
  })

  test('is kept: a ledger opened again has the same registry, with times and leaves', async () => {
    const cluster = await TestCluster.build()
    const driver = await LedgerDriver.start(cluster)
    const version = cluster.xwingVersion('records', 2)
    await driver.apply(keyEvent(cluster.event(cluster.addKeyVersion('records', 2, version))))
    driver.now += 1000
    await driver.apply(keyEvent(cluster.event(cluster.activate('records', 2, version, 5000))))
    await driver.mark()
    const { registry } = driver.ledger
    const states = (of: typeof registry) =>
      [0, 4999, 5000].map((ms) => [1, 2].map((epoch) => of.keyState(idOf('records'), epoch, driver.now + ms)))
    const before = states(registry)
    expect(before).toEqual([
      ['grace', 'active'],
      ['grace', 'active'],
      ['decrypt-only', 'active'],
    ])
    await driver.reopen()
    expect(states(driver.ledger.registry)).toEqual(before)
    const opened = driver.ledger.registry
    expect(opened.head).toEqual(registry.head)
    for (let number = 0; number <= registry.head.number; number++) {
      expect(opened.event(number)).toEqual(registry.event(number))
    }
  })
})

describe('a cosigner set', () => {
  test('governs from its event on; the first batch record after it is the transition, of old and new set', async () => {
    const cluster = await TestCluster.build()
    const driver = await LedgerDriver.start(cluster)
    const [old, next] = [cosignerSetOf(['r1', 'r2', 'r3']), cosignerSetOf(['r1', 'r2', 'r4'])]
    const alice = new Writer(cluster)
    await driver.apply(keyEvent(cluster.event(cluster.cosignerSet(['r1', 'r2', 'r4']))))
    const eventLeaf = driver.leaves.length - 1
    await driver.apply(alice.open())
    const closed = (await driver.mark())!
    expect(closed.transition).toBe(true)
    const { registry } = driver.ledger
    expect(registry.setsFor(eventLeaf)).toEqual([old])
    expect(registry.setsFor(closed.size)).toEqual([old, next])
    expect(registry.setsFor(closed.size + 1)).toEqual([next])
    await driver.apply(alice.bundle([alice.add('x')]))
    expect((await driver.mark())!.transition).toBe(false)
  })

  test('is refused while the last one waits for its batch record, and that is log state: a restart knows it', async () => {
    const cluster = await TestCluster.build()
    const driver = await LedgerDriver.start(cluster)
    await driver.apply(keyEvent(cluster.event(cluster.cosignerSet(['r1', 'r2', 'r4']))))
    const second = keyEvent(cluster.event(cluster.cosignerSet(['r1', 'r4', 'r5']), { keep: false }))
    expect(await driver.commit(second)).toMatchObject({ error: { code: 'ERR_REGISTRY_TRANSITION' } })
    const transition = (await driver.mark())!
    const { transitionSize } = decode(
      storedKeyEvent,
      driver.state.get(stateKeys.keyEvent(cluster.position.head.number))!,
    )
    expect(transitionSize).toBe(transition.size)

    await driver.reopen()
    expect(driver.ledger.newestBatch(transition.leaf.record).transition).toBe(true)
    expect(driver.ledger.registry.transitionPending).toBe(false)
    await driver.apply(second)
    expect(driver.ledger.registry.transitionPending).toBe(true)
    expect((await driver.mark())!.transition).toBe(true)
  })
})

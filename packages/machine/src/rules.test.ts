import { toHex } from '@cipherlog/core'
import { sha256 } from '@cipherlog/crypto/hash'
import { readPolicies, suites, verdicts, type Circuit, type KeyOperation } from '@cipherlog/format'
import { describe, expect, test } from 'vitest'
import { amount, idOf, keyEvent, minuteMs, opaque, TestCluster, Writer } from './cluster.fixture.ts'
import { ledgerOptions, LedgerDriver } from './ledger-driver.fixture.ts'
import { Ledger } from './ledger.ts'
import { builtInMachines } from './machines.ts'
import { type StateMachine } from './state-machine.ts'

/** An application's machine: sealed records that nobody but it names. */
const auctions: StateMachine = {
  ...builtInMachines.find(({ name }) => name === 'log')!,
  name: 'sealed-bids',
  version: 2,
  code: sha256(new Uint8Array([2])),
  operations: ['bid'],
}
const withAuctions = { ...ledgerOptions, machines: [auctions] }
const bids = (machine = auctions): KeyOperation => ({
  type: 'createNamespace',
  name: 'bids',
  machine: machine.name,
  suite: suites.hpkeXwing,
  keyset: idOf('records'),
  readPolicy: readPolicies.public,
  application: { version: machine.version, code: machine.code! },
})
const raise = (rulesVersion: number, circuits?: Circuit[]): KeyOperation => ({
  type: 'setRules',
  rulesVersion,
  ...(circuits === undefined ? {} : { circuits }),
})

describe('rules have a number', () => {
  async function started(rulesVersion?: number) {
    const cluster = await TestCluster.build(rulesVersion === undefined ? {} : { rulesVersion })
    const driver = await LedgerDriver.fromGenesis(cluster, withAuctions)
    for (const signed of cluster.setup) await driver.apply(keyEvent(signed))
    await driver.mark()
    const codeOf = async (operation: KeyOperation) => {
      const outcome = await driver.commit(keyEvent(cluster.event(operation, { keep: false })))
      return outcome.outcome === 'refused' ? outcome.error.code : outcome.outcome
    }
    return { cluster, driver, codeOf }
  }

  test('a log under rules 1 gives the roots that it always gave', async () => {
    const { cluster, driver } = await started()
    const alice = new Writer(cluster)
    await driver.apply(alice.open())
    const envelope = alice.envelope()
    await driver.apply(alice.bundle([envelope]))
    driver.now += minuteMs
    await driver.apply(alice.bundle([alice.put('a', envelope.id), alice.append(envelope.id)]))
    await driver.apply(alice.bundle([alice.add('total', amount(cluster, 7n)), alice.put('b', opaque('none', 32))]))
    await driver.mark()
    await driver.apply(keyEvent(cluster.event(cluster.cosignerSet(['r2', 'r3', 'r4']))))
    await driver.mark()
    expect(driver.closed.map(({ size, rootHash }) => [size, toHex(rootHash)])).toEqual(goldenRoots)
    expect(driver.batchRecord.rulesVersion).toBe(1)
  })

  test('are raised by operators, never lowered, and stand in every batch record and after a restart', async () => {
    const { cluster, driver, codeOf } = await started()
    expect(await codeOf(raise(1))).toBe('ERR_REGISTRY_RULES')
    await driver.apply(keyEvent(cluster.event(raise(2))))
    expect(await codeOf(raise(1))).toBe('ERR_REGISTRY_RULES')
    expect(await codeOf(raise(2))).toBe('ERR_REGISTRY_RULES')
    await driver.mark()
    expect(driver.batchRecord.rulesVersion).toBe(2)
    await driver.reopen()
    expect(driver.ledger.registry.rulesVersion).toBe(2)
  })

  test('let a namespace name an application machine from 2 on, by version and code', async () => {
    const { cluster, driver, codeOf } = await started()
    expect(await codeOf(bids())).toBe('ERR_REGISTRY_NAMESPACE')
    await driver.apply(keyEvent(cluster.event(raise(2))))
    expect(await codeOf({ ...bids(), machine: 'kv' } as KeyOperation)).toBe('ERR_REGISTRY_NAMESPACE')
    await driver.apply(keyEvent(cluster.event(bids())))
    const grants = [{ namespaces: '*', operations: ['bid', 'envelope'] }]
    await driver.apply(keyEvent(cluster.event({ type: 'setGrants', client: idOf('alice'), grants })))
    const alice = new Writer(cluster)
    await driver.apply(alice.open())
    const envelope = alice.envelope()
    const bid = alice.append(envelope.id, { namespace: 'bids', op: 'bid' })
    const other = alice.append(envelope.id, { namespace: 'bids', op: 'envelope' })
    expect(await driver.apply(alice.bundle([envelope, bid, other]))).toEqual([0, 0, verdicts.command])
    await driver.mark()
    // Without the machine, or with other code under its name, the state is not opened.
    for (const machines of [[], [{ ...auctions, version: 3 }], [{ ...auctions, code: sha256(new Uint8Array(1)) }]]) {
      await expect(Ledger.open(driver.state, { ...ledgerOptions, machines })).rejects.toMatchObject({
        code: 'ERR_MACHINE_UNKNOWN',
      })
    }
    expect((await Ledger.open(driver.state, withAuctions))!.treeSize).toBe(driver.ledger.treeSize)
  })

  test('that this software does not know stop it before the event; a leader refuses the event', async () => {
    const { cluster, driver } = await started(2)
    const unknown: [KeyOperation, string][] = [
      [raise(3), 'ERR_RULES_UNKNOWN'],
      [
        raise(2, [{ id: 'sealed-vote', r1cs: opaque('r', 32), verificationKey: opaque('vk', 288) }]),
        'ERR_RULES_UNKNOWN',
      ],
      [bids({ ...auctions, version: 9 }), 'ERR_MACHINE_UNKNOWN'],
    ]
    for (const [operation, code] of unknown) {
      const event = keyEvent(cluster.event(operation, { keep: false }))
      const { appliedIndex } = driver.ledger
      expect(driver.ledger.plan(event)).toMatchObject({ outcome: 'refused', error: { code } })
      expect(() => driver.ledger.plan(event, { logIndex: appliedIndex + 1, logTime: driver.now })).toThrow(
        expect.objectContaining({ code }),
      )
      expect(driver.ledger.appliedIndex).toBe(appliedIndex)
    }
  })

  test('take more circuits under the same number, each once', async () => {
    const { cluster, driver, codeOf } = await started()
    const circuit = { id: 'sealed-amount-16', r1cs: opaque('r', 32), verificationKey: opaque('vk 16', 288) }
    await driver.apply(keyEvent(cluster.event(raise(1, [circuit]))))
    expect(driver.ledger.registry.circuit('sealed-amount-16')).toEqual(circuit)
    expect(await codeOf(raise(2, [circuit]))).toBe('ERR_REGISTRY_RULES')
    expect(driver.ledger.registry.rulesVersion).toBe(1)
  })
})

/** Made when rules 2 came, by the software that had known rules 1 only. */
const goldenRoots: [number, string][] = [
  [2, '9930fd3472734428b2ca8454b35470ba1f77a4eaedccea4a5e3defa3209910ff'],
  [16, '20188d9ce91e575342228998a26bf5c8b3b716edcd51979bdb33b237fbe6e629'],
  [21, '2486fe883b74056a1deebe654c92fee45066a4068e97e47b7b4045c81101e5a8'],
  [23, '83a3c37faa9c999b373a7d2e609703aae72d8fd8c1e56e063eccb7f13643b1a2'],
]

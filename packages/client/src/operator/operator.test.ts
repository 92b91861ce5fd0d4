import { beforeAll, describe, expect, test } from 'vitest'
import { systemRandom } from '@cipherlog/core'
import { replicaKeysOf } from './test-members.fixture.ts'
import { assembleKeyEvent, openGenesis, operatorSignature, possessionOf } from '@cipherlog/registry'
import { roles, suites } from '@cipherlog/format'
import { Keyring } from '../keyring.ts'
import { TestLog } from '../test-log.fixture.ts'
import { testWorld, type TestWorld } from '../test-world.fixture.ts'
import { createGenesis } from './genesis.ts'
import { Operator } from './operator.ts'
import { memberOf } from './reader-keys.ts'

describe('createGenesis()', () => {
  const replicas = [replicaKeysOf(1), replicaKeysOf(2), replicaKeysOf(3)]
  const options = {
    name: 'example.com/ledger',
    mode: 'development' as const,
    members: replicas.map(({ member }) => member),
    answerPossession: ({ cluster, index }: { cluster: Uint8Array; index: number }) =>
      possessionOf(replicas[index]!.answer, roles.answer, cluster),
    operators: { threshold: 1, secretKeys: [systemRandom.bytes(32), systemRandom.bytes(32)] },
  }

  test('makes a genesis that every replica accepts, and the policy that pins it', async () => {
    const { signedGenesis, cluster, trustPolicy } = await createGenesis(options)
    const opened = openGenesis(signedGenesis)
    expect(opened.cluster).toEqual(cluster)
    expect(opened.genesis).toMatchObject({ cosigners: { quorum: 2 }, limits: { batchIntervalMs: 80 } })
    expect(trustPolicy).toMatchObject({ cluster, witnesses: [], witnessesRequired: 0 })
  })

  test('takes recovery keys, limits and a stricter quorum', async () => {
    const recovery = { threshold: 1, secretKeys: [systemRandom.bytes(32)], delayMs: 86_400_000 }
    const { genesis } = await createGenesis({ ...options, recovery, quorum: 3, limits: { batchIntervalMs: 10 } })
    expect(genesis).toMatchObject({ recovery: { delayMs: 86_400_000 }, cosigners: { quorum: 3 } })
    expect(genesis.limits).toMatchObject({ batchIntervalMs: 10, sessionsPerClientMax: 16 })
  })

  test('refuses what a replica would refuse: a bad proof of possession, a minority, a bad name', async () => {
    const answerPossession = () => new Uint8Array(64)
    await expect(createGenesis({ ...options, answerPossession })).rejects.toMatchObject({
      code: 'ERR_VERIFY_GENESIS_POSSESSION',
    })
    await expect(createGenesis({ ...options, quorum: 1 })).rejects.toMatchObject({ code: 'ERR_VERIFY_GENESIS_QUORUM' })
    await expect(createGenesis({ ...options, name: 'Upper Case' })).rejects.toThrow(RangeError)
  })
})

describe('Operator', () => {
  let world: TestWorld
  beforeAll(async () => {
    world = await testWorld()
  })

  test('without enough operator keys nothing is sent', async () => {
    const { testLog, connect } = world
    testLog.calls.length = 0
    const operator = new Operator(await connect())
    await expect(operator.revokeClient(new Uint8Array(16), 'x')).rejects.toMatchObject({ code: 'ERR_KEY_MISSING' })
    expect(testLog.proposals(1)).toEqual([])
  })

  test('operator keys are taken from the keyring', async () => {
    const { testLog, connect } = world
    const { cluster } = testLog.trustPolicy
    const keyring = new Keyring([{ type: 'operator', cluster, ...testLog.genesis.operator }])
    const { client } = await new Operator(await connect({ keyring })).addClient({ grants: [], label: 'by keyring' })
    expect(testLog.ledger.registry.client(client)).toMatchObject({ label: 'by keyring' })
  })

  test('what the registry refuses is refused before it is sent', async () => {
    const { testLog, operator } = world
    testLog.calls.length = 0
    await expect(operator.revokeClient(new Uint8Array(16), 'x')).rejects.toMatchObject({ code: 'ERR_REGISTRY_UNKNOWN' })
    await expect(
      operator.createNamespace({ name: 'orders', machine: 'kv', suite: 1, keyset: world.keyset }),
    ).rejects.toMatchObject({ code: 'ERR_REGISTRY_ID_USED' })
    expect(testLog.proposals(1)).toEqual([])
  })

  test('of two operators at once both succeed: the slower one signs again', async () => {
    const { testLog, connect } = world
    const signers = [testLog.genesis.operator]
    const both = [new Operator(await connect(), { signers }), new Operator(await connect(), { signers })]
    const events = await Promise.all(both.map((operator) => operator.addClient({ grants: [] })))
    const numbers = events.map(({ event }) => event.number).sort((a, b) => a - b)
    expect(numbers[1]).toBe(numbers[0]! + 1)
  })

  test('operators at different machines sign the same bytes, and anybody proposes them', async () => {
    const { testLog, operator, keyset } = world
    const bytes = await operator.build({
      type: 'createNamespace',
      name: 'apart',
      machine: 'kv',
      suite: 1,
      keyset,
      readPolicy: 2,
    })
    const signed = assembleKeyEvent(bytes, [operatorSignature(bytes, testLog.genesis.operator)])
    const event = await operator.propose(signed)
    expect(testLog.ledger.registry.namespace('apart')).toMatchObject({ readPolicy: 2 })
    expect(testLog.ledger.registry.head).toMatchObject({ number: event.number })
  })

  test('a reader that is left out of a rotation reads what was written before, and nothing after', async () => {
    const { testLog, operator, connect } = world
    const { cluster } = testLog.trustPolicy
    const [staying, leaving] = [new Keyring(), new Keyring()]
    const suite = suites.hpkeXwing
    const { keyset } = await operator.createKeyset({ suite, readers: [staying, leaving], readyMin: 2, label: 'two' })
    await operator.createNamespace({ name: 'two', machine: 'kv', suite, keyset })
    for (const keyring of [staying, leaving]) keyring.add(world.keyring.nameKey(cluster)!)
    const writer = await connect()
    await writer.kv('two').put('before', 1)
    await expect(operator.rotateKey({ keyset, readers: [staying], graceMs: 0 })).rejects.toMatchObject({
      code: 'ERR_REGISTRY_KEY_VERSION',
    })
    const left = await connect({ keyring: leaving })
    expect(await left.kv('two').get('before')).toMatchObject({ value: 1 })
    const other = await operator.createKeyset({ suite, readers: [staying, leaving] })
    await operator.createNamespace({ name: 'one', machine: 'kv', suite, keyset: other.keyset })
    expect(await operator.rotateKey({ keyset: other.keyset, readers: [staying], graceMs: 0 })).toMatchObject({
      keyEpoch: 2,
    })
    await writer.kv('one').put('after', 2)
    expect(await (await connect({ keyring: staying })).kv('one').get('after')).toMatchObject({ value: 2 })
    await expect(left.kv('one').get('after')).rejects.toMatchObject({ code: 'ERR_KEY_MISSING' })
  })

  test('a compromised version takes no more writes, and the next one does', async () => {
    const { operator, connect } = world
    const reader = new Keyring()
    const { keyset } = await operator.createKeyset({ suite: suites.hpkeXwing, readers: [reader] })
    await operator.createNamespace({ name: 'leaky', machine: 'log', suite: suites.hpkeXwing, keyset })
    const log = await connect()
    await log.log('leaky').append(1)
    await operator.compromiseKeyVersion(keyset, 1, 'found on a laptop')
    await expect(log.log('leaky').append(2)).rejects.toMatchObject({ code: 'ERR_POLICY_KEYSET' })
    await operator.rotateKey({ keyset, readers: [reader], graceMs: 0 })
    await log.view.refresh()
    await expect(log.log('leaky').append(3)).resolves.toMatchObject({ verdict: 'applied' })
  })

  test('secrets are kept before the event that names them is sent', async () => {
    const { operator, testLog } = world
    const order: string[] = []
    const save = () => {
      order.push(`saved after ${testLog.proposals(1).length} events`)
      return Promise.resolve()
    }
    testLog.calls.length = 0
    await operator.addClient({ grants: [], keyring: new Keyring([], { save }) })
    await operator.createKeyset({ suite: suites.elgamalBjj, readers: [new Keyring([], { save })] })
    expect(order).toEqual(['saved after 0 events', 'saved after 1 events'])
  })

  test('a cosigner set is replaced with proofs of possession of every answer key', async () => {
    const other = await TestLog.create()
    const operator = new Operator(await other.connect(), { signers: [other.genesis.operator] })
    const next = replicaKeysOf(9)
    await expect(operator.cosignerSet({ members: [next.member] })).rejects.toMatchObject({
      code: 'ERR_REGISTRY_POSSESSION',
    })
    await expect(
      operator.cosignerSet({ members: [next.member], answerPossession: () => new Uint8Array(64) }),
    ).rejects.toMatchObject({ code: 'ERR_REGISTRY_POSSESSION' })
  })
})

test('memberOf() names the same reader every time, and another one for every keyring', async () => {
  const keyring = new Keyring()
  const cluster = new Uint8Array(32).fill(1)
  const first = await memberOf(keyring, cluster, systemRandom)
  expect(await memberOf(keyring, cluster, systemRandom)).toEqual(first)
  expect((await memberOf(new Keyring(), cluster, systemRandom)).kemKey).not.toEqual(first.kemKey)
})

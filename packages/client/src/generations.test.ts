import { beforeEach, describe, expect, test } from 'vitest'
import { errorCode, CipherlogError } from '@cipherlog/core'
import { entryKinds, type TrustPolicy } from '@cipherlog/format'
import { openGroupStart } from '@cipherlog/registry'
import { type Dial } from './connection.ts'
import { inMemory, type ClientMemory } from './history.ts'
import { Operator } from './operator/operator.ts'
import { testWorld, type TestWorld } from './test-world.fixture.ts'
import { type TestLog } from './test-log.fixture.ts'

const failure = (promise: Promise<unknown>): Promise<CipherlogError> =>
  promise.then(
    () => Promise.reject(new Error('it succeeded')),
    (error: unknown) => {
      if (error instanceof CipherlogError) return error
      throw error
    },
  )

describe('a client of a restored cluster', () => {
  let world: TestWorld
  let memory: ClientMemory
  let restored: TestLog
  beforeEach(async () => {
    world = await testWorld()
    memory = inMemory()
    const log = await world.connect({ memory })
    await log.kv('orders').put('kept', 1)
    await log.close()
    restored = await world.testLog.restored()
  })
  const connect = (to: TestLog, trustPolicy: Partial<TrustPolicy> = {}) =>
    to.connect({ keyring: world.keyring, memory, trustPolicy: { ...to.trustPolicy, ...trustPolicy } })

  test('goes on in the new generation, reads what was written before, proven in the old tree, and writes', async () => {
    const log = await connect(restored)
    expect(log.origin).toBe(restored.ledger.origin)
    const before = await log.kv('orders').get('kept')
    expect(before).toMatchObject({ value: 1 })
    expect(before!.position.startsWith(`${world.testLog.ledger.origin}#`)).toBe(true)
    const done = await log.kv('orders').put('new', 2)
    expect(done.position.startsWith(`${log.origin}#`)).toBe(true)
    expect(await log.kv('orders').get('new')).toMatchObject({ value: 2, position: done.position })
    await log.kv('orders').put('kept', 3)
    expect(await log.kv('orders').get('kept')).toMatchObject({ value: 3 })
    expect((await done.receipt()).position).toBe(done.position)
    await log.close()
    // A session number that was used is never used again.
    const { highWaterMark } = restored.ledger.sessions(world.identity.client)
    expect(highWaterMark).toBeGreaterThan(world.testLog.ledger.sessions(world.identity.client).highWaterMark)
  })

  test('that saw more than the backup held notices, and gets the evidence; it goes on only when told to', async () => {
    const log = await world.connect({ memory })
    await log.kv('orders').put('lost', 9)
    await log.view.refresh()
    const { treeSize, checkpoint } = log.view.history.head!
    await log.close()
    const error = await failure(connect(restored))
    expect(error.code).toBe('ERR_POLICY_RESTORED')
    expect(error.details).toMatchObject({ knownSize: treeSize, knownCheckpoint: checkpoint, generation: 1 })
    expect(openGroupStart(error.details['groupStart'] as Uint8Array).start.end.treeSize).toBeLessThan(treeSize)
    const told = await connect(restored, { generation: 1 })
    expect(await told.kv('orders').get('lost')).toBeUndefined()
    await told.close()
  })

  test('never goes back to the generation that ended, whoever still serves it', async () => {
    await (await connect(restored)).close()
    const error = await failure(connect(world.testLog))
    expect(error).toMatchObject({ code: 'ERR_POLICY_GENERATION', details: { generation: 0, next: 1 } })
    // Somebody new, who was told of the restore, neither.
    const pinned = failure(
      world.testLog.connect({ trustPolicy: { ...world.testLog.trustPolicy, generation: 1 }, memory: inMemory() }),
    )
    expect(await pinned).toMatchObject({ code: 'ERR_POLICY_GENERATION', details: { generation: 0, least: 1 } })
  })

  test('that is connected during the restore must connect again', async () => {
    let serving = world.testLog
    // The addresses stay, what answers there does not.
    const dial: Dial = (endpoint, check) =>
      new Proxy(world.testLog.dial(endpoint, check), {
        get: (connection, name) =>
          Reflect.get(name === 'peerKey' ? connection : serving.dial(endpoint, check), name) as unknown,
      })
    const log = await world.connect({ memory, dial })
    await log.kv('orders').get('kept')
    serving = restored
    expect(await failure(log.view.refresh())).toMatchObject({
      code: 'ERR_POLICY_GENERATION',
      details: { generation: 1 },
    })
    expect(log.view.current.policy.generation).toBe(0)
    await log.close()
    await (await connect(restored)).close()
  })

  test('refuses a restore from a log that forked before its end', async () => {
    const fork = await world.testLog.fork()
    const forked = await fork.connect({ keyring: world.keyring })
    await forked.kv('orders').put('other', 1)
    await forked.close()
    const log = await world.connect({ memory })
    await log.kv('orders').put('mine', 1)
    await log.view.refresh()
    await log.close()
    // Same size, another root.
    expect(fork.size).toBe(world.testLog.size)
    expect(errorCode(await failure(connect(await fork.restored())))).toBe('ERR_VERIFY_SPLIT_VIEW')
  })
})

test('Operator.quarantine() sends what operators signed, and nothing that a checkpoint covers', async () => {
  const { testLog, connect } = await testWorld()
  const operator = new Operator(await connect(), { signers: [testLog.genesis.operator] })
  const digest = new Uint8Array(32).fill(7)
  expect(await failure(operator.quarantine({ index: 1, digest }))).toMatchObject({ code: 'ERR_QUARANTINE_LATE' })
  expect(testLog.proposals(entryKinds.quarantine)).toEqual([])
  const index = testLog.ledger.appliedIndex + 10
  const refused = await failure(operator.quarantine({ index, digest }))
  expect(refused.code).toBe('ERR_QUARANTINE_ENTRY')
  const [proposal] = testLog.proposals(entryKinds.quarantine)
  expect(testLog.ledger.openQuarantine(proposal!.signed)).toEqual({ index, digest })
})

import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { CipherlogError, systemRandom, toHex } from '@cipherlog/core'
import { sha256 } from '@cipherlog/crypto/hash'
import { verifyReceipt } from '@cipherlog/registry'
import { Keyring } from './keyring.ts'
import { testWorld, type TestWorld } from './test-world.fixture.ts'

/** One world for the tests of a group, without faults and calls of the test before. */
function sharedWorld(): () => TestWorld {
  let world: TestWorld
  beforeAll(async () => {
    world = await testWorld()
  })
  beforeEach(() => {
    world.testLog.calls.length = 0
    world.testLog.closeAtOnce = true
    world.testLog.intercept = (_call, next) => next()
  })
  return () => world
}

describe('kv', () => {
  const world = sharedWorld()

  test('get() gives what put() sealed, with its writer, its position and the proof that it was written', async () => {
    const { connect, testLog, identity } = world()
    const log = await connect()
    const done = await log.kv('orders').put('order-42', { total: 1999 })
    const read = await log.kv('orders').get('order-42')
    expect(read).toMatchObject({
      value: { total: 1999 },
      position: done.position,
      client: identity.client,
      newest: 'claimed',
      treeSize: testLog.size,
    })
    expect(done).toMatchObject({
      verdict: 'applied',
      duplicate: false,
      position: `${log.origin}#${done.leaf}.${done.command}`,
    })
  })

  test('get() gives nothing for a name that was deleted or never written', async () => {
    const { connect } = world()
    const log = await connect()
    await log.kv('orders').put('a', 1)
    await log.kv('orders').delete('a')
    expect(await log.kv('orders').get('a')).toBeUndefined()
    expect(await log.kv('orders').get('b')).toBeUndefined()
  })

  test('a receipt verifies offline from its bytes, the bundle and the trust policy alone', async () => {
    const { connect, testLog } = world()
    testLog.closeAtOnce = false
    const log = await connect()
    const done = await log.kv('orders').put('a', 1)
    const { bytes, bundle } = await done.receipt()
    const { trustPolicy } = testLog
    const verified = verifyReceipt({ receipt: bytes, trustPolicy, bundle, command: done.command })
    expect(verified).toMatchObject({ position: done.position, verdict: 0 })
  })

  test('no name and no value stands in anything that was sent', async () => {
    const { connect, testLog } = world()
    const log = await connect()
    await log.kv('orders').put('canary-name', 'canary-value')
    const sent = testLog
      .proposals(3)
      .map(({ signed, body }) => Buffer.from(signed).toString('latin1') + Buffer.from(body).toString('latin1'))
    expect(sent.length).toBeGreaterThan(0)
    expect(sent.join()).not.toMatch(/canary/)
  })

  test('what cannot be sealed is refused before anything is sent', async () => {
    const { connect, testLog } = world()
    const log = await connect()
    testLog.calls.length = 0
    await expect(log.kv('orders').put('', 1)).rejects.toThrow(RangeError)
    await expect(log.kv('orders').put('a'.repeat(1025), 1)).rejects.toThrow(RangeError)
    await expect(log.kv('orders').put('a', undefined as never)).rejects.toThrow(TypeError)
    await expect(log.kv('orders').put('a', { at: new Date() } as never)).rejects.toThrow(TypeError)
    expect(testLog.calls).toEqual([])
  })
})

describe('what the registry says stops a client before it sends', () => {
  const world = sharedWorld()

  test('another machine, no such namespace', async () => {
    const { connect, testLog } = world()
    const log = await connect()
    await expect(log.kv('audit').put('a', 1)).rejects.toMatchObject({ code: 'ERR_POLICY_NAMESPACE' })
    await expect(log.kv('nothing').put('a', 1)).rejects.toMatchObject({ code: 'ERR_POLICY_NAMESPACE' })
    expect(testLog.proposals(3)).toEqual([])
  })

  test('no grant for the operation, or for envelopes', async () => {
    const { connect, testLog, operator } = world()
    const keyring = new Keyring()
    keyring.addNameKey(testLog.trustPolicy.cluster, systemRandom)
    const writer = await operator.addClient({ grants: [{ namespaces: 'orders', operations: ['put'] }], keyring })
    const log = await connect({ keyring })
    await expect(log.log('audit').append(1)).rejects.toMatchObject({ code: 'ERR_POLICY_GRANT' })
    await expect(log.kv('orders').put('a', 1)).rejects.toMatchObject({
      code: 'ERR_POLICY_GRANT',
      details: { operation: 'envelope' },
    })
    await operator.setGrants(writer.client, [{ namespaces: 'orders', operations: ['put', 'envelope'] }])
    await expect(log.kv('orders').put('a', 1)).resolves.toMatchObject({ verdict: 'applied' })
  })

  test('a namespace that was created since the last proof is found', async () => {
    const { connect, operator, keyset } = world()
    const log = await connect()
    await operator.createNamespace({ name: 'later', machine: 'kv', suite: 1, keyset })
    await expect(log.kv('later').put('a', 1)).resolves.toMatchObject({ verdict: 'applied' })
  })

  test('a client that was never added, or under another key', async () => {
    const { connect, identity } = world()
    const stranger = await connect({ identity: { client: new Uint8Array(16).fill(9), secretKey: identity.secretKey } })
    await expect(stranger.log('audit').append(1)).rejects.toMatchObject({ code: 'ERR_POLICY_CLIENT' })
    const impostor = await connect({ identity: { client: identity.client, secretKey: new Uint8Array(32).fill(9) } })
    await expect(impostor.log('audit').append(1)).rejects.toMatchObject({ code: 'ERR_POLICY_CLIENT' })
  })

  test('without an identity a log can be read and not written', async () => {
    const { connect, testLog } = world()
    const log = await connect({ keyring: new Keyring() })
    await expect(log.log('audit').append(1)).rejects.toMatchObject({ code: 'ERR_IDENTITY_MISSING' })
    expect((await log.status()).proven.treeSize).toBe(testLog.size)
  })
})

describe('rejected commands', () => {
  test('a revoked client hears the verdict and where it stands, and then stops by itself', async () => {
    const { connect, operator, identity } = await testWorld()
    const log = await connect()
    await log.log('audit').append(1)
    await operator.revokeClient(identity.client, 'left')
    await expect(log.log('audit').append(2)).rejects.toMatchObject({
      name: 'RejectedError',
      code: 'ERR_REJECTED_REVOKED',
      verdict: 2,
      position: expect.stringMatching(/#\d+\.0$/),
    })
    await log.view.refresh()
    await expect(log.log('audit').append(3)).rejects.toMatchObject({ code: 'ERR_POLICY_REVOKED' })
  })

  test('after a rotation without grace a command is sealed anew once, under the new version, and applied', async () => {
    const { connect, operator, keyset, keyring, testLog } = await testWorld()
    const log = await connect()
    await log.kv('orders').put('a', 1)
    await operator.rotateKey({ keyset, readers: [keyring], graceMs: 0 })
    const before = testLog.proposals(3).length
    const done = await log.kv('orders').put('a', 2)
    expect(done.verdict).toBe('applied')
    expect(testLog.proposals(3).length - before).toBe(2)
    expect(await log.kv('orders').get('a')).toMatchObject({ value: 2, position: done.position })
  })

  test('a rotation in grace costs no rejection', async () => {
    const { connect, operator, keyset, keyring, testLog } = await testWorld()
    const log = await connect()
    await log.kv('orders').put('a', 1)
    await operator.rotateKey({ keyset, readers: [keyring], graceMs: 60_000 })
    const before = testLog.proposals(3).length
    await log.kv('orders').put('a', 2)
    expect(testLog.proposals(3).length - before).toBe(1)
  })

  test('an envelope that the log does not have is made anew once', async () => {
    const { connect, keyring, testLog, keyset } = await testWorld()
    const log = await connect()
    // Sealed by hand and never sent: its envelope is not on the log, but the next seal would name it.
    await log.lowLevel.sealPut('orders', 'a', 1)
    const done = await log.kv('orders').put('a', 2)
    expect(done.verdict).toBe('applied')
    expect(testLog.proposals(3)).toHaveLength(2)
    expect(keyring.of('contentKey', log.cluster)).toHaveLength(1)
    expect(keyring.of('contentKey', log.cluster)[0]).toMatchObject({ keyset, keyEpoch: 1 })
  })
})

describe('readers', () => {
  const world = sharedWorld()

  test('a reader without the writer’s keyring opens values by its wrap', async () => {
    const { connect, keyring, testLog } = world()
    await (await connect()).kv('orders').put('a', 'sealed')
    const { cluster } = testLog.trustPolicy
    const reader = new Keyring([...keyring.of('nameKey', cluster), ...keyring.of('keyVersion', cluster)])
    const log = await connect({ keyring: reader })
    expect(await log.kv('orders').get('a')).toMatchObject({ value: 'sealed' })
  })

  test('who holds no key of the keyset is told so', async () => {
    const { connect, keyring, testLog } = world()
    await (await connect()).kv('orders').put('a', 'sealed')
    const log = await connect({ keyring: new Keyring(keyring.of('nameKey', testLog.trustPolicy.cluster)) })
    await expect(log.kv('orders').get('a')).rejects.toMatchObject({ code: 'ERR_KEY_MISSING' })
    const blind = await connect({ keyring: new Keyring() })
    await expect(blind.kv('orders').get('a')).rejects.toMatchObject({ code: 'ERR_KEY_MISSING' })
  })

  test('a content key is reused by later processes of the same client, and by no other client', async () => {
    const { connect, testLog, keyring, operator } = world()
    await (await connect()).kv('orders').put('a', 1)
    const again = await connect()
    await again.kv('orders').put('b', 2)
    const other = await operator.addClient({ grants: [{ namespaces: '*', operations: ['put', 'envelope'] }] })
    const others = await connect({ identity: other })
    await others.kv('orders').put('c', 3)
    expect(keyring.of('contentKey', testLog.trustPolicy.cluster)).toHaveLength(2)
    expect(await again.kv('orders').get('c')).toMatchObject({ value: 3, client: other.client })
  })
})

describe('lying replicas', () => {
  const world = sharedWorld()

  test('another value, an older one, or one under another name is not handed out', async () => {
    const { connect, testLog } = world()
    const log = await connect()
    await log.kv('orders').put('a', 1)
    await log.kv('orders').put('b', 'of b')
    const old: { value?: unknown } = {}
    testLog.intercept = async ({ method }, next) => {
      const answer = await next()
      if (method === 'value') old.value ??= answer
      return method === 'value' ? old.value : answer
    }
    expect(await log.kv('orders').get('a')).toMatchObject({ value: 1 })
    // The answer for a, given for b: another command.
    await expect(log.kv('orders').get('b')).rejects.toMatchObject({ code: 'ERR_REPLICA_BEHIND' })
    const fresh = await connect()
    await expect(fresh.kv('orders').get('b')).rejects.toMatchObject({ code: 'ERR_VERIFY_VALUE' })
    await log.kv('orders').put('a', 2)
    await expect(log.kv('orders').get('a')).rejects.toMatchObject({ code: 'ERR_REPLICA_BEHIND' })
  })

  test.each([
    ['ciphertext', 'ERR_DECODE_BODY'],
    ['signed', 'ERR_VERIFY_LEAF'],
    ['record', 'ERR_VERIFY_INCLUSION'],
  ])('a flipped bit in the %s of a value is noticed', async (part, code) => {
    const { connect, testLog } = world()
    const log = await connect()
    await log.kv('orders').put('a', 1)
    testLog.intercept = async ({ method }, next) => {
      const answer = (await next()) as { value?: Record<string, Uint8Array> }
      if (method !== 'value') return answer
      const bytes = answer.value![part]!.slice()
      bytes[bytes.length - 1]! ^= 1
      return { ...answer, value: { ...answer.value, [part]: bytes } }
    }
    await expect(log.kv('orders').get('a')).rejects.toMatchObject({ code })
  })

  test('an envelope that is not the one asked for is not opened', async () => {
    const { connect, testLog, keyring } = world()
    await (await connect()).kv('orders').put('a', 1)
    const { cluster } = testLog.trustPolicy
    const reader = await connect({
      keyring: new Keyring([...keyring.of('nameKey', cluster), ...keyring.of('keyVersion', cluster)]),
    })
    testLog.intercept = async ({ method }, next) => {
      const answer = (await next()) as { fixed: Uint8Array }
      return method === 'envelope' ? { ...answer, fixed: sha256(answer.fixed) } : answer
    }
    await expect(reader.kv('orders').get('a')).rejects.toMatchObject({ code: 'ERR_VERIFY_ENVELOPE' })
  })

  test('one honest replica is enough', async () => {
    const { connect, testLog } = world()
    const log = await connect()
    await log.kv('orders').put('a', 1)
    const liar = testLog.endpoints[0]
    testLog.intercept = async ({ method, endpoint }, next) => {
      const answer = (await next()) as { value?: object }
      if (method !== 'value' || endpoint !== liar) return answer
      return { ...answer, value: { ...answer.value, ciphertext: new Uint8Array(64) } }
    }
    expect(await log.kv('orders').get('a')).toMatchObject({ value: 1 })
  })
})

describe('watch', () => {
  test('gives commands in order with values opened, past and future, without the envelopes', async () => {
    const { connect } = await testWorld()
    const log = await connect()
    await log.log('audit').append('one')
    await log.kv('orders').put('a', 1)
    const seen: unknown[] = []
    for await (const { namespace, op, name, value, verdictName } of log.watch()) {
      seen.push([namespace, op, name, value, verdictName])
      if (seen.length === 2) await log.log('audit').append('two')
      if (seen.length === 3) break
    }
    expect(seen).toEqual([
      ['audit', 'append', '', 'one', 'applied'],
      ['orders', 'put', 'a', 1, 'applied'],
      ['audit', 'append', '', 'two', 'applied'],
    ])
  })

  test('filters by namespace, begins at a leaf, says what it could not open, and proves an entry', async () => {
    const { connect, keyring, testLog } = await testWorld()
    const log = await connect()
    await log.log('audit').append('one')
    const { leaf, position } = await log.log('audit').append('two')
    await log.kv('orders').put('a', 1)
    const blind = await connect({ keyring: new Keyring(keyring.of('nameKey', testLog.trustPolicy.cluster)) })
    for await (const entry of blind.watch({ from: leaf, namespace: 'audit' })) {
      expect(entry).toMatchObject({ position, value: undefined, problem: 'ERR_KEY_MISSING' })
      expect((await entry.receipt()).position).toBe(position)
      break
    }
  })

  test('goes on with another replica when one is lost, and does not take leaves left out or altered', async () => {
    const { connect, testLog } = await testWorld()
    const log = await connect()
    await log.log('audit').append('one')
    await log.log('audit').append('two')
    let lost = 0
    let left = 0
    testLog.intercept = async ({ method, endpoint }, next) => {
      const answer = (await next()) as { leaf: number; signed: Uint8Array }
      if (method !== 'watched') return answer
      if (endpoint === testLog.endpoints[0] && answer.leaf === 3) {
        lost++
        throw new CipherlogError('ERR_UNAVAILABLE', 'The cable is cut.')
      }
      if (endpoint === testLog.endpoints[1] && answer.leaf === 5) {
        left++
        return { ...answer, leaf: 6 }
      }
      return answer
    }
    const values: unknown[] = []
    for await (const { value } of log.watch()) {
      values.push(value)
      if (values.length === 2) break
    }
    expect(values).toEqual(['one', 'two'])
    expect(lost).toBeGreaterThan(0)
    expect(left).toBeGreaterThan(0)
  })

  test('ends when its signal aborts', async () => {
    const { connect } = await testWorld()
    const log = await connect()
    const abort = new AbortController()
    setTimeout(() => abort.abort(), 20)
    for await (const entry of log.watch({ signal: abort.signal })) expect(entry).toBeUndefined()
  })
})

test('status() tells proven facts from what replicas say', async () => {
  const { connect, testLog } = await testWorld()
  const log = await connect()
  testLog.intercept = ({ method, endpoint }, next) =>
    method === 'status' && endpoint === testLog.endpoints[2]
      ? Promise.reject(new CipherlogError('ERR_UNAVAILABLE', 'x'))
      : next()
  const status = await log.status()
  expect(status).toMatchObject({ origin: testLog.ledger.origin, proven: { treeSize: testLog.size } })
  expect(toHex(status.proven.rootHash)).toMatch(/^[0-9a-f]{64}$/)
  expect(status.replicas.map(({ status: said }) => said?.role)).toEqual(['leader', 'follower', undefined])
})

test('close() rejects what was not sent, and everything after', async () => {
  const { connect } = await testWorld()
  const log = await connect()
  await log.close()
  await expect(log.log('audit').append(1)).rejects.toMatchObject({ code: 'ERR_CLOSED' })
})

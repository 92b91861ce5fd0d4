import { describe, expect, test } from 'vitest'
import { type CipherlogError } from '@cipherlog/core'
import { flipped, anyBytes } from './test-bytes.fixture.ts'
import { Keyring } from './keyring.ts'
import { inMemory } from './history.ts'
import { TestClock, TestLog } from './test-log.fixture.ts'
import { testWorld } from './test-world.fixture.ts'

describe('connecting', () => {
  test('another cluster than the pinned one is left alone', async () => {
    const [ours, theirs] = [await TestLog.create(), await TestLog.create()]
    const error = ours.connect({ dial: (_address, check) => theirs.dial(theirs.endpoints[0]!, check) })
    await expect(error).rejects.toMatchObject({ code: 'ERR_POLICY_GENESIS' })
  })

  test('a checkpoint that no quorum has cosigned lately proves nothing', async () => {
    const log = await TestLog.create()
    const late = new TestClock()
    late.time += 62_000
    await expect(log.connect({ clock: late })).rejects.toMatchObject({
      code: 'ERR_KEY_UNPROVEN',
      details: { reason: 'stale' },
    })
    await expect(log.connect({ clock: late, registryMaxAgeMs: 120_000 })).resolves.toBeDefined()
  })

  test.each(['lastLeaf', 'policyChain'] as const)('a flipped bit in the %s is noticed', async (part) => {
    const log = await TestLog.create()
    log.intercept = async ({ method }, next) => {
      const answer = (await next()) as Record<string, Uint8Array>
      return method === 'checkpoint' ? { ...answer, [part]: flipped(answer[part]!) } : answer
    }
    await expect(log.connect()).rejects.toMatchObject({ code: expect.stringMatching(/^ERR_(KEY_UNPROVEN|DECODE_)/) })
  })

  test('events held back, or added by nobody, are noticed', async () => {
    const { testLog } = await testWorld()
    testLog.intercept = async ({ method }, next) => {
      const answer = (await next()) as Uint8Array[]
      return method === 'keyEvents' ? answer.slice(0, 3) : answer
    }
    await expect(testLog.connect()).resolves.toBeDefined()
    testLog.intercept = async ({ method, args }, next) => {
      const answer = (await next()) as Uint8Array[]
      return method === 'keyEvents' && (args[0] as number) > 2 ? [] : (answer.slice?.(0, 3) ?? answer)
    }
    await expect(testLog.connect()).rejects.toMatchObject({ details: { reason: 'shortened' } })
    testLog.intercept = async ({ method }, next) => {
      const answer = (await next()) as Uint8Array[]
      return method === 'keyEvents' ? answer.map((event, i) => (i === 2 ? flipped(event) : event)) : answer
    }
    await expect(testLog.connect()).rejects.toMatchObject({ code: 'ERR_KEY_UNPROVEN', details: { reason: 'events' } })
  })

  test('options that make no sense are refused before anything is dialled', async () => {
    const log = await TestLog.create()
    await expect(log.connect({ endpoints: [] })).rejects.toThrow(TypeError)
    await expect(log.connect({ endpoints: ['http://plain.test'] })).rejects.toThrow(TypeError)
    await expect(log.connect({ endpoints: ['https://user:secret@a.test'] })).rejects.toThrow(TypeError)
    await expect(log.connect({ registryMaxAgeMs: 0 })).rejects.toThrow(RangeError)
    const identity = { client: new Uint8Array(3), secretKey: new Uint8Array(32) }
    await expect(log.connect({ identity })).rejects.toThrow(RangeError)
    expect(log.calls).toEqual([])
  })
})

describe('never back', () => {
  test('a registry is proven anew once it is older than registryMaxAgeMs, and not before', async () => {
    const { testLog, connect } = await testWorld()
    const log = await connect()
    await log.log('audit').append(1)
    testLog.calls.length = 0
    testLog.clock.time += 50_000
    await log.log('audit').append(2)
    expect(testLog.calls.filter(({ method }) => method === 'checkpoint')).toEqual([])
    testLog.clock.time += 20_000
    await log.log('audit').append(3)
    expect(testLog.calls.filter(({ method }) => method === 'checkpoint')).toHaveLength(1)
  })

  test('a log that grew is shown to extend what was seen, over tile boundaries', async () => {
    const { testLog, connect } = await testWorld()
    const memory = inMemory()
    const log = await connect({ memory })
    for (let i = 0; i < 150; i++) await log.log('audit').append(i)
    expect(testLog.size).toBeGreaterThan(300)
    testLog.calls.length = 0
    await log.view.refresh()
    expect(testLog.calls.some(({ method }) => method === 'tile')).toBe(true)
    const again = await connect({ memory })
    expect(again.view.history.head!.treeSize).toBe(testLog.size)
  })

  test('a log that was rolled back is noticed by a client that remembers, with both checkpoints', async () => {
    const memory = inMemory()
    const { testLog, connect } = await testWorld()
    const before = await testLog.fork()
    const log = await connect({ memory })
    await log.log('audit').append('lost')
    await log.view.refresh()
    await expect(before.connect({ memory })).rejects.toMatchObject({
      code: 'ERR_POLICY_ROLLED_BACK',
      details: { note: before.note(), knownNote: testLog.note() },
    })
  })

  test.each([
    ['of the same size', 1, 'ERR_VERIFY_SPLIT_VIEW'],
    ['that is larger', 2, 'ERR_VERIFY_CONSISTENCY'],
  ])('a fork %s under the same keys is noticed, with both checkpoints as evidence', async (_what, count, code) => {
    const memory = inMemory()
    const { testLog, connect, keyring } = await testWorld()
    const fork = await testLog.fork()
    const log = await connect({ memory })
    await log.log('audit').append('ours')
    await log.view.refresh()
    const entries = keyring.entries.filter(({ type }) => type !== 'contentKey')
    const forked = await fork.connect({ keyring: new Keyring(entries) })
    for (let i = 0; i < count; i++) await forked.log('audit').append('theirs')
    const error = await fork.connect({ memory }).catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code })
    const evidence = JSON.stringify((error as CipherlogError).details)
    expect(evidence).toContain(JSON.stringify(fork.note()).slice(1, -1))
  })

  test('one replica that lags or lies about tiles does not stop a client', async () => {
    const { testLog, connect } = await testWorld()
    const log = await connect()
    const old = testLog.note()
    await log.log('audit').append(1)
    await log.view.refresh()
    await log.log('audit').append(2)
    let lagged = 0
    testLog.intercept = async ({ method, endpoint }, next) => {
      const answer = await next()
      if (endpoint !== testLog.endpoints[0]) return answer
      if (method === 'tile') return flipped(answer as Uint8Array)
      if (method === 'checkpoint' && lagged++ === 0) return { ...(answer as object), checkpoint: old }
      return answer
    }
    await log.view.refresh()
    expect(log.view.current.checkpoint.size).toBe(testLog.size)
    expect(lagged).toBeGreaterThan(0)
  })

  test('the trust policy’s starting checkpoint is held to from the first connection on', async () => {
    const { testLog } = await testWorld()
    const { history } = (await testLog.connect()).view
    const { treeSize, rootHash } = history.head!
    const start = { treeSize, rootHash }
    await expect(testLog.connect({ trustPolicy: { ...testLog.trustPolicy, start } })).resolves.toBeDefined()
    const other = { treeSize: treeSize - 2, rootHash: anyBytes(32) }
    await expect(testLog.connect({ trustPolicy: { ...testLog.trustPolicy, start: other } })).rejects.toMatchObject({
      code: 'ERR_VERIFY_CONSISTENCY',
    })
  })
})

import { describe, expect, test } from 'vitest'
import {
  CipherlogError,
  DecodeError,
  NotLeaderError,
  PolicyError,
  RefusedError,
  systemClock,
  systemRandom,
  VerificationError,
} from '@cipherlog/core'
import { type Connection } from './connection.ts'
import { Replicas } from './replicas.ts'
import { TestLog } from './test-log.fixture.ts'

const testLog = await TestLog.create()
const [first, second, third] = testLog.endpoints as [string, string, string]
const replicasOf = (endpoints: readonly string[] = testLog.endpoints, readMsMax = 300) =>
  new Replicas({ endpoints, dial: testLog.dial, clock: systemClock, random: systemRandom, readMsMax })

/** Asks, failing as told at each endpoint in turn; gives back who was asked. */
async function ask(replicas: Replicas, errors: readonly unknown[]): Promise<string[]> {
  const asked: string[] = []
  await replicas.read(() => {
    const error = errors[asked.length]
    asked.push(replicas.preferred)
    return error === undefined ? Promise.resolve() : Promise.reject(error as Error)
  })
  return asked
}

describe('read()', () => {
  test('stays with a replica that answers', async () => {
    const replicas = replicasOf()
    expect(await ask(replicas, [])).toEqual([first])
    expect(await ask(replicas, [])).toEqual([first])
  })

  test.each([
    ['cannot be reached', new CipherlogError('ERR_UNAVAILABLE', 'x')],
    ['is behind', new CipherlogError('ERR_REPLICA_BEHIND', 'x')],
    ['shows a foreign key', new PolicyError('ERR_POLICY_ENDPOINT', 'x')],
    ['has not applied what is asked for', new CipherlogError('ERR_NOT_FOUND', 'x')],
    ['hands out what does not decode', new DecodeError('ERR_DECODE_VALUE', 'x')],
    ['hands out what does not verify', new VerificationError('ERR_VERIFY_INCLUSION', 'x')],
  ])('leaves a replica that %s for the next', async (_what, error) => {
    expect(await ask(replicasOf(), [error])).toEqual([first, second])
  })

  test('follows the hint of a replica that does not lead, to one it was not told of too', async () => {
    testLog.leader = 2
    const leaderId = testLog.ledger.registry.cosignerSets[0]!.set.members[2]!.peerId
    const replicas = replicasOf([first])
    expect(await ask(replicas, [new NotLeaderError(Buffer.from(leaderId).toString('hex'))])).toEqual([first, third])
    expect(replicas.addresses).toEqual([first, third])
    testLog.leader = 0
  })

  test.each(['http://plain.test', 'https://a.test/path', 'https://me@a.test', 'file:///etc/passwd', ''])(
    'does not follow a hint to %j',
    async (apiAddress) => {
      const replicas = replicasOf([first])
      testLog.intercept = async ({ method }, next) => {
        const answer = (await next()) as { peers: object[] }
        return method === 'status'
          ? { ...answer, peers: answer.peers.map((peer) => ({ ...peer, apiAddress })) }
          : answer
      }
      const leaderId = Buffer.from(testLog.genesis.keys[1]!.peerId).toString('hex')
      await replicas.follow(leaderId, first)
      testLog.intercept = (_call, next) => next()
      expect(replicas.addresses).toEqual([first])
    },
  )

  test('what does not verify anywhere is thrown once every replica had its turn', async () => {
    let asked = 0
    const forged = () => {
      asked++
      return Promise.reject(new VerificationError('ERR_VERIFY_INCLUSION', 'x'))
    }
    await expect(replicasOf().read(forged)).rejects.toMatchObject({ code: 'ERR_VERIFY_INCLUSION' })
    expect(asked).toBe(3)
  })

  test.each([
    ['a refusal', new RefusedError('ERR_SIGNATURE', 'x')],
    ['a fork', new VerificationError('ERR_VERIFY_SPLIT_VIEW', 'x')],
    ['a fault of our own', new TypeError('x')],
  ])('%s is thrown at once', async (_what, error) => {
    let asked = 0
    const fail = () => {
      asked++
      return Promise.reject(error)
    }
    await expect(replicasOf().read(fail)).rejects.toBe(error)
    expect(asked).toBe(1)
  })

  test('gives up after readMsMax with the last error', async () => {
    const started = performance.now()
    const fail = () => Promise.reject(new CipherlogError('ERR_UNAVAILABLE', 'down'))
    await expect(replicasOf(undefined, 100).read(fail)).rejects.toMatchObject({ code: 'ERR_UNAVAILABLE' })
    expect(performance.now() - started).toBeLessThan(2_000)
  })
})

describe('pin()', () => {
  test('closes connections to other keys and goes on with the rest', () => {
    const closed: string[] = []
    const replicas = new Replicas({
      endpoints: testLog.endpoints,
      dial: (address, check) => ({ ...testLog.dial(address, check), close: () => closed.push(address) }) as Connection,
      clock: systemClock,
      random: systemRandom,
      readMsMax: 100,
    })
    for (const address of testLog.endpoints) replicas.connection(address)
    replicas.pin([replicas.connection(second).peerKey!, replicas.connection(third).peerKey!])
    expect(closed).toEqual([first])
    expect(replicas.preferred).toBe(second)
  })
})

test('backoff() does what the replica asks for, within bounds, and else grows with each round', () => {
  const replicas = replicasOf()
  const busy = (retryAfterMs: number) => new RefusedError('ERR_BUSY', 'x', { details: { retryAfterMs } })
  expect(replicas.backoff(0, busy(70))).toBe(70)
  expect(replicas.backoff(0, busy(1e9))).toBe(1_000)
  expect(replicas.backoff(0)).toBeLessThanOrEqual(25)
  expect(replicas.backoff(300)).toBeGreaterThanOrEqual(500)
  expect(replicas.backoff(300)).toBeLessThanOrEqual(1_000)
})

test('close() ends everything', () => {
  const replicas = replicasOf()
  replicas.close()
  expect(() => replicas.connection()).toThrow(expect.objectContaining({ code: 'ERR_CLOSED' }))
})

import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import { CipherlogError, decode, encode, ProposalOutcomeUnknownError, RefusedError } from '@cipherlog/core'
import {
  commandBundle,
  sessionOpening,
  signedApplied,
  signedCommandBundle,
  signedSessionOpening,
} from '@cipherlog/format'
import { type Cipherlog } from './cipherlog.ts'
import { type Proposal } from './connection.ts'
import { type Intercept } from './test-log.fixture.ts'
import { testWorld, type TestWorld } from './test-world.fixture.ts'

let world: TestWorld
beforeAll(async () => {
  world = await testWorld()
})
const pass: Intercept = (_call, next) => next()
let log: Cipherlog
const connect = async (): Promise<Cipherlog> => {
  log = await world.connect()
  await log.log('audit').append('first')
  world.testLog.calls.length = 0
  return log
}
afterEach(async () => {
  world.testLog.intercept = pass
  world.testLog.leader = 0
  await log.close()
})

const bundleOf = ({ signed }: Proposal) => decode(commandBundle, decode(signedCommandBundle, signed)[0])
const openingOf = ({ signed }: Proposal) => decode(sessionOpening, decode(signedSessionOpening, signed)[0])
/** Runs `act` on the first bundle that comes along, whatever replica it is for. */
const onFirstBundle =
  (act: (next: () => Promise<unknown>) => Promise<unknown>): Intercept =>
  (call, next) => {
    const isBundle = call.method === 'propose' && (call.args[0] as Proposal).kind === 3
    if (!isBundle) return next()
    world.testLog.intercept = pass
    return act(next)
  }

describe('bundles', () => {
  test('the first command goes at once, what comes meanwhile goes together, in order', async () => {
    const { testLog } = world
    await connect()
    const all = await Promise.all([1, 2, 3, 4, 5].map((n) => log.log('audit').append(n)))
    expect(testLog.proposals(3).map((proposal) => bundleOf(proposal).heads.length)).toEqual([1, 4])
    expect(all.map(({ command }) => command)).toEqual([0, 0, 1, 2, 3])
    expect(testLog.proposals(3).map((proposal) => bundleOf(proposal).firstSequence)).toEqual([3, 4])
  })

  test('a bundle takes 256 commands and no more', async () => {
    const { testLog } = world
    await connect()
    await Promise.all(Array.from({ length: 300 }, (_, n) => log.log('audit').append(n)))
    expect(testLog.proposals(3).map((proposal) => bundleOf(proposal).heads.length)).toEqual([1, 256, 43])
  })

  test('a bundle takes bodies up to the cluster’s limit and no more', async () => {
    const { testLog } = world
    await connect()
    const large = new Uint8Array(3_000_000)
    await Promise.all([1, 2, 3, 4].map(() => log.log('audit').append(large)))
    expect(testLog.proposals(3).map((proposal) => bundleOf(proposal).heads.length)).toEqual([1, 2, 1])
    await expect(log.log('audit').append(new Uint8Array(8_388_608))).rejects.toThrow(RangeError)
  })

  test('the next bundle is on its way before the last one’s promises resolve', async () => {
    const { testLog } = world
    await connect()
    const sentWhenResolved: number[] = []
    const appends = [1, 2, 3].map((n) =>
      log
        .log('audit')
        .append(n)
        .then(() => sentWhenResolved.push(testLog.proposals(3).length)),
    )
    await Promise.all(appends)
    expect(sentWhenResolved[0]).toBe(2)
  })

  test('a refusal that names a command is that command’s alone', async () => {
    await connect()
    const first = log.log('audit').append(0)
    const others = [1, 2, 3].map((n) => log.log('audit').append(n))
    let seen = 0
    world.testLog.intercept = (call, next) => {
      const { kind } = call.args[0] as Proposal
      if (call.method === 'propose' && kind === 3 && bundleOf(call.args[0] as Proposal).heads.length === 3) {
        seen++
        return Promise.reject(new RefusedError('ERR_PROOF', 'The proof does not hold.', { details: { command: '1' } }))
      }
      return next()
    }
    await first
    const outcomes = await Promise.allSettled(others)
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    expect(seen).toBe(1)
  })
})

describe('exactly once', () => {
  test('an answer that was lost is asked for with the same bytes, and the command stands once', async () => {
    const { testLog } = world
    await connect()
    const size = testLog.size
    testLog.intercept = onFirstBundle(async (next) => {
      await next()
      throw new ProposalOutcomeUnknownError()
    })
    const done = await log.log('audit').append('once')
    expect(done.duplicate).toBe(true)
    const [first, second] = testLog.proposals(3)
    expect(second!.signed).toEqual(first!.signed)
    expect(testLog.size).toBe(size + 2)
  })

  test.each([
    ['the connection breaks before it is sent', new CipherlogError('ERR_UNAVAILABLE', 'gone')],
    ['the leader is busy', new RefusedError('ERR_BUSY', 'busy', { details: { retryAfterMs: 1 } })],
    ['the replica has not seen the registry yet', new CipherlogError('ERR_REGISTRY_AHEAD', 'behind')],
    ['the replica fails inside', new CipherlogError('ERR_INTERNAL', 'fault')],
  ])('the same bytes are sent again when %s', async (_what, error) => {
    const { testLog } = world
    await connect()
    testLog.intercept = onFirstBundle(() => Promise.reject(error))
    await log.log('audit').append(1)
    const signed = testLog.proposals(3).map((proposal) => Buffer.from(proposal.signed).toString('hex'))
    expect(new Set(signed).size).toBe(1)
    expect(signed.length).toBeGreaterThan(1)
  })

  test('the leader is found by the hint of a replica that is none', async () => {
    const { testLog } = world
    await connect()
    testLog.leader = 2
    await log.log('audit').append(1)
    const sent = testLog.calls.filter(({ method }) => method === 'propose').map(({ endpoint }) => endpoint)
    expect(sent).toEqual([testLog.endpoints[0], testLog.endpoints[2]])
  })

  test('at the deadline the outcome of what may have been appended is unknown', async () => {
    log = await world.connect({ proposeMsMax: 100 })
    await log.log('audit').append('first')
    world.testLog.intercept = (call, next) =>
      call.method === 'propose' ? Promise.reject(new ProposalOutcomeUnknownError()) : next()
    await expect(log.log('audit').append(1)).rejects.toMatchObject({ code: 'ERR_OUTCOME_UNKNOWN' })
    world.testLog.intercept = pass
    // The next command goes under a session of its own: the old one may have used its sequence.
    await expect(log.log('audit').append(2)).resolves.toMatchObject({ verdict: 'applied' })
  })

  test('at the deadline what was never sent says so', async () => {
    log = await world.connect({ proposeMsMax: 100 })
    world.testLog.intercept = (call, next) =>
      call.method === 'propose' ? Promise.reject(new CipherlogError('ERR_UNAVAILABLE', 'down')) : next()
    await expect(log.log('audit').append(1)).rejects.toMatchObject({ code: 'ERR_UNAVAILABLE' })
  })

  test('a refusal after an unknown outcome says nothing of it', async () => {
    await connect()
    let sent = 0
    world.testLog.intercept = (call, next) => {
      if (call.method !== 'propose') return next()
      sent++
      return Promise.reject(
        sent === 1 ? new ProposalOutcomeUnknownError() : new RefusedError('ERR_SESSION_EXPIRED', 'no longer open'),
      )
    }
    await expect(log.log('audit').append(1)).rejects.toMatchObject({ code: 'ERR_OUTCOME_UNKNOWN' })
    expect(sent).toBe(2)
  })
})

describe('sessions', () => {
  test('an evicted session is replaced, and commands that were refused for it go under the new one', async () => {
    const { testLog } = world
    await connect()
    testLog.intercept = onFirstBundle(() => Promise.reject(new RefusedError('ERR_SESSION_EXPIRED', 'evicted')))
    const done = await log.log('audit').append('again')
    expect(done.verdict).toBe('applied')
    const [opening] = testLog.proposals(2).map(openingOf)
    const bundles = testLog.proposals(3).map(bundleOf)
    expect(bundles[1]).toMatchObject({ session: opening!.number, firstSequence: 1 })
    expect(opening!.number).toBeGreaterThan(bundles[0]!.session)
  })

  test('a number that another process took is not used again', async () => {
    const { testLog } = world
    const two = await Promise.all([world.connect(), world.connect()])
    await Promise.all(two.map((each) => each.log('audit').append(1)))
    const numbers = testLog.proposals(2).map((proposal) => openingOf(proposal).number)
    expect(new Set(numbers).size).toBeGreaterThanOrEqual(2)
    log = two[0]
    await two[1].close()
  })

  test('an opening names the newest checkpoint that was verified', async () => {
    const { testLog } = world
    log = await world.connect()
    const { treeSize, rootHash } = log.view.history.head!
    await log.log('audit').append(1)
    expect(openingOf(testLog.proposals(2).at(-1)!).seen).toEqual({ treeSize, rootHash })
  })

  test('a replica cannot use up the numbers by naming a huge one', async () => {
    log = await world.connect()
    world.testLog.intercept = async (call, next) => (call.method === 'session' ? { highWaterMark: 2 ** 52 } : next())
    await expect(log.log('audit').append(1)).rejects.toMatchObject({ code: 'ERR_POLICY_SESSION_NUMBER' })
  })
})

describe('answers', () => {
  const corrupt: readonly [string, (answer: { applied: Uint8Array; duplicate: boolean }) => object][] = [
    ['bad bytes', (answer) => ({ ...answer, applied: new Uint8Array(3) })],
    [
      'a signature by nobody of the cosigner set',
      (answer) => {
        const [statement, signature] = decode(signedApplied, answer.applied)
        return { ...answer, applied: encode(signedApplied, [statement, signature.slice().reverse()]) }
      },
    ],
  ]
  test.each(corrupt)('%s are not believed; the same bytes go to another replica', async (_what, change) => {
    const { testLog } = world
    await connect()
    testLog.intercept = onFirstBundle(async (next) =>
      change((await next()) as { applied: Uint8Array; duplicate: boolean }),
    )
    const done = await log.log('audit').append(1)
    expect(done).toMatchObject({ verdict: 'applied', duplicate: true })
  })

  test('an answer about other bytes is not believed', async () => {
    const { testLog } = world
    await connect()
    let earlier: unknown
    testLog.intercept = onFirstBundle(async (next) => (earlier = await next()))
    await log.log('audit').append(1)
    testLog.intercept = onFirstBundle(async (next) => {
      await next()
      return earlier
    })
    expect(await log.log('audit').append(2)).toMatchObject({ duplicate: true })
  })

  test('if no replica gives an answer that checks out, none is believed', async () => {
    log = await world.connect({ proposeMsMax: 100 })
    world.testLog.intercept = async (call, next) => {
      const answer = (await next()) as object
      return call.method === 'propose' ? { ...answer, applied: new Uint8Array(3) } : answer
    }
    await expect(log.log('audit').append(1)).rejects.toMatchObject({ code: 'ERR_VERIFY_APPLIED' })
  })
})

describe('low level', () => {
  test('a bundle is sealed without being sent, and the same bytes get the first answer', async () => {
    const { testLog } = world
    await connect()
    const bundle = await log.lowLevel.sealBundle(await log.lowLevel.sealAppend('audit', 'by hand'))
    expect(testLog.proposals(3)).toEqual([])
    const first = await log.lowLevel.proposeBundle(bundle)
    const second = await log.lowLevel.proposeBundle(bundle)
    expect(first).toMatchObject({ verdictNames: ['applied'], duplicate: false })
    expect(second).toMatchObject({ leaf: first.leaf, verdictNames: ['applied'], duplicate: true })
    const next = await log.lowLevel.sealBundle(await log.lowLevel.sealAppend('audit', 'next'))
    expect(await log.lowLevel.proposeBundle(next)).toMatchObject({ verdictNames: ['applied'], duplicate: false })
  })

  test('another body than its head names is refused', async () => {
    await connect()
    const [command] = await log.lowLevel.sealAppend('audit', 'by hand')
    const other = { ...command!, bodies: { ciphertext: command!.bodies.ciphertext!.slice().fill(7) } }
    const bundle = await log.lowLevel.sealBundle([other])
    await expect(log.lowLevel.proposeBundle(bundle)).rejects.toMatchObject({ code: 'ERR_BODY_DIGEST' })
    const altered = await log.lowLevel.sealBundle([log.lowLevel.replaceBodies(command!, other.bodies)])
    expect((await log.lowLevel.proposeBundle(altered)).verdictNames).toEqual(['applied'])
  })

  test('an atomic bundle is applied whole or not at all', async () => {
    await connect()
    const [good] = await log.lowLevel.sealAppend('audit', 'good')
    const bad = { head: { ...good!.head, op: 'put' }, bodies: good!.bodies }
    const bundle = await log.lowLevel.sealBundle([good!, bad], { atomic: true })
    expect((await log.lowLevel.proposeBundle(bundle)).verdictNames).toEqual(['atomic', 'command'])
  })
})

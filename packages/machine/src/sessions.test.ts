import { describe, expect, test } from 'vitest'
import { createdAt, opaque, TestCluster, Writer } from './cluster.fixture.ts'
import { contentsOf, LedgerDriver, type Outcome } from './ledger-driver.fixture.ts'
import { type Proposal } from './entry.ts'

const cluster = await TestCluster.build()

async function started() {
  const driver = await LedgerDriver.start(cluster)
  const alice = new Writer(cluster)
  return { driver, alice }
}

const codeOf = (outcome: Outcome): string => (outcome.outcome === 'refused' ? outcome.error.code : outcome.outcome)

/** The answer to a proposal that is on the log already; asserts that it left nothing behind. */
async function duplicateOf(driver: LedgerDriver, proposal: Proposal) {
  const [before, size] = [await contentsOf(driver.state), driver.ledger.treeSize]
  const outcome = await driver.commit(proposal)
  expect(outcome.outcome).toBe('duplicate')
  expect(driver.ledger.treeSize).toBe(size)
  expect(await contentsOf(driver.state)).toBe(before)
  return outcome.outcome === 'duplicate' ? outcome.answer : undefined
}

describe('a session', () => {
  test('begins with its opening as sequence 0 and goes on at 1, bundle by bundle', async () => {
    const { driver, alice } = await started()
    await driver.apply(alice.open())
    const envelope = alice.envelope()
    await driver.apply(alice.bundle([envelope]))
    expect(alice.nextSequence).toBe(2)
    const three = alice.bundle(['a', 'b', 'c'].map((name) => alice.put(name, envelope.id)))
    await driver.apply(three)
    expect(driver.ledger.sessions(alice.id)).toEqual({ highWaterMark: 1, open: [{ number: 1, lastSequence: 4 }] })
  })

  test('answers the same bytes with the first answer and no leaf, for a bundle and for an opening', async () => {
    const { driver, alice } = await started()
    const opening = alice.open()
    const first = await driver.commit(opening)
    const openingAnswer = await duplicateOf(driver, opening)
    expect(openingAnswer).toMatchObject({ verdicts: [0] })
    expect(first).toMatchObject({ leaf: { leafIndex: openingAnswer!.leaf, digest: openingAnswer!.digest } })

    const bundle = alice.bundle([alice.put('a', opaque('no envelope', 32)), alice.add('total')])
    const applied = await driver.commit(bundle)
    const answer = await duplicateOf(driver, bundle)
    expect(answer).toMatchObject({ verdicts: [5, 0] })
    expect(applied).toMatchObject({ leaf: { leafIndex: answer!.leaf, digest: answer!.digest } })

    // Across batches and a restart too; the key is the bytes, not the place in the log.
    await driver.mark()
    await driver.reopen()
    driver.now += 86_400_000
    expect(await duplicateOf(driver, bundle)).toEqual(answer)
  })

  test('uses up the sequences of a rejected bundle', async () => {
    const { driver, alice } = await started()
    await driver.apply(alice.open())
    const rejected = alice.bundle([alice.put('a', undefined), alice.put('b', undefined)])
    expect(await driver.apply(rejected)).toEqual([64, 64])
    expect(codeOf(await driver.commit(alice.bundle([alice.add('total')], { firstSequence: 1 })))).toBe(
      'ERR_SEQUENCE_CONFLICT',
    )
    expect(await driver.apply(alice.bundle([alice.add('total')], { firstSequence: 3 }))).toEqual([0])
  })

  test('refuses a gap, a conflict and what lies before its last bundle, also in the middle of one', async () => {
    const { driver, alice } = await started()
    await driver.apply(alice.open())
    await driver.apply(alice.bundle([alice.add('x')]))
    await driver.apply(alice.bundle([alice.add('x'), alice.add('x'), alice.add('x')]))
    const at = async (firstSequence: number) =>
      codeOf(await driver.commit(alice.bundle([alice.add('y')], { firstSequence })))
    expect(await at(1)).toBe('ERR_SEQUENCE_PAST')
    expect(await at(2)).toBe('ERR_SEQUENCE_CONFLICT')
    expect(await at(3)).toBe('ERR_SEQUENCE_PAST')
    expect(await at(4)).toBe('ERR_SEQUENCE_PAST')
    expect(await at(6)).toBe('ERR_SEQUENCE_GAP')
    expect(await at(Number.MAX_SAFE_INTEGER)).toBe('ERR_SEQUENCE_GAP')
    expect(await at(5)).toBe('applied')
  })

  test('refuses a bundle before the last one even if its bytes are those that were applied then', async () => {
    const { driver, alice } = await started()
    await driver.apply(alice.open())
    const first = alice.bundle([alice.add('x')])
    await driver.apply(first)
    await driver.apply(alice.bundle([alice.add('x')]))
    expect(codeOf(await driver.commit(first))).toBe('ERR_SEQUENCE_PAST')
  })

  test('is one of a client: another client’s bundle cannot go on with it', async () => {
    const { driver, alice } = await started()
    await driver.apply(alice.open())
    const bob = new Writer(cluster, 'bob')
    bob.session = 1
    expect(codeOf(await driver.commit(bob.bundle([bob.add('x')])))).toBe('ERR_SESSION_UNKNOWN')
  })
})

describe('an opening', () => {
  test('takes any number above the high-water mark and none at or below it', async () => {
    const { driver, alice } = await started()
    expect(await driver.apply(alice.open({ number: 5 }))).toEqual([0])
    expect(await driver.apply(alice.open({ number: 1000 }))).toEqual([0])
    expect(codeOf(await driver.commit(alice.open({ number: 6 })))).toBe('ERR_SESSION_EXPIRED')
    expect(await driver.apply(alice.open({ number: 1001 }))).toEqual([0])
    expect(driver.ledger.sessions(alice.id).highWaterMark).toBe(1001)
  })

  test('of a number that other bytes have opened is used up, and the first opening itself once a bundle has followed', async () => {
    const { driver, alice } = await started()
    const opening = alice.open()
    await driver.apply(opening)
    const other = new Writer(cluster).open({ notAfter: createdAt + 1 })
    const used = { error: { code: 'ERR_SESSION_EXPIRED', details: { session: 1, highWaterMark: 1 } } }
    expect(await driver.commit(other)).toMatchObject(used)
    await driver.apply(alice.bundle([alice.add('x')]))
    expect(await driver.commit(other)).toMatchObject(used)
    expect(await driver.commit(opening)).toMatchObject(used)
  })

  test('that was rejected opened nothing: sent again it has expired, and its session takes no bundle', async () => {
    const { driver, alice } = await started()
    const rejected = alice.open({ seen: { treeSize: 2, rootHash: opaque('another', 32) } })
    expect(await driver.apply(rejected)).toEqual([6])
    expect(codeOf(await driver.commit(rejected))).toBe('ERR_SESSION_EXPIRED')
    expect(codeOf(await driver.commit(alice.bundle([alice.add('x')])))).toBe('ERR_SESSION_EXPIRED')
  })

  test('one over sessionsPerClientMax evicts the session whose last bundle is oldest, not the one opened first', async () => {
    const { driver, alice } = await started()
    const openings = [1, 2, 3].map((number) => alice.open({ number }))
    for (const opening of openings) await driver.apply(opening)
    alice.session = 1
    alice.nextSequence = 1
    await driver.apply(alice.bundle([alice.add('x')]))
    const lastOfOne = alice.bundle([alice.add('x')])
    await driver.apply(lastOfOne)
    const bob = new Writer(cluster, 'bob')
    await driver.apply(bob.open())

    await driver.apply(alice.open({ number: 4 }))
    expect(driver.ledger.sessions(alice.id).open.map(({ number }) => number)).toEqual([1, 3, 4])
    // Evicted: no bundle, not its opening's bytes either. The mark stays.
    const inTwo = alice.bundle([alice.add('x')], { session: 2, firstSequence: 1 })
    expect(codeOf(await driver.commit(inTwo))).toBe('ERR_SESSION_EXPIRED')
    expect(codeOf(await driver.commit(openings[1]!))).toBe('ERR_SESSION_EXPIRED')

    await driver.apply(alice.open({ number: 5 }))
    expect(driver.ledger.sessions(alice.id).open.map(({ number }) => number)).toEqual([1, 4, 5])
    // A replay of bytes that were applied once is refused after eviction, never applied afresh.
    await driver.apply(alice.open({ number: 6 }))
    expect(driver.ledger.sessions(alice.id).open.map(({ number }) => number)).toEqual([4, 5, 6])
    expect(codeOf(await driver.commit(lastOfOne))).toBe('ERR_SESSION_EXPIRED')
    expect(driver.ledger.sessions(bob.id)).toEqual({ highWaterMark: 1, open: [{ number: 1, lastSequence: 0 }] })
  })

  test('leaves the high-water mark behind in the persisted state', async () => {
    const { driver, alice } = await started()
    await driver.apply(alice.open({ number: 9 }))
    await driver.mark()
    await driver.reopen()
    expect(codeOf(await driver.commit(alice.open({ number: 8 })))).toBe('ERR_SESSION_EXPIRED')
    expect(driver.ledger.sessions(new Writer(cluster, 'nobody').id)).toEqual({ highWaterMark: 0, open: [] })
  })
})

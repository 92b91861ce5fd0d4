import { entryKinds, verdictName } from '@cipherlog/format'
import { Prng } from '@cipherlog/testkit'
import { describe, expect, test } from 'vitest'
import { amount, opaque, TestCluster, Writer } from './cluster.fixture.ts'
import {
  contentsOf,
  copyOf,
  firstDifference,
  LedgerDriver,
  replayLeaves,
  type TestEntry,
} from './ledger-driver.fixture.ts'
import { RandomLog } from './random-log.fixture.ts'

/** Fails with its name, so that `CIPHERLOG_SEED=<seed>` repeats the run. */
const seed = Number(process.env['CIPHERLOG_SEED'] ?? Math.floor(Math.random() * 2 ** 32))

describe('the state is a function of the log:', () => {
  test(`random logs give equal records and states on ledgers that crash and on one that does not (seed ${seed})`, async () => {
    const random = new Prng(seed)
    const cluster = await TestCluster.build()
    const steady = await LedgerDriver.start(cluster)
    const crashing = await LedgerDriver.start(cluster)
    const log = new RandomLog(cluster, random)
    let persisted = await copyOf(crashing.state)
    const outcomes = new Map<string, number>()
    const count = (name: string) => outcomes.set(name, (outcomes.get(name) ?? 0) + 1)

    for (let i = 0; i < 500; i++) {
      const logTime = steady.now + (random.chance(0.3) ? random.between(1, 3000) : 0)
      const proposal = random.chance(0.08) ? undefined : log.next(steady)
      const entry: TestEntry =
        proposal === undefined
          ? { kind: random.pick([entryKinds.mark, entryKinds.noOp]), logTime }
          : { kind: proposal.kind, proposal, logTime }
      const outcome = await steady.drive(entry)
      if (outcome !== undefined) count(outcome.outcome)
      if (outcome?.outcome === 'applied') for (const verdict of outcome.leaf.verdicts) count(verdictName(verdict))

      await crashing.drive(entry)
      // Persisting lags behind, and only batch records are persisted.
      if (crashing.ledger.openLeaves === 0 && random.chance(0.5)) persisted = await copyOf(crashing.state)
      if (random.chance(0.03)) {
        await crashing.reopen(persisted)
        count('crash')
      }
    }
    await steady.mark()
    await crashing.mark()

    const records = steady.leaves.map(({ record }) => record)
    expect(
      firstDifference(
        crashing.leaves.map(({ record }) => record),
        records,
      ),
    ).toBeUndefined()
    expect(crashing.closed.map(({ rootHash }) => rootHash)).toEqual(steady.closed.map(({ rootHash }) => rootHash))
    expect(await contentsOf(crashing.state)).toBe(await contentsOf(steady.state))
    expect(firstDifference(await replayLeaves(steady.leaves), records)).toBeUndefined()
    // The log was no monologue.
    for (const name of ['applied', 'refused', 'duplicate', 'crash', 'grant', 'atomic', 'envelope']) {
      expect([name, outcomes.get(name) ?? 0]).not.toEqual([name, 0])
    }
  })

  test('two ledgers fed the same entries agree byte for byte, and an auditor who has only the leaves with both', async () => {
    const cluster = await TestCluster.build()
    const first = await LedgerDriver.start(cluster)
    const alice = new Writer(cluster)
    const envelope = alice.envelope({ count: 3 })
    await first.apply(alice.open())
    for (let i = 0; i < 20; i++) {
      first.now += 11
      const commands = [alice.put(`${i % 7}`, envelope.id), alice.add(`${i % 3}`, amount(cluster, BigInt(i + 1)))]
      const bundle = alice.bundle(i === 0 ? [envelope, ...commands] : commands)
      await first.apply(bundle)
      if (i % 4 === 0) await first.commit(bundle)
      if (i % 6 === 0) await first.mark()
    }
    await first.mark()

    const second = await LedgerDriver.fromGenesis(cluster)
    for (const entry of first.entries) await second.drive(entry)
    const records = first.leaves.map(({ record }) => record)
    expect(
      firstDifference(
        second.leaves.map(({ record }) => record),
        records,
      ),
    ).toBeUndefined()
    expect(await contentsOf(second.state)).toBe(await contentsOf(first.state))
    expect(second.closed).toEqual(first.closed)
    expect(firstDifference(await replayLeaves(first.leaves), records)).toBeUndefined()
  })

  test('what an entry’s bytes were part of does not matter: a ledger keeps no view into them', async () => {
    const cluster = await TestCluster.build()
    const driver = await LedgerDriver.start(cluster)
    const alice = new Writer(cluster)
    await driver.apply(alice.open())
    const envelope = alice.envelope()
    const proposal = alice.bundle([envelope, alice.put('a', envelope.id), alice.add('x')])
    await driver.apply(proposal)
    const [before, wraps] = [await contentsOf(driver.state), envelope.bodies.wraps!.slice()]
    proposal.body.fill(0)
    expect(await contentsOf(driver.state)).toBe(before)
    expect(driver.ledger.envelope(envelope.id)!.wraps).toEqual(wraps)
    await driver.mark()
    expect(driver.ledger.cell('revenue', opaque('key x', 33))!.cell.slices[0]!.sum).toEqual(amount(cluster, 1n))
  })
})

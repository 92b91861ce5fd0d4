import { entryKinds, verdictName, type KeyOperation } from '@cipherlog/format'
import { Prng } from '@cipherlog/testkit'
import { describe, expect, test } from 'vitest'
import {
  amount,
  createdAt,
  hourMs,
  idOf,
  keyEvent,
  opaque,
  TestCluster,
  Writer,
  type Command,
} from './cluster.fixture.ts'
import {
  contentsOf,
  copyOf,
  firstDifference,
  LedgerDriver,
  replayLeaves,
  type TestEntry,
} from './ledger-driver.fixture.ts'
import { type Proposal } from './entry.ts'

/** Fails with its name, so that `CIPHERLOG_SEED=<seed>` repeats the run. */
const seed = Number(process.env['CIPHERLOG_SEED'] ?? Math.floor(Math.random() * 2 ** 32))

/** Writers who do everything that clients do, rightly and wrongly, and operators who rotate keys meanwhile. */
class RandomLog {
  readonly #random: Prng
  readonly #cluster: TestCluster
  readonly #writers: Writer[]
  readonly #envelopes: Uint8Array[] = []
  readonly #sent: Proposal[] = []
  #clients = 0

  constructor(cluster: TestCluster, random: Prng) {
    this.#cluster = cluster
    this.#random = random
    this.#writers = ['alice', 'bob', 'nobody'].map((name) => new Writer(cluster, name))
  }

  /** The next entry's proposal, given what the log is like. */
  next(driver: LedgerDriver): Proposal {
    const random = this.#random
    const dice = random.float()
    if (dice < 0.08 && this.#sent.length > 0) return random.pick(this.#sent.slice(-3))
    const proposal =
      dice < 0.12
        ? this.#keyEvent(driver)
        : dice < 0.18
          ? this.#opening(driver)
          : this.#bundle(driver, random.pick(this.#writers))
    this.#sent.push(proposal)
    if (!random.chance(0.04)) return proposal
    // A faulty leader appends what it was not sent.
    const signed = proposal.signed.slice()
    signed[random.between(0, signed.length - 1)]! ^= 1 << random.between(0, 7)
    return { ...proposal, signed }
  }

  #opening(driver: LedgerDriver): Proposal {
    const random = this.#random
    const { size, rootHash } = random.pick(driver.closed)
    const seen = { treeSize: size, rootHash: random.chance(0.1) ? opaque('another', 32) : rootHash }
    const writer = random.pick(this.#writers)
    const { highWaterMark } = driver.ledger.sessions(writer.id)
    return writer.open({ seen, number: Math.max(1, highWaterMark + random.between(0, 2)) })
  }

  #keyEvent(driver: LedgerDriver): Proposal {
    const [random, cluster] = [this.#random, this.#cluster]
    const { registry } = driver.ledger
    const dice = random.float()
    const event = (operation: KeyOperation) => keyEvent(cluster.event(operation, { after: registry, keep: false }))
    const versions = registry.keyset(idOf('records'))!.versions
    const active = registry.activeEpoch(idOf('records'))!
    const newest = cluster.xwingVersion('records', versions.size)
    if (dice < 0.2) return event(cluster.addClient(`client ${this.#clients++}`, []))
    if (dice < 0.3) return event(cluster.addClient('alice', []))
    if (active < versions.size) {
      return event(cluster.activate('records', versions.size, newest, random.pick([0, 2000, hourMs])))
    }
    return event(cluster.addKeyVersion('records', active + 1, cluster.xwingVersion('records', active + 1)))
  }

  #bundle(driver: LedgerDriver, writer: Writer): Proposal {
    const random = this.#random
    const { open } = driver.ledger.sessions(writer.id)
    if (open.length > 0 && random.chance(0.9)) {
      const { number, lastSequence } = random.pick(open)
      writer.session = number
      writer.nextSequence = lastSequence + 1
    }
    const commands = Array.from({ length: random.between(1, 6) }, () => this.#command(driver, writer))
    return writer.bundle(commands, {
      session: Math.max(1, writer.session),
      ...(random.chance(0.25) ? { atomic: true } : {}),
      ...(random.chance(0.05) ? { notAfter: createdAt } : {}),
      ...(random.chance(0.05) ? { firstSequence: random.between(1, writer.nextSequence + 2) } : {}),
    })
  }

  #command(driver: LedgerDriver, writer: Writer): Command {
    const [random, cluster] = [this.#random, this.#cluster]
    const active = driver.ledger.registry.activeEpoch(idOf('records'))!
    const keyEpoch = random.chance(0.9) ? active : random.between(1, active + 1)
    const envelope = this.#envelopes.length === 0 ? undefined : random.pick(this.#envelopes.slice(-6))
    const name = `${random.between(0, 5)}`
    switch (random.between(0, 6)) {
      case 0: {
        const made = writer.envelope({ keyEpoch, subject: `${random.between(0, 9)}` })
        this.#envelopes.push(made.id)
        return made
      }
      case 1:
        return writer.put(name, envelope, { keyEpoch, ...(random.chance(0.1) ? { namespace: 'nowhere' } : {}) })
      case 2:
        return writer.put(name, envelope, { keyEpoch, op: 'delete' })
      case 3:
        return writer.append(envelope, { keyEpoch, ...(random.chance(0.1) ? { circuit: 'no-circuit' } : {}) })
      default: {
        const proof = opaque('proof', 128).fill(random.chance(0.05) ? 0xff : 1, 0, 1)
        const ciphertext = random.chance(0.05)
          ? opaque('no points', 128)
          : amount(cluster, BigInt(random.between(1, 5)))
        return writer.add(name, ciphertext, proof, { namespace: random.pick(['revenue', 'votes']) })
      }
    }
  }
}

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

/** A log that a seed makes up: what clients and operators do, rightly and wrongly. */
import { type KeyOperation } from '@cipherlog/format'
import { type Prng } from '@cipherlog/testkit'
import {
  amount,
  createdAt,
  hourMs,
  idOf,
  keyEvent,
  opaque,
  type TestCluster,
  Writer,
  type Command,
} from './cluster.fixture.ts'
import { type LedgerDriver } from './ledger-driver.fixture.ts'
import { type Proposal } from './entry.ts'

/** Writers who do everything that clients do, rightly and wrongly, and operators who rotate keys meanwhile. */
export class RandomLog {
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

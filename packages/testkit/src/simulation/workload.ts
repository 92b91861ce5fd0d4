/**
 * What clients do to a simulated cluster, through the real SDK: writers put, delete, append and add, readers read
 * linearizably and check receipts, an operator rotates keys and revokes. All of it is written down in a
 * {@link ClientHistory}.
 *
 * Clients meet errors as applications do. Which errors an honest cluster under faults may give is listed here;
 * anything else fails the run.
 */
import { errorCode, invariant, InvariantViolation, type Clock } from '@cipherlog/core'
import { Cipherlog, inMemory, type ClientMemory, type Done, type Identity, type Keyring } from '@cipherlog/client'
import { Operator } from '@cipherlog/client/operator'
import { verdicts } from '@cipherlog/format'
import { type Prng } from '../prng.ts'
import { foreignProof, namespaces, randomOf, trapdoorProver, type Blueprint } from './blueprint.ts'
import { type ClientHistory } from './client-history.ts'
import { simulatedDial, type LinkWorld } from './client-link.ts'
import { type Counts } from './counts.ts'
import { type SimulatedProcess } from './scheduler.ts'
import { epochMs } from './virtual-globals.ts'

/** No answer, no quorum, no fresh checkpoint: what faults do to an honest cluster's clients. */
const unavailable: ReadonlySet<string> = new Set([
  ...['ERR_UNAVAILABLE', 'ERR_TIMEOUT', 'ERR_BUSY', 'ERR_NOT_LEADER', 'ERR_NOT_PUBLISHED', 'ERR_OUTCOME_UNKNOWN'],
  ...['ERR_REPLICA_BEHIND', 'ERR_KEY_UNPROVEN', 'ERR_SESSION_EXPIRED', 'ERR_NOT_FOUND'],
  // Every replica that can be reached is behind what this client has seen.
  'ERR_POLICY_ROLLED_BACK',
])
/** A key was rotated twice, or this client revoked, while a command was under way. */
const overtaken: ReadonlySet<string> = new Set(['ERR_REJECTED_EPOCH', 'ERR_REJECTED_ENVELOPE'])
const revoked: ReadonlySet<string> = new Set(['ERR_REJECTED_REVOKED', 'ERR_POLICY_REVOKED', 'ERR_POLICY_CLIENT'])

export interface WorkloadWorld extends LinkWorld {
  readonly blueprint: Blueprint
  readonly history: ClientHistory
  readonly counts: Counts
  /** The keys of everyone who reads. */
  readonly keyring: Keyring
  /** False once clients should finish. */
  readonly busy: () => boolean
  /** Mean time between two operations of a client, in ms. */
  readonly thinkMsMean: number
  /** Additions of the run: their proofs cost real time. */
  readonly addsMax: number
  /** Some disk was damaged: its replica may hand out what does not verify. */
  readonly damaged: () => boolean
  readonly onFailure: (error: unknown) => void
}

/** In every planted name and value, so that one search finds them all. */
export const canaryText = 'PLAINTEXT-CANARY'
const kvNames = ['alpha', 'beta', 'gamma'].map((name) => `${canaryText} ${name}`)
const cellName = `${canaryText} total`

export class SimulatedClient {
  readonly process: SimulatedProcess
  readonly #world: WorkloadWorld
  readonly #prng: Prng
  readonly #identity: Identity | undefined
  readonly #memory: ClientMemory = inMemory()
  #log: Cipherlog | undefined
  #written = 0
  /** This client is to be revoked in the run: rejections for that are no surprise. */
  mayBeRevoked = false
  /** It has nothing under way any more. */
  finished = false

  constructor(world: WorkloadWorld, process: SimulatedProcess, prng: Prng, identity?: Identity) {
    this.#world = world
    this.process = process
    this.#prng = prng
    this.#identity = identity
  }

  /** Runs `work` as this client's process until it ends; a failure that faults do not explain fails the run. */
  start(work: (client: SimulatedClient) => Promise<void>): void {
    this.#world.scheduler.as(this.process, () => {
      work(this)
        .then(() => (this.finished = true))
        .catch((error: unknown) => this.#world.onFailure(error))
    })
  }

  /** The connected log; connects until it works. */
  async log(): Promise<Cipherlog> {
    const { blueprint, scheduler, keyring, counts } = this.#world
    const clock: Clock = { now: () => epochMs + Math.floor(scheduler.now), monotonic: () => scheduler.now }
    while (this.#log === undefined) {
      try {
        this.#log = await Cipherlog.connect({
          endpoints: blueprint.names.map((name) => `https://${name}.simulation:7001`),
          trustPolicy: blueprint.trustPolicy,
          keyring,
          identity: this.#identity,
          memory: this.#memory,
          clock,
          random: randomOf(this.process.prng),
          prover: trapdoorProver,
          dial: simulatedDial(this.#world, this.process),
          proposeMsMax: 8_000,
          readMsMax: 5_000,
        })
        counts.add('client connected')
      } catch (error) {
        this.expected(error)
        await this.sleep(200)
      }
    }
    return this.#log
  }

  /** As after a restart of the application: connections and sessions are new, what was seen is remembered. */
  async reconnect(): Promise<void> {
    const log = this.#log
    this.#log = undefined
    this.#world.counts.add('client restarted')
    await log?.close()
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, ms))
  }

  /** Counts an error that faults explain. @throws any other. */
  expected(error: unknown): void {
    const code = errorCode(error) ?? ''
    const { damaged, counts } = this.#world
    const explained =
      unavailable.has(code) ||
      overtaken.has(code) ||
      (this.mayBeRevoked && revoked.has(code)) ||
      (damaged() && code.startsWith('ERR_VERIFY_'))
    if (explained) {
      counts.add(`client saw ${code}`)
      return
    }
    throw new InvariantViolation(`A client got an error that no fault explains: ${String(error)}`, { code })
  }

  // Writers

  /** Works until the workload ends or this client is revoked. */
  async write(): Promise<void> {
    const { busy, thinkMsMean, counts } = this.#world
    while (busy()) {
      await this.sleep(1 - Math.log(1 - this.#prng.float()) * thinkMsMean)
      if (!busy()) return
      if (this.#prng.chance(0.02)) await this.reconnect()
      const log = await this.log()
      try {
        await this.#writeOnce(log)
      } catch (error) {
        this.expected(error)
        if (this.mayBeRevoked && revoked.has(errorCode(error) ?? '')) {
          counts.add('revoked client stopped')
          return
        }
      }
    }
  }

  async #writeOnce(log: Cipherlog): Promise<void> {
    const { history, addsMax } = this.#world
    const roll = this.#prng.float()
    if (roll < 0.3) return this.#put(log)
    if (roll < 0.35) return this.#delete(log)
    if (roll < 0.6) return this.#append(log)
    if (roll < 0.64 && history.additions < addsMax) return this.#add(log)
    if (roll < 0.69 && history.additions < addsMax) return this.#forge(log)
    if (roll < 0.71) return this.#readSum(log)
    return this.#get(log)
  }

  #unique(): string {
    return `${canaryText} ${this.process.name} ${++this.#written}`
  }

  async #put(log: Cipherlog): Promise<void> {
    const { history, counts } = this.#world
    const [name, value] = [this.#prng.pick(kvNames), this.#unique()]
    counts.add('put')
    history.writing(value)
    const operation = history.begin({ kind: 'write', client: this.process.name, key: name, value })
    const done = await log.kv(namespaces.kv).put(name, value)
    history.end(operation)
    history.acknowledged(value, done)
    await this.#maybeReceipt(done)
  }

  /** Under a name of its own: what is deleted stays so. */
  async #delete(log: Cipherlog): Promise<void> {
    const { history, counts } = this.#world
    const value = this.#unique()
    history.writing(value)
    const kv = log.kv(namespaces.kv)
    history.acknowledged(value, await kv.put(value, value))
    await kv.delete(value)
    counts.add('delete')
    invariant((await kv.get(value)) === undefined, 'A deleted value is read.', { value })
  }

  async #append(log: Cipherlog): Promise<void> {
    const { history, counts } = this.#world
    const value = this.#unique()
    counts.add('append')
    history.writing(value)
    const done = await log.log(namespaces.log).append(value)
    history.acknowledged(value, done)
    await this.#maybeReceipt(done)
  }

  async #add(log: Cipherlog): Promise<void> {
    const { history, counts } = this.#world
    counts.add('add')
    const addition = history.adding()
    history.added(addition, await log.counter(namespaces.counter).add(addition.amount, { cell: cellName }))
  }

  /** A good addition, then the same bytes again, then another proof for the same statement: what caches are tried with. */
  async #forge(log: Cipherlog): Promise<void> {
    const { history, counts } = this.#world
    const { lowLevel } = log
    const addition = history.adding()
    const command = await log.counter(namespaces.counter).sealAdd(addition.amount, { cell: cellName })
    const bundle = await lowLevel.sealBundle([command])
    const answer = await this.#once(() => lowLevel.proposeBundle(bundle))
    if (answer.verdicts[0] !== verdicts.applied) return
    history.added(addition, answer)
    const again = await this.#once(() => lowLevel.proposeBundle(bundle))
    invariant(again.leaf === answer.leaf, 'The same bytes have two answers.', {
      first: answer.leaf,
      second: again.leaf,
    })
    counts.add('bundle sent again')
    const forged = lowLevel.replaceBodies(command, { ...command.bodies, proof: foreignProof() })
    try {
      const { verdictNames } = await this.#once(async () => lowLevel.proposeBundle(await lowLevel.sealBundle([forged])))
      invariant(verdictNames[0] !== 'applied', 'A forged proof was applied.', {})
    } catch (error) {
      if (errorCode(error) !== 'ERR_PROOF') throw error
      counts.add('forged proof refused')
    }
  }

  /** A session by hand goes on only after an answer: without one, the next is another process's. */
  async #once<T>(ask: () => Promise<T>): Promise<T> {
    try {
      return await ask()
    } catch (error) {
      if (errorCode(error) !== 'ERR_PROOF') await this.reconnect()
      throw error
    }
  }

  async #maybeReceipt(done: Done): Promise<void> {
    if (!this.#prng.chance(0.25)) return
    await done.receipt()
    this.#world.counts.add('receipt verified')
  }

  // Readers

  async #get(log: Cipherlog): Promise<void> {
    const { history, counts } = this.#world
    const name = this.#prng.pick(kvNames)
    const operation = history.begin({ kind: 'read', client: this.process.name, key: name, value: undefined })
    const read = await log.kv(namespaces.kv).get(name)
    operation.value = read?.value as string | undefined
    history.end(operation)
    counts.add(read === undefined ? 'read of nothing' : 'read')
  }

  async #readSum(log: Cipherlog): Promise<void> {
    const { history, counts } = this.#world
    const invokedAt = history.readingSum()
    history.sumRead(invokedAt, await log.counter(namespaces.counter).read({ cell: cellName }))
    counts.add('sum read')
  }

  // The operator

  /** Rotates keys, adds and revokes clients. */
  async operate(victim: SimulatedClient | undefined, victimId: Uint8Array): Promise<void> {
    const { busy, blueprint, counts, keyring } = this.#world
    let revokedVictim = false
    while (busy()) {
      await this.sleep(500 - Math.log(1 - this.#prng.float()) * 3000)
      if (!busy()) return
      const operator = new Operator(await this.log(), { signers: [blueprint.operator] })
      try {
        const roll = this.#prng.float()
        if (roll < 0.45) {
          const { records, amounts } = blueprint.keysets
          const keyset = this.#prng.chance(0.75) ? records : amounts
          await operator.rotateKey({ keyset, readers: [keyring], graceMs: this.#prng.chance(0.5) ? 0 : 2_000 })
          counts.add('key rotated')
        } else if (roll < 0.65 && victim !== undefined && !revokedVictim) {
          victim.mayBeRevoked = true
          await operator.revokeClient(victimId, 'simulated')
          revokedVictim = true
          counts.add('client revoked')
        } else {
          await operator.addClient({ grants: [{ namespaces: '*', operations: ['put'] }] })
          counts.add('client added')
        }
      } catch (error) {
        const code = errorCode(error) ?? ''
        // An attempt whose outcome was unknown took effect after all.
        if (code.startsWith('ERR_REGISTRY_')) counts.add(`operator saw ${code}`)
        else this.expected(error)
      }
    }
  }
}

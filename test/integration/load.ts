/**
 * Clients that use a cluster while something is done to it, and write down when they called what and what came back.
 * In the end what they saw must have an order in which one copy would have answered so (linearizability), and every
 * acknowledged line must stand in the log exactly once.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { readTrustPolicy } from '@cipherlog/cli/cluster'
import { Cipherlog } from '@cipherlog/client'
import { errorCode } from '@cipherlog/core'
import { suites } from '@cipherlog/format'
import { Prng } from '@cipherlog/testkit'
import {
  checkLinearizable,
  checkRegister,
  logModel,
  showOperations,
  type LogOperation,
  type RegisterInput,
  type RegisterOperation,
  type RegisterOutput,
} from '@cipherlog/testkit/linearizability'
import { expect } from 'vitest'
import { createKv, type ProcessCluster } from './processes.ts'
import { everything } from './world.ts'

/** What clients may see while replicas are down: it says nothing about what became of a write. */
const passing = new Set([
  ...['ERR_UNAVAILABLE', 'ERR_TIMEOUT', 'ERR_CANCELED', 'ERR_NOT_LEADER', 'ERR_BUSY', 'ERR_NOT_PUBLISHED'],
  ...['ERR_OUTCOME_UNKNOWN', 'ERR_REPLICA_BEHIND', 'ERR_POLICY_REGISTRY_STALE'],
])

const registers = ['a', 'b', 'c', 'd', 'e', 'f']
const lastLine = 'the last line'

export interface LoadOptions {
  readonly seed: number
  /** Its namespaces are `<name>-registers` and `<name>-lines`. */
  readonly name: string
  /** Writers and readers, each with keys of its own; default 3. */
  readonly clients?: number
}

export class Load {
  /** Answered puts and appends so far. */
  acknowledged = 0
  readonly #cluster: ProcessCluster
  readonly #name: string
  readonly #clients: Cipherlog[]
  readonly #random: Prng
  readonly #history = new Map<string, RegisterOperation[]>(registers.map((name) => [name, []]))
  readonly #appends: { readonly value: string; known: boolean; readonly calledAt: number; returnedAt: number }[] = []
  #running = true
  #failure: Error | undefined
  readonly #lanes: Promise<void>[]

  private constructor(cluster: ProcessCluster, name: string, clients: Cipherlog[], random: Prng) {
    this.#cluster = cluster
    this.#name = name
    this.#clients = clients
    this.#random = random
    this.#lanes = clients.map((client, n) => this.#lane(`client ${n}`, client))
    this.#lanes.push(this.#appendLane(clients[0]!))
  }

  /** Namespaces and clients are made first, so the cluster must be whole. */
  static async start(cluster: ProcessCluster, { seed, name, clients = 3 }: LoadOptions): Promise<Load> {
    const { operator, log, profile } = cluster
    const { keyring } = log
    await createKv(cluster, `${name}-registers`)
    const { keyset } = await operator.createKeyset({ suite: suites.hpkeXwing, readers: [keyring] })
    await operator.createNamespace({ name: `${name}-lines`, machine: 'log', suite: suites.hpkeXwing, keyset })
    const trustPolicy = await readTrustPolicy(profile.trustPolicyFile)
    const all = profile.endpoints
    const connected: Cipherlog[] = []
    for (let n = 0; n < clients; n++) {
      const identity = await operator.addClient({ grants: [everything], label: `${name} ${n}`, keyring })
      const inTurn = [...all.slice(n % all.length), ...all.slice(0, n % all.length)]
      const client = await Cipherlog.connect({
        endpoints: inTurn,
        trustPolicy,
        keyring,
        identity,
        // Short enough that a lane that waits for a paused replica does not wait for the end of the test.
        proposeMsMax: 15_000,
        readMsMax: 5_000,
      })
      connected.push(client)
      // A replica that is a checkpoint behind does not know the client yet.
      while (client.view.current.registry.client(identity.client) === undefined) await client.view.refresh()
    }
    return new Load(cluster, name, connected, new Prng(seed))
  }

  async #lane(name: string, client: Cipherlog): Promise<void> {
    const kv = client.kv(`${this.#name}-registers`)
    for (let n = 0; this.#running; n++) {
      const register = this.#random.pick(registers)
      const value = `${name} ${n}`
      const input: RegisterInput = this.#random.chance(0.5) ? { type: 'put', value } : { type: 'get' }
      const calledAt = performance.now()
      const output = await this.#answer<RegisterOutput>(async () => {
        if (input.type === 'get') return { value: (await kv.get(register))?.value as string | undefined }
        await kv.put(register, value)
        this.acknowledged++
        return {}
      })
      const returnedAt = performance.now()
      await sleep(this.#random.between(0, 10))
      this.#history.get(register)!.push({ client: name, input, output, calledAt, returnedAt })
    }
  }

  async #appendLane(client: Cipherlog): Promise<void> {
    const lines = client.log(`${this.#name}-lines`)
    for (let n = 0; this.#running; n++) {
      const append = { value: `line ${n}`, known: false, calledAt: performance.now(), returnedAt: Infinity }
      this.#appends.push(append)
      const done = await this.#answer(() => lines.append(append.value))
      if (done === undefined) continue
      append.known = true
      append.returnedAt = performance.now()
      this.acknowledged++
    }
  }

  /** Undefined if there was no answer. Anything that must not happen ends the load. */
  async #answer<T>(call: () => Promise<T>): Promise<T | undefined> {
    try {
      return await call()
    } catch (error) {
      if (!passing.has(errorCode(error) ?? '')) {
        this.#failure ??= error instanceof Error ? error : new Error(String(error))
        this.#running = false
      }
      // Whoever is refused at once does not ask again at once.
      await sleep(20)
      return undefined
    }
  }

  /** Waits until so many more writes have been acknowledged: the cluster works. @throws after 30 s. */
  async progress(count = 10): Promise<void> {
    const until = this.acknowledged + count
    const deadline = Date.now() + 30_000
    while (this.acknowledged < until) {
      if (this.#failure !== undefined) throw this.#failure
      if (Date.now() > deadline) throw new Error(`the cluster acknowledged only ${count - until + this.acknowledged}`)
      await sleep(10)
    }
  }

  /** Ends the load, reads everything once more, and judges. The cluster must be able to answer. */
  async finish(): Promise<void> {
    this.#running = false
    await Promise.all(this.#lanes)
    const [client] = this.#clients
    try {
      if (this.#failure !== undefined) throw this.#failure
      await this.#judgeRegisters()
      await this.#judgeLines(client!)
    } finally {
      await this.close()
    }
  }

  /** Ends the load without a verdict. */
  async close(): Promise<void> {
    this.#running = false
    await Promise.all(this.#lanes)
    await Promise.all(this.#clients.map((each) => each.close()))
  }

  async #judgeRegisters(): Promise<void> {
    let answered = 0
    for (const [register, history] of this.#history) {
      const calledAt = performance.now()
      const value = (await this.#cluster.log.kv(`${this.#name}-registers`).get(register))?.value as string | undefined
      history.push({
        client: 'the end',
        input: { type: 'get' },
        output: { value },
        calledAt,
        returnedAt: performance.now(),
      })
      const verdict = checkRegister(history)
      if (!verdict.linearizable) {
        const [order, stuck] = [showOperations(verdict.order.slice(-10)), showOperations(verdict.stuck)]
        throw new Error(`register ${register} is not linearizable\nstuck:\n${stuck}\nafter:\n${order}`)
      }
      answered += history.filter(({ output }) => output !== undefined).length
    }
    // A history of refusals would be linearizable too.
    expect(answered).toBeGreaterThan(20)
  }

  async #judgeLines(client: Cipherlog): Promise<void> {
    const calledAt = performance.now()
    await this.#cluster.log.log(`${this.#name}-lines`).append(lastLine)
    const values: string[] = []
    for await (const entry of client.watch({ from: 0, namespace: `${this.#name}-lines` })) {
      if (entry.op !== 'append' || entry.verdictName !== 'applied') continue
      if (entry.value === lastLine) break
      values.push(String(entry.value))
    }
    expect(new Set(values).size, 'a line stands in the log twice').toBe(values.length)
    const positions = new Map(values.map((value, position) => [value, position]))
    const history = this.#appends.flatMap(({ value, known, calledAt: from, returnedAt }): LogOperation[] => {
      const position = positions.get(value)
      if (position === undefined && known) throw new Error(`${value} was acknowledged and is lost`)
      const operation = { client: 'appends', input: { type: 'append', value }, calledAt: from } as const
      return position === undefined ? [] : [{ ...operation, output: { position }, returnedAt }]
    })
    history.push({ client: 'the end', input: { type: 'read' }, output: { values }, calledAt, returnedAt: Infinity })
    const verdict = checkLinearizable(logModel, history)
    if (!verdict.linearizable) throw new Error(`the log is not linearizable: ${showOperations(verdict.stuck)}`)
  }
}

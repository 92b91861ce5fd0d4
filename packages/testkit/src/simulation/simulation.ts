/**
 * One run of the whole system on virtual time, from one seed: a cluster of real replicas, real clients, a real
 * auditor, and everything that can go wrong between them. First it is set up in peace, then comes a storm of faults
 * under load, then calm, in which it must come together again: one leader, equal replicas, a new command published,
 * a valid trail on every disk.
 */
import { CipherlogError, invariant, InvariantViolation, toHex } from '@cipherlog/core'
import { auditTrail, trailFiles } from '@cipherlog/audit'
import { type WatchEntry } from '@cipherlog/client'
import { type NodeStatus } from '@cipherlog/server'
import { textCanary } from '../canaries.ts'
import { Prng } from '../prng.ts'
import { Administrator } from './administrator.ts'
import { blueprintOf, namespaces, nodeKeysOf, type Blueprint } from './blueprint.ts'
import { ClientHistory, additionsMax } from './client-history.ts'
import { simulatedDial } from './client-link.ts'
import { Counts } from './counts.ts'
import { drawFaults, FaultInjector } from './faults.ts'
import { LedgerChecker } from './ledger-checker.ts'
import { oracleVerifier } from './oracle-verifier.ts'
import { RaftChecker } from './raft-checker.ts'
import { Scheduler, SimulatedProcess, type SimulatedEvent } from './scheduler.ts'
import { SimulatedNetwork } from './simulated-network.ts'
import { addressOf, SimulatedReplica, type ReplicaWorld } from './simulated-replica.ts'
import { epochMs, installVirtualGlobals } from './virtual-globals.ts'
import { WireCheck } from './wire-check.ts'
import { canaryText, SimulatedClient, type WorkloadWorld } from './workload.ts'

export interface SimulationResult {
  readonly seed: number
  readonly replicas: number
  /** Virtual milliseconds and events. */
  readonly virtualMs: number
  readonly events: number
  /** Digest of everything that happened, in order. */
  readonly digest: string
  readonly counts: Readonly<Record<string, number>>
  /** Undefined: it passed. */
  readonly failure?: { readonly message: string; readonly trace: readonly string[] }
}

/** Virtual time that each phase may take at most. */
const setUpMsMax = 60_000
const settleMsMax = 120_000
/** Events in the trace of a failure. */
const traceMax = 60

/** Runs one seed. Nothing else may run in this process meanwhile: its globals are replaced. */
export async function runSimulation(seed: number): Promise<SimulationResult> {
  const prng = new Prng(seed)
  const size = drawSize(prng)
  const blueprint = await blueprintOf(size)
  const scheduler = new Scheduler()
  const world = new SimulationWorld(seed, prng, scheduler, blueprint)
  const globals = installVirtualGlobals(scheduler, () => scheduler.current?.prng ?? world.prng)
  const onUnhandled = (error: unknown): void => world.fail(error)
  process.on('unhandledRejection', onUnhandled)
  let failure: SimulationResult['failure']
  try {
    await world.run()
  } catch (error) {
    failure = { message: messageOf(error), trace: world.trace() }
  } finally {
    globals.restore()
    process.off('unhandledRejection', onUnhandled)
  }
  return {
    seed,
    replicas: size,
    virtualMs: Math.round(scheduler.now),
    events: scheduler.events,
    digest: scheduler.digest(),
    counts: world.counts.toJson(),
    ...(failure === undefined ? {} : { failure }),
  }
}

function drawSize(prng: Prng): number {
  const roll = prng.float()
  return roll < 0.65 ? 3 : roll < 0.9 ? 5 : 7
}

class SimulationWorld {
  readonly prng: Prng
  readonly counts = new Counts()
  readonly #scheduler: Scheduler
  readonly #blueprint: Blueprint
  readonly #network: SimulatedNetwork
  readonly #wire = new WireCheck([textCanary('a planted name or value', canaryText)])
  readonly #ledgerChecker = new LedgerChecker()
  /** Every replica that ever was, the newest last. */
  readonly #replicas: SimulatedReplica[]
  readonly #byId: Map<string, SimulatedReplica>
  readonly #replicaWorld: ReplicaWorld
  readonly #history: ClientHistory
  readonly #clients: SimulatedClient[] = []
  readonly #faults: FaultInjector
  readonly #workload: WorkloadWorld
  readonly #stormMs: number
  readonly #recent: SimulatedEvent[] = []
  #busy = false
  #calm = false
  #failure: Error | undefined

  constructor(seed: number, prng: Prng, scheduler: Scheduler, blueprint: Blueprint) {
    this.prng = prng
    this.#scheduler = scheduler
    this.#blueprint = blueprint
    scheduler.record(`seed ${seed}\n`)
    scheduler.onEvent = (event) => {
      this.#recent.push(event)
      if (this.#recent.length > 2 * traceMax) this.#recent.splice(0, traceMax)
    }
    this.#network = new SimulatedNetwork(scheduler, this.#fork(), this.counts)
    const profile = drawFaults(this.#fork())
    const { skewMsMax } = profile
    const raftChecker = new RaftChecker({
      voters: blueprint.nodeKeys.map(({ peerId }) => toHex(peerId)),
      logTimeMax: () => epochMs + scheduler.now + skewMsMax + blueprint.maxClockErrorMs + 1,
    })
    const tickMs = this.prng.pick([50, 100])
    this.#replicaWorld = {
      scheduler,
      network: this.#network,
      blueprint,
      raftChecker,
      ledgerChecker: this.#ledgerChecker,
      wire: this.#wire,
      counts: this.counts,
      tickMs,
      // Less than an election timeout, by more than these clocks drift apart in that time.
      leaseMs: this.prng.chance(0.5) ? 0 : tickMs * 6,
      replicas: () => this.#byId,
      onStopped: (replica: SimulatedReplica, error: unknown) => this.#stopped(replica, error),
      onDoubt: (replica: SimulatedReplica) => {
        this.counts.add('replica in doubt')
        if (!replica.damaged)
          this.fail(new InvariantViolation(`${replica.name} is in doubt for no damage of its disk.`))
        replica.lost = true
      },
    }
    this.#replicas = blueprint.names.map(
      (name, at) => new SimulatedReplica(this.#replicaWorld, name, blueprint.nodeKeys[at]!, this.#fork(), at % 2 === 0),
    )
    this.#byId = new Map(this.#replicas.map((replica) => [replica.id, replica]))
    this.#history = new ClientHistory(() => scheduler.now)
    this.#stormMs = (4000 + this.prng.float() * 12_000) / (blueprint.names.length / 3)
    this.#workload = {
      scheduler,
      network: this.#network,
      wire: this.#wire,
      at: (address) => this.#replicas.find((replica) => addressOf(replica.name) === address),
      blueprint,
      history: this.#history,
      counts: this.counts,
      keyring: blueprint.keyring(),
      busy: () => this.#busy,
      thinkMsMean: 100 + this.prng.float() * 500,
      addsMax: this.prng.chance(0.4) ? this.prng.between(1, Math.min(4, additionsMax)) : 0,
      damaged: () => this.#replicas.some((replica) => replica.damaged),
      onFailure: (error) => this.fail(error),
    }
    const clientCount = this.prng.between(2, 3)
    for (let at = 0; at < clientCount; at++) this.#client(`c${at + 1}`, at)
    this.#faults = new FaultInjector(
      {
        scheduler,
        network: this.#network,
        counts: this.counts,
        replicas: this.#replicas,
        clients: this.#clients.map(({ process }) => process.name),
        onDamaged: (replica) => {
          replica.damaged = true
          raftChecker.damaged(replica.id)
        },
      },
      profile,
      this.#fork(),
    )
  }

  #fork(): Prng {
    return new Prng(this.prng.uint32())
  }

  #client(name: string, identityAt: number | undefined): SimulatedClient {
    const process = new SimulatedProcess(name, this.#fork())
    const identity = identityAt === undefined ? undefined : this.#blueprint.clients[identityAt]
    const client = new SimulatedClient(this.#workload, process, this.#fork(), identity)
    this.#clients.push(client)
    return client
  }

  async run(): Promise<void> {
    for (const replica of this.#replicas) replica.start()
    await this.#setUp()

    const storm = this.#scheduler.now + this.#stormMs
    this.#busy = true
    const writers = [...this.#clients]
    for (const client of writers) client.start((each) => each.write())
    const operator = this.#client('operator', undefined)
    const victimAt = writers.length - 1
    operator.start((each) => each.operate(writers[victimAt], this.#blueprint.clients[victimAt]!.client))
    this.#administer()
    this.#faults.begin()
    await this.#until(() => false, storm)

    this.#faults.calm()
    this.#calm = true
    this.#busy = false
    await this.#expect(() => this.#clients.every(({ finished }) => finished), 'clients finish')
    await this.#settle()
    await this.#finale()
  }

  /** In some runs members change. */
  #administer(): void {
    const [replacements, excursions] = [this.prng.chance(0.25) ? 1 : 0, this.prng.chance(0.25) ? 1 : 0]
    if (replacements + excursions === 0) return
    const client = this.#client('administrator', undefined)
    const administrator = new Administrator(
      {
        scheduler: this.#scheduler,
        counts: this.counts,
        blueprint: this.#blueprint,
        prng: this.#fork(),
        busy: () => this.#busy,
        living: () => this.#living,
        movable: () => this.#living.filter((replica) => !this.#faults.isUnlucky(replica)),
        replaceable: () => this.#faults.replaceable,
        replace: (old) => this.#replace(old),
      },
      client,
    )
    client.start(() => administrator.work(replacements, excursions))
  }

  #replace(old: SimulatedReplica): SimulatedReplica {
    if (old.isUp) old.kill()
    old.lost = true
    const name = `${old.name}x`
    const replica = new SimulatedReplica(this.#replicaWorld, name, nodeKeysOf(name, 1), this.#fork(), old.cached)
    this.#replicas.push(replica)
    this.#byId.set(replica.id, replica)
    this.#faults.replaced(old)
    replica.start()
    return replica
  }

  /** Proposes the key events that make clients, keysets and namespaces. */
  async #setUp(): Promise<void> {
    const process = new SimulatedProcess('setup', this.#fork())
    let done = false
    this.#scheduler.as(process, () => {
      this.#propose(process)
        .then(() => (done = true))
        .catch((error: unknown) => this.fail(error))
    })
    const isPublished = (): boolean => this.#replicas.every(({ running }) => isQuiet(running?.member.replica.status()))
    await this.#expect(() => done && isPublished(), 'set-up', setUpMsMax)
  }

  async #propose(process: SimulatedProcess): Promise<void> {
    const dial = simulatedDial(this.#workload, process)
    for (const { signed, body } of this.#blueprint.setup) {
      for (let attempt = 0; ; attempt++) {
        const replica = this.#replicas[attempt % this.#replicas.length]!
        try {
          await dial(replica.address, () => undefined).propose({ kind: 1, signed, body, receipt: false })
          break
        } catch (error) {
          if (!(error instanceof CipherlogError)) throw error
          await new Promise((resolve) => setTimeout(resolve, 50))
        }
      }
    }
  }

  /** Ends the run with its first failure. */
  fail(error: unknown): void {
    this.#failure ??= error instanceof Error ? error : new Error(String(error))
  }

  /**
   * Calm, with a little work going on: a replica that waits for a snapshot which too few others have, because they were
   * down when it was due, gets the next one.
   */
  async #settle(): Promise<void> {
    let settled = false
    const client = this.#client('late', 0)
    client.start(async (each) => {
      for (let count = 1; !settled; count++) {
        await each.sleep(1000)
        const value = `${canaryText} late ${count}`
        this.#history.writing(value)
        try {
          this.#history.acknowledged(value, await (await each.log()).log(namespaces.log).append(value))
        } catch (error) {
          each.expected(error)
        }
      }
    })
    await this.#expect(() => this.#agree(), 'one leader and equal replicas')
    settled = true
    await this.#expect(() => client.finished && this.#agree(), 'one leader and equal replicas')
  }

  /** A replica stopped by itself: only a fault of its disk explains that. */
  #stopped(replica: SimulatedReplica, error: unknown): void {
    this.counts.add('replica stopped by itself')
    if (!replica.disk.failed && !replica.damaged) {
      this.fail(new InvariantViolation(`${replica.name} stopped for no fault of its disk: ${messageOf(error)}`))
      return
    }
    if (replica.damaged) {
      this.counts.add('replica lost to damage')
      replica.lost = true
      return
    }
    this.#faults.restart(replica, 500)
  }

  get #living(): readonly SimulatedReplica[] {
    return this.#replicas.filter(({ lost }) => !lost)
  }

  /** Whether calm has come: one leader, known to all, and everyone has applied all there is. */
  #agree(): boolean {
    const statuses = this.#living.map(({ running }) => running?.member.replica.status())
    const [first] = statuses
    return (
      first !== undefined &&
      statuses.filter((status) => status?.role === 'leader').length === 1 &&
      statuses.every(
        (status) =>
          status !== undefined &&
          status.leaderId === first.leaderId &&
          status.term === first.term &&
          status.commitIndex === status.appliedIndex &&
          status.appliedIndex === first.appliedIndex &&
          status.treeSize === first.treeSize,
      )
    )
  }

  /** A new command is published everywhere; then the log, every trail and what clients saw are checked. */
  async #finale(): Promise<void> {
    const reader = this.#client('reader', 0)
    const entries: WatchEntry[] = []
    let size = 0
    reader.start(async (client) => {
      const log = await client.log()
      const value = `${canaryText} at last`
      this.#history.writing(value)
      const done = await log.log(namespaces.log).append(value)
      this.#history.acknowledged(value, done)
      size = (await done.receipt()).checkpoint.size
      for await (const entry of log.watch()) {
        entries.push(entry)
        if (entry.position === done.position) break
      }
    })
    await this.#expect(() => reader.finished, 'a new command published')
    await this.#expect(
      () =>
        this.#agree() && this.#living.every(({ running }) => running!.member.replica.status().publishedSize >= size),
      'its checkpoint on every replica',
    )
    this.counts.add('leaves', this.#ledgerChecker.largest)
    this.#history.check(entries)
    for (const replica of this.#living) await this.#audit(replica)
  }

  async #audit(replica: SimulatedReplica): Promise<void> {
    const { name, disk } = replica
    const trail = disk.stores.trail
    const files = new Map<string, Uint8Array>()
    for (const path of trail.paths()) files.set(path, (await trail.readFile(path))!)
    for (const [path, bytes] of files) this.#wire.see(bytes, `${name} trail/${path}`)
    for (const path of disk.stores.wal.paths()) {
      this.#wire.see((await disk.stores.wal.readFile(path))!, `${name} wal/${path}`)
    }
    for (const [key, value] of disk.state) {
      this.#wire.see(Buffer.from(key, 'latin1'), `${name} state`)
      this.#wire.see(value, `${name} state`)
    }
    const { trustPolicy } = this.#blueprint
    const report = await auditTrail(trailFiles(files), { trustPolicy, verifier: oracleVerifier })
    if (replica.damaged && !report.valid) {
      this.counts.add('damage found by an audit')
      return
    }
    invariant(report.valid && report.complete, 'The audit of a trail found a problem.', {
      replica: name,
      problems: report.problems.slice(0, 3),
      findings: report.findings.slice(0, 3),
    })
    this.counts.add('trail audited')
  }

  // Time

  /** Runs until `done` or virtual time `limitMs`. @throws the first failure. */
  async #until(done: () => boolean, limitMs: number): Promise<boolean> {
    const reached = await this.#scheduler.run(() => this.#failure !== undefined || done(), limitMs)
    if (this.#failure !== undefined) throw this.#failure
    return reached
  }

  async #expect(done: () => boolean, what: string, msMax = settleMsMax): Promise<void> {
    const reached = await this.#until(done, this.#scheduler.now + msMax)
    invariant(reached, `Liveness: no ${what} within ${msMax / 1000} s${this.#calm ? ' of calm' : ''}.`)
  }

  /** The last events and where every replica stands, for a person. */
  trace(): string[] {
    const events = this.#recent
      .slice(-traceMax)
      .map(
        ({ time, process, label }) => `${time.toFixed(3).padStart(11)} ms  ${(process?.name ?? '').padEnd(9)} ${label}`,
      )
    return [...events, ...this.#replicas.map((replica) => describeReplica(replica))]
  }
}

/** All that was applied is published. */
function isQuiet(status: NodeStatus | undefined): boolean {
  return status !== undefined && status.publishedSize > 2 && status.publishedSize === status.treeSize
}

function describeReplica(replica: SimulatedReplica): string {
  const { name, running, disk, clockErrorMs } = replica
  if (running === undefined) {
    return `${name}: ${replica.isUp ? 'starting' : 'down'}${replica.fault === undefined ? '' : `, ${messageOf(replica.fault)}`}`
  }
  const { role, term, leaderId, commitIndex, appliedIndex, treeSize, publishedSize, configuration, membership } =
    running.member.replica.status()
  const disturbed = [
    ...(running.process.paused ? ['paused'] : []),
    ...(disk.hung ? ['disk hangs'] : []),
    ...(disk.full ? ['disk full'] : []),
  ]
  return (
    `${name}: ${role} of term ${term}, leader ${leaderId?.slice(0, 8) ?? '-'}, commit ${commitIndex}, ` +
    `applied ${appliedIndex}, tree ${treeSize}, published ${publishedSize}, ${membership} of ` +
    `[${configuration.voters.map((id) => id.slice(0, 8)).join(' ')}], clock ${clockErrorMs.toFixed(0)} ms` +
    (disturbed.length === 0 ? '' : `, ${disturbed.join(', ')}`)
  )
}

function messageOf(error: unknown): string {
  if (error instanceof CipherlogError) {
    const details = Object.entries(error.details).map(([name, value]) => `${name}=${detailOf(value)}`)
    return `${error.message}${details.length === 0 ? '' : ` (${details.join(', ')})`}`
  }
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error)
}

function detailOf(value: unknown): string {
  if (value instanceof Uint8Array) return toHex(value)
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}

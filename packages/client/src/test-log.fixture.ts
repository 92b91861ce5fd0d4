/**
 * A log in memory: the real ledger, real keys, real checkpoints and tiles, behind several endpoints without sockets.
 * Faults are injected between client and replica, where networks and liars sit.
 */
import {
  NotLeaderError,
  RefusedError,
  toHex,
  type CipherlogError,
  type Clock,
  type Random,
  concatBytes,
  decode,
  encode,
  systemRandom,
} from '@cipherlog/core'
import { labels, sha256 } from '@cipherlog/crypto/hash'
import { loadBfvEvaluator } from '@cipherlog/crypto/evaluate/bfv'
import { publicKeyOf, signLabelled } from '@cipherlog/crypto/signature'
import {
  applied,
  cellProof,
  keyEnvelope,
  receipt,
  roles,
  signedApplied,
  storedValue,
  type Circuit,
  type CosignerMember,
  type TrustPolicy,
} from '@cipherlog/format'
import {
  createMemoryState,
  Ledger,
  type ClosedBatch,
  type EntryPlace,
  type Leaf,
  type LedgerOptions,
  type State,
} from '@cipherlog/machine'
import { rootOfBatch } from '@cipherlog/merkle/batch'
import { assembleNote, cosignCheckpoint, inclusionProof, signCheckpoint, tileBytes } from '@cipherlog/merkle/tree'
import { cosignerName, formatCheckpoint, formatTlogProof, parseTilePath } from '@cipherlog/merkle/verify'
import { verifyGroth16Noble } from '@cipherlog/proof'
import { buildGroupStart, majorityOf, possessionOf, signGroupStart, type OperatorSigner } from '@cipherlog/registry'
import { Cipherlog, type ConnectOptions } from './cipherlog.ts'
import { type Connection, type Dial, type Proposal } from './connection.ts'
import { createGenesis, type CreatedGenesis } from './operator/genesis.ts'

interface ReplicaKeys {
  readonly peerId: Uint8Array
  readonly log: Uint8Array
  readonly cosigner: Uint8Array
  readonly answer: Uint8Array
  readonly tls: Uint8Array
}

/** One call on its way to a replica. */
export interface Call {
  readonly endpoint: string
  readonly method: string
  readonly args: readonly unknown[]
}

/** Passes a call on, or not; changes what comes back. */
export type Intercept = (call: Call, next: () => Promise<unknown>) => Promise<unknown>

const pass: Intercept = (_call, next) => next()

export interface TestGenesis extends CreatedGenesis {
  readonly keys: readonly ReplicaKeys[]
  readonly operator: OperatorSigner
}

/** A clock that moves when told to; cosignatures and openings take their time from it. */
export class TestClock implements Clock {
  time = 1_700_000_000_000
  now(): number {
    return this.time
  }
  monotonic(): number {
    return performance.now()
  }
}

function newReplica(): ReplicaKeys {
  const random: Random = systemRandom
  const [log, cosigner, answer, tls] = [random.bytes(32), random.bytes(32), random.bytes(32), random.bytes(32)]
  return { peerId: concatBytes(random.bytes(12), new Uint8Array(4)), log, cosigner, answer, tls }
}

export async function testGenesis(
  options: { readonly replicas?: number; readonly circuits?: readonly Circuit[]; readonly clock?: Clock } = {},
): Promise<TestGenesis> {
  const random: Random = systemRandom
  const keys = Array.from({ length: options.replicas ?? 3 }, newReplica)
  const secretKey = random.bytes(32)
  const created = await createGenesis({
    name: 'test.example/client',
    mode: 'development',
    members: keys.map(memberOf),
    answerPossession: ({ cluster, index }) => possessionOf(keys[index]!.answer, roles.answer, cluster),
    operators: { threshold: 1, secretKeys: [secretKey] },
    circuits: options.circuits ?? [],
    clock: options.clock ?? new TestClock(),
  })
  return { ...created, keys, operator: { index: 0, secretKey } }
}

function memberOf({ peerId, log, cosigner, answer, tls }: ReplicaKeys): CosignerMember {
  return {
    peerId,
    tlsKey: publicKeyOf(tls),
    logKey: publicKeyOf(log),
    cosignerKey: publicKeyOf(cosigner),
    answerKey: publicKeyOf(answer),
  }
}

const ledgerOptions: LedgerOptions = {
  rootOfBatch,
  evaluator: {
    add: async (suite, sum, contributions) => {
      const evaluator = await loadBfvEvaluator(suite as 3 | 4 | 5)
      return contributions.reduce<Uint8Array | undefined>((total, next) => evaluator.add(total, next), sum)!
    },
  },
}

export class TestLog {
  readonly genesis: TestGenesis
  readonly clock: TestClock
  readonly ledger: Ledger
  readonly endpoints: readonly string[]
  /** Index of the endpoint that leads. */
  leader = 0
  intercept: Intercept = pass
  /** Calls that arrived, such as `propose`. */
  readonly calls: Call[] = []
  /** False: batches stay open until somebody asks for a receipt. */
  closeAtOnce = true
  readonly #state: State
  /** The log that this one was restored from. */
  #older: TestLog | undefined
  readonly #leaves: Leaf[] = []
  readonly #tiles = new Map<number, Uint8Array[]>()
  #closed: ClosedBatch
  /** What was applied, and where batches were closed. */
  readonly #entries: { readonly proposal: Proposal | undefined; readonly place: EntryPlace }[] = []
  #logIndex = 0
  #waiters: (() => void)[] = []
  /** The ledger takes one entry at a time. */
  #applying: Promise<unknown> = Promise.resolve()

  private constructor(
    genesis: TestGenesis,
    clock: TestClock,
    begun: { ledger: Ledger; leaf: Leaf; closed: ClosedBatch },
    state: State,
  ) {
    this.#state = state
    this.genesis = genesis
    this.clock = clock
    this.ledger = begun.ledger
    this.endpoints = genesis.keys.map((_, i) => `https://replica-${i}.test:7001`)
    this.#record(begun.leaf)
    this.#record(begun.closed.leaf)
    this.#closed = begun.closed
  }

  /** A log from a genesis: two of one genesis are a fork. */
  static async create(genesis?: TestGenesis, clock = new TestClock()): Promise<TestLog> {
    const from = genesis ?? (await testGenesis({ clock }))
    const state = createMemoryState()
    return new TestLog(from, clock, await Ledger.create(state, from.signedGenesis, ledgerOptions), state)
  }

  /** The next generation of this log as it stands, on replicas with new keys. Both may go on. */
  async restored(generation = this.ledger.generation + 1): Promise<TestLog> {
    const state = createMemoryState()
    for await (const [key, value] of this.#state.iterate(new Uint8Array(0))) state.put(key, value)
    const keys = this.genesis.keys.map(() => newReplica())
    const { registry, group, origin, logTime } = this.ledger
    const { cluster, operatorSetVersion } = registry
    const start = buildGroupStart({
      log: { cluster, group, generation: this.ledger.generation, origin, operatorSetVersion },
      generation,
      end: { treeSize: this.#closed.size, rootHash: this.#closed.rootHash },
      registryHead: registry.head,
      cosigners: { members: keys.map(memberOf), quorum: majorityOf(keys.length) },
      possessions: keys.map(({ answer }, i) => [i, possessionOf(answer, roles.answer, cluster)]),
      startedAt: logTime,
    })
    const signed = signGroupStart(start, [this.genesis.operator])
    const chain = registry.policyChain(() => undefined)
    const begun = await Ledger.startGeneration(state, signed, chain, ledgerOptions)
    const clock = new TestClock()
    clock.time = this.clock.time + 1
    const log = new TestLog({ ...this.genesis, keys }, clock, begun, state)
    log.#older = this
    return log
  }

  /** Another log with the same leaves so far, under the same keys. */
  async fork(): Promise<TestLog> {
    const clock = new TestClock()
    clock.time = this.clock.time
    const copy = await TestLog.create(this.genesis, clock)
    for (const { proposal, place } of this.#entries) {
      copy.#logIndex = place.logIndex
      if (proposal === undefined) {
        await copy.#closeAt(place)
        continue
      }
      const plan = copy.ledger.plan(proposal, place)
      if (plan.outcome !== 'accepted') throw new Error(`the fork does not take an entry: ${plan.outcome}`)
      const good = plan.proofs.map(() => true)
      copy.#record(copy.ledger.apply(proposal.kind, plan, good, place))
      copy.#entries.push({ proposal, place })
    }
    return copy
  }

  get trustPolicy(): TrustPolicy {
    return this.genesis.trustPolicy
  }

  get size(): number {
    return this.#leaves.length
  }

  /** What arrived of one kind. */
  proposals(kind: number): Proposal[] {
    return this.calls
      .filter(({ method }) => method === 'propose')
      .map(({ args }) => args[0] as Proposal)
      .filter((proposal) => proposal.kind === kind)
  }

  connect(options: Partial<ConnectOptions> = {}): Promise<Cipherlog> {
    const { endpoints, trustPolicy, clock, dial } = this
    return Cipherlog.connect({ endpoints, trustPolicy, clock, dial, readMsMax: 500, proposeMsMax: 2_000, ...options })
  }

  readonly dial: Dial = (endpoint) => {
    const at = this.endpoints.indexOf(endpoint)
    const call =
      <A extends readonly unknown[], T>(method: string, answer: (...args: A) => Promise<T>) =>
      async (...args: A): Promise<T> => {
        const made: Call = { endpoint, method, args }
        this.calls.push(made)
        return (await this.intercept(made, () => answer(...args))) as T
      }
    const connection: Connection = {
      propose: call('propose', (proposal) => this.#propose(at, proposal)),
      status: call('status', () => Promise.resolve(this.#status(at))),
      keyEvents: call('keyEvents', (from, max) => Promise.resolve(this.#keyEvents(from, max))),
      checkpoint: call('checkpoint', () => this.#checkpoint()),
      receipt: call('receipt', (leaf) => this.#receipt(leaf)),
      leaf: call('leaf', (leaf) => Promise.resolve(this.#stored(leaf))),
      value: call('value', (query) => this.#value(query)),
      cell: call('cell', (query) => this.#cell(query)),
      envelope: call('envelope', (id) => this.#envelope(id)),
      session: call('session', (client) => Promise.resolve(this.ledger.sessions(client))),
      tile: call('tile', (path) => Promise.resolve(this.#tile(path))),
      watch: (query, signal) => this.#watch(endpoint, query, signal),
      peerKey: publicKeyOf(this.genesis.keys[at]!.tls),
      close: () => undefined,
    }
    return connection
  }

  /** Signs the newest batch's size as the quorum of all replicas, at the clock's time. */
  note(): string {
    const { origin, registry } = this.ledger
    const text = formatCheckpoint({ origin, size: this.#closed.size, rootHash: this.#closed.rootHash })
    const timeSeconds = Math.floor(this.clock.time / 1000)
    return assembleNote(text, [
      signCheckpoint(text, { name: origin, secretKey: this.genesis.keys[0]!.log }),
      ...this.genesis.keys.map(({ peerId, cosigner }) => {
        const name = cosignerName(registry.genesis.name, toHex(peerId))
        return cosignCheckpoint(text, { name, secretKey: cosigner, timeSeconds })
      }),
    ])
  }

  /** Applies what was proposed, as a leader would; returns the answer that replica `at` signs. */
  #propose(at: number, proposal: Proposal): Promise<{ applied: Uint8Array; duplicate: boolean }> {
    const done = this.#applying.then(async () => {
      if (at !== this.leader) throw new NotLeaderError(toHex(this.genesis.keys[this.leader]!.peerId))
      this.clock.time += 1
      const place = this.#place()
      const plan = this.ledger.plan(proposal, place)
      if (plan.outcome === 'refused') throw plan.error
      if (plan.outcome === 'duplicate') return this.#answer(at, plan.answer, true)
      const first = this.ledger.plan(proposal)
      const inadmissible = first.outcome === 'accepted' ? first.admission.inadmissible : undefined
      if (inadmissible !== undefined) throw refusal('ERR_GATE', inadmissible.command)
      const bad = plan.proofs.find(
        ({ verificationKey, statement, proof }) => !verifyGroth16Noble(verificationKey, [statement], proof),
      )
      if (bad !== undefined) throw refusal('ERR_PROOF', bad.command)
      const good = plan.proofs.map(() => true)
      const leaf = this.ledger.apply(proposal.kind, plan, good, place)
      this.#entries.push({ proposal, place })
      this.#record(leaf)
      if (this.closeAtOnce || this.ledger.batchDue) await this.#close()
      return this.#answer(at, { leaf: leaf.leafIndex, digest: leaf.digest, verdicts: leaf.verdicts }, false)
    })
    this.#applying = done.catch(() => undefined)
    return done
  }

  #place() {
    return { logIndex: ++this.#logIndex, logTime: this.clock.time }
  }

  async #close(): Promise<void> {
    await this.#closeAt(this.#place())
  }

  async #closeAt(place: EntryPlace): Promise<void> {
    const closed = await this.ledger.close(place)
    if (closed === undefined) return
    this.#entries.push({ proposal: undefined, place })
    this.#record(closed.leaf)
    this.#closed = closed
  }

  #record(leaf: Leaf): void {
    this.#leaves.push(leaf)
    for (const { level, hash } of leaf.tiles) {
      const hashes = this.#tiles.get(level) ?? []
      hashes.push(hash)
      this.#tiles.set(level, hashes)
    }
    for (const wake of this.#waiters.splice(0)) wake()
  }

  #answer(
    at: number,
    answer: { readonly leaf: number; readonly digest: Uint8Array; readonly verdicts: readonly number[] },
    duplicate: boolean,
  ) {
    const { leaf, digest, verdicts } = answer
    const { origin } = this.ledger
    const statement = encode(applied, { version: 1, origin, leaf, digest, verdicts: [...verdicts] })
    const signature = signLabelled(this.genesis.keys[at]!.answer, labels.applied, statement)
    return { applied: encode(signedApplied, [statement, signature]), duplicate }
  }

  #status(at: number) {
    const { origin, registry, group, generation, appliedIndex, logTime } = this.ledger
    const ids = this.genesis.keys.map(({ peerId }) => toHex(peerId))
    return {
      origin,
      cluster: toHex(registry.cluster),
      group: toHex(group),
      generation,
      peerId: ids[at]!,
      role: at === this.leader ? 'leader' : 'follower',
      leaderId: ids[this.leader],
      term: 1,
      commitIndex: appliedIndex,
      appliedIndex,
      treeSize: this.size,
      publishedSize: this.#closed.size,
      registryNumber: registry.head.number,
      logTime,
      peers: ids.map((peerId, i) => ({
        peerId,
        apiAddress: this.endpoints[i]!,
        connected: true,
        matchIndex: undefined,
        learner: false,
      })),
      mode: 'development',
      trailFrom: 0,
      version: '0.1.0',
      provingKeys: 'none',
    }
  }

  #keyEvents(from: number, max: number): Uint8Array[] {
    const { registry } = this.ledger
    const events: Uint8Array[] = []
    for (let number = from; number <= registry.head.number && events.length < max; number++) {
      events.push(number === 0 ? registry.signedGenesis : registry.event(number)!.signed)
    }
    return events
  }

  async #checkpoint() {
    const { size } = this.#closed
    return {
      checkpoint: this.note(),
      policyChain: this.ledger.registry.policyChain(() => undefined),
      lastLeaf: this.#leaves[size - 1]!.record,
      proof: await inclusionProof(size - 1, size, this.#readTile),
    }
  }

  readonly #readTile = (level: number, index: number, width: number): Uint8Array =>
    concatBytes(...(this.#tiles.get(level) ?? []).slice(index * 256, index * 256 + width))

  async #tlogProof(leaf: number): Promise<string> {
    const proof = await inclusionProof(leaf, this.#closed.size, this.#readTile)
    return formatTlogProof({ index: leaf, proof, checkpoint: this.note() })
  }

  async #receipt(leaf: number): Promise<Uint8Array> {
    if (leaf >= this.#closed.size) await this.#close()
    return encode(receipt, {
      version: 1,
      leafRecord: this.#leaves[leaf]!.record,
      tlogProof: await this.#tlogProof(leaf),
      policyChain: this.ledger.registry.policyChain(() => undefined),
    })
  }

  #stored(leaf: number) {
    const { record, signed, trailBody } = this.#leaves[leaf]!
    return { record, signed, body: trailBody, wraps: new Uint8Array(0) }
  }

  async #value({ namespace, key }: { namespace: string; key: Uint8Array }) {
    const bytes = this.ledger.value(namespace, key)
    const appliedLeafCount = this.size
    if (bytes === undefined) return { value: undefined, appliedLeafCount }
    const { leaf, command, ciphertext, generation = 0 } = decode(storedValue, bytes)
    const written = this.#logOf(generation)
    const { record, signed } = written.#leaves[leaf]!
    const tlogProof = leaf < written.#closed.size ? await written.#tlogProof(leaf) : ''
    return { value: { leaf, command, ciphertext, record, signed, tlogProof }, appliedLeafCount }
  }

  #logOf(generation: number): TestLog {
    return generation === this.ledger.generation ? this : this.#older!.#logOf(generation)
  }

  async #cell({ namespace, key }: { namespace: string; key: Uint8Array }) {
    await this.#close()
    const proven = this.ledger.cell(namespace, key)
    if (proven === undefined) return undefined
    const { leaf } = this.#closed
    const tlogProof = await this.#tlogProof(leaf.leafIndex)
    return { cellProof: encode(cellProof, proven), batchRecord: leaf.record, tlogProof }
  }

  async #envelope(id: Uint8Array) {
    const stored = this.ledger.envelope(id)!
    return { fixed: encode(keyEnvelope, stored.envelope), wraps: stored.wraps }
  }

  #tile(path: string): Uint8Array | undefined {
    const tile = parseTilePath(path)
    if (tile.kind !== 'hashes') return undefined
    const bytes = this.#readTile(tile.level, tile.index, tile.width)
    return bytes.length === tileBytes(tile.width) ? bytes : undefined
  }

  async *#watch(endpoint: string, query: { fromLeaf: number; namespace: string | undefined }, signal: AbortSignal) {
    await this.intercept({ endpoint, method: 'watch', args: [query] }, () => Promise.resolve())
    for (let leaf = query.fromLeaf; !signal.aborted;) {
      if (leaf >= this.size) {
        await new Promise<void>((resolve) => {
          this.#waiters.push(resolve)
          signal.addEventListener('abort', () => resolve(), { once: true })
        })
        continue
      }
      const { record, signed, body } = this.#stored(leaf)
      const watched = { leaf, record, signed, body }
      yield (await this.intercept({ endpoint, method: 'watched', args: [leaf] }, () =>
        Promise.resolve(watched),
      )) as typeof watched
      leaf++
    }
  }
}

/** A refusal as it comes over the wire: details are text. */
function refusal(code: string, command: number): CipherlogError {
  return new RefusedError(code, `Command ${command} is refused.`, { details: { command: String(command) } })
}

/** SHA-256 of a text, as stand-in for ids. */
export function idOf(text: string): Uint8Array {
  return sha256(new TextEncoder().encode(text)).slice(0, 16)
}

/**
 * A replica: the pipeline behind its API. It joins ledger, replicator, verifiers, publisher and stores, all
 * injected, and answers what clients ask. No sockets, no files, no threads of its own.
 */
import {
  CipherlogError,
  decode,
  encode,
  NotLeaderError,
  ProposalOutcomeUnknownError,
  systemClock,
  toHex,
  type Clock,
  type Logger,
} from '@cipherlog/core'
import { labelledHash, labels, sha256 } from '@cipherlog/crypto/hash'
import { signLabelled } from '@cipherlog/crypto/signature'
import {
  applied,
  cellProof,
  commandBundle,
  keyEnvelope,
  leafKinds,
  leafRecord,
  modes,
  readPolicies,
  receipt,
  signedApplied,
  signedCommandBundle,
  storedValue,
  type CommandBundle,
  type NodeKeys,
} from '@cipherlog/format'
import { type ClosedBatch, type Leaf, type Ledger, type StoredAnswer } from '@cipherlog/machine'
import { formatTlogProof, parseCheckpoint, parseNote } from '@cipherlog/merkle/verify'
import { inclusionProof } from '@cipherlog/merkle/tree'
import { type ProofVerifier } from '@cipherlog/proof'
import { type StateStore, type TrailStore } from '@cipherlog/storage'
import {
  type ClientSessions,
  type NodeApi,
  type NodeStatus,
  type Proposal,
  type ProposalAnswer,
  type ProvenCell,
  type PublishedCheckpoint,
  type Readiness,
  type StoredLeaf,
  type StoredValue,
  type TrailFile,
  type WatchedLeaf,
} from '../node-api.ts'
import { type Replicator } from '../replicator.ts'
import { admit, refuseIfBusy, type Admitted } from './admission.ts'
import { ApplyLoop } from './apply-loop.ts'
import { Marks } from './marks.ts'
import { Persistence } from './persistence.ts'
import { PendingProposals } from './proposals.ts'
import { Publisher, type PublisherOptions, type SignatureLines } from './publisher.ts'

/** A proposal that is not applied by then gets `ERR_OUTCOME_UNKNOWN`. */
const answerMsMax = 15_000
/** A new leader applies what came before its term before it admits anything; requests wait this long for it. */
const leaderReadyMsMax = 3_000
/** Longest wait of a cell read for its checkpoint. */
const publishedMsMax = 10_000

/** What the pipeline reports as it goes; a host turns it into metrics. */
export interface ReplicaObserver {
  refused(code: string): void
  applied(entry: { readonly verdicts: readonly number[]; readonly durationMs: number }): void
  treeSize(size: number): void
  published(size: number): void
}

export interface ReplicaOptions {
  readonly ledger: Ledger
  readonly keys: NodeKeys
  readonly replicator: Replicator
  readonly verifier: ProofVerifier
  readonly trail: TrailStore
  readonly state: StateStore
  readonly clock?: Clock
  readonly logger: Logger
  readonly observer: ReplicaObserver
  readonly signedHead: PublisherOptions['signedHead']
  readonly crossCheck: PublisherOptions['crossCheck']
  readonly broadcast: (lines: SignatureLines) => void
  readonly onFatal: (error: unknown) => void
  readonly batchIntervalMs: number
  readonly idleMarkMs: number
  readonly pendingProposalsMax: number
  /** What the leader checks before it appends; replicas decide again whatever a faulty leader lets in. */
  readonly admit?: typeof admit | undefined
  /** Addresses for status, by peer id. */
  readonly peerAddresses: () => readonly {
    readonly peerId: string
    readonly api: string
    readonly connected: boolean
  }[]
  readonly version: string
}

/** What a restart found on disk. */
export interface Resumed {
  readonly publishedSize: number
  /** Checkpoints of transition sizes, from the published policy chain. */
  readonly transitions: Iterable<readonly [size: number, checkpoint: string]>
}

export class Replica implements NodeApi {
  readonly #options: ReplicaOptions
  readonly #clock: Clock
  readonly #proposals = new PendingProposals()
  readonly #apply: ApplyLoop
  readonly #publisher: Publisher
  readonly #persistence: Persistence
  readonly #marks: Marks
  #lastClosed: ClosedBatch | undefined
  #leafWaiters: (() => void)[] = []
  #stopped = false
  /** Checkpoints of transition sizes, which the policy chain carries. */
  readonly #transitions: Map<number, string>

  constructor(options: ReplicaOptions, resumed: Resumed) {
    this.#options = options
    this.#clock = options.clock ?? systemClock
    this.#transitions = new Map(resumed.transitions)
    const { ledger, replicator, keys, trail, state, logger, observer, onFatal } = options
    const { genesis } = ledger.registry
    this.#publisher = new Publisher({
      origin: ledger.origin,
      clusterName: genesis.name,
      self: { peerId: keys.peerId, logKey: keys.log, cosignerKey: keys.cosigner },
      setsFor: (size) => ledger.registry.setsFor(size),
      signedHead: options.signedHead,
      clock: this.#clock,
      logger,
      crossCheck: options.crossCheck,
      broadcast: options.broadcast,
      publish: (size, note) => this.#publish(size, note),
      onFatal,
    })
    this.#publisher.resume(resumed.publishedSize)
    this.#persistence = new Persistence({ trail, state, onPersisted: () => {}, onFatal })
    this.#marks = new Marks({
      replicator,
      clock: this.#clock,
      batchIntervalMs: options.batchIntervalMs,
      idleMarkMs: options.idleMarkMs,
      openLeaves: () => ledger.openLeaves,
    })
    this.#apply = new ApplyLoop({
      ledger,
      replicator,
      verifier: options.verifier,
      proposals: this.#proposals,
      logger,
      onLeaf: (leaf) => this.#leaf(leaf),
      onClosed: (closed) => this.#closed(closed),
      onApplied: (entry) => observer.applied(entry),
      onRefused: (code) => observer.refused(code),
      monotonic: () => this.#clock.monotonic(),
    })
  }

  /** Applies until stopped. */
  async run(): Promise<void> {
    const refresh = setInterval(() => {
      this.#publisher.refresh().catch((error: unknown) => this.#options.onFatal(error))
    }, 20_000)
    const repeat = setInterval(() => {
      if (this.#publisher.publishedSize < (this.#lastClosed?.size ?? 0)) this.#publisher.repeat()
    }, 500)
    try {
      await this.#apply.run()
    } finally {
      clearInterval(refresh)
      clearInterval(repeat)
    }
  }

  /** A fresh ledger's genesis: leaf 0 and its batch. */
  begin(leaf: Leaf, closed: ClosedBatch): void {
    this.#leaf(leaf)
    this.#leaf(closed.leaf)
    this.#closed(closed)
  }

  /** The newest batch of before a restart, whose leaves are in the trail: to be cosigned again. */
  resume(closed: ClosedBatch): void {
    this.#lastClosed = closed
    this.#publisher.closed(closed)
  }

  peerSignatures(from: Uint8Array, lines: SignatureLines): void {
    this.#publisher.received(from, lines)
  }

  peerConnected(): void {
    this.#publisher.repeat()
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#marks.stop()
    this.#apply.stop()
    this.#proposals.failAll(new ProposalOutcomeUnknownError())
    this.#wakeLeafWaiters()
    await this.#publisher.idle()
    await this.#persistence.idle()
  }

  #leaf(leaf: Leaf): void {
    const { trail, observer } = this.#options
    const { leafIndex: index, record: entry, signed, trailBody: body, tiles } = leaf
    trail.append({ index, entry, signed, body, tiles })
    observer.treeSize(index + 1)
    this.#wakeLeafWaiters()
  }

  #wakeLeafWaiters(): void {
    const waiters = this.#leafWaiters
    this.#leafWaiters = []
    for (const resolve of waiters) resolve()
  }

  #closed(closed: ClosedBatch): void {
    this.#lastClosed = closed
    this.#persistence.closed(this.#options.ledger.appliedIndex)
    this.#publisher.closed(closed)
  }

  async #publish(size: number, note: string): Promise<void> {
    const { trail, ledger, observer } = this.#options
    if (ledger.registry.setsFor(size).length > 1) this.#transitions.set(size, note)
    await trail.publish({ checkpoint: note, size, policyChain: this.#policyChain() })
    observer.published(size)
  }

  // --- what clients ask ---

  async propose(proposal: Proposal): Promise<ProposalAnswer> {
    const { replicator, pendingProposalsMax } = this.#options
    await this.#leaderReady()
    refuseIfBusy(this.#proposals.size, pendingProposalsMax)
    const admitted = await this.#admit(proposal)
    if (admitted.outcome === 'duplicate') return this.#answer(admitted.answer, true)
    const digest = sha256(proposal.signed)
    const { answer, first } = this.#proposals.wait(digest, answerMsMax)
    if (first) {
      void replicator.propose(proposal.kind, admitted.payload).then((outcome) => {
        if (outcome.outcome === 'dropped') {
          this.#proposals.fail(
            digest,
            outcome.reason === 'not-leader'
              ? new NotLeaderError(outcome.leaderId)
              : new CipherlogError(
                  'ERR_BUSY',
                  'The leader has more uncommitted bytes than it may hold; wait and send the same bytes again.',
                ),
          )
        } else if (outcome.outcome === 'unknown') {
          this.#proposals.fail(digest, new ProposalOutcomeUnknownError())
        }
      })
    }
    const outcome = await answer
    if (outcome.outcome === 'refused') throw outcome.error
    if (proposal.receipt) this.#marks.want()
    return this.#answer(outcome.answer, outcome.outcome === 'duplicate')
  }

  async #admit(proposal: Proposal): Promise<Admitted> {
    const { ledger, verifier, observer } = this.#options
    try {
      return await (this.#options.admit ?? admit)(ledger, verifier, proposal)
    } catch (error) {
      if (error instanceof CipherlogError) observer.refused(error.code)
      throw error
    }
  }

  /** A leader is current once it has applied an entry of its own term. */
  async #leaderReady(): Promise<void> {
    const { replicator, ledger } = this.#options
    const deadline = this.#clock.monotonic() + leaderReadyMsMax
    for (;;) {
      const since = replicator.leadingSince()
      if (since === undefined) throw new NotLeaderError(replicator.status().leaderId)
      if (ledger.appliedIndex >= since) return
      if (this.#clock.monotonic() > deadline || this.#stopped) {
        throw new CipherlogError('ERR_UNAVAILABLE', 'The leader is not ready yet; try again.')
      }
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }

  #answer(answer: StoredAnswer, duplicate: boolean): ProposalAnswer {
    const { ledger, keys } = this.#options
    const statement = encode(applied, {
      version: 1,
      origin: ledger.origin,
      leaf: answer.leaf,
      digest: answer.digest,
      verdicts: [...answer.verdicts],
    })
    return {
      applied: encode(signedApplied, [statement, signLabelled(keys.answer, labels.applied, statement)]),
      duplicate,
    }
  }

  status(): NodeStatus {
    const { ledger, replicator, keys, peerAddresses, version } = this.#options
    const { registry } = ledger
    const raft = replicator.status()
    const self = toHex(keys.peerId)
    return {
      origin: ledger.origin,
      cluster: toHex(registry.cluster),
      group: toHex(ledger.group),
      generation: ledger.generation,
      peerId: self,
      role: raft.role,
      leaderId: raft.leaderId,
      term: raft.term,
      commitIndex: raft.commitIndex,
      appliedIndex: ledger.appliedIndex,
      treeSize: ledger.treeSize,
      publishedSize: this.#publisher.publishedSize,
      registryNumber: registry.head.number,
      logTime: ledger.logTime,
      peers: peerAddresses().map(({ peerId, api, connected }) => ({
        peerId,
        apiAddress: api,
        connected: connected || peerId === self,
        matchIndex: peerId === self ? raft.lastIndex : raft.matchIndexes[peerId],
        learner: false,
      })),
      mode: registry.genesis.mode === modes.production ? 'production' : 'development',
      trailFrom: 0,
      version,
      provingKeys:
        registry.genesis.circuits.length === 0
          ? 'none'
          : registry.genesis.circuits.every((circuit) => circuit.ceremony !== undefined)
            ? 'ceremony'
            : 'development',
    }
  }

  ready(): Readiness {
    const { replicator, ledger } = this.#options
    const { leaderId, commitIndex } = replicator.status()
    const reasons: string[] = []
    if (leaderId === undefined) reasons.push('no leader is known')
    if (commitIndex - ledger.appliedIndex > 10_000) reasons.push('applying is far behind')
    return { ok: reasons.length === 0, reasons }
  }

  keyEvents(from: number, max: number): Promise<readonly Uint8Array[]> {
    const { registry } = this.#options.ledger
    const out: Uint8Array[] = []
    for (let number = from; number <= registry.head.number && out.length < max; number++) {
      out.push(number === 0 ? registry.signedGenesis : registry.event(number)!.signed)
    }
    return Promise.resolve(out)
  }

  async checkpoint(): Promise<PublishedCheckpoint> {
    const note = await this.#publishedNote()
    const { size } = parseCheckpoint(parseNote(note).text)
    return {
      checkpoint: note,
      policyChain: this.#policyChain(),
      lastLeaf: await this.#options.trail.readEntry(size - 1),
      proof: await this.#proof(size - 1, size),
    }
  }

  #policyChain(): Uint8Array {
    return this.#options.ledger.registry.policyChain((size) => this.#transitions.get(size))
  }

  async #publishedNote(): Promise<string> {
    const note = await this.#options.trail.checkpoint()
    if (note === undefined) {
      throw new CipherlogError('ERR_NOT_PUBLISHED', 'No checkpoint has its quorum of signatures yet; try again soon.')
    }
    return note
  }

  #proof(leafIndex: number, treeSize: number): Promise<Uint8Array[]> {
    const { trail } = this.#options
    return inclusionProof(leafIndex, treeSize, (level, index, width) => trail.readTile(level, index, width))
  }

  /** A proof of `leaf` in the newest published checkpoint, which must cover it. */
  async #tlogProof(leaf: number): Promise<string> {
    const checkpoint = await this.#publishedNote()
    const { size } = parseCheckpoint(parseNote(checkpoint).text)
    return formatTlogProof({ index: leaf, proof: await this.#proof(leaf, size), checkpoint })
  }

  #requireLeaf(leaf: number): void {
    if (leaf < this.#options.ledger.treeSize) return
    throw new CipherlogError('ERR_NOT_FOUND', `There is no leaf ${leaf} yet.`, { details: { leaf } })
  }

  async receipt(leaf: number, waitMs: number): Promise<Uint8Array> {
    this.#requireLeaf(leaf)
    if (this.#publisher.publishedSize <= leaf) this.#marks.want()
    if (!(await this.#publisher.published(leaf + 1, waitMs))) {
      throw new CipherlogError(
        'ERR_NOT_PUBLISHED',
        `Leaf ${leaf} is applied, but no checkpoint covers it yet; ask again.`,
        { details: { leaf } },
      )
    }
    return encode(receipt, {
      version: 1,
      leafRecord: await this.#options.trail.readEntry(leaf),
      tlogProof: await this.#tlogProof(leaf),
      policyChain: this.#policyChain(),
    })
  }

  async leaf(index: number): Promise<StoredLeaf> {
    this.#requireLeaf(index)
    const { trail } = this.#options
    const signed = await trail.readSigned(index)
    const record = await trail.readEntry(index)
    return { record, signed, body: await trail.readBody(index), wraps: this.#wraps(record, signed) }
  }

  /** Wraps of the envelopes that a bundle wrote, from state: the trail does not keep them. */
  #wraps(record: Uint8Array, signed: Uint8Array): Uint8Array {
    const bundle = bundleOf(record, signed)
    const parts: Uint8Array[] = []
    for (const head of bundle?.heads ?? []) {
      if (head.wraps === undefined || head.args === undefined) continue
      const stored = this.#options.ledger.envelope(labelledHash(labels.envelopeId, head.args))
      if (stored !== undefined) parts.push(stored.wraps)
    }
    const out = new Uint8Array(parts.reduce((length, part) => length + part.length, 0))
    let at = 0
    for (const part of parts) {
      out.set(part, at)
      at += part.length
    }
    return out
  }

  async value(query: {
    readonly namespace: string
    readonly key: Uint8Array
    readonly linearizable: boolean
  }): Promise<{ readonly value: StoredValue | undefined; readonly appliedLeafCount: number }> {
    const { ledger, replicator, trail } = this.#options
    if (query.linearizable) await this.#apply.reached(await replicator.readBarrier())
    const appliedLeafCount = ledger.treeSize
    const bytes = ledger.value(query.namespace, query.key)
    if (bytes === undefined) return { value: undefined, appliedLeafCount }
    const { leaf, command, ciphertext } = decode(storedValue, bytes)
    return {
      appliedLeafCount,
      value: {
        leaf,
        command,
        ciphertext,
        record: await trail.readEntry(leaf),
        signed: await trail.readSigned(leaf),
        tlogProof: leaf < this.#publisher.publishedSize ? await this.#tlogProof(leaf) : '',
      },
    }
  }

  /** As of the first batch record that covers everything applied when the read was confirmed. */
  async cell(query: { readonly namespace: string; readonly key: Uint8Array }): Promise<ProvenCell | undefined> {
    const { ledger, replicator } = this.#options
    await this.#apply.reached(await replicator.readBarrier())
    const wanted = ledger.treeSize
    const deadline = this.#clock.monotonic() + publishedMsMax
    while (ledger.openLeaves > 0 && (this.#lastClosed?.size ?? 0) < wanted) {
      this.#marks.want()
      if (this.#clock.monotonic() > deadline) {
        throw new CipherlogError('ERR_NOT_PUBLISHED', 'No batch was closed in time; try again.')
      }
      await this.#nextLeaf(100)
    }
    // One synchronous step: the cells are those of the newest batch record.
    const closed = this.#lastClosed
    const proven = ledger.cell(query.namespace, query.key)
    if (proven === undefined || closed === undefined) return undefined
    const cell = encode(cellProof, proven)
    const { record } = closed.leaf
    if (!(await this.#publisher.published(closed.size, publishedMsMax))) {
      throw new CipherlogError('ERR_NOT_PUBLISHED', 'The batch record has no quorum of signatures yet; try again.')
    }
    return { cellProof: cell, batchRecord: record, tlogProof: await this.#tlogProof(closed.leaf.leafIndex) }
  }

  envelope(id: Uint8Array): Promise<{ readonly fixed: Uint8Array; readonly wraps: Uint8Array }> {
    const stored = this.#options.ledger.envelope(id)
    if (stored === undefined) {
      return Promise.reject(new CipherlogError('ERR_NOT_FOUND', 'There is no such key envelope.'))
    }
    return Promise.resolve({ fixed: encode(keyEnvelope, stored.envelope), wraps: stored.wraps })
  }

  session(client: Uint8Array): Promise<ClientSessions> {
    return Promise.resolve(this.#options.ledger.sessions(client))
  }

  async *watch(
    query: { readonly fromLeaf: number; readonly namespace: string | undefined },
    signal: AbortSignal,
  ): AsyncIterable<WatchedLeaf> {
    const { ledger, trail } = this.#options
    for (let leaf = query.fromLeaf; !signal.aborted && !this.#stopped;) {
      if (leaf >= ledger.treeSize) {
        await this.#nextLeaf(1_000)
        continue
      }
      const record = await trail.readEntry(leaf)
      const signed = await trail.readSigned(leaf)
      const wanted =
        query.namespace === undefined ||
        (bundleOf(record, signed)?.heads.some((head) => head.namespace === query.namespace) ?? false)
      if (wanted) yield { leaf, record, signed, body: await trail.readBody(leaf) }
      leaf++
    }
  }

  #nextLeaf(waitMsMax: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, waitMsMax)
      this.#leafWaiters.push(() => {
        clearTimeout(timer)
        resolve()
      })
    })
  }

  async trailFile(path: string): Promise<TrailFile | undefined> {
    return this.#options.trail.file(path)
  }

  bodiesArePublic(): boolean {
    return this.#options.ledger.registry.namespaces().every((namespace) => namespace.readPolicy === readPolicies.public)
  }
}

/** The bundle in a leaf's slot, or undefined if the leaf is of another kind. */
function bundleOf(record: Uint8Array, signed: Uint8Array): CommandBundle | undefined {
  if (signed.length === 0 || decode(leafRecord, record).kind !== leafKinds.commandBundle) return undefined
  return decode(commandBundle, decode(signedCommandBundle, signed)[0])
}

/**
 * A replica: the pipeline behind its API. It joins ledger, replicator, verifiers, publisher and stores, all
 * injected, and answers what clients ask. No sockets, no files, no threads of its own.
 *
 * Invariant: after a fault (a broken invariant, a failed disk, verifier or evaluator) it answers, signs, publishes and
 * writes nothing any more.
 */
import {
  CipherlogError,
  decode,
  DecodeError,
  encode,
  equalBytes,
  errorCode,
  invariant,
  InvariantViolation,
  NotLeaderError,
  ProposalOutcomeUnknownError,
  RefusedError,
  systemClock,
  toHex,
  type Clock,
  type Logger,
} from '@cipherlog/core'
import { labels, sha256 } from '@cipherlog/crypto/hash'
import { signLabelled } from '@cipherlog/crypto/signature'
import { applied, entryKinds, modes, policyChain, signedApplied, type NodeKeys } from '@cipherlog/format'
import { putMemberAddresses, type ClosedBatch, type Leaf, type Ledger, type StoredAnswer } from '@cipherlog/machine'
import { rulesVersionMax } from '@cipherlog/registry'
import { rootFromTiles } from '@cipherlog/merkle/tree'
import { parseCheckpoint, parseNote } from '@cipherlog/merkle/verify'
import { type ProofVerifier } from '@cipherlog/proof'
import { type StateStore, type TrailStore } from '@cipherlog/storage'
import {
  type ClientSessions,
  type MembershipState,
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
import { admit, type Admitted, type Reserve } from './admission.ts'
import { forgetfulNotes, type ApplyNotes } from './apply-guard.ts'
import { ApplyLoop, type AppliedEntry, type PausedEntry } from './apply-loop.ts'
import { busy, CostBudget } from './cost-budget.ts'
import { Marks } from './marks.ts'
import { Persistence } from './persistence.ts'
import { PendingProposals, type ApplyOutcome } from './proposals.ts'
import { Publisher, type PublisherOptions } from './publisher.ts'
import { type SignatureLines } from './cosignatures.ts'
import { Reads } from './reads.ts'
import { Signal } from './signal.ts'

/** A proposal that is not applied by then gets `ERR_OUTCOME_UNKNOWN`. */
const answerMsMax = 15_000
/** A new leader applies what came before its term before it admits anything; requests wait this long for it. */
const leaderReadyMsMax = 3_000
/** How often lost cosignatures are sent again. */
const cosignTickMs = 500
/** Closed batches whose way to publication is timed. */
const timedBatchesMax = 256
/** After these a replica does not go on: what it would say next cannot be relied on. */
const fatalCodes = new Set(['ERR_INVARIANT', 'ERR_STORAGE_FAILED', 'ERR_TRAIL_DAMAGED'])

/** Stages whose length is measured; each ends with the stage it is named after. */
export type TimedStage = 'admitted' | 'committed' | 'verified' | 'applied' | 'published'

/** What the pipeline reports as it goes; a host turns it into metrics. */
export interface ReplicaObserver {
  refused(code: string): void
  applied(entry: AppliedEntry): void
  /** Proposals without an answer. */
  pending(count: number): void
  stage(stage: TimedStage, durationMs: number): void
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
  /** Compares the tree of a batch record with a second computation; throws if they differ. */
  readonly crossCheck: (closed: ClosedBatch) => void
  readonly broadcast: PublisherOptions['broadcast']
  readonly send: PublisherOptions['send']
  /** A key event changed who takes part. */
  readonly onMembersChanged: () => void
  /** Called once; the replica has halted before. */
  readonly onFatal: (error: unknown) => void
  readonly batchIntervalMs: number
  readonly idleMarkMs: number
  readonly pendingProposalsMax: number
  readonly unappliedCostMsMax: number
  /** Trails of generations before a restore, by generation. */
  readonly olderTrails?: ReadonlyMap<number, TrailStore> | undefined
  /** The newest rules that every voter has said it knows; default: those in force, so that nobody raises them. */
  readonly votersSupport?: () => number
  /** Where this replica notes the entries at which it stops; default: nowhere that outlives it. */
  readonly applyNotes?: ApplyNotes
  /** What the leader checks before it appends; replicas decide again whatever a faulty leader lets in. */
  readonly admit?: typeof admit | undefined
  /** What the host knows of the members, this replica included. */
  readonly members: () => readonly MemberInfo[]
  /** What this replica is in the group, and how its log is. */
  readonly standing: () => ReplicaStanding
  /** A batch record at which every replica takes a snapshot; nothing after it is in the state yet. */
  readonly onSnapshotDue?: (closed: ClosedBatch) => void
  /** State and trail hold everything up to this entry, durably. */
  readonly onPersisted?: (logIndex: number) => void
  readonly version: string
}

/** What is known of a member beside the log. */
export interface MemberInfo {
  readonly peerId: string
  /** Base URL; empty if unknown. */
  readonly api: string
  /** `host:port`; empty if unknown. */
  readonly peers: string
  readonly connected: boolean
  /** By its own word; undefined: it has not said. */
  readonly trailFrom: number | undefined
  readonly rulesVersionMax: number | undefined
}

export interface ReplicaStanding {
  readonly membership: MembershipState
  readonly damagedEntries: number
  readonly inDoubt: boolean
}

/** What a restart found in the trail. */
export interface Resumed {
  readonly checkpoint: string | undefined
  /** Checkpoints of transition sizes, from the published policy chain. */
  readonly transitions: readonly string[]
}

/** What the trail says was published. */
export async function resumedFrom(trail: TrailStore): Promise<Resumed> {
  const file = await trail.file('policy-chain')
  const chain = await file?.read(0, file.size)
  const links = chain === undefined ? [] : decode(policyChain, chain)[1]
  return {
    checkpoint: trail.checkpoint(),
    transitions: links.flatMap(({ transitionCheckpoint: note }) => (note === undefined ? [] : [note])),
  }
}

export class Replica implements NodeApi {
  readonly #options: ReplicaOptions
  readonly #clock: Clock
  readonly #proposals = new PendingProposals()
  readonly #budget: CostBudget
  readonly #apply: ApplyLoop
  readonly #publisher: Publisher
  readonly #persistence: Persistence
  readonly #marks: Marks
  readonly #reads: Reads
  readonly #leaves = new Signal()
  #lastClosed: ClosedBatch | undefined
  /** The log entry that closed it. */
  #closedIndex = 0
  /** When batches were closed, by tree size. */
  readonly #closedAt = new Map<number, number>()
  /** Checkpoints of transition sizes, which the policy chain carries and which replicas that come later ask for. */
  readonly #transitions: Map<number, string>
  readonly #resumed: Resumed
  #cosignerSets: number
  #halted = false
  #stopping = false
  #running: Promise<void> | undefined

  constructor(options: ReplicaOptions, resumed: Resumed) {
    this.#options = options
    this.#resumed = resumed
    this.#clock = options.clock ?? systemClock
    this.#transitions = new Map(resumed.transitions.map((note) => [sizeOfNote(note), note]))
    const { ledger, replicator, keys, trail, state, logger, observer } = options
    this.#cosignerSets = ledger.registry.cosignerSets.length
    const monotonic = (): number => this.#clock.monotonic()
    const onFatal = (error: unknown): void => this.#fail(error)
    this.#budget = new CostBudget(options.unappliedCostMsMax, monotonic)
    this.#publisher = new Publisher({
      origin: ledger.origin,
      clusterName: ledger.registry.genesis.name,
      self: { peerId: keys.peerId, logKey: keys.log, cosignerKey: keys.cosigner },
      setsFor: (size) => ledger.registry.setsFor(size),
      transitionNote: (size) => this.#transitions.get(size),
      signedHead: options.signedHead,
      clock: this.#clock,
      logger,
      broadcast: options.broadcast,
      send: options.send,
      publish: (size, note) => this.#publish(size, note),
      onFatal,
    })
    this.#persistence = new Persistence({
      trail,
      state,
      atBatchRecord: () =>
        ledger.openLeaves === 0 && trail.size === ledger.treeSize
          ? { treeSize: ledger.treeSize, logIndex: this.#closedIndex }
          : undefined,
      onPersisted: ({ treeSize, logIndex }) => {
        this.#publisher.persisted(treeSize)
        options.onPersisted?.(logIndex)
      },
      onFatal,
    })
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
      onAddresses: (addresses) => putMemberAddresses(state, addresses),
      onLeaf: (leaf) => this.#leaf(leaf),
      onClosed: (closed) => this.#closed(closed),
      room: () => this.#persistence.room(),
      onApplied: (entry) => {
        observer.applied(entry)
        observer.stage('verified', entry.verifyMs)
      },
      onRefused: (code) => observer.refused(code),
      monotonic,
      notes: options.applyNotes ?? forgetfulNotes(),
      software: options.version,
    })
    this.#reads = new Reads({
      ledger,
      trail,
      publisher: this.#publisher,
      clock: this.#clock,
      leaves: this.#leaves,
      stopped: () => this.#stopping,
      lastClosed: () => this.#lastClosed,
      policyChain: () => this.#policyChain(),
      olderTrails: options.olderTrails ?? new Map(),
      caughtUp: async () => this.#apply.reached(await replicator.readBarrier()),
      wantMark: () => this.#marks.want(),
    })
    // Nobody knows what becomes of a deposed leader's entries; its successor answers a retry.
    replicator.onLeadershipChange(({ role }) => {
      if (role !== 'leader') this.#proposals.failAll(new ProposalOutcomeUnknownError())
    })
  }

  // --- from start to stop ---

  /** A fresh ledger's genesis: leaf 0 and its batch. */
  begin(leaf: Leaf, closed: ClosedBatch): void {
    this.#publisher.resume({ treeSize: 0, checkpoint: this.#resumed.checkpoint })
    this.#leaf(leaf)
    this.#leaf(closed.leaf)
    this.#closed(closed)
  }

  /**
   * Goes on from the batch record that the state store holds: it is cosigned again, and before it whatever transition
   * sizes were not published. @throws InvariantViolation if the trail is not the one that was signed.
   */
  async resume(): Promise<void> {
    const { ledger, trail, signedHead } = this.#options
    const { treeSize } = ledger
    const rootOf = (size: number): Promise<Uint8Array> =>
      rootFromTiles(size, (level, index, width) => trail.readTile(level, index, width))
    const newest = ledger.newestBatch(await trail.readEntry(treeSize - 1))
    const head = signedHead.read()
    for (const signed of [head, { size: treeSize, rootHash: newest.rootHash }]) {
      if (signed === undefined || signed.size > treeSize || signed.size <= trail.trailFrom) continue
      invariant(
        equalBytes(await rootOf(signed.size), signed.rootHash),
        'The trail does not have the root that this replica signed or stored. Keep its disk as evidence.',
        { size: signed.size, expected: toHex(signed.rootHash) },
      )
    }
    this.#publisher.resume({ treeSize, checkpoint: this.#resumed.checkpoint })
    for (const { transitionSize: size } of ledger.registry.presentCosignerSets) {
      if (size === undefined || size <= this.#publisher.publishedSize || size >= treeSize) continue
      // Published before this replica came: it has the note.
      if (this.#transitions.has(size)) continue
      this.#publisher.closed({ size, rootHash: await rootOf(size), transition: true })
    }
    this.#lastClosed = newest
    this.#closedIndex = ledger.appliedIndex
    this.#publisher.closed(newest)
    this.#options.observer.treeSize(treeSize)
    this.#options.observer.published(this.#publisher.publishedSize)
  }

  /** Applies until stopped; resolves then. A fault goes to `onFatal`. */
  run(): Promise<void> {
    const ticks = setInterval(() => this.#publisher.tick(), cosignTickMs)
    this.#running = this.#apply
      .run()
      .catch((error: unknown) => this.#fail(error))
      .finally(() => clearInterval(ticks))
    return this.#running
  }

  /** Answers nothing more, at once; what is known to be good is still written and published. */
  #cease(): void {
    this.#stopping = true
    this.#marks.stop()
    this.#apply.stop()
    this.#proposals.failAll(new ProposalOutcomeUnknownError())
    this.#leaves.wake()
  }

  #fail(error: unknown): void {
    if (this.#halted) return
    this.halt()
    this.#options.onFatal(error)
  }

  /** Ends everything at once; for faults that were found elsewhere. */
  halt(): void {
    this.#halted = true
    this.#cease()
    this.#persistence.stop()
    this.#publisher.halt()
  }

  /** To be called once the replicator has stopped. Resolves when nothing is written any more. */
  async stop(): Promise<void> {
    this.#cease()
    await this.#running
    await this.#persistence.idle()
    this.#publisher.halt()
    await this.#publisher.idle()
  }

  /** What a peer sent; evidence of a fork goes to `onFatal`. */
  peerSignatures(from: Uint8Array, lines: SignatureLines): void {
    this.#publisher.received(from, lines)
  }

  peerRequest(from: Uint8Array, size: number): void {
    this.#publisher.requested(from, size)
  }

  /** A checkpoint of a transition size that a peer has published; evidence of a fork goes to `onFatal`. */
  peerTransition(from: Uint8Array, note: string): void {
    this.#publisher.transitionPublished(from, note)
  }

  peerConnected(): void {
    this.#publisher.repeat()
  }

  // --- what applying leads to ---

  #leaf(leaf: Leaf): void {
    const { trail, observer, ledger, onMembersChanged } = this.#options
    const { leafIndex: index, record: entry, signed, trailBody: body, tiles } = leaf
    trail.append({ index, entry, signed, body, tiles })
    this.#persistence.leaf(entry.length + signed.length + body.length)
    observer.treeSize(index + 1)
    const sets = ledger.registry.cosignerSets.length
    if (sets !== this.#cosignerSets) {
      this.#cosignerSets = sets
      onMembersChanged()
    }
    this.#leaves.wake()
  }

  #closed(closed: ClosedBatch): void {
    this.#options.crossCheck(closed)
    this.#lastClosed = closed
    this.#closedIndex = this.#options.ledger.appliedIndex
    if (closed.snapshotDue) this.#options.onSnapshotDue?.(closed)
    this.#closedAt.set(closed.size, this.#clock.monotonic())
    if (this.#closedAt.size > timedBatchesMax) this.#closedAt.delete(this.#closedAt.keys().next().value!)
    this.#persistence.closed()
    this.#publisher.closed(closed)
    this.#leaves.wake()
  }

  async #publish(size: number, note: string): Promise<void> {
    const { trail, ledger, observer } = this.#options
    if (ledger.registry.setsFor(size).length > 1) this.#transitions.set(size, note)
    await trail.publish({ checkpoint: note, size, policyChain: this.#policyChain() })
    observer.published(size)
    const closedAt = this.#closedAt.get(size)
    if (closedAt !== undefined) observer.stage('published', this.#clock.monotonic() - closedAt)
    for (const old of [...this.#closedAt.keys()]) if (old <= size) this.#closedAt.delete(old)
  }

  #policyChain(): Uint8Array {
    return this.#options.ledger.registry.policyChain((size) => this.#transitions.get(size))
  }

  // --- what writers ask ---

  async propose(proposal: Proposal): Promise<ProposalAnswer> {
    const { observer, pendingProposalsMax } = this.#options
    // A paused leader applies nothing; what releases it must get through.
    if (proposal.kind === entryKinds.quarantine) this.#requireLeading()
    else await this.#leaderReady()
    if (this.#proposals.size >= pendingProposalsMax) throw busy(this.#budget.total)
    const digest = sha256(proposal.signed)
    const outcome = await (this.#proposals.join(digest, answerMsMax) ?? this.#proposeNew(proposal, digest))
    observer.pending(this.#proposals.size)
    if (outcome.outcome === 'refused') throw outcome.error
    if (proposal.receipt) this.#marks.want()
    return this.#answer(outcome.answer, outcome.outcome === 'duplicate')
  }

  async #proposeNew(proposal: Proposal, digest: Uint8Array): Promise<ApplyOutcome> {
    const { replicator, observer } = this.#options
    const arrivedAt = this.#clock.monotonic()
    let release: (() => void) | undefined
    try {
      const admitted = await this.#admit(proposal, ({ owner, costMs }) => {
        release = this.#budget.take(owner, costMs)
      })
      if (admitted.outcome === 'duplicate') return admitted
      if (this.#stopping) throw stopping()
      // The same bytes may have been admitted twice meanwhile.
      const joined = this.#proposals.join(digest, answerMsMax)
      if (joined !== undefined) return await joined
      const admittedAt = this.#clock.monotonic()
      observer.stage('admitted', admittedAt - arrivedAt)
      const { pending, answer } = this.#proposals.start(digest, answerMsMax)
      observer.pending(this.#proposals.size)
      void replicator.propose(proposal.kind, admitted.payload).then((proposed) => {
        switch (proposed.outcome) {
          case 'committed':
            pending.index = proposed.index
            observer.stage('committed', this.#clock.monotonic() - admittedAt)
            return
          case 'dropped':
            this.#proposals.fail(
              pending,
              proposed.reason === 'not-leader' ? new NotLeaderError(proposed.leaderId) : busy(this.#budget.total),
            )
            return
          case 'unknown':
            this.#proposals.fail(pending, new ProposalOutcomeUnknownError())
        }
      })
      const outcome = await answer
      observer.stage('applied', this.#clock.monotonic() - admittedAt)
      return outcome
    } finally {
      release?.()
    }
  }

  async #admit(proposal: Proposal, reserve: Reserve): Promise<Admitted> {
    const { ledger, verifier, observer, votersSupport = () => ledger.registry.rulesVersion } = this.#options
    try {
      return await (this.#options.admit ?? admit)(ledger, verifier, proposal, reserve, {
        votersSupport,
        pausedAt: () => this.#apply.paused?.index,
        digestAt: (index) => this.#apply.digestAt(index),
      })
    } catch (error) {
      if (error instanceof RefusedError || error instanceof DecodeError) {
        observer.refused(error.code)
        throw error
      }
      if (errorCode(error) === 'ERR_PROOF_BUSY') throw busy(this.#budget.total)
      // Verifier or state failed: that says nothing about the proposal, and the node must stop.
      this.#fail(error)
      throw new CipherlogError('ERR_UNAVAILABLE', 'The replica stops because of a fault of its own; ask another one.')
    }
  }

  #requireLeading(): void {
    const { replicator } = this.#options
    if (this.#stopping) throw stopping()
    if (replicator.leadingSince() === undefined) throw new NotLeaderError(replicator.status().leaderId)
  }

  /** A leader is current once it has applied an entry of its own term. */
  async #leaderReady(): Promise<void> {
    const { replicator, ledger } = this.#options
    const deadline = this.#clock.monotonic() + leaderReadyMsMax
    for (;;) {
      this.#requireLeading()
      if (ledger.appliedIndex >= replicator.leadingSince()!) return
      if (this.#apply.paused !== undefined) throw pausedError(this.#apply.paused)
      if (this.#clock.monotonic() > deadline) {
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

  // --- what readers ask ---

  status(): NodeStatus {
    const { ledger, replicator, keys, members, standing, trail, version } = this.#options
    const { registry } = ledger
    const raft = replicator.status()
    const { paused } = this.#apply
    const self = toHex(keys.peerId)
    const { configuration } = raft
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
      rulesVersion: registry.rulesVersion,
      rulesVersionMax,
      configuration,
      ...standing(),
      compactedIndex: raft.compactedIndex,
      snapshotIndex: raft.snapshotIndex,
      paused: paused && { index: paused.index, kind: paused.kind, digest: paused.digest && toHex(paused.digest) },
      peers: members().map((member) => {
        const { peerId, api, peers: peersAddress, connected, trailFrom, rulesVersionMax: peerRules } = member
        const progress = raft.members[peerId]
        const isSelf = peerId === self
        return {
          peerId,
          apiAddress: api,
          peersAddress,
          connected: connected || isSelf,
          matchIndex: isSelf ? raft.lastIndex : progress?.matchIndex,
          learner: configuration.learners.includes(peerId),
          voter: configuration.voters.includes(peerId) || configuration.votersOutgoing.includes(peerId),
          incarnation: Number.parseInt(peerId.slice(-8), 16),
          state: progress?.state,
          nextIndex: progress?.nextIndex,
          paused: progress?.paused,
          inflight: progress?.inflight,
          pendingSnapshot: progress?.pendingSnapshot,
          trailFrom: isSelf ? trail.trailFrom : trailFrom,
          rulesVersionMax: isSelf ? rulesVersionMax : peerRules,
        }
      }),
      mode: registry.genesis.mode === modes.production ? 'production' : 'development',
      trailFrom: trail.trailFrom,
      version,
      provingKeys:
        registry.circuits.length === 0
          ? 'none'
          : registry.circuits.every((circuit) => circuit.ceremony !== undefined)
            ? 'ceremony'
            : 'development',
    }
  }

  ready(): Readiness {
    const { replicator, ledger, trail, standing } = this.#options
    const { leaderId, commitIndex } = replicator.status()
    const { membership, inDoubt, damagedEntries } = standing()
    const reasons: string[] = []
    if (membership === 'joining') reasons.push('this replica is no part of the group yet; add it as a learner')
    if (membership === 'removed') reasons.push('this replica was removed from the group; stop it')
    if (inDoubt) reasons.push('the log may have lost entries; the other replicas are being asked')
    if (this.#stopping) reasons.push('the replica has stopped')
    const { paused } = this.#apply
    if (paused !== undefined) reasons.push(pausedError(paused).message)
    if (leaderId === undefined) reasons.push('no leader is known')
    if (commitIndex - ledger.appliedIndex > 10_000) reasons.push('applying is far behind')
    if (this.#publisher.publishedSize > trail.size) reasons.push('the log is being replayed up to the checkpoint')
    // Worth knowing, and no reason to send clients elsewhere.
    const notes: string[] = []
    if (trail.trailFrom > 0) notes.push(`the trail begins at leaf ${trail.trailFrom}; older leaves are being fetched`)
    if (damagedEntries > 0) notes.push(`${damagedEntries} entries of the log are damaged and being fetched`)
    return { ok: reasons.length === 0, reasons: [...reasons, ...notes] }
  }

  /** A fault that a read finds stops the replica like any other. */
  async #guarded<T>(read: () => T | Promise<T>): Promise<T> {
    try {
      return await read()
    } catch (thrown) {
      const error =
        thrown instanceof DecodeError
          ? new InvariantViolation(`This replica holds a damaged record: ${thrown.message}`)
          : thrown
      if (fatalCodes.has(errorCode(error) ?? '')) this.#fail(error)
      throw error
    }
  }

  keyEvents(from: number, max: number): Promise<readonly Uint8Array[]> {
    return this.#guarded(() => this.#reads.keyEvents(from, max))
  }

  checkpoint(): Promise<PublishedCheckpoint> {
    return this.#guarded(() => this.#reads.checkpoint())
  }

  receipt(leaf: number, waitMs: number, signal?: AbortSignal): Promise<Uint8Array> {
    return this.#guarded(() => this.#reads.receipt(leaf, waitMs, signal))
  }

  leaf(index: number): Promise<StoredLeaf> {
    return this.#guarded(() => this.#reads.leaf(index))
  }

  value(query: {
    readonly namespace: string
    readonly key: Uint8Array
    readonly linearizable: boolean
  }): Promise<{ readonly value: StoredValue | undefined; readonly appliedLeafCount: number }> {
    return this.#guarded(() => this.#reads.value(query))
  }

  cell(query: { readonly namespace: string; readonly key: Uint8Array }): Promise<ProvenCell | undefined> {
    return this.#guarded(() => this.#reads.cell(query))
  }

  envelope(id: Uint8Array): Promise<{ readonly fixed: Uint8Array; readonly wraps: Uint8Array }> {
    return this.#guarded(() => this.#reads.envelope(id))
  }

  session(client: Uint8Array): Promise<ClientSessions> {
    return this.#guarded(() => this.#options.ledger.sessions(client))
  }

  async *watch(
    query: { readonly fromLeaf: number; readonly namespace: string | undefined },
    signal: AbortSignal,
  ): AsyncGenerator<WatchedLeaf> {
    const leaves = this.#reads.watch(query, signal)
    try {
      for (;;) {
        const next = await this.#guarded(() => leaves.next())
        if (next.done === true) return
        yield next.value
      }
    } finally {
      await leaves.return(undefined)
    }
  }

  trailFile(path: string): Promise<TrailFile | undefined> {
    return this.#guarded(() => this.#reads.trailFile(path))
  }

  bodiesArePublic(): boolean {
    return this.#reads.bodiesArePublic()
  }
}

function pausedError({ index, digest }: PausedEntry): CipherlogError {
  const which = digest === undefined ? '' : ` with digest ${toHex(digest)}`
  return new CipherlogError(
    'ERR_UNAVAILABLE',
    `Applying has paused before log entry ${index}${which}, at which this replica stopped twice; operators can set it aside.`,
    { details: { index } },
  )
}

function stopping(): CipherlogError {
  return new CipherlogError('ERR_UNAVAILABLE', 'The replica is stopping; ask another one.')
}

/** The size of a checkpoint, from its note. */
export function sizeOfNote(note: string): number {
  return parseCheckpoint(parseNote(note).text).size
}

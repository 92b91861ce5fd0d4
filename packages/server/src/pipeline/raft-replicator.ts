/**
 * Raft behind the {@link Replicator} seam: joins the payload-free core with the WAL, the transport and the clock,
 * all injected. It carries out the core's effects in order and feeds back what became durable.
 *
 * Invariants: a payload handed out, sent or written has the length and SHA-256 that its ref states;
 * compacted <= applied <= min(commit, durable).
 */
import { CipherlogError, equalBytes, invariant, NotLeaderError, type Clock, type Logger } from '@cipherlog/core'
import { sha256 } from '@cipherlog/crypto/hash'
import { decodeMembershipChange, encodeMembershipChange, entryKinds } from '@cipherlog/format'
import {
  membershipKind,
  noOpKind,
  Raft,
  type DropReason,
  type Effect,
  type EntryRef,
  type Input,
  type Message,
  type RaftConfig,
  type Role,
  type SnapshotMessage,
  type SnapshotMeta,
} from '@cipherlog/raft'
import { type Wal, WalPayloadDamagedError } from '@cipherlog/storage'
import {
  type ChangeOutcome,
  type CommittedEntry,
  type Configuration,
  type Leadership,
  type MembershipChange,
  type ProposeOutcome,
  type ReplicaAddress,
  type Replicator,
  type ReplicatorStatus,
  type SnapshotOffer,
  type SnapshotReceiver,
  type Standing,
} from '../replicator.ts'
import { PayloadCache } from './payload-cache.ts'
import { type EntryName } from './payload-repair.ts'
import { type RaftState } from './raft-state.ts'

const payloadCacheBytesMaxDefault = 64 * 1024 * 1024
/** Longest time a linearizable read waits for a quorum. */
const readBarrierMsMax = 5_000
/** Linearizable reads that may wait at once: one round of heartbeats serves them all. */
const readsMax = 16_384
/** Payload bytes of one answer to a peer whose own are damaged; a single larger one still goes. */
const repairAnswerBytesMax = 8 * 1024 * 1024

const roleNames: Readonly<Record<Role, Leadership['role']>> = {
  follower: 'follower',
  preCandidate: 'pre-candidate',
  candidate: 'candidate',
  leader: 'leader',
}

const refusals: Readonly<Partial<Record<DropReason, (ChangeOutcome & { outcome: 'refused' })['reason']>>> = {
  'conf-pending': 'pending',
  'conf-invalid': 'invalid',
  'would-lose-quorum': 'quorum',
  'learner-behind': 'behind',
}

export interface RaftReplicatorOptions {
  readonly config: RaftConfig
  readonly state: RaftState
  /**
   * The log may have lost what it acknowledged, or cannot be written: to the others this replica is down, until
   * {@link RaftReplicator.begin}. What `state` says is not believed.
   */
  readonly muted?: boolean
  readonly group: Uint8Array
  readonly wal: Wal
  readonly clock: Clock
  readonly logger: Logger
  /** Hands a message to the transport, and does not call back; `payloads` belong to an append's entries, in order. */
  readonly send: (to: string, message: Message, payloads: readonly Uint8Array[]) => void
  /** Tells a leader that its snapshot could not be fetched. */
  readonly declineSnapshot?: (to: string, index: number) => void
  /** Resolves once a damaged payload has been fetched from a peer; without it a damaged payload stops the node. */
  readonly filled?: (index: number) => Promise<void>
  /** Payloads of recent entries kept, so that sending and applying touch no disk; default 64 MiB. */
  readonly payloadCacheBytesMax?: number
  /** A write of the WAL is durable: payload bytes and the time it took, in ms. */
  readonly onAppended?: ((bytes: number, durationMs: number) => void) | undefined
  /** A failed write or a broken invariant: the node must stop. Nothing is stepped afterwards. */
  readonly onFatal: (error: unknown) => void
}

interface PendingProposal {
  readonly payload: Uint8Array
  readonly settle: (outcome: ChangeOutcome) => void
  index: number | undefined
}

interface PendingTransfer {
  readonly to: string
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

export class RaftReplicator implements Replicator {
  #raft: Raft
  /** The core takes no part yet: nothing is stepped. */
  #muted: boolean
  readonly #options: RaftReplicatorOptions
  readonly #payloads: PayloadCache
  readonly #proposals = new Map<number, PendingProposal>()
  /** Proposals by the index they were appended at. */
  readonly #proposalAt = new Map<number, number>()
  readonly #reads = new Map<
    number,
    { readonly resolve: (index: number) => void; readonly reject: (error: unknown) => void; ticks: number }
  >()
  #transfer: PendingTransfer | undefined
  /** Who took part from which position on, ascending: at least from the newest snapshot or compaction. */
  #configurations: { readonly index: number; readonly configuration: Configuration }[]
  /** What entries that are not committed yet say of addresses. */
  readonly #addresses: Map<number, readonly ReplicaAddress[]>
  #changed: { readonly configuration: Configuration; readonly index: number }[] = []
  readonly #configurationListeners: Parameters<Replicator['onConfigurationChange']>[0][] = []
  #receiver: SnapshotReceiver | undefined
  /** Snapshot and log change places: writes wait. */
  #installing: Promise<void> | undefined
  #nextId = 1
  #committedIndex = 0
  /** Committed quarantines, in order: seldom any. */
  readonly #quarantines: number[] = []
  #leadingSince: number | undefined
  #waiting: (() => void)[] = []
  readonly #listeners: ((leadership: Leadership) => void)[] = []
  #leadershipChanged = false
  #stopped = false
  /** The core takes one input at a time, and its effects are carried out in order: none may call back. */
  #stepping = false
  /** Sends to one peer that wait for payloads from disk go out in order. */
  readonly #sendQueues = new Map<string, Promise<void>>()

  constructor(options: RaftReplicatorOptions) {
    this.#options = options
    const { persisted, addresses } = options.state
    this.#raft = new Raft(options.config, persisted)
    this.#muted = options.muted ?? false
    this.#payloads = new PayloadCache(options.payloadCacheBytesMax ?? payloadCacheBytesMaxDefault)
    this.#committedIndex = persisted.applied ?? 0
    this.#configurations = [{ index: persisted.confIndex ?? 0, configuration: persisted.confState }]
    this.#addresses = new Map(addresses)
  }

  /** Takes part from now on, with a log that is certain again. */
  begin({ persisted, addresses }: RaftState): void {
    invariant(this.#muted, 'The core takes part already.')
    this.#raft = new Raft(this.#options.config, persisted)
    this.#committedIndex = persisted.applied ?? 0
    this.#configurations = [{ index: persisted.confIndex ?? 0, configuration: persisted.confState }]
    for (const [index, named] of addresses) this.#addresses.set(index, named)
    this.#muted = false
  }

  /** Advances Raft's timers by one tick. */
  tick(): void {
    const { clock, config } = this.#options
    this.#step({ type: 'tick', clockMs: clock.now(), monotonicMs: Math.floor(clock.monotonic()) })
    // What a follower asked, or was answered, may be lost.
    for (const [context, read] of this.#reads) {
      if (++read.ticks % config.electionTicks === 0) this.#askToRead(context)
    }
  }

  unreachable(peer: string): void {
    this.#step({ type: 'unreachable', peer })
  }

  /** `peer` says whether it has installed the snapshot that it was offered. */
  snapshotStatus(peer: string, ok: boolean): void {
    this.#step({ type: 'snapshotStatus', peer, ok })
  }

  /**
   * A message of an authenticated peer; `payloads` belong to its entries, in order.
   * @throws CipherlogError `ERR_PEER_PAYLOAD`, `ERR_RAFT_MESSAGE`, DecodeError: the peer's fault; nothing changed.
   */
  receive(message: Message, payloads: readonly Uint8Array[]): void {
    if (message.type === 'snapshot') {
      this.#offered(message)
      return
    }
    if (message.type !== 'append') {
      this.#step({ type: 'message', message, clockMs: this.#options.clock.now() })
      return
    }
    if (payloads.length !== message.entries.length) {
      throw new CipherlogError('ERR_PEER_PAYLOAD', 'An append carries another number of payloads than entries.')
    }
    const entries = message.entries.map((ref, i) => {
      checkPayload(ref, payloads[i]!)
      return ref.kind === membershipKind ? { ...ref, change: decodeMembershipChange(payloads[i]!).change } : ref
    })
    this.#step({ type: 'message', message: { ...message, entries }, clockMs: this.#options.clock.now() }, payloads)
  }

  propose(kind: number, payload: Uint8Array): Promise<ProposeOutcome> {
    invariant(kind !== membershipKind, 'Membership changes through proposeChange.')
    return new Promise((settle) => {
      this.#propose(payload, settle as (outcome: ChangeOutcome) => void, (proposalId) => ({
        type: 'propose',
        proposalId,
        kind,
        bytes: payload.length,
        digest: sha256(payload),
        clockMs: this.#options.clock.now(),
      }))
    })
  }

  proposeChange({ transition, changes, addresses }: MembershipChange): Promise<ChangeOutcome> {
    const change = { transition, changes }
    let payload: Uint8Array
    try {
      payload = encodeMembershipChange(change, addresses)
    } catch (error) {
      if (!(error instanceof RangeError)) throw error
      return Promise.resolve({ outcome: 'refused', reason: 'invalid' })
    }
    return new Promise((settle) => {
      this.#propose(payload, settle, (proposalId) => ({
        type: 'proposeConf',
        proposalId,
        change,
        bytes: payload.length,
        digest: sha256(payload),
        clockMs: this.#options.clock.now(),
      }))
    })
  }

  #propose(payload: Uint8Array, settle: (outcome: ChangeOutcome) => void, input: (proposalId: number) => Input): void {
    if (this.#stopped || this.#muted) {
      settle({ outcome: 'dropped', reason: 'not-leader', leaderId: undefined })
      return
    }
    const proposalId = this.#nextId++
    this.#proposals.set(proposalId, { payload, settle, index: undefined })
    this.#step(input(proposalId))
  }

  async committed(from: number, bytesMax: number, signal?: AbortSignal): Promise<readonly CommittedEntry[]> {
    for (;;) {
      while (this.#committedIndex < from && !this.#stopped && signal?.aborted !== true) await this.#woken(signal)
      if (this.#stopped || signal?.aborted === true) return []
      if (from <= this.#compactedIndex) {
        throw new CipherlogError(
          'ERR_LOG_COMPACTED',
          `Entry ${from} is not in the log any more; go on from a snapshot.`,
          {
            details: { index: from, compactedIndex: this.#compactedIndex },
          },
        )
      }
      const entries = await this.#read(from, bytesMax, signal)
      if (entries !== undefined) return entries
    }
  }

  /** Resolves when something was committed, or it makes no sense to wait any more. */
  #woken(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve)
      signal?.addEventListener('abort', () => resolve(), { once: true })
    })
  }

  /** Committed entries from `from` on; undefined if the log changed under the read, or its first payload was damaged. */
  async #read(from: number, bytesMax: number, signal?: AbortSignal): Promise<readonly CommittedEntry[] | undefined> {
    const { wal, group, filled } = this.#options
    const out: CommittedEntry[] = []
    let bytes = 0
    for (let index = from; index <= this.#committedIndex && bytes < bytesMax; index++) {
      const ref = this.#raft.log.ref(index)
      const cached = this.#payloads.get(ref)
      if (cached === undefined) break
      bytes += cached.length
      out.push({ index, time: ref.time, kind: ref.kind, payload: cached })
    }
    if (out.length > 0) return out
    let to = this.#committedIndex
    for (;;) {
      try {
        const read = await wal.read(group, from, to, bytesMax)
        return read.map(({ ref: { index, time, kind }, payload }) => ({ index, time, kind, payload }))
      } catch (error) {
        // Compacted, or replaced by a snapshot, meanwhile.
        if (this.#compactedIndex >= from || signal?.aborted === true) return undefined
        if (!(error instanceof WalPayloadDamagedError) || filled === undefined) throw error
        if (error.index === from) {
          await filled(from)
          return undefined
        }
        to = error.index - 1
      }
    }
  }

  quarantines(from: number): readonly number[] {
    return this.#quarantines.length === 0 ? [] : this.#quarantines.filter((index) => index >= from)
  }

  appliedUpTo(index: number): void {
    this.#step({ type: 'applied', index })
  }

  readBarrier(): Promise<number> {
    if (this.#stopped || this.#muted) return Promise.reject(new NotLeaderError(undefined))
    if (this.#reads.size >= readsMax) {
      return Promise.reject(new CipherlogError('ERR_BUSY', 'Too many reads wait for a quorum; try again soon.'))
    }
    return new Promise((resolve, reject) => {
      const context = this.#nextId++
      const timer = setTimeout(() => {
        if (!this.#reads.delete(context)) return
        reject(new CipherlogError('ERR_UNAVAILABLE', 'No quorum confirmed the leader in time; try again.'))
      }, readBarrierMsMax)
      const done =
        <T>(settle: (value: T) => void) =>
        (value: T) => {
          clearTimeout(timer)
          settle(value)
        }
      this.#reads.set(context, { resolve: done(resolve), reject: done(reject), ticks: 0 })
      this.#askToRead(context)
    })
  }

  #askToRead(context: number): void {
    const { config, clock } = this.#options
    const lease = (config.leaseMs ?? 0) > 0
    const monotonicMs = Math.floor(clock.monotonic())
    this.#step(lease ? { type: 'readIndex', context, lease, monotonicMs } : { type: 'readIndex', context })
  }

  leadingSince(): number | undefined {
    return this.#leadingSince
  }

  status(): ReplicatorStatus {
    const status = this.#raft.status
    const members = Object.entries(status.peers).map(([id, peer]) => {
      const { state, match, next, paused, inflight, recentActive, pendingSnapshot } = peer
      return [
        id,
        { state, matchIndex: match, nextIndex: next, paused, inflight, alive: recentActive, pendingSnapshot },
      ] as const
    })
    return {
      role: status.isLearner && status.role === 'follower' ? 'learner' : roleNames[status.role],
      term: status.term,
      leaderId: status.leaderId,
      commitIndex: status.commit,
      lastIndex: status.lastIndex,
      compactedIndex: this.#compactedIndex,
      snapshotIndex: status.snapshotIndex,
      configuration: status.confState,
      transferringTo: status.leadTransferee,
      members: Object.fromEntries(members),
    }
  }

  get #compactedIndex(): number {
    return this.#raft.status.firstIndex - 1
  }

  onLeadershipChange(listener: (leadership: Leadership) => void): void {
    this.#listeners.push(listener)
  }

  onConfigurationChange(listener: Parameters<Replicator['onConfigurationChange']>[0]): void {
    this.#configurationListeners.push(listener)
  }

  standingAt(index: number): Standing {
    const { firstIndex } = this.#raft.status
    const term = this.#raft.log.term(index)
    const known = this.#configurations.findLast((each) => each.index <= index)
    if (index < firstIndex - 1 || index > this.#committedIndex || term === undefined || known === undefined) {
      throw new RangeError(`position ${index} is not between the start of the log and what is committed`)
    }
    return { term, configuration: known.configuration }
  }

  transferLeadership(to: string): Promise<void> {
    if (this.#stopped || this.#raft.status.role !== 'leader') {
      return Promise.reject(new NotLeaderError(this.#raft.status.leaderId))
    }
    return new Promise((resolve, reject) => {
      this.#transfer?.reject(transferFailed('superseded'))
      this.#transfer = { to, resolve, reject }
      this.#step({ type: 'transferLeadership', to })
    })
  }

  stepDown(): void {
    this.#step({ type: 'stepDown' })
  }

  forgetLeader(): void {
    this.#step({ type: 'forgetLeader' })
  }

  async compactTo(index: number): Promise<number> {
    const { wal, group } = this.#options
    const { applied, commit, durableIndex } = this.#raft.status
    invariant(index <= applied && applied <= Math.min(commit, durableIndex), 'What is compacted must be applied.', {
      index,
      applied,
      commit,
      durableIndex,
    })
    if (this.#stopped || index <= this.#compactedIndex) return this.#compactedIndex
    this.#step({ type: 'compact', index })
    const from = this.#configurations.findLastIndex((each) => each.index <= index)
    this.#configurations = this.#configurations.slice(Math.max(0, from))
    return wal.compactTo(group, index)
  }

  offerSnapshot({ index, digest }: SnapshotOffer): void {
    const { firstIndex, snapshotIndex } = this.#raft.status
    // One that a leader sent may have taken the place of the log meanwhile, this snapshot's position included.
    if (this.#stopped || index <= snapshotIndex || index < firstIndex) return
    const { term, configuration } = this.standingAt(index)
    const { time } = this.#raft.log.ref(index)
    this.#step({ type: 'snapshotAvailable', meta: { index, term, time, confState: configuration, digest } })
  }

  onSnapshotOffer(receiver: SnapshotReceiver): void {
    this.#receiver = receiver
  }

  /** Those of `names` whose payload is here and whole, about 8 MiB of them. */
  async payloadsFor(names: readonly EntryName[]): Promise<{ ref: EntryRef; payload: Uint8Array }[]> {
    const out: { ref: EntryRef; payload: Uint8Array }[] = []
    let bytes = 0
    for (const { index, term, digest } of names) {
      const { firstIndex, lastIndex } = this.#raft.status
      if (index < firstIndex || index > lastIndex) continue
      const ref = this.#raft.log.ref(index)
      if (ref.term !== term || !equalBytes(ref.digest, digest)) continue
      if (out.length > 0 && bytes + ref.bytes > repairAnswerBytesMax) break
      const payload = this.#payloads.get(ref) ?? (await this.#wholePayload(ref))
      if (payload === undefined) continue
      bytes += payload.length
      out.push({ ref, payload })
    }
    return out
  }

  /** From the disk; undefined if it is damaged or gone. */
  async #wholePayload(ref: EntryRef): Promise<Uint8Array | undefined> {
    const { wal, group } = this.#options
    try {
      const [read] = await wal.read(group, ref.index, ref.index, Number.MAX_SAFE_INTEGER)
      return read?.ref.term === ref.term ? read.payload : undefined
    } catch (error) {
      if (error instanceof WalPayloadDamagedError || error instanceof RangeError) return undefined
      throw error
    }
  }

  /** Settles everything that waits; nothing is stepped afterwards. */
  stop(): void {
    if (this.#stopped) return
    this.#stopped = true
    this.#leadingSince = undefined
    for (const proposal of this.#proposals.values()) proposal.settle({ outcome: 'unknown' })
    for (const read of this.#reads.values()) read.reject(new NotLeaderError(undefined))
    this.#transfer?.reject(new NotLeaderError(undefined))
    this.#transfer = undefined
    this.#proposals.clear()
    this.#reads.clear()
    this.#wake()
  }

  /** A leader offers a snapshot: it is stepped once the whole of it is here, or not needed. */
  #offered(message: SnapshotMessage): void {
    const { meta, from } = message
    const offer = { ...offerOf(meta), configuration: meta.confState }
    const step = (): void => {
      this.#step({ type: 'message', message, clockMs: this.#options.clock.now() })
    }
    if (this.#muted) return
    const { commit } = this.#raft.status
    if (meta.index <= commit || this.#raft.log.term(meta.index) === meta.term) {
      step()
      return
    }
    if (this.#receiver === undefined) return
    this.#receiver.fetch(offer, from).then(
      (ok) => {
        if (this.#stopped) return
        if (ok) step()
        else this.#options.declineSnapshot?.(from, meta.index)
      },
      (error: unknown) => this.#fail(error),
    )
  }

  #wake(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const resolve of waiting) resolve()
  }

  #step(input: Input, payloads: readonly Uint8Array[] = []): void {
    if (this.#stopped || this.#muted) return
    try {
      invariant(!this.#stepping, 'An effect of the Raft core called back into it.')
      this.#stepping = true
      for (const effect of this.#raft.step(input)) this.#carryOut(effect, input, payloads)
    } catch (error) {
      // The core refuses a malformed message with a typed error; that is the sender's fault, not ours.
      if (input.type === 'message' && error instanceof CipherlogError && error.code === 'ERR_RAFT_MESSAGE') throw error
      this.#fail(error)
    } finally {
      this.#stepping = false
    }
    this.#announce()
  }

  #fail(error: unknown): void {
    if (this.#stopped) return
    this.stop()
    this.#options.onFatal(error)
  }

  #carryOut(effect: Effect, input: Input, payloads: readonly Uint8Array[]): void {
    switch (effect.type) {
      case 'append':
        this.#append(effect, input, payloads)
        return
      case 'send':
        this.#send(effect.to, effect.message)
        return
      case 'committed':
        for (let index = this.#committedIndex + 1; index <= effect.index; index++) {
          if (this.#raft.log.ref(index).kind === entryKinds.quarantine) this.#quarantines.push(index)
        }
        this.#committedIndex = effect.index
        for (const [index, proposalId] of this.#proposalAt) {
          if (index > effect.index) break
          this.#proposalAt.delete(index)
          this.#settle(proposalId, { outcome: 'committed', index })
        }
        this.#wake()
        return
      case 'readReady':
        this.#reads.get(effect.context)?.resolve(effect.index)
        this.#reads.delete(effect.context)
        return
      case 'readFailed':
        this.#reads.get(effect.context)?.reject(new NotLeaderError(effect.leaderId))
        this.#reads.delete(effect.context)
        return
      case 'dropped':
        this.#settle(effect.proposalId, dropped(effect.reason, effect.leaderId))
        return
      case 'lost': {
        const index = this.#proposals.get(effect.proposalId)?.index
        if (index !== undefined && this.#proposalAt.get(index) === effect.proposalId) this.#proposalAt.delete(index)
        this.#settle(effect.proposalId, { outcome: 'unknown' })
        return
      }
      case 'roleChanged':
        // In the step that makes a leader it appends the no-op of its term, and nothing after that.
        this.#leadingSince = effect.role === 'leader' ? this.#raft.status.lastIndex : undefined
        this.#leadershipChanged = true
        return
      case 'leaderChanged':
        this.#leadershipChanged = true
        return
      case 'confChanged':
        this.#configurations.push({ index: effect.index, configuration: effect.confState })
        this.#changed.push({ index: effect.index, configuration: effect.confState })
        return
      case 'transferred':
        this.#transfer?.resolve()
        this.#transfer = undefined
        return
      case 'transferFailed':
        if (this.#transfer?.to !== effect.to) return
        this.#transfer.reject(transferFailed(effect.reason))
        this.#transfer = undefined
        return
      case 'forwarded':
        invariant(false, 'Proposals are not forwarded.')
    }
  }

  /** Tells who leads and who takes part, once the effects of the step that changed it are carried out. */
  #announce(): void {
    for (const { configuration, index } of this.#changed.splice(0)) {
      const addresses = this.#addresses.get(index) ?? []
      this.#addresses.delete(index)
      for (const listener of this.#configurationListeners) listener(configuration, index, addresses)
    }
    if (!this.#leadershipChanged) return
    this.#leadershipChanged = false
    const { role, term, leaderId } = this.status()
    for (const listener of this.#listeners) listener({ role, term, leaderId })
  }

  #settle(proposalId: number, outcome: ChangeOutcome): void {
    this.#proposals.get(proposalId)?.settle(outcome)
    this.#proposals.delete(proposalId)
  }

  #append(effect: Effect & { type: 'append' }, input: Input, payloads: readonly Uint8Array[]): void {
    const entries = effect.entries.map(({ ref, proposalId }) => {
      const payload = this.#payloadOf(ref, proposalId, input, payloads)
      this.#payloads.set(ref, payload)
      if (ref.kind === membershipKind) this.#addresses.set(ref.index, decodeMembershipChange(payload).addresses)
      if (proposalId !== undefined) {
        this.#proposals.get(proposalId)!.index = ref.index
        this.#proposalAt.set(ref.index, proposalId)
      }
      return { ref, payload }
    })
    const { wal, group, clock, onAppended } = this.#options
    const start = clock.monotonic()
    const { snapshot } = effect
    if (snapshot !== undefined) this.#installing = this.#install(snapshot)
    const write = (): Promise<void> =>
      wal.append({
        group,
        snapshot: snapshot && { index: snapshot.index, term: snapshot.term, time: snapshot.time },
        hardState: effect.hardState,
        truncateFrom: effect.truncateFrom,
        entries,
        fencingTerm,
      })
    const fencingTerm = this.#raft.status.term
    // Nothing is written to the old log while the new one is being put in its place.
    const written = this.#installing === undefined ? write() : this.#installing.then(write)
    if (this.#installing !== undefined) this.#installing = written
    written.then(
      () => {
        if (this.#installing === written) this.#installing = undefined
        onAppended?.(
          entries.reduce((sum, { payload }) => sum + payload.length, 0),
          clock.monotonic() - start,
        )
        this.#step({ type: 'appended', ioId: effect.ioId })
        if (snapshot === undefined || this.#stopped) return
        this.#step({ type: 'snapshotAvailable', meta: snapshot })
        this.#receiver!.installed(offerOf(snapshot))
      },
      (error: unknown) => this.#fail(error),
    )
  }

  /** The core has taken a snapshot for its log: what was known of the old one is forgotten, then the state replaced. */
  #install(meta: SnapshotMeta): Promise<void> {
    invariant(this.#receiver !== undefined, 'A snapshot was taken that nobody can install.')
    this.#committedIndex = meta.index
    this.#payloads.clear()
    this.#addresses.clear()
    this.#configurations = [{ index: meta.index, configuration: meta.confState }]
    return this.#receiver.install(offerOf(meta))
  }

  /** Where the payload of an appended entry is: proposed here, in the append message, or none (the no-op). */
  #payloadOf(ref: EntryRef, proposalId: number | undefined, input: Input, payloads: readonly Uint8Array[]): Uint8Array {
    if (proposalId !== undefined) return this.#proposals.get(proposalId)!.payload
    // The leader's own: it opens its term, or leaves a joint configuration.
    if (ref.bytes === 0 && (ref.kind === noOpKind || ref.kind === membershipKind)) return new Uint8Array(0)
    invariant(
      input.type === 'message' && input.message.type === 'append',
      'The core appended an entry without payload.',
    )
    const payload = payloads[input.message.entries.findIndex((entry) => entry.index === ref.index)]
    invariant(payload !== undefined, 'The core appended an entry that the message did not carry.', { index: ref.index })
    return payload
  }

  #send(to: string, message: Message): void {
    const { send, logger } = this.#options
    if (message.type !== 'append' || message.entries.length === 0) {
      send(to, message, [])
      return
    }
    const cached = message.entries.map((ref) => this.#payloads.get(ref))
    if (cached.every((payload) => payload !== undefined) && !this.#sendQueues.has(to)) {
      send(to, message, cached)
      return
    }
    const queued = (this.#sendQueues.get(to) ?? Promise.resolve())
      .then(async () => send(to, message, await this.#payloadsFor(message.entries)))
      .catch((error: unknown) => {
        // Raft sends again what is lost, and by then the payload may have been fetched from another peer.
        if (error instanceof WalPayloadDamagedError) void this.#options.filled?.(error.index)
        logger.warn({ err: error, to }, 'could not read entries for a peer')
        this.unreachable(to)
      })
      .finally(() => {
        if (this.#sendQueues.get(to) === queued) this.#sendQueues.delete(to)
      })
    this.#sendQueues.set(to, queued)
  }

  async #payloadsFor(refs: readonly EntryRef[]): Promise<Uint8Array[]> {
    const out: Uint8Array[] = []
    for (const ref of refs) {
      let payload = this.#payloads.get(ref)
      if (payload === undefined) {
        const [read] = await this.#options.wal.read(this.#options.group, ref.index, ref.index, Number.MAX_SAFE_INTEGER)
        payload = read?.payload
      }
      if (payload === undefined) throw new CipherlogError('ERR_WAL_MISSING', 'The entry is not in the WAL any more.')
      checkPayload(ref, payload)
      out.push(payload)
    }
    return out
  }
}

/** @throws CipherlogError `ERR_PEER_PAYLOAD` */
function checkPayload(ref: EntryRef, payload: Uint8Array): void {
  if (payload.length !== ref.bytes || !equalBytes(sha256(payload), ref.digest)) {
    throw new CipherlogError('ERR_PEER_PAYLOAD', 'A payload does not have the length and digest of its entry.', {
      details: { index: ref.index, term: ref.term },
    })
  }
}

const offerOf = ({ index, digest }: SnapshotMeta): SnapshotOffer => ({ index, digest })

function dropped(reason: DropReason, leaderId: string | undefined): ChangeOutcome {
  const refusal = refusals[reason]
  if (refusal !== undefined) return { outcome: 'refused', reason: refusal }
  return { outcome: 'dropped', reason: reason === 'not-leader' ? 'not-leader' : 'busy', leaderId }
}

const transferFailures = {
  'not-leader': 'this replica does not lead',
  'not-a-voter': 'it is no other voter of the group',
  superseded: 'another transfer was asked for',
  timeout: 'it did not take over in time',
  'lost-leadership': 'leadership was lost meanwhile',
} as const

function transferFailed(reason: keyof typeof transferFailures): CipherlogError {
  return new CipherlogError(
    'ERR_TRANSFER_FAILED',
    `Leadership was not handed over: ${transferFailures[reason]}; look who leads and try again.`,
    { details: { reason } },
  )
}

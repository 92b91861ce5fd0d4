/**
 * Raft behind the {@link Replicator} seam: joins the payload-free core with the WAL, the transport and the clock,
 * all injected. It carries out the core's effects in order and feeds back what became durable.
 *
 * Invariant: a payload handed out, sent or written has the length and SHA-256 that its ref states.
 */
import { CipherlogError, equalBytes, invariant, NotLeaderError, type Clock, type Logger } from '@cipherlog/core'
import { sha256 } from '@cipherlog/crypto/hash'
import {
  noOpKind,
  Raft,
  type Effect,
  type EntryRef,
  type Input,
  type Message,
  type PersistedState,
  type RaftConfig,
  type Role,
} from '@cipherlog/raft'
import { type Wal } from '@cipherlog/storage'
import {
  type CommittedEntry,
  type Leadership,
  type ProposeOutcome,
  type Replicator,
  type ReplicatorStatus,
} from '../replicator.ts'

const payloadCacheBytesMaxDefault = 64 * 1024 * 1024
/** Longest time a linearizable read waits for a quorum. */
const readBarrierMsMax = 5_000
/** Linearizable reads that may wait at once: one round of heartbeats serves them all. */
const readsMax = 16_384

const roleNames: Readonly<Record<Role, Leadership['role']>> = {
  follower: 'follower',
  preCandidate: 'pre-candidate',
  candidate: 'candidate',
  leader: 'leader',
}

export interface RaftReplicatorOptions {
  readonly config: RaftConfig
  readonly persisted: PersistedState
  readonly group: Uint8Array
  readonly wal: Wal
  readonly clock: Clock
  readonly logger: Logger
  /** Hands a message to the transport, and does not call back; `payloads` belong to an append's entries, in order. */
  readonly send: (to: string, message: Message, payloads: readonly Uint8Array[]) => void
  /** Payloads of recent entries kept, so that sending and applying touch no disk; default 64 MiB. */
  readonly payloadCacheBytesMax?: number
  /** A write of the WAL is durable: payload bytes and the time it took, in ms. */
  readonly onAppended?: ((bytes: number, durationMs: number) => void) | undefined
  /** A failed write or a broken invariant: the node must stop. Nothing is stepped afterwards. */
  readonly onFatal: (error: unknown) => void
}

interface PendingProposal {
  readonly payload: Uint8Array
  readonly settle: (outcome: ProposeOutcome) => void
  index: number | undefined
}

export class RaftReplicator implements Replicator {
  readonly #raft: Raft
  readonly #options: RaftReplicatorOptions
  /** Payloads by index with the term they belong to; oldest first. */
  readonly #payloads = new Map<number, { term: number; payload: Uint8Array }>()
  #payloadBytes = 0
  readonly #proposals = new Map<number, PendingProposal>()
  /** Proposals by the index they were appended at. */
  readonly #proposalAt = new Map<number, number>()
  readonly #reads = new Map<number, { resolve: (index: number) => void; reject: (error: unknown) => void }>()
  #nextId = 1
  #committedIndex = 0
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
    this.#raft = new Raft(options.config, options.persisted)
    this.#committedIndex = options.persisted.applied ?? 0
  }

  /** Advances Raft's timers by one tick. */
  tick(): void {
    this.#step({ type: 'tick', clockMs: this.#options.clock.now() })
  }

  unreachable(peer: string): void {
    this.#step({ type: 'unreachable', peer })
  }

  /**
   * A message of an authenticated peer; `payloads` belong to its entries, in order.
   * @throws CipherlogError `ERR_PEER_PAYLOAD`, `ERR_RAFT_MESSAGE`: the peer's fault; nothing changed.
   */
  receive(message: Message, payloads: readonly Uint8Array[]): void {
    if (message.type === 'append') {
      if (payloads.length !== message.entries.length) {
        throw new CipherlogError('ERR_PEER_PAYLOAD', 'An append carries another number of payloads than entries.')
      }
      message.entries.forEach((ref, i) => checkPayload(ref, payloads[i]!))
    }
    this.#step({ type: 'message', message, clockMs: this.#options.clock.now() }, payloads)
  }

  propose(kind: number, payload: Uint8Array): Promise<ProposeOutcome> {
    return new Promise((settle) => {
      if (this.#stopped) {
        settle({ outcome: 'dropped', reason: 'not-leader', leaderId: undefined })
        return
      }
      const proposalId = this.#nextId++
      this.#proposals.set(proposalId, { payload, settle, index: undefined })
      this.#step({
        type: 'propose',
        proposalId,
        kind,
        bytes: payload.length,
        digest: sha256(payload),
        clockMs: this.#options.clock.now(),
      })
    })
  }

  async committed(from: number, bytesMax: number): Promise<readonly CommittedEntry[]> {
    while (this.#committedIndex < from && !this.#stopped) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    }
    if (this.#stopped) return []
    const out: CommittedEntry[] = []
    let bytes = 0
    for (let index = from; index <= this.#committedIndex && bytes < bytesMax; index++) {
      const ref = this.#raft.log.ref(index)
      const cached = this.#cached(ref)
      if (cached === undefined) {
        if (out.length > 0) break
        const read = await this.#options.wal.read(this.#options.group, index, this.#committedIndex, bytesMax)
        invariant(read.length > 0, 'The WAL lacks a committed entry.', { index })
        return read.map(({ ref: { index: at, time, kind }, payload }) => ({ index: at, time, kind, payload }))
      }
      bytes += cached.length
      out.push({ index, time: ref.time, kind: ref.kind, payload: cached })
    }
    return out
  }

  appliedUpTo(index: number): void {
    this.#step({ type: 'applied', index })
  }

  readBarrier(): Promise<number> {
    if (this.#stopped) return Promise.reject(new NotLeaderError(undefined))
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
      this.#reads.set(context, { resolve: done(resolve), reject: done(reject) })
      this.#step({ type: 'readIndex', context })
    })
  }

  leadingSince(): number | undefined {
    return this.#leadingSince
  }

  status(): ReplicatorStatus {
    const status = this.#raft.status
    return {
      role: roleNames[status.role],
      term: status.term,
      leaderId: status.leaderId,
      commitIndex: status.commit,
      lastIndex: status.lastIndex,
      matchIndexes: Object.fromEntries(Object.entries(status.peers).map(([id, peer]) => [id, peer.match])),
    }
  }

  onLeadershipChange(listener: (leadership: Leadership) => void): void {
    this.#listeners.push(listener)
  }

  /** Settles everything that waits; nothing is stepped afterwards. */
  stop(): void {
    if (this.#stopped) return
    this.#stopped = true
    this.#leadingSince = undefined
    for (const proposal of this.#proposals.values()) proposal.settle({ outcome: 'unknown' })
    for (const read of this.#reads.values()) read.reject(new NotLeaderError(undefined))
    this.#proposals.clear()
    this.#reads.clear()
    this.#wake()
  }

  #wake(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const resolve of waiting) resolve()
  }

  #step(input: Input, payloads: readonly Uint8Array[] = []): void {
    if (this.#stopped) return
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
        this.#settle(effect.proposalId, {
          outcome: 'dropped',
          reason: effect.reason === 'not-leader' ? 'not-leader' : 'busy',
          leaderId: effect.leaderId,
        })
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
      case 'forwarded':
      case 'transferred':
      case 'transferFailed':
        // What asks for these is not wired up yet.
        return
    }
  }

  /** Tells who leads, once the effects of the step that changed it are carried out. */
  #announce(): void {
    if (!this.#leadershipChanged) return
    this.#leadershipChanged = false
    const { role, term, leaderId } = this.status()
    for (const listener of this.#listeners) listener({ role, term, leaderId })
  }

  #settle(proposalId: number, outcome: ProposeOutcome): void {
    this.#proposals.get(proposalId)?.settle(outcome)
    this.#proposals.delete(proposalId)
  }

  #append(effect: Effect & { type: 'append' }, input: Input, payloads: readonly Uint8Array[]): void {
    const entries = effect.entries.map(({ ref, proposalId }) => {
      const payload = this.#payloadOf(ref, proposalId, input, payloads)
      this.#remember(ref, payload)
      if (proposalId !== undefined) {
        this.#proposals.get(proposalId)!.index = ref.index
        this.#proposalAt.set(ref.index, proposalId)
      }
      return { ref, payload }
    })
    const { wal, group, clock, onAppended } = this.#options
    const start = clock.monotonic()
    wal
      .append({
        group,
        hardState: effect.hardState,
        truncateFrom: effect.truncateFrom,
        entries,
        fencingTerm: this.#raft.status.term,
      })
      .then(
        () => {
          onAppended?.(
            entries.reduce((sum, { payload }) => sum + payload.length, 0),
            clock.monotonic() - start,
          )
          this.#step({ type: 'appended', ioId: effect.ioId })
        },
        (error: unknown) => this.#fail(error),
      )
  }

  /** Where the payload of an appended entry is: proposed here, in the append message, or none (the no-op). */
  #payloadOf(ref: EntryRef, proposalId: number | undefined, input: Input, payloads: readonly Uint8Array[]): Uint8Array {
    if (proposalId !== undefined) return this.#proposals.get(proposalId)!.payload
    if (ref.kind === noOpKind && ref.bytes === 0) return new Uint8Array(0)
    invariant(
      input.type === 'message' && input.message.type === 'append',
      'The core appended an entry without payload.',
    )
    const payload = payloads[input.message.entries.findIndex((entry) => entry.index === ref.index)]
    invariant(payload !== undefined, 'The core appended an entry that the message did not carry.', { index: ref.index })
    return payload
  }

  #remember(ref: EntryRef, payload: Uint8Array): void {
    const before = this.#payloads.get(ref.index)
    if (before !== undefined) {
      this.#payloads.delete(ref.index)
      this.#payloadBytes -= before.payload.length
    }
    this.#payloads.set(ref.index, { term: ref.term, payload })
    this.#payloadBytes += payload.length
    const bytesMax = this.#options.payloadCacheBytesMax ?? payloadCacheBytesMaxDefault
    for (const [index, { payload: oldest }] of this.#payloads) {
      if (this.#payloadBytes <= bytesMax) break
      this.#payloads.delete(index)
      this.#payloadBytes -= oldest.length
    }
  }

  #cached(ref: EntryRef): Uint8Array | undefined {
    const cached = this.#payloads.get(ref.index)
    return cached?.term === ref.term ? cached.payload : undefined
  }

  #send(to: string, message: Message): void {
    const { send, logger } = this.#options
    if (message.type !== 'append' || message.entries.length === 0) {
      send(to, message, [])
      return
    }
    const cached = message.entries.map((ref) => this.#cached(ref))
    if (cached.every((payload) => payload !== undefined) && !this.#sendQueues.has(to)) {
      send(to, message, cached)
      return
    }
    const queued = (this.#sendQueues.get(to) ?? Promise.resolve())
      .then(async () => send(to, message, await this.#payloadsFor(message.entries)))
      .catch((error: unknown) => {
        // Raft retries a lost append; a damaged disk shows when the entry is applied here.
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
      let payload = this.#cached(ref)
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

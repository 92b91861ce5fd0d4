/**
 * etcd's `RawNode` over the core: the same calls, the same `Ready`, so that what was written for etcd's raft can be
 * replayed on it. It is for scenarios and comparison; a server drives the core itself.
 *
 * etcd keeps what a step wants written or said until the host asks for a `Ready`; so does the view. Invariants: what
 * vouches for a write leaves with that write, as responses of `MsgStorageAppend` or in a `Ready` whose entries are
 * written first; the core hears that a write is durable when `advance` is called, or when a message that the write
 * released comes back; of an earlier term it hears nothing (etcd's answer to the ABA problem).
 *
 * Where it differs from etcd is listed in README.md.
 */
import { invariant } from '@cipherlog/core'
import { isVoter, membersOf } from '../confchange.ts'
import { type Message as CoreMessage } from '../messages.ts'
import { Raft } from '../raft.ts'
import {
  type Effect,
  type EntryRef,
  type Input,
  membershipKind,
  type PersistedState,
  type RaftConfig,
  type RaftStatus,
} from '../types.ts'
import { CommittedEntries } from './committed-entries.ts'
import { type ConfChange, marshalConfChange, toCoreChange, unmarshalConfChange } from './conf-change.ts'
import { EtcdError } from './errors.ts'
import { fromPeerId, toPeerId } from './ids.ts'
import { fromConfState, normalKind, toConfState, toCore, toEtcd, toMeta, toRef, zeroDigest } from './translation.ts'
import {
  type BasicStatus,
  type Config,
  type ConfState,
  emptySnapshot,
  type Entry,
  type HardState,
  isEmptyHardState,
  isLocalMessageTarget,
  localAppendThread,
  localApplyThread,
  type Message,
  messageOf,
  type MessageType,
  type Progress,
  type Ready,
  type ReadState,
  type Snapshot,
  type SoftState,
  type StateType,
  type Status,
} from './types.ts'

const localTypes: ReadonlySet<MessageType> = new Set([
  ...(['MsgHup', 'MsgBeat', 'MsgUnreachable', 'MsgSnapStatus', 'MsgCheckQuorum', 'MsgStorageAppend'] as const),
  ...(['MsgStorageAppendResp', 'MsgStorageApply', 'MsgStorageApplyResp'] as const),
])

const responseTypes: ReadonlySet<MessageType> = new Set([
  ...(['MsgAppResp', 'MsgVoteResp', 'MsgHeartbeatResp', 'MsgUnreachable', 'MsgReadIndexResp'] as const),
  ...(['MsgPreVoteResp', 'MsgStorageAppendResp', 'MsgStorageApplyResp'] as const),
])

/** What etcd lets wait for the next write, since it vouches for what is written. */
const afterAppendTypes: ReadonlySet<MessageType> = new Set(['MsgAppResp', 'MsgVoteResp', 'MsgPreVoteResp', 'MsgVote'])

const noData = new Uint8Array(0)

type Payload = Pick<Entry, 'type' | 'data'>

/** What `advance` says about a `Ready`. */
interface Handed {
  readonly ioId: number
  readonly snapshot: Snapshot | undefined
  readonly committedEntries: readonly Entry[]
}

export class RawNode {
  readonly #config: Config
  readonly #coreConfig: RaftConfig
  #raft: Raft
  /** Payloads of the log, by index. */
  readonly #entries = new Map<number, Entry>()
  readonly #committed: CommittedEntries

  // Not handed out yet
  #messages: Message[] = []
  #afterAppend: Message[] = []
  #readStates: ReadState[] = []
  #snapshot: Snapshot | undefined
  /** The first entry that has not been handed out to be written. */
  #nextUnstable: number

  /** What the core will send by itself when a write is durable; it was handed out with the write already. */
  readonly #handedOut = new WeakSet<CoreMessage>()
  /** The newest write of the core, and how many messages were seen to wait for it. */
  #ioId = 0
  #held = 0
  /** Being written. */
  #installing: Snapshot | undefined
  #handed: Handed | undefined
  #previousSoft: SoftState
  #previousHard: HardState

  #lastProposal = 0
  #lastRead = 0
  /** Whose reads the core answers. */
  readonly #reads = new Map<number, Uint8Array>()
  #offered: Snapshot = emptySnapshot

  /**
   * Starts as a follower with what `config.storage` holds.
   * @throws {@link RangeError} on a bad configuration.
   * @throws {@link RaftStateError} `ERR_RAFT_STATE` if the storage contradicts itself.
   */
  constructor(config: Config) {
    this.#config = config
    this.#coreConfig = coreConfig(config)
    const { storage } = config
    const base = storage.firstIndex() - 1
    const applied = Math.max(base, config.applied ?? 0)
    for (const entry of storage.entries(base + 1, storage.lastIndex() + 1)) this.#entries.set(entry.index, entry)
    this.#raft = startCore(this.#coreConfig, config, applied)
    this.#nextUnstable = storage.lastIndex() + 1
    const { maxCommittedSizePerReady, maxSizePerMsg = Number.MAX_SAFE_INTEGER } = config
    this.#committed = new CommittedEntries(applied, maxCommittedSizePerReady ?? maxSizePerMsg)
    this.#previousSoft = this.#softState()
    this.#previousHard = this.#hardState()
  }

  get id(): number {
    return this.#config.id
  }

  /** One tick of the logical clock. */
  tick(): void {
    this.#step({ type: 'tick', clockMs: 0 })
  }

  /** Campaigns now (MsgHup). */
  campaign(): void {
    this.#step({ type: 'campaign' })
  }

  /** @throws {@link EtcdError} `ERR_RAFT_PROPOSAL_DROPPED` */
  propose(data: Uint8Array): void {
    this.#propose({ type: 'EntryNormal', data })
  }

  /**
   * Proposes a change of membership; undefined is the empty one. One that may not be made now becomes an empty entry.
   * @throws {@link EtcdError} `ERR_RAFT_PROPOSAL_DROPPED`
   */
  proposeConfChange(change: ConfChange | undefined): void {
    const type = change?.version === 1 ? 'EntryConfChange' : 'EntryConfChangeV2'
    this.#propose({ type, data: change === undefined ? noData : marshalConfChange(change) })
  }

  /** To be called for every committed change when it is applied, unless the host rejects it. */
  applyConfChange(change: ConfChange): ConfState {
    this.#step({ type: 'applyConfChange', change: toCoreChange(change) })
    return toConfState(this.#raft.status.confState)
  }

  /**
   * Takes a message from another replica, or a response of a local thread.
   * @throws {@link EtcdError} `ERR_RAFT_LOCAL_MESSAGE`, `ERR_RAFT_PEER_NOT_FOUND`, `ERR_RAFT_PROPOSAL_DROPPED`
   * @throws {@link RaftMessageError} `ERR_RAFT_MESSAGE`
   */
  step(message: Message): void {
    const { type, from, term } = message
    const isLocal = isLocalMessageTarget(from)
    if (localTypes.has(type) && !isLocal) {
      throw new EtcdError('ERR_RAFT_LOCAL_MESSAGE', `A replica does not take a ${type} from another; drop it.`)
    }
    if (responseTypes.has(type) && !isLocal && !this.#members().includes(from)) {
      throw new EtcdError('ERR_RAFT_PEER_NOT_FOUND', `A ${type} came from ${from}, which is no member; drop it.`)
    }
    if (term !== 0 && term < this.#raft.term) return this.#stepStale(message)
    switch (type) {
      case 'MsgProp':
        for (const entry of message.entries) this.#propose(entry, message)
        return
      case 'MsgTransferLeader':
        return this.#transferLeader(from, message)
      case 'MsgForgetLeader':
        return this.forgetLeader()
      case 'MsgReadIndex':
        return this.#stepReadIndex(message)
      case 'MsgStorageAppendResp':
        return this.#appended(message.ioId, message.snapshot)
      case 'MsgStorageApplyResp':
        return this.#applied(message.entries)
      case 'MsgSnap':
        return this.#stepSnapshot(message)
      case 'MsgApp':
      case 'MsgAppResp':
      case 'MsgHeartbeat':
      case 'MsgHeartbeatResp':
      case 'MsgPreVote':
      case 'MsgPreVoteResp':
      case 'MsgReadIndexResp':
      case 'MsgTimeoutNow':
      case 'MsgVote':
      case 'MsgVoteResp':
        return from === this.id ? this.#appended(message.ioId, undefined) : this.#stepCore(message)
      case 'MsgBeat':
      case 'MsgCheckQuorum':
      case 'MsgHup':
      case 'MsgSnapStatus':
      case 'MsgStorageAppend':
      case 'MsgStorageApply':
      case 'MsgUnreachable':
        // A local thread sends none of these.
        return
    }
  }

  /** Messages to `id` may be lost. */
  reportUnreachable(id: number): void {
    this.#step({ type: 'unreachable', peer: toPeerId(id) })
  }

  /** The snapshot sent to `id` arrived, or never will. */
  reportSnapshot(id: number, ok: boolean): void {
    this.#step({ type: 'snapshotStatus', peer: toPeerId(id), ok })
  }

  /** Hands leadership to `id`; a follower passes the wish on. */
  transferLeader(id: number): void {
    this.#transferLeader(id, messageOf({ type: 'MsgTransferLeader', from: id, to: this.id }))
  }

  /** A follower takes up with any candidate; ignored where reads are lease based. */
  forgetLeader(): void {
    if (this.#config.readOnlyOption !== 'ReadOnlyLeaseBased') this.#step({ type: 'forgetLeader' })
  }

  /** Asks for the index a read must wait for; comes back in `readStates` with `requestCtx`, or not at all. */
  readIndex(requestCtx: Uint8Array): void {
    this.#stepReadIndex(messageOf({ type: 'MsgReadIndex', entries: [{ ...noEntry, data: requestCtx.slice() }] }))
  }

  hasReady(): boolean {
    const hard = this.#hardState()
    return (
      !sameSoft(this.#softState(), this.#previousSoft) ||
      (!isEmptyHardState(hard) && !sameHard(hard, this.#previousHard)) ||
      this.#snapshot !== undefined ||
      this.#messages.length + this.#afterAppend.length + this.#readStates.length > 0 ||
      this.#nextUnstable <= this.#raft.log.lastIndex ||
      this.#nextCommitted().length > 0
    )
  }

  /**
   * What is to be done; with asynchronous storage writes as messages to the two threads, else `advance` must follow.
   * @throws {@link RangeError} if `advance` was not called for the one before.
   */
  ready(): Ready {
    if (this.#handed !== undefined) throw new RangeError('Call advance() before the next ready()')
    const soft = this.#softState()
    const hard = this.#hardState()
    const entries = this.#entriesFrom(this.#nextUnstable)
    const committedEntries = this.#nextCommitted()
    const snapshot = this.#snapshot
    const hardState = sameHard(hard, this.#previousHard) ? undefined : hard
    const mustSync =
      entries.length > 0 || hard.vote !== this.#previousHard.vote || hard.term !== this.#previousHard.term
    const asynchronous = this.#config.asyncStorageWrites === true
    const messages = asynchronous
      ? [...this.#messages, ...this.#storageMessages(entries, hardState, snapshot, committedEntries)]
      : [...this.#messages, ...this.#afterAppend.filter(({ to }) => to !== this.id)]
    const ready: Ready = {
      ...(sameSoft(soft, this.#previousSoft) ? {} : { softState: soft }),
      ...(hardState === undefined ? {} : { hardState }),
      readStates: this.#readStates,
      entries,
      ...(snapshot === undefined ? {} : { snapshot }),
      committedEntries,
      messages,
      mustSync,
    }
    if (!asynchronous) this.#handed = { ioId: this.#ioId, snapshot, committedEntries }
    this.#committed.accept(committedEntries, this.#appliable())
    this.#previousSoft = soft
    this.#previousHard = hard
    this.#nextUnstable = this.#raft.log.lastIndex + 1
    this.#messages = []
    this.#afterAppend = []
    this.#readStates = []
    this.#snapshot = undefined
    return ready
  }

  /**
   * What `ready` gave has been written and applied. Not with asynchronous storage writes.
   * @throws {@link RangeError} if there is nothing to advance.
   */
  advance(): void {
    const handed = this.#handed
    if (handed === undefined) throw new RangeError('Call advance() once after each ready(), without asyncStorageWrites')
    this.#handed = undefined
    if (handed.ioId > 0) this.#appended(handed.ioId, handed.snapshot)
    this.#applied(handed.committedEntries)
  }

  basicStatus(): BasicStatus {
    const { applied, leadTransferee } = this.#raft.status
    return {
      id: this.id,
      ...this.#hardState(),
      ...this.#softState(),
      applied,
      leadTransferee: fromPeerId(leadTransferee),
    }
  }

  status(): Status {
    const status = this.#raft.status
    const progress = new Map<number, Progress>()
    if (status.role === 'leader') {
      for (const peer of membersOf(status.confState)) {
        progress.set(fromPeerId(peer), peer === status.id ? ownProgress(status) : this.#progressOf(status, peer))
      }
    }
    return { ...this.basicStatus(), config: toConfState(status.confState), progress }
  }

  /** How many ticks without a leader it will wait; drawn anew when its state changes. */
  setRandomizedElectionTimeout(ticks: number): void {
    const dump = this.#raft.dump()
    const election = { ...dump.core.election, timeout: ticks }
    this.#raft = Raft.fromDump(this.#coreConfig, { ...dump, core: { ...dump.core, election } })
  }

  // What the core says

  #step(input: Input, source?: Message, payload?: Payload): Extract<Effect, { type: 'dropped' }> | undefined {
    this.#followStorage()
    let dropped: Extract<Effect, { type: 'dropped' }> | undefined
    for (const effect of this.#raft.step(input)) {
      if (effect.type === 'append') this.#written(effect, source, payload)
      else if (effect.type === 'send') this.#say(effect.message)
      else if (effect.type === 'readReady') this.#readReady(effect.context, effect.index)
      else if (effect.type === 'readFailed') this.#reads.delete(effect.context)
      else if (effect.type === 'dropped') dropped = effect
    }
    const held = this.#raft.heldBy(this.#ioId)
    for (const message of held.slice(this.#held)) {
      this.#say(message)
      this.#handedOut.add(message)
    }
    this.#held = held.length
    return dropped
  }

  /** The core wants something written: remember payloads, and what is new. */
  #written(
    effect: Extract<Effect, { type: 'append' }>,
    source: Message | undefined,
    payload: Payload | undefined,
  ): void {
    this.#ioId = effect.ioId
    this.#held = 0
    if (effect.snapshot !== undefined) {
      invariant(source?.snapshot !== undefined, 'A snapshot was installed that was not stepped')
      this.#snapshot = source.snapshot
      this.#installing = source.snapshot
      this.#offered = source.snapshot
      this.#entries.clear()
      this.#nextUnstable = effect.snapshot.index + 1
    }
    if (effect.truncateFrom !== undefined) this.#nextUnstable = Math.min(this.#nextUnstable, effect.truncateFrom)
    for (const { ref, proposalId } of effect.entries) {
      const { term, index } = ref
      const received = source?.type === 'MsgApp' ? source.entries.find((entry) => entry.index === index) : undefined
      const { type, data } = received ?? (proposalId === undefined ? ownPayload(ref) : payload!)
      this.#entries.set(index, { term, index, type, data })
    }
    // A leader acknowledges to itself.
    const { role, term, lastIndex: index, commit } = this.#raft.status
    if (role !== 'leader' || effect.entries.length === 0) return
    const [from, to] = [this.id, this.id]
    this.#afterAppend.push(messageOf({ type: 'MsgAppResp', from, to, term, index, commit, ioId: effect.ioId }))
  }

  #say(message: CoreMessage): void {
    if (this.#handedOut.has(message)) return
    const said = toEtcd(message, {
      entry: ({ index }) => this.#entries.get(index)!,
      snapshot: () => this.#offered,
      commit: this.#raft.status.commit,
    })
    if (said.to === this.id) this.#afterAppend.push({ ...said, ioId: this.#ioId })
    else if (this.#waits(message, said)) this.#afterAppend.push(said)
    else this.#messages.push(said)
  }

  /** A question for votes waits only if the core lets it wait. */
  #waits(message: CoreMessage, said: Message): boolean {
    if (said.type === 'MsgVote') return this.#raft.heldBy(this.#ioId).some((held) => held === message)
    return afterAppendTypes.has(said.type)
  }

  #readReady(context: number, index: number): void {
    const requestCtx = this.#reads.get(context)
    if (requestCtx === undefined) return
    this.#reads.delete(context)
    this.#readStates.push({ index, requestCtx })
  }

  // What the core is told

  #propose({ type, data }: Payload, forwarded?: Message): void {
    const { role, leaderId } = this.#raft.status
    if (role !== 'leader') {
      if (role !== 'follower' || leaderId === undefined || this.#config.disableProposalForwarding === true) {
        throw dropped(`it is ${stateOf(role)} and ${leaderId === undefined ? 'knows no leader' : 'passes nothing on'}`)
      }
      const entry = { ...noEntry, type, data: data.slice() }
      const from = forwarded?.from ?? this.id
      this.#messages.push(messageOf({ type: 'MsgProp', from, to: fromPeerId(leaderId), entries: [entry] }))
      return
    }
    const proposal = { proposalId: ++this.#lastProposal, bytes: data.length, digest: zeroDigest, clockMs: 0 }
    const payload = { type, data: data.slice() }
    const refusal =
      type === 'EntryNormal'
        ? this.#step({ type: 'propose', kind: normalKind, ...proposal }, undefined, payload)
        : this.#step({ type: 'proposeConf', change: changeOf(payload), ...proposal }, undefined, payload)
    if (refusal === undefined) return
    if (refusal.reason === 'conf-pending' || refusal.reason === 'conf-invalid') {
      return this.#propose({ type: 'EntryNormal', data: noData })
    }
    throw dropped(refusal.reason)
  }

  #transferLeader(to: number, message: Message): void {
    const { role, leaderId } = this.#raft.status
    if (role === 'leader') {
      this.#step({ type: 'transferLeadership', to: toPeerId(to) })
    } else if (role === 'follower' && leaderId !== undefined) {
      this.#messages.push({ ...message, to: fromPeerId(leaderId), term: this.#raft.term })
    }
  }

  /** Of an earlier term: what etcd answers, and nothing else happens. */
  #stepStale({ type, from, snapshot, ioId }: Message): void {
    const { checkQuorum, preVote } = this.#coreConfig
    const answer = { from: this.id, to: from, term: this.#raft.term }
    if ((checkQuorum || preVote) && (type === 'MsgHeartbeat' || type === 'MsgApp')) {
      this.#afterAppend.push(messageOf({ type: 'MsgAppResp', ...answer }))
    } else if (type === 'MsgPreVote') {
      this.#afterAppend.push(messageOf({ type: 'MsgPreVoteResp', ...answer, reject: true }))
    } else if (type === 'MsgStorageAppendResp' && snapshot !== undefined) {
      this.#appended(ioId, snapshot)
    }
  }

  /** One that does not name this replica is not for it (etcd's `restore`). */
  #stepSnapshot(message: Message): void {
    const { snapshot = emptySnapshot, from, to, term } = message
    const { confState, index } = snapshot.metadata
    const known = index <= this.#raft.status.commit
    if (index > 0 && (known || namesReplica(confState, this.id))) {
      return this.#stepCore(message)
    }
    // The sender leads, that much is true.
    this.#stepCore(messageOf({ type: 'MsgHeartbeat', from, to, term }))
    const answered = this.#messages.pop()
    invariant(answered?.type === 'MsgHeartbeatResp', 'A heartbeat was not answered')
    const { commit } = this.#raft.status
    this.#afterAppend.push(messageOf({ type: 'MsgAppResp', from: to, to: from, term, index: commit, commit }))
  }

  /** From a client, or from a follower whose client asked. */
  #stepReadIndex(message: Message): void {
    const { role, leaderId, commit, term } = this.#raft.status
    const isOurs = message.from === 0 || message.from === this.id
    const requestCtx = message.entries[0]?.data ?? noData
    if (role === 'leader' && this.#config.readOnlyOption === 'ReadOnlyLeaseBased') {
      if (this.#raft.log.term(commit) !== term) return
      const answer = { from: this.id, to: message.from, term, index: commit, entries: message.entries }
      if (isOurs) this.#readStates.push({ index: commit, requestCtx })
      else this.#messages.push(messageOf({ type: 'MsgReadIndexResp', ...answer, context: message.context ?? noData }))
    } else if (isOurs) {
      const context = ++this.#lastRead
      this.#reads.set(context, requestCtx)
      this.#step({ type: 'readIndex', context })
    } else if (role === 'leader') {
      this.#stepCore(message)
    } else if (role === 'follower' && leaderId !== undefined) {
      this.#messages.push({ ...message, to: fromPeerId(leaderId) })
    }
  }

  #stepCore(message: Message): void {
    const core = toCore(message, this.#raft.term)
    if (core !== undefined) this.#step({ type: 'message', message: core, clockMs: 0 }, message)
  }

  #appended(ioId: number | undefined, snapshot: Snapshot | undefined): void {
    if (ioId === undefined) return
    if (snapshot !== undefined && this.#installing?.metadata.index === snapshot.metadata.index) {
      this.#installing = undefined
      this.#committed.restored(snapshot.metadata.index)
    }
    this.#step({ type: 'appended', ioId })
  }

  #applied(entries: readonly Entry[]): void {
    const last = entries.at(-1)
    if (last === undefined) return
    this.#committed.applied(entries)
    this.#step({ type: 'applied', index: last.index })
  }

  /** The storage may have been compacted, and have a newer snapshot. */
  #followStorage(): void {
    const { storage } = this.#config
    const { applied, durableIndex, commit, firstIndex, snapshotIndex } = this.#raft.status
    const index = Math.min(storage.firstIndex() - 1, applied, durableIndex)
    if (index >= firstIndex) {
      this.#raft.step({ type: 'compact', index })
      for (const known of this.#entries.keys()) if (known <= index) this.#entries.delete(known)
    }
    const snapshot = storage.snapshot()
    const newest = snapshot.metadata.index
    if (newest > snapshotIndex && newest <= Math.min(commit, durableIndex)) {
      this.#offered = snapshot
      this.#raft.step({ type: 'snapshotAvailable', meta: toMeta(snapshot) })
    }
  }

  // What is handed out

  #storageMessages(
    entries: readonly Entry[],
    hardState: HardState | undefined,
    snapshot: Snapshot | undefined,
    committedEntries: readonly Entry[],
  ): Message[] {
    const messages: Message[] = []
    const from = this.id
    const withSnapshot = snapshot === undefined ? {} : { snapshot }
    if (entries.length > 0 || hardState !== undefined || snapshot !== undefined || this.#afterAppend.length > 0) {
      const responses = [...this.#afterAppend]
      const { lastIndex: index, lastTerm: logTerm } = this.#raft.log
      const unstable = this.#raft.status.durableIndex < index
      if (unstable || snapshot !== undefined) {
        const position = unstable ? { index, logTerm } : {}
        const answer = { from: localAppendThread, to: from, term: this.#raft.term, ioId: this.#ioId }
        responses.push(messageOf({ type: 'MsgStorageAppendResp', ...answer, ...position, ...withSnapshot }))
      }
      const write = { from, to: localAppendThread, entries, responses }
      messages.push(messageOf({ type: 'MsgStorageAppend', ...write, ...hardState, ...withSnapshot }))
    }
    if (committedEntries.length > 0) {
      const done = messageOf({
        type: 'MsgStorageApplyResp',
        from: localApplyThread,
        to: from,
        entries: committedEntries,
      })
      const work = { from, to: localApplyThread, entries: committedEntries, responses: [done] }
      messages.push(messageOf({ type: 'MsgStorageApply', ...work }))
    }
    return messages
  }

  /** Up to where committed entries may be applied: not before they are written, unless `advance` says both at once. */
  #appliable(): number {
    const { commit, durableIndex } = this.#raft.status
    return this.#config.asyncStorageWrites === true ? Math.min(commit, durableIndex) : commit
  }

  #nextCommitted(): Entry[] {
    if (this.#installing !== undefined) return []
    return this.#committed.next(this.#appliable(), (index) => this.#entries.get(index)!)
  }

  #entriesFrom(first: number): Entry[] {
    const entries: Entry[] = []
    for (let index = first; index <= this.#raft.log.lastIndex; index++) entries.push(this.#entries.get(index)!)
    return entries
  }

  #softState(): SoftState {
    const { leaderId, role } = this.#raft.status
    return { lead: fromPeerId(leaderId), raftState: stateOf(role) }
  }

  #hardState(): HardState {
    const { term, votedFor, commit } = this.#raft.status
    return { term, vote: fromPeerId(votedFor), commit }
  }

  #members(): number[] {
    return membersOf(this.#raft.status.confState).map(fromPeerId)
  }

  #progressOf(status: RaftStatus, peer: string): Progress {
    const found = status.peers[peer]
    invariant(found !== undefined, 'A leader knows nothing about a member', { peer })
    const { state, ...rest } = found
    const states = { probe: 'StateProbe', replicate: 'StateReplicate', snapshot: 'StateSnapshot' } as const
    return { ...rest, state: states[state], inflightFull: rest.inflight >= this.#config.maxInflightMsgs }
  }
}

const noEntry: Entry = { term: 0, index: 0, type: 'EntryNormal', data: noData }

/** Entries that the core makes itself: the first of a term, and the one that leaves a joint configuration. */
function ownPayload({ kind }: EntryRef): Payload {
  return { type: kind === membershipKind ? 'EntryConfChangeV2' : 'EntryNormal', data: noData }
}

function changeOf({ type, data }: Payload) {
  return toCoreChange(unmarshalConfChange(type === 'EntryConfChange' ? 1 : 2, data))
}

/** A leader is as far as its own disk. */
function ownProgress({ durableIndex, confState, id }: RaftStatus): Progress {
  return {
    match: durableIndex,
    next: durableIndex + 1,
    state: 'StateReplicate',
    pendingSnapshot: 0,
    recentActive: true,
    paused: false,
    inflight: 0,
    inflightFull: false,
    isLearner: !isVoter(confState, id),
  }
}

function stateOf(role: RaftStatus['role']): StateType {
  const states = {
    follower: 'Follower',
    candidate: 'Candidate',
    preCandidate: 'PreCandidate',
    leader: 'Leader',
  } as const
  return `State${states[role]}`
}

function namesReplica({ voters, learners, votersOutgoing }: ConfState, id: number): boolean {
  return [...voters, ...learners, ...votersOutgoing].includes(id)
}

function dropped(why: string): EtcdError {
  return new EtcdError('ERR_RAFT_PROPOSAL_DROPPED', `The proposal was dropped (${why}); propose it again later.`)
}

const sameSoft = (a: SoftState, b: SoftState): boolean => a.lead === b.lead && a.raftState === b.raftState
const sameHard = (a: HardState, b: HardState): boolean =>
  a.term === b.term && a.vote === b.vote && a.commit === b.commit

function coreConfig(config: Config): RaftConfig {
  const unlimited = Number.MAX_SAFE_INTEGER
  return {
    id: toPeerId(config.id),
    electionTicks: config.electionTick,
    heartbeatTicks: config.heartbeatTick,
    preVote: config.preVote ?? false,
    checkQuorum: config.checkQuorum ?? false,
    maxInflightMessages: config.maxInflightMsgs,
    maxInflightBytes: config.maxInflightBytes ?? unlimited,
    maxAppendBytes: Math.max(1, config.maxSizePerMsg ?? unlimited),
    maxUncommittedBytes: config.maxUncommittedEntriesSize ?? unlimited,
    maxClockErrorMs: 0,
    diskStallTicks: 0,
    initialTimeMs: 0,
    random: config.random,
    commitInRefusals: false,
    forwardReads: true,
    confChangeOnApply: true,
    confChangeGuard: false,
    confChangeValidation: !(config.disableConfChangeValidation ?? false),
    stepDownOnRemoval: config.stepDownOnRemoval ?? false,
  }
}

function startCore(coreConfig: RaftConfig, { storage }: Config, applied: number): Raft {
  const index = storage.firstIndex() - 1
  const { hardState, confState } = storage.initialState()
  const { metadata } = storage.snapshot()
  const lastTerm = storage.term(storage.lastIndex())
  const persisted: PersistedState = {
    hardState: {
      term: Math.max(hardState.term, lastTerm),
      votedFor: hardState.vote === 0 || hardState.term < lastTerm ? undefined : toPeerId(hardState.vote),
      commit: Math.max(hardState.commit, index),
    },
    ...(index === 0 ? {} : { base: { index, term: storage.term(index), time: 0 } }),
    refs: storage.entries(index + 1, storage.lastIndex() + 1).map(toRef),
    applied,
    confState: fromConfState(confState),
    confIndex: Math.max(index, metadata.index),
  }
  const raft = new Raft(coreConfig, persisted)
  if (hardState.term >= lastTerm) return raft
  // etcd starts from a snapshot of a later term than the hard state's; the core has to be talked into that.
  const dump = raft.dump()
  const { term } = hardState
  return Raft.fromDump(coreConfig, {
    ...dump,
    core: { ...dump.core, term },
    announcedLeader: { ...dump.announcedLeader, term },
    written: { ...dump.written, term },
  })
}

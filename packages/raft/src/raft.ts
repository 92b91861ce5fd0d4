/**
 * The Raft core: `step(input)` returns effects. Synchronous and pure: no I/O, clock, timer, Promise or randomness of
 * its own; the same inputs give the same effects. Payloads never come here.
 *
 * The protocol is etcd's (Raft dissertation, Ongaro 2014, "Raft §" below) with storage always asynchronous:
 * - What a step writes leaves as at most one `append` effect. A message that vouches for something written (a vote, an
 *   accepted append) is held until the shell says that this write is durable.
 * - A leader sends entries to others while its own disk still works (Raft §10.2.1), and counts itself towards a quorum
 *   up to its own durable index, no further.
 *
 * Invariants, asserted after every step: announced <= min(commit, durable) <= last; 0 <= match < next <= last + 1;
 * term never decreases; votedFor is set once per term; nothing at or below commit is truncated.
 */
import { fromHex, invariant } from '@cipherlog/core'
import { RaftStateError } from './errors.ts'
import { PeerClocks } from './log-time.ts'
import { type ReadonlyRaftLog, RaftLog } from './log.ts'
import { type ConfState, isConfState, isPeerId, type PeerId } from './membership.ts'
import {
  type AppendMessage,
  type AppendRespMessage,
  checkMessage,
  type HeartbeatMessage,
  type HeartbeatRespMessage,
  isEntryRef,
  isKnownMessage,
  isPayload,
  type Message,
  type PreVoteMessage,
  type PreVoteRespMessage,
  type VoteMessage,
  type VoteRespMessage,
} from './messages.ts'
import { isTerm } from './numbers.ts'
import { PendingWrites } from './pending-writes.ts'
import { Progress } from './progress.ts'
import { committedIndex, isQuorum, voteResult } from './quorum.ts'
import { ReadOnly } from './read-only.ts'
import {
  type Effect,
  emptyDigestHex,
  type EntryRef,
  type HardState,
  type Input,
  noOpKind,
  type PersistedState,
  type RaftConfig,
  type RaftStatus,
  type Role,
} from './types.ts'

/** What a ref costs on the wire beside its payload, about: keeps messages of many small entries bounded too. */
const refBytes = 64

export class Raft {
  readonly #config: RaftConfig
  readonly #confState: ConfState
  /** Sorted, so that every replica and every replay iterates in the same order. */
  readonly #voters: readonly PeerId[]
  readonly #log: RaftLog
  readonly #writes: PendingWrites
  readonly #reads = new ReadOnly()
  readonly #clocks = new PeerClocks()

  #term: number
  #votedFor: PeerId | undefined
  /** Highest index known to be committed; may be ahead of what is durable here. */
  #commit: number
  #applied: number
  #role: Role = 'follower'
  #leaderId: PeerId | undefined
  /** The other voters, while leading. */
  readonly #peers = new Map<PeerId, Progress>()
  /** Answers of this campaign. */
  readonly #votes = new Map<PeerId, boolean>()
  /** Proposals appended here and not known to be committed, by index. */
  readonly #proposals = new Map<number, number>()
  #uncommittedBytes = 0

  #ticks = 0
  /** The newest clock the shell told us. */
  #clockMs: number
  #electionElapsed = 0
  #heartbeatElapsed = 0
  #electionTimeout = 0

  /** What the shell knows: differences become effects at the end of a step. */
  #announcedCommit: number
  #announcedRole: Role = 'follower'
  #announcedLeader: { readonly leaderId: PeerId | undefined; readonly term: number }
  #written: HardState

  /** Gathered during one step. */
  #effects: Effect[] = []
  #held: Message[] = []
  #newEntries: { readonly ref: EntryRef; readonly proposalId?: number }[] = []
  #truncateFrom: number | undefined

  /**
   * Starts as a follower with what the disk holds.
   * @throws {@link RangeError} if a field of `config` is out of range.
   * @throws {@link RaftStateError} `ERR_RAFT_STATE` if `persisted` is not something this core can have written.
   */
  constructor(config: RaftConfig, persisted: PersistedState) {
    checkConfig(config)
    this.#config = config
    this.#confState = persisted.confState
    this.#voters = persisted.confState.voters
    this.#log = loadLog(config.initialTimeMs, persisted)
    this.#writes = new PendingWrites(this.#log.lastIndex)
    this.#term = persisted.hardState.term
    this.#votedFor = persisted.hardState.votedFor
    this.#applied = persisted.applied ?? 0
    this.#commit = Math.max(persisted.hardState.commit, this.#applied)
    this.#announcedCommit = this.#applied
    this.#announcedLeader = { leaderId: undefined, term: this.#term }
    this.#written = { ...persisted.hardState }
    this.#clockMs = config.initialTimeMs
    this.#resetTimers()
  }

  /** The log, to read: refs of entries that were truncated are gone. */
  get log(): ReadonlyRaftLog {
    return this.#log
  }

  /** A snapshot of the state, for people, metrics and the shell's own decisions. */
  get status(): RaftStatus {
    const peers: Record<PeerId, ReturnType<Progress['status']>> = {}
    for (const [id, progress] of this.#peers) peers[id] = progress.status()
    return {
      id: this.#config.id,
      term: this.#term,
      role: this.#role,
      leaderId: this.#leaderId,
      votedFor: this.#votedFor,
      commit: this.#commit,
      applied: this.#applied,
      firstIndex: 1,
      lastIndex: this.#log.lastIndex,
      lastTime: this.#log.lastTime,
      durableIndex: this.#writes.durableIndex,
      snapshotIndex: 0,
      confState: this.#confState,
      isLearner: false,
      leadTransferee: undefined,
      quiesced: false,
      peers,
    }
  }

  /**
   * Takes one input, returns what is to be done. Never call it again from within its effects.
   * @throws {@link RaftMessageError} `ERR_RAFT_MESSAGE`: the message is malformed; nothing changed, go on.
   * @throws {@link RangeError} on an argument of the shell that is out of range; nothing changed.
   * @throws {@link InvariantViolation} `ERR_INVARIANT`: stop the node, its state is not to be trusted.
   */
  step(input: Input): Effect[] {
    switch (input.type) {
      case 'tick':
        this.#setClock(input.clockMs)
        this.#tick()
        break
      case 'message':
        // A message for another incarnation is for another disk; what it says would be about promises we never made.
        if (input.message.to !== this.#config.id || input.message.from === this.#config.id) return []
        if (!isKnownMessage(input.message)) return []
        checkMessage(input.message)
        this.#setClock(input.clockMs)
        this.#receive(input.message)
        break
      case 'propose':
        this.#setClock(input.clockMs)
        this.#propose(input)
        break
      case 'appended':
        this.#appended(input.ioId)
        break
      case 'applied':
        invariant(input.index <= this.#announcedCommit, 'An entry was applied before it was committed', {
          index: input.index,
        })
        this.#applied = Math.max(this.#applied, input.index)
        break
      case 'readIndex':
        this.#readIndex(input.context)
        break
      case 'campaign':
        this.#campaign()
        break
      case 'unreachable':
        if (this.#peers.get(input.peer)?.state === 'replicate') this.#peers.get(input.peer)!.becomeProbe()
        break
      case 'stepDown':
        if (this.#role === 'leader') this.#becomeFollower(this.#term, undefined)
        break
      case 'forgetLeader':
        if (this.#role !== 'leader') this.#leaderId = undefined
        break
      case 'proposeConf':
      case 'applyConfChange':
      case 'transferLeadership':
      case 'compact':
      case 'snapshotAvailable':
      case 'snapshotStatus':
        throw new RangeError(`${input.type} is announced and does not work yet`)
    }
    return this.#finishStep()
  }

  // Time

  #setClock(clockMs: number): void {
    if (!Number.isSafeInteger(clockMs) || clockMs < 0) {
      throw new RangeError('clockMs must be a whole number of milliseconds since 1970')
    }
    this.#clockMs = clockMs
  }

  #resetTimers(): void {
    this.#electionElapsed = 0
    this.#heartbeatElapsed = 0
    const { electionTicks, random } = this.#config
    this.#electionTimeout = electionTicks + Math.floor(random() * electionTicks)
  }

  #tick(): void {
    this.#ticks++
    this.#electionElapsed++
    if (this.#role === 'leader') {
      this.#tickLeader()
    } else if (
      this.#electionElapsed >= this.#electionTimeout ||
      // Nobody to wait for.
      (this.#voters.length === 1 && this.#role === 'follower')
    ) {
      this.#resetTimers()
      this.#campaign()
    }
  }

  #tickLeader(): void {
    // A leader whose disk hangs would keep its followers quiet with heartbeats and commit nothing new.
    if (this.#diskStalled()) return this.#becomeFollower(this.#term, undefined)
    if (this.#electionElapsed >= this.#config.electionTicks) {
      this.#electionElapsed = 0
      if (this.#config.checkQuorum && !this.#isQuorum((id) => this.#peers.get(id)!.recentActive)) {
        return this.#becomeFollower(this.#term, undefined)
      }
      for (const progress of this.#peers.values()) progress.recentActive = false
    }
    if (++this.#heartbeatElapsed >= this.#config.heartbeatTicks) this.#broadcastHeartbeat()
  }

  #diskStalled(): boolean {
    const { diskStallTicks } = this.#config
    const oldest = this.#writes.oldestTick
    return diskStallTicks > 0 && oldest !== undefined && this.#ticks - oldest >= diskStallTicks
  }

  // Roles

  #isVoter(): boolean {
    return this.#voters.includes(this.#config.id)
  }

  /** A quorum of voters, this replica holding by itself. */
  #isQuorum(holds: (other: PeerId) => boolean): boolean {
    return isQuorum(this.#voters, (voter) => voter === this.#config.id || holds(voter))
  }

  #reset(term: number): void {
    invariant(term >= this.#term, 'The term went back', { from: this.#term, to: term })
    // Stepping down within a term keeps the vote: forgetting it would allow a second one (Raft §3.4).
    if (term > this.#term) this.#votedFor = undefined
    this.#term = term
    this.#leaderId = undefined
    this.#resetTimers()
    this.#votes.clear()
    this.#peers.clear()
    this.#clocks.clear()
  }

  #becomeFollower(term: number, leaderId: PeerId | undefined): void {
    this.#reset(term)
    this.#role = 'follower'
    this.#leaderId = leaderId
    for (const context of this.#reads.drain()) this.#failRead(context)
  }

  #campaign(): void {
    if (this.#role === 'leader' || !this.#isVoter()) return
    // Our own vote could not become durable, so we would only disturb the others.
    if (this.#diskStalled()) return
    if (!this.#config.preVote) return this.#becomeCandidate()
    this.#role = 'preCandidate'
    this.#leaderId = undefined
    this.#votes.clear()
    this.#votes.set(this.#config.id, true)
    for (const to of this.#others()) this.#send(this.#voteRequest('preVote', to, this.#term + 1))
    this.#countVotes()
  }

  #becomeCandidate(): void {
    this.#reset(this.#term + 1)
    this.#role = 'candidate'
    this.#votedFor = this.#config.id
    // Asking vouches for no vote, so it need not wait for the own one (etcd), but it does vouch for the log: a grant
    // that arrives after a crash must not elect a replica which lost the entries that the grant was given for.
    const isLogDurable = this.#writes.durableIndex === this.#log.lastIndex
    // The own vote counts like any other once it is durable.
    this.#hold({ type: 'voteResp', from: this.#config.id, to: this.#config.id, term: this.#term, granted: true })
    for (const to of this.#others()) {
      const request = this.#voteRequest('vote', to, this.#term)
      if (isLogDurable) this.#send(request)
      else this.#hold(request)
    }
  }

  #voteRequest(type: 'preVote' | 'vote', to: PeerId, term: number): PreVoteMessage | VoteMessage {
    const { lastIndex: lastLogIndex, lastTerm: lastLogTerm } = this.#log
    return { type, from: this.#config.id, to, term, lastLogIndex, lastLogTerm }
  }

  #countVotes(): void {
    const result = voteResult(this.#voters, this.#votes)
    if (result === 'lost') this.#becomeFollower(this.#term, undefined)
    else if (result === 'won' && this.#role === 'preCandidate') this.#becomeCandidate()
    else if (result === 'won') this.#becomeLeader()
  }

  #becomeLeader(): void {
    invariant(this.#role === 'candidate' && this.#votedFor === this.#config.id, 'Only a candidate becomes leader')
    this.#reset(this.#term)
    this.#role = 'leader'
    this.#leaderId = this.#config.id
    for (const id of this.#others()) {
      this.#peers.set(id, new Progress(this.#log.lastIndex + 1, this.#config))
    }
    this.#uncommittedBytes = 0
    for (let index = this.#commit + 1; index <= this.#log.lastIndex; index++) {
      this.#uncommittedBytes += this.#log.payloadBytes(index)
    }
    // Entries of earlier terms commit only behind one of this term (Raft §3.6.2).
    this.#appendOwn(noOpKind, 0, fromHex(emptyDigestHex))
    this.#broadcastAppend()
  }

  // Messages in

  #receive(message: Message): void {
    if (message.term > this.#term) {
      const isRequest = message.type === 'vote' || message.type === 'preVote'
      if (isRequest && this.#hearsLeader()) return
      // A pre-vote changes nobody's term; its candidate raises it when it has won.
      const keepsTerm = message.type === 'preVote' || (message.type === 'preVoteResp' && message.granted)
      if (!keepsTerm) {
        const fromLeader = message.type === 'append' || message.type === 'heartbeat'
        this.#becomeFollower(message.term, fromLeader ? message.from : undefined)
      }
    } else if (message.term < this.#term) {
      return this.#refuseStale(message)
    }
    switch (message.type) {
      case 'preVote':
      case 'vote':
        return this.#handleVoteRequest(message)
      case 'preVoteResp':
      case 'voteResp':
        return this.#handleVoteResponse(message)
      case 'append':
        return this.#handleAppend(message)
      case 'appendResp':
        return this.#handleAppendResponse(message)
      case 'heartbeat':
        return this.#handleHeartbeat(message)
      case 'heartbeatResp':
        return this.#handleHeartbeatResponse(message)
      case 'snapshot':
      case 'timeoutNow':
      case 'readIndex':
      case 'readIndexResp':
      case 'propose':
      case 'quiesce':
        // Announced kinds, which no replica sends yet.
        return
    }
  }

  /** Votes are refused while a leader is known to be alive (Raft §4.2.3); a leader hears itself. */
  #hearsLeader(): boolean {
    return (
      this.#config.checkQuorum && this.#leaderId !== undefined && this.#electionElapsed < this.#config.electionTicks
    )
  }

  /** Tells a sender that its term is over (Raft §3.3); late answers need no answer. */
  #refuseStale(message: Message): void {
    if (message.type === 'append' || message.type === 'heartbeat') {
      this.#refuseAppend(message.from, 0, 0, 0)
    } else if (message.type === 'vote' || message.type === 'preVote') {
      this.#answerVote(message, false)
    }
  }

  #handleVoteRequest(message: PreVoteMessage | VoteMessage): void {
    const free =
      this.#votedFor === message.from ||
      (this.#votedFor === undefined && this.#leaderId === undefined) ||
      (message.type === 'preVote' && message.term > this.#term)
    const granted = free && this.#log.isUpToDate(message.lastLogIndex, message.lastLogTerm)
    if (granted && message.type === 'vote') {
      this.#electionElapsed = 0
      this.#votedFor = message.from
    }
    this.#answerVote(message, granted)
  }

  #answerVote(request: PreVoteMessage | VoteMessage, granted: boolean): void {
    const envelope = { from: this.#config.id, to: request.from, term: granted ? request.term : this.#term, granted }
    if (request.type === 'preVote') this.#send({ type: 'preVoteResp', ...envelope })
    else if (granted) this.#hold({ type: 'voteResp', ...envelope })
    else this.#send({ type: 'voteResp', ...envelope })
  }

  #handleVoteResponse(message: PreVoteRespMessage | VoteRespMessage): void {
    if (this.#role !== (message.type === 'voteResp' ? 'candidate' : 'preCandidate')) return
    // A grant for an earlier pre-campaign says nothing about this one.
    if (message.type === 'preVoteResp' && message.granted && message.term !== this.#term + 1) return
    this.#votes.set(message.from, message.granted)
    this.#countVotes()
  }

  /** The sender leads our term. */
  #followLeader(leaderId: PeerId): void {
    invariant(this.#role !== 'leader' && (this.#leaderId ?? leaderId) === leaderId, 'Two leaders in one term', {
      term: this.#term,
      leaders: [this.#leaderId, leaderId],
    })
    if (this.#role !== 'follower') this.#becomeFollower(this.#term, leaderId)
    this.#leaderId = leaderId
    this.#electionElapsed = 0
  }

  #handleAppend(message: AppendMessage): void {
    this.#followLeader(message.from)
    const { prevLogIndex, prevLogTerm, entries } = message
    if (prevLogIndex < this.#commit) {
      // Late: what it carries may lie below the commit index, where logs agree anyway.
      return this.#acceptAppend(message.from, this.#commit)
    }
    if (this.#log.term(prevLogIndex) !== prevLogTerm) {
      const hintIndex = this.#log.findConflictByTerm(prevLogIndex, prevLogTerm)
      return this.#refuseAppend(message.from, prevLogIndex, hintIndex, this.#log.term(hintIndex)!)
    }
    // Only a conflicting entry truncates: a delayed message with fewer entries must not undo a newer one (Raft fig. 3.1).
    const conflict = this.#log.findConflict(entries)
    if (conflict >= 0) {
      const from = entries[conflict]!.index
      if (from <= this.#log.lastIndex) this.#truncate(from)
      for (const ref of entries.slice(conflict)) this.#append(ref)
    }
    const lastNew = prevLogIndex + entries.length
    this.#commitTo(Math.min(message.leaderCommit, lastNew))
    this.#acceptAppend(message.from, lastNew)
  }

  #acceptAppend(to: PeerId, index: number): void {
    const envelope = { from: this.#config.id, to, term: this.#term }
    this.#hold({ type: 'appendResp', ...envelope, accepted: true, index, hintIndex: 0, hintTerm: 0 })
  }

  #refuseAppend(to: PeerId, index: number, hintIndex: number, hintTerm: number): void {
    const envelope = { from: this.#config.id, to, term: this.#term }
    this.#send({ type: 'appendResp', ...envelope, accepted: false, index, hintIndex, hintTerm })
  }

  #handleHeartbeat(message: HeartbeatMessage): void {
    this.#followLeader(message.from)
    this.#commitTo(message.leaderCommit)
    this.#send({
      type: 'heartbeatResp',
      from: this.#config.id,
      to: message.from,
      term: this.#term,
      readContext: message.readContext,
      clockMs: this.#clockMs,
    })
  }

  #handleAppendResponse(message: AppendRespMessage): void {
    const progress = this.#peers.get(message.from)
    if (progress === undefined) return
    progress.recentActive = true
    if (!message.accepted) {
      const hint = this.#log.findConflictByTerm(message.hintIndex, message.hintTerm)
      if (progress.refused(message.index, hint)) this.#sendAppend(message.from, progress, 'always')
      return
    }
    invariant(message.index <= this.#log.lastIndex, 'A peer acknowledged an entry its leader does not have', {
      peer: message.from,
      index: message.index,
    })
    if (!progress.acknowledged(message.index)) return
    if (this.#advanceCommit()) this.#broadcastAppend()
    while (this.#sendAppend(message.from, progress, 'news'));
  }

  #handleHeartbeatResponse(message: HeartbeatRespMessage): void {
    const progress = this.#peers.get(message.from)
    if (progress === undefined) return
    progress.recentActive = true
    this.#clocks.record(message.from, message.clockMs, this.#ticks)
    progress.allowProbe()
    // An append or its answer may be lost: an empty one finds out.
    if (progress.match < this.#log.lastIndex) this.#sendAppend(message.from, progress, 'always')
    this.#reads.confirm(message.from, message.readContext)
    this.#finishReadRound()
  }

  // The log

  #append(ref: EntryRef, proposalId?: number): void {
    this.#log.append(ref)
    this.#newEntries.push(proposalId === undefined ? { ref } : { ref, proposalId })
  }

  #appendOwn(kind: number, bytes: number, digest: Uint8Array, proposalId?: number): void {
    invariant(this.#role === 'leader', 'Only a leader appends entries of its own')
    const { id, electionTicks, maxClockErrorMs } = this.#config
    const time = this.#clocks.stamp(
      { id, clockMs: this.#clockMs, lastStamp: this.#log.lastTime },
      this.#voters,
      this.#ticks - electionTicks,
      maxClockErrorMs,
    )
    const index = this.#log.lastIndex + 1
    this.#append({ term: this.#term, index, kind, time, bytes, digest }, proposalId)
    this.#uncommittedBytes += bytes
    if (proposalId !== undefined) this.#proposals.set(index, proposalId)
  }

  #truncate(from: number): void {
    invariant(from > this.#commit, 'A committed entry would be truncated', { from, commit: this.#commit })
    invariant(this.#newEntries.length === 0, 'A step truncated what it appended')
    for (let index = from; index <= this.#log.lastIndex; index++) {
      const proposalId = this.#proposals.get(index)
      if (proposalId !== undefined) this.#effects.push({ type: 'lost', proposalId })
      this.#proposals.delete(index)
    }
    this.#log.truncateFrom(from)
    this.#writes.truncateFrom(from)
    this.#truncateFrom = from
  }

  #commitTo(index: number): void {
    if (index <= this.#commit) return
    invariant(index <= this.#log.lastIndex, 'The commit index points beyond the log; was an acknowledged write lost?', {
      index,
      lastIndex: this.#log.lastIndex,
    })
    for (let at = this.#commit + 1; at <= index; at++) {
      this.#proposals.delete(at)
      if (this.#role === 'leader') this.#uncommittedBytes -= this.#log.payloadBytes(at)
    }
    this.#commit = index
  }

  /** Commits what a quorum holds durably, if it is of this term (Raft §3.6.2, fig. 3.7). */
  #advanceCommit(): boolean {
    const index = committedIndex(this.#voters, (voter) =>
      voter === this.#config.id ? this.#writes.durableIndex : this.#peers.get(voter)!.match,
    )
    if (index <= this.#commit || this.#log.term(index) !== this.#term) return false
    this.#commitTo(index)
    this.#beginReadRound()
    return true
  }

  #propose(input: Extract<Input, { type: 'propose' }>): void {
    const { proposalId, kind, bytes, digest } = input
    if (this.#role !== 'leader') {
      const leader = this.#leaderId === undefined ? {} : { leaderId: this.#leaderId }
      this.#effects.push({ type: 'dropped', proposalId, reason: 'not-leader', ...leader })
      return
    }
    if (!isPayload({ kind, bytes, digest })) {
      throw new RangeError('A proposal needs a u16 kind, a u32 length and a digest of 32 bytes')
    }
    if (this.#uncommittedBytes > 0 && this.#uncommittedBytes + bytes > this.#config.maxUncommittedBytes) {
      this.#effects.push({ type: 'dropped', proposalId, reason: 'uncommitted-limit', leaderId: this.#config.id })
      return
    }
    this.#appendOwn(kind, bytes, digest.slice(), proposalId)
    this.#broadcastAppend()
  }

  #appended(ioId: number): void {
    for (const message of this.#writes.complete(ioId)) {
      // A promise of an earlier term is void, and what it spoke of may have been overwritten.
      if (message.term !== this.#term) continue
      if (message.type === 'appendResp') {
        invariant(message.index <= this.#writes.durableIndex, 'An acknowledgement ran ahead of the disk')
      }
      if (message.to === this.#config.id) this.#receive(message)
      else this.#send(message)
    }
    if (this.#role === 'leader' && this.#advanceCommit()) this.#broadcastAppend()
  }

  // Messages out

  #others(): readonly PeerId[] {
    return this.#voters.filter((voter) => voter !== this.#config.id)
  }

  #send(message: Message): void {
    this.#effects.push({ type: 'send', to: message.to, message })
  }

  /** Sends `message` once everything written up to the end of this step is durable. */
  #hold(message: Message): void {
    this.#held.push(message)
  }

  #broadcastAppend(): void {
    for (const [id, progress] of this.#peers) this.#sendAppend(id, progress, 'news')
  }

  /** Sends one append if the peer may get one: 'news' only with entries or a commit index it was not told. */
  #sendAppend(to: PeerId, progress: Progress, when: 'news' | 'always'): boolean {
    if (progress.paused) return false
    const prevLogIndex = progress.next - 1
    const entries: EntryRef[] = []
    let bytes = 0
    if (progress.windowOpen) {
      for (let index = progress.next; index <= this.#log.lastIndex; index++) {
        const more = this.#log.payloadBytes(index) + refBytes
        if (entries.length > 0 && bytes + more > this.#config.maxAppendBytes) break
        entries.push(this.#log.ref(index))
        bytes += more
      }
    }
    if (when === 'news' && entries.length === 0 && progress.sentCommit >= this.#commit) return false
    progress.sent(entries.length, bytes, this.#commit)
    this.#send({
      type: 'append',
      from: this.#config.id,
      to,
      term: this.#term,
      prevLogIndex,
      prevLogTerm: this.#log.term(prevLogIndex)!,
      entries,
      leaderCommit: this.#commit,
    })
    return true
  }

  #broadcastHeartbeat(): void {
    this.#heartbeatElapsed = 0
    for (const [to, progress] of this.#peers) {
      this.#send({
        type: 'heartbeat',
        from: this.#config.id,
        to,
        term: this.#term,
        // Not above what the peer acknowledged: beyond that its log may still differ from ours.
        leaderCommit: Math.min(this.#commit, progress.match),
        readContext: this.#reads.context,
      })
    }
  }

  // Reads

  #readIndex(context: number): void {
    if (this.#role !== 'leader') return this.#failRead(context)
    this.#reads.add(context)
    this.#beginReadRound()
  }

  #beginReadRound(): void {
    // Until an entry of its own term is committed a leader does not know the commit index (Raft §6.4).
    if (this.#log.term(this.#commit) !== this.#term || !this.#reads.begin(this.#commit)) return
    this.#broadcastHeartbeat()
    this.#finishReadRound()
  }

  #finishReadRound(): void {
    const round = this.#reads.finish((confirmed) => this.#isQuorum((id) => confirmed.has(id)))
    if (round === undefined) return
    for (const context of round.contexts) this.#effects.push({ type: 'readReady', context, index: round.index })
    this.#beginReadRound()
  }

  #failRead(context: number): void {
    const leader = this.#leaderId === undefined ? {} : { leaderId: this.#leaderId }
    this.#effects.push({ type: 'readFailed', context, ...leader })
  }

  // The end of a step

  #finishStep(): Effect[] {
    const changes = this.#announceChanges()
    const append = this.#takeAppend()
    for (const message of this.#held) if (!this.#writes.hold(message)) this.#send(message)
    this.#held = []
    const effects = append === undefined ? [...changes, ...this.#effects] : [...changes, append, ...this.#effects]
    this.#effects = []
    const committed = Math.min(this.#commit, this.#writes.durableIndex)
    if (committed > this.#announcedCommit) {
      this.#announcedCommit = committed
      effects.push({ type: 'committed', index: committed })
    }
    this.#assertInvariants()
    return effects
  }

  #announceChanges(): Effect[] {
    const changes: Effect[] = []
    if (this.#role !== this.#announcedRole) {
      this.#announcedRole = this.#role
      changes.push({ type: 'roleChanged', role: this.#role, term: this.#term })
    }
    const { leaderId, term } = this.#announcedLeader
    if (this.#leaderId !== leaderId || (leaderId !== undefined && this.#term !== term)) {
      this.#announcedLeader = { leaderId: this.#leaderId, term: this.#term }
      changes.push({ type: 'leaderChanged', leaderId: this.#leaderId, term: this.#term })
    }
    return changes
  }

  #takeAppend(): Effect | undefined {
    const promiseChanged = this.#term !== this.#written.term || this.#votedFor !== this.#written.votedFor
    if (!promiseChanged && this.#newEntries.length === 0 && this.#truncateFrom === undefined) return undefined
    // The commit index goes along for free. Only what is on disk already: a torn write must not leave it pointing past
    // the log.
    const commit = Math.min(this.#commit, this.#writes.durableIndex)
    const hardState = { term: this.#term, votedFor: this.#votedFor, commit }
    const effect: Effect = {
      type: 'append',
      ioId: this.#writes.issue(this.#log.lastIndex, this.#ticks),
      ...(promiseChanged || commit !== this.#written.commit ? { hardState } : {}),
      ...(this.#truncateFrom === undefined ? {} : { truncateFrom: this.#truncateFrom }),
      entries: this.#newEntries,
    }
    invariant(
      hardState.term > this.#written.term || (this.#written.votedFor ?? this.#votedFor) === this.#votedFor,
      'A vote changed within its term',
      { term: this.#term },
    )
    this.#written = hardState
    this.#newEntries = []
    this.#truncateFrom = undefined
    return effect
  }

  #assertInvariants(): void {
    const { durableIndex } = this.#writes
    invariant(
      durableIndex <= this.#log.lastIndex && this.#commit <= this.#log.lastIndex,
      'An index is beyond the log',
      {
        durableIndex,
        commit: this.#commit,
        lastIndex: this.#log.lastIndex,
      },
    )
    invariant(this.#announcedCommit <= Math.min(this.#commit, durableIndex), 'What was committed is so no longer', {
      announced: this.#announcedCommit,
      commit: this.#commit,
      durableIndex,
    })
    for (const progress of this.#peers.values()) progress.assertInvariant(this.#log.lastIndex)
  }
}

function checkConfig(config: RaftConfig): void {
  const check = (condition: boolean, what: string): void => {
    if (!condition) throw new RangeError(`RaftConfig: ${what}`)
  }
  check(isPeerId(config.id), 'a peer id is 32 lowercase hex digits')
  const { heartbeatTicks, electionTicks, diskStallTicks, maxClockErrorMs, initialTimeMs } = config
  for (const count of [heartbeatTicks, electionTicks, config.maxInflightMessages]) {
    check(Number.isSafeInteger(count) && count >= 1, 'ticks and message limits are whole numbers from 1')
  }
  for (const bytes of [config.maxInflightBytes, config.maxAppendBytes, config.maxUncommittedBytes]) {
    check(Number.isSafeInteger(bytes) && bytes >= 1, 'byte limits are whole numbers from 1')
  }
  for (const value of [diskStallTicks, maxClockErrorMs, initialTimeMs]) {
    check(Number.isSafeInteger(value) && value >= 0, 'diskStallTicks and times are whole numbers from 0')
  }
  check(electionTicks > heartbeatTicks, 'electionTicks must exceed heartbeatTicks')
}

function loadLog(initialTimeMs: number, { hardState, refs, applied = 0, confState }: PersistedState): RaftLog {
  if (!isConfState(confState)) throw new RaftStateError('has an impossible configuration', {})
  const log = new RaftLog(initialTimeMs)
  for (const ref of refs) {
    if (!isEntryRef(ref) || ref.index !== log.lastIndex + 1 || ref.term < log.lastTerm) {
      throw new RaftStateError('has an entry out of place', { index: ref.index, after: log.lastIndex })
    }
    log.append(ref)
  }
  const { term, votedFor, commit } = hardState
  if (!isTerm(term)) throw new RaftStateError('has an impossible term', { term })
  for (const value of [term, commit, applied]) {
    if (!Number.isSafeInteger(value) || value < 0) throw new RaftStateError('has an impossible counter', { value })
  }
  if (term < log.lastTerm) throw new RaftStateError('has entries of a later term than its own', { term })
  if (commit > log.lastIndex || applied > log.lastIndex) {
    throw new RaftStateError('lacks committed entries', { commit, applied, lastIndex: log.lastIndex })
  }
  if (term === 0 && votedFor !== undefined) throw new RaftStateError('has a vote without a term', {})
  return log
}

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
 * This file takes inputs, applies the rules of terms, and gathers the effects of a step; the parts of the protocol are
 * listed in core.ts. Invariants, asserted after every step: base <= applied <= announced <= min(commit, durable) <=
 * last, except while a snapshot is being installed; 0 <= match < next <= last + 1; term never decreases; votedFor is
 * set once per term; nothing at or below commit is truncated.
 */
import { invariant } from '@cipherlog/core'
import { completeConfig } from './config.ts'
import { Core } from './core.ts'
import { type CoreDump, dumpCore, loadCore } from './dump.ts'
import { type ReadonlyRaftLog } from './log.ts'
import { type ConfState, isSnapshotMeta, type PeerId, type SnapshotMeta } from './membership.ts'
import { checkMessage, isKnownMessage, type Message } from './messages.ts'
import { PendingWrites } from './pending-writes.ts'
import { loadPersisted } from './persisted.ts'
import {
  type Effect,
  type HardState,
  type Input,
  type PersistedState,
  type RaftConfig,
  type RaftStatus,
  type Role,
} from './types.ts'

/** A Raft object between two steps as plain JSON: {@link Raft.fromDump} makes a twin of it. */
export interface RaftDump {
  readonly core: CoreDump
  readonly announcedCommit: number
  readonly announcedRole: Role
  readonly announcedLeader: { readonly leaderId: PeerId | null; readonly term: number }
  readonly written: { readonly term: number; readonly votedFor: PeerId | null; readonly commit: number }
}

export class Raft {
  readonly #core: Core
  /** What the shell knows: differences become effects at the end of a step. */
  #announcedCommit = 0
  #announcedRole: Role = 'follower'
  #announcedLeader: { readonly leaderId: PeerId | undefined; readonly term: number }
  #written: HardState

  /**
   * Starts as a follower with what the disk holds.
   * @throws {@link RangeError} if a field of `config` is out of range.
   * @throws {@link RaftStateError} `ERR_RAFT_STATE` if `persisted` is not something this core can have written.
   */
  constructor(config: RaftConfig, persisted: PersistedState | RaftDump) {
    const complete = completeConfig(config)
    if ('core' in persisted) {
      this.#core = loadCore(complete, persisted.core)
      this.#announcedCommit = persisted.announcedCommit
      this.#announcedRole = persisted.announcedRole
      const { announcedLeader, written } = persisted
      this.#announcedLeader = { ...announcedLeader, leaderId: announcedLeader.leaderId ?? undefined }
      this.#written = { ...written, votedFor: written.votedFor ?? undefined }
      return
    }
    const loaded = loadPersisted(complete, persisted)
    const { hardState, applied, commit } = loaded
    const core = new Core(complete, loaded.log, new PendingWrites(loaded.log.lastIndex))
    this.#core = core
    core.term = hardState.term
    core.votedFor = hardState.votedFor
    core.applied = applied
    core.commit = commit
    core.snapshot = loaded.snapshot
    core.election.resetTimer()
    core.reads.start()
    core.reconfiguration.start(loaded.confState, loaded.confIndex)
    core.reconfiguration.advance(commit)
    this.#announcedCommit = applied
    this.#announcedLeader = { leaderId: undefined, term: core.term }
    this.#written = { ...hardState }
  }

  /** A twin of the object that was dumped: the same from here on, as far as `config.random` is. */
  static fromDump(config: RaftConfig, dump: RaftDump): Raft {
    return new Raft(config, dump)
  }

  /** The state between two steps, as plain JSON. Shares nothing that changes with this object. */
  dump(): RaftDump {
    const { leaderId, term } = this.#announcedLeader
    return {
      core: dumpCore(this.#core),
      announcedCommit: this.#announcedCommit,
      announcedRole: this.#announcedRole,
      announcedLeader: { leaderId: leaderId ?? null, term },
      written: { ...this.#written, votedFor: this.#written.votedFor ?? null },
    }
  }

  /** The log, to read: refs of entries that were truncated or compacted are gone. */
  get log(): ReadonlyRaftLog {
    return this.#core.log
  }

  /**
   * The configuration as of `index`, for a snapshot of that index: what has taken effect may be ahead of what the
   * machine has applied. Undefined before what is known or after what has taken effect; with `confChangeOnApply` the
   * host knows itself.
   */
  confStateAt(index: number): ConfState | undefined {
    return this.#core.reconfiguration.at(index)
  }

  get term(): number {
    return this.#core.term
  }

  /**
   * The messages that wait for the append effect `ioId` and leave when `appended` is stepped: for hosts that hand them
   * to their disk's thread instead, like the etcd-shaped view. Read only.
   */
  heldBy(ioId: number): readonly Message[] {
    return this.#core.writes.heldBy(ioId)
  }

  /** A snapshot of the state, for people, metrics and the shell's own decisions. */
  get status(): RaftStatus {
    const core = this.#core
    const { log, writes, reconfiguration } = core
    return {
      id: core.id,
      term: core.term,
      role: core.role,
      leaderId: core.leaderId,
      votedFor: core.votedFor,
      commit: core.commit,
      applied: core.applied,
      firstIndex: log.firstIndex,
      lastIndex: log.lastIndex,
      lastTime: log.lastTime,
      durableIndex: writes.durableIndex,
      snapshotIndex: core.snapshot?.index ?? 0,
      confState: reconfiguration.confState,
      isLearner: reconfiguration.isLearner,
      leadTransferee: core.transfer.target,
      quiesced: core.quiescence.asleep,
      peers: core.replication.status(),
    }
  }

  /**
   * Takes one input, returns what is to be done. Never call it again from within its effects.
   * @throws {@link RaftMessageError} `ERR_RAFT_MESSAGE`: the message is malformed; nothing changed, go on.
   * @throws {@link RangeError} on an argument of the shell that is out of range; nothing changed.
   * @throws {@link InvariantViolation} `ERR_INVARIANT`: stop the node, its state is not to be trusted.
   */
  step(input: Input): Effect[] {
    const core = this.#core
    if (input.type === 'message') {
      // A message for another incarnation is for another disk; what it says would be about promises we never made.
      const { message } = input
      if (message.to !== core.id || message.from === core.id || !isKnownMessage(message)) return []
      checkMessage(message)
    }
    if ('clockMs' in input) this.#setClock(input.clockMs)
    if ('monotonicMs' in input && input.monotonicMs !== undefined) this.#setMonotonic(input.monotonicMs)
    core.quiescence.notice(input)
    switch (input.type) {
      case 'tick':
        this.#tick()
        break
      case 'message':
        this.#receive(input.message)
        break
      case 'propose':
      case 'proposeConf':
        core.proposals.propose(input)
        break
      case 'appended':
        this.#appended(input.ioId)
        break
      case 'applied':
        this.#applied(input.index)
        break
      case 'applyConfChange':
        if (!core.config.confChangeOnApply) throw new RangeError('Without confChangeOnApply the core applies changes')
        if (input.change !== undefined) core.reconfiguration.apply(input.change)
        break
      case 'readIndex':
        core.reads.ask(input)
        break
      case 'campaign':
        core.election.campaignNow()
        break
      case 'unreachable':
        core.replication.unreachable(input.peer)
        break
      case 'transferLeadership':
        core.transfer.begin(input.to)
        break
      case 'stepDown':
        if (core.role === 'leader') core.election.becomeFollower(core.term, undefined)
        break
      case 'forgetLeader':
        // Where the leader reads by lease, forgetting it would break the promise behind the lease (etcd).
        if (core.role === 'follower' && core.config.leaseMs === 0) core.leaderId = undefined
        break
      case 'compact':
        invariant(
          input.index <= Math.min(core.applied, core.writes.durableIndex),
          'Entries were compacted that are not applied and durable',
          { index: input.index, applied: core.applied },
        )
        core.log.compact(input.index)
        core.reconfiguration.compacted(input.index)
        break
      case 'snapshotAvailable':
        this.#snapshotAvailable(input.meta)
        break
      case 'snapshotStatus':
        core.replication.peers.get(input.peer)?.snapshotFinished(input.ok)
        break
    }
    return this.#finishStep()
  }

  #setClock(clockMs: number): void {
    if (!Number.isSafeInteger(clockMs) || clockMs < 0) {
      throw new RangeError('clockMs must be a whole number of milliseconds since 1970')
    }
    this.#core.clockMs = clockMs
  }

  #setMonotonic(monotonicMs: number): void {
    const before = this.#core.monotonicMs ?? 0
    if (!Number.isFinite(monotonicMs) || monotonicMs < before) {
      throw new RangeError('monotonicMs must be a number of milliseconds that never goes back')
    }
    this.#core.monotonicMs = monotonicMs
  }

  #tick(): void {
    const core = this.#core
    core.ticks++
    if (core.quiescence.tick()) return
    if (core.role === 'leader') core.replication.tick()
    else core.election.tick()
  }

  #receive(message: Message): void {
    const { election, following, replication, reads, proposals, term, role } = this.#core
    // These two are clients' words that somebody passes on: the sender's term says nothing about ours.
    if (message.type === 'propose') return proposals.receive(message)
    if (message.type === 'readIndex') return reads.handleRequest(message)
    if (message.term > term) {
      const isRequest = message.type === 'vote' || message.type === 'preVote'
      const wanted = message.type === 'vote' && message.transfer === true
      if (isRequest && !wanted && election.hearsLeader) return
      // A pre-vote changes nobody's term; its candidate raises it when it has won.
      const keepsTerm = message.type === 'preVote' || (message.type === 'preVoteResp' && message.granted)
      if (!keepsTerm) election.becomeFollower(message.term, isFromLeader(message) ? message.from : undefined)
    } else if (message.term < term) {
      return this.#refuseStale(message)
    }
    switch (message.type) {
      case 'preVote':
      case 'vote':
        return election.handleRequest(message)
      case 'preVoteResp':
      case 'voteResp':
        return election.handleResponse(message)
      case 'append':
        return following.handleAppend(message)
      case 'snapshot':
        return following.handleSnapshot(message)
      case 'heartbeat':
        return following.handleHeartbeat(message)
      case 'appendResp':
        return replication.handleAppendResponse(message)
      case 'heartbeatResp':
        return replication.handleHeartbeatResponse(message)
      case 'timeoutNow':
        if (role === 'follower') election.campaign('transfer')
        return
      case 'readIndexResp':
        return reads.handleResponse(message)
      case 'quiesce':
        return this.#core.quiescence.handle(message)
    }
  }

  /** Tells a sender that its term is over (Raft §3.3); late answers need no answer. */
  #refuseStale(message: Message): void {
    if (message.type === 'append' || message.type === 'heartbeat') {
      this.#core.following.refuse(message.from, 0, 0, 0)
    } else if (message.type === 'vote' || message.type === 'preVote') {
      this.#core.election.answer(message, false)
    }
  }

  #appended(ioId: number): void {
    const core = this.#core
    const { released, snapshot } = core.writes.complete(ioId)
    if (snapshot !== undefined) this.#installed(snapshot)
    for (const message of released) {
      // A promise of an earlier term is void, and what it spoke of may have been overwritten.
      if (message.term !== core.term) continue
      if (message.type === 'appendResp') {
        invariant(message.index <= core.writes.durableIndex, 'An acknowledgement ran ahead of the disk')
      }
      if (message.to === core.id) this.#receive(message)
      else core.out.send(message)
    }
    if (core.role === 'leader' && core.replication.advanceCommit()) core.replication.broadcastAppend()
  }

  /** The machine holds what the snapshot holds, and this replica can give it to others. */
  #installed(meta: SnapshotMeta): void {
    const core = this.#core
    this.#announcedCommit = Math.max(this.#announcedCommit, meta.index)
    core.applied = Math.max(core.applied, meta.index)
    if (core.snapshot === undefined || core.snapshot.index < meta.index) core.snapshot = meta
    core.out.effects.push({ type: 'confChanged', index: meta.index, confState: meta.confState })
  }

  #applied(index: number): void {
    const core = this.#core
    invariant(index <= this.#announcedCommit, 'An entry was applied before it was committed', { index })
    core.applied = Math.max(core.applied, index)
    if (core.config.confChangeOnApply) core.reconfiguration.autoLeave()
  }

  #snapshotAvailable(meta: SnapshotMeta): void {
    const core = this.#core
    if (!isSnapshotMeta(meta)) throw new RangeError('A snapshot needs index, term, time, configuration and digest')
    invariant(
      meta.index <= this.#announcedCommit && (core.log.term(meta.index) ?? meta.term) === meta.term,
      'A snapshot holds what was not committed here',
      { index: meta.index, term: meta.term },
    )
    if (core.snapshot === undefined || core.snapshot.index < meta.index) core.snapshot = meta
  }

  // The end of a step

  #finishStep(): Effect[] {
    const core = this.#core
    const { out } = core
    this.#changeMembership()
    const changes = this.#announceChanges()
    const append = this.#takeAppend()
    for (const message of out.held) if (!core.writes.hold(message)) out.send(message)
    out.held = []
    const effects = append === undefined ? [...changes, ...out.effects] : [...changes, append, ...out.effects]
    out.effects = []
    const committed = core.committedHere
    if (committed > this.#announcedCommit) {
      this.#announcedCommit = committed
      effects.push({ type: 'committed', index: committed })
    }
    this.#assertInvariants()
    return effects
  }

  /** What takes effect may commit more, and what is committed may take effect. */
  #changeMembership(): void {
    const { reconfiguration, config, log, term } = this.#core
    if (config.confChangeOnApply) return
    for (let before = -1; before < this.#core.committedHere;) {
      before = this.#core.committedHere
      reconfiguration.advance(before)
    }
    // Not before the leader has committed in its term, as if it waited for the machine.
    if (log.term(this.#core.commit) === term) reconfiguration.autoLeave()
  }

  #announceChanges(): Effect[] {
    const { role, leaderId: leads, term: current, transfer } = this.#core
    const changes: Effect[] = []
    if (role !== this.#announcedRole) {
      this.#announcedRole = role
      changes.push({ type: 'roleChanged', role, term: current })
    }
    const { leaderId, term } = this.#announcedLeader
    if (leads !== leaderId || (leads !== undefined && current !== term)) {
      this.#announcedLeader = { leaderId: leads, term: current }
      changes.push({ type: 'leaderChanged', leaderId: leads, term: current })
      if (leads !== undefined) transfer.leaderKnown(leads)
    }
    return changes
  }

  #takeAppend(): Effect | undefined {
    const core = this.#core
    const { out, writes, log, term, votedFor } = core
    const promiseChanged = term !== this.#written.term || votedFor !== this.#written.votedFor
    if (!promiseChanged && out.entries.length === 0 && out.truncateFrom === undefined && out.snapshot === undefined) {
      return undefined
    }
    // The commit index goes along for free. Only what is on disk already: a torn write must not leave it pointing past
    // the log.
    const hardState = { term, votedFor, commit: core.committedHere }
    invariant(
      term > this.#written.term || (this.#written.votedFor ?? votedFor) === votedFor,
      'A vote changed within its term',
      { term },
    )
    const effect: Effect = {
      type: 'append',
      ioId: writes.issue(log.lastIndex, core.ticks, out.snapshot),
      ...(out.snapshot === undefined ? {} : { snapshot: out.snapshot }),
      ...(promiseChanged || hardState.commit !== this.#written.commit ? { hardState } : {}),
      ...(out.truncateFrom === undefined ? {} : { truncateFrom: out.truncateFrom }),
      entries: out.entries,
    }
    this.#written = hardState
    out.entries = []
    out.truncateFrom = undefined
    out.snapshot = undefined
    return effect
  }

  #assertInvariants(): void {
    const { log, commit, writes, applied, replication } = this.#core
    const { lastIndex } = log
    const { durableIndex } = writes
    const announced = this.#announcedCommit
    invariant(durableIndex <= lastIndex && commit <= lastIndex, 'An index is beyond the log', {
      durableIndex,
      commit,
      lastIndex,
    })
    invariant(applied <= announced && announced <= this.#core.committedHere, 'What was committed is so no longer', {
      applied,
      announced,
      commit,
      durableIndex,
    })
    invariant(log.base.index <= applied || writes.installing, 'The log begins after what is applied', {
      base: log.base.index,
      applied,
    })
    replication.assertInvariant()
  }
}

function isFromLeader({ type }: Message): boolean {
  return type === 'append' || type === 'heartbeat' || type === 'snapshot'
}

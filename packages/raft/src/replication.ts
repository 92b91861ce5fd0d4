/**
 * What a leader does for its peers: appends, snapshots, heartbeats, and what their answers allow it to commit
 * (Raft §3.5, §3.6.2, §5, §6.2).
 *
 * Invariants: an entry commits when a quorum of the configuration, the leader counted only if it votes and only as
 * far as its own disk is, holds it durably, and it is of the leader's term; a heartbeat never tells a peer to commit
 * what it did not acknowledge; messages of replicas that are no members change no progress.
 */
import { invariant } from '@cipherlog/core'
import { type Core } from './core.ts'
import { type PeerId } from './membership.ts'
import { type AppendRespMessage, type HeartbeatRespMessage } from './messages.ts'
import { Progress, type ProgressDump } from './progress.ts'
import { isJointQuorum, jointCommittedIndex } from './quorum.ts'
import { type EntryRef, type PeerStatus } from './types.ts'

/** What a ref costs on the wire beside its payload, about: keeps messages of many small entries bounded too. */
const refBytes = 64

export interface ReplicationDump {
  readonly peers: readonly (readonly [PeerId, ProgressDump])[]
  readonly heartbeatElapsed: number
}

export class Replication {
  readonly #core: Core
  /** The other members while leading, in the order of their ids, so that every replay sends in the same order. */
  #peers = new Map<PeerId, Progress>()
  #heartbeatElapsed = 0
  /** Made once: they run for every acknowledgement. */
  readonly #matchOf = (id: PeerId): number =>
    id === this.#core.id ? this.#core.writes.durableIndex : (this.#peers.get(id)?.match ?? 0)
  readonly #isActive = (id: PeerId): boolean => id === this.#core.id || this.#peers.get(id)?.recentActive === true

  constructor(core: Core) {
    this.#core = core
  }

  get peers(): ReadonlyMap<PeerId, Progress> {
    return this.#peers
  }

  /** Leadership begins: nothing is known about anyone. */
  begin(): void {
    const { log, config, reconfiguration, id } = this.#core
    this.#heartbeatElapsed = 0
    for (const member of reconfiguration.members) {
      if (member === id) continue
      const isLearner = reconfiguration.confState.learners.includes(member)
      this.#peers.set(member, new Progress(log.lastIndex + 1, config, isLearner))
    }
  }

  end(): void {
    this.#peers.clear()
  }

  /** Follows a change of the configuration: forgets who left, begins with who came. */
  syncPeers(): void {
    const { log, config, reconfiguration, id } = this.#core
    const { members, confState } = reconfiguration
    const before = this.#peers
    this.#peers = new Map()
    for (const member of members) {
      if (member === id) continue
      const isLearner = confState.learners.includes(member)
      let progress = before.get(member)
      if (progress === undefined) {
        progress = new Progress(Math.max(log.lastIndex, 1), config, isLearner)
        // Until it had time to answer it counts as active, or the next check of the quorum would depose us.
        progress.recentActive = true
      }
      progress.isLearner = isLearner
      this.#peers.set(member, progress)
    }
  }

  tick(): void {
    const { config, election, reconfiguration, transfer, term } = this.#core
    // A leader whose disk hangs would keep its followers quiet with heartbeats and commit nothing new.
    if (election.diskStalled) return election.becomeFollower(term, undefined)
    this.#heartbeatElapsed++
    if (++election.elapsed >= config.electionTicks) {
      election.elapsed = 0
      if (config.checkQuorum) {
        if (!isJointQuorum(reconfiguration.confState, this.#isActive)) return election.becomeFollower(term, undefined)
        for (const progress of this.#peers.values()) progress.recentActive = false
      }
      transfer.timeout()
    }
    if (config.snapshotRetryTicks > 0) this.#retrySnapshots()
    if (this.#heartbeatElapsed >= config.heartbeatTicks) this.broadcastHeartbeat()
  }

  handleAppendResponse(message: AppendRespMessage): void {
    const core = this.#core
    const { from, index } = message
    const progress = this.#peers.get(from)
    if (progress === undefined) return
    progress.heard(core.ticks)
    if (!message.accepted) {
      // Without a term the hint itself is all we have.
      const { hintIndex, hintTerm } = message
      const hint = hintTerm > 0 ? core.log.findConflictByTerm(hintIndex, hintTerm) : hintIndex
      if (progress.refused(index, hint)) this.#sendAppend(from, progress, true)
      return
    }
    invariant(index <= core.log.lastIndex, 'A peer acknowledged an entry its leader does not have', {
      peer: from,
      index,
    })
    if (!progress.acknowledged(index, core.log.firstIndex)) return
    if (this.advanceCommit()) this.broadcastAppend()
    else if (progress.canBumpCommit(core.commit)) this.#sendAppend(from, progress, true)
    while (this.#sendAppend(from, progress, false));
    core.transfer.caughtUp(from, progress.match)
  }

  handleHeartbeatResponse(message: HeartbeatRespMessage): void {
    const core = this.#core
    const progress = this.#peers.get(message.from)
    if (progress === undefined) return
    progress.heard(core.ticks)
    progress.resume()
    core.clocks.record(message.from, message.clockMs, core.ticks)
    core.leases.acknowledged(message.from, message.readContext)
    // An append or its answer may be lost: an empty one finds out.
    if (progress.match < core.log.lastIndex || progress.state === 'probe') {
      this.#sendAppend(message.from, progress, true)
    }
    core.reads.confirm(message.from, message.readContext)
  }

  unreachable(peer: PeerId): void {
    const progress = this.#peers.get(peer)
    if (progress?.state === 'replicate') progress.becomeProbe()
  }

  /** Commits what a quorum holds durably, if it is of this term (Raft §3.6.2, fig. 3.7). */
  advanceCommit(): boolean {
    const core = this.#core
    const index = jointCommittedIndex(core.reconfiguration.confState, this.#matchOf)
    if (index <= core.commit || core.log.term(index) !== core.term) return false
    core.commitTo(index)
    core.reads.beginRound()
    return true
  }

  broadcastAppend(): void {
    for (const [id, progress] of this.#peers) this.#sendAppend(id, progress, true)
  }

  /** After a change of the configuration: who is new need not wait for a heartbeat. */
  sendNews(): void {
    for (const [id, progress] of this.#peers) this.#sendAppend(id, progress, false)
  }

  sendAppendTo(id: PeerId): void {
    this.#sendAppend(id, this.#peers.get(id)!, true)
  }

  broadcastHeartbeat(): void {
    const core = this.#core
    this.#heartbeatElapsed = 0
    const readContext = core.reads.heartbeatContext()
    for (const [to, progress] of this.#peers) {
      // Not above what the peer acknowledged: beyond that its log may still differ from ours.
      const leaderCommit = Math.min(core.commit, progress.match)
      core.out.send({ type: 'heartbeat', from: core.id, to, term: core.term, leaderCommit, readContext })
      progress.toldCommit(leaderCommit)
    }
  }

  /** For the quiet before sleep: everybody holds and was told everything. */
  get allCaughtUp(): boolean {
    const { log, commit, writes } = this.#core
    if (commit !== log.lastIndex || writes.durableIndex !== log.lastIndex) return false
    for (const { match, state } of this.#peers.values()) {
      if (match !== log.lastIndex || state !== 'replicate') return false
    }
    return true
  }

  /** After sleep: silence was agreed on, so it says nothing against anyone. */
  forgiveSilence(): void {
    for (const progress of this.#peers.values()) progress.heard(this.#core.ticks)
  }

  status(): Record<PeerId, PeerStatus> {
    const peers: Record<PeerId, PeerStatus> = {}
    for (const [id, progress] of this.#peers) peers[id] = progress.status()
    return peers
  }

  assertInvariant(): void {
    for (const progress of this.#peers.values()) progress.assertInvariant(this.#core.log.lastIndex)
  }

  dump(): ReplicationDump {
    const peers = [...this.#peers].map(([id, progress]) => [id, progress.dump()] as const)
    return { peers, heartbeatElapsed: this.#heartbeatElapsed }
  }

  load({ peers, heartbeatElapsed }: ReplicationDump): void {
    for (const [id, progress] of peers) this.#peers.set(id, Progress.fromDump(progress, this.#core.config))
    this.#heartbeatElapsed = heartbeatElapsed
  }

  /** Sends one append, or a snapshot, if the peer may get one. */
  #sendAppend(to: PeerId, progress: Progress, evenIfEmpty: boolean): boolean {
    if (progress.paused) return false
    const { log, config, id, term, commit, out } = this.#core
    const prevLogIndex = progress.next - 1
    const prevLogTerm = log.term(prevLogIndex)
    if (prevLogTerm === undefined) return this.#sendSnapshot(to, progress)
    const entries: EntryRef[] = []
    let bytes = 0
    if (progress.windowOpen) {
      for (let index = progress.next; index <= log.lastIndex; index++) {
        const more = log.payloadBytes(index) + refBytes
        if (entries.length > 0 && bytes + more > config.maxAppendBytes) break
        entries.push(log.ref(index))
        bytes += more
      }
    }
    if (entries.length === 0 && !evenIfEmpty) return false
    out.send({ type: 'append', from: id, to, term, prevLogIndex, prevLogTerm, entries, leaderCommit: commit })
    progress.sent(entries.length, bytes, commit)
    return true
  }

  /** Only one from which our log goes on: any other would be asked for again and again. */
  #sendSnapshot(to: PeerId, progress: Progress): boolean {
    const { snapshot, log, id, term, out, ticks } = this.#core
    if (!progress.recentActive || snapshot === undefined || snapshot.index < log.base.index) return false
    progress.becomeSnapshot(snapshot.index, ticks)
    out.send({ type: 'snapshot', from: id, to, term, meta: snapshot })
    return true
  }

  /** The offer, or the acknowledgement, may be lost: a probe behind the snapshot finds out. */
  #retrySnapshots(): void {
    const { config, ticks } = this.#core
    for (const [id, progress] of this.#peers) {
      if (progress.state !== 'snapshot' || ticks - progress.offeredAt < config.snapshotRetryTicks) continue
      progress.becomeProbe()
      this.#sendAppend(id, progress, true)
    }
  }
}

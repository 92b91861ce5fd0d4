/**
 * What a follower does with what its leader sends: appends, snapshots, heartbeats (Raft §3.5, §5).
 *
 * Invariants: nothing at or below the commit index is truncated or replaced; what is acknowledged equals the leader's
 * log and is durable when the acknowledgement leaves; a snapshot brings the configuration of its own index, and
 * whatever configuration stood in the log it replaces is gone with that log (openraft#1808).
 */
import { invariant } from '@cipherlog/core'
import { type Core } from './core.ts'
import { type PeerId } from './membership.ts'
import { type AppendMessage, type HeartbeatMessage, type SnapshotMessage } from './messages.ts'

export class Following {
  readonly #core: Core

  constructor(core: Core) {
    this.#core = core
  }

  handleAppend(message: AppendMessage): void {
    const { log, commit } = this.#core
    this.followLeader(message.from)
    const { prevLogIndex, prevLogTerm, entries } = message
    if (prevLogIndex < commit) {
      // Late: what it carries may lie below the commit index, where logs agree anyway.
      return this.#accept(message.from, commit)
    }
    if (log.term(prevLogIndex) !== prevLogTerm) {
      const hintIndex = log.findConflictByTerm(prevLogIndex, prevLogTerm)
      return this.refuse(message.from, prevLogIndex, hintIndex, log.term(hintIndex) ?? 0)
    }
    // Only a conflicting entry truncates: a delayed message with fewer entries must not undo a newer one (Raft fig. 3.1).
    const conflict = log.findConflict(entries)
    if (conflict >= 0) {
      const from = entries[conflict]!.index
      if (from <= log.lastIndex) this.#truncate(from)
      for (let at = conflict; at < entries.length; at++) {
        log.append(entries[at]!)
        this.#core.out.append(entries[at]!)
      }
    }
    const lastNew = prevLogIndex + entries.length
    this.#core.commitTo(Math.min(message.leaderCommit, lastNew))
    this.#accept(message.from, lastNew)
  }

  handleSnapshot({ from, meta }: SnapshotMessage): void {
    const core = this.#core
    this.followLeader(from)
    if (meta.index > core.commit) {
      if (core.log.term(meta.index) !== meta.term) {
        this.#install(meta)
        return this.#accept(from, core.log.lastIndex)
      }
      // The log has it all, and it is committed: no need to replace anything.
      core.commitTo(meta.index)
    }
    this.#accept(from, core.commit)
  }

  handleHeartbeat({ from, leaderCommit, readContext }: HeartbeatMessage): void {
    this.followLeader(from)
    this.#core.commitTo(leaderCommit)
    this.answerHeartbeat(from, readContext)
  }

  answerHeartbeat(to: PeerId, readContext: number): void {
    const { id, term, clockMs, out } = this.#core
    out.send({ type: 'heartbeatResp', from: id, to, term, readContext, clockMs })
  }

  /** The sender leads our term. */
  followLeader(leaderId: PeerId): void {
    const core = this.#core
    invariant(core.role !== 'leader' && (core.leaderId ?? leaderId) === leaderId, 'Two leaders in one term', {
      term: core.term,
      leaders: [core.leaderId, leaderId],
    })
    if (core.role !== 'follower') core.election.becomeFollower(core.term, leaderId)
    core.leaderId = leaderId
    core.election.elapsed = 0
  }

  refuse(to: PeerId, index: number, hintIndex: number, hintTerm: number): void {
    const { id, term, out } = this.#core
    out.send({ type: 'appendResp', from: id, to, term, accepted: false, index, hintIndex, hintTerm })
  }

  #accept(to: PeerId, index: number): void {
    const { id, term, out } = this.#core
    out.hold({ type: 'appendResp', from: id, to, term, accepted: true, index, hintIndex: 0, hintTerm: 0 })
  }

  #truncate(from: number): void {
    const { log, writes, out, proposals, commit } = this.#core
    invariant(from > commit, 'A committed entry would be truncated', { from, commit })
    proposals.overwritten(from)
    log.truncateFrom(from)
    writes.truncateFrom(from)
    out.truncate(from)
  }

  #install(meta: SnapshotMessage['meta']): void {
    const core = this.#core
    invariant(core.role === 'follower', 'Only a follower installs a snapshot')
    core.proposals.overwritten(core.log.firstIndex)
    // On disk, and in writes under way, only what was committed before is part of the new log too.
    core.writes.truncateFrom(core.commit + 1)
    core.log.restore(meta)
    core.commit = meta.index
    core.reconfiguration.restore(meta.confState, meta.index)
    core.out.install(meta)
  }
}

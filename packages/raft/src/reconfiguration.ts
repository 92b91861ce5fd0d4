/**
 * Changes of membership (Raft §4; joint configurations as in etcd, §4.3).
 *
 * A change takes effect when its entry is committed *and* on this disk, in log order (or, as in etcd, when the host
 * applies it). Invariants: one change is under way at a time, that is, a leader appends one only when every change
 * before it in its log has taken effect here; so configurations in use anywhere are neighbours, whose quorums overlap.
 * Old and new leader agree on this after a crash too: whoever holds two changes knows that the first is committed.
 */
import { fromHex, invariant } from '@cipherlog/core'
import { changeConf, isJoint, isVoter, leavesJoint, membersOf } from './confchange.ts'
import { type Core } from './core.ts'
import { type ConfChange, type ConfState, emptyConfState, leaveJoint, type PeerId } from './membership.ts'
import { isJointQuorum } from './quorum.ts'
import { type DropReason, emptyDigestHex, membershipKind } from './types.ts'

interface Era {
  readonly from: number
  readonly confState: ConfState
}

export interface ReconfigurationDump {
  readonly history: readonly Era[]
  readonly confState: ConfState
  readonly confIndex: number
  readonly pendingIndex: number
}

export class Reconfiguration {
  readonly #core: Core
  #confState: ConfState = emptyConfState
  #members: readonly PeerId[] = []
  /** The configuration holds up to here; changes after it wait. */
  #confIndex = 0
  /** Configurations and the index from which each holds; the first since before the log's base. */
  #history: readonly Era[] = []
  /** While leading: entries after this one change no membership; conservative at the start. */
  #pendingIndex = 0

  constructor(core: Core) {
    this.#core = core
  }

  get confState(): ConfState {
    return this.#confState
  }

  /** Everybody who is sent the log, sorted. */
  get members(): readonly PeerId[] {
    return this.#members
  }

  get isLearner(): boolean {
    return this.#confState.learners.includes(this.#core.id)
  }

  /** A committed change has not taken effect here. */
  get hasUnapplied(): boolean {
    const next = this.#core.log.nextChange(this.#appliedIndex)
    return next !== undefined && next.index <= this.#core.commit
  }

  /** The configuration read from disk, which holds up to `confIndex`. */
  start(confState: ConfState, confIndex: number): void {
    this.#set(confState)
    this.#confIndex = confIndex
    this.#history = [{ from: confIndex, confState }]
  }

  /** The configuration as of `index`, undefined if that is before what is known, or after what has taken effect. */
  at(index: number): ConfState | undefined {
    return index > this.#confIndex ? undefined : this.#history.findLast(({ from }) => from <= index)?.confState
  }

  /** The log begins after `index`. */
  compacted(index: number): void {
    const kept = this.#history.findLastIndex(({ from }) => from <= index)
    if (kept > 0) this.#history = this.#history.slice(kept)
  }

  /** The configuration of a snapshot, which replaces every other. */
  restore(confState: ConfState, index: number): void {
    this.start(confState, index)
  }

  /** What stands in the log may be a change: wait until all of it has taken effect. */
  beginLeading(): void {
    this.#pendingIndex = this.#core.log.lastIndex
  }

  /** Why a leader must not append `change` now, undefined if it may. */
  refusal(change: ConfChange): DropReason | undefined {
    const core = this.#core
    if (!core.config.confChangeValidation) return undefined
    if (this.#pendingIndex > this.#appliedIndex) return 'conf-pending'
    if (isJoint(this.#confState) && !leavesJoint(change)) return 'conf-pending'
    const result = changeConf(this.#confState, change)
    if ('invalid' in result) return 'conf-invalid'
    if (!core.config.confChangeGuard) return undefined
    const lags = (id: PeerId): boolean =>
      id !== core.id && (core.replication.peers.get(id)?.match ?? 0) < core.commit - core.config.caughtUpEntries
    const promoted = result.confState.voters.filter((id) => !isVoter(this.#confState, id))
    if (promoted.some(lags)) return 'learner-behind'
    const since = Math.max(0, core.ticks - core.config.electionTicks)
    const answers = (id: PeerId): boolean => id === core.id || (core.replication.peers.get(id)?.heardAt ?? -1) >= since
    return isJointQuorum(result.confState, answers) ? undefined : 'would-lose-quorum'
  }

  /** A leader appended a change at `index`. */
  appended(index: number): void {
    this.#pendingIndex = index
  }

  /** Lets the changes up to `index`, committed and durable, take effect; not where the host does that. */
  advance(index: number): void {
    const { log, config } = this.#core
    if (config.confChangeOnApply || index <= this.#confIndex) return
    for (let next = log.nextChange(this.#confIndex); next !== undefined; next = log.nextChange(next.index)) {
      if (next.index > index) break
      this.#confIndex = next.index
      this.apply(next.change)
      this.#history = [...this.#history, { from: next.index, confState: this.#confState }]
      this.#core.out.effects.push({ type: 'confChanged', index: next.index, confState: this.#confState })
    }
    this.#confIndex = index
  }

  /** Puts `change` into effect. */
  apply(change: ConfChange): void {
    const core = this.#core
    const result = changeConf(this.#confState, change)
    invariant('confState' in result, 'A committed change of membership cannot be applied', {
      change,
      confState: this.#confState,
      reason: 'invalid' in result ? result.invalid : undefined,
    })
    this.#set(result.confState)
    if (core.role !== 'leader') return
    core.replication.syncPeers()
    if (!this.#members.includes(core.id) || this.isLearner) {
      // It counted itself in no quorum any more (Raft §4.2.2).
      if (core.config.stepDownOnRemoval) core.election.becomeFollower(core.term, undefined)
      return
    }
    // Fewer acknowledgements may be enough now.
    if (core.replication.advanceCommit()) core.replication.broadcastAppend()
    else core.replication.sendNews()
    core.transfer.checkTarget()
  }

  /**
   * Leaves a joint configuration that asks for it, once it has taken effect here. Its entry has no payload, so no
   * limit refuses it; a transfer under way does, and then the next leader, or the next call, leaves.
   */
  autoLeave(): void {
    const core = this.#core
    if (core.role !== 'leader' || !this.#confState.autoLeave || this.#pendingIndex > this.#appliedIndex) return
    if (core.transfer.target !== undefined) return
    core.proposals.append({
      kind: membershipKind,
      bytes: 0,
      digest: fromHex(emptyDigestHex),
      change: leaveJoint,
    })
    core.replication.broadcastAppend()
  }

  dump(): ReconfigurationDump {
    return {
      history: this.#history,
      confState: this.#confState,
      confIndex: this.#confIndex,
      pendingIndex: this.#pendingIndex,
    }
  }

  load({ confState, confIndex, pendingIndex, history }: ReconfigurationDump): void {
    this.start(confState, confIndex)
    this.#history = history
    this.#pendingIndex = pendingIndex
  }

  get #appliedIndex(): number {
    return this.#core.config.confChangeOnApply ? this.#core.applied : this.#confIndex
  }

  #set(confState: ConfState): void {
    this.#confState = confState
    this.#members = membersOf(confState)
  }
}

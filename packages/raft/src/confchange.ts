/**
 * What a change does to a configuration: etcd's `confchange`, as pure functions of configuration and change, so that
 * every replica comes to the same result at the same index (Raft §4.1, §4.3).
 *
 * Invariants of every result are those of {@link isConfState}; besides, a simple change moves at most one voter, so
 * that old and new majorities overlap, and a joint configuration is entered only from one that is not joint.
 */
import { invariant } from '@cipherlog/core'
import { type ConfChange, type ConfChangeSingle, type ConfState, isConfState, type PeerId } from './membership.ts'

/** The next configuration, or why there is none. */
export type ConfChangeResult = { readonly confState: ConfState } | { readonly invalid: string }

/** True while decisions need two majorities. */
export function isJoint(conf: ConfState): boolean {
  return conf.votersOutgoing.length > 0
}

/** True if the change is the empty one, which leaves a joint configuration. */
export function leavesJoint({ transition, changes }: ConfChange): boolean {
  return transition === 'auto' && changes.length === 0
}

export function isVoter(conf: ConfState, id: PeerId): boolean {
  return conf.voters.includes(id) || conf.votersOutgoing.includes(id)
}

/** Everybody who is sent the log, sorted. */
export function membersOf(conf: ConfState): PeerId[] {
  return [...new Set([...conf.voters, ...conf.votersOutgoing, ...conf.learners])].sort()
}

/** Applies a change as its transition says: simple, entering, or leaving a joint configuration. */
export function changeConf(conf: ConfState, change: ConfChange): ConfChangeResult {
  if (leavesJoint(change)) return leaveJointConf(conf)
  if (change.transition === 'auto' && change.changes.length === 1) return simpleChange(conf, change.changes)
  return enterJointConf(conf, change.transition !== 'jointExplicit', change.changes)
}

/** At most one voter is added, removed or made a learner. */
export function simpleChange(conf: ConfState, changes: readonly ConfChangeSingle[]): ConfChangeResult {
  if (isJoint(conf)) return { invalid: 'a joint configuration has to be left first' }
  const draft = new Draft(conf)
  for (const single of changes) draft.apply(single)
  const moved =
    conf.voters.filter((id) => !draft.voters.has(id)).length +
    [...draft.voters].filter((id) => !conf.voters.includes(id)).length
  if (moved > 1) return { invalid: 'more than one voter changes; that needs a joint configuration' }
  return draft.finish()
}

/** Old and new voters decide together from now on. */
export function enterJointConf(
  conf: ConfState,
  autoLeave: boolean,
  changes: readonly ConfChangeSingle[],
): ConfChangeResult {
  if (isJoint(conf)) return { invalid: 'the configuration is joint already' }
  if (conf.voters.length === 0) return { invalid: 'a configuration without voters cannot become joint' }
  const draft = new Draft(conf)
  draft.autoLeave = autoLeave
  for (const id of conf.voters) draft.votersOutgoing.add(id)
  for (const single of changes) draft.apply(single)
  return draft.finish()
}

/** The old voters are dismissed; those who stay as learners become learners now. */
export function leaveJointConf(conf: ConfState): ConfChangeResult {
  if (!isJoint(conf)) return { invalid: 'the configuration is not joint' }
  const draft = new Draft(conf)
  for (const id of draft.learnersNext) draft.learners.add(id)
  draft.learnersNext.clear()
  draft.votersOutgoing.clear()
  draft.autoLeave = false
  return draft.finish()
}

class Draft {
  readonly voters: Set<PeerId>
  readonly learners: Set<PeerId>
  readonly votersOutgoing: Set<PeerId>
  readonly learnersNext: Set<PeerId>
  autoLeave: boolean

  constructor(conf: ConfState) {
    this.voters = new Set(conf.voters)
    this.learners = new Set(conf.learners)
    this.votersOutgoing = new Set(conf.votersOutgoing)
    this.learnersNext = new Set(conf.learnersNext)
    this.autoLeave = conf.autoLeave
  }

  apply({ type, peer }: ConfChangeSingle): void {
    switch (type) {
      case 'addVoter':
        this.learners.delete(peer)
        this.learnersNext.delete(peer)
        this.voters.add(peer)
        return
      case 'addLearner':
        if (this.learners.has(peer)) return
        this.voters.delete(peer)
        // An outgoing voter cannot be a learner at once: it becomes one when the joint configuration is left.
        if (this.votersOutgoing.has(peer)) this.learnersNext.add(peer)
        else this.learners.add(peer)
        return
      case 'remove':
        this.voters.delete(peer)
        this.learners.delete(peer)
        this.learnersNext.delete(peer)
        return
    }
  }

  finish(): ConfChangeResult {
    if (this.voters.size === 0) return { invalid: 'no voter would be left' }
    const confState: ConfState = {
      voters: [...this.voters].sort(),
      learners: [...this.learners].sort(),
      votersOutgoing: [...this.votersOutgoing].sort(),
      learnersNext: [...this.learnersNext].sort(),
      autoLeave: this.autoLeave,
    }
    invariant(isConfState(confState), 'A change of membership broke the configuration', { confState })
    return { confState }
  }
}

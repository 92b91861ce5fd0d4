/**
 * Majorities as pure functions (Raft §3.3, §3.6.2), and their joint form (Raft §4.3): while a configuration is joint,
 * whatever needs a majority needs one of the voters that come *and* one of those that go. Naive twins check them in
 * quorum.test.ts.
 */
import { type ConfState, type PeerId } from './membership.ts'

export type VoteResult = 'won' | 'lost' | 'pending'

/** The smallest number of `count` members that any two majorities share at least one of. */
export function majority(count: number): number {
  return Math.floor(count / 2) + 1
}

/** True if `holds` for a majority of `voters`. */
export function isQuorum<T>(voters: readonly T[], holds: (voter: T) => boolean): boolean {
  let count = 0
  for (const voter of voters) if (holds(voter)) count++
  return count >= majority(voters.length)
}

/** The highest index that a majority of `voters`, who are not none, has reached. */
export function committedIndex<T>(voters: readonly T[], matchOf: (voter: T) => number): number {
  const matches = new Float64Array(voters.length)
  for (let at = 0; at < matches.length; at++) matches[at] = matchOf(voters[at]!)
  matches.sort()
  return matches[voters.length - majority(voters.length)]!
}

/** Won or lost once the missing votes cannot change it. */
export function voteResult<T>(voters: readonly T[], votes: ReadonlyMap<T, boolean>): VoteResult {
  if (isQuorum(voters, (voter) => votes.get(voter) === true)) return 'won'
  if (!isQuorum(voters, (voter) => votes.get(voter) !== false)) return 'lost'
  return 'pending'
}

/** Those who decide in a configuration. */
type Voters = Pick<ConfState, 'voters' | 'votersOutgoing'>

/** True if `holds` for a quorum of the configuration; false while nobody votes. */
export function isJointQuorum({ voters, votersOutgoing }: Voters, holds: (voter: PeerId) => boolean): boolean {
  return isQuorum(voters, holds) && (votersOutgoing.length === 0 || isQuorum(votersOutgoing, holds))
}

/** The highest index that a quorum of the configuration has reached; 0 while nobody votes. */
export function jointCommittedIndex({ voters, votersOutgoing }: Voters, matchOf: (voter: PeerId) => number): number {
  if (voters.length === 0) return 0
  const incoming = committedIndex(voters, matchOf)
  return votersOutgoing.length === 0 ? incoming : Math.min(incoming, committedIndex(votersOutgoing, matchOf))
}

/** Won if both majorities say so, lost as soon as one does. */
export function jointVoteResult(conf: Voters, votes: ReadonlyMap<PeerId, boolean>): VoteResult {
  const incoming = voteResult(conf.voters, votes)
  if (conf.votersOutgoing.length === 0) return incoming
  const outgoing = voteResult(conf.votersOutgoing, votes)
  if (incoming === outgoing) return incoming
  return incoming === 'lost' || outgoing === 'lost' ? 'lost' : 'pending'
}

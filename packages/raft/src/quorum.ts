/**
 * Majorities as pure functions (Raft §3.3, §3.6.2). A naive twin checks them in quorum.test.ts.
 */

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

/** The highest index that a majority of `voters` has reached. */
export function committedIndex<T>(voters: readonly T[], matchOf: (voter: T) => number): number {
  const matches = voters.map(matchOf).sort((a, b) => b - a)
  return matches[majority(voters.length) - 1]!
}

/** Won or lost once the missing votes cannot change it. */
export function voteResult<T>(voters: readonly T[], votes: ReadonlyMap<T, boolean>): VoteResult {
  if (isQuorum(voters, (voter) => votes.get(voter) === true)) return 'won'
  if (!isQuorum(voters, (voter) => votes.get(voter) !== false)) return 'lost'
  return 'pending'
}

/**
 * The seam to consensus: what the pipeline needs of a replicated log, and nothing of how it is done. Position,
 * not term, crosses it. Raft stands behind it (pipeline/raft-replicator.ts), and a one-node twin in tests.
 */

/** What became of a proposal as far as the log knows; its verdict comes from applying. */
export type ProposeOutcome =
  /** At this position, for ever. */
  | { readonly outcome: 'committed'; readonly index: number }
  /** Not appended: it will have no effect. */
  | { readonly outcome: 'dropped'; readonly reason: 'not-leader' | 'busy'; readonly leaderId: string | undefined }
  /** It may or may not be on the log. */
  | { readonly outcome: 'unknown' }

export interface CommittedEntry {
  readonly index: number
  /** Log time in ms, never less than the entry's before. */
  readonly time: number
  readonly kind: number
  readonly payload: Uint8Array
}

export interface Leadership {
  readonly role: 'leader' | 'follower' | 'candidate' | 'pre-candidate' | 'learner'
  readonly term: number
  /** Lowercase hex of the peer id. */
  readonly leaderId: string | undefined
}

export interface ReplicatorStatus extends Leadership {
  readonly commitIndex: number
  readonly lastIndex: number
  /** Known to the leader only: highest index durable on each peer. */
  readonly matchIndexes: Readonly<Record<string, number>>
}

export interface Replicator {
  /**
   * Never rejects, and always settles: at the latest when the replicator stops. Whoever awaits `committed` directly
   * learns it before {@link Replicator.committed} hands out that entry.
   */
  propose(kind: number, payload: Uint8Array): Promise<ProposeOutcome>
  /**
   * Committed entries from `from` on, in order without gaps, about `bytesMax` at most; waits for the first. None: the
   * replicator has stopped. Committed means: on a quorum and durable here.
   */
  committed(from: number, bytesMax: number): Promise<readonly CommittedEntry[]>
  /** The pipeline has applied everything up to `index`. */
  appliedUpTo(index: number): void
  /**
   * Position that a linearizable read must have applied: at least everything acknowledged before the call.
   * @throws NotLeaderError; CipherlogError `ERR_UNAVAILABLE` if no quorum answers, `ERR_BUSY` if too many wait.
   */
  readBarrier(): Promise<number>
  /** First position of this leadership: once applied, the leader's state is current. Undefined: not leading. */
  leadingSince(): number | undefined
  status(): ReplicatorStatus
  /** Called after each change of role, leader or term; calls out of it are allowed. */
  onLeadershipChange(listener: (leadership: Leadership) => void): void
}

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

/** Who takes part, by peer id in lowercase hex; joint while `votersOutgoing` is not empty. */
export interface Configuration {
  readonly voters: readonly string[]
  readonly learners: readonly string[]
  readonly votersOutgoing: readonly string[]
  /** Outgoing voters that stay on as learners. */
  readonly learnersNext: readonly string[]
  /** A joint configuration ends by itself. */
  readonly autoLeave: boolean
}

/** Where a replica can be reached. */
export interface ReplicaAddress {
  readonly peerId: string
  /** `host:port` for the other replicas. */
  readonly peers: string
  /** Base URL of its API. */
  readonly api: string
}

/** At most 16 changes; none leaves a joint configuration. */
export interface MembershipChange {
  /** `auto`: at once if it is one step, else joint and left by itself. `jointExplicit`: joint until somebody leaves it. */
  readonly transition: 'auto' | 'jointImplicit' | 'jointExplicit'
  readonly changes: readonly { readonly type: 'addVoter' | 'addLearner' | 'remove'; readonly peer: string }[]
  /** Of replicas that it adds. */
  readonly addresses: readonly ReplicaAddress[]
}

/** What became of a change of membership. */
export type ChangeOutcome =
  | ProposeOutcome
  | {
      readonly outcome: 'refused'
      /**
       * `pending`: another change is under way. `invalid`: it leads to no configuration. `quorum`: too few of the
       * voters after it answer. `behind`: it would make a voter of a replica whose log lags.
       */
      readonly reason: 'pending' | 'invalid' | 'quorum' | 'behind'
    }

/** What the leader knows of another member. */
export interface MemberProgress {
  /** `probe`: one message at a time. `replicate`: pipelined. `snapshot`: it fetches a snapshot. */
  readonly state: 'probe' | 'replicate' | 'snapshot'
  /** Highest entry known to be durable there. */
  readonly matchIndex: number
  /** Next entry to send. */
  readonly nextIndex: number
  readonly paused: boolean
  /** Messages without answer. */
  readonly inflight: number
  /** Heard from lately. */
  readonly alive: boolean
  /** Position of the snapshot that it was offered; 0: none. */
  readonly pendingSnapshot: number
}

export interface ReplicatorStatus extends Leadership {
  readonly commitIndex: number
  readonly lastIndex: number
  /** Entries up to here are not in the log any more. */
  readonly compactedIndex: number
  /** Position of the newest snapshot that peers can be sent; 0: none. */
  readonly snapshotIndex: number
  readonly configuration: Configuration
  /** To whom leadership is being handed. */
  readonly transferringTo: string | undefined
  /** The other members; known to the leader only. */
  readonly members: Readonly<Record<string, MemberProgress>>
}

/** Where the log stood at one position. */
export interface Standing {
  readonly term: number
  readonly configuration: Configuration
}

/** A snapshot as peers are told of it. */
export interface SnapshotOffer {
  /** Last entry that it contains. */
  readonly index: number
  /** SHA-256 of its manifest, 32 bytes. */
  readonly digest: Uint8Array
}

/** A snapshot that a leader offers, with who takes part as of it, by the leader's word. */
export interface OfferedSnapshot extends SnapshotOffer {
  readonly configuration: Configuration
}

/** Who fetches and installs the snapshot that a leader offers. */
export interface SnapshotReceiver {
  /**
   * Fetches the snapshot, and checks it; true: the whole is here and good. Asked again for one that it is fetching,
   * or has, it gives the same answer.
   */
  fetch(offer: OfferedSnapshot, from: string): Promise<boolean>
  /**
   * Replaces the state by that snapshot, durably; nothing that was committed before is handed out any more. Whoever
   * applies begins again after `offer.index`. Rejecting stops the replicator.
   */
  install(offer: SnapshotOffer): Promise<void>
  /** The log begins after the snapshot, durably. */
  installed(offer: SnapshotOffer): void
}

export interface Replicator {
  /**
   * Never rejects, and always settles: at the latest when the replicator stops. Whoever awaits `committed` directly
   * learns it before {@link Replicator.committed} hands out that entry.
   */
  propose(kind: number, payload: Uint8Array): Promise<ProposeOutcome>
  /**
   * Committed entries from `from` on, in order without gaps, about `bytesMax` at most; waits for the first. None: the
   * replicator has stopped, or `signal` was aborted. Committed means: on a quorum and durable here. An entry whose
   * payload is damaged here is waited for.
   * @throws CipherlogError `ERR_LOG_COMPACTED` if `from` is not in the log any more.
   */
  committed(from: number, bytesMax: number, signal?: AbortSignal): Promise<readonly CommittedEntry[]>
  /** Positions from `from` on at which the committed log holds a quarantine, in order. Costs nothing if there is none. */
  quarantines(from: number): readonly number[]
  /** The pipeline has applied everything up to `index`. */
  appliedUpTo(index: number): void
  /**
   * Position that a linearizable read must have applied: at least everything acknowledged before the call, wherever.
   * A follower asks the leader.
   * @throws NotLeaderError if no leader is known; CipherlogError `ERR_UNAVAILABLE` if none answers in time, `ERR_BUSY`
   * if too many wait.
   */
  readBarrier(): Promise<number>
  /** First position of this leadership: once applied, the leader's state is current. Undefined: not leading. */
  leadingSince(): number | undefined
  status(): ReplicatorStatus
  /** Called after each change of role, leader or term; calls out of it are allowed. */
  onLeadershipChange(listener: (leadership: Leadership) => void): void

  /** Proposes a change of membership; settles as {@link Replicator.propose}. It takes effect once committed. */
  proposeChange(change: MembershipChange): Promise<ChangeOutcome>
  /**
   * What a snapshot as of `index`, a committed position from the last compaction or snapshot on, says of the log: its
   * term there, and who took part. @throws RangeError for other positions.
   */
  standingAt(index: number): Standing
  /** Called after each change of membership that is committed and durable here, in order. */
  onConfigurationChange(
    listener: (configuration: Configuration, index: number, addresses: readonly ReplicaAddress[]) => void,
  ): void

  /** Resolves once `to` leads. @throws NotLeaderError; CipherlogError `ERR_TRANSFER_FAILED` */
  transferLeadership(to: string): Promise<void>
  /** Stops leading; does nothing if it does not lead. */
  stepDown(): void
  /** Stops refusing votes for the sake of the leader that it heard last. */
  forgetLeader(): void

  /**
   * Forgets entries up to `index`, all of them applied and persisted elsewhere.
   * @returns the last position that is gone; at most `index`.
   */
  compactTo(index: number): Promise<number>
  /** The newest snapshot that members can be sent in place of entries that are gone. */
  offerSnapshot(offer: SnapshotOffer): void
  /** Without a receiver, offers of a leader are ignored. */
  onSnapshotOffer(receiver: SnapshotReceiver): void
}

/**
 * What goes into the Raft core and what comes out: inputs, effects, configuration, status.
 *
 * The core never sees a payload, only an {@link EntryRef}: that the servers order what they cannot read is a fact of
 * these types. Words are those of the Raft dissertation (Ongaro, 2014), cited below as "Raft §".
 */
import { type Message } from './messages.ts'

/** A replica: 32 lowercase hex digits of 12 random bytes ‖ u32 incarnation. One id is one disk, for ever. */
export type PeerId = string

/** A log entry without its payload. */
export interface EntryRef {
  /** Term of the leader that appended it, from 1. */
  readonly term: number
  /** Position in the log, from 1. */
  readonly index: number
  /** Log entry kind, u16; 32 is the no-op that opens a term. */
  readonly kind: number
  /** Log time in ms since the Unix epoch, stamped by the leader, never less than the entry's before it. */
  readonly time: number
  /** Payload length in bytes, u32. */
  readonly bytes: number
  /** SHA-256 of the payload, 32 bytes. */
  readonly digest: Uint8Array
}

/** Kind of the entry without payload that a leader appends first (Raft §6.4). */
export const noOpKind = 32

/** SHA-256 of the empty string, lowercase hex: the digest of a no-op. */
export const emptyDigestHex = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'

/** What must survive a crash besides the log (Raft fig. 3.1). */
export interface HardState {
  readonly term: number
  /** Whom this replica voted for in `term`. */
  readonly votedFor: PeerId | undefined
  /** A hint: never above what was durable when it was written, usually behind. */
  readonly commit: number
}

export interface RaftConfig {
  readonly id: PeerId
  /** The voting members, the same on all of them. Order does not matter. */
  readonly voters: readonly PeerId[]
  /** A follower that heard no leader for this many ticks, up to twice as many at random, campaigns (Raft §3.4). */
  readonly electionTicks: number
  /** A leader sends heartbeats every so many ticks; less than `electionTicks`. */
  readonly heartbeatTicks: number
  /** Ask before raising the term (Raft §9.6). */
  readonly preVote: boolean
  /** A leader without contact to a quorum for `electionTicks` steps down; votes are refused while a leader is alive (Raft §6.2, §4.2.3). */
  readonly checkQuorum: boolean
  /** Append messages in flight to one peer, at most. */
  readonly maxInflightMessages: number
  /** Bytes of entries in flight to one peer before the next message waits. */
  readonly maxInflightBytes: number
  /** Bytes of entries in one append message; a single larger entry still travels alone. */
  readonly maxAppendBytes: number
  /** Payload bytes appended and not committed above which a leader drops proposals; one proposal always fits. */
  readonly maxUncommittedBytes: number
  /** How far a leader's stamp may stand from the quorum's lower median clock, in ms. */
  readonly maxClockErrorMs: number
  /** A replica whose oldest write is this many ticks old neither leads nor campaigns; 0 switches that off. */
  readonly diskStallTicks: number
  /** Log time before the first entry: `createdAt` of the genesis, in ms. */
  readonly initialTimeMs: number
  /** Uniform in [0, 1); decides election timeouts, nothing else. */
  readonly random: () => number
}

/** What the shell read back from the WAL. */
export interface PersistedState {
  readonly hardState: HardState
  /** The whole log in order, from index 1; copied. */
  readonly refs: Iterable<EntryRef>
  /** Entries up to here are already in the machine's durable state, so they are known to be committed. */
  readonly applied?: number
}

/**
 * What the shell tells the core. `clockMs` is this host's wall clock in whole ms; it is used for stamps, never for
 * timeouts. Before it steps a message the shell has authenticated `from`, decoded it within its limits, and for an
 * `append` has all payloads and has checked each against `bytes` and `digest`: the core cannot.
 */
export type Input =
  | { readonly type: 'tick'; readonly clockMs: number }
  | { readonly type: 'message'; readonly message: Message; readonly clockMs: number }
  | {
      readonly type: 'propose'
      /** Names the proposal in effects; chosen by the shell. */
      readonly proposalId: number
      readonly kind: number
      readonly bytes: number
      readonly digest: Uint8Array
      readonly clockMs: number
    }
  /** The append effect `ioId`, and all before it, are durable. Stale and repeated ones are ignored. */
  | { readonly type: 'appended'; readonly ioId: number }
  /** The machine has applied everything up to `index`. */
  | { readonly type: 'applied'; readonly index: number }
  /** `context` comes back in `readReady` or `readFailed`. The shell bounds how many it has outstanding. */
  | { readonly type: 'readIndex'; readonly context: number }
  /** Campaign now instead of waiting for the election timeout. */
  | { readonly type: 'campaign' }
  /** The transport lost `peer`: messages in flight to it may be gone. */
  | { readonly type: 'unreachable'; readonly peer: PeerId }

/**
 * What the core asks of the shell. Only `append` effects have an order among themselves (by `ioId`); sends need not
 * wait for them, since the core holds back what must.
 */
export type Effect =
  | {
      /**
       * Persist in this order: hard state, truncation (drop `truncateFrom` and everything after), entries; sync; then
       * step `appended`. Consecutive effects may share one sync, answered by the last `ioId`.
       */
      readonly type: 'append'
      /** 1, 2, 3 …, unique within one Raft object. */
      readonly ioId: number
      readonly hardState?: HardState
      readonly truncateFrom?: number
      /** `proposalId` joins an entry proposed here with its payload; other payloads came with the append message. */
      readonly entries: readonly { readonly ref: EntryRef; readonly proposalId?: number }[]
    }
  /** Send now, or lose it: an `append` is joined with payloads read by (index, term, digest), checked against the ref. */
  | { readonly type: 'send'; readonly to: PeerId; readonly message: Message }
  /** Everything up to `index` is committed and durable here: apply it. */
  | { readonly type: 'committed'; readonly index: number }
  /** Linearizable: answer from the machine once it has applied `index` (Raft §6.4). */
  | { readonly type: 'readReady'; readonly context: number; readonly index: number }
  /** Not leader, or no longer: ask `leaderId`. */
  | { readonly type: 'readFailed'; readonly context: number; readonly leaderId?: PeerId }
  /** Not appended, will have no effect. */
  | {
      readonly type: 'dropped'
      readonly proposalId: number
      readonly reason: 'not-leader' | 'uncommitted-limit'
      readonly leaderId?: PeerId
    }
  /**
   * The proposal's entry was overwritten in this log by another leader's. Until this or `committed` at its index, the
   * outcome of a proposal is unknown.
   */
  | { readonly type: 'lost'; readonly proposalId: number }
  | { readonly type: 'leaderChanged'; readonly leaderId: PeerId | undefined; readonly term: number }
  | { readonly type: 'roleChanged'; readonly role: Role; readonly term: number }

export type Role = 'follower' | 'preCandidate' | 'candidate' | 'leader'

/** `probe`: one append at a time until a match is found. `replicate`: pipelined. */
export type ProgressState = 'probe' | 'replicate'

export interface PeerStatus {
  /** Highest index known to be durable on the peer and equal to ours. */
  readonly match: number
  /** Index of the next entry to send; always above `match`. */
  readonly next: number
  readonly state: ProgressState
  /** Heard from since the last check of the quorum. */
  readonly recentActive: boolean
  /** Append messages in flight. */
  readonly inflight: number
}

export interface RaftStatus {
  readonly id: PeerId
  readonly term: number
  readonly role: Role
  readonly leaderId: PeerId | undefined
  readonly votedFor: PeerId | undefined
  /** Known committed; may be ahead of `durableIndex`. */
  readonly commit: number
  readonly applied: number
  readonly lastIndex: number
  /** Log time of the last entry. */
  readonly lastTime: number
  readonly durableIndex: number
  /** The other voters, seen from the leader; empty on anyone else. */
  readonly peers: Readonly<Record<PeerId, PeerStatus>>
}

/**
 * What goes into the Raft core and what comes out: inputs, effects, configuration, status.
 *
 * The core never sees a payload, only an {@link EntryRef}: that the servers order what they cannot read is a fact of
 * these types. Words are those of the Raft dissertation (Ongaro, 2014), cited below as "Raft §", and of etcd's raft.
 */
import { type ConfChange, type ConfState, type PeerId, type SnapshotMeta } from './membership.ts'
import { type Message } from './messages.ts'

/** A log entry without its payload. */
export interface EntryRef {
  /** Term of the leader that appended it, from 1, below 2^32. */
  readonly term: number
  /** Position in the log, from 1. */
  readonly index: number
  /** Log entry kind, u16; 32 is the no-op that opens a term, 34 a change of membership. */
  readonly kind: number
  /** Log time in ms since the Unix epoch, stamped by the leader, never less than the entry's before it. */
  readonly time: number
  /** Payload length in bytes, u32. */
  readonly bytes: number
  /** SHA-256 of the payload, 32 bytes. */
  readonly digest: Uint8Array
  /**
   * What the payload says, decoded by the shell: present if and only if `kind` is {@link membershipKind}, since the
   * core acts on it. An empty payload is {@link leaveJoint}.
   */
  readonly change?: ConfChange
}

/** Kind of the entry without payload that a leader appends first (Raft §6.4). */
export const noOpKind = 32

/** Kind of the entry that changes membership. */
export const membershipKind = 34

/** SHA-256 of the empty string, lowercase hex: the digest of a no-op. */
export const emptyDigestHex = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'

/** What must survive a crash besides the log (Raft fig. 3.1). */
export interface HardState {
  /** Below 2^32. */
  readonly term: number
  /** Whom this replica voted for in `term`. */
  readonly votedFor: PeerId | undefined
  /** A hint: never above what was durable when it was written, usually behind. */
  readonly commit: number
}

/** The same on all replicas but for `id`, `priority` and `random`. Who votes is not here: see {@link PersistedState}. */
export interface RaftConfig {
  readonly id: PeerId
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
  /** Uniform in [0, 1); decides election timeouts and where read contexts begin, nothing else. */
  readonly random: () => number

  // What etcd's raft does not have, or has as an option. Left out, each has the value given here.

  /** Who should rather lead, from 0: a replica refuses its vote to one of lower priority whose log is not longer. 0. */
  readonly priority?: number
  /**
   * A refused vote tells what the refuser knows to be committed. Without it a group can wait for ever for the vote of
   * a replica that is no member any more, knows it, and has the longer log (raft-rs). true.
   */
  readonly commitInRefusals?: boolean
  /** A follower sends proposals on to its leader instead of dropping them. false. */
  readonly forwardProposals?: boolean
  /** A follower or learner asks its leader for the index of a read instead of failing it. false (etcd: always). */
  readonly forwardReads?: boolean
  /**
   * How long a heartbeat answered by a quorum lets the leader answer reads alone, in ms of the monotonic clock; less
   * than `electionTicks` by more than clocks can drift apart in that time. Needs `checkQuorum`. 0: no lease reads.
   */
  readonly leaseMs?: number
  /** A group where nothing happened for so many ticks stops its heartbeats and timers. 0: never. */
  readonly quiesceTicks?: number
  /**
   * A peer that was offered a snapshot and said nothing for so many ticks is probed again, and if need be offered
   * again. 0: only `snapshotStatus` and the peer's own answers end the wait, as in etcd.
   */
  readonly snapshotRetryTicks?: number
  /** The host steps `applyConfChange` when it applies a membership entry, as in etcd; else the core does, once the entry is committed and durable here. false. */
  readonly confChangeOnApply?: boolean
  /** A leader that is no voter any more steps down. true. */
  readonly stepDownOnRemoval?: boolean
  /** Refuse changes after which no quorum that answers would remain, or that promote a peer that lags. true. */
  readonly confChangeGuard?: boolean
  /**
   * Refuse a change while an earlier one has not taken effect, or that the configuration does not allow. true. Where it
   * is false (etcd's DisableConfChangeValidation, for hosts that check when they apply) `confChangeOnApply` must be set.
   */
  readonly confChangeValidation?: boolean
  /** With `confChangeGuard`: a peer may become voter when its log ends at most so many entries before the commit index. 1000. */
  readonly caughtUpEntries?: number
}

/** Where a log begins: the last entry that was compacted or came in a snapshot. */
export interface LogBase {
  readonly index: number
  readonly term: number
  /** Its log time, ms. */
  readonly time: number
}

/** What the shell read back from its disk. */
export interface PersistedState {
  readonly hardState: HardState
  /** What the log does not hold any more; absent: nothing. `base.index <= applied`. */
  readonly base?: LogBase
  /** The log in order, from `base.index + 1`; copied. */
  readonly refs: Iterable<EntryRef>
  /** Entries up to here are already in the machine's durable state, so they are known to be committed. */
  readonly applied?: number
  /**
   * The configuration as of `confIndex`: that of the genesis (0), of the snapshot, or of a `confChanged`. The core
   * replays the changes of committed entries after it. No voters: not a member yet, waits to be contacted.
   */
  readonly confState: ConfState
  /** `base.index <= confIndex`; default 0. Entries up to here are known to be committed. */
  readonly confIndex?: number
  /** The newest snapshot that peers can be sent. */
  readonly snapshot?: SnapshotMeta
}

/**
 * What the shell tells the core. `clockMs` is this host's wall clock in whole ms; it is used for stamps, never for
 * timeouts. `monotonicMs` is a clock that never goes back and does not stop while the process is paused. Before it
 * steps a message the shell has authenticated `from`, decoded it within its limits, and for an `append` or `propose`
 * has all payloads and has checked each against `bytes`, `digest` and `change`: the core cannot. A `snapshot` is
 * stepped only when the whole of it has been fetched and checked.
 */
export type Input =
  | { readonly type: 'tick'; readonly clockMs: number; readonly monotonicMs?: number }
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
  /** Proposes an entry of {@link membershipKind}; `change` is what its payload says. */
  | {
      readonly type: 'proposeConf'
      readonly proposalId: number
      readonly change: ConfChange
      readonly bytes: number
      readonly digest: Uint8Array
      readonly clockMs: number
    }
  /** The append effect `ioId`, and all before it, are durable. Stale and repeated ones are ignored. */
  | { readonly type: 'appended'; readonly ioId: number }
  /** The machine has applied everything up to `index`. */
  | { readonly type: 'applied'; readonly index: number }
  /** Only with `confChangeOnApply`, in log order, before `applied`; undefined: the host does not want this change. */
  | { readonly type: 'applyConfChange'; readonly change: ConfChange | undefined }
  /**
   * `context` comes back in `readReady` or `readFailed`; with `forwardReads` a follower asks its leader once: the shell
   * asks again, with the same or another context, and only the newest ask is answered. The shell bounds how many it
   * has outstanding. `lease` with the `monotonicMs` of now: the leader may answer at once while it has a lease.
   */
  | { readonly type: 'readIndex'; readonly context: number; readonly lease?: boolean; readonly monotonicMs?: number }
  /** Campaign now instead of waiting for the election timeout. */
  | { readonly type: 'campaign' }
  /** The transport lost `peer`: messages in flight to it may be gone. */
  | { readonly type: 'unreachable'; readonly peer: PeerId }
  /** Hand leadership to the voter `to`, within an election timeout (Raft §3.10). */
  | { readonly type: 'transferLeadership'; readonly to: PeerId }
  /** Stop leading. */
  | { readonly type: 'stepDown' }
  /** Stop refusing votes for the sake of the leader heard last (etcd's MsgForgetLeader); ignored where leases are on. */
  | { readonly type: 'forgetLeader' }
  /** The log up to `index`, applied and durable, is not needed any more. */
  | { readonly type: 'compact'; readonly index: number }
  /** From now on this snapshot is sent to peers that need one. */
  | { readonly type: 'snapshotAvailable'; readonly meta: SnapshotMeta }
  /** `peer` has the whole snapshot it was offered, or never will (etcd's ReportSnapshot). */
  | { readonly type: 'snapshotStatus'; readonly peer: PeerId; readonly ok: boolean }

/** Why a proposal was not appended. */
export type DropReason =
  | 'not-leader'
  | 'uncommitted-limit'
  /** Leadership is being handed over. */
  | 'transferring'
  /** An earlier change is not applied here yet, or the configuration is joint. */
  | 'conf-pending'
  /** The change cannot be applied to the configuration, e.g. it leaves no voter. */
  | 'conf-invalid'
  /** Too few of the voters after the change have been heard from lately. */
  | 'would-lose-quorum'
  /** It would make a voter of a peer whose log lags. */
  | 'learner-behind'

/** Why leadership stayed, or went elsewhere. */
export type TransferFailure =
  | 'not-leader'
  /** The target is no voter, or is this replica. */
  | 'not-a-voter'
  /** Another target was named. */
  | 'superseded'
  /** The target did not take over within an election timeout. */
  | 'timeout'
  /** Leadership was lost, and not to the target. */
  | 'lost-leadership'

/**
 * What the core asks of the shell. Only `append` effects have an order among themselves (by `ioId`); sends need not
 * wait for them, since the core holds back what must.
 */
export type Effect =
  | {
      /**
       * Persist in this order: snapshot, hard state, truncation (drop `truncateFrom` and everything after), entries;
       * sync; then step `appended`. Consecutive effects may share one sync, answered by the last `ioId`.
       */
      readonly type: 'append'
      /** 1, 2, 3 …, unique within one Raft object. */
      readonly ioId: number
      /** Replaces log, machine state and configuration by this snapshot, which was stepped before. */
      readonly snapshot?: SnapshotMeta
      readonly hardState?: HardState
      readonly truncateFrom?: number
      /** `proposalId` joins an entry proposed here with its payload; other payloads came with the message, in order. */
      readonly entries: readonly { readonly ref: EntryRef; readonly proposalId?: number }[]
    }
  /**
   * Send now, or lose it: an `append` is joined with payloads read by (index, term, digest), checked against the ref;
   * a `snapshot` is an offer, and the receiver fetches the rest.
   */
  | { readonly type: 'send'; readonly to: PeerId; readonly message: Message }
  /** Everything up to `index` is committed and durable here: apply it. What a snapshot brought is not announced. */
  | { readonly type: 'committed'; readonly index: number }
  /** The configuration from `index` on; committed and durable here. */
  | { readonly type: 'confChanged'; readonly index: number; readonly confState: ConfState }
  /** Linearizable: answer from the machine once it has applied `index` (Raft §6.4). */
  | { readonly type: 'readReady'; readonly context: number; readonly index: number }
  /** Not leader, or no longer: ask `leaderId`. */
  | { readonly type: 'readFailed'; readonly context: number; readonly leaderId?: PeerId }
  /** Not appended, will have no effect. */
  | {
      readonly type: 'dropped'
      readonly proposalId: number
      readonly reason: DropReason
      readonly leaderId?: PeerId
    }
  /** Sent on to the leader by the `propose` message that follows; nothing more will be heard of it here. */
  | { readonly type: 'forwarded'; readonly proposalId: number; readonly leaderId: PeerId }
  /**
   * The proposal's entry was overwritten in this log by another leader's, or fell into a snapshot. Until this or
   * `committed` at its index, the outcome of a proposal is unknown.
   */
  | { readonly type: 'lost'; readonly proposalId: number }
  | { readonly type: 'leaderChanged'; readonly leaderId: PeerId | undefined; readonly term: number }
  | { readonly type: 'roleChanged'; readonly role: Role; readonly term: number }
  /** `to` leads. */
  | { readonly type: 'transferred'; readonly to: PeerId }
  | { readonly type: 'transferFailed'; readonly to: PeerId; readonly reason: TransferFailure }

export type Role = 'follower' | 'preCandidate' | 'candidate' | 'leader'

/** `probe`: one append at a time until a match is found. `replicate`: pipelined. `snapshot`: waits until it has one. */
export type ProgressState = 'probe' | 'replicate' | 'snapshot'

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
  /** Nothing more is sent until the peer answers. */
  readonly paused: boolean
  /** Last index of the snapshot it was offered; 0: none. */
  readonly pendingSnapshot: number
  readonly isLearner: boolean
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
  /** First entry the log still holds, or would hold. */
  readonly firstIndex: number
  readonly lastIndex: number
  /** Log time of the last entry. */
  readonly lastTime: number
  readonly durableIndex: number
  /** Of the newest snapshot that peers can be sent; 0: none. */
  readonly snapshotIndex: number
  readonly confState: ConfState
  readonly isLearner: boolean
  /** To whom leadership is being handed. */
  readonly leadTransferee: PeerId | undefined
  /** Idle: no heartbeats, no timeouts, until something happens. */
  readonly quiesced: boolean
  /** The other members, seen from the leader; empty on anyone else. */
  readonly peers: Readonly<Record<PeerId, PeerStatus>>
}

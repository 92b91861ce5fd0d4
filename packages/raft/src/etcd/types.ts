/**
 * The words of etcd's raft (go.etcd.io/raft/v3, `raftpb` and `Ready`), for the view in raw-node.ts.
 *
 * Names and meanings are etcd's, spelled as TypeScript spells them; ids are small positive integers, 0 is nobody.
 */

export const messageTypes = [
  ...(['MsgHup', 'MsgBeat', 'MsgProp', 'MsgApp', 'MsgAppResp', 'MsgVote', 'MsgVoteResp', 'MsgSnap'] as const),
  ...(['MsgHeartbeat', 'MsgHeartbeatResp', 'MsgUnreachable', 'MsgSnapStatus', 'MsgCheckQuorum'] as const),
  ...(['MsgTransferLeader', 'MsgTimeoutNow', 'MsgReadIndex', 'MsgReadIndexResp', 'MsgPreVote'] as const),
  ...(['MsgPreVoteResp', 'MsgStorageAppend', 'MsgStorageAppendResp', 'MsgStorageApply'] as const),
  ...(['MsgStorageApplyResp', 'MsgForgetLeader'] as const),
] as const

export type MessageType = (typeof messageTypes)[number]

export type EntryType = 'EntryNormal' | 'EntryConfChange' | 'EntryConfChangeV2'

/** Before it has a place in the log, term and index are 0. */
export interface Entry {
  readonly term: number
  readonly index: number
  readonly type: EntryType
  readonly data: Uint8Array
}

export interface HardState {
  readonly term: number
  /** 0: nobody. */
  readonly vote: number
  readonly commit: number
}

export interface ConfState {
  readonly voters: readonly number[]
  readonly learners: readonly number[]
  readonly votersOutgoing: readonly number[]
  readonly learnersNext: readonly number[]
  readonly autoLeave: boolean
}

export interface SnapshotMetadata {
  readonly confState: ConfState
  readonly index: number
  readonly term: number
}

/** Index 0: none. */
export interface Snapshot {
  readonly data: Uint8Array
  readonly metadata: SnapshotMetadata
}

export type StateType = 'StateFollower' | 'StateCandidate' | 'StateLeader' | 'StatePreCandidate'

export interface SoftState {
  readonly lead: number
  readonly raftState: StateType
}

export interface ReadState {
  readonly index: number
  readonly requestCtx: Uint8Array
}

/** Between replicas, and with `MsgStorage…` between a replica and its two local threads. */
export interface Message {
  readonly type: MessageType
  readonly to: number
  readonly from: number
  /** 0 in local messages and in what clients say. */
  readonly term: number
  readonly logTerm: number
  readonly index: number
  readonly entries: readonly Entry[]
  readonly commit: number
  readonly vote: number
  readonly snapshot?: Snapshot
  readonly reject: boolean
  readonly rejectHint: number
  readonly context?: Uint8Array
  /** Deliver them once this message has been worked off. */
  readonly responses: readonly Message[]
  /** In what a replica sends itself: the write of the core that is durable when this is delivered. Not etcd's. */
  readonly ioId?: number
}

/** A message whose other fields are zero. */
export function messageOf(fields: Partial<Message> & Pick<Message, 'type'>): Message {
  const zero = { to: 0, from: 0, term: 0, logTerm: 0, index: 0, entries: [], commit: 0, vote: 0 }
  return { ...zero, reject: false, rejectHint: 0, responses: [], ...fields }
}

/** The local threads of asynchronous storage writes, as targets and senders. */
export const localAppendThread = Number.MAX_SAFE_INTEGER
export const localApplyThread = Number.MAX_SAFE_INTEGER - 1

export function isLocalMessageTarget(id: number): boolean {
  return id === localAppendThread || id === localApplyThread
}

/** What is to be done; each is handed out once. */
export interface Ready {
  /** Present if it changed. */
  readonly softState?: SoftState
  /** Present if it changed; with asynchronous storage writes it is in `MsgStorageAppend` too. */
  readonly hardState?: HardState
  readonly readStates: readonly ReadState[]
  /** To write before `messages` leave. */
  readonly entries: readonly Entry[]
  /** To write before `entries`. */
  readonly snapshot?: Snapshot
  /** To apply once written; without asynchronous storage writes some may be in `entries` too. */
  readonly committedEntries: readonly Entry[]
  readonly messages: readonly Message[]
  /** The write must be durable before anything else happens. */
  readonly mustSync: boolean
}

export type ProgressStateType = 'StateProbe' | 'StateReplicate' | 'StateSnapshot'

export interface Progress {
  readonly match: number
  readonly next: number
  readonly state: ProgressStateType
  readonly pendingSnapshot: number
  readonly recentActive: boolean
  readonly paused: boolean
  /** Messages in flight. */
  readonly inflight: number
  readonly inflightFull: boolean
  readonly isLearner: boolean
}

export interface BasicStatus extends HardState, SoftState {
  readonly id: number
  readonly applied: number
  readonly leadTransferee: number
}

export interface Status extends BasicStatus {
  readonly config: ConfState
  /** Of all members, itself included, while it leads; else empty. In the order of ids. */
  readonly progress: ReadonlyMap<number, Progress>
}

/** Where the view reads what was written: at the start all of it, later the first index and the newest snapshot. */
export interface Storage {
  initialState(): { readonly hardState: HardState; readonly confState: ConfState }
  /** The entries from `lo` to `hi - 1`. */
  entries(lo: number, hi: number): readonly Entry[]
  term(index: number): number
  firstIndex(): number
  lastIndex(): number
  snapshot(): Snapshot
}

export interface Config {
  /** From 1, below 2^32. */
  readonly id: number
  readonly electionTick: number
  readonly heartbeatTick: number
  readonly storage: Storage
  /** Applied before the start; default: what precedes the storage's first entry. */
  readonly applied?: number
  readonly asyncStorageWrites?: boolean
  /** Bytes of entries in a `MsgApp`; counts payloads and 64 bytes an entry. No limit. */
  readonly maxSizePerMsg?: number
  /** Bytes, as protobuf, of committed entries handed out and not applied; one always fits. Default `maxSizePerMsg`. */
  readonly maxCommittedSizePerReady?: number
  /** Bytes of payloads proposed and not committed. No limit. */
  readonly maxUncommittedEntriesSize?: number
  readonly maxInflightMsgs: number
  /** Bytes in flight, counted as for `maxSizePerMsg`. No limit. */
  readonly maxInflightBytes?: number
  readonly checkQuorum?: boolean
  readonly preVote?: boolean
  /** `ReadOnlyLeaseBased` trusts clocks: a leader answers reads without asking anyone. */
  readonly readOnlyOption?: 'ReadOnlySafe' | 'ReadOnlyLeaseBased'
  readonly disableProposalForwarding?: boolean
  readonly disableConfChangeValidation?: boolean
  readonly stepDownOnRemoval?: boolean
  /** Uniform in [0, 1): decides election timeouts. */
  readonly random: () => number
}

export const emptyConfState: ConfState = {
  voters: [],
  learners: [],
  votersOutgoing: [],
  learnersNext: [],
  autoLeave: false,
}

export const emptySnapshot: Snapshot = {
  data: new Uint8Array(0),
  metadata: { confState: emptyConfState, index: 0, term: 0 },
}

export const emptyHardState: HardState = { term: 0, vote: 0, commit: 0 }

export function isEmptyHardState({ term, vote, commit }: HardState): boolean {
  return term === 0 && vote === 0 && commit === 0
}

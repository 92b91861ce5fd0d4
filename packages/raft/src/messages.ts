/**
 * The messages between replicas and the check every one passes before it touches any state.
 *
 * Plain objects, told apart by `type`. `append` and `propose` carry no payloads; the host attaches the bytes when it
 * sends, and checks them against `bytes` and `digest` when it receives, before it steps the message. A message from a
 * term older than the receiver's never changes the receiver (Raft §3.3). A kind that the receiver does not know is
 * ignored, so that newer software can say more.
 */
import { RaftMessageError } from './errors.ts'
import { type ConfChange, isConfChange, isSnapshotMeta, type PeerId, type SnapshotMeta } from './membership.ts'
import { isCount, isTerm, isU16, isU32 } from './numbers.ts'
import { type EntryRef, membershipKind } from './types.ts'

interface Envelope {
  readonly from: PeerId
  readonly to: PeerId
  /**
   * The sender's term, from 1, below 2^32; in `preVote` and a granted `preVoteResp` the term it would campaign in. In
   * `propose` and `readIndex` it says nothing: those are the clients' words, not the sender's.
   */
  readonly term: number
}

/** "Would you vote for me?" (Raft §9.6). Promises nothing on either side. */
export interface PreVoteMessage extends Envelope {
  readonly type: 'preVote'
  readonly lastLogIndex: number
  readonly lastLogTerm: number
  /** The candidate's {@link RaftConfig.priority}; absent: 0. */
  readonly priority?: number
}

/** With a refusal: an entry that the sender knows to be committed. Absent together. */
interface CommitHint {
  readonly commit?: number
  readonly commitTerm?: number
}

export interface PreVoteRespMessage extends Envelope, CommitHint {
  readonly type: 'preVoteResp'
  readonly granted: boolean
}

/** RequestVote (Raft §3.4). */
export interface VoteMessage extends Envelope {
  readonly type: 'vote'
  readonly lastLogIndex: number
  readonly lastLogTerm: number
  /** The candidate's {@link RaftConfig.priority}; absent: 0. */
  readonly priority?: number
  /** The leader itself asked for this campaign, so nobody refuses for its sake (Raft §4.2.3); absent: false. */
  readonly transfer?: boolean
}

/** A granted vote leaves once it is durable. */
export interface VoteRespMessage extends Envelope, CommitHint {
  readonly type: 'voteResp'
  readonly granted: boolean
}

/** AppendEntries (Raft §3.5). `entries` follow `prevLogIndex` without a gap. */
export interface AppendMessage extends Envelope {
  readonly type: 'append'
  readonly prevLogIndex: number
  readonly prevLogTerm: number
  readonly entries: readonly EntryRef[]
  readonly leaderCommit: number
}

/** Accepted: everything up to `index` equals the leader's log and is durable. */
export interface AppendRespMessage extends Envelope {
  readonly type: 'appendResp'
  readonly accepted: boolean
  /** Accepted: last matching index. Refused: the `prevLogIndex` that did not match. */
  readonly index: number
  /** Refused: the follower's last index whose term is not above `prevLogTerm`, and its term; else 0. */
  readonly hintIndex: number
  /** 0 also if the follower does not know the term there. */
  readonly hintTerm: number
}

/** Keeps followers quiet, tells a commit index not above what the peer acknowledged, asks to confirm leadership for reads. */
export interface HeartbeatMessage extends Envelope {
  readonly type: 'heartbeat'
  readonly leaderCommit: number
  /** Number of the read round the answer will confirm. */
  readonly readContext: number
}

export interface HeartbeatRespMessage extends Envelope {
  readonly type: 'heartbeatResp'
  /** Copied from the heartbeat. */
  readonly readContext: number
  /** The peer's own wall clock in ms when it answered: a sample for log time. */
  readonly clockMs: number
}

/** InstallSnapshot (Raft §5): an offer; the receiver steps it once its host has fetched and checked the whole. */
export interface SnapshotMessage extends Envelope {
  readonly type: 'snapshot'
  readonly meta: SnapshotMeta
}

/** "Campaign now": the leader hands over (Raft §3.10). */
export interface TimeoutNowMessage extends Envelope {
  readonly type: 'timeoutNow'
}

/** A follower asks its leader for an index that a linearizable read must wait for (Raft §6.4). */
export interface ReadIndexMessage extends Envelope {
  readonly type: 'readIndex'
  /** Chosen by the asker, never twice. */
  readonly context: number
}

export interface ReadIndexRespMessage extends Envelope {
  readonly type: 'readIndexResp'
  readonly context: number
  readonly index: number
}

/** A proposal before it has a place in the log. */
export interface ProposedEntry {
  readonly kind: number
  readonly bytes: number
  readonly digest: Uint8Array
  /** As in {@link EntryRef}. */
  readonly change?: ConfChange
}

/** A follower sends proposals on to its leader; nobody answers. */
export interface ProposeMessage extends Envelope {
  readonly type: 'propose'
  /** At least one, at most {@link proposedEntriesMax}. */
  readonly entries: readonly ProposedEntry[]
}

/** Nothing has happened for a while: no heartbeats follow until something does. Or the opposite, see `wake`. */
export interface QuiesceMessage extends Envelope {
  readonly type: 'quiesce'
  /** Last index of the leader's log, all of it committed: a follower elsewhere does not go to sleep. */
  readonly index: number
  /** From a follower that something woke to its leader: wake up too. Absent: false. */
  readonly wake?: boolean
}

export type Message =
  | PreVoteMessage
  | PreVoteRespMessage
  | VoteMessage
  | VoteRespMessage
  | AppendMessage
  | AppendRespMessage
  | HeartbeatMessage
  | HeartbeatRespMessage
  | SnapshotMessage
  | TimeoutNowMessage
  | ReadIndexMessage
  | ReadIndexRespMessage
  | ProposeMessage
  | QuiesceMessage

/** Proposals in one message. */
export const proposedEntriesMax = 65_536

const knownTypes: ReadonlySet<string> = new Set<Message['type']>([
  ...(['preVote', 'preVoteResp', 'vote', 'voteResp', 'append', 'appendResp', 'heartbeat', 'heartbeatResp'] as const),
  ...(['snapshot', 'timeoutNow', 'readIndex', 'readIndexResp', 'propose', 'quiesce'] as const),
])

/** False for a kind of message that this software does not know: ignore it, and count it. */
export function isKnownMessage(message: { readonly type: string }): boolean {
  return knownTypes.has(message.type)
}

/** True if kind, length, digest and change are within what {@link EntryRef} states. */
export function isPayload({ kind, bytes, digest, change }: ProposedEntry): boolean {
  return (
    isU16(kind) &&
    isU32(bytes) &&
    digest.length === 32 &&
    (kind === membershipKind ? change !== undefined && isConfChange(change) : change === undefined)
  )
}

/** True if every field of `ref` is within what {@link EntryRef} states. */
export function isEntryRef(ref: EntryRef): boolean {
  const { term, index, time } = ref
  return isTerm(term) && term >= 1 && isCount(index) && index >= 1 && isCount(time) && isPayload(ref)
}

/**
 * Checks ranges and the inner consistency of a message from outside.
 * @throws {@link RaftMessageError} `ERR_RAFT_MESSAGE`
 */
export function checkMessage(message: Message): void {
  const require = (condition: boolean, what: string): void => {
    if (!condition) throw new RaftMessageError(message, what)
  }
  require(isTerm(message.term) && message.term >= 1, 'has no valid term')
  switch (message.type) {
    case 'preVote':
    case 'vote':
      require(isCount(message.lastLogIndex) && isTerm(message.lastLogTerm), 'has no valid last log position')
      require(isCount(message.priority ?? 0), 'has no valid priority')
      return
    case 'append':
      require(isCount(message.prevLogIndex) && isTerm(message.prevLogTerm), 'has no valid previous log position')
      require(isCount(message.leaderCommit), 'has no valid commit index')
      checkEntries(message, require)
      return
    case 'appendResp':
      require(isCount(message.index) && isCount(message.hintIndex) && isTerm(message.hintTerm), 'has no valid position')
      return
    case 'heartbeat':
      require(isCount(message.leaderCommit) && isCount(message.readContext), 'has no valid commit index or context')
      return
    case 'heartbeatResp':
      require(isCount(message.readContext) && isCount(message.clockMs), 'has no valid context or clock')
      return
    case 'snapshot':
      require(isSnapshotMeta(message.meta) && message.meta.term <= message.term, 'describes no valid snapshot')
      return
    case 'readIndex':
      require(isCount(message.context), 'has no valid context')
      return
    case 'readIndexResp':
      require(isCount(message.context) && isCount(message.index), 'has no valid context or index')
      return
    case 'propose':
      require(message.entries.length >= 1 &&
        message.entries.length <= proposedEntriesMax &&
        message.entries.every(isPayload), 'has a malformed proposal')
      return
    case 'quiesce':
      require(isCount(message.index), 'has no valid index')
      return
    case 'preVoteResp':
    case 'voteResp':
      require(isCount(message.commit ?? 0) && isTerm(message.commitTerm ?? 0), 'has no valid commit index')
      return
    case 'timeoutNow':
      return
  }
}

function checkEntries(message: AppendMessage, require: (condition: boolean, what: string) => void): void {
  let index = message.prevLogIndex
  let term = message.prevLogTerm
  for (const ref of message.entries) {
    index++
    require(isEntryRef(ref) && ref.index === index, 'has an entry out of place')
    require(ref.term >= term && ref.term <= message.term, 'has an entry of an impossible term')
    term = ref.term
  }
}

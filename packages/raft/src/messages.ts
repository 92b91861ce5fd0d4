/**
 * The messages between replicas and the check every one passes before it touches any state.
 *
 * Plain objects, told apart by `type`. `append` carries refs; the host attaches the payload bytes when it sends, and
 * checks them against `bytes` and `digest` when it receives, before it steps the message. A message from a term older
 * than the receiver's never changes the receiver (Raft §3.3).
 */
import { RaftMessageError } from './errors.ts'
import { type EntryRef, type PeerId } from './types.ts'

interface Envelope {
  readonly from: PeerId
  readonly to: PeerId
  /** The sender's term; in `preVote` and a granted `preVoteResp` the term it would campaign in. */
  readonly term: number
}

/** "Would you vote for me?" (Raft §9.6). Promises nothing on either side. */
export interface PreVoteMessage extends Envelope {
  readonly type: 'preVote'
  readonly lastLogIndex: number
  readonly lastLogTerm: number
}

export interface PreVoteRespMessage extends Envelope {
  readonly type: 'preVoteResp'
  readonly granted: boolean
}

/** RequestVote (Raft §3.4). Leaves once the candidate's vote for itself is durable. */
export interface VoteMessage extends Envelope {
  readonly type: 'vote'
  readonly lastLogIndex: number
  readonly lastLogTerm: number
}

/** A granted vote leaves once it is durable. */
export interface VoteRespMessage extends Envelope {
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

export type Message =
  | PreVoteMessage
  | PreVoteRespMessage
  | VoteMessage
  | VoteRespMessage
  | AppendMessage
  | AppendRespMessage
  | HeartbeatMessage
  | HeartbeatRespMessage

const isCount = (value: number): boolean => Number.isSafeInteger(value) && value >= 0
const isU32 = (value: number): boolean => isCount(value) && value <= 0xffff_ffff
const isU16 = (value: number): boolean => isCount(value) && value <= 0xffff

/** True if kind, length and digest are within what {@link EntryRef} states. */
export function isPayload(kind: number, bytes: number, digest: Uint8Array): boolean {
  return isU16(kind) && isU32(bytes) && digest.length === 32
}

/** True if every field of `ref` is within what {@link EntryRef} states. */
export function isEntryRef({ term, index, kind, time, bytes, digest }: EntryRef): boolean {
  return isCount(term) && term >= 1 && isCount(index) && index >= 1 && isCount(time) && isPayload(kind, bytes, digest)
}

/**
 * Checks ranges and the inner consistency of a message from outside.
 * @throws {@link RaftMessageError} `ERR_RAFT_MESSAGE`
 */
export function checkMessage(message: Message): void {
  const require = (condition: boolean, what: string): void => {
    if (!condition) throw new RaftMessageError(message, what)
  }
  require(isCount(message.term) && message.term >= 1, 'has no valid term')
  switch (message.type) {
    case 'preVote':
    case 'vote':
      require(isCount(message.lastLogIndex) && isCount(message.lastLogTerm), 'has no valid last log position')
      return
    case 'append':
      require(isCount(message.prevLogIndex) && isCount(message.prevLogTerm), 'has no valid previous log position')
      require(isCount(message.leaderCommit), 'has no valid commit index')
      checkEntries(message, require)
      return
    case 'appendResp':
      require(isCount(message.index) &&
        isCount(message.hintIndex) &&
        isCount(message.hintTerm), 'has no valid log position')
      return
    case 'heartbeat':
      require(isCount(message.leaderCommit) && isCount(message.readContext), 'has no valid commit index or context')
      return
    case 'heartbeatResp':
      require(isCount(message.readContext) && isCount(message.clockMs), 'has no valid context or clock')
      return
    case 'preVoteResp':
    case 'voteResp':
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

/** The Raft core: `step(input)` returns effects. See README.md for how to drive it. */
export { Raft, type RaftDump } from './raft.ts'
export {
  type DropReason,
  type Effect,
  emptyDigestHex,
  type EntryRef,
  type HardState,
  type Input,
  type LogBase,
  membershipKind,
  noOpKind,
  type PeerStatus,
  type PersistedState,
  type ProgressState,
  type RaftConfig,
  type RaftStatus,
  type Role,
  type TransferFailure,
} from './types.ts'
export {
  type ConfChange,
  type ConfChangeSingle,
  type ConfState,
  confStateOf,
  emptyConfState,
  isConfChange,
  isConfState,
  isPeerId,
  isSnapshotMeta,
  leaveJoint,
  membersMax,
  type PeerId,
  type SnapshotMeta,
} from './membership.ts'
export type {
  AppendMessage,
  AppendRespMessage,
  HeartbeatMessage,
  HeartbeatRespMessage,
  Message,
  PreVoteMessage,
  PreVoteRespMessage,
  ProposedEntry,
  ProposeMessage,
  QuiesceMessage,
  ReadIndexMessage,
  ReadIndexRespMessage,
  SnapshotMessage,
  TimeoutNowMessage,
  VoteMessage,
  VoteRespMessage,
} from './messages.ts'
export { checkMessage, isKnownMessage, proposedEntriesMax } from './messages.ts'
export { termMax } from './numbers.ts'
export { RaftMessageError, RaftStateError } from './errors.ts'
export { type ReadonlyRaftLog, RaftLog } from './log.ts'
export {
  changeConf,
  type ConfChangeResult,
  enterJointConf,
  isJoint,
  isVoter,
  leaveJointConf,
  leavesJoint,
  membersOf,
  simpleChange,
} from './confchange.ts'

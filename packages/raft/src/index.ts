/** The Raft core: `step(input)` returns effects. See README.md for how to drive it. */
export { Raft } from './raft.ts'
export {
  type Effect,
  emptyDigestHex,
  type EntryRef,
  type HardState,
  type Input,
  noOpKind,
  type PeerId,
  type PeerStatus,
  type PersistedState,
  type ProgressState,
  type RaftConfig,
  type RaftStatus,
  type Role,
} from './types.ts'
export type {
  AppendMessage,
  AppendRespMessage,
  HeartbeatMessage,
  HeartbeatRespMessage,
  Message,
  PreVoteMessage,
  PreVoteRespMessage,
  VoteMessage,
  VoteRespMessage,
} from './messages.ts'
export { checkMessage } from './messages.ts'
export { RaftMessageError, RaftStateError } from './errors.ts'
export { type ReadonlyRaftLog, RaftLog } from './log.ts'

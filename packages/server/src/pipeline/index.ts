/** The pipeline without I/O, for hosts other than the node: the simulator runs it on virtual time. */
export { crossCheckTree } from './cross-check.ts'
export { GroupMember, type GroupMemberOptions, type MemberObserver } from './group-member.ts'
export { type GroupHeader } from './group-router.ts'
export { type CosigningMessage, type SignedHead } from './publisher.ts'
export { RaftReplicator, type RaftReplicatorOptions } from './raft-replicator.ts'
export { readRaftState, type RaftState } from './raft-state.ts'
export { Replica, resumedFrom, type ReplicaObserver, type ReplicaOptions } from './replica.ts'
export {
  type CommittedEntry,
  type Configuration,
  type Leadership,
  type MembershipChange,
  type ProposeOutcome,
  type Replicator,
  type ReplicatorStatus,
} from '../replicator.ts'
export { toPeerHeader, toRaftMessage } from '../host/peer-messages.ts'

/** What the etcd-shaped view refuses; etcd returns these as errors. */
import { CipherlogError } from '@cipherlog/core'

export type EtcdErrorCode =
  /** etcd's ErrProposalDropped. */
  | 'ERR_RAFT_PROPOSAL_DROPPED'
  /** etcd's ErrStepLocalMsg. */
  | 'ERR_RAFT_LOCAL_MESSAGE'
  /** etcd's ErrStepPeerNotFound. */
  | 'ERR_RAFT_PEER_NOT_FOUND'
  /** The payload of a change of membership cannot be read. */
  | 'ERR_RAFT_CONF_CHANGE'
  /** The storage no longer has, or does not have yet, what was asked for. */
  | 'ERR_RAFT_STORAGE_RANGE'

export class EtcdError extends CipherlogError {
  override readonly name = 'EtcdError'
  constructor(code: EtcdErrorCode, message: string) {
    super(code, message)
  }
}

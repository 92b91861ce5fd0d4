/**
 * One replica: the state that the parts of the protocol share, and the parts. Each part is a file that states its own
 * invariants; here is what more than one of them reads.
 *
 * Raft §: election §3.4, replication §3.5–3.6, membership §4, snapshots §5, reads §6.4, transfer §3.10.
 */
import { invariant } from '@cipherlog/core'
import { Election } from './election.ts'
import { Following } from './following.ts'
import { Leases } from './leases.ts'
import { PeerClocks } from './log-time.ts'
import { type RaftLog } from './log.ts'
import { type PeerId, type SnapshotMeta } from './membership.ts'
import { Outbox } from './outbox.ts'
import { type PendingWrites } from './pending-writes.ts'
import { Proposals } from './proposals.ts'
import { Quiescence } from './quiescence.ts'
import { Reads } from './reads.ts'
import { Reconfiguration } from './reconfiguration.ts'
import { Replication } from './replication.ts'
import { Transfer } from './transfer.ts'
import { type RaftConfig, type Role } from './types.ts'

export class Core {
  readonly config: Required<RaftConfig>
  readonly id: PeerId
  readonly log: RaftLog
  readonly writes: PendingWrites

  /** Never decreases. Written by the election. */
  term = 0
  /** Set once per term. Written by the election. */
  votedFor: PeerId | undefined
  role: Role = 'follower'
  leaderId: PeerId | undefined
  /** Highest index known to be committed; may be ahead of what is durable here. */
  commit = 0
  applied = 0
  /** The newest snapshot that peers can be sent. */
  snapshot: SnapshotMeta | undefined
  /** Ticks since this object was made. */
  ticks = 0
  /** The newest wall clock the shell told us, ms. */
  clockMs: number
  /** The newest monotonic clock the shell told us, ms. */
  monotonicMs: number | undefined

  /** What this step has to say. */
  readonly out = new Outbox()
  readonly clocks = new PeerClocks()

  readonly election: Election
  readonly replication: Replication
  readonly following: Following
  readonly proposals: Proposals
  readonly reconfiguration: Reconfiguration
  readonly reads: Reads
  readonly leases: Leases
  readonly transfer: Transfer
  readonly quiescence: Quiescence

  constructor(config: Required<RaftConfig>, log: RaftLog, writes: PendingWrites) {
    this.config = config
    this.id = config.id
    this.log = log
    this.writes = writes
    this.clockMs = config.initialTimeMs
    this.election = new Election(this)
    this.replication = new Replication(this)
    this.following = new Following(this)
    this.proposals = new Proposals(this)
    this.reconfiguration = new Reconfiguration(this)
    this.reads = new Reads(this)
    this.leases = new Leases(this)
    this.transfer = new Transfer(this)
    this.quiescence = new Quiescence(this)
  }

  /** Committed and on this disk: what the machine may apply. */
  get committedHere(): number {
    return Math.min(this.commit, this.writes.durableIndex)
  }

  commitTo(index: number): void {
    if (index <= this.commit) return
    invariant(index <= this.log.lastIndex, 'The commit index points beyond the log; was an acknowledged write lost?', {
      index,
      lastIndex: this.log.lastIndex,
    })
    this.proposals.committed(this.commit, index)
    this.commit = index
  }
}

/**
 * What a simulated Raft cluster is made of, and its units of time.
 */
import { type RaftConfig } from '@cipherlog/raft'
import { type RaftDisk } from './raft-disk.ts'
import { type RaftFaults } from './raft-faults.ts'

export interface RaftNetworkOptions {
  readonly seed: number
  readonly nodes: number
  /** The first so many nodes vote at the start; default: all. */
  readonly voters?: number
  /** Overrides of the protocol's configuration, the same on every node. */
  readonly config?: Partial<Omit<RaftConfig, 'id' | 'random'>>
  /** Priorities in elections, by node. */
  readonly priorities?: readonly number[]
  readonly faults?: Partial<RaftFaults>
  /** Node 0's clock jumps about by hours. */
  readonly brokenClock?: boolean
  /** What the disks hold at the start, by node; absent: nothing. */
  readonly disks?: readonly Pick<RaftDisk, 'hardState' | 'refs'>[]
  /** Gets a line for each thing that happens. */
  readonly trace?: (line: string) => void
}

/** Virtual time that a round takes. */
export const roundMs = 50
export const startMs = 1_700_000_000_000
/** How far sane clocks are off. */
export const skewMsMax = 100

export const raftNetworkConfig = {
  electionTicks: 10,
  heartbeatTicks: 2,
  preVote: true,
  checkQuorum: true,
  maxInflightMessages: 8,
  maxInflightBytes: 4096,
  maxAppendBytes: 1024,
  maxUncommittedBytes: 1 << 20,
  maxClockErrorMs: 500,
  diskStallTicks: 15,
  initialTimeMs: startMs,
  snapshotRetryTicks: 20,
} as const satisfies Omit<RaftConfig, 'id' | 'random'>

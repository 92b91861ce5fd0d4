/** Internal tools for tests: seeded randomness, a simulated Raft cluster with checkers. */
export { Prng } from './prng.ts'
export {
  noRaftFaults,
  type RaftDisk,
  type RaftFaults,
  RaftNetwork,
  raftNetworkConfig,
  type RaftNetworkCounts,
  type RaftNetworkOptions,
} from './raft-network.ts'
export { runRaftSeed } from './raft-seed.ts'
export { type ElectionTimeouts, timeWithoutLeader } from './election-times.ts'

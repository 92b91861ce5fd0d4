/** Internal tools for tests: seeded randomness, a simulated Raft cluster with checkers. */
export { Prng } from './prng.ts'
export { type RaftDisk } from './raft-disk.ts'
export { noRaftFaults, type RaftFaults, type RaftNetworkCounts } from './raft-faults.ts'
export { RaftNetwork, raftNetworkConfig, type RaftNetworkOptions } from './raft-network.ts'
export { runRaftSeed } from './raft-seed.ts'
export { type ElectionTimeouts, timeWithoutLeader } from './election-times.ts'
export { type Exploration, exploreRaft } from './explorer/explore-raft.ts'
export { type RaftBounds } from './explorer/raft-model.ts'

/**
 * One seed of the long Raft simulation: a cluster of packages/testkit under faults whose rates, sizes and switches
 * follow from the seed. Larger, longer and rougher than the mix of raft-network.test.ts: up to 7 nodes, phases of
 * calm between storms, minorities that are gone for long. The network's checkers throw on any broken promise.
 */
import { Prng, RaftNetwork, type RaftNetworkCounts } from '@cipherlog/testkit'

const phases = 4
const roundsPerPhase = 200
const writeRoundsMax = 12

/** Runs `seed` to its end: storms, then calm, then convergence. The same seed gives the same run. */
export function runRaftSeed(seed: number): RaftNetworkCounts {
  const prng = new Prng(seed)
  const nodes = prng.pick([1, 2, 3, 3, 4, 5, 5, 6, 7])
  const sometimes = (rate: number): number => (prng.chance(0.6) ? prng.float() * rate : 0)
  const network = new RaftNetwork({
    seed: prng.uint32(),
    nodes,
    brokenClock: prng.chance(0.3),
    config: {
      electionTicks: prng.pick([4, 6, 10, 20]),
      heartbeatTicks: prng.pick([1, 2]),
      preVote: prng.chance(0.7),
      checkQuorum: prng.chance(0.7),
      diskStallTicks: prng.pick([0, 8, 15]),
      maxInflightMessages: prng.pick([1, 2, 8, 64]),
      maxInflightBytes: prng.pick([100, 1000, 4096]),
      maxAppendBytes: prng.pick([1, 300, 4096]),
      maxUncommittedBytes: prng.pick([200, 2000, 1 << 20]),
    },
    faults: {
      drop: sometimes(0.4),
      duplicate: sometimes(0.4),
      messageRoundsMax: prng.between(0, 8),
      writeRoundsMax: prng.between(0, writeRoundsMax),
      crash: sometimes(0.03),
      downRoundsMax: prng.pick([5, 40, 150]),
      partition: sometimes(0.1),
      heal: prng.pick([0.005, 0.02, 0.1]),
      hang: sometimes(0.03),
      unhang: prng.pick([0.02, 0.1]),
      pause: sometimes(0.4),
      repeatAppended: sometimes(0.5),
    },
  })
  for (let phase = 0; phase < phases; phase++) {
    const disturb = sometimes(0.1)
    const propose = prng.pick([0.05, 0.4, 0.9])
    for (let round = 0; round < roundsPerPhase; round++) {
      network.run(1)
      if (prng.chance(disturb)) network.disturb()
      const { leaders } = network
      for (const leader of leaders) {
        if (prng.chance(propose)) network.propose(leader, prng.between(0, 200))
        // With two leaders one is deposed: the moment a stale read would happen.
        if (leaders.length > 1 || prng.chance(0.2)) network.read(leader)
      }
    }
  }
  network.calm()
  // A write that began in the storm may still be on its way to a slow disk, and convergence is read off the disks.
  network.run(writeRoundsMax + 1)
  network.expectConvergence(600)
  return network.counts
}

/**
 * One seed of the simulated Raft cluster: fault rates, sizes and switches differ from seed to seed, so that each kind of
 * trouble also meets calm company. The network's checkers throw on any broken promise; the same seed gives the same run.
 */
import { Prng } from './prng.ts'
import { RaftNetwork, type RaftNetworkCounts } from './raft-network.ts'

/** Rounds of storm, and the sizes clusters come in. */
const scales = {
  short: { phases: 1, rounds: 500, nodes: [1, 2, 3, 3, 3, 4, 5, 5], roundsToConverge: 400 },
  long: { phases: 4, rounds: 200, nodes: [1, 2, 3, 3, 4, 5, 5, 6, 7], roundsToConverge: 600 },
} as const

/**
 * Runs `seed` to its end: storms, then calm, then convergence. `long` has larger clusters and several phases, which
 * differ in how much is proposed and disturbed.
 */
export function runRaftSeed(seed: number, scale: keyof typeof scales = 'short'): RaftNetworkCounts {
  const { phases, rounds, roundsToConverge } = scales[scale]
  const prng = new Prng(seed)
  const sometimes = (rate: number): number => (prng.chance(0.6) ? prng.float() * rate : 0)
  const nodes = prng.pick(scales[scale].nodes)
  // Leaders that fall as soon as they rise: half-replicated entries of many terms meet.
  const feverish = prng.chance(0.2)
  const network = new RaftNetwork({
    seed: prng.uint32(),
    nodes,
    brokenClock: prng.chance(0.3),
    config: {
      electionTicks: feverish ? 4 : prng.pick([4, 6, 10]),
      preVote: !feverish && prng.chance(0.7),
      checkQuorum: prng.chance(0.7),
      diskStallTicks: prng.pick([0, 8, 15]),
      maxInflightMessages: prng.pick([1, 3, 64]),
      maxInflightBytes: prng.pick([100, 4096]),
      maxAppendBytes: feverish ? 1 : prng.pick([1, 300, 4096]),
      maxUncommittedBytes: prng.pick([200, 1 << 20]),
    },
    faults: {
      drop: sometimes(0.3),
      duplicate: sometimes(0.3),
      messageRoundsMax: feverish ? prng.between(0, 2) : prng.between(0, 4),
      writeRoundsMax: feverish ? prng.between(0, 1) : prng.between(0, 6),
      crash: sometimes(prng.pick([0.02, 0.1])),
      downRoundsMax: feverish ? 3 : prng.pick([2, 10, 40]),
      crashLeader: feverish ? 0.25 : sometimes(0.2),
      clog: sometimes(0.2),
      clogRoundsMax: prng.pick([10, 40, 100]),
      pause: sometimes(0.02),
      pauseRoundsMax: prng.pick([5, 40, 100]),
      partition: sometimes(0.08),
      heal: prng.pick([0.01, 0.03, 0.1]),
      hang: sometimes(0.02),
      unhang: 0.1,
      skipTick: sometimes(0.3),
      repeatAppended: sometimes(0.5),
    },
  })
  for (let phase = 0; phase < phases; phase++) {
    const disturb = sometimes(prng.pick([0.1, 0.5]))
    const propose = prng.pick([0.05, 0.4, 0.4, 0.9])
    for (let round = 0; round < rounds; round++) {
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
  network.expectConvergence(roundsToConverge)
  return network.counts
}

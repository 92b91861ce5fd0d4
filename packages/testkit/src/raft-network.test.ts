import { describe, expect, it } from 'vitest'
import { Prng } from './prng.ts'
import { RaftNetwork, type RaftNetworkCounts } from './raft-network.ts'

/** Fault rates, sizes and switches differ from seed to seed, so that each kind of trouble also meets calm company. */
function runSeed(seed: number): RaftNetworkCounts {
  const prng = new Prng(seed)
  const sometimes = (rate: number): number => (prng.chance(0.6) ? prng.float() * rate : 0)
  const nodes = prng.pick([1, 2, 3, 3, 3, 4, 5, 5])
  const disturb = sometimes(0.1)
  const network = new RaftNetwork({
    seed: prng.uint32(),
    nodes,
    brokenClock: prng.chance(0.3),
    config: {
      electionTicks: prng.pick([4, 6, 10]),
      preVote: prng.chance(0.7),
      checkQuorum: prng.chance(0.7),
      diskStallTicks: prng.pick([0, 8, 15]),
      maxInflightMessages: prng.pick([1, 3, 64]),
      maxInflightBytes: prng.pick([100, 4096]),
      maxAppendBytes: prng.pick([1, 300, 4096]),
      maxUncommittedBytes: prng.pick([200, 1 << 20]),
    },
    faults: {
      drop: sometimes(0.3),
      duplicate: sometimes(0.3),
      messageRoundsMax: prng.between(0, 4),
      writeRoundsMax: prng.between(0, 6),
      crash: sometimes(0.02),
      downRoundsMax: prng.between(1, 40),
      partition: sometimes(0.08),
      heal: prng.pick([0.01, 0.03, 0.1]),
      hang: sometimes(0.02),
      unhang: 0.1,
      pause: sometimes(0.3),
      repeatAppended: sometimes(0.5),
    },
  })
  for (let round = 0; round < 500; round++) {
    network.run(1)
    if (prng.chance(disturb)) network.disturb()
    const leaders = network.leaders
    for (const leader of leaders) {
      if (prng.chance(0.4)) network.propose(leader, prng.between(0, 200))
      // With two leaders one is deposed: the moment a stale read would happen.
      if (leaders.length > 1 || prng.chance(0.2)) network.read(leader)
    }
  }
  network.expectConvergence()
  return network.counts
}

describe('a simulated Raft cluster', () => {
  it('keeps every promise under 200 seeds of random faults, and recovers', () => {
    const total: Record<string, number> = {}
    for (let seed = 1; seed <= 200; seed++) {
      let counts: RaftNetworkCounts
      try {
        counts = runSeed(seed)
      } catch (cause) {
        throw new Error(`seed ${seed}: ${String(cause)}`, { cause })
      }
      for (const [name, count] of Object.entries(counts)) total[name] = (total[name] ?? 0) + Number(count)
    }
    // A run in which a kind of event never happened would prove nothing about it.
    for (const [name, count] of Object.entries(total)) expect(count, name).toBeGreaterThan(100)
  })
})

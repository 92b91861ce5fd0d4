/**
 * One seed of the simulated Raft cluster: fault rates, sizes and switches differ from seed to seed, so that each kind of
 * trouble also meets calm company. The network's checkers throw on any broken promise; the same seed gives the same run.
 *
 * Rates reach those of TigerBeetle's VOPR: up to 30 % of messages lost, 50 % repeated, links clogged for up to 5 s (100
 * rounds), crashes that tear what is being written, processes that stand still, disks that are gone after a crash.
 */
import { type RaftConfig } from '@cipherlog/raft'
import { Prng } from './prng.ts'
import { type RaftNetworkCounts } from './raft-faults.ts'
import { RaftNetwork } from './raft-network.ts'
import { operate } from './raft-operator.ts'

/** Rounds of storm, and the sizes clusters come in. */
const scales = {
  short: { phases: 1, rounds: 400, nodes: [1, 2, 3, 3, 3, 4, 5, 5], roundsToConverge: 1000 },
  long: { phases: 4, rounds: 200, nodes: [1, 2, 3, 3, 4, 5, 5, 6, 7], roundsToConverge: 1500 },
} as const

const roundMs = 50

/**
 * Runs `seed` to its end: storms, then calm, then convergence. `long` has larger clusters and several phases, which
 * differ in how much is proposed and disturbed. `trace` gets a line for each thing that happens.
 */
export function runRaftSeed(
  seed: number,
  scale: keyof typeof scales = 'short',
  trace?: (line: string) => void,
): RaftNetworkCounts {
  const { phases, rounds, roundsToConverge } = scales[scale]
  const prng = new Prng(seed)
  const sometimes = (rate: number): number => (prng.chance(0.6) ? prng.float() * rate : 0)
  const voters = prng.pick(scales[scale].nodes)
  // Leaders that fall as soon as they rise: half-replicated entries of many terms meet.
  const feverish = prng.chance(seed % 2 === 0 ? 0.4 : 0.2)
  // Every other cluster has fixed members and whole logs: what is old is met more often where less is new.
  const plain = seed % 2 === 0
  const restless = !plain && prng.chance(0.6)
  const spares = restless ? prng.between(0, 2) : 0
  const config = configOf(prng, feverish, plain)
  // Where reads go by lease, leaders have to live long enough to get one.
  const leases = (config.leaseMs ?? 0) > 0
  const network = new RaftNetwork({
    seed: prng.uint32(),
    nodes: voters + spares,
    voters,
    config,
    priorities: prng.chance(0.2) ? Array.from({ length: voters + spares }, () => prng.between(0, 2)) : [],
    brokenClock: prng.chance(0.3),
    ...(trace === undefined ? {} : { trace }),
    faults: {
      drop: sometimes(0.3),
      duplicate: sometimes(0.5),
      messageRoundsMax: feverish ? prng.between(0, 2) : prng.between(0, 4),
      writeRoundsMax: feverish ? prng.between(0, 1) : prng.between(0, 6),
      crash: leases ? sometimes(0.01) : sometimes(prng.pick([0.02, 0.1])),
      downRoundsMax: feverish ? 3 : prng.pick([2, 10, 40]),
      crashLeader: leases ? 0 : feverish ? 0.25 : sometimes(0.2),
      wipe: plain ? 0 : sometimes(0.01),
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
      compact: plain ? 0 : sometimes(prng.pick([0.02, 0.2])),
      snapshotRoundsMax: prng.pick([0, 3, 20]),
      loseSnapshotStatus: sometimes(0.5),
    },
  })
  for (let phase = 0; phase < phases; phase++) {
    const disturb = sometimes(prng.pick([0.1, 0.5]))
    const coups = plain ? 0 : leases ? 0.03 : sometimes(0.03)
    const propose = plain ? prng.pick([0.05, 0.4, 0.4, 0.9]) : prng.pick([0, 0.05, 0.4, 0.4, 0.9])
    for (let round = 0; round < rounds; round++) {
      network.run(1)
      if (prng.chance(disturb)) network.disturb()
      if (prng.chance(coups)) network.coup()
      if (!plain && prng.chance(0.1)) operate(network, prng, restless && prng.chance(0.5))
      ask(network, prng, propose)
    }
  }
  network.expectConvergence(roundsToConverge, () => operate(network, prng, false))
  return network.counts
}

/** What clients want. */
function ask(network: RaftNetwork, prng: Prng, propose: number): void {
  const { leaders } = network
  for (const leader of leaders) {
    if (prng.chance(propose)) network.propose(leader, prng.between(0, 200))
    // With two leaders one is deposed: the moment a stale read would happen.
    if (leaders.length > 1 || (propose > 0 && prng.chance(0.25))) network.read(leader, prng.chance(0.5))
  }
  if (propose === 0 || !prng.chance(0.1)) return
  const { running } = network
  if (running.length === 0) return
  if (prng.chance(0.5)) network.read(prng.pick(running), prng.chance(0.5))
  else network.propose(prng.pick(running), 10)
}

function configOf(prng: Prng, feverish: boolean, plain: boolean): Partial<Omit<RaftConfig, 'id' | 'random'>> {
  const electionTicks = feverish ? 4 : prng.pick([4, 6, 10])
  const checkQuorum = prng.chance(0.7)
  const lease = !plain && checkQuorum && prng.chance(0.6)
  return {
    electionTicks,
    preVote: !feverish && prng.chance(0.7),
    checkQuorum,
    diskStallTicks: prng.pick([0, 8, 15]),
    maxInflightMessages: prng.pick([1, 3, 64]),
    maxInflightBytes: prng.pick([100, 4096]),
    maxAppendBytes: feverish ? 1 : prng.pick([1, 300, 4096]),
    maxUncommittedBytes: prng.pick([200, 1 << 20]),
    // Less than an election timeout, by a tick.
    leaseMs: lease ? (electionTicks - 1) * roundMs : 0,
    forwardReads: prng.chance(0.5),
    forwardProposals: prng.chance(0.3),
    quiesceTicks: !plain && prng.chance(0.2) ? prng.pick([10, 30]) : 0,
    snapshotRetryTicks: prng.pick([10, 40]),
    caughtUpEntries: prng.pick([3, 1000]),
  }
}

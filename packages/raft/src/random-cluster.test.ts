// Everything at once: membership, snapshots, transfers, reads and crashes by seed.
import { describe, expect, it } from 'vitest'
import { RandomCluster, seeded } from './random-cluster.fixture.ts'
import { type RaftConfig } from './types.ts'

const variants: readonly (readonly [string, Partial<RaftConfig>])[] = [
  ['as etcd', { confChangeGuard: false, forwardReads: true }],
  ['guarded, with leases', { leaseMs: 70, forwardReads: true, snapshotRetryTicks: 20, caughtUpEntries: 5 }],
  ['quiet, small windows', { quiesceTicks: 15, maxInflightMessages: 2, maxAppendBytes: 200, snapshotRetryTicks: 20 }],
  ['without pre-vote and check-quorum', { preVote: false, checkQuorum: false, forwardProposals: true }],
]

describe.each(variants)('a cluster %s', (_, config) => {
  it('keeps every promise under random changes and faults, and recovers', () => {
    const totals: Record<string, number> = {}
    const seeds = Number(process.env['RAFT_SEEDS'] ?? 15)
    for (let seed = 1; seed <= seeds; seed++) {
      const cluster = new RandomCluster(seed, config)
      try {
        for (let round = 0; round < 300; round++) cluster.round(0.1)
        cluster.heal()
      } catch (error) {
        throw new Error(`seed ${seed}`, { cause: error })
      }
      for (const [what, count] of Object.entries(cluster.counts)) totals[what] = (totals[what] ?? 0) + count
      totals['committed'] = (totals['committed'] ?? 0) + cluster.committed.size
    }
    if (process.env['RAFT_SEEDS'] !== undefined) console.log(totals)
    for (const fired of ['election', 'crash', 'joint', 'simple', 'install', 'read', 'transferred', 'compact']) {
      expect(totals[fired], fired).toBeGreaterThan(0)
    }
  })
})

it.each(variants)('a cluster %s: a twin made of a dump goes on like the original', (_, config) => {
  const original = new RandomCluster(99, config)
  const twins = new RandomCluster(99, config)
  const random = seeded(7)
  twins.twins = () => random() < 0.3
  for (let round = 0; round < 250; round++) {
    original.round(0.1)
    twins.round(0.1)
  }
  expect(twins.counts).toEqual(original.counts)
  expect(twins.committed).toEqual(original.committed)
  expect(original.committed.size).toBeGreaterThan(20)
  for (const [at, node] of original.nodes.entries()) expect(twins.nodes[at]!.raft?.dump()).toEqual(node.raft?.dump())
})

import { describe, expect, it } from 'vitest'
import { type RaftNetworkCounts } from './raft-network.ts'
import { runRaftSeed } from './raft-seed.ts'

describe('a simulated Raft cluster', () => {
  it('keeps every promise under 200 seeds of random faults, and recovers', () => {
    const total: Record<string, number> = {}
    for (let seed = 1; seed <= 200; seed++) {
      let counts: RaftNetworkCounts
      try {
        counts = runRaftSeed(seed)
      } catch (cause) {
        throw new Error(`seed ${seed}: ${String(cause)}`, { cause })
      }
      for (const [name, count] of Object.entries(counts)) total[name] = (total[name] ?? 0) + Number(count)
    }
    // A run in which a kind of event never happened would prove nothing about it.
    for (const [name, count] of Object.entries(total)) expect(count, name).toBeGreaterThan(100)
  })
})

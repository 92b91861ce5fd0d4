import { describe, expect, it } from 'vitest'
import { type RaftNetworkCounts } from './raft-faults.ts'
import { runRaftSeed } from './raft-seed.ts'

describe('a simulated Raft cluster', () => {
  it('keeps every promise under 200 seeds of faults and changes of membership, and recovers', () => {
    const total: RaftNetworkCounts = {}
    for (let seed = 1; seed <= 200; seed++) {
      for (const [name, count] of Object.entries(runTraced(seed))) total[name] = (total[name] ?? 0) + count
    }
    // A run in which a kind of event never happened would prove nothing about it.
    for (const [name, count] of Object.entries(total)) expect(count, name).toBeGreaterThan(0)
  })

  it('the same seed gives the same run, step by step', () => {
    const trace = (seed: number): string[] => {
      const lines: string[] = []
      runRaftSeed(seed, 'short', (line) => lines.push(line))
      return lines
    }
    const first = trace(3)
    expect(first.length).toBeGreaterThan(100)
    expect(trace(3)).toEqual(first)
    expect(trace(4)).not.toEqual(first)
  })
})

/** Runs a seed; a failed one says what happened last. */
function runTraced(seed: number): RaftNetworkCounts {
  try {
    return runRaftSeed(seed)
  } catch (cause) {
    const lines: string[] = []
    expect(() => runRaftSeed(seed, 'short', (line) => lines.push(line))).toThrow()
    throw new Error(`seed ${seed}: ${String(cause)}, after\n${lines.slice(-40).join('\n')}`, { cause })
  }
}

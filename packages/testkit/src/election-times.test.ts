// Raft (extended paper) §9.3 and fig. 16, in fewer trials than `npm run election-times` makes.
import { describe, expect, it } from 'vitest'
import { type ElectionTimeouts, timeWithoutLeader } from './election-times.ts'

function times(timeouts: ElectionTimeouts, trials = 60): number[] {
  const values = Array.from({ length: trials }, (_, seed) => timeWithoutLeader(seed + 1, timeouts, 100_000))
  return values.sort((a, b) => a - b)
}

const median = (values: readonly number[]): number => values[Math.floor(values.length / 2)]!

describe('Raft fig. 16: time without a leader', () => {
  it('without randomness elections take over twice as long, because of split votes', () => {
    const spread = median(times({ minMs: 150, maxMs: 299 }))
    expect(median(times({ minMs: 150, maxMs: 150 }))).toBeGreaterThan(2 * spread)
    expect(spread).toBeLessThan(400)
  })

  it('a little randomness is enough: every step of it shortens the longest trial', () => {
    const longest = [150, 155, 200].map((maxMs) => times({ minMs: 150, maxMs }).at(-1)!)
    expect(longest).toEqual(longest.toSorted((a, b) => b - a))
    expect(longest[2]! * 1.5).toBeLessThan(longest[0]!)
  })

  it('shorter timeouts shorten it in proportion, down to a few broadcast times', () => {
    const medians = [150, 100, 50].map((minMs) => median(times({ minMs, maxMs: 2 * minMs - 1 })))
    expect(medians).toEqual(medians.toSorted((a, b) => b - a))
    // At 12–23 ms a broadcast of 15 ms does not fit any more, and split votes eat up what was gained.
    expect(median(times({ minMs: 12, maxMs: 23 }))).toBeGreaterThan(0.5 * median(times({ minMs: 25, maxMs: 49 })))
  })

  it('with pre-vote, candidates that cannot win disturb nobody', () => {
    const plain = times({ minMs: 150, maxMs: 299 })
    const additions = times({ minMs: 150, maxMs: 299, additions: true })
    expect(additions.at(-1)!).toBeLessThan(plain.at(-1)!)
  })

  it('a leader is never found before the shortest timeout less the heartbeat interval', () => {
    expect(times({ minMs: 150, maxMs: 299 })[0]).toBeGreaterThan(75)
  })
})

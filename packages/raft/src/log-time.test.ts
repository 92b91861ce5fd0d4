import { describe, expect, it } from 'vitest'
import { lowerMedian, PeerClocks } from './log-time.ts'
import { a, b, c, d, e, initialTimeMs, TestNode } from './raft.fixture.ts'

describe('lowerMedian()', () => {
  it.each([
    [[5], 5],
    [[9, 2], 2],
    [[9, 10, 2], 9],
    [[4, 3, 2, 1], 2],
    [[1, 1, 9, 9, 9], 9],
  ])('of %j is %i', (values, median) => expect(lowerMedian(values)).toBe(median))
})

describe('PeerClocks.stamp()', () => {
  const voters = [a, b, c, d, e]
  const stamp = (own: number, samples: Record<string, number>, lastStamp = 0): number => {
    const clocks = new PeerClocks()
    for (const [peer, clockMs] of Object.entries(samples)) clocks.record(peer, clockMs, 7)
    return clocks.stamp({ id: a, clockMs: own, lastStamp }, voters, 7, 500)
  }

  it('is the own clock while that is near the lower median', () => {
    expect(stamp(10_000, { [b]: 9_600, [c]: 10_300 })).toBe(10_000)
  })

  it('is pulled to the lower median ± the allowed error, no further', () => {
    expect(stamp(99_000, { [b]: 10_000, [c]: 10_200 })).toBe(10_700)
    expect(stamp(1_000, { [b]: 10_000, [c]: 10_200 })).toBe(9_500)
  })

  it('never goes below the last stamp', () => {
    expect(stamp(10_000, { [b]: 10_000, [c]: 10_000 }, 20_000)).toBe(20_000)
  })

  it('repeats the last stamp until a quorum has answered', () => {
    expect(stamp(10_000, { [b]: 10_000 }, 42)).toBe(42)
  })

  it('clocks of strangers do not count', () => {
    expect(stamp(10_000, { [b]: 10_000, ['9'.repeat(32)]: 10_000 }, 42)).toBe(42)
  })

  it('clocks heard before `sinceTick` do not count', () => {
    const clocks = new PeerClocks()
    clocks.record(b, 10_000, 6)
    clocks.record(c, 10_000, 7)
    expect(clocks.stamp({ id: a, clockMs: 10_000, lastStamp: 42 }, voters, 7, 500)).toBe(42)
    clocks.record(b, 10_001, 7)
    expect(clocks.stamp({ id: a, clockMs: 10_000, lastStamp: 42 }, voters, 7, 500)).toBe(10_000)
  })
})

describe('stamps of a leader', () => {
  const answer = (node: TestNode, from: string, clockMs: number) =>
    node.receive({ type: 'heartbeatResp', from, readContext: 0, clockMs })
  const lastTime = (node: TestNode) => node.status.lastTime

  it('begin at the initial time, and a new term repeats the last stamp until a quorum has answered in it', () => {
    const node = new TestNode()
    node.clockMs = 50_000
    node.lead()
    expect(lastTime(node)).toBe(initialTimeMs)
    answer(node, b, 50_100)
    node.propose(1)
    expect(lastTime(node)).toBe(50_000)
    node.clockMs = 60_000
    node.receive({ type: 'heartbeat', from: c, term: 2, leaderCommit: 0, readContext: 0 })
    node.lead()
    node.propose(2)
    expect(lastTime(node)).toBe(50_000)
    answer(node, b, 60_000)
    node.propose(3)
    expect(lastTime(node)).toBe(60_000)
  })

  it('do not go back with its clock', () => {
    const node = new TestNode()
    node.clockMs = 50_000
    node.lead()
    answer(node, b, 50_000)
    node.propose(1)
    node.clockMs = 20_000
    answer(node, b, 20_000)
    node.propose(2)
    expect(lastTime(node)).toBe(50_000)
  })

  it('repeat when the quorum has fallen silent', () => {
    const node = new TestNode({ config: { electionTicks: 10 } })
    node.clockMs = 50_000
    node.lead()
    answer(node, b, 50_000)
    node.tick(11)
    node.clockMs = 90_000
    node.propose(1)
    expect(lastTime(node)).toBe(initialTimeMs)
  })

  it('followers take any time, and answer heartbeats with their own clock', () => {
    const node = new TestNode({ term: 1 })
    const ref = { term: 1, index: 1, kind: 3, time: 7, bytes: 0, digest: new Uint8Array(32) }
    node.receive({ type: 'append', from: b, prevLogIndex: 0, prevLogTerm: 0, entries: [ref], leaderCommit: 0 })
    expect(lastTime(node)).toBe(7)
    node.clockMs = 123_456
    node.receive({ type: 'heartbeat', from: b, leaderCommit: 0, readContext: 9 })
    expect(node.sent('heartbeatResp')).toMatchObject([{ to: b, readContext: 9, clockMs: 123_456 }])
  })
})

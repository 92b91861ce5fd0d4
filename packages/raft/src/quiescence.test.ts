// Idle groups fall silent, and wake up for anything.
import { describe, expect, it } from 'vitest'
import { a, b, c, TestNode } from './raft.fixture.ts'

const config = { quiesceTicks: 5, checkQuorum: true, preVote: true }

/** A leader asleep: everybody has everything. */
function sleeper(): TestNode {
  const node = new TestNode({ config: { ...config, preVote: false } })
  node.lead()
  node.replicate(b, c)
  for (let at = 0; at < 5; at++) {
    node.tick()
    node.beat(b)
    node.beat(c)
  }
  return node
}

describe('an idle leader', () => {
  it('says so once and sends nothing any more', () => {
    const node = sleeper()
    expect(node.sent('quiesce')).toMatchObject([
      { to: b, index: 1 },
      { to: c, index: 1 },
    ])
    expect(node.status.quiesced).toBe(true)
    node.take()
    node.tick(100)
    expect(node.take()).toEqual([])
    expect(node.status.role).toBe('leader')
  })

  it('does not while somebody lags, or a read waits, or it is switched off', () => {
    const lags = new TestNode({ config: { quiesceTicks: 5 } })
    lags.lead()
    lags.replicate(b)
    lags.tick(50)
    expect(lags.sent('quiesce')).toEqual([])
    const off = new TestNode()
    off.lead()
    off.replicate(b, c)
    off.tick(50)
    expect(off.sent('quiesce')).toEqual([])
  })

  it('wakes for a proposal, and everybody with it', () => {
    const node = sleeper()
    node.take()
    node.propose(1)
    expect(node.sent('heartbeat').map(({ to }) => to)).toEqual([b, c])
    expect(node.sent('append').map(({ to }) => to)).toEqual([b, c])
    expect(node.status.quiesced).toBe(false)
    // Silence was agreed on: it deposes nobody.
    node.tick(10)
    expect(node.status.role).toBe('leader')
  })

  it('late answers to its last heartbeats do not wake it; a follower that was woken does', () => {
    const node = sleeper()
    node.take()
    node.beat(b)
    expect(node.take()).toEqual([])
    node.receive({ type: 'quiesce', from: b, index: 1, wake: true })
    expect(node.sent('heartbeat')).toHaveLength(2)
  })
})

describe('a follower', () => {
  function follower(): TestNode {
    const node = new TestNode({ config, log: [1], commit: 1 })
    node.receive({ type: 'heartbeat', from: b, leaderCommit: 1, readContext: 0 })
    node.take()
    return node
  }

  it('that agrees with its leader sleeps: no campaign however long', () => {
    const node = follower()
    node.receive({ type: 'quiesce', from: b, index: 1 })
    node.tick(1000)
    expect(node.status).toMatchObject({ quiesced: true, role: 'follower', leaderId: b })
  })

  it('that is elsewhere stays awake', () => {
    const node = follower()
    node.receive({ type: 'quiesce', from: b, index: 2 })
    expect(node.status.quiesced).toBe(false)
    const longer = new TestNode({ config, log: [1, 1], commit: 1 })
    longer.receive({ type: 'quiesce', from: b, index: 1 })
    expect(longer.status.quiesced).toBe(false)
    node.tick(20)
    expect(node.status.role).toBe('preCandidate')
  })

  it('wakes for what its host says, and wakes its leader', () => {
    const node = follower()
    node.receive({ type: 'quiesce', from: b, index: 1 })
    node.step({ type: 'unreachable', peer: b })
    expect(node.sent('quiesce')).toMatchObject([{ to: b, wake: true }])
    node.tick(20)
    expect(node.status.role).toBe('preCandidate')
  })

  it('wakes for a heartbeat', () => {
    const node = follower()
    node.receive({ type: 'quiesce', from: b, index: 1 })
    node.receive({ type: 'heartbeat', from: b, leaderCommit: 1, readContext: 0 })
    expect(node.status.quiesced).toBe(false)
  })

  it('asleep or not, a quiesce of an earlier term is nothing', () => {
    const node = new TestNode({ config, log: [2], commit: 1 })
    node.receive({ type: 'quiesce', from: b, term: 1, index: 1 })
    expect(node.status).toMatchObject({ quiesced: false, leaderId: undefined })
    expect(node.status.id).toBe(a)
  })
})

// Handing leadership over (Raft §3.10), stepping down, forgetting a leader.
import { describe, expect, it } from 'vitest'
import { confStateOf } from './membership.ts'
import { a, b, c, d, TestNode } from './raft.fixture.ts'

function leader(config = {}): TestNode {
  const node = new TestNode({ config: { checkQuorum: true, preVote: true, ...config } })
  node.step({ type: 'campaign' })
  node.receive({ type: 'preVoteResp', from: b, granted: true, term: 1 })
  node.persist()
  node.receive({ type: 'voteResp', from: b, granted: true })
  node.replicate(b, c)
  node.take()
  return node
}

const transfer = (to: string) => ({ type: 'transferLeadership', to }) as const

describe('a transfer', () => {
  it('to a replica that has everything begins at once', () => {
    const node = leader()
    node.step(transfer(b))
    expect(node.sent('timeoutNow')).toMatchObject([{ to: b, term: 1 }])
    expect(node.status.leadTransferee).toBe(b)
  })

  it('to one that lags waits until it has caught up, with proposals refused', () => {
    const node = leader()
    node.propose(1)
    node.step(transfer(b))
    expect(node.sent('timeoutNow')).toEqual([])
    expect(node.propose(2)).toMatchObject([{ type: 'dropped', reason: 'transferring' }])
    node.accept(b, 2)
    expect(node.sent('timeoutNow')).toMatchObject([{ to: b }])
  })

  it('ends when the target leads', () => {
    const node = leader()
    node.step(transfer(b))
    node.receive({ type: 'vote', from: b, term: 2, lastLogIndex: 1, lastLogTerm: 1, transfer: true })
    node.persist()
    expect(node.sent('voteResp')).toMatchObject([{ to: b, granted: true }])
    node.receive({ type: 'heartbeat', from: b, term: 2, leaderCommit: 0, readContext: 0 })
    expect(node.all('transferred')).toEqual([{ type: 'transferred', to: b }])
  })

  it('fails when somebody else leads', () => {
    const node = leader()
    node.step(transfer(b))
    node.receive({ type: 'heartbeat', from: c, term: 2, leaderCommit: 0, readContext: 0 })
    expect(node.all('transferFailed')).toEqual([{ type: 'transferFailed', to: b, reason: 'lost-leadership' }])
  })

  it('is given up after an election timeout; then proposals are taken again', () => {
    const node = leader()
    node.tick(9)
    node.beat(b)
    node.step(transfer(c))
    node.tick(9)
    expect(node.status.leadTransferee).toBe(c)
    node.tick()
    expect(node.all('transferFailed')).toEqual([{ type: 'transferFailed', to: c, reason: 'timeout' }])
    expect(node.propose(1)).not.toMatchObject([{ type: 'dropped' }])
  })

  it('to another replaces it, to the same changes nothing', () => {
    const node = leader()
    node.step(transfer(b))
    node.take()
    expect(node.step(transfer(b))).toEqual([])
    node.step(transfer(c))
    expect(node.all('transferFailed')).toEqual([{ type: 'transferFailed', to: b, reason: 'superseded' }])
    expect(node.sent('timeoutNow')).toMatchObject([{ to: c }])
  })

  it('to a learner, a stranger, oneself, or by a follower is refused', () => {
    const node = new TestNode({ confState: { ...confStateOf([a, b]), learners: [c] } })
    expect(node.step(transfer(b))).toEqual([{ type: 'transferFailed', to: b, reason: 'not-leader' }])
    node.lead()
    for (const to of [a, c, d]) {
      expect(node.step(transfer(to))).toEqual([{ type: 'transferFailed', to, reason: 'not-a-voter' }])
    }
  })

  it('ends when its target is removed', () => {
    const node = leader({ confChangeGuard: false })
    node.proposeConf(1, { transition: 'auto', changes: [{ type: 'remove', peer: c }] })
    node.step(transfer(c))
    node.persist()
    node.accept(b, 2)
    expect(node.all('transferFailed')).toEqual([{ type: 'transferFailed', to: c, reason: 'not-a-voter' }])
  })
})

describe('the target', () => {
  it('campaigns at once, without a pre-vote, and says why', () => {
    const node = new TestNode({ config: { preVote: true, checkQuorum: true }, log: [1] })
    node.receive({ type: 'heartbeat', from: b, leaderCommit: 0, readContext: 0 })
    node.receive({ type: 'timeoutNow', from: b })
    expect(node.sent('vote')).toMatchObject([
      { to: b, term: 2, transfer: true },
      { to: c, term: 2, transfer: true },
    ])
  })

  it('of an earlier term does not', () => {
    const node = new TestNode({ term: 3 })
    node.receive({ type: 'timeoutNow', from: b, term: 2 })
    expect(node.status.role).toBe('follower')
  })

  it('is voted for though the leader is alive; others are not (Raft §4.2.3)', () => {
    const node = new TestNode({ config: { checkQuorum: true }, log: [1] })
    node.receive({ type: 'heartbeat', from: b, leaderCommit: 0, readContext: 0 })
    const request = { type: 'vote', from: c, term: 2, lastLogIndex: 1, lastLogTerm: 1 } as const
    expect(node.receive(request)).toEqual([])
    node.receive({ ...request, transfer: true })
    node.persist()
    expect(node.sent('voteResp')).toMatchObject([{ to: c, granted: true, term: 2 }])
  })
})

describe('stepping down and forgetting', () => {
  it('a leader told to step down follows, in its term', () => {
    const node = leader()
    node.step({ type: 'stepDown' })
    expect(node.status).toMatchObject({ role: 'follower', term: 1, leaderId: undefined, votedFor: a })
    expect(node.step({ type: 'stepDown' })).toEqual([])
  })

  it('who forgets its leader votes at once; a leader forgets nothing', () => {
    const node = new TestNode({ config: { checkQuorum: true }, log: [1] })
    node.receive({ type: 'heartbeat', from: b, leaderCommit: 0, readContext: 0 })
    node.step({ type: 'forgetLeader' })
    node.receive({ type: 'vote', from: c, term: 2, lastLogIndex: 1, lastLogTerm: 1 })
    node.persist()
    expect(node.sent('voteResp')).toMatchObject([{ granted: true }])
    const leads = leader()
    leads.step({ type: 'forgetLeader' })
    expect(leads.status.leaderId).toBe(a)
  })

  it('where the leader reads by lease nobody forgets it (etcd)', () => {
    const node = new TestNode({ config: { checkQuorum: true, leaseMs: 50 }, log: [1] })
    node.receive({ type: 'heartbeat', from: b, leaderCommit: 0, readContext: 0 })
    node.step({ type: 'forgetLeader' })
    expect(node.status.leaderId).toBe(b)
  })
})

describe('priority in elections (raft-rs)', () => {
  const config = { priority: 5 }
  const request = { type: 'vote', from: b, term: 2, lastLogIndex: 1, lastLogTerm: 1 } as const

  it.each([
    ['refuses one of lower priority whose log is not longer', { priority: 4 }, false],
    ['refuses one without priority', {}, false],
    ['votes for one of equal priority', { priority: 5 }, true],
    ['votes for one of lower priority whose log is longer', { lastLogIndex: 2 }, true],
    ['votes for whom the leader wants', { transfer: true }, true],
  ])('%s', (_, fields, granted) => {
    const node = new TestNode({ config, log: [1] })
    node.receive({ ...request, ...fields })
    node.persist()
    expect(node.sent('voteResp')).toMatchObject([{ granted }])
  })

  it('goes along with vote requests', () => {
    const node = new TestNode({ config: { priority: 7, preVote: true } })
    node.step({ type: 'campaign' })
    expect(node.sent('preVote')).toMatchObject([{ priority: 7 }, { priority: 7 }])
  })
})

it('no term reaches 2^32: the last one ends without a campaign', () => {
  const node = new TestNode({ term: 2 ** 32 - 2 })
  node.step({ type: 'campaign' })
  expect(node.status.term).toBe(2 ** 32 - 1)
  node.tick(100)
  node.step({ type: 'campaign' })
  expect(node.status.term).toBe(2 ** 32 - 1)
  expect(() => node.receive({ type: 'timeoutNow', from: b, term: 2 ** 32 })).toThrow(
    expect.objectContaining({ code: 'ERR_RAFT_MESSAGE' }),
  )
})

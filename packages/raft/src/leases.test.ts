// Reads by lease, and through the leader (Raft §6.4).
import { describe, expect, it } from 'vitest'
import { confStateOf } from './membership.ts'
import { a, b, c, d, defaults, TestNode } from './raft.fixture.ts'
import { Raft } from './raft.ts'

const config = { checkQuorum: true, leaseMs: 80, electionTicks: 10, heartbeatTicks: 1, random: () => 0.9 }

function tick(node: TestNode, monotonicMs: number): void {
  node.step({ type: 'tick', clockMs: node.clockMs, monotonicMs })
}

/** A leader that ticked at 100 ms; returns what the heartbeats of that tick carry. */
function leader(overrides = {}): { node: TestNode; sent: number } {
  const node = new TestNode({ config: { ...config, ...overrides } })
  // Who has just started waits: see below.
  for (let at = 0; at < 10; at++) tick(node, 50)
  node.lead()
  node.replicate(b, c)
  node.take()
  tick(node, 100)
  return { node, sent: node.sent('heartbeat')[0]!.readContext }
}

const lease = (context: number, monotonicMs: number) =>
  ({ type: 'readIndex', context, lease: true, monotonicMs }) as const

describe('a lease read', () => {
  it('is answered alone while a quorum has answered a heartbeat that left within leaseMs', () => {
    const { node, sent } = leader()
    node.beat(b, sent)
    expect(node.step(lease(1, 179))).toEqual([{ type: 'readReady', context: 1, index: 1 }])
  })

  it('after that, by a round of heartbeats', () => {
    const { node, sent } = leader()
    node.beat(b, sent)
    node.take()
    node.step(lease(1, 180))
    expect(node.all('readReady')).toEqual([])
    const round = node.sent('heartbeat')[0]!.readContext
    node.beat(b, round)
    expect(node.all('readReady')).toEqual([{ type: 'readReady', context: 1, index: 1 }])
  })

  it('the lease runs from when the heartbeat left, not from its answer: a pause ends it (etcd#20418)', () => {
    const { node, sent } = leader()
    // The process stood still for an hour; the answer was waiting for it.
    node.beat(b, sent)
    node.step(lease(1, 3_600_000))
    expect(node.all('readReady')).toEqual([])
  })

  it('an answer to an older heartbeat does not prolong it', () => {
    const { node, sent } = leader()
    tick(node, 150)
    node.beat(b, sent)
    node.step(lease(1, 190))
    expect(node.all('readReady')).toEqual([])
  })

  it('needs a quorum of voters: learners promise nothing', () => {
    const node = new TestNode({ config, confState: { ...confStateOf([a, b, c]), learners: [d] } })
    for (let at = 0; at < 10; at++) tick(node, 50)
    node.lead()
    node.replicate(b, c)
    node.take()
    tick(node, 100)
    node.beat(d, node.sent('heartbeat')[0]!.readContext)
    node.step(lease(1, 110))
    expect(node.all('readReady')).toEqual([])
  })

  it('is not given after anyone was told to campaign, in that term', () => {
    const { node, sent } = leader()
    node.beat(b, sent)
    node.step({ type: 'transferLeadership', to: c })
    node.step(lease(1, 110))
    expect(node.all('readReady')).toEqual([])
    node.beat(b)
    node.beat(c)
    for (let at = 0; at < 10; at++) tick(node, 120)
    expect(node.status).toMatchObject({ role: 'leader', leadTransferee: undefined })
    const round = node.sent('heartbeat').at(-1)!.readContext
    node.beat(b, round)
    const before = node.all('readReady').length
    node.step(lease(2, 121))
    expect(node.all('readReady')).toHaveLength(before)
  })

  it('without leaseMs, without the time, or before the first commit of the term is no lease read', () => {
    const { node: off, sent } = leader({ leaseMs: 0 })
    off.beat(b, sent)
    off.step(lease(1, 110))
    expect(off.all('readReady')).toEqual([])
    const { node, sent: other } = leader()
    node.beat(b, other)
    node.step({ type: 'readIndex', context: 1, lease: true })
    expect(node.all('readReady')).toEqual([])
  })

  it('needs checkQuorum', () => {
    const persisted = { hardState: { term: 0, votedFor: undefined, commit: 0 }, refs: [], confState: confStateOf([a]) }
    expect(() => new Raft({ ...defaults, leaseMs: 10 }, persisted)).toThrow(RangeError)
  })

  it('a clock that goes back is refused', () => {
    const { node } = leader()
    expect(() => tick(node, 99)).toThrow(RangeError)
  })
})

describe('what a lease rests on', () => {
  const request = { type: 'vote', from: c, term: 2, lastLogIndex: 9, lastLogTerm: 1 } as const

  it('a replica that just started refuses votes for an election timeout: it may have promised to', () => {
    const node = new TestNode({ config, term: 1 })
    expect(node.receive(request)).toEqual([])
    const later = new TestNode({ config, term: 1 })
    later.tick(10)
    later.receive(request)
    later.persist()
    expect(later.sent('voteResp')).toMatchObject([{ granted: true }])
  })

  it('a follower that hears its leader does not campaign when told to', () => {
    const node = new TestNode({ config, term: 1 })
    node.tick(10)
    node.receive({ type: 'heartbeat', from: b, leaderCommit: 0, readContext: 0 })
    node.step({ type: 'campaign' })
    expect(node.status.role).toBe('follower')
    node.tick(20)
    expect(node.status.role).toBe('candidate')
  })
})

describe('a read at a follower', () => {
  const forwarding = { forwardReads: true }

  function follower(overrides = {}): TestNode {
    const node = new TestNode({ config: { ...forwarding, ...overrides }, log: [1] })
    node.receive({ type: 'heartbeat', from: b, leaderCommit: 0, readContext: 0 })
    node.take()
    return node
  }

  it('is answered by its leader, a learner’s too', () => {
    for (const confState of [confStateOf([a, b, c]), { ...confStateOf([b, c]), learners: [a] }]) {
      const node = new TestNode({ config: forwarding, confState, log: [1] })
      node.receive({ type: 'heartbeat', from: b, leaderCommit: 0, readContext: 0 })
      node.step({ type: 'readIndex', context: 77 })
      const [asked] = node.sent('readIndex')
      expect(asked).toMatchObject({ to: b })
      node.receive({ type: 'readIndexResp', from: b, context: asked!.context, index: 5 })
      expect(node.all('readReady')).toEqual([{ type: 'readReady', context: 77, index: 5 }])
    }
  })

  it('the leader answers after a round that began when the question came', () => {
    const node = new TestNode()
    node.lead()
    node.replicate(b)
    node.take()
    node.receive({ type: 'readIndex', from: c, context: 9, term: 1 })
    expect(node.sent('readIndexResp')).toEqual([])
    node.beat(b, node.sent('heartbeat')[0]!.readContext)
    expect(node.sent('readIndexResp')).toMatchObject([{ to: c, context: 9, index: 1 }])
  })

  it('a question of another term changes no term', () => {
    const node = new TestNode()
    node.lead()
    node.receive({ type: 'readIndex', from: c, context: 9, term: 8 })
    expect(node.status).toMatchObject({ role: 'leader', term: 1 })
  })

  it('asked again, only the newest question is answered (etcd-io/raft#397)', () => {
    const node = follower()
    node.step({ type: 'readIndex', context: 1 })
    node.step({ type: 'readIndex', context: 1 })
    const [first, second] = node.sent('readIndex')
    expect(second!.context).not.toBe(first!.context)
    node.receive({ type: 'readIndexResp', from: b, context: first!.context, index: 1 })
    expect(node.all('readReady')).toEqual([])
    node.receive({ type: 'readIndexResp', from: b, context: second!.context, index: 2 })
    node.receive({ type: 'readIndexResp', from: b, context: second!.context, index: 2 })
    expect(node.all('readReady')).toEqual([{ type: 'readReady', context: 1, index: 2 }])
  })

  it('an answer to a question from before a restart serves no read after it', () => {
    const before = follower({ random: () => 0.25 })
    before.step({ type: 'readIndex', context: 1 })
    const after = follower({ random: () => 0.5 })
    after.step({ type: 'readIndex', context: 1 })
    after.receive({ type: 'readIndexResp', from: b, context: before.sent('readIndex')[0]!.context, index: 1 })
    expect(after.all('readReady')).toEqual([])
  })

  it('fails when the leader changes, or is unknown, or where forwarding is off', () => {
    const node = follower()
    node.step({ type: 'readIndex', context: 1 })
    node.receive({ type: 'heartbeat', from: c, term: 2, leaderCommit: 0, readContext: 0 })
    expect(node.all('readFailed')).toEqual([{ type: 'readFailed', context: 1, leaderId: c }])
    expect(new TestNode({ config: forwarding }).step({ type: 'readIndex', context: 2 })).toEqual([
      { type: 'readFailed', context: 2 },
    ])
    expect(follower({ forwardReads: false }).step({ type: 'readIndex', context: 3 })).toEqual([
      { type: 'readFailed', context: 3, leaderId: b },
    ])
  })

  it('a candidate answers for what it asked as follower: it failed', () => {
    const node = follower()
    node.step({ type: 'readIndex', context: 1 })
    node.step({ type: 'campaign' })
    expect(node.all('readFailed')).toEqual([{ type: 'readFailed', context: 1 }])
  })
})

describe('a proposal at a follower, forwarded', () => {
  it('goes to the leader as it is; the follower hears no more of it', () => {
    const node = new TestNode({ config: { forwardProposals: true }, term: 1 })
    node.receive({ type: 'heartbeat', from: b, leaderCommit: 0, readContext: 0 })
    expect(node.propose(5)).toMatchObject([
      { type: 'forwarded', proposalId: 5, leaderId: b },
      { type: 'send', to: b, message: { type: 'propose', entries: [{ kind: 3, bytes: 10 }] } },
    ])
  })

  it('is taken by the leader like its own, all of a message or nothing', () => {
    const node = new TestNode({ config: { maxUncommittedBytes: 100 } })
    node.lead()
    node.replicate(b)
    const entry = { kind: 3, bytes: 60, digest: new Uint8Array(32) }
    node.receive({ type: 'propose', from: b, term: 9, entries: [entry] })
    expect(node.status).toMatchObject({ term: 1, lastIndex: 2 })
    node.receive({ type: 'propose', from: b, entries: [{ ...entry, bytes: 10 }, entry] })
    expect(node.status.lastIndex).toBe(2)
  })

  it('of membership without its change, or with nothing in it, is malformed', () => {
    const node = new TestNode()
    node.lead()
    const entry = { kind: 34, bytes: 60, digest: new Uint8Array(32) }
    for (const entries of [[entry], []]) {
      expect(() => node.receive({ type: 'propose', from: b, entries })).toThrow(
        expect.objectContaining({ code: 'ERR_RAFT_MESSAGE' }),
      )
    }
  })
})

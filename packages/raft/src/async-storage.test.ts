// What a message vouches for is durable before it leaves; what the disk says about the past counts for nothing.
import { describe, expect, it } from 'vitest'
import { confStateOf } from './membership.ts'
import { a, b, c, defaults, refsOf, TestNode } from './raft.fixture.ts'
import { Raft } from './raft.ts'

const solo = { voters: [a] }

describe('a message waits for the disk', () => {
  it('a granted vote leaves once term and vote are durable', () => {
    const node = new TestNode({ term: 1 })
    const [write] = node.receive({ type: 'vote', from: b, term: 2, lastLogIndex: 0, lastLogTerm: 0 })
    expect(write).toMatchObject({ type: 'append', hardState: { term: 2, votedFor: b } })
    expect(node.sent('voteResp')).toEqual([])
    node.persist()
    expect(node.sent('voteResp')).toMatchObject([{ to: b, granted: true, term: 2 }])
  })

  it('heldBy() shows what waits for a write, until it leaves', () => {
    const node = new TestNode({ term: 1 })
    const [write] = node.receive({ type: 'vote', from: b, term: 2, lastLogIndex: 0, lastLogTerm: 0 })
    const { ioId } = write as { ioId: number }
    const [held] = node.raft.heldBy(ioId)
    expect(held).toMatchObject({ type: 'voteResp', to: b, granted: true })
    expect(node.raft.heldBy(ioId + 1)).toEqual([])
    node.persist()
    expect(node.sent('voteResp')[0]).toBe(held)
    expect(node.raft.heldBy(ioId)).toEqual([])
  })

  it('a candidate does not lead before its own vote is durable, even with the votes of all others', () => {
    const node = new TestNode()
    node.step({ type: 'campaign' })
    for (const from of [b, c]) node.receive({ type: 'voteResp', from, granted: true })
    expect(node.status.role).toBe('candidate')
    node.persist()
    expect(node.status.role).toBe('leader')
  })

  it('a candidate does not count its own vote before that vote is durable, and asks meanwhile', () => {
    const node = new TestNode({ config: solo })
    const other = new TestNode()
    node.step({ type: 'campaign' })
    other.step({ type: 'campaign' })
    expect(other.sent('vote')).toHaveLength(2)
    other.receive({ type: 'voteResp', from: b, granted: true })
    expect([node.status.role, other.status.role]).toEqual(['candidate', 'candidate'])
    node.persist()
    other.persist()
    expect([node.status.role, other.status.role]).toEqual(['leader', 'leader'])
  })

  it('a candidate asks for votes only once the log that it vouches for is durable', () => {
    // Else: it asks, loses the entry in a crash, campaigns in the same term again, and the old grant elects it.
    const node = new TestNode({ log: [1] })
    node.receive({
      ...{ type: 'append', from: b, prevLogIndex: 1, prevLogTerm: 1, leaderCommit: 0 },
      entries: refsOf([1], 2),
    })
    node.step({ type: 'campaign' })
    expect(node.sent('vote')).toEqual([])
    node.persist()
    expect(node.sent('vote')).toMatchObject([
      { to: b, term: 2, lastLogIndex: 2 },
      { to: c, term: 2, lastLogIndex: 2 },
    ])
  })

  it('an accepted append is acknowledged once its entries are durable', () => {
    const node = new TestNode({ term: 1 })
    node.receive({ type: 'append', from: b, prevLogIndex: 0, prevLogTerm: 0, entries: refsOf([1]), leaderCommit: 0 })
    node.receive({ type: 'append', from: b, prevLogIndex: 1, prevLogTerm: 1, entries: refsOf([1], 2), leaderCommit: 0 })
    // Nothing new, but what it confirms is still on its way to the disk.
    node.receive({ type: 'append', from: b, prevLogIndex: 0, prevLogTerm: 0, entries: refsOf([1, 1]), leaderCommit: 0 })
    expect(node.sent('appendResp')).toEqual([])
    node.step({ type: 'appended', ioId: 1 })
    expect(node.sent('appendResp').map(({ index }) => index)).toEqual([1])
    node.step({ type: 'appended', ioId: 2 })
    expect(node.sent('appendResp').map(({ index }) => index)).toEqual([1, 2, 2])
  })

  it('a refusal vouches for nothing and leaves at once', () => {
    const node = new TestNode({ term: 1 })
    node.receive({ type: 'append', from: b, prevLogIndex: 5, prevLogTerm: 1, entries: [], leaderCommit: 0 })
    expect(node.sent('appendResp')).toMatchObject([{ accepted: false }])
  })

  it('a promise of an earlier term is not released any more', () => {
    const node = new TestNode({ term: 1 })
    node.receive({ type: 'append', from: b, prevLogIndex: 0, prevLogTerm: 0, entries: refsOf([1]), leaderCommit: 0 })
    node.receive({ type: 'heartbeat', from: c, term: 2, leaderCommit: 0, readContext: 0 })
    node.persist()
    expect(node.sent('appendResp')).toEqual([])
  })

  it('one acknowledgement covers all writes before it; old ones are ignored, unknown ones stop the node', () => {
    const node = new TestNode({ config: solo })
    node.lead()
    node.propose(1)
    node.propose(2)
    const last = node.all('append').at(-1)!.ioId
    node.step({ type: 'appended', ioId: last })
    expect(node.status).toMatchObject({ commit: 3, durableIndex: 3 })
    expect(node.step({ type: 'appended', ioId: last })).toEqual([])
    expect(node.step({ type: 'appended', ioId: 1 })).toEqual([])
    expect(() => node.step({ type: 'appended', ioId: last + 1 })).toThrow('never issued')
  })
})

describe('a leader and its own disk', () => {
  it('a single voter elects itself at the first tick and commits only what is durable (etcd#14370)', () => {
    const node = new TestNode({ config: { ...solo, preVote: true, checkQuorum: true } })
    node.tick()
    node.persist()
    expect(node.status).toMatchObject({ role: 'leader', commit: 0, lastIndex: 1 })
    node.persist()
    expect(node.status.commit).toBe(1)
    node.propose(1)
    expect(node.status.commit).toBe(1)
    node.persist()
    expect(node.all('committed').at(-1)).toEqual({ type: 'committed', index: 2 })
  })

  it('appends leave for the followers before the own disk is done (Raft §10.2.1)', () => {
    const node = new TestNode()
    node.lead()
    node.accept(b, 1)
    node.take()
    node.propose(1)
    expect(node.sent('append')).toMatchObject([{ to: b, entries: [{ index: 2 }] }])
    expect(node.status.durableIndex).toBe(1)
  })

  it('its own copy counts towards the quorum only when durable', () => {
    const node = new TestNode()
    node.lead()
    node.propose(1)
    node.accept(b, 2)
    expect(node.status.commit).toBe(1)
    node.persist()
    expect(node.status.commit).toBe(2)
  })

  it('a quorum of others commits without it, but nothing is applied before its own disk has it', () => {
    const node = new TestNode()
    node.lead()
    node.propose(1)
    node.accept(b, 2)
    node.accept(c, 2)
    expect(node.status).toMatchObject({ commit: 2, durableIndex: 1 })
    expect(node.all('committed').at(-1)).toEqual({ type: 'committed', index: 1 })
    node.persist()
    expect(node.all('committed').at(-1)).toEqual({ type: 'committed', index: 2 })
  })

  it('a leader whose disk hangs steps down, does not campaign, and comes back with its disk (HR#503)', () => {
    const node = new TestNode({ config: { diskStallTicks: 5 } })
    node.lead()
    node.tick(20)
    expect(node.status.role).toBe('leader')
    node.propose(1)
    node.tick(4)
    expect(node.status.role).toBe('leader')
    node.tick()
    expect(node.status).toMatchObject({ role: 'follower', leaderId: undefined, term: 1 })
    node.take()
    node.tick(30)
    node.step({ type: 'campaign' })
    expect(node.status).toMatchObject({ role: 'follower', term: 1 })
    expect(node.take()).toEqual([])
    node.persist()
    node.tick(30)
    expect(node.status.role).toBe('candidate')
  })

  it('with diskStallTicks 0 it goes on leading', () => {
    const node = new TestNode({ config: { diskStallTicks: 0 } })
    node.lead()
    node.propose(1)
    node.tick(1000)
    expect(node.status.role).toBe('leader')
  })
})

describe('ABA: overwritten entries', () => {
  it('an acknowledgement of what was overwritten says nothing about what stands there now', () => {
    const node = new TestNode({ term: 1 })
    node.receive({ type: 'append', from: b, prevLogIndex: 0, prevLogTerm: 0, entries: refsOf([1, 1]), leaderCommit: 0 })
    node.receive({
      type: 'append',
      from: c,
      term: 2,
      prevLogIndex: 1,
      prevLogTerm: 1,
      entries: refsOf([2], 2),
      leaderCommit: 2,
    })
    expect(node.all('append')).toMatchObject([{ ioId: 1 }, { ioId: 2, truncateFrom: 2 }])
    node.step({ type: 'appended', ioId: 1 })
    // Index 2 is on disk, but with the entry of term 1.
    expect(node.status).toMatchObject({ durableIndex: 1, commit: 2 })
    expect(node.all('committed')).toEqual([{ type: 'committed', index: 1 }])
    expect(node.sent('appendResp')).toEqual([])
    node.step({ type: 'appended', ioId: 2 })
    expect(node.status.durableIndex).toBe(2)
    expect(node.all('committed').at(-1)).toEqual({ type: 'committed', index: 2 })
    expect(node.sent('appendResp')).toMatchObject([{ to: c, index: 2, term: 2 }])
  })

  it('durable entries that are overwritten are durable no longer', () => {
    const node = new TestNode({ term: 1, log: [1, 1, 1] })
    expect(node.status.durableIndex).toBe(3)
    node.receive({
      type: 'append',
      from: c,
      term: 2,
      prevLogIndex: 1,
      prevLogTerm: 1,
      entries: refsOf([2, 2], 2),
      leaderCommit: 0,
    })
    expect(node.status).toMatchObject({ durableIndex: 1, lastIndex: 3 })
  })
})

describe('hard state and restart', () => {
  it('goes along with a write, its commit index never ahead of the disk', () => {
    const node = new TestNode({ term: 1 })
    node.receive({ type: 'append', from: b, prevLogIndex: 0, prevLogTerm: 0, entries: refsOf([1]), leaderCommit: 1 })
    expect(node.all('append').at(-1)!.hardState).toBeUndefined()
    node.persist()
    node.receive({ type: 'append', from: b, prevLogIndex: 1, prevLogTerm: 1, entries: refsOf([1], 2), leaderCommit: 2 })
    expect(node.all('append').at(-1)!.hardState).toEqual({ term: 1, votedFor: undefined, commit: 1 })
  })

  it('a restarted node has its term, vote and log, and announces what is known to be committed', () => {
    const node = new TestNode({ term: 4, votedFor: b, commit: 2, log: [1, 2, 4] })
    expect(node.status).toMatchObject({
      role: 'follower',
      term: 4,
      votedFor: b,
      commit: 2,
      lastIndex: 3,
      durableIndex: 3,
    })
    node.tick()
    expect(node.take()).toEqual([{ type: 'committed', index: 2 }])
    node.step({ type: 'applied', index: 2 })
    expect(node.status.applied).toBe(2)
  })

  it('what the machine holds durably counts as committed and is not announced again', () => {
    const node = new TestNode({ term: 4, commit: 1, applied: 3, log: [1, 2, 4] })
    expect(node.status).toMatchObject({ commit: 3, applied: 3 })
    node.tick()
    expect(node.take()).toEqual([])
  })

  it('applying ahead of the commit index stops the node', () => {
    const node = new TestNode({ term: 1, commit: 1, log: [1, 1] })
    node.tick()
    expect(() => node.step({ type: 'applied', index: 2 })).toThrow('before it was committed')
  })

  it('an append that contradicts a committed entry truncates nothing', () => {
    const node = new TestNode({ term: 1, commit: 1, log: [1, 1] })
    node.receive({
      type: 'append',
      from: b,
      term: 2,
      prevLogIndex: 0,
      prevLogTerm: 0,
      entries: refsOf([2]),
      leaderCommit: 0,
    })
    expect(node.terms).toEqual([1, 1])
  })

  it.each([
    ['a gap', { refs: refsOf([1], 2) }],
    ['a falling term', { refs: [...refsOf([2]), ...refsOf([1], 2)] }],
    ['a digest of 31 bytes', { refs: [{ ...refsOf([1])[0]!, digest: new Uint8Array(31) }] }],
    ['entries of a later term', { hardState: { term: 0, votedFor: undefined, commit: 0 } }],
    ['a commit index beyond the log', { hardState: { term: 1, votedFor: undefined, commit: 2 } }],
    ['an applied index beyond the log', { applied: 2 }],
    ['a negative term', { hardState: { term: -1, votedFor: undefined, commit: 0 } }],
    ['a term of 33 bits', { hardState: { term: 2 ** 32, votedFor: undefined, commit: 1 } }],
    ['a voter listed twice', { confState: confStateOf([a, a]) }],
    ['a vote in term 0', { refs: [], hardState: { term: 0, votedFor: b, commit: 0 } }],
  ])('refuses a disk with %s', (_, broken) => {
    const confState = confStateOf([a, b, c])
    const good = { confState, refs: refsOf([1]), hardState: { term: 1, votedFor: undefined, commit: 1 } }
    expect(() => new Raft(defaults, good)).not.toThrow()
    expect(() => new Raft(defaults, { ...good, ...broken })).toThrow(
      expect.objectContaining({ code: 'ERR_RAFT_STATE' }),
    )
  })
})

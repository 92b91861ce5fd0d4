// Pre-vote, check-quorum and votes refused while a leader is alive: etcd's additions, each with its switch.
import { describe, expect, it } from 'vitest'
import { confStateOf } from './membership.ts'
import { a, b, c, d, defaults, e, TestNode } from './raft.fixture.ts'
import { Raft } from './raft.ts'

describe('pre-vote (Raft §9.6)', () => {
  const config = { preVote: true }

  it('asks before it raises the term, so an isolated node keeps its own', () => {
    const node = new TestNode({ config, term: 3 })
    node.tick(100)
    expect(node.status).toMatchObject({ role: 'preCandidate', term: 3, votedFor: undefined })
    expect(node.all('append')).toEqual([])
    expect(node.sent('preVote')[0]).toMatchObject({ to: b, term: 4, lastLogIndex: 0, lastLogTerm: 0 })
  })

  it('switched off, the term is raised at once', () => {
    const node = new TestNode({ config: { preVote: false }, term: 3 })
    node.tick(10)
    expect(node.status).toMatchObject({ role: 'candidate', term: 4 })
  })

  it('a quorum of grants begins the election', () => {
    const node = new TestNode({ config, term: 3 })
    node.step({ type: 'campaign' })
    node.receive({ type: 'preVoteResp', from: b, term: 4, granted: true })
    expect(node.status).toMatchObject({ role: 'candidate', term: 4, votedFor: a })
  })

  it('a quorum of refusals ends the attempt in the same term', () => {
    const node = new TestNode({ config, term: 3 })
    node.step({ type: 'campaign' })
    for (const from of [b, c]) node.receive({ type: 'preVoteResp', from, granted: false })
    expect(node.status).toMatchObject({ role: 'follower', term: 3 })
  })

  it('a grant left over from an earlier attempt does not count', () => {
    const node = new TestNode({ config, term: 3 })
    node.step({ type: 'campaign' })
    node.receive({ type: 'preVoteResp', from: b, term: 3, granted: true })
    expect(node.status.role).toBe('preCandidate')
  })

  it('a grant is not a vote', () => {
    const node = new TestNode({ config, term: 3 })
    node.step({ type: 'campaign' })
    node.receive({ type: 'preVoteResp', from: b, term: 4, granted: true })
    node.persist()
    node.receive({ type: 'preVoteResp', from: c, granted: true })
    expect(node.status.role).toBe('candidate')
  })

  it('granting promises nothing: term and vote stay, and nothing is written', () => {
    const node = new TestNode({ term: 3 })
    node.receive({ type: 'preVote', from: b, term: 4, lastLogIndex: 0, lastLogTerm: 0 })
    expect(node.sent('preVoteResp')).toMatchObject([{ to: b, term: 4, granted: true }])
    expect(node.status).toMatchObject({ term: 3, votedFor: undefined })
    expect(node.all('append')).toEqual([])
  })

  it('is refused to a log that is behind', () => {
    const node = new TestNode({ log: [1, 3] })
    node.receive({ type: 'preVote', from: b, term: 4, lastLogIndex: 1, lastLogTerm: 1 })
    expect(node.sent('preVoteResp')).toMatchObject([{ to: b, term: 3, granted: false }])
  })
})

describe('check-quorum', () => {
  it('a leader without contact to a quorum steps down after an election timeout', () => {
    const node = new TestNode({ config: { checkQuorum: true } })
    node.lead()
    node.tick(9)
    expect(node.status.role).toBe('leader')
    node.tick()
    expect(node.status).toMatchObject({ role: 'follower', term: 1, leaderId: undefined })
    expect(node.take()).toContainEqual({ type: 'roleChanged', role: 'follower', term: 1 })
  })

  it('contact to a quorum keeps it, contact to fewer does not', () => {
    const node = new TestNode({ config: { checkQuorum: true, voters: [a, b, c, d, e] } })
    node.step({ type: 'campaign' })
    node.persist()
    for (const from of [b, c]) node.receive({ type: 'voteResp', from, granted: true })
    const round = (from: readonly string[]): void => {
      for (const peer of from) node.receive({ type: 'heartbeatResp', from: peer, readContext: 0, clockMs: 0 })
      node.tick(10)
    }
    round([b, c])
    round([d, e])
    expect(node.status.role).toBe('leader')
    round([b, b])
    expect(node.status.role).toBe('follower')
  })

  it('switched off, a leader without contact stays', () => {
    const node = new TestNode({ config: { checkQuorum: false } })
    node.lead()
    node.tick(1000)
    expect(node.status.role).toBe('leader')
  })

  it.each(['vote', 'preVote'] as const)('a %s request is ignored while the leader is alive, answered after', (type) => {
    const node = new TestNode({ term: 3, config: { checkQuorum: true, random: () => 0.9 } })
    node.receive({ type: 'heartbeat', from: b, leaderCommit: 0, readContext: 0 })
    node.take()
    node.tick(9)
    expect(node.receive({ type, from: c, term: 4, lastLogIndex: 0, lastLogTerm: 0 })).toEqual([])
    expect(node.status).toMatchObject({ term: 3, leaderId: b })
    node.tick()
    node.receive({ type, from: c, term: 4, lastLogIndex: 0, lastLogTerm: 0 })
    node.persist()
    expect(node.sent(`${type}Resp`)).toMatchObject([{ to: c, granted: true }])
  })

  it('a leader ignores candidates too', () => {
    const node = new TestNode({ config: { checkQuorum: true } })
    node.lead()
    node.receive({ type: 'vote', from: c, term: 9, lastLogIndex: 9, lastLogTerm: 9 })
    expect(node.status).toMatchObject({ role: 'leader', term: 1 })
  })

  it('switched off, a higher term is enough', () => {
    const node = new TestNode({ term: 3, config: { checkQuorum: false } })
    node.receive({ type: 'heartbeat', from: b, leaderCommit: 0, readContext: 0 })
    node.receive({ type: 'vote', from: c, term: 4, lastLogIndex: 0, lastLogTerm: 0 })
    expect(node.status).toMatchObject({ term: 4, votedFor: c })
  })

  it('a node stuck in a higher term makes the leader come to it', () => {
    const stuck = new TestNode({ term: 7, config: { checkQuorum: true, preVote: true } })
    stuck.receive({ type: 'heartbeat', from: b, term: 3, leaderCommit: 0, readContext: 0 })
    const [answer] = stuck.sent('appendResp')
    const leader = new TestNode({ config: { id: b, checkQuorum: true } })
    leader.lead(c)
    leader.receive(answer!)
    expect(leader.status).toMatchObject({ role: 'follower', term: 7 })
  })
})

describe('what the shell hears', () => {
  it('role and leader changes, once each, the leader again in a new term', () => {
    const node = new TestNode()
    node.receive({ type: 'heartbeat', from: b, term: 1, leaderCommit: 0, readContext: 0 })
    node.receive({ type: 'heartbeat', from: b, term: 1, leaderCommit: 0, readContext: 0 })
    node.receive({ type: 'heartbeat', from: b, term: 2, leaderCommit: 0, readContext: 0 })
    node.tick(10)
    expect([...node.all('leaderChanged'), ...node.all('roleChanged')]).toEqual([
      { type: 'leaderChanged', leaderId: b, term: 1 },
      { type: 'leaderChanged', leaderId: b, term: 2 },
      { type: 'leaderChanged', leaderId: undefined, term: 3 },
      { type: 'roleChanged', role: 'candidate', term: 3 },
    ])
  })

  it('a node that is no voter never campaigns', () => {
    const node = new TestNode({ config: { voters: [b, c] } })
    node.tick(100)
    node.step({ type: 'campaign' })
    expect(node.effects).toEqual([])
  })

  it.each([
    { id: 'node-1' },
    { electionTicks: 1 },
    { heartbeatTicks: 0 },
    { maxInflightMessages: 0 },
    { maxInflightBytes: 0 },
    { maxAppendBytes: 1.5 },
    { maxUncommittedBytes: NaN },
    { maxClockErrorMs: -1 },
    { diskStallTicks: -1 },
    { initialTimeMs: 0.5 },
  ])('a configuration with %j is refused', (broken) => {
    const empty = {
      hardState: { term: 0, votedFor: undefined, commit: 0 },
      refs: [],
      confState: confStateOf([a, b, c]),
    }
    expect(() => new Raft(defaults, empty)).not.toThrow()
    expect(() => new Raft({ ...defaults, ...broken }, empty)).toThrow(RangeError)
  })
})

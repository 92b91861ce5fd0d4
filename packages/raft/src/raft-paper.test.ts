// Claims of the Raft dissertation (Ongaro, 2014), one by one, after etcd's raft_paper_test.go.
import { describe, expect, it } from 'vitest'
import { a, b, c, d, e, refsOf, TestNode } from './raft.fixture.ts'

const five = { voters: [a, b, c, d, e] }

describe('Raft §3.3 terms', () => {
  it.each(['follower', 'candidate', 'leader'] as const)(
    'a %s that sees a higher term becomes follower in it',
    (role) => {
      const node = new TestNode({ term: 1 })
      if (role === 'candidate') node.step({ type: 'campaign' })
      if (role === 'leader') node.lead()
      expect(node.status.role).toBe(role)
      node.receive({ type: 'append', from: b, term: 9, prevLogIndex: 0, prevLogTerm: 0, entries: [], leaderCommit: 0 })
      expect(node.status).toMatchObject({ role: 'follower', term: 9, leaderId: b, votedFor: undefined })
    },
  )

  it('requests of an old term are refused with the new one and change nothing', () => {
    const node = new TestNode({ term: 5, log: [5] })
    const before = node.status
    node.receive({
      type: 'append',
      from: b,
      term: 4,
      prevLogIndex: 0,
      prevLogTerm: 0,
      entries: refsOf([4]),
      leaderCommit: 1,
    })
    node.receive({ type: 'heartbeat', from: b, term: 4, leaderCommit: 1, readContext: 0 })
    node.receive({ type: 'vote', from: b, term: 4, lastLogIndex: 9, lastLogTerm: 4 })
    node.receive({ type: 'preVote', from: b, term: 4, lastLogIndex: 9, lastLogTerm: 4 })
    expect(node.status).toEqual(before)
    expect(node.sent('appendResp')).toMatchObject([
      { accepted: false, term: 5 },
      { accepted: false, term: 5 },
    ])
    expect(node.sent('voteResp')).toMatchObject([{ granted: false, term: 5 }])
    expect(node.sent('preVoteResp')).toMatchObject([{ granted: false, term: 5 }])
  })

  it('answers of an old term are ignored', () => {
    const node = new TestNode({ term: 5 })
    node.step({ type: 'campaign' })
    node.persist()
    node.receive({ type: 'voteResp', from: b, term: 5, granted: true })
    expect(node.status.role).toBe('candidate')
  })
})

describe('Raft §3.4 leader election', () => {
  it('a server starts as follower', () => {
    expect(new TestNode().status).toMatchObject({ role: 'follower', term: 0, leaderId: undefined })
  })

  it('a leader sends heartbeats every heartbeatTicks', () => {
    const node = new TestNode({ config: { heartbeatTicks: 3 } })
    node.lead()
    node.tick(2)
    expect(node.sent('heartbeat')).toEqual([])
    node.tick()
    expect(node.sent('heartbeat').map(({ to }) => to)).toEqual([b, c])
  })

  it('a follower that hears nothing for the election timeout asks all others for votes in a new term', () => {
    const node = new TestNode({ term: 2, log: [1, 2] })
    node.tick(9)
    expect(node.status).toMatchObject({ role: 'follower', term: 2 })
    node.tick()
    expect(node.status).toMatchObject({ role: 'candidate', term: 3, votedFor: a })
    node.persist()
    expect(node.sent('vote')).toMatchObject([
      { to: b, term: 3, lastLogIndex: 2, lastLogTerm: 2 },
      { to: c, term: 3, lastLogIndex: 2, lastLogTerm: 2 },
    ])
  })

  it('heartbeats and appends put the election off', () => {
    const node = new TestNode({ term: 2 })
    for (let i = 0; i < 5; i++) {
      node.tick(9)
      node.receive({ type: 'heartbeat', from: b, leaderCommit: 0, readContext: 0 })
      node.tick(9)
      node.receive({ type: 'append', from: b, prevLogIndex: 0, prevLogTerm: 0, entries: [], leaderCommit: 0 })
    }
    expect(node.status).toMatchObject({ role: 'follower', term: 2 })
  })

  it('a candidate without a result starts a new election', () => {
    const node = new TestNode()
    node.tick(10)
    expect(node.status.term).toBe(1)
    node.tick(10)
    expect(node.status).toMatchObject({ role: 'candidate', term: 2, votedFor: a })
  })

  it('election timeouts spread over electionTicks … 2·electionTicks − 1', () => {
    const timeouts = new Set<number>()
    for (let i = 0; i < 100; i++) {
      const node = new TestNode({ config: { random: () => i / 100 } })
      let ticks = 0
      while (node.status.role === 'follower') {
        node.tick()
        ticks++
      }
      timeouts.add(ticks)
    }
    expect([...timeouts].sort((x, y) => x - y)).toEqual([10, 11, 12, 13, 14, 15, 16, 17, 18, 19])
  })

  it.each([
    [{ voters: [a] }, [], 'leader'],
    [{ voters: [a, b, c] }, [true], 'leader'],
    [{ voters: [a, b, c] }, [false], 'candidate'],
    [{ voters: [a, b, c] }, [false, false], 'follower'],
    [five, [true], 'candidate'],
    [five, [true, true], 'leader'],
    [five, [true, false, false], 'candidate'],
    [five, [false, false, false], 'follower'],
    [five, [false, false, true, true], 'leader'],
  ] as const)('of %j with the votes %j it becomes %s', (config, votes, role) => {
    const node = new TestNode({ config })
    node.step({ type: 'campaign' })
    node.persist()
    for (const [i, granted] of votes.entries()) {
      node.receive({ type: 'voteResp', from: [b, c, d, e][i]!, term: 1, granted })
    }
    expect(node.status.role).toBe(role)
  })

  it('one vote counts once, however often it arrives', () => {
    const node = new TestNode({ config: five })
    node.step({ type: 'campaign' })
    node.persist()
    for (let i = 0; i < 3; i++) node.receive({ type: 'voteResp', from: b, granted: true })
    expect(node.status.role).toBe('candidate')
  })

  it('a vote of someone who is no voter does not count', () => {
    const node = new TestNode()
    node.step({ type: 'campaign' })
    node.persist()
    node.receive({ type: 'voteResp', from: e, granted: true })
    expect(node.status.role).toBe('candidate')
  })

  it.each(['append', 'heartbeat'] as const)('a candidate follows a leader of its term (%s)', (type) => {
    const node = new TestNode()
    node.step({ type: 'campaign' })
    if (type === 'append') {
      node.receive({ type, from: b, prevLogIndex: 0, prevLogTerm: 0, entries: [], leaderCommit: 0 })
    } else {
      node.receive({ type, from: b, leaderCommit: 0, readContext: 0 })
    }
    expect(node.status).toMatchObject({ role: 'follower', term: 1, leaderId: b })
  })

  it('a server votes for one candidate per term, first come first served', () => {
    const node = new TestNode({ term: 1 })
    node.receive({ type: 'vote', from: b, term: 2, lastLogIndex: 0, lastLogTerm: 0 })
    node.receive({ type: 'vote', from: c, term: 2, lastLogIndex: 0, lastLogTerm: 0 })
    node.receive({ type: 'vote', from: b, term: 2, lastLogIndex: 0, lastLogTerm: 0 })
    node.persist()
    const answers = node.sent('voteResp').map(({ to, granted }) => [to, granted])
    expect(answers).toContainEqual([c, false])
    expect(answers.filter(([, granted]) => granted)).toEqual([
      [b, true],
      [b, true],
    ])
    expect(node.status.votedFor).toBe(b)
  })

  it('granting a vote puts the own campaign off', () => {
    const node = new TestNode({ term: 2 })
    node.tick(9)
    node.receive({ type: 'vote', from: b, term: 2, lastLogIndex: 0, lastLogTerm: 0 })
    node.tick(9)
    expect(node.status).toMatchObject({ role: 'follower', term: 2 })
    node.tick()
    expect(node.status.role).toBe('candidate')
  })

  it('stepping down within a term does not give the vote back (CCF#5891)', () => {
    const node = new TestNode({ config: five })
    node.step({ type: 'campaign' })
    node.persist()
    for (const from of [b, c, d]) node.receive({ type: 'voteResp', from, granted: false })
    expect(node.status).toMatchObject({ role: 'follower', term: 1, votedFor: a })
    node.receive({ type: 'vote', from: e, lastLogIndex: 9, lastLogTerm: 1 })
    node.persist()
    expect(node.sent('voteResp')).toMatchObject([{ to: e, granted: false }])
  })

  it('a restart does not give the vote back', () => {
    const first = new TestNode({ term: 1 })
    first.receive({ type: 'vote', from: b, term: 2, lastLogIndex: 0, lastLogTerm: 0 })
    const { hardState } = first.all('append').at(-1)!
    const again = new TestNode({ term: hardState!.term, votedFor: hardState!.votedFor! })
    again.receive({ type: 'vote', from: c, term: 2, lastLogIndex: 0, lastLogTerm: 0 })
    again.persist()
    expect(again.sent('voteResp')).toMatchObject([{ to: c, granted: false }])
    again.receive({ type: 'vote', from: b, term: 2, lastLogIndex: 0, lastLogTerm: 0 })
    again.persist()
    expect(again.sent('voteResp')).toContainEqual(expect.objectContaining({ to: b, granted: true }))
  })

  it('two leaders in one term stop the node', () => {
    const node = new TestNode({ term: 1 })
    node.receive({ type: 'heartbeat', from: b, leaderCommit: 0, readContext: 0 })
    expect(() => node.receive({ type: 'heartbeat', from: c, leaderCommit: 0, readContext: 0 })).toThrow('Two leaders')
  })
})

describe('Raft §3.5 log replication', () => {
  it('a leader appends a no-op first, then what is proposed, and sends both', () => {
    const node = new TestNode({ term: 4, log: [1, 4] })
    node.step({ type: 'campaign' })
    node.persist()
    node.receive({ type: 'voteResp', from: b, granted: true })
    const [noOp] = node.all('append').at(-1)!.entries
    expect(noOp).toMatchObject({ ref: { term: 5, index: 3, kind: 32, bytes: 0 } })
    expect(node.sent('append')).toMatchObject([
      { to: b, prevLogIndex: 2, prevLogTerm: 4, entries: [{ index: 3, kind: 32 }] },
      { to: c, prevLogIndex: 2, prevLogTerm: 4, entries: [{ index: 3, kind: 32 }] },
    ])
    node.accept(b, 3)
    node.take()
    node.propose(7)
    expect(node.sent('append')).toMatchObject([{ to: b, prevLogIndex: 3, entries: [{ index: 4, bytes: 10 }] }])
    expect(node.all('append').at(-1)!.entries).toMatchObject([{ proposalId: 7, ref: { index: 4, term: 5, kind: 3 } }])
  })

  it.each([
    [{ voters: [a, b, c] }, [], false],
    [{ voters: [a, b, c] }, [b], true],
    [five, [b], false],
    [five, [b, c], true],
    [five, [b, c, d], true],
  ] as const)('of %j, with acknowledgements of %j it commits: %s', (config, ackers, committed) => {
    const node = new TestNode({ config })
    node.step({ type: 'campaign' })
    node.persist()
    for (const from of [b, c]) node.receive({ type: 'voteResp', from, granted: true })
    node.persist()
    for (const from of ackers) node.accept(from, 1)
    expect(node.status.commit).toBe(committed ? 1 : 0)
  })

  it('a leader tells the commit index in the next append, at once', () => {
    const node = new TestNode()
    node.lead()
    node.accept(b, 1)
    expect(node.sent('append')).toMatchObject([{ to: b, entries: [], leaderCommit: 1 }])
    node.accept(c, 1)
    expect(node.sent('append')).toMatchObject([{ to: b }, { to: c, entries: [], leaderCommit: 1 }])
  })

  it('a follower commits what the leader says, up to the last entry it was sent', () => {
    const node = new TestNode({ term: 2, log: [1, 1, 1] })
    node.receive({ type: 'append', from: b, prevLogIndex: 1, prevLogTerm: 1, entries: refsOf([1], 2), leaderCommit: 9 })
    expect(node.status.commit).toBe(2)
    expect(node.all('committed')).toEqual([{ type: 'committed', index: 2 }])
    node.receive({ type: 'append', from: b, prevLogIndex: 2, prevLogTerm: 1, entries: [], leaderCommit: 1 })
    expect(node.status.commit).toBe(2)
  })

  it.each([
    [0, 0, true],
    [1, 1, true],
    [2, 2, true],
    [1, 2, false],
    [2, 1, false],
    [3, 3, false],
    [3, 2, false],
  ])(
    'a follower with terms 1, 2 asked to append after (%i, term %i) accepts: %s',
    (prevLogIndex, prevLogTerm, accepted) => {
      const node = new TestNode({ term: 3, log: [1, 2] })
      node.receive({ type: 'append', from: b, prevLogIndex, prevLogTerm, entries: [], leaderCommit: 0 })
      expect(node.sent('appendResp')).toMatchObject([{ to: b, accepted, index: prevLogIndex }])
      expect(node.terms).toEqual([1, 2])
    },
  )

  it.each([
    { log: [1, 2], at: 2, entries: [3], result: [1, 2, 3], truncateFrom: undefined },
    { log: [1, 2], at: 1, entries: [3, 4], result: [1, 3, 4], truncateFrom: 2 },
    { log: [1, 2], at: 0, entries: [1], result: [1, 2], truncateFrom: undefined },
    { log: [1, 2], at: 0, entries: [3], result: [3], truncateFrom: 1 },
    { log: [1, 1, 1], at: 1, entries: [1, 2], result: [1, 1, 2], truncateFrom: 3 },
  ])('a follower appends: $log after $at with $entries is $result', ({ log, at, entries, result, truncateFrom }) => {
    const node = new TestNode({ term: 4, log })
    node.receive({
      type: 'append',
      from: b,
      prevLogIndex: at,
      prevLogTerm: [0, ...log][at]!,
      entries: refsOf(entries, at + 1),
      leaderCommit: 0,
    })
    expect(node.terms).toEqual(result)
    expect(node.all('append').at(-1)?.truncateFrom).toBe(truncateFrom)
  })
})

describe('Raft §3.6 safety', () => {
  it.each([
    [[1], 1, 1, true],
    [[1], 2, 1, true],
    [[1, 1], 1, 1, false],
    [[1], 1, 2, true],
    [[1, 1], 1, 2, true],
    [[2], 5, 1, false],
    [[], 0, 0, true],
  ])('§3.6.1: a voter with terms %j grants (%i, term %i): %s', (log, lastLogIndex, lastLogTerm, granted) => {
    const node = new TestNode({ term: 2, log })
    node.receive({ type: 'vote', from: b, term: 3, lastLogIndex, lastLogTerm })
    node.persist()
    expect(node.sent('voteResp')).toMatchObject([{ to: b, granted, term: 3 }])
  })

  it('§3.6.2: a leader commits entries of earlier terms only behind one of its own', () => {
    const node = new TestNode({ term: 3, log: [1, 2] })
    node.lead()
    node.accept(b, 1)
    node.accept(b, 2)
    node.accept(c, 2)
    expect(node.status.commit).toBe(0)
    node.accept(b, 3)
    expect(node.status.commit).toBe(3)
    expect(node.all('committed')).toEqual([{ type: 'committed', index: 3 }])
  })
})

// How entries travel: probe and pipeline, refusals, limits, and messages that come late, early, twice or not at all.
import { describe, expect, it } from 'vitest'
import { RaftMessageError } from './errors.ts'
import { type Message } from './messages.ts'
import { a, b, c, refOf, refsOf, TestNode } from './raft.fixture.ts'

const refusal = (from: string, index: number, hintIndex: number, hintTerm: number) =>
  ({ type: 'appendResp', from, accepted: false, index, hintIndex, hintTerm }) as const

describe('a follower', () => {
  it('keeps a matching suffix when an older append arrives late', () => {
    const node = new TestNode({ term: 1 })
    const append = { type: 'append', from: b, prevLogIndex: 0, prevLogTerm: 0, leaderCommit: 0 } as const
    node.receive({ ...append, entries: refsOf([1, 1, 1]) })
    node.persist()
    node.take()
    node.receive({ ...append, entries: refsOf([1]) })
    node.receive({ ...append, entries: [] })
    expect(node.terms).toEqual([1, 1, 1])
    expect(node.all('append')).toHaveLength(1)
    expect(node.sent('appendResp')).toMatchObject([
      { accepted: true, index: 1 },
      { accepted: true, index: 0 },
    ])
  })

  it('an append that comes before its predecessor truncates nothing and commits nothing', () => {
    const node = new TestNode({ term: 2, log: [1, 1] })
    node.receive({ type: 'append', from: b, prevLogIndex: 3, prevLogTerm: 2, entries: refsOf([2], 4), leaderCommit: 4 })
    expect(node.terms).toEqual([1, 1])
    expect(node.status.commit).toBe(0)
    expect(node.all('append')).toEqual([])
    expect(node.sent('appendResp')).toMatchObject([{ accepted: false, index: 3, hintIndex: 2, hintTerm: 1 }])
  })

  it('a refused append neither truncates nor commits, though the terms at prevLogIndex differ', () => {
    const node = new TestNode({ term: 3, log: [1, 1, 1] })
    node.receive({ type: 'append', from: b, prevLogIndex: 2, prevLogTerm: 2, entries: refsOf([3], 3), leaderCommit: 3 })
    expect(node.terms).toEqual([1, 1, 1])
    expect(node.status.commit).toBe(0)
  })

  it('hints at the end of the last term that can match, skipping the rest', () => {
    const node = new TestNode({ term: 9, log: [1, 1, 3, 5, 5, 5] })
    node.receive({ type: 'append', from: b, prevLogIndex: 6, prevLogTerm: 4, entries: [], leaderCommit: 0 })
    expect(node.sent('appendResp')).toMatchObject([{ accepted: false, index: 6, hintIndex: 3, hintTerm: 3 }])
  })

  it('a heartbeat that commits beyond the log stops the node', () => {
    const node = new TestNode({ term: 1, log: [1] })
    expect(() => node.receive({ type: 'heartbeat', from: b, leaderCommit: 2, readContext: 0 })).toThrow(
      'beyond the log',
    )
  })

  it('a message to another incarnation, or from itself, is ignored', () => {
    const node = new TestNode({ term: 1 })
    const message: Message = { type: 'heartbeat', from: b, to: a, term: 5, leaderCommit: 0, readContext: 0 }
    const clockMs = node.clockMs
    expect(node.step({ type: 'message', message: { ...message, to: c }, clockMs })).toEqual([])
    expect(node.step({ type: 'message', message: { ...message, from: a }, clockMs })).toEqual([])
    expect(node.status.term).toBe(1)
  })

  it('a message of a kind that it does not know is ignored, whatever its term', () => {
    const node = new TestNode({ term: 1 })
    const message = { type: 'gossip', from: b, to: a, term: 2 ** 40 } as unknown as Message
    expect(node.step({ type: 'message', message, clockMs: node.clockMs })).toEqual([])
    expect(node.status.term).toBe(1)
  })

  it.each([
    ['term 0', { term: 0 }],
    ['a term of 33 bits', { term: 2 ** 32 }],
    ['a fraction as term', { term: 1.5 }],
    ['a term above 2^53', { term: 2 ** 53 }],
    ['a negative prevLogIndex', { prevLogIndex: -1 }],
    ['a negative leaderCommit', { leaderCommit: -1 }],
    ['a gap before its entries', { entries: refsOf([1], 2) }],
    ['a gap between its entries', { entries: [refOf(1, 1), refOf(1, 3)] }],
    ['falling terms', { entries: [refOf(2, 1), refOf(1, 2)] }],
    ['an entry of a later term', { entries: [refOf(4, 1)] }],
    ['a short digest', { entries: [{ ...refOf(1, 1), digest: new Uint8Array(31) }] }],
    ['a payload of 4 GiB', { entries: [{ ...refOf(1, 1), bytes: 2 ** 32 }] }],
    ['a kind of 17 bits', { entries: [{ ...refOf(1, 1), kind: 2 ** 16 }] }],
    ['a negative time', { entries: [{ ...refOf(1, 1), time: -1 }] }],
  ])('an append with %s is refused and changes nothing', (_, broken) => {
    const node = new TestNode({ term: 2 })
    const before = node.status
    const good = {
      type: 'append',
      from: b,
      term: 3,
      prevLogIndex: 0,
      prevLogTerm: 0,
      entries: [],
      leaderCommit: 0,
    } as const
    expect(() => node.receive({ ...good, ...broken })).toThrow(RaftMessageError)
    expect(node.status).toEqual(before)
    node.receive(good)
    expect(node.status.term).toBe(3)
  })

  it.each([
    { type: 'vote', from: b, lastLogIndex: -1, lastLogTerm: 0 },
    { type: 'preVote', from: b, lastLogIndex: 0, lastLogTerm: NaN },
    { type: 'appendResp', from: b, accepted: true, index: -1, hintIndex: 0, hintTerm: 0 },
    { type: 'heartbeat', from: b, leaderCommit: 0, readContext: -1 },
    { type: 'heartbeatResp', from: b, readContext: 0, clockMs: Infinity },
  ] as const)('a malformed $type is refused', (message) => {
    const node = new TestNode({ term: 1 })
    expect(() => node.receive(message)).toThrow(expect.objectContaining({ code: 'ERR_RAFT_MESSAGE' }))
  })
})

describe('a leader', () => {
  it('a refusal never moves match or the commit index, whatever it carries', () => {
    const node = new TestNode({ term: 1, log: [1, 1] })
    node.lead()
    node.receive(refusal(b, 2, 2, 1))
    node.receive(refusal(c, 2, 3, 2))
    expect(node.status.commit).toBe(0)
    expect(node.status.peers[b]).toMatchObject({ match: 0, state: 'probe' })
  })

  it('probes one append at a time until a match is found, then pipelines', () => {
    const node = new TestNode({ term: 1, log: [1, 1] })
    node.lead()
    node.propose(1)
    expect(node.sent('append')).toEqual([])
    node.receive(refusal(b, 2, 1, 1))
    expect(node.sent('append')).toMatchObject([
      { to: b, prevLogIndex: 1, entries: [{ index: 2 }, { index: 3 }, { index: 4 }] },
    ])
    node.take()
    node.accept(b, 4)
    node.propose(2)
    node.propose(3)
    expect(node.sent('append').filter(({ entries }) => entries.length > 0)).toMatchObject([
      { to: b, prevLogIndex: 4 },
      { to: b, prevLogIndex: 5 },
    ])
    expect(node.status.peers[b]).toMatchObject({ match: 4, next: 7, state: 'replicate', inflight: 2 })
  })

  it('skips a whole term per refusal, using its own log on the hint (Raft §3.5)', () => {
    const node = new TestNode({ term: 6, log: [1, 3, 3, 3, 6, 6, 6] })
    node.lead()
    // The follower ends with terms 1, 2, 2, 2, 2, 2: its best guess is index 6 of term 2.
    node.receive(refusal(b, 7, 6, 2))
    expect(node.sent('append')).toMatchObject([{ to: b, prevLogIndex: 1, prevLogTerm: 1 }])
  })

  it('a refusal repeated does not move a probe back twice', () => {
    const node = new TestNode({ log: [1, 2, 3, 4] })
    node.lead()
    node.receive(refusal(b, 4, 3, 3))
    expect(node.status.peers[b]).toMatchObject({ next: 4 })
    node.take()
    node.receive(refusal(b, 4, 1, 1))
    expect(node.status.peers[b]).toMatchObject({ next: 4 })
    expect(node.sent('append')).toEqual([])
  })

  it('an old refusal does not move it back', () => {
    const node = new TestNode()
    node.lead()
    node.accept(b, 1)
    node.propose(1)
    node.accept(b, 2)
    node.receive(refusal(b, 1, 0, 0))
    expect(node.status.peers[b]).toMatchObject({ match: 2, next: 3, state: 'replicate' })
  })

  it('a gap in the pipeline falls back behind the last match', () => {
    const node = new TestNode()
    node.lead()
    node.accept(b, 1)
    for (const id of [1, 2, 3]) node.propose(id)
    node.take()
    node.receive(refusal(b, 3, 1, 1))
    expect(node.sent('append')).toMatchObject([
      { prevLogIndex: 1, entries: [{ index: 2 }, { index: 3 }, { index: 4 }] },
    ])
    expect(node.status.peers[b]).toMatchObject({ state: 'probe', inflight: 0 })
  })

  it('keeps at most maxInflightMessages under way; an acknowledgement frees what it covers', () => {
    const node = new TestNode({ config: { maxInflightMessages: 2 } })
    node.lead()
    node.accept(b, 1)
    node.take()
    for (const id of [1, 2, 3, 4]) node.propose(id)
    expect(node.sent('append').map(({ entries }) => entries.length)).toEqual([1, 1])
    node.take()
    node.accept(b, 3)
    // What has gathered leaves in one message.
    expect(node.sent('append').filter(({ to, entries }) => to === b && entries.length > 0)).toMatchObject([
      { entries: [{ index: 4 }, { index: 5 }] },
    ])
  })

  it('keeps at most maxInflightBytes under way, one message above at most', () => {
    const node = new TestNode({ config: { maxInflightBytes: 1000 } })
    node.lead()
    node.accept(b, 1)
    node.take()
    for (const id of [1, 2, 3]) node.propose(id, 600)
    expect(node.sent('append')).toHaveLength(2)
  })

  it('keeps an append within maxAppendBytes, a single larger entry alone', () => {
    const node = new TestNode({ term: 1, log: [1, 1, 1, 1], config: { maxAppendBytes: 200 } })
    node.lead()
    node.propose(1, 5000)
    node.take()
    node.receive(refusal(b, 4, 0, 0))
    node.accept(b, 2)
    expect(node.sent('append').map(({ entries }) => entries.map(({ index }) => index))).toEqual([
      [1, 2],
      [3, 4],
      [5],
      [6],
    ])
  })

  it('finds out by heartbeats that an append was lost', () => {
    const node = new TestNode()
    node.lead()
    node.accept(b, 1)
    node.propose(1)
    node.take()
    node.receive({ type: 'heartbeatResp', from: b, readContext: 0, clockMs: 0 })
    expect(node.sent('append')).toMatchObject([{ to: b, prevLogIndex: 2, entries: [] }])
    node.take()
    node.receive(refusal(b, 2, 1, 1))
    expect(node.sent('append')).toMatchObject([{ to: b, prevLogIndex: 1, entries: [{ index: 2 }] }])
  })

  it('finds out by heartbeats that a probe was lost', () => {
    const node = new TestNode()
    node.lead()
    node.receive({ type: 'heartbeatResp', from: b, readContext: 0, clockMs: 0 })
    expect(node.sent('append')).toMatchObject([{ to: b, prevLogIndex: 0, entries: [{ index: 1 }] }])
  })

  it('probes again when the transport lost the peer', () => {
    const node = new TestNode()
    node.lead()
    node.accept(b, 1)
    node.propose(1)
    node.step({ type: 'unreachable', peer: b })
    expect(node.status.peers[b]).toMatchObject({ state: 'probe', match: 1, next: 2, inflight: 0 })
  })

  it('heartbeats never tell a peer to commit what it did not acknowledge', () => {
    const node = new TestNode()
    node.lead()
    node.accept(b, 1)
    node.take()
    node.tick()
    expect(node.sent('heartbeat').map(({ to, leaderCommit }) => [to, leaderCommit])).toEqual([
      [b, 1],
      [c, 0],
    ])
  })

  it('an acknowledgement beyond its log stops the node', () => {
    const node = new TestNode()
    node.lead()
    expect(() => node.accept(b, 9)).toThrow('acknowledged an entry')
  })
})

describe('proposals', () => {
  it('are dropped by anyone but a leader, with a hint', () => {
    const node = new TestNode({ term: 1 })
    expect(node.propose(1)).toEqual([{ type: 'dropped', proposalId: 1, reason: 'not-leader' }])
    node.receive({ type: 'heartbeat', from: b, leaderCommit: 0, readContext: 0 })
    expect(node.propose(2)).toEqual([{ type: 'dropped', proposalId: 2, reason: 'not-leader', leaderId: b }])
    expect(node.terms).toEqual([])
  })

  it('are dropped above maxUncommittedBytes until something commits; one always fits', () => {
    const node = new TestNode({ config: { maxUncommittedBytes: 100 } })
    node.lead()
    node.accept(b, 1)
    node.propose(1, 150)
    expect(node.propose(2, 1)).toEqual([{ type: 'dropped', proposalId: 2, reason: 'uncommitted-limit', leaderId: a }])
    node.persist()
    node.accept(b, 2)
    node.propose(3, 60)
    node.propose(4, 40)
    node.propose(5, 1)
    expect(node.all('dropped').map(({ proposalId }) => proposalId)).toEqual([2, 5])
  })

  it('a new leader counts what earlier leaders left uncommitted', () => {
    const node = new TestNode({ term: 1, log: [1, 1], config: { maxUncommittedBytes: 25 } })
    node.lead()
    expect(node.propose(1, 6)).toMatchObject([{ type: 'dropped', reason: 'uncommitted-limit' }])
    expect(node.propose(2, 5)).not.toMatchObject([{ type: 'dropped' }])
  })

  it('are lost when another leader overwrites them, not when leadership is', () => {
    const node = new TestNode()
    node.lead()
    node.propose(11)
    node.propose(12)
    node.receive({ type: 'append', from: b, term: 2, prevLogIndex: 1, prevLogTerm: 1, entries: [], leaderCommit: 1 })
    expect(node.all('lost')).toEqual([])
    node.receive({
      type: 'append',
      from: b,
      term: 2,
      prevLogIndex: 2,
      prevLogTerm: 1,
      entries: refsOf([2], 3),
      leaderCommit: 3,
    })
    expect(node.all('lost')).toEqual([{ type: 'lost', proposalId: 12 }])
  })

  it('keep their digest when the caller reuses its buffer', () => {
    const node = new TestNode()
    node.lead()
    const digest = new Uint8Array(32).fill(1)
    node.step({ type: 'propose', proposalId: 1, kind: 3, bytes: 1, digest, clockMs: 0 })
    digest.fill(2)
    expect(node.raft.log.ref(2).digest[0]).toBe(1)
    expect(node.all('append').at(-1)!.entries[0]!.ref.digest[0]).toBe(1)
  })

  it.each([{ kind: 65536 }, { bytes: -1 }, { digest: new Uint8Array(31) }, { clockMs: 0.5 }])('refuse %j', (broken) => {
    const node = new TestNode()
    node.lead()
    const good = { type: 'propose', proposalId: 1, kind: 3, bytes: 1, digest: new Uint8Array(32), clockMs: 0 } as const
    expect(() => node.step({ ...good, ...broken })).toThrow(RangeError)
    expect(node.status.lastIndex).toBe(1)
  })
})

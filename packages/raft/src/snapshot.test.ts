// Compaction and snapshots (Raft §5), and the ways in which others have got stuck or forked there.
import { describe, expect, it } from 'vitest'
import { confStateOf, type SnapshotMeta } from './membership.ts'
import { a, b, c, changeRef, d, e, initialTimeMs, refOf, refsOf, snapshotOf, TestNode } from './raft.fixture.ts'

const abc = confStateOf([a, b, c])
const base = { index: 5, term: 1, time: initialTimeMs }
const snapshotAt5 = snapshotOf(5, 1, abc)

/** A leader of term 2 whose log begins after 5 and holds 6 (term 1) and 7 (its no-op), both committed. */
function leader(config = {}, snapshot: SnapshotMeta | null = snapshotAt5): TestNode {
  const node = new TestNode({ base, log: [1], config, ...(snapshot === null ? {} : { snapshot }) })
  node.lead()
  node.replicate(b)
  node.take()
  return node
}

const refusal = (from: string, index: number, hintIndex: number, hintTerm: number) =>
  ({ type: 'appendResp', from, accepted: false, index, hintIndex, hintTerm }) as const

/** c answers that it has nothing: it needs a snapshot. */
function needy(config = {}): TestNode {
  const node = leader(config)
  node.receive(refusal(c, 6, 0, 0))
  return node
}

describe('compaction', () => {
  it('forgets entries and keeps what the log needs of the last of them', () => {
    const node = new TestNode({ log: [1, 1, 2, 2], commit: 4, applied: 4 })
    node.step({ type: 'compact', index: 3 })
    expect(node.status).toMatchObject({ firstIndex: 4, lastIndex: 4 })
    expect(node.raft.log.base).toEqual({ index: 3, term: 2, time: initialTimeMs })
    expect(node.raft.log.term(2)).toBeUndefined()
    node.step({ type: 'compact', index: 2 })
    expect(node.status.firstIndex).toBe(4)
    node.receive({ type: 'append', from: b, prevLogIndex: 4, prevLogTerm: 2, entries: refsOf([2], 5), leaderCommit: 4 })
    expect(node.terms).toEqual([2, 2])
  })

  it('of what is not applied stops the node', () => {
    const node = new TestNode({ log: [1, 1, 1], commit: 3, applied: 2 })
    expect(() => node.step({ type: 'compact', index: 3 })).toThrow('not applied and durable')
  })

  it('of the whole log lets it go on', () => {
    const node = new TestNode({ config: { voters: [a] }, log: [1, 1], commit: 2, applied: 2 })
    node.step({ type: 'compact', index: 2 })
    node.lead()
    node.propose(1)
    node.persist()
    expect(node.status).toMatchObject({ firstIndex: 3, lastIndex: 4, commit: 4 })
  })

  it('goes by whole chunks of memory, and what is left reads as before', () => {
    const node = new TestNode({ config: { voters: [a] } })
    node.lead()
    for (let i = 0; i < 10_000; i++) node.propose(i)
    node.persist()
    node.step({ type: 'applied', index: 9000 })
    node.step({ type: 'compact', index: 8999 })
    expect(node.raft.log.ref(9000).digest[0]).toBe(8998 % 256)
    expect(node.raft.log.ref(10_001).digest[0]).toBe(9999 % 256)
  })

  it.each([
    ['a base without a term', { base: { index: 5, term: 0, time: 0 } }],
    ['an applied index before its base', { base, applied: 4 }],
    ['a snapshot beyond its log', { snapshot: snapshotAt5 }],
    ['a snapshot without voters', { base, snapshot: snapshotOf(5, 1, confStateOf([])) }],
  ])('a disk with %s is refused', (_, broken) => {
    expect(() => new TestNode({ term: 9, ...broken })).toThrow(expect.objectContaining({ code: 'ERR_RAFT_STATE' }))
  })
})

describe('a leader whose log does not reach back', () => {
  it('offers its newest snapshot, once, and sends nothing else meanwhile', () => {
    const node = needy()
    expect(node.sent('snapshot')).toMatchObject([{ to: c, term: 2, meta: snapshotAt5 }])
    expect(node.status.peers[c]).toMatchObject({ state: 'snapshot', pendingSnapshot: 5, next: 6, paused: true })
    node.take()
    node.propose(1)
    node.beat(c)
    expect([...node.sent('append'), ...node.sent('snapshot')].filter(({ to }) => to === c)).toEqual([])
  })

  it('but none from which its log does not go on', () => {
    const node = leader({}, null)
    node.receive(refusal(c, 6, 0, 0))
    node.step({ type: 'snapshotAvailable', meta: snapshotOf(4, 1, abc) })
    node.beat(c)
    expect(node.sent('snapshot')).toEqual([])
    node.step({ type: 'snapshotAvailable', meta: snapshotAt5 })
    node.beat(c)
    expect(node.sent('snapshot')).toHaveLength(1)
  })

  it('and not to a peer that is silent', () => {
    const node = leader({ checkQuorum: true }, null)
    node.receive(refusal(c, 6, 0, 0))
    for (const count of [10, 10]) {
      node.beat(b)
      node.tick(count)
    }
    node.step({ type: 'snapshotAvailable', meta: snapshotAt5 })
    node.propose(1)
    expect(node.sent('snapshot')).toEqual([])
    node.beat(c)
    expect(node.sent('snapshot')).toHaveLength(1)
  })

  it('goes on with the log when the peer has it', () => {
    const node = needy()
    node.take()
    node.accept(c, 5)
    expect(node.sent('append').filter(({ to }) => to === c)).toMatchObject([
      { prevLogIndex: 5, entries: [{ index: 6 }, { index: 7 }] },
    ])
    expect(node.status.peers[c]).toMatchObject({ state: 'replicate', match: 5 })
  })

  it('goes on from any snapshot that connects to the log (etcd-io/raft#110)', () => {
    const node = needy()
    node.accept(c, 6)
    expect(node.status.peers[c]).toMatchObject({ state: 'replicate', match: 6 })
    const older = leader()
    older.step({ type: 'snapshotAvailable', meta: snapshotOf(6, 1, abc) })
    older.receive(refusal(c, 6, 0, 0))
    // It was offered 6 and got 5 from somebody else.
    older.accept(c, 5)
    expect(older.status.peers[c]).toMatchObject({ state: 'replicate', match: 5 })
    const stays = needy()
    // 3 does not connect: the log begins at 6.
    stays.accept(c, 3)
    expect(stays.status.peers[c]).toMatchObject({ state: 'snapshot', match: 3 })
  })

  it('a transfer that worked is followed by a probe behind it, one that failed by another offer (etcd#10308)', () => {
    const worked = needy()
    worked.step({ type: 'snapshotStatus', peer: c, ok: true })
    expect(worked.status.peers[c]).toMatchObject({ state: 'probe', next: 6, paused: true })
    worked.take()
    worked.beat(c)
    expect(worked.sent('append')).toMatchObject([{ to: c, prevLogIndex: 5 }])
    const failed = needy()
    failed.step({ type: 'snapshotStatus', peer: c, ok: false })
    failed.take()
    expect(failed.status.peers[c]).toMatchObject({ state: 'probe', next: 1, paused: true })
    failed.beat(c)
    expect(failed.sent('snapshot')).toHaveLength(1)
  })

  it('a lost acknowledgement, or a lost offer, is found out without anybody reporting (NuRaft#121)', () => {
    const node = needy({ snapshotRetryTicks: 5 })
    node.take()
    node.tick(4)
    expect(node.sent('append').filter(({ to }) => to === c)).toEqual([])
    node.tick()
    expect(node.sent('append').filter(({ to }) => to === c)).toMatchObject([{ prevLogIndex: 5 }])
    // It has it: go on.
    const has = node.raft.dump()
    node.accept(c, 7)
    expect(node.status.peers[c]).toMatchObject({ state: 'replicate', match: 7 })
    // It has not: offer it again.
    const other = new TestNode({ raftDump: has })
    other.receive(refusal(c, 5, 0, 0))
    expect(other.sent('snapshot')).toHaveLength(1)
  })

  it('with snapshotRetryTicks 0 only reports and answers end the wait, as in etcd', () => {
    const node = needy()
    node.take()
    node.tick(100)
    expect(node.sent('append').filter(({ to }) => to === c)).toEqual([])
  })

  it('serves a learner that was added when nothing of the log was left (openraft#1828)', () => {
    const node = new TestNode({ base, snapshot: snapshotAt5 })
    node.lead()
    node.replicate(b, c)
    node.proposeConf(1, { transition: 'auto', changes: [{ type: 'addLearner', peer: d }] })
    node.replicate(b, c)
    node.step({ type: 'applied', index: 7 })
    node.step({ type: 'compact', index: 7 })
    node.take()
    const meta = snapshotOf(7, 2, node.raft.confStateAt(7)!)
    node.beat(d)
    expect(node.sent('snapshot')).toEqual([])
    node.step({ type: 'snapshotAvailable', meta })
    node.receive(refusal(d, 6, 0, 0))
    node.beat(d)
    expect(node.sent('snapshot')).toMatchObject([{ to: d, meta }])
    node.accept(d, 7)
    expect(node.status.peers[d]).toMatchObject({ state: 'replicate', match: 7 })
  })

  it('a snapshot of what was not committed stops the node', () => {
    const node = leader()
    expect(() => node.step({ type: 'snapshotAvailable', meta: snapshotOf(8, 2, abc) })).toThrow('not committed')
    expect(() => node.step({ type: 'snapshotAvailable', meta: snapshotOf(6, 2, abc) })).toThrow('not committed')
    expect(() => node.step({ type: 'snapshotAvailable', meta: { ...snapshotAt5, digest: new Uint8Array(3) } })).toThrow(
      RangeError,
    )
  })

  it('a follower refuses below its base with a hint that the leader can use', () => {
    const node = new TestNode({ base: { index: 5, term: 3, time: initialTimeMs }, term: 9 })
    node.receive({ type: 'append', from: b, prevLogIndex: 5, prevLogTerm: 2, entries: [], leaderCommit: 0 })
    expect(node.sent('appendResp')).toMatchObject([{ accepted: false, hintIndex: 4, hintTerm: 0 }])
  })
})

describe('a follower that is sent a snapshot', () => {
  const meta = snapshotOf(9, 2, confStateOf([a, b, d]))
  const offer = { type: 'snapshot', from: b, term: 2, meta } as const

  it('replaces log, commit index and configuration in one write, and acknowledges when that is durable', () => {
    const node = new TestNode({ log: [1, 1], commit: 1, applied: 1 })
    node.receive(offer)
    expect(node.all('append')).toMatchObject([{ snapshot: meta, hardState: { term: 2, commit: 1 }, entries: [] }])
    expect(node.status).toMatchObject({ firstIndex: 10, lastIndex: 9, commit: 9, applied: 1, durableIndex: 1 })
    expect(node.sent('appendResp')).toEqual([])
    node.persist()
    expect(node.sent('appendResp')).toMatchObject([{ to: b, accepted: true, index: 9 }])
    expect(node.status).toMatchObject({ durableIndex: 9, applied: 9, snapshotIndex: 9 })
    // The machine was replaced, not fed: nothing to apply up to 9.
    expect(node.all('committed')).toEqual([])
    expect(node.all('confChanged')).toEqual([{ type: 'confChanged', index: 9, confState: meta.confState }])
  })

  it('goes on with what follows it, before and after it is durable', () => {
    const node = new TestNode({ log: [1, 1] })
    node.receive(offer)
    node.receive({
      ...{ type: 'append', from: b, term: 2, prevLogIndex: 9, prevLogTerm: 2, leaderCommit: 10 },
      entries: refsOf([2], 10),
    })
    expect(node.all('committed')).toEqual([])
    node.persist()
    expect(node.all('committed')).toEqual([{ type: 'committed', index: 10 }])
    expect(node.sent('appendResp').map(({ index }) => index)).toEqual([9, 10])
  })

  it('only moves its commit index if its log holds the last entry of it', () => {
    const node = new TestNode({ log: [1, 1, 1, 1, 1, 1, 1, 1, 2, 2], commit: 1 })
    node.receive(offer)
    expect(node.status).toMatchObject({ commit: 9, lastIndex: 10, firstIndex: 1 })
    expect(node.all('append')).toEqual([])
    expect(node.sent('appendResp')).toMatchObject([{ accepted: true, index: 9 }])
    expect(node.status.confState).toEqual(abc)
  })

  it('ignores an old one and says how far it is', () => {
    const node = new TestNode({ term: 2, base: { index: 12, term: 2, time: initialTimeMs } })
    node.receive(offer)
    expect(node.status.lastIndex).toBe(12)
    expect(node.sent('appendResp')).toMatchObject([{ accepted: true, index: 12 }])
  })

  it('keeps no configuration of the log it replaces (openraft#1808)', () => {
    // An entry of a deposed leader that nobody committed made e a voter.
    const change = { transition: 'auto', changes: [{ type: 'addVoter', peer: e }] } as const
    const node = new TestNode({ refs: [refOf(1, 1), changeRef(1, 2, change)], commit: 1 })
    node.receive(offer)
    node.persist()
    expect(node.status.confState).toEqual(meta.confState)
    node.receive({
      type: 'append',
      from: b,
      prevLogIndex: 9,
      prevLogTerm: 2,
      entries: refsOf([2], 10),
      leaderCommit: 10,
    })
    node.persist()
    expect(node.status.confState).toEqual(meta.confState)
  })

  it('does not campaign before it is installed, and may afterwards', () => {
    const node = new TestNode({ log: [1, 1] })
    node.receive(offer)
    node.step({ type: 'campaign' })
    node.tick(30)
    expect(node.status.role).toBe('follower')
    node.persist()
    node.step({ type: 'campaign' })
    expect(node.sent('vote')).toMatchObject([
      { to: b, lastLogIndex: 9, lastLogTerm: 2 },
      { to: d, lastLogIndex: 9, lastLogTerm: 2 },
    ])
  })

  it('an acknowledgement of the log before says nothing about the log after (ABA)', () => {
    const node = new TestNode({ term: 1, log: [1] })
    node.receive({
      type: 'append',
      from: c,
      prevLogIndex: 1,
      prevLogTerm: 1,
      entries: refsOf([1, 1], 2),
      leaderCommit: 0,
    })
    node.receive(offer)
    node.step({ type: 'appended', ioId: 1 })
    expect(node.status).toMatchObject({ durableIndex: 0, lastIndex: 9 })
    expect(node.sent('appendResp')).toEqual([])
    node.persist()
    expect(node.status.durableIndex).toBe(9)
  })

  it('loses track of its proposals, and says so', () => {
    const node = new TestNode()
    node.lead()
    node.propose(7)
    node.receive(offer)
    expect(node.all('lost')).toEqual([{ type: 'lost', proposalId: 7 }])
  })

  it('tells its configuration to a replica that had none', () => {
    const node = new TestNode({ config: { id: d, voters: [] } })
    node.tick(100)
    expect(node.status.role).toBe('follower')
    node.receive(offer)
    node.persist()
    node.step({ type: 'campaign' })
    expect(node.status).toMatchObject({ role: 'candidate', confState: meta.confState })
  })

  it.each([
    ['without voters', { ...meta, confState: confStateOf([]) }],
    ['of index 0', { ...meta, index: 0 }],
    ['of a later term than its sender', { ...meta, term: 3 }],
    ['with a short digest', { ...meta, digest: new Uint8Array(31) }],
  ])('refuses one %s', (_, broken) => {
    const node = new TestNode()
    expect(() => node.receive({ ...offer, meta: broken })).toThrow(
      expect.objectContaining({ code: 'ERR_RAFT_MESSAGE' }),
    )
    expect(node.status.term).toBe(0)
  })
})

// Changes of membership in a running group (Raft §4).
import { describe, expect, it } from 'vitest'
import { type ConfChange, confStateOf, leaveJoint } from './membership.ts'
import { a, b, c, changeRef, d, e, refOf, TestNode } from './raft.fixture.ts'

const one = (type: ConfChange['changes'][number]['type'], peer: string): ConfChange => ({
  transition: 'auto',
  changes: [{ type, peer }],
})
const replaceCByD: ConfChange = {
  transition: 'auto',
  changes: [
    { type: 'remove', peer: c },
    { type: 'addVoter', peer: d },
  ],
}

/** A leader of a, b and c, all of whom hold everything and were heard from. */
function leader(config = {}): TestNode {
  const node = new TestNode({ config })
  node.lead()
  node.replicate(b, c)
  node.take()
  return node
}

describe('a change takes effect (Raft §4.1, at commit as in etcd)', () => {
  it('once it is committed and durable here, not before', () => {
    const node = leader()
    node.proposeConf(1, one('addLearner', d))
    node.accept(b, 2)
    node.accept(c, 2)
    expect(node.status).toMatchObject({ commit: 2, durableIndex: 1, confState: { learners: [] } })
    node.persist()
    expect(node.status.confState.learners).toEqual([d])
    expect(node.all('confChanged')).toEqual([{ type: 'confChanged', index: 2, confState: node.status.confState }])
  })

  it('on a follower as on the leader', () => {
    const node = new TestNode({ term: 1 })
    const entries = [refOf(1, 1), changeRef(1, 2, one('addVoter', d))]
    node.receive({ type: 'append', from: b, prevLogIndex: 0, prevLogTerm: 0, entries, leaderCommit: 1 })
    node.persist()
    expect(node.status.confState.voters).toEqual([a, b, c])
    node.receive({ type: 'append', from: b, prevLogIndex: 2, prevLogTerm: 1, entries: [], leaderCommit: 2 })
    expect(node.status.confState.voters).toEqual([a, b, c, d])
  })

  it('again after a restart, from the configuration on disk and the log behind it', () => {
    const refs = [refOf(1, 1), changeRef(1, 2, one('addVoter', d)), changeRef(1, 3, one('remove', b))]
    const node = new TestNode({ refs, commit: 3 })
    expect(node.status.confState.voters).toEqual([a, c, d])
    expect(node.raft.confStateAt(1)!.voters).toEqual([a, b, c])
    expect(node.raft.confStateAt(2)!.voters).toEqual([a, b, c, d])
    node.tick()
    expect(node.all('confChanged').map(({ index }) => index)).toEqual([2, 3])
    const later = new TestNode({ refs, commit: 3, confState: confStateOf([a, b, c, d]), confIndex: 2 })
    expect(later.status.confState.voters).toEqual([a, c, d])
  })

  it('is known to be committed when another follows it in the log, though the commit index on disk is older', () => {
    const refs = [refOf(1, 1), changeRef(1, 2, one('addVoter', d)), changeRef(1, 3, one('remove', b))]
    expect(new TestNode({ refs, commit: 0 }).status).toMatchObject({ commit: 2, confState: { voters: [a, b, c, d] } })
  })

  it('refuses a disk whose configuration is older than the log', () => {
    const base = { index: 5, term: 1, time: 1000 }
    expect(() => new TestNode({ base, confIndex: 4, log: [1] })).toThrow(
      expect.objectContaining({ code: 'ERR_RAFT_STATE' }),
    )
  })

  it('host-driven: only when the host applies it, as in etcd', () => {
    const node = leader({ confChangeOnApply: true })
    node.step({ type: 'applied', index: 1 })
    node.proposeConf(1, one('addLearner', d))
    node.replicate(b, c)
    expect(node.status.confState.learners).toEqual([])
    // Until it is applied, it counts as pending.
    expect(node.proposeConf(2, one('addLearner', e))).toMatchObject([{ reason: 'conf-pending' }])
    node.step({ type: 'applyConfChange', change: one('addLearner', d) })
    node.step({ type: 'applied', index: 2 })
    expect(node.status.confState.learners).toEqual([d])
    expect(() => leader().step({ type: 'applyConfChange', change: undefined })).toThrow(RangeError)
  })
})

describe('a host that checks changes itself (confChangeValidation off)', () => {
  const config = { confChangeOnApply: true, confChangeValidation: false }

  it('gets every change into the log', () => {
    const node = leader(config)
    node.step({ type: 'applied', index: 1 })
    node.proposeConf(1, { ...one('addLearner', d), transition: 'jointExplicit' })
    expect(node.proposeConf(2, leaveJoint)).not.toMatchObject([{ type: 'dropped' }])
    expect(node.status.lastIndex).toBe(3)
  })

  it('is told nothing about commits by changes that follow each other in its log', () => {
    const refs = [refOf(1, 1), changeRef(1, 2, one('addVoter', d)), changeRef(1, 3, one('remove', b))]
    expect(new TestNode({ refs, commit: 0, config }).status.commit).toBe(0)
  })

  it('applies them itself', () => {
    expect(() => leader({ confChangeValidation: false })).toThrow(RangeError)
  })
})

describe('a leader refuses a change', () => {
  it('while one before it has not taken effect', () => {
    const node = leader()
    node.proposeConf(1, one('addLearner', d))
    expect(node.proposeConf(2, one('addLearner', e))).toMatchObject([
      { type: 'dropped', proposalId: 2, reason: 'conf-pending', leaderId: a },
    ])
    node.replicate(b)
    expect(node.proposeConf(3, one('addLearner', e))).not.toMatchObject([{ type: 'dropped' }])
  })

  it('before everything that earlier leaders left has taken effect', () => {
    const node = new TestNode({ refs: [refOf(1, 1), changeRef(1, 2, one('addLearner', d))] })
    node.lead()
    expect(node.proposeConf(1, one('addLearner', e))).toMatchObject([{ reason: 'conf-pending' }])
    node.replicate(b, c)
    expect(node.proposeConf(2, one('addLearner', e))).not.toMatchObject([{ type: 'dropped' }])
  })

  it('that cannot be applied', () => {
    const node = leader()
    expect(node.proposeConf(1, leaveJoint)).toMatchObject([{ reason: 'conf-invalid' }])
    const solo = new TestNode({ config: { voters: [a] } })
    solo.lead()
    expect(solo.proposeConf(1, one('remove', a))).toMatchObject([{ reason: 'conf-invalid' }])
  })

  it('after which too few of the voters that answer would remain', () => {
    const node = leader()
    node.tick(11)
    node.beat(b)
    // c is silent: without b nobody is left to agree with.
    expect(node.proposeConf(1, one('remove', b))).toMatchObject([{ reason: 'would-lose-quorum' }])
    node.beat(c)
    expect(node.proposeConf(2, one('remove', b))).not.toMatchObject([{ type: 'dropped' }])
  })

  it('with a voter that nobody has heard of', () => {
    const node = new TestNode({ config: { voters: [a] } })
    node.lead()
    expect(node.proposeConf(1, one('addVoter', b))).toMatchObject([{ reason: 'would-lose-quorum' }])
    node.proposeConf(2, one('addLearner', b))
    node.persist()
    node.accept(b, 2)
    node.proposeConf(3, one('addVoter', b))
    node.persist()
    expect(node.status.confState.voters).toEqual([a, b])
  })

  it('that promotes a learner which lags', () => {
    const node = leader({ caughtUpEntries: 2 })
    node.proposeConf(1, one('addLearner', d))
    node.replicate(b, c)
    for (const id of [2, 3, 4]) node.propose(id)
    node.replicate(b, c)
    node.accept(d, 2)
    expect(node.proposeConf(5, one('addVoter', d))).toMatchObject([{ reason: 'learner-behind' }])
    node.accept(d, 3)
    expect(node.proposeConf(6, one('addVoter', d))).not.toMatchObject([{ type: 'dropped' }])
  })

  it('none of the last three with the guard off, as in etcd', () => {
    const node = new TestNode({ config: { voters: [a], confChangeGuard: false } })
    node.lead()
    node.proposeConf(1, one('addVoter', b))
    node.persist()
    expect(node.status.confState.voters).toEqual([a, b])
  })
})

describe('joint consensus (Raft §4.3)', () => {
  it('replaces a node in one change, which the leader leaves by itself', () => {
    const node = leader()
    node.proposeConf(1, one('addLearner', d))
    node.replicate(b, c, d)
    node.proposeConf(2, replaceCByD)
    node.replicate(b)
    expect(node.status).toMatchObject({
      commit: 3,
      lastIndex: 4,
      confState: { voters: [a, b, d], votersOutgoing: [a, b, c], autoLeave: true },
    })
    const [entry] = node.all('append').at(-1)!.entries
    expect(entry!.ref).toMatchObject({ index: 4, bytes: 0, change: leaveJoint })
    node.replicate(b)
    expect(node.status.confState).toEqual(confStateOf([a, b, d]))
    expect(Object.keys(node.status.peers)).toEqual([b, d])
  })

  it('commits only with a majority of both', () => {
    const node = new TestNode({
      confState: { ...confStateOf([a, b, c]), votersOutgoing: [a, d, e] },
    })
    node.step({ type: 'campaign' })
    node.persist()
    node.receive({ type: 'voteResp', from: b, granted: true })
    expect(node.status.role).toBe('candidate')
    node.receive({ type: 'voteResp', from: d, granted: true })
    expect(node.status.role).toBe('leader')
    node.persist()
    node.accept(b, 1)
    node.accept(c, 1)
    expect(node.status.commit).toBe(0)
    node.accept(e, 1)
    expect(node.status.commit).toBe(1)
  })

  it('a new leader leaves what its predecessor entered', () => {
    const node = new TestNode({ refs: [refOf(1, 1), changeRef(1, 2, replaceCByD)], commit: 2 })
    expect(node.status.confState.autoLeave).toBe(true)
    node.lead()
    expect(node.status.lastIndex).toBe(3)
    node.replicate(b)
    expect(node.status).toMatchObject({ commit: 3, lastIndex: 4 })
    node.replicate(b)
    expect(node.status.confState).toEqual(confStateOf([a, b, d]))
  })

  it('explicit: stays joint until somebody leaves it', () => {
    const node = leader({ confChangeGuard: false })
    node.proposeConf(1, { ...replaceCByD, transition: 'jointExplicit' })
    node.replicate(b)
    node.propose(2)
    node.replicate(b)
    expect(node.status).toMatchObject({ lastIndex: 3, confState: { votersOutgoing: [a, b, c] } })
    expect(node.proposeConf(3, one('addVoter', e))).toMatchObject([{ reason: 'conf-pending' }])
    node.proposeConf(4, leaveJoint)
    node.replicate(b)
    expect(node.status.confState).toEqual(confStateOf([a, b, d]))
  })

  it('waits with leaving while leadership is handed over', () => {
    const node = leader({ confChangeGuard: false })
    node.proposeConf(1, replaceCByD)
    node.step({ type: 'transferLeadership', to: b })
    node.persist()
    node.accept(b, 2)
    expect(node.status).toMatchObject({ commit: 2, lastIndex: 2, leadTransferee: b })
    node.tick(10)
    expect(node.all('transferFailed')).toEqual([{ type: 'transferFailed', to: b, reason: 'timeout' }])
    expect(node.status.lastIndex).toBe(3)
  })
})

describe('a removed leader', () => {
  it('does not count itself, commits its own removal, and steps down (Raft §4.2.2)', () => {
    const node = leader({ confChangeGuard: false })
    node.proposeConf(1, { transition: 'jointExplicit', changes: [{ type: 'remove', peer: a }] })
    node.replicate(b)
    expect(node.status).toMatchObject({ role: 'leader', confState: { voters: [b, c], votersOutgoing: [a, b, c] } })
    node.proposeConf(2, leaveJoint)
    node.persist()
    node.accept(b, 3)
    // Of the new voters only b has it.
    expect(node.status).toMatchObject({ role: 'leader', commit: 2 })
    node.accept(c, 3)
    expect(node.status).toMatchObject({ role: 'follower', leaderId: undefined, confState: { voters: [b, c] } })
    node.take()
    node.tick(100)
    node.step({ type: 'campaign' })
    expect(node.take()).toEqual([])
  })

  it('goes on without counting itself where that is asked for, and takes no proposals', () => {
    const node = leader({ stepDownOnRemoval: false })
    node.proposeConf(1, one('remove', a))
    node.replicate(b)
    expect(node.status).toMatchObject({ role: 'leader', confState: { voters: [b, c] } })
    expect(node.propose(2)).toMatchObject([{ type: 'dropped', reason: 'not-leader' }])
  })

  it('tells those who ask for its vote what they do not know: that it is removed (raft-rs)', () => {
    const refs = [refOf(1, 1), changeRef(1, 2, one('remove', c)), refOf(1, 3)]
    const removed = new TestNode({ config: { id: c }, refs, commit: 2 })
    removed.receive({ type: 'vote', from: a, term: 2, lastLogIndex: 2, lastLogTerm: 1 })
    const [refusal] = removed.sent('voteResp')
    expect(refusal).toMatchObject({ granted: false, commit: 2, commitTerm: 1 })
    // b is gone too: of the old voters, a alone would wait for c's vote for ever.
    const node = new TestNode({ refs: refs.slice(0, 2), commit: 1 })
    node.step({ type: 'campaign' })
    node.receive({ ...refusal! })
    expect(node.status).toMatchObject({ commit: 2, role: 'follower', confState: { voters: [a, b] } })
  })

  it('a refusal that names an entry which is not in the log teaches nothing', () => {
    const node = new TestNode({ log: [1, 1] })
    node.step({ type: 'campaign' })
    node.receive({ type: 'voteResp', from: b, granted: false, commit: 2, commitTerm: 2 })
    node.receive({ type: 'voteResp', from: b, granted: false, commit: 3, commitTerm: 1 })
    expect(node.status.commit).toBe(0)
  })
})

describe('a learner', () => {
  const confState = { ...confStateOf([a, b]), learners: [c] }

  it('gets the log and counts in no quorum', () => {
    const node = new TestNode({ confState })
    node.lead()
    node.accept(c, 1)
    expect(node.status).toMatchObject({ commit: 0, peers: { [c]: { match: 1, isLearner: true } } })
    node.accept(b, 1)
    expect(node.status.commit).toBe(1)
  })

  it('does not keep a leader alive that lost its voters', () => {
    const node = new TestNode({ confState, config: { checkQuorum: true } })
    node.lead()
    node.beat(b)
    node.tick(10)
    expect(node.status.role).toBe('leader')
    node.beat(c)
    node.tick(10)
    expect(node.status.role).toBe('follower')
  })

  it('never campaigns', () => {
    const node = new TestNode({ config: { id: c }, confState })
    node.tick(100)
    node.step({ type: 'campaign' })
    node.receive({ type: 'timeoutNow', from: a, term: 1 })
    expect(node.status).toMatchObject({ role: 'follower', isLearner: true })
    expect(node.sent('vote')).toEqual([])
  })

  it('votes when asked: it may be a voter without knowing it yet (etcd#10998)', () => {
    const node = new TestNode({ config: { id: c }, confState })
    node.receive({ type: 'vote', from: b, term: 1, lastLogIndex: 0, lastLogTerm: 0 })
    node.persist()
    expect(node.sent('voteResp')).toMatchObject([{ granted: true }])
  })
})

describe('members that come and go', () => {
  it('a new one is probed at once, and counts as active until it had time to answer', () => {
    const node = leader({ checkQuorum: true })
    node.proposeConf(1, one('addLearner', d))
    node.replicate(b)
    expect(node.sent('append').filter(({ to }) => to === d)).toMatchObject([{ prevLogIndex: 1 }])
    expect(node.status.peers[d]).toMatchObject({ match: 0, next: 2, recentActive: true })
  })

  it('messages of one that left, or of another incarnation, reach no progress', () => {
    const node = leader()
    node.proposeConf(1, one('remove', c))
    node.replicate(b)
    node.take()
    node.accept(c, 2)
    node.accept(e, 2)
    node.beat(e)
    expect(node.take()).toEqual([])
    expect(Object.keys(node.status.peers)).toEqual([b])
  })

  it('a removal can commit what was waiting for the one removed', () => {
    const node = new TestNode({ config: { voters: [a, b, c, d], confChangeGuard: false } })
    node.step({ type: 'campaign' })
    node.persist()
    for (const from of [b, c]) node.receive({ type: 'voteResp', from, granted: true })
    node.replicate(b, c)
    node.proposeConf(1, one('remove', d))
    node.propose(2)
    node.persist()
    node.accept(b, 3)
    expect(node.status.commit).toBe(1)
    // Three of four have the removal; of the three left, two have what follows.
    node.accept(c, 2)
    expect(node.status).toMatchObject({ commit: 3, confState: { voters: [a, b, c] } })
  })

  it('a replica does not campaign while a committed change waits for its disk', () => {
    const node = new TestNode({ log: [1] })
    const entries = [changeRef(1, 2, one('remove', c))]
    node.receive({ type: 'append', from: b, prevLogIndex: 1, prevLogTerm: 1, entries, leaderCommit: 2 })
    node.step({ type: 'campaign' })
    expect(node.status.role).toBe('follower')
    node.persist()
    node.step({ type: 'campaign' })
    expect(node.status.role).toBe('candidate')
  })
})

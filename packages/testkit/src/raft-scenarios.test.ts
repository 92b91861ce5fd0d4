// Scenarios of several replicas, written out: the figures of the Raft paper, and accidents that happened elsewhere.
import { type EntryRef } from '@cipherlog/raft'
import { describe, expect, it } from 'vitest'
import { type RaftDisk } from './raft-disk.ts'
import { RaftNetwork } from './raft-network.ts'
import { raftNetworkConfig } from './raft-options.ts'

/** A disk whose log has the given terms; equal (index, term) have equal contents. */
function disk(term: number, ...terms: readonly number[]): Pick<RaftDisk, 'hardState' | 'refs'> {
  const refs = terms.map((term, i): EntryRef => ({
    term,
    index: i + 1,
    kind: 3,
    time: raftNetworkConfig.initialTimeMs + i,
    bytes: 10,
    digest: new Uint8Array(32).fill(16 * term + i),
  }))
  return { hardState: { term, votedFor: undefined, commit: 0 }, refs }
}

const terms = ({ refs }: Pick<RaftDisk, 'refs'>): number[] => refs.map((ref) => ref.term)
/** So that a campaign is decided by logs alone. */
const plain = { preVote: false, checkQuorum: false }

describe('Raft fig. 3.6 (paper fig. 7)', () => {
  it.each([1, 1 << 20])(
    'a leader brings every kind of divergent log to its own (maxAppendBytes %i)',
    (maxAppendBytes) => {
      const network = new RaftNetwork({
        seed: 7,
        nodes: 7,
        config: { ...plain, maxAppendBytes },
        disks: [
          disk(7, 1, 1, 1, 4, 4, 5, 5, 6, 6, 6),
          disk(7, 1, 1, 1, 4, 4, 5, 5, 6, 6),
          disk(7, 1, 1, 1, 4),
          disk(7, 1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6),
          disk(7, 1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7),
          disk(7, 1, 1, 1, 4, 4, 4, 4),
          disk(7, 1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3),
        ],
      })
      network.campaign(0)
      expect(network.leaders).toEqual([0])
      for (let at = 0; at < 7; at++) {
        expect(terms(network.disk(at)), `node ${at}`).toEqual([1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 8])
        expect(network.raft(at).status.commit).toBe(11)
      }
    },
  )
})

describe('Raft fig. 3.7 (paper fig. 8)', () => {
  const start = (): RaftNetwork =>
    new RaftNetwork({
      seed: 8,
      nodes: 5,
      config: { ...plain, maxAppendBytes: 1 },
      disks: [disk(3, 1, 2), disk(3, 1, 2), disk(3, 1), disk(3, 1), disk(3, 1, 3)],
    })

  it('(c, d): an entry of an earlier term on a majority of disks is not committed, and may be overwritten', () => {
    const network = start()
    // S1 leads term 4 and gets its entry of term 2 to S3, but none of term 4 out.
    network.intercept = (message) =>
      message.type === 'append' ? { ...message, entries: message.entries.filter(({ term }) => term < 4) } : message
    network.partition([0, 1, 2], [3, 4])
    network.campaign(0)
    network.run(4)
    expect(network.leaders).toEqual([0])
    expect([0, 1, 2].map((at) => terms(network.disk(at))[1])).toEqual([2, 2, 2])
    expect(network.raft(0).status.commit).toBeLessThan(2)
    // S1 is cut off; S5, with an entry of term 3, may win and overwrite it.
    network.intercept = (message) => message
    network.heal()
    network.isolate(0)
    network.campaign(4)
    network.campaign(4)
    expect(network.raft(4).status.role).toBe('leader')
    expect(network.committedTerms.slice(0, 2)).toEqual([1, 3])
    network.expectConvergence()
    expect(network.committedTerms[1]).toBe(3)
  })

  it('(e): once an entry of its own term is on a majority, both are committed and S5 cannot win', () => {
    const network = start()
    network.partition([0, 1, 2], [3, 4])
    network.campaign(0)
    expect(network.raft(0).status.commit).toBe(3)
    expect(network.committedTerms).toEqual([1, 2, 4])
    network.heal()
    network.isolate(0)
    for (let i = 0; i < 5; i++) network.campaign(4)
    expect(network.raft(4).status.role).not.toBe('leader')
    network.expectConvergence()
    expect(network.committedTerms.slice(0, 3)).toEqual([1, 2, 4])
  })
})

describe('a partition', () => {
  it('a deposed leader serves no read, and its uncommitted proposals are lost', () => {
    const network = new RaftNetwork({ seed: 1, nodes: 3, config: { checkQuorum: false } })
    network.campaign(0)
    network.isolate(0)
    network.propose(0)
    network.runUntil(() => network.leaders.length === 2, 100)
    const next = network.leaders.find((at) => at !== 0)!
    network.propose(next)
    network.settle()
    const stale = network.read(0)
    const fresh = network.read(next)
    network.run(20)
    expect(network.readsReady.has(stale)).toBe(false)
    expect(network.readsReady.get(fresh)).toBe(3)
    network.heal()
    network.run(20)
    expect(network.readsReady.has(stale)).toBe(false)
    expect(network.counts).toMatchObject({ readsFailed: 1, lost: 1 })
    network.expectConvergence()
  })

  it('a leader on the small side steps down by check-quorum; a node that was away disturbs nobody by pre-vote', () => {
    const network = new RaftNetwork({ seed: 2, nodes: 3 })
    network.campaign(0)
    const { term } = network.raft(0).status
    network.isolate(2)
    network.run(200)
    expect(network.raft(2).status).toMatchObject({ term, role: 'preCandidate' })
    network.heal()
    network.run(200)
    expect(network.raft(0).status).toMatchObject({ term, role: 'leader' })
    expect(network.raft(2).status).toMatchObject({ term, role: 'follower' })
    network.isolate(0)
    network.run(100)
    expect(network.raft(0).status.role).not.toBe('leader')
    expect(network.leaders).toHaveLength(1)
  })

  it('without pre-vote and check-quorum the same return deposes the leader', () => {
    const network = new RaftNetwork({ seed: 2, nodes: 3, config: plain })
    network.campaign(0)
    const { term } = network.raft(0).status
    network.isolate(2)
    network.run(200)
    network.heal()
    network.run(50)
    expect(network.leaders).toHaveLength(1)
    expect(network.raft(network.leaders[0]!).status.term).toBeGreaterThan(term)
  })
})

describe('a hung disk', () => {
  it('a leader whose disk hangs makes room, and the cluster goes on without it (HR#503, etcd#15247)', () => {
    const network = new RaftNetwork({ seed: 3, nodes: 3 })
    network.campaign(0)
    network.hangDisk(0)
    network.propose(0)
    network.runUntil(() => network.leaders.length === 1 && network.leaders[0] !== 0, 100)
    network.propose(network.leaders[0]!)
    network.settle()
    expect(network.committedTerms).toHaveLength(4)
    expect(network.raft(0).status).toMatchObject({ role: 'follower', durableIndex: 1 })
    network.expectConvergence()
  })

  it('switched off, its heartbeats hold the cluster for as long as the disk hangs', () => {
    const network = new RaftNetwork({ seed: 3, nodes: 3, config: { diskStallTicks: 0 } })
    network.campaign(0)
    network.hangDisk(0)
    network.propose(0)
    network.run(500)
    expect(network.leaders).toEqual([0])
  })
})

describe('a crash', () => {
  it('a vote whose write did not reach the disk was never given', () => {
    const network = new RaftNetwork({ seed: 4, nodes: 3, config: plain })
    network.hangDisk(1)
    network.isolate(2)
    network.campaign(0)
    expect(network.raft(0).status.role).toBe('candidate')
    expect(network.raft(1).status.votedFor).toBe(network.ids[0])
    network.crash(1)
    network.restart(1)
    expect(network.raft(1).status).toMatchObject({ term: 0, votedFor: undefined })
    network.expectConvergence()
  })

  it('a candidate elected by all others waits for its own disk, so a crash cannot make it leader of one term twice', () => {
    const network = new RaftNetwork({ seed: 4, nodes: 3, config: plain })
    // Its disk hangs: the votes of the others come back before its own is durable.
    network.hangDisk(0)
    network.campaign(0)
    expect(network.raft(0).status.role).toBe('candidate')
    network.isolate(2)
    network.propose(0)
    network.settle()
    network.crash(0)
    network.restart(0)
    network.heal()
    network.isolate(1)
    // Node 2 voted for it in term 1 and rightly does so again; node 1 must not hold another entry of that term.
    network.campaign(0)
    network.propose(0)
    network.settle()
    network.heal()
    network.run(20)
    network.expectConvergence()
  })

  it('what was committed survives the crash of any minority, in every role', () => {
    for (const down of [
      [0, 1],
      [1, 2],
      [0, 4],
      [3, 4],
    ]) {
      const network = new RaftNetwork({ seed: 5, nodes: 5 })
      network.campaign(0)
      for (let i = 0; i < 20; i++) network.propose(0)
      network.settle()
      expect(network.committedTerms).toHaveLength(21)
      for (const at of down) network.crash(at)
      network.runUntil(() => network.leaders.length === 1, 100)
      network.expectConvergence()
      expect(network.committedTerms.slice(0, 21)).toEqual(Array<number>(21).fill(1))
    }
  })
})

describe('scale', () => {
  it('101 nodes elect a leader and commit, with a tenth of all messages lost and again when the leader and thirty others are gone', () => {
    const faults = { drop: 0.1, messageRoundsMax: 1 }
    const network = new RaftNetwork({ seed: 101, nodes: 101, config: { electionTicks: 20, diskStallTicks: 0 }, faults })
    network.runUntil(() => network.leaders.length === 1, 300)
    const [leader] = network.leaders
    for (let i = 0; i < 20; i++) network.propose(leader!)
    network.runUntil(() => network.committedTerms.length >= 21, 100)
    const others = network.running.filter((at) => at !== leader)
    for (const at of [leader!, ...others.slice(0, 30)]) network.crash(at)
    network.runUntil(() => network.leaders.length === 1, 300)
    network.propose(network.leaders[0]!)
    network.expectConvergence()
    expect(network.committedTerms.length).toBeGreaterThan(22)
  })
})

describe('snapshots', () => {
  it('a learner catches up though the leader has compacted its whole log (openraft#1828)', () => {
    const network = new RaftNetwork({ seed: 9, nodes: 4, voters: 3 })
    network.campaign(0)
    for (let i = 0; i < 20; i++) network.propose(0)
    network.settle()
    for (const at of [0, 1, 2]) network.compact(at)
    expect(network.disk(0).refs).toEqual([])
    network.proposeConf(0, { transition: 'auto', changes: [{ type: 'addLearner', peer: network.ids[3]! }] })
    network.run(30)
    expect(network.counts).toMatchObject({ snapshotsInstalled: 1 })
    expect(network.raft(3).status).toMatchObject({ isLearner: true, commit: network.committedTerms.length })
    network.proposeConf(0, { transition: 'auto', changes: [{ type: 'addVoter', peer: network.ids[3]! }] })
    network.expectConvergence()
    expect(network.confState.voters).toHaveLength(4)
  })

  it('a wiped node comes back as another peer, learns, and takes its old place in one joint change', () => {
    const network = new RaftNetwork({ seed: 10, nodes: 3 })
    network.campaign(0)
    network.propose(0)
    network.settle()
    const [gone] = [network.ids[2]!]
    network.wipe(2)
    network.restart(2)
    network.run(30)
    expect(network.raft(2).status).toMatchObject({ role: 'follower', lastIndex: 0 })
    const peer = network.ids[2]!
    network.proposeConf(0, { transition: 'auto', changes: [{ type: 'addLearner', peer }] })
    network.run(10)
    const changes = [{ type: 'remove', peer: gone } as const, { type: 'addVoter', peer } as const]
    network.proposeConf(0, { transition: 'jointImplicit', changes })
    network.expectConvergence()
    expect(network.confState).toMatchObject({ votersOutgoing: [], voters: network.ids.toSorted() })
  })
})

describe('the simulation itself', () => {
  it('the same seed gives the same run', () => {
    const run = (seed: number) => {
      const network = new RaftNetwork({
        seed,
        nodes: 3,
        faults: { drop: 0.2, messageRoundsMax: 3, crash: 0.01, downRoundsMax: 9 },
      })
      for (let round = 0; round < 200; round++) {
        network.run(1)
        for (const leader of network.leaders) network.propose(leader)
      }
      return [network.counts, network.committedTerms, network.ids.map((_, at) => network.disk(at))]
    }
    expect(run(11)).toEqual(run(11))
    expect(run(11)).not.toEqual(run(12))
  })

  it('a checker notices a committed entry on too few disks', () => {
    const network = new RaftNetwork({ seed: 6, nodes: 3 })
    network.campaign(0)
    network.propose(0)
    const { status } = network.raft(0)
    const forged = { from: network.ids[1]!, to: status.id, term: status.term } as const
    expect(() =>
      network.step(0, {
        type: 'message',
        message: { type: 'appendResp', ...forged, accepted: true, index: 2, hintIndex: 0, hintTerm: 0 },
        clockMs: 0,
      }),
    ).not.toThrow()
    expect(() =>
      network.step(0, {
        type: 'message',
        message: {
          type: 'appendResp',
          ...forged,
          from: network.ids[2]!,
          accepted: true,
          index: 2,
          hintIndex: 0,
          hintTerm: 0,
        },
        clockMs: 0,
      }),
    ).toThrow('majority of disks')
  })
})

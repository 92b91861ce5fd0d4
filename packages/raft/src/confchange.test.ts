// Configurations and what changes make of them (Raft §4.1, §4.3).
import { describe, expect, it } from 'vitest'
import { changeConf, enterJointConf, leaveJointConf, membersOf, simpleChange } from './confchange.ts'
import {
  type ConfChange,
  type ConfChangeSingle,
  type ConfState,
  confStateOf,
  emptyConfState,
  isConfState,
  leaveJoint,
} from './membership.ts'
import { jointCommittedIndex, jointVoteResult } from './quorum.ts'
import { a, b, c, d, e } from './raft.fixture.ts'
import { seeded } from './random-cluster.fixture.ts'

const add = (peer: string): ConfChangeSingle => ({ type: 'addVoter', peer })
const learn = (peer: string): ConfChangeSingle => ({ type: 'addLearner', peer })
const remove = (peer: string): ConfChangeSingle => ({ type: 'remove', peer })

function apply(conf: ConfState, change: ConfChange): ConfState {
  const result = changeConf(conf, change)
  if ('invalid' in result) throw new Error(result.invalid)
  return result.confState
}

const abc = confStateOf([a, b, c])

describe('a simple change', () => {
  it('adds, removes, promotes and demotes one voter', () => {
    expect(apply(abc, { transition: 'auto', changes: [add(d)] }).voters).toEqual([a, b, c, d])
    expect(apply(abc, { transition: 'auto', changes: [remove(a)] }).voters).toEqual([b, c])
    const demoted = apply(abc, { transition: 'auto', changes: [learn(b)] })
    expect(demoted).toMatchObject({ voters: [a, c], learners: [b] })
    expect(apply(demoted, { transition: 'auto', changes: [add(b)] })).toEqual(abc)
  })

  it('adds learners without touching the voters, any number of them', () => {
    expect(simpleChange(abc, [learn(d), learn(e)])).toMatchObject({
      confState: { voters: [a, b, c], learners: [d, e] },
    })
  })

  it('repeated, or about somebody unknown, changes nothing', () => {
    for (const single of [add(a), remove(d)]) expect(apply(abc, { transition: 'auto', changes: [single] })).toEqual(abc)
  })

  it.each([
    ['of two voters', abc, [add(d), add(e)]],
    ['that leaves no voter', confStateOf([a]), [remove(a)]],
    ['that makes the last voter a learner', confStateOf([a]), [learn(a)]],
  ] as const)('%s is invalid', (_, conf, changes) => {
    expect(simpleChange(conf, changes)).toHaveProperty('invalid')
  })

  it('makes the first voter of a group that has none', () => {
    expect(simpleChange(emptyConfState, [add(a)])).toEqual({ confState: confStateOf([a]) })
  })
})

describe('a joint change', () => {
  it('has both sets of voters vote until it is left', () => {
    const joint = apply(abc, { transition: 'auto', changes: [remove(a), add(d), learn(b)] })
    expect(joint).toEqual({
      voters: [c, d],
      learners: [],
      votersOutgoing: [a, b, c],
      learnersNext: [b],
      autoLeave: true,
    })
    expect(membersOf(joint)).toEqual([a, b, c, d])
    expect(apply(joint, leaveJoint)).toEqual({ ...confStateOf([c, d]), learners: [b] })
  })

  it('explicit: is not left by itself', () => {
    expect(apply(abc, { transition: 'jointExplicit', changes: [add(d)] }).autoLeave).toBe(false)
    expect(apply(abc, { transition: 'jointImplicit', changes: [add(d)] }).autoLeave).toBe(true)
  })

  it('cannot be entered twice, nor without voters, nor left when there is none, nor leave no voter', () => {
    const joint = apply(abc, { transition: 'jointExplicit', changes: [add(d)] })
    expect(changeConf(joint, { transition: 'jointImplicit', changes: [add(e)] })).toHaveProperty('invalid')
    expect(changeConf(joint, { transition: 'auto', changes: [add(e)] })).toHaveProperty('invalid')
    expect(enterJointConf(emptyConfState, true, [add(a)])).toHaveProperty('invalid')
    expect(enterJointConf(abc, true, [remove(a), remove(b), remove(c)])).toHaveProperty('invalid')
    expect(leaveJointConf(abc)).toHaveProperty('invalid')
  })

  it('a voter removed and added again in one change stays', () => {
    const joint = apply(abc, { transition: 'jointImplicit', changes: [remove(a), add(a)] })
    expect(apply(joint, leaveJoint)).toEqual(abc)
  })
})

it('any run of changes keeps the invariants, and neighbours share a voter in any two quorums', () => {
  const random = seeded(1)
  const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)]!
  const ids = [a, b, c, d, e]
  const subsets = Array.from({ length: 32 }, (_, bits) => new Set(ids.filter((_, at) => (bits >> at) & 1)))
  const isQuorumOf = (conf: ConfState, set: ReadonlySet<string>): boolean =>
    [conf.voters, conf.votersOutgoing].every(
      (half) => half.length === 0 || half.filter((id) => set.has(id)).length > half.length / 2,
    )
  let conf = abc
  let joint = 0
  for (let i = 0; i < 2000; i++) {
    const changes = Array.from({ length: pick([0, 1, 1, 2, 3]) }, () => pick([add, add, learn, remove])(pick(ids)))
    const result = changeConf(conf, { transition: pick(['auto', 'auto', 'jointImplicit', 'jointExplicit']), changes })
    if ('invalid' in result) continue
    const next = result.confState
    expect(isConfState(next)).toBe(true)
    for (const old of subsets) {
      if (!isQuorumOf(conf, old)) continue
      const disjoint = new Set(ids.filter((id) => !old.has(id)))
      expect(isQuorumOf(next, disjoint), JSON.stringify([conf, next])).toBe(false)
    }
    if (next.votersOutgoing.length > 0) joint++
    conf = next
  }
  expect(joint).toBeGreaterThan(50)
})

describe('a joint quorum', () => {
  const conf = { voters: [a, b, c], votersOutgoing: [c, d, e] }

  it('commits what both majorities hold', () => {
    const match: Record<string, number> = { [a]: 9, [b]: 8, [c]: 7, [d]: 3, [e]: 1 }
    expect(jointCommittedIndex(conf, (id) => match[id]!)).toBe(3)
    expect(jointCommittedIndex({ ...conf, votersOutgoing: [] }, (id) => match[id]!)).toBe(8)
    expect(jointCommittedIndex(emptyConfState, () => 9)).toBe(0)
  })

  it('wins with both, loses with either', () => {
    const votes = (yes: string[], no: string[]) =>
      new Map([...yes.map((id) => [id, true] as const), ...no.map((id) => [id, false] as const)])
    expect(jointVoteResult(conf, votes([a, b], []))).toBe('pending')
    expect(jointVoteResult(conf, votes([a, b, d, e], []))).toBe('won')
    expect(jointVoteResult(conf, votes([a, b], [d, e]))).toBe('lost')
  })
})

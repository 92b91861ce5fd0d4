import { errorCode } from '@cipherlog/core'
import { describe, expect, it } from 'vitest'
import { type Configuration, type MembershipChange } from '../replicator.ts'
import { afterChange, checkMembershipChange, type KnownReplica, type MembershipView } from './membership-checks.ts'

const configuration: Configuration = {
  voters: ['a', 'b', 'c'],
  learners: ['d'],
  votersOutgoing: [],
  learnersNext: [],
  autoLeave: false,
}
const whole: KnownReplica = { alive: true, trailFrom: 0 }
const view = (
  changes: Partial<MembershipView> = {},
  replicas: Readonly<Record<string, Partial<KnownReplica>>> = {},
): MembershipView => ({
  configuration,
  replica: (peer) => ({ ...whole, ...replicas[peer] }),
  cosigners: { peerIds: ['a', 'b', 'c', 'd', 'e'], quorum: 3 },
  ...changes,
})
const change = (...changes: MembershipChange['changes']): MembershipChange => ({
  transition: 'auto',
  changes,
  addresses: [],
})
const add = (peer: string) => ({ type: 'addVoter', peer }) as const
const learn = (peer: string) => ({ type: 'addLearner', peer }) as const
const remove = (peer: string) => ({ type: 'remove', peer }) as const

function codeOf(of: MembershipView, asked: MembershipChange, force = false): string | undefined {
  try {
    checkMembershipChange(of, asked, force)
    return undefined
  } catch (error) {
    return errorCode(error)
  }
}

describe('checkMembershipChange()', () => {
  it('lets a learner take the place of a voter, and a new one learn', () => {
    expect(codeOf(view(), change(remove('a'), add('d')))).toBeUndefined()
    expect(codeOf(view(), change(learn('e')))).toBeUndefined()
    expect([...afterChange(configuration, change(remove('a'), add('d'))).voters]).toEqual(['b', 'c', 'd'])
  })

  it.each<[string, MembershipChange]>([
    ['names no change', change()],
    ['names a replica twice', change(remove('a'), learn('a'))],
    ['removes who is not there', change(remove('e'))],
    ['adds a voter that votes', change(add('a'))],
    ['adds a learner that learns', change(learn('d'))],
    ['leaves no voter', change(remove('a'), remove('b'), remove('c'))],
    ['has an address of nobody', { ...change(learn('e')), addresses: [{ peerId: 'a', peers: '', api: '' }] }],
  ])('refuses a change that %s', (_, asked) => {
    expect(codeOf(view(), asked)).toBe('ERR_MEMBERSHIP_INVALID')
  })

  it('takes nothing but the end of a joint configuration while there is one', () => {
    const joint = view({ configuration: { ...configuration, votersOutgoing: ['a', 'b'] } })
    expect(codeOf(joint, change(learn('e')))).toBe('ERR_MEMBERSHIP_PENDING')
    expect(codeOf(joint, change())).toBeUndefined()
  })

  it('lets nobody take part whom operators have not listed, and anybody leave', () => {
    expect(codeOf(view(), change(learn('f')))).toBe('ERR_MEMBERSHIP_UNLISTED')
    const cosigners = { peerIds: ['b', 'c', 'd', 'e'], quorum: 3 }
    expect(codeOf(view({ cosigners }), change(remove('a')))).toBeUndefined()
  })

  it('refuses to lose the quorum: one voter of two that are left does not answer', () => {
    expect(codeOf(view({}, { b: { alive: false } }), change(remove('c')))).toBe('ERR_MEMBERSHIP_QUORUM')
    expect(codeOf(view({}, { b: { alive: false } }), change(remove('b')))).toBeUndefined()
    // Three of five answer.
    expect(codeOf(view({}, { b: { alive: false } }), change(add('d')))).toBeUndefined()
  })

  it('refuses to lose the quorum of cosigners, learners counted', () => {
    const cosigners = { peerIds: ['a', 'b', 'c', 'd'], quorum: 4 }
    expect(codeOf(view({ cosigners }), change(remove('a')))).toBe('ERR_MEMBERSHIP_COSIGNERS')
    expect(codeOf(view({ cosigners: { ...cosigners, quorum: 3 } }), change(remove('a')))).toBeUndefined()
    expect(codeOf(view({ cosigners: { ...cosigners, quorum: 3 } }, { d: { alive: false } }), change(remove('a')))).toBe(
      'ERR_MEMBERSHIP_COSIGNERS',
    )
  })

  it('refuses to lose the last whole trails unless forced', () => {
    const joined = view({}, { d: { trailFrom: 256 }, c: { trailFrom: undefined } })
    expect(codeOf(joined, change(remove('a'), add('d')))).toBe('ERR_MEMBERSHIP_TRAIL')
    expect(codeOf(joined, change(remove('a'), add('d')), true)).toBeUndefined()
    expect(codeOf(view({}, { d: { trailFrom: 256 } }), change(remove('a'), add('d')))).toBeUndefined()
  })
})

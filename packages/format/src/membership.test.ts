import { errorCode } from '@cipherlog/core'
import type { ConfChange, ConfState } from '@cipherlog/raft'
import { describe, expect, it } from 'vitest'
import {
  decodeMembershipChange,
  encodeMembershipChange,
  fromStoredConfState,
  membershipPeersMax,
  toStoredConfState,
  type NamedAddress,
} from './membership.ts'

const id = (n: number): string => n.toString(16).padStart(32, '0')
const replace: ConfChange = {
  transition: 'auto',
  changes: [
    { type: 'remove', peer: id(1) },
    { type: 'addVoter', peer: id(4) },
  ],
}
const address: NamedAddress = { peerId: id(4), peers: '[::1]:7444', api: 'https://10.0.0.4:7443' }

function codeOf(run: () => unknown): string | undefined {
  try {
    run()
  } catch (error) {
    return errorCode(error) ?? (error as Error).name
  }
  return undefined
}

describe('a membership change', () => {
  it('comes back as it was proposed, with and without addresses', () => {
    expect(decodeMembershipChange(encodeMembershipChange(replace))).toEqual({ change: replace, addresses: [] })
    expect(decodeMembershipChange(encodeMembershipChange(replace, [address]))).toEqual({
      change: replace,
      addresses: [address],
    })
    for (const transition of ['jointImplicit', 'jointExplicit'] as const) {
      const change = { transition, changes: [{ type: 'addLearner', peer: id(9) }] } as const
      expect(decodeMembershipChange(encodeMembershipChange(change)).change).toEqual(change)
    }
  })

  it('without payload leaves a joint configuration', () => {
    const left = { change: { transition: 'auto', changes: [] }, addresses: [] }
    expect(decodeMembershipChange(new Uint8Array(0))).toEqual(left)
    expect(decodeMembershipChange(encodeMembershipChange({ transition: 'auto', changes: [] }))).toEqual(left)
  })

  it.each<[string, ConfChange, NamedAddress[]]>([
    ['a peer twice', { ...replace, changes: [...replace.changes, { type: 'addLearner', peer: id(4) }] }, []],
    ['two addresses of a peer', replace, [address, address]],
    ['an address without port', replace, [{ ...address, peers: '10.0.0.4' }]],
    ['an API without TLS', replace, [{ ...address, api: 'http://10.0.0.4:7443' }]],
    [
      'too many peers',
      {
        transition: 'auto',
        changes: Array.from({ length: membershipPeersMax + 1 }, (_, n) => ({ type: 'addLearner', peer: id(n) })),
      },
      [],
    ],
  ])('is not written with %s', (_, change, addresses) => {
    expect(codeOf(() => encodeMembershipChange(change, addresses))).toBe('RangeError')
  })
})

it('a configuration comes back as it was stored', () => {
  const conf: ConfState = {
    voters: [id(1), id(2)],
    learners: [id(5)],
    votersOutgoing: [id(2), id(3)],
    learnersNext: [id(3)],
    autoLeave: true,
  }
  expect(fromStoredConfState(toStoredConfState(conf))).toEqual(conf)
})

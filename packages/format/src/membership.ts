/**
 * Who takes part in a group's Raft: the payload of a log entry of kind 34, and the configuration that a snapshot
 * carries. The words are etcd's; peer ids are 16 bytes here and 32 hex digits in the core.
 *
 * Invariant: a change names no peer twice, and no two addresses of one.
 */
import {
  array,
  boolean,
  decode,
  encode,
  enumeration,
  fromHex,
  record,
  refine,
  text,
  toHex,
  type TypeOf,
} from '@cipherlog/core'
import type { ConfChange, ConfState } from '@cipherlog/raft'
import { peerId } from './common.ts'

/** Peers of one configuration, one change, and addresses in it: seven voters, replaced at once, and learners beside. */
export const membershipPeersMax = 16

/** How a change takes effect: in one step if it can, or through a joint configuration that is left by itself or not. */
export const confTransitions = { auto: 1, jointImplicit: 2, jointExplicit: 3 } as const
export const confChangeTypes = { addVoter: 1, addLearner: 2, remove: 3 } as const

/** `host:port`, IPv6 in brackets. */
export const peerAddress = text(264, /^(\[[0-9a-fA-F:.]+\]|[a-zA-Z0-9._-]+):\d{1,5}$/)
/** Base URL of an API, such as `https://10.0.0.2:7443`. */
export const apiUrl = text(272, /^https:\/\/[^\s/]+$/)

/** Where a peer can be reached: others cannot know that of a new one from their configuration files. */
export const memberAddress = record('member-address', {
  peerId: [1, peerId],
  peers: [2, peerAddress],
  api: [3, apiUrl],
})

const change = record('conf-change', { type: [1, enumeration(confChangeTypes)], peerId: [2, peerId] })

/** Kind 34. Without changes it ends a joint configuration. */
export const membershipChange = refine(
  record(
    'membership-change',
    {
      transition: [1, enumeration(confTransitions)],
      changes: [2, array(change, membershipPeersMax)],
    },
    { addresses: [3, array(memberAddress, membershipPeersMax, 1)] },
  ),
  ({ changes, addresses = [] }) => {
    const changed = changes.map((each) => toHex(each.peerId))
    if (new Set(changed).size !== changed.length) return 'names a peer twice'
    const addressed = addresses.map((each) => toHex(each.peerId))
    return new Set(addressed).size === addressed.length ? undefined : 'has two addresses of one peer'
  },
)
export type MembershipChange = TypeOf<typeof membershipChange>
export type MemberAddress = TypeOf<typeof memberAddress>

/** Largest encoding of a change. */
export const membershipChangeBytesMax = 10_240

const peers = array(peerId, membershipPeersMax)

/** Who takes part after an entry: joint while `votersOutgoing` is not empty. Lists are sorted. */
export const confState = record('conf-state', {
  voters: [1, peers],
  learners: [2, peers],
  votersOutgoing: [3, peers],
  /** Voters of the outgoing configuration that become learners when it is left. */
  learnersNext: [4, peers],
  /** The leader ends the joint configuration by itself. */
  autoLeave: [5, boolean()],
})
export type StoredConfState = TypeOf<typeof confState>

type TransitionName = keyof typeof confTransitions
type ChangeTypeName = keyof typeof confChangeTypes
const nameOf = <N extends string>(numbers: Readonly<Record<N, number>>, value: number): N =>
  (Object.keys(numbers) as N[]).find((name) => numbers[name] === value)!

/** Where a replica can be reached; `peerId` in 32 hex digits. */
export interface NamedAddress {
  readonly peerId: string
  readonly peers: string
  readonly api: string
}

/** The payload of an entry of kind 34. @throws RangeError for what no entry may say. */
export function encodeMembershipChange(
  { transition, changes }: ConfChange,
  addresses: readonly NamedAddress[] = [],
): Uint8Array {
  const value: MembershipChange = {
    transition: confTransitions[transition],
    changes: changes.map(({ type, peer }) => ({ type: confChangeTypes[type], peerId: fromHex(peer) })),
  }
  const stored = addresses.map((address) => ({ ...address, peerId: fromHex(address.peerId) }))
  return encode(membershipChange, stored.length === 0 ? value : { ...value, addresses: stored })
}

/**
 * What an entry of kind 34 says. Without payload it is the one by which a leader leaves a joint configuration.
 * @throws {@link DecodeError}
 */
export function decodeMembershipChange(payload: Uint8Array): {
  readonly change: ConfChange
  readonly addresses: readonly NamedAddress[]
} {
  if (payload.length === 0) return { change: { transition: 'auto', changes: [] }, addresses: [] }
  const { transition, changes, addresses = [] } = decode(membershipChange, payload, membershipChangeBytesMax)
  return {
    change: {
      transition: nameOf<TransitionName>(confTransitions, transition),
      changes: changes.map((each) => ({
        type: nameOf<ChangeTypeName>(confChangeTypes, each.type),
        peer: toHex(each.peerId),
      })),
    },
    addresses: addresses.map(({ peerId: id, peers: at, api }) => ({ peerId: toHex(id), peers: at, api })),
  }
}

/** A configuration of the core as it is stored. */
export function toStoredConfState(conf: ConfState): StoredConfState {
  const ids = (list: readonly string[]): Uint8Array[] => list.map((id) => fromHex(id))
  return {
    voters: ids(conf.voters),
    learners: ids(conf.learners),
    votersOutgoing: ids(conf.votersOutgoing),
    learnersNext: ids(conf.learnersNext),
    autoLeave: conf.autoLeave,
  }
}

export function fromStoredConfState(stored: StoredConfState): ConfState {
  const ids = (list: readonly Uint8Array[]): string[] => list.map((id) => toHex(id))
  return {
    voters: ids(stored.voters),
    learners: ids(stored.learners),
    votersOutgoing: ids(stored.votersOutgoing),
    learnersNext: ids(stored.learnersNext),
    autoLeave: stored.autoLeave,
  }
}

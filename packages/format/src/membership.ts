/**
 * Who takes part in a group's Raft: the payload of a log entry of kind 34, and the configuration that a snapshot
 * carries. The words are etcd's; peer ids are 16 bytes here and 32 hex digits in the core.
 *
 * Invariant: a change names no peer twice, and no two addresses of one.
 */
import { array, boolean, enumeration, record, refine, text, toHex, type TypeOf } from '@cipherlog/core'
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

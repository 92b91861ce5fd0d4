/**
 * The words of membership (etcd's `raftpb`): who votes, who learns, and how that changes.
 *
 * A configuration is *joint* while `votersOutgoing` is not empty: every decision then needs a majority of `voters` and
 * one of `votersOutgoing` (Raft §4.3). Lists are sorted and hold no id twice; a learner is in neither list of voters.
 */
import { fromHex, toHex } from '@cipherlog/core'
import { isU32 } from './numbers.ts'

/** A replica: 32 lowercase hex digits of 12 random bytes ‖ u32 incarnation. One id is one disk, for ever. */
export type PeerId = string

/** Who takes part. `learnersNext` become learners when the joint configuration is left: they still vote in the old one. */
export interface ConfState {
  readonly voters: readonly PeerId[]
  readonly learners: readonly PeerId[]
  /** Voters of the configuration that is being left; empty unless joint. */
  readonly votersOutgoing: readonly PeerId[]
  /** Outgoing voters that stay on as learners. */
  readonly learnersNext: readonly PeerId[]
  /** The leader leaves the joint configuration by itself. */
  readonly autoLeave: boolean
}

/** One step of a change: etcd's AddNode, AddLearnerNode, RemoveNode. */
export interface ConfChangeSingle {
  readonly type: 'addVoter' | 'addLearner' | 'remove'
  readonly peer: PeerId
}

/**
 * `auto`: simple if it is one step, else joint and left automatically. `jointImplicit`: joint, left automatically.
 * `jointExplicit`: joint until somebody proposes to leave it. No changes under `auto` leave the joint configuration.
 */
export interface ConfChange {
  readonly transition: 'auto' | 'jointImplicit' | 'jointExplicit'
  readonly changes: readonly ConfChangeSingle[]
}

/** Leaves the joint configuration. The leader appends it by itself, without payload, if `autoLeave` is set. */
export const leaveJoint: ConfChange = { transition: 'auto', changes: [] }

/** What a snapshot says of itself to the core; all else is in the manifest that `digest` names. */
export interface SnapshotMeta {
  /** Last entry it contains, its term and its log time in ms. */
  readonly index: number
  readonly term: number
  readonly time: number
  /** The configuration as of `index`. */
  readonly confState: ConfState
  /** SHA-256 of the manifest, 32 bytes. */
  readonly digest: Uint8Array
}

/** Members of one configuration, and steps of one change, at most: far more than anybody runs. */
export const membersMax = 255

/** A configuration of voters only. */
export function confStateOf(voters: readonly PeerId[]): ConfState {
  return { voters: voters.toSorted(), learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false }
}

/** No configuration yet: a replica that waits to be contacted. */
export const emptyConfState: ConfState = confStateOf([])

export function isPeerId(id: unknown): id is PeerId {
  return typeof id === 'string' && /^[0-9a-f]{32}$/.test(id)
}

const isSortedSet = (ids: readonly PeerId[]): boolean =>
  Array.isArray(ids) &&
  ids.length <= membersMax &&
  ids.every((id, at) => isPeerId(id) && (at === 0 || ids[at - 1]! < id))

/** True if `conf` satisfies the invariants above. No voters at all: only without any member (not yet contacted). */
export function isConfState(conf: ConfState): boolean {
  const { voters, learners, votersOutgoing, learnersNext, autoLeave } = conf
  if (![voters, learners, votersOutgoing, learnersNext].every(isSortedSet) || typeof autoLeave !== 'boolean') {
    return false
  }
  const joint = votersOutgoing.length > 0
  return (
    (voters.length > 0 || (learners.length === 0 && !joint)) &&
    (joint || (learnersNext.length === 0 && !autoLeave)) &&
    learners.every((id) => !voters.includes(id) && !votersOutgoing.includes(id)) &&
    learnersNext.every((id) => votersOutgoing.includes(id) && !voters.includes(id))
  )
}

/** True if `change` is well-formed; whether it can be applied depends on the configuration. */
export function isConfChange({ transition, changes }: ConfChange): boolean {
  return (
    (transition === 'auto' || transition === 'jointImplicit' || transition === 'jointExplicit') &&
    Array.isArray(changes) &&
    changes.length <= membersMax &&
    changes.every(
      ({ type, peer }: ConfChangeSingle) =>
        (type === 'addVoter' || type === 'addLearner' || type === 'remove') && isPeerId(peer),
    )
  )
}

/** True if every field of `meta` is within what {@link SnapshotMeta} states. */
export function isSnapshotMeta({ index, term, time, confState, digest }: SnapshotMeta): boolean {
  return (
    Number.isSafeInteger(index) &&
    index >= 1 &&
    isU32(term) &&
    term >= 1 &&
    Number.isSafeInteger(time) &&
    time >= 0 &&
    digest.length === 32 &&
    isConfState(confState) &&
    confState.voters.length > 0
  )
}

/** A snapshot as plain JSON; null: none. */
export interface SnapshotDump extends Omit<SnapshotMeta, 'digest'> {
  readonly digest: string
}

export function dumpSnapshot(meta: SnapshotMeta | undefined): SnapshotDump | null {
  return meta === undefined ? null : { ...meta, digest: toHex(meta.digest) }
}

export function loadSnapshot(dump: SnapshotDump | null): SnapshotMeta | undefined {
  return dump === null ? undefined : { ...dump, digest: fromHex(dump.digest) }
}

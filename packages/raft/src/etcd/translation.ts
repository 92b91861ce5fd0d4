/**
 * The core's messages in etcd's words, and back.
 *
 * The core sends references to entries; here payloads travel along, as they do in etcd. The core's read contexts are
 * numbers, carried in `context` as 8 bytes, big-endian. Digests and log times stay zero: the view looks payloads up by
 * index and term, and etcd's entries have no time.
 */
import { type ConfState as CoreConfState, type SnapshotMeta } from '../membership.ts'
import { type Message as CoreMessage } from '../messages.ts'
import { type EntryRef, membershipKind } from '../types.ts'
import { toCoreChange, unmarshalConfChange } from './conf-change.ts'
import { fromPeerId, toPeerId } from './ids.ts'
import { type ConfState, type Entry, type Message, messageOf, type Snapshot } from './types.ts'

/** Kind of entries that do not change membership. */
export const normalKind = 0

/** What marks a campaign that the leader asked for, as in etcd. */
const campaignTransfer = new TextEncoder().encode('CampaignTransfer')

export const zeroDigest = new Uint8Array(32)

/** What the view knows and a message needs. */
export interface Known {
  /** The entry behind a reference. */
  readonly entry: (ref: EntryRef) => Entry
  /** The newest snapshot of this index. */
  readonly snapshot: (index: number) => Snapshot
  /** What this replica knows to be committed; acknowledgements say it. */
  readonly commit: number
}

export function toConfState(conf: CoreConfState): ConfState {
  const ids = (peers: readonly string[]): number[] => peers.map(fromPeerId)
  return {
    voters: ids(conf.voters),
    learners: ids(conf.learners),
    votersOutgoing: ids(conf.votersOutgoing),
    learnersNext: ids(conf.learnersNext),
    autoLeave: conf.autoLeave,
  }
}

export function fromConfState(conf: ConfState): CoreConfState {
  const peers = (ids: readonly number[]): string[] => ids.map(toPeerId).sort()
  return {
    voters: peers(conf.voters),
    learners: peers(conf.learners),
    votersOutgoing: peers(conf.votersOutgoing),
    learnersNext: peers(conf.learnersNext),
    autoLeave: conf.autoLeave,
  }
}

/** @throws {@link EtcdError} `ERR_RAFT_CONF_CHANGE` */
export function toRef({ term, index, type, data }: Entry): EntryRef {
  const ref = { term, index, kind: normalKind, time: 0, bytes: data.length, digest: zeroDigest }
  if (type === 'EntryNormal') return ref
  const change = toCoreChange(unmarshalConfChange(type === 'EntryConfChange' ? 1 : 2, data))
  return { ...ref, kind: membershipKind, change }
}

export function toMeta({ metadata: { index, term, confState } }: Snapshot): SnapshotMeta {
  return { index, term, time: 0, confState: fromConfState(confState), digest: zeroDigest }
}

/** What etcd would send. @throws {@link RangeError} for a message that has no counterpart. */
export function toEtcd(message: CoreMessage, known: Known): Message {
  const envelope = { from: fromPeerId(message.from), to: fromPeerId(message.to), term: message.term }
  switch (message.type) {
    case 'preVote':
    case 'vote': {
      const { lastLogIndex: index, lastLogTerm: logTerm } = message
      const type = message.type === 'vote' ? 'MsgVote' : 'MsgPreVote'
      const transfer = message.type === 'vote' && message.transfer === true
      return messageOf({ type, ...envelope, index, logTerm, ...(transfer ? { context: campaignTransfer } : {}) })
    }
    case 'preVoteResp':
      return messageOf({ type: 'MsgPreVoteResp', ...envelope, reject: !message.granted })
    case 'voteResp':
      return messageOf({ type: 'MsgVoteResp', ...envelope, reject: !message.granted })
    case 'append': {
      const { prevLogIndex: index, prevLogTerm: logTerm, leaderCommit: commit } = message
      return messageOf({
        type: 'MsgApp',
        ...envelope,
        index,
        logTerm,
        commit,
        entries: message.entries.map(known.entry),
      })
    }
    case 'appendResp': {
      const { accepted, index, hintIndex: rejectHint, hintTerm: logTerm } = message
      const answer = accepted ? { commit: known.commit } : { reject: true, rejectHint, logTerm }
      return messageOf({ type: 'MsgAppResp', ...envelope, index, ...answer })
    }
    case 'heartbeat':
      return messageOf({
        type: 'MsgHeartbeat',
        ...envelope,
        commit: message.leaderCommit,
        ...contextOf(message.readContext),
      })
    case 'heartbeatResp':
      return messageOf({ type: 'MsgHeartbeatResp', ...envelope, ...contextOf(message.readContext) })
    case 'snapshot':
      return messageOf({ type: 'MsgSnap', ...envelope, snapshot: known.snapshot(message.meta.index) })
    case 'timeoutNow':
      return messageOf({ type: 'MsgTimeoutNow', ...envelope })
    case 'readIndex':
      return messageOf({ type: 'MsgReadIndex', ...envelope, term: 0, ...contextOf(message.context) })
    case 'readIndexResp':
      return messageOf({ type: 'MsgReadIndexResp', ...envelope, index: message.index, ...contextOf(message.context) })
    case 'propose':
    case 'quiesce':
      throw new RangeError(`etcd has no ${message.type} message; the view never lets the core send one`)
  }
}

/** What the core is told; undefined for what it never hears, since the view deals with it. */
export function toCore(message: Message, term: number): CoreMessage | undefined {
  const envelope = { from: toPeerId(message.from), to: toPeerId(message.to), term: message.term }
  const { index, logTerm, commit, reject } = message
  switch (message.type) {
    case 'MsgPreVote':
      return { type: 'preVote', ...envelope, lastLogIndex: index, lastLogTerm: logTerm }
    case 'MsgVote': {
      const vote = { type: 'vote' as const, ...envelope, lastLogIndex: index, lastLogTerm: logTerm }
      return message.context === undefined ? vote : { ...vote, transfer: isTransfer(message.context) }
    }
    case 'MsgPreVoteResp':
      return { type: 'preVoteResp', ...envelope, granted: !reject }
    case 'MsgVoteResp':
      return { type: 'voteResp', ...envelope, granted: !reject }
    case 'MsgApp': {
      const entries = message.entries.map(toRef)
      return { type: 'append', ...envelope, prevLogIndex: index, prevLogTerm: logTerm, entries, leaderCommit: commit }
    }
    case 'MsgAppResp': {
      const hint = { hintIndex: message.rejectHint, hintTerm: reject ? logTerm : 0 }
      return { type: 'appendResp', ...envelope, accepted: !reject, index, ...hint }
    }
    case 'MsgHeartbeat':
      return { type: 'heartbeat', ...envelope, leaderCommit: commit, readContext: numberOf(message.context) }
    case 'MsgHeartbeatResp':
      return { type: 'heartbeatResp', ...envelope, readContext: numberOf(message.context), clockMs: 0 }
    case 'MsgSnap':
      return message.snapshot && { type: 'snapshot', ...envelope, meta: toMeta(message.snapshot) }
    case 'MsgTimeoutNow':
      return { type: 'timeoutNow', ...envelope }
    case 'MsgReadIndex':
      return { type: 'readIndex', ...envelope, term: Math.max(term, 1), context: numberOf(message.context) }
    case 'MsgReadIndexResp':
      return { type: 'readIndexResp', ...envelope, context: numberOf(message.context), index }
    case 'MsgBeat':
    case 'MsgCheckQuorum':
    case 'MsgForgetLeader':
    case 'MsgHup':
    case 'MsgProp':
    case 'MsgSnapStatus':
    case 'MsgStorageAppend':
    case 'MsgStorageAppendResp':
    case 'MsgStorageApply':
    case 'MsgStorageApplyResp':
    case 'MsgTransferLeader':
    case 'MsgUnreachable':
      return undefined
  }
}

const contextBytes = 8

function contextOf(number: number): { readonly context?: Uint8Array } {
  if (number === 0) return {}
  const context = new Uint8Array(contextBytes)
  new DataView(context.buffer).setBigUint64(0, BigInt(number))
  return { context }
}

/** 0 if it is none that {@link contextOf} wrote. */
function numberOf(context: Uint8Array | undefined): number {
  if (context?.length !== contextBytes) return 0
  const number = new DataView(context.buffer, context.byteOffset).getBigUint64(0)
  return number > BigInt(Number.MAX_SAFE_INTEGER) ? 0 : Number(number)
}

function isTransfer(context: Uint8Array): boolean {
  return context.length === campaignTransfer.length && context.every((byte, at) => byte === campaignTransfer[at])
}

import { confStateOf, type Message } from '@cipherlog/raft'
import { decode, encode } from '@cipherlog/core'
import { peerHeader } from '@cipherlog/format/peer-frame'
import { expect, it } from 'vitest'
import { toPeerHeader, toRaftMessage } from './peer-messages.ts'

const envelope = { from: 'aa', to: 'bb', term: 3 }
const digest = new Uint8Array(32).fill(1)
const messages: readonly Message[] = [
  { ...envelope, type: 'preVote', lastLogIndex: 5, lastLogTerm: 2 },
  { ...envelope, type: 'preVoteResp', granted: true },
  { ...envelope, type: 'preVoteResp', granted: false, commit: 4, commitTerm: 2 },
  { ...envelope, type: 'vote', lastLogIndex: 5, lastLogTerm: 2 },
  { ...envelope, type: 'voteResp', granted: false },
  { ...envelope, type: 'voteResp', granted: false, commit: 4, commitTerm: 2 },
  {
    ...envelope,
    type: 'append',
    prevLogIndex: 4,
    prevLogTerm: 2,
    entries: [{ term: 3, index: 5, kind: 33, time: 1_700_000_000_000, bytes: 4, digest }],
    leaderCommit: 4,
  },
  { ...envelope, type: 'appendResp', accepted: false, index: 4, hintIndex: 3, hintTerm: 2 },
  { ...envelope, type: 'heartbeat', leaderCommit: 4, readContext: 9 },
  { ...envelope, type: 'heartbeatResp', readContext: 9, clockMs: 1_700_000_000_000 },
  { ...envelope, type: 'preVote', lastLogIndex: 5, lastLogTerm: 2, priority: 3 },
  { ...envelope, type: 'vote', lastLogIndex: 5, lastLogTerm: 2, priority: 3, transfer: true },
  {
    ...envelope,
    type: 'snapshot',
    meta: { index: 9, term: 2, time: 1_700_000_000_000, confState: confStateOf(['ab'.repeat(16)]), digest },
  },
  { ...envelope, type: 'timeoutNow' },
  { ...envelope, type: 'readIndex', context: 7 },
  { ...envelope, type: 'readIndexResp', context: 7, index: 9 },
  { ...envelope, type: 'quiesce', index: 9 },
  { ...envelope, type: 'quiesce', index: 9, wake: true },
]

it.each(messages)('a Raft message survives the wire: $type', (message) => {
  const group = new Uint8Array(16)
  const header = decode(peerHeader, encode(peerHeader, toPeerHeader(message, group)))
  expect(toRaftMessage(header, 'aa', 'bb')).toEqual(message)
})

it('the change of a membership entry travels in its payload only', () => {
  const entry = { term: 3, index: 5, kind: 34, time: 0, bytes: 4, digest }
  const append = { ...envelope, type: 'append', prevLogIndex: 4, prevLogTerm: 2, leaderCommit: 4 } as const
  const change = { transition: 'auto', changes: [] } as const
  const header = toPeerHeader({ ...append, entries: [{ ...entry, change }] }, new Uint8Array(16))
  expect(toRaftMessage(header, 'aa', 'bb')).toEqual({ ...append, entries: [entry] })
})

it('toRaftMessage() is undefined for headers of other kinds', () => {
  expect(toRaftMessage({ type: 'cosignatureRequest', group: new Uint8Array(16), size: 0 }, 'aa', 'bb')).toBeUndefined()
})

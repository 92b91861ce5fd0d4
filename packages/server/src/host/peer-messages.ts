/** Raft's messages as peer headers and back: the same fields, but for the ends of the connection. */
import { fromStoredConfState, toStoredConfState } from '@cipherlog/format'
import { type PeerHeader } from '@cipherlog/format/peer-frame'
import { type Message } from '@cipherlog/raft'

type RaftHeader = Extract<PeerHeader, { readonly term: number }>

/**
 * The header of a message of the Raft group `group` (16 bytes).
 * @throws RangeError for a forwarded proposal: a leader admits what clients bring to it, nothing else.
 */
export function toPeerHeader(message: Message, group: Uint8Array): RaftHeader {
  const { from: _from, to: _to, ...fields } = message
  if (fields.type === 'append') {
    // A membership entry says what it does in its payload.
    return { ...fields, group, entries: fields.entries.map(({ change: _change, ...ref }) => ref) }
  }
  if (fields.type === 'snapshot') {
    return { ...fields, group, meta: { ...fields.meta, confState: toStoredConfState(fields.meta.confState) } }
  }
  if (fields.type === 'preVote' || fields.type === 'vote') {
    // Absent is 0.
    const { priority, ...rest } = fields
    return { ...rest, group, ...(priority === undefined || priority === 0 ? {} : { priority }) }
  }
  if (fields.type === 'propose') throw new RangeError('proposals are not forwarded')
  return { ...fields, group }
}

/**
 * The message that a header holds, refs of membership entries without their change; undefined if it holds none of
 * Raft's. `from` is the authenticated peer.
 */
export function toRaftMessage(header: PeerHeader, from: string, to: string): Message | undefined {
  if (!('term' in header)) return undefined
  const { group: _group, ...fields } = header
  if (fields.type !== 'snapshot') return { ...fields, from, to }
  return { ...fields, from, to, meta: { ...fields.meta, confState: fromStoredConfState(fields.meta.confState) } }
}

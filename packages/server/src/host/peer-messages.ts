/** Raft's messages as peer headers and back: the same fields, but for the ends of the connection. */
import { type PeerHeader } from '@cipherlog/format/peer-frame'
import { type Message } from '@cipherlog/raft'

type RaftHeader = Extract<PeerHeader, { readonly term: number }>

/** The header of a message of the Raft group `group` (16 bytes). */
export function toPeerHeader(message: Message, group: Uint8Array): RaftHeader {
  const { from: _from, to: _to, ...fields } = message
  return { ...fields, group } as RaftHeader
}

/** The message that a header holds; undefined if it holds none of Raft's. `from` is the authenticated peer. */
export function toRaftMessage(header: PeerHeader, from: string, to: string): Message | undefined {
  if (!('term' in header)) return undefined
  if (['snapshot', 'timeoutNow', 'readIndex', 'readIndexResp', 'quiesce'].includes(header.type)) return undefined
  const { group: _group, ...fields } = header
  return { ...fields, from, to } as Message
}

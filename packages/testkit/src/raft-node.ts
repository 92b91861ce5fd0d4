/**
 * A place where a simulated replica runs, how its peers are named, and what happens there as a line for people.
 */
import { toHex, writeU32 } from '@cipherlog/core'
import { type ConfState, type Message, type PeerId, type Raft } from '@cipherlog/raft'
import { type RaftDisk, type RaftWrite } from './raft-disk.ts'

export interface Write {
  readonly effect: RaftWrite
  readonly due: number
  /** Of its node's ticks, when it began. */
  readonly tick: number
}

export interface Node {
  readonly at: number
  incarnation: number
  id: PeerId
  disk: RaftDisk
  raft: Raft | undefined
  writes: Write[]
  /** The snapshot that is being fetched for a message. */
  fetch: { readonly message: Message & { type: 'snapshot' }; readonly due: number } | undefined
  diskHangs: boolean
  downUntil: number
  pausedUntil: number
  readonly skewMs: number
  /** Commit index already compared with the others'. */
  checkedCommit: number
  /** Applied by the machine in memory, which a crash loses, and its value; the configuration as of there. */
  applied: number
  state: number
  confs: { readonly index: number; readonly conf: ConfState }[]
  lastIoId: number
  ticks: number
  /** Term after its last step. */
  term: number
}

/** 12 bytes that name the place, and the incarnation. */
export function peerId(at: number, incarnation: number): PeerId {
  const bytes = new Uint8Array(16).fill(at + 1)
  writeU32(bytes, 12, incarnation)
  return toHex(bytes)
}

/** The place of a peer, whichever incarnation. */
export function placeOf(id: PeerId): number {
  return parseInt(id.slice(0, 2), 16) - 1
}

/** One line for people: peers as places, digests left out. */
export function show(what: unknown): string {
  const text = JSON.stringify(what, (key, value: unknown) =>
    key === 'digest' || key === 'clockMs' || key === 'time' ? undefined : value,
  )
  return text.replaceAll(/"([0-9a-f]{2})\1{11}([0-9a-f]{8})"/g, (_, place: string, incarnation: string) => {
    const number = parseInt(incarnation, 16)
    return `#${parseInt(place, 16) - 1}${number === 0 ? '' : `.${number}`}`
  })
}

/** The layout of keys in the state store: one letter for the kind, then what identifies the record. */
import { concatBytes, utf8, writeU64 } from '@cipherlog/core'

const separator = Uint8Array.of(0)

function u64(value: number): Uint8Array {
  const out = new Uint8Array(8)
  writeU64(out, 0, value)
  return out
}

/** Prefixes to iterate over when a ledger opens. */
export const statePrefixes = {
  keyEvents: utf8('r'),
  cells: utf8('c'),
  seen: utf8('t'),
  groupStarts: utf8('g'),
  clientSessions: utf8('h'),
  sessions: utf8('s'),
  quarantines: utf8('u'),
  memberAddresses: utf8('a'),
  envelopes: utf8('e'),
} as const

export const stateKeys = {
  ledger: utf8('L'),
  genesis: utf8('G'),
  keyEvent: (number: number) => concatBytes(statePrefixes.keyEvents, u64(number)),
  groupStart: (generation: number) => concatBytes(statePrefixes.groupStarts, u64(generation)),
  clientSessions: (client: Uint8Array) => concatBytes(statePrefixes.clientSessions, client),
  session: (client: Uint8Array, number: number) => concatBytes(statePrefixes.sessions, client, u64(number)),
  envelope: (id: Uint8Array) => concatBytes(statePrefixes.envelopes, id),
  /** Namespace names hold no zero byte, so the separator cannot be confused. */
  value: (namespace: string, key: Uint8Array) => concatBytes(utf8('k'), utf8(namespace), separator, key),
  cell: (number: number) => concatBytes(statePrefixes.cells, u64(number)),
  seen: (treeSize: number) => concatBytes(statePrefixes.seen, u64(treeSize)),
  quarantine: (index: number, digest: Uint8Array) => concatBytes(statePrefixes.quarantines, u64(index), digest),
  /** Where a replica can be reached, as membership entries say. */
  memberAddress: (peerId: Uint8Array) => concatBytes(statePrefixes.memberAddresses, peerId),
  quota: (client: Uint8Array) => concatBytes(utf8('q'), client),
} as const

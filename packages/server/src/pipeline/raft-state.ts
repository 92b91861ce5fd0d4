/** What the Raft core starts with, read back from the WAL. */
import { decodeMembershipChange, type NamedAddress } from '@cipherlog/format'
import { membershipKind, type ConfState, type EntryRef, type PersistedState, type SnapshotMeta } from '@cipherlog/raft'
import { type Wal, type WalGroupContents } from '@cipherlog/storage'

export interface RaftState {
  readonly persisted: PersistedState
  /** Addresses that membership entries of the log name, by the entry's index. */
  readonly addresses: ReadonlyMap<number, readonly NamedAddress[]>
}

/**
 * Joins refs of membership entries with what their payloads say: the core acts on it, and cannot read them.
 * @param confState - the configuration as of `confIndex`: that of the genesis (0) or of the newest snapshot.
 * @param filled - resolves once the payload of an entry, damaged on this disk, was fetched from a peer; without it
 * reading such an entry throws `ERR_WAL_PAYLOAD_DAMAGED`.
 */
export async function readRaftState(options: {
  readonly group: Uint8Array
  readonly wal: Pick<Wal, 'read'>
  readonly contents: Pick<WalGroupContents, 'hardState' | 'baseIndex' | 'baseTerm' | 'baseTime' | 'refs' | 'holes'>
  readonly applied: number
  readonly confState: ConfState
  readonly confIndex: number
  readonly snapshot?: SnapshotMeta | undefined
  readonly filled?: (index: number) => Promise<void>
}): Promise<RaftState> {
  const { group, wal, contents, applied, confState, confIndex, snapshot, filled } = options
  const { baseIndex, baseTerm, baseTime } = contents
  const addresses = new Map<number, readonly NamedAddress[]>()
  const refs: EntryRef[] = []
  for (const ref of contents.refs) {
    if (ref.kind !== membershipKind) {
      refs.push(ref)
      continue
    }
    if (contents.holes.some(({ index }) => index === ref.index)) await filled?.(ref.index)
    const [entry] = await wal.read(group, ref.index, ref.index, Number.MAX_SAFE_INTEGER)
    const { change, addresses: named } = decodeMembershipChange(entry!.payload)
    refs.push({ ...ref, change })
    addresses.set(ref.index, named)
  }
  return {
    persisted: {
      hardState: contents.hardState ?? { term: 0, votedFor: undefined, commit: 0 },
      ...(baseIndex === 0 ? {} : { base: { index: baseIndex, term: baseTerm, time: baseTime } }),
      refs,
      applied,
      confState,
      confIndex,
      ...(snapshot === undefined ? {} : { snapshot }),
    },
    addresses,
  }
}

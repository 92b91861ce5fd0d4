/**
 * Which of the stores on a disk belong together after a crash. A snapshot is installed in steps, each durable before
 * the next: state, trail, log. What a crash left undone is done again at the next start.
 */
import { CipherlogError } from '@cipherlog/core'
import { type SnapshotManifest, type SnapshotPair } from '@cipherlog/format'
import { type Ledger } from '@cipherlog/machine'
import {
  type SnapshotStore,
  type StateStore,
  type StoredSnapshot,
  type TrailStore,
  type Wal,
  type WalGroupContents,
} from '@cipherlog/storage'
import { type ConfState } from '@cipherlog/raft'
import { type SignedHead } from './publisher.ts'
import { type RaftState } from './raft-state.ts'

/** What the replica keeps on its disk. */
export interface MemberStores {
  readonly wal: Wal
  /** What opening the WAL found of this group. */
  readonly contents: WalGroupContents
  /** The WAL is damaged and was opened for reading only. */
  readonly readOnly?: boolean
  readonly state: StateStore
  readonly snapshots: SnapshotStore
  readonly trail: {
    open(treeSize: number): Promise<TrailStore>
    /** The trail, closed, begins with this snapshot from now on. */
    install(manifest: SnapshotManifest, pairs: AsyncIterable<SnapshotPair>): Promise<void>
  }
  /** Trails of generations before a restore, whole, by generation: what was written then is proven by them. */
  readonly olderTrails?: ReadonlyMap<number, TrailStore>
  readonly signedHead: SignedHead
  /** Notes of transition sizes that were published before this replica came; durable when `write` resolves. */
  readonly joinNotes: { read(): readonly string[]; write(notes: readonly string[]): Promise<void> }
}

/** The newest snapshot that the log goes on from; one that was fetched and never installed is none. */
export function newestWithin(snapshots: SnapshotStore, { baseIndex }: WalGroupContents, applied: number) {
  return snapshots.list().find(({ manifest: { index } }) => index <= applied && index >= baseIndex)
}

export const metaOf = ({ manifest: { index, term, time }, digest }: StoredSnapshot) => ({ index, term, time, digest })

/**
 * A crash between the state's installation and the log's: the log is put after the snapshot that the state is of.
 * @throws CipherlogError `ERR_WAL_LOST` if the log lacks what the state holds, and no snapshot explains it.
 */
export async function finishInstallation(stores: MemberStores, ledger: Ledger): Promise<WalGroupContents> {
  const { wal, contents, snapshots } = stores
  const { appliedIndex } = ledger
  const snapshot = snapshots.list().find(({ manifest }) => manifest.index === appliedIndex)
  const last = contents.baseIndex + contents.refs.length
  const ref = contents.refs[appliedIndex - contents.baseIndex - 1]
  const term = appliedIndex === contents.baseIndex ? contents.baseTerm : ref?.term
  if (appliedIndex <= last && (snapshot === undefined || term === snapshot.manifest.term)) return contents
  if (snapshot === undefined) {
    throw new CipherlogError(
      'ERR_WAL_LOST',
      `The state holds entries up to ${appliedIndex}, but the log ends at ${last}; replace this replica by one with new keys.`,
      { details: { appliedIndex, last } },
    )
  }
  const { index, term: baseTerm, time } = snapshot.manifest
  await stores.trail.install(snapshot.manifest, snapshots.pairs(snapshot.digest))
  const hardState = contents.hardState ?? { term: baseTerm, votedFor: undefined, commit: 0 }
  const fencingTerm = Math.max(hardState.term, baseTerm)
  const base = { index, term: baseTerm, time }
  await wal.append({ group: ledger.group, snapshot: base, hardState, entries: [], fencingTerm })
  return { ...contents, hardState, baseIndex: index, baseTerm, baseTime: time, refs: [], holes: [] }
}

/** What the core of a replica that takes no part is made of: nothing of it is ever stepped. */
export function unheardOf(ledger: Ledger, confState: ConfState): RaftState {
  const { appliedIndex: index, logTime: time } = ledger
  return {
    persisted: {
      hardState: { term: 1, votedFor: undefined, commit: index },
      ...(index === 0 ? {} : { base: { index, term: 1, time } }),
      refs: [],
      applied: index,
      confState,
      confIndex: index,
    },
    addresses: new Map(),
  }
}

/**
 * A replica's snapshots (docs/formats/snapshot.md): those it took or fetched whole, and one that it is fetching.
 *
 * Invariant: what `list` names was durable, whole and hashed when it came; every byte that leaves is hashed again.
 */
import { type OpenedSnapshotManifest, type SnapshotManifest, type SnapshotPair } from '@cipherlog/format'

/** What a snapshot says of itself before its stream is known. */
export type SnapshotHead = Omit<SnapshotManifest, 'version' | 'pairs' | 'bytes' | 'chunks'>

/** A whole snapshot. `digest` names it. */
export interface StoredSnapshot extends OpenedSnapshotManifest {
  /** As it is sent. */
  readonly manifestBytes: Uint8Array
}

/** A snapshot on its way; chunks may come in any order and from several peers. */
export interface SnapshotDownload extends OpenedSnapshotManifest {
  /** Numbers of the chunks that are not here, ascending. */
  missing(): number[]
  /**
   * Takes a chunk; one that is here already changes nothing.
   * @throws `ERR_SNAPSHOT_CHUNK` if it is not the one that the manifest names, `ERR_STORAGE_FAILED`.
   */
  put(number: number, chunk: Uint8Array): Promise<void>
  /** Resolves once the whole snapshot is durable and listed. @throws {@link InvariantViolation} if chunks are missing. */
  complete(): Promise<StoredSnapshot>
  /** Gives it up and frees the disk. */
  discard(): Promise<void>
}

export interface SnapshotStore {
  /** Snapshots that were damaged when the store was opened, in hex; they have been removed. */
  readonly damaged: readonly string[]
  /** Whole snapshots, newest first. */
  list(): readonly StoredSnapshot[]
  find(digest: Uint8Array): StoredSnapshot | undefined
  /**
   * Writes a snapshot; resolves once it is durable and listed. One at a time.
   * @param pairs - in ascending order of key: the trail edge, then the state. What it throws is passed on.
   * @throws `ERR_STORAGE_FAILED`, {@link InvariantViolation} if keys are out of order.
   */
  write(head: SnapshotHead, pairs: AsyncIterable<SnapshotPair>): Promise<StoredSnapshot>
  /** @throws `ERR_SNAPSHOT_UNKNOWN`, `ERR_SNAPSHOT_DAMAGED`, RangeError for a chunk that it has not. */
  readChunk(digest: Uint8Array, number: number): Promise<Uint8Array>
  /** Its pairs, views of verified chunks. @throws as `readChunk`; `ERR_SNAPSHOT_STREAM`: it was made wrong, discard it. */
  pairs(digest: Uint8Array): AsyncGenerator<SnapshotPair>
  /** Reads all of it. @throws as `pairs`. */
  verify(digest: Uint8Array): Promise<void>
  /** Forgets one, such as a damaged one. Nothing happens if there is none. */
  remove(digest: Uint8Array): Promise<void>
  /** Forgets all but the newest `keep`, at least 1; default 2. */
  prune(keep?: number): Promise<void>
  /** What was being fetched when the process ended, with the chunks that are good. */
  resume(): Promise<SnapshotDownload | undefined>
  /**
   * Starts to fetch the snapshot of this digest, which a majority has confirmed; goes on where it was if it is the one of
   * {@link resume}, else that one is given up.
   * @throws `ERR_SNAPSHOT_MANIFEST` if the manifest has another digest, `ERR_DECODE_*` if it is none.
   */
  download(digest: Uint8Array, manifestBytes: Uint8Array): Promise<SnapshotDownload>
  /** Waits for writes under way. */
  close(): Promise<void>
}

/** Kept by default: the newest, and the one before for a peer that is fetching it. */
export const snapshotsKept = 2

/**
 * A replica's trail: the plain files that anyone can audit (DESIGN §5 "Trail"; https://c2sp.org/tlog-tiles).
 *
 * Every byte is a function of the leaves and of their positions, so writing a leaf again after a restart gives the
 * same files. Leaves are buffered; `flush` brings them to disk, and only then may the database say that they are
 * there.
 *
 * Invariant: after a crash the files hold at least the size of the last finished `flush({ sync: true })`, and a
 * published checkpoint never covers a leaf whose files were not durable before it.
 */

/** The hash of a perfect subtree: number `index`, from 0, among the hashes of tile level `level`. */
export interface TileHash {
  readonly level: number
  readonly index: number
  /** 32 bytes. */
  readonly hash: Uint8Array
}

export interface TrailLeaf {
  /** The next position: the number of leaves so far. */
  readonly index: number
  /** The leaf record, at most 65,535 bytes. */
  readonly entry: Uint8Array
  /** For `tile/bundle`; may be empty. */
  readonly signed: Uint8Array
  /** For `tile/body`; may be empty. */
  readonly body: Uint8Array
  /** What this leaf completes: its own hash at level 0, and one hash more per level above whose tile it fills. */
  readonly tiles: readonly TileHash[]
}

export interface TrailPublication {
  /** A signed note whose checkpoint has this size. */
  readonly checkpoint: string
  /** Not below the last published size, not above the leaves appended. */
  readonly size: number
  /** Replaces `policy-chain` if it differs. */
  readonly policyChain?: Uint8Array | undefined
}

/** A file of the trail as it stands at this moment. */
export interface TrailFile {
  readonly size: number
  /** Its bytes will never change, so that caches may keep them for ever. */
  readonly immutable: boolean
  /** `length` bytes from `start`; both within `size`. */
  read(start: number, length: number): Promise<Uint8Array>
}

/** Where older files of a trail come from: another trail, a peer, a mirror. */
export interface TrailSource {
  /**
   * The whole file of the trail under `path`, such as `tile/entries/005`; undefined if the source has not got it. It is
   * read in order, in pieces of at most 1 MiB.
   */
  file(path: string): Promise<Pick<TrailFile, 'size' | 'read'> | undefined>
}

export interface TrailStore {
  /** Leaves appended. */
  readonly size: number
  /**
   * First leaf that is here, a multiple of 256; 0 unless the trail began with a snapshot and is not filled yet. What is
   * below cannot be read (`ERR_TRAIL_NOT_HERE`), and has no files.
   */
  readonly trailFrom: number
  /** Buffers the next leaf, whose arrays belong to the trail from here on. @throws {@link InvariantViolation}. */
  append(leaf: TrailLeaf): void
  /**
   * Writes every leaf appended so far; with `sync`, resolves once all of them are durable.
   * @throws `ERR_STORAGE_FAILED`: nothing will ever be written again, and the node must stop.
   */
  flush(options: { readonly sync: boolean }): Promise<void>
  /**
   * Flushes and syncs, makes sure that the partial tiles of exactly `size` are there, then replaces `checkpoint`.
   * @throws `ERR_STORAGE_FAILED`, {@link InvariantViolation}.
   */
  publish(publication: TrailPublication): Promise<void>
  /**
   * Brings the 256 leaves below {@link trailFrom} from `source`, verified against the tree, and lowers it once they are
   * durable; does nothing at 0. One at a time; appending, flushing and publishing go on meanwhile. Call it until
   * `trailFrom` is 0; a restart goes on from where it was.
   * @throws `ERR_TRAIL_BACKFILL` if the source fails, lacks a file, or has another one than the tree says: ask another
   * one. `ERR_STORAGE_FAILED`.
   */
  backfill(source: TrailSource): Promise<void>
  /** The published note, if there is one. */
  checkpoint(): string | undefined
  /**
   * The first `width` hashes (1 to 256) of a tile, buffered ones included.
   * @throws RangeError if the tree has no such hashes yet; `ERR_TRAIL_NOT_HERE`, `ERR_TRAIL_DAMAGED`. So do those below.
   */
  readTile(level: number, index: number, width: number): Promise<Uint8Array>
  /** A leaf record. */
  readEntry(index: number): Promise<Uint8Array>
  readSigned(index: number): Promise<Uint8Array>
  readBody(index: number): Promise<Uint8Array>
  /**
   * A file to hand out, by its path below the trail's root; undefined if there is none. A partial tile that is not
   * stored is cut from a wider one. Holds what was flushed.
   */
  file(path: string): Promise<TrailFile | undefined>
  /** Waits for writes and a backfill under way, whose source must answer. Leaves that were not flushed are gone. */
  close(): Promise<void>
}

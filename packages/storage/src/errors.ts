/** What storage throws: one class for each decision a caller takes. */
import { CipherlogError, toHex } from '@cipherlog/core'

/**
 * A write or sync failed (`ERR_STORAGE_FAILED`). The node must stop: after a failed fsync the kernel may have
 * dropped the data and marked the page clean, so a retry that succeeds proves nothing ("fsyncgate").
 */
export class StorageFailedError extends CipherlogError {
  override readonly name = 'StorageFailedError'
  constructor(what: string, cause: unknown) {
    super('ERR_STORAGE_FAILED', `Writing ${what} failed; stop this node, check its disk, then start it again.`, {
      cause,
    })
  }
}

/** Used after `close()` (`ERR_STORAGE_CLOSED`). */
export class StorageClosedError extends CipherlogError {
  override readonly name = 'StorageClosedError'
  constructor(what: string) {
    super('ERR_STORAGE_CLOSED', `The ${what} is closed; open it again.`)
  }
}

/**
 * The log holds damage that no second copy on this disk repairs, in a place that may have been acknowledged
 * (`ERR_WAL_CORRUPT`). Nothing was cut.
 */
export class WalCorruptError extends CipherlogError {
  override readonly name = 'WalCorruptError'
  constructor(segment: string, offset: number, reason: string, cause?: unknown) {
    super(
      'ERR_WAL_CORRUPT',
      `${segment} at byte ${offset}: ${reason}. Nothing was cut; restore this replica from its peers as a new member.`,
      { cause, details: { segment, offset, reason } },
    )
  }
}

/** An entry's payload no longer has its digest (`ERR_WAL_PAYLOAD_DAMAGED`, `details.index`); its header is intact. */
export class WalPayloadDamagedError extends CipherlogError {
  override readonly name = 'WalPayloadDamagedError'
  readonly index: number
  constructor(index: number, segment: string, offset: number, cause?: unknown) {
    super(
      'ERR_WAL_PAYLOAD_DAMAGED',
      `${segment} at byte ${offset}: the payload of entry ${index} is damaged; fetch it from a peer.`,
      { cause, details: { index, segment, offset } },
    )
    this.index = index
  }
}

/**
 * The batch comes from a leadership that has been deposed (`ERR_WAL_FENCED`): its fencing term is older than the
 * newest that this log has taken. Nothing of it was written.
 */
export class WalFencedError extends CipherlogError {
  override readonly name = 'WalFencedError'
  constructor(fencingTerm: number, newest: number) {
    super(
      'ERR_WAL_FENCED',
      `A write of term ${fencingTerm} came after one of term ${newest}; stop the process that still writes for the old term.`,
      { details: { fencingTerm, newest } },
    )
  }
}

/** The log was opened read-only because of damage (`ERR_WAL_READ_ONLY`). */
export class WalReadOnlyError extends CipherlogError {
  override readonly name = 'WalReadOnlyError'
  constructor() {
    super(
      'ERR_WAL_READ_ONLY',
      'The log is damaged and was opened for reading only; repair the replica under the policy truncateToLastGood, or replace it.',
    )
  }
}

/** A payload offered for a hole is not the entry's (`ERR_WAL_REPAIR_MISMATCH`, `details.index`): ask another peer. */
export class WalRepairMismatchError extends CipherlogError {
  override readonly name = 'WalRepairMismatchError'
  constructor(index: number, term: number) {
    super(
      'ERR_WAL_REPAIR_MISMATCH',
      `The payload does not have the length and SHA-256 of entry ${index} of term ${term}; ask another peer.`,
      { details: { index, term } },
    )
  }
}

/**
 * The trail's files do not reach the size the database names, or have a gap below it (`ERR_TRAIL_SHORT`): rebuild
 * the trail from a peer or by replay from the first leaf.
 */
export class TrailShortError extends CipherlogError {
  override readonly name = 'TrailShortError'
  constructor(path: string, treeSize: number, reason: string) {
    super('ERR_TRAIL_SHORT', `${path} ${reason}, but the trail must hold ${treeSize} leaves; rebuild it.`, {
      details: { path, treeSize },
    })
  }
}

/** A trail file that was whole when the trail was opened is not any more (`ERR_TRAIL_DAMAGED`). */
export class TrailDamagedError extends CipherlogError {
  override readonly name = 'TrailDamagedError'
  constructor(path: string, reason: string) {
    super('ERR_TRAIL_DAMAGED', `${path} ${reason}; stop this node, check its disk, rebuild its trail.`, {
      details: { path },
    })
  }
}

/** No whole snapshot of this digest is here (`ERR_SNAPSHOT_UNKNOWN`): it was never, or has been pruned. */
export class SnapshotUnknownError extends CipherlogError {
  override readonly name = 'SnapshotUnknownError'
  constructor(digest: Uint8Array) {
    super('ERR_SNAPSHOT_UNKNOWN', `This replica has no snapshot ${toHex(digest)}; ask it for its newest one.`, {
      details: { digest: toHex(digest) },
    })
  }
}

/** A snapshot on this disk is not what was written any more (`ERR_SNAPSHOT_DAMAGED`): remove it. */
export class SnapshotDamagedError extends CipherlogError {
  override readonly name = 'SnapshotDamagedError'
  constructor(digest: Uint8Array, chunk: number, cause?: unknown) {
    super('ERR_SNAPSHOT_DAMAGED', `Chunk ${chunk} of snapshot ${toHex(digest)} is damaged; remove the snapshot.`, {
      cause,
      details: { digest: toHex(digest), chunk },
    })
  }
}

/** The trail starts later, because it came with a snapshot and is not filled yet (`ERR_TRAIL_NOT_HERE`). */
export class TrailNotHereError extends CipherlogError {
  override readonly name = 'TrailNotHereError'
  constructor(path: string, trailFrom: number) {
    super('ERR_TRAIL_NOT_HERE', `${path} is not here: this trail begins at leaf ${trailFrom}; ask another replica.`, {
      details: { path, trailFrom },
    })
  }
}

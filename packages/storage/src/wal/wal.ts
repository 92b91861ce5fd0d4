/**
 * The write-ahead log of a replica: the truth from which state and trail follow (DESIGN §8; docs/formats/wal.md).
 *
 * Invariant: once `append` has resolved, what it was given survives a crash at any moment, and is never cut; damage
 * to it is repaired from the second copy of its header or reported, never passed over.
 */
import type { EntryRef, HardState } from '@cipherlog/raft'

/** What opening the log found of one group. */
export interface WalGroupContents {
  /** The last HardState, if one was ever appended. */
  readonly hardState: HardState | undefined
  /** Index before the first entry that is still here: 0, or the end of what was compacted. */
  readonly baseIndex: number
  /** Term of entry `baseIndex`, 0 for none. */
  readonly baseTerm: number
  /** Entries baseIndex + 1, baseIndex + 2, … without their payloads. */
  readonly refs: readonly EntryRef[]
}

/** What opening the log had to mend; all zero after a clean stop. */
export interface WalRepairs {
  /** Bytes of a torn, never acknowledged tail that were cut. */
  readonly bytesCut: number
  /** Record headers and payload checksums rewritten from their second copy. */
  readonly recordsMended: number
  /** Headers written again into a refs file: the last flushes before a crash, or damage. */
  readonly refsMended: number
}

export interface WalContents {
  readonly repairs: WalRepairs
  /** What the log holds of `group` (16 bytes); an unknown group is empty. */
  group(group: Uint8Array): WalGroupContents
}

/** One atomic change of one group: after a crash it is there as a whole or, if it was not acknowledged, not at all. */
export interface WalAppend {
  /** 16 bytes. */
  readonly group: Uint8Array
  readonly hardState?: HardState | undefined
  /** Drops this entry and all after it, before `entries` are appended. Above the compacted index. */
  readonly truncateFrom?: number | undefined
  /** In order, without gaps, following what is left. Payloads belong to the log from here on. */
  readonly entries: readonly WalEntry[]
  /** Term of the leadership that writes: never less than in the append before. */
  readonly fencingTerm: number
}

export interface WalEntry {
  readonly ref: EntryRef
  /** `ref.bytes` bytes with SHA-256 `ref.digest`, at most 16 MiB. */
  readonly payload: Uint8Array
}

export interface WalOptions {
  readonly identity: WalIdentity
  /** A segment that has reached this size is followed by a new one; default 64 MiB. */
  readonly segmentBytes?: number
  /** Payloads kept in memory, the newest first; default 64 MiB. Entries on their way to the disk are always kept. */
  readonly cacheBytesMax?: number
  /** Payload bytes after which a flush takes no further append; default 16 MiB. One append is never split. */
  readonly flushBytesMax?: number
}

/** Whose log this is. */
export interface WalIdentity {
  /** SHA-256 of the genesis, 32 bytes. */
  readonly cluster: Uint8Array
  /** 16 bytes. */
  readonly peerId: Uint8Array
}

export interface Wal {
  /**
   * Reads and checks the whole log; mends what its second copies allow. Called once, before anything else.
   * @throws `ERR_WAL_CORRUPT` (nothing was cut), `ERR_DATA_DIR_FOREIGN`, `ERR_STORAGE_FAILED`.
   */
  open(): Promise<WalContents>
  /**
   * Resolves once `batch`, and every batch before it, is durable. Batches handed over while a write is under way
   * share the next one.
   * @throws `ERR_STORAGE_FAILED`: a write failed; no append will ever succeed again. `ERR_STORAGE_CLOSED`.
   * @throws {@link InvariantViolation} for a batch that does not continue the log; nothing of it is written.
   */
  append(batch: WalAppend): Promise<void>
  /**
   * Entries `from` to `to`, both included, cut after the last that keeps the payloads within `bytesMax`; the first
   * always comes.
   * @throws `ERR_WAL_PAYLOAD_DAMAGED` (`index`), `ERR_STORAGE_FAILED`; RangeError for entries that are not here.
   */
  read(group: Uint8Array, from: number, to: number, bytesMax: number): Promise<WalEntry[]>
  /**
   * Drops leading segments that hold nothing of `group` above `index` and nothing another group still needs.
   * Returns the new base index, at most `index`. Only entries that are persisted elsewhere may go.
   */
  compactTo(group: Uint8Array, index: number): Promise<number>
  /** Waits for appends under way, then releases the files. */
  close(): Promise<void>
}

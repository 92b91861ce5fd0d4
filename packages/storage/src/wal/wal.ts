/**
 * The write-ahead log of a replica: the truth from which state and trail follow (DESIGN §8; docs/formats/wal.md).
 *
 * Invariant: once `append` has resolved, what it was given survives a crash at any moment, and is never cut; damage
 * to it is repaired from the second copy of its header or reported, never passed over.
 */
import type { EntryRef, HardState } from '@cipherlog/raft'

/** What opening does about damage that no second copy on this disk mends; docs/formats/wal.md "Damage". */
export type WalDamagePolicy =
  /** Cuts a torn tail, and only what was certainly never acknowledged; reports holes and doubts. The default. */
  | 'truncateToLastGood'
  /** Throws `ERR_WAL_CORRUPT`, for a torn tail too; changes nothing on disk. */
  | 'refuseStart'
  /** With a hole or a doubt the log opens read-only, and nothing on disk is changed. */
  | 'alertAndContinue'

/** The entry that a log begins after. */
export interface WalBase {
  readonly index: number
  readonly term: number
  /** Its log time in ms. */
  readonly time: number
}

/** What opening the log found of one group. */
export interface WalGroupContents {
  /**
   * The last HardState, if one was ever appended. If its vote was lost to damage, `votedFor` is this replica itself:
   * it votes for nobody else in that term again.
   */
  readonly hardState: HardState | undefined
  /** Index before the first entry that is still here: 0, or the end of what was compacted or of a snapshot. */
  readonly baseIndex: number
  /** Term of entry `baseIndex`, 0 for none. */
  readonly baseTerm: number
  /** Log time of entry `baseIndex` in ms, 0 for none. */
  readonly baseTime: number
  /** Entries baseIndex + 1, baseIndex + 2, … without their payloads. */
  readonly refs: readonly EntryRef[]
  /** Those of `refs` whose payload is damaged or missing, ascending: fetch them and `repair`. Elections need none. */
  readonly holes: readonly EntryRef[]
  /** Set if this replica must ask the others before it takes part: see {@link WalDoubt}. */
  readonly doubt: WalDoubt | undefined
}

/**
 * This disk lost something of a group that it may have promised or acknowledged. Until {@link Wal.settle} the group
 * must not vote, campaign or acknowledge: to the others the replica is down.
 */
export interface WalDoubt {
  /**
   * `headersLost`: records in the middle are gone with their second copy. `tailUnproven`: the last records are, or
   * nothing proves that they were never acknowledged.
   */
  readonly reason: 'headersLost' | 'tailUnproven'
  /** Entries of `refs` from here on may differ from what was acknowledged, and there may have been more. */
  readonly fromIndex: number
  /** The replica may have voted in a term above any that this disk still knows. */
  readonly termUnknown: boolean
  /** The highest term that this disk knows to have promised. */
  readonly termAtLeast: number
  /** A run of entries after the gap whose headers are here; `read` serves those with payload until `settle`. */
  readonly known: readonly EntryRef[]
}

/** How a doubt ends; the asking that it takes is described in docs/formats/wal.md "Doubt". */
export interface WalSettlement {
  /** At least `termAtLeast`, and above every term that this replica may have voted in. */
  readonly hardState: HardState
  /** Last entry of a leader's log, as of its answer; the log here must reach and match it. */
  readonly through: { readonly index: number; readonly term: number }
}

/** One damaged or torn place, for the operator's log. */
export interface WalDamage {
  readonly segment: string
  readonly offset: number
  readonly reason: string
  readonly outcome: 'mended' | 'cut' | 'hole' | 'doubt'
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
  /** Every place that was not as written, the first 1,000 of them. */
  readonly damage: readonly WalDamage[]
  /** Policy `alertAndContinue` met damage: `append`, `repair`, `settle` and `compactTo` throw `ERR_WAL_READ_ONLY`. */
  readonly readOnly: boolean
  /** Ids of the groups in the log. */
  readonly groups: readonly Uint8Array[]
  /** What the log holds of `group` (16 bytes); an unknown group is empty. */
  group(group: Uint8Array): WalGroupContents
}

/** One atomic change of one group: after a crash it is there as a whole or, if it was not acknowledged, not at all. */
export interface WalAppend {
  /** 16 bytes. */
  readonly group: Uint8Array
  readonly hardState?: HardState | undefined
  /**
   * Drops the whole log and continues after this entry, which a snapshot installed elsewhere covers. Not together
   * with `truncateFrom`, not below the commit index.
   */
  readonly snapshot?: WalBase | undefined
  /** Drops this entry and all after it, before `entries` are appended. Above the compacted index. */
  readonly truncateFrom?: number | undefined
  /** In order, without gaps, following what is left. Payloads belong to the log from here on. */
  readonly entries: readonly WalEntry[]
  /** The replica's term: never less than in the append before, nor than any term in this one. Below 2^32. */
  readonly fencingTerm: number
}

export interface WalEntry {
  readonly ref: EntryRef
  /** `ref.bytes` bytes with SHA-256 `ref.digest`, at most 16 MiB. */
  readonly payload: Uint8Array
}

export interface WalOptions {
  readonly identity: WalIdentity
  /** Default `truncateToLastGood`. */
  readonly onDamage?: WalDamagePolicy
  /** Sets the length of a segment's files when it is begun, which makes flushes cheaper; default: only in files. */
  readonly preallocate?: boolean
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

/** How much log to keep for peers that lag, beyond what is not persisted yet. */
export interface WalRetention {
  readonly entriesMax: number
  /** Payload bytes. */
  readonly bytesMax: number
}

/** What one step of scrubbing found. */
export interface WalScrub {
  /** Bytes of segments reread. */
  readonly bytes: number
  /** Headers rewritten from their second copy, payloads from memory. */
  readonly mended: number
  /** Entries that are holes from now on. */
  readonly holes: readonly { readonly group: Uint8Array; readonly ref: EntryRef }[]
  /** Records whose header and its copy are both gone: at the next start they are a doubt. */
  readonly headersLost: number
  /** This step reached the end of the cold segments; the next begins with the first. */
  readonly finished: boolean
}

export interface Wal {
  /**
   * Reads and checks the whole log; mends what its second copies allow. Called once, before anything else.
   * Nothing on disk changes before all of it has been read.
   * @throws `ERR_WAL_CORRUPT` (nothing was cut), `ERR_DATA_DIR_FOREIGN`, `ERR_STORAGE_FAILED`.
   */
  open(): Promise<WalContents>
  /**
   * Resolves once `batch`, and every batch before it, is durable. Batches handed over while a write is under way
   * share the next one. In doubt no HardState is taken: only what is learned again from a leader.
   * @throws `ERR_STORAGE_FAILED`: a write failed; no append will ever succeed again. `ERR_STORAGE_CLOSED`,
   * `ERR_WAL_READ_ONLY`. `ERR_WAL_FENCED`: its fencing term is older than the newest; nothing of it is written.
   * @throws {@link InvariantViolation} for a batch that does not continue the log; nothing of it is written.
   */
  append(batch: WalAppend): Promise<void>
  /**
   * Entries `from` to `to`, both included, cut after the last that keeps the payloads within `bytesMax`; the first
   * always comes.
   * @throws `ERR_WAL_PAYLOAD_DAMAGED` (`index`: the first hole), `ERR_STORAGE_FAILED`; RangeError for entries that are
   * not here.
   */
  read(group: Uint8Array, from: number, to: number, bytesMax: number): Promise<WalEntry[]>
  /** Entries whose payload is damaged or missing, as far as is known, ascending. */
  holes(group: Uint8Array): readonly EntryRef[]
  /**
   * Fills a hole with the payload a peer sent; resolves once it is durable. Does nothing if the payload is here.
   * @throws `ERR_WAL_REPAIR_MISMATCH` if length or SHA-256 are not the ref's (the peer's fault; nothing changed),
   * RangeError for an entry that is not here, and as `append`.
   */
  repair(group: Uint8Array, index: number, payload: Uint8Array): Promise<void>
  /**
   * Ends a doubt once the others have been asked; resolves once that is durable.
   * @throws {@link InvariantViolation} if there is no doubt, or the settlement contradicts what this disk knows.
   */
  settle(group: Uint8Array, settlement: WalSettlement): Promise<void>
  /**
   * Drops leading segments that hold nothing of `group` above `index` and nothing another group still needs.
   * Returns the new base index, at most `index`. Only entries that are persisted elsewhere may go.
   */
  compactTo(group: Uint8Array, index: number): Promise<number>
  /** Up to where to compact, at most `index` (what is persisted), so that `retention` is met and no more goes. */
  compactionIndex(group: Uint8Array, index: number, retention: WalRetention): number
  /**
   * Rereads the next segments that are not written any more, up to about `bytesMax` bytes of records, at least one;
   * mends their headers from the second copy. One call at a time.
   * @throws `ERR_STORAGE_FAILED`, `ERR_STORAGE_CLOSED`, `ERR_WAL_READ_ONLY`.
   */
  scrub(bytesMax: number): Promise<WalScrub>
  /** Waits for appends under way, then releases the files. */
  close(): Promise<void>
}

/**
 * The replica's state as an ordered map of bytes, written behind the answers it gives.
 *
 * Changes go into an overlay in memory at once; `checkpoint` freezes the overlay as one atomic batch, and `persist`
 * writes it while newer changes go on. Reads see the newest value, wherever it is.
 *
 * Invariant: what is on disk is always the state at one checkpoint, never a mixture, and checkpoints reach the disk in
 * the order they were taken.
 */

/** A key has 1 to this many bytes. */
export const stateKeyBytesMax = 4096

/** All changes between two checkpoints; opaque. */
export interface PendingBatch {
  /** Number of keys it changes. */
  readonly changes: number
  /** Bytes of its keys and values. */
  readonly bytes: number
}

/**
 * A whole new state beside the present one: durable, but not in force until `commit`. A crash before that leaves the
 * present state, one after it the new one; the state itself says which it is.
 */
export interface StateReplacement {
  /** The new state: to be checked before `commit`, and the store to go on with afterwards. */
  readonly store: StateStore
  /**
   * Closes the store that it was prepared on, puts the new state in its place at once, and frees the old one's disk.
   * @throws `ERR_STORAGE_FAILED`: the node must stop; the next start finds one of the two, whole.
   */
  commit(): Promise<void>
  /** Closes and removes the new state. */
  discard(): Promise<void>
}

export interface StateStore {
  /** The newest value; not to be modified. @throws `ERR_STORAGE_CLOSED`. */
  get(key: Uint8Array): Uint8Array | undefined
  /** Key and value belong to the store from here on. @throws RangeError for a key of 0 or over 4,096 bytes. */
  put(key: Uint8Array, value: Uint8Array): void
  delete(key: Uint8Array): void
  /** Pairs whose key starts with `prefix`, in order of key, as they were at the call, whatever changes meanwhile. */
  iterate(prefix: Uint8Array): AsyncIterable<[key: Uint8Array, value: Uint8Array]>
  /** Freezes the changes since the last checkpoint. Each batch must be persisted, in order. */
  checkpoint(): PendingBatch
  /**
   * Resolves once the batch is durable, as a whole.
   * @throws `ERR_STORAGE_FAILED`: no batch will ever be persisted again, and the node must stop.
   * @throws {@link InvariantViolation} if an older batch has not been persisted yet.
   */
  persist(batch: PendingBatch): Promise<void>
  /**
   * Writes a whole new state, such as a snapshot's, beside this one, which goes on meanwhile. One at a time.
   * @param pairs - each key once; what this throws is passed on, and nothing is left.
   * @throws `ERR_STORAGE_FAILED`.
   */
  prepareReplacement(pairs: AsyncIterable<readonly [key: Uint8Array, value: Uint8Array]>): Promise<StateReplacement>
  /** Waits for a write under way. What was not persisted is gone. */
  close(): Promise<void>
}

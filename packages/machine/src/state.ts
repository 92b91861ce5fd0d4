/**
 * Where the ledger keeps what must survive: an ordered map of bytes to bytes. A replica hands in its state
 * store, an auditor the memory twin below; both behave alike.
 */
import { compareBytes, decode, DecodeError, invariant, InvariantViolation, type Codec } from '@cipherlog/core'

export interface State {
  get(key: Uint8Array): Uint8Array | undefined
  put(key: Uint8Array, value: Uint8Array): void
  delete(key: Uint8Array): void
  /** Pairs whose key starts with `prefix`, in order of key. Read only when a ledger opens. */
  iterate(prefix: Uint8Array): Iterable<[Uint8Array, Uint8Array]> | AsyncIterable<[Uint8Array, Uint8Array]>
}

/**
 * A record of the state. Bytes that do not decode are damage on this replica's disk: were that taken for a fault of
 * the proposal, one replica would refuse what the others apply.
 * @throws InvariantViolation if they do not decode.
 */
export function decodeStored<T>(codec: Codec<T>, bytes: Uint8Array): T {
  try {
    return decode(codec, bytes)
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error
    throw new InvariantViolation(`The state store holds a damaged record: ${error.message}`)
  }
}

/** Bytes as a string of the same length: a map key that compares by content. */
function mapKey(key: Uint8Array): string {
  return String.fromCharCode(...key)
}

/** A {@link State} in memory, for auditors and tests. */
export function createMemoryState(): State {
  const entries = new Map<string, [Uint8Array, Uint8Array]>()
  return {
    get: (key) => entries.get(mapKey(key))?.[1],
    put: (key, value) => void entries.set(mapKey(key), [key, value]),
    delete: (key) => void entries.delete(mapKey(key)),
    iterate: (prefix) =>
      [...entries.values()]
        .filter(([key]) => compareBytes(key.subarray(0, prefix.length), prefix) === 0)
        .sort(([a], [b]) => compareBytes(a, b)),
  }
}

/**
 * Changes of one bundle, invisible to the state until {@link Transaction.commit}: an atomic bundle that fails
 * leaves nothing behind.
 */
export class Transaction {
  readonly #state: State
  readonly #changes = new Map<string, { key: Uint8Array; value: Uint8Array | undefined }>()
  #writes = 0
  #committed = false

  constructor(state: State) {
    this.#state = state
  }

  /** Number of writes so far: a rejected command must not have added any. */
  get writes(): number {
    return this.#writes
  }

  get(key: Uint8Array): Uint8Array | undefined {
    const change = this.#changes.get(mapKey(key))
    return change === undefined ? this.#state.get(key) : change.value
  }

  put(key: Uint8Array, value: Uint8Array): void {
    this.#change(key, value)
  }

  delete(key: Uint8Array): void {
    this.#change(key, undefined)
  }

  #change(key: Uint8Array, value: Uint8Array | undefined): void {
    invariant(!this.#committed, 'A transaction was changed after its commit.')
    this.#writes++
    this.#changes.set(mapKey(key), { key, value })
  }

  commit(): void {
    invariant(!this.#committed, 'A transaction was committed twice.')
    this.#committed = true
    for (const { key, value } of this.#changes.values()) {
      if (value === undefined) this.#state.delete(key)
      else this.#state.put(key, value)
    }
  }
}

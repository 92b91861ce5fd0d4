/**
 * Where the ledger keeps what must survive: an ordered map of bytes to bytes. A replica hands in its state
 * store, an auditor the memory twin below; both behave alike.
 */
import { compareBytes, InvariantViolation } from '@cipherlog/core'

export interface State {
  get(key: Uint8Array): Uint8Array | undefined
  put(key: Uint8Array, value: Uint8Array): void
  delete(key: Uint8Array): void
  /** Pairs whose key starts with `prefix`, in order of key. Read only when a ledger opens. */
  iterate(prefix: Uint8Array): Iterable<[Uint8Array, Uint8Array]> | AsyncIterable<[Uint8Array, Uint8Array]>
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
    this.#writes++
    this.#changes.set(mapKey(key), { key, value })
  }

  delete(key: Uint8Array): void {
    this.#writes++
    this.#changes.set(mapKey(key), { key, value: undefined })
  }

  commit(): void {
    if (this.#writes < 0) throw new InvariantViolation('A transaction was committed twice.')
    for (const { key, value } of this.#changes.values()) {
      if (value === undefined) this.#state.delete(key)
      else this.#state.put(key, value)
    }
    this.#changes.clear()
    this.#writes = -1
  }
}

/**
 * Entries that operators have set aside (docs/ARCHITECTURE.md "Quarantine"). A quarantine stands on the log behind the
 * entry that it names, so whoever applies a log looks ahead for it.
 *
 * Invariant: what becomes of an entry depends on whether a quarantine of it is on the log, never on when this
 * ledger learnt of it: one that comes to light after its entry was applied as usual stops the ledger.
 */
import { CipherlogError, encode, equalBytes, RefusedError } from '@cipherlog/core'
import { storedQuarantine } from '@cipherlog/format'
import { type StoredAnswer } from './sessions.ts'
import { stateKeys } from './state-keys.ts'
import { decodeStored, type State } from './state.ts'

/** Names an entry: log index, and SHA-256 of its signed array. */
export interface NamedEntry {
  readonly index: number
  readonly digest: Uint8Array
}

export class Quarantines {
  readonly #state: State
  /** Named before they were applied, by log index. */
  readonly #ahead = new Map<number, Uint8Array[]>()

  constructor(state: State) {
    this.#state = state
  }

  /** Notes a quarantine that stands further on. What it names is not applied yet. */
  lookAhead({ index, digest }: NamedEntry): void {
    const digests = this.#ahead.get(index) ?? []
    this.#ahead.set(index, [...digests, digest.slice()])
  }

  /** Whether any entry at this index was named. */
  namesIndex(index: number): boolean {
    return this.#ahead.has(index)
  }

  /** Whether this very entry was named. */
  names({ index, digest }: NamedEntry): boolean {
    return this.#ahead.get(index)?.some((named) => equalBytes(named, digest)) === true
  }

  /** The entry was set aside, and this leaf says so. */
  setAside({ index, digest }: NamedEntry, leaf: number): void {
    this.#state.put(stateKeys.quarantine(index, digest), encode(storedQuarantine, { leaf }))
  }

  /**
   * What a quarantine would do that is reached now: undefined if its leaf is to be made, else the stored answer.
   * @param applied - whether the entry that it names has had its turn.
   * @throws RefusedError `ERR_QUARANTINE_ENTRY` if nothing was set aside: there is no such entry, or it had no effect.
   * @throws CipherlogError `ERR_QUARANTINE_APPLIED` if this ledger may have applied the entry as usual.
   */
  reached(entry: NamedEntry, applied: boolean): StoredAnswer | undefined {
    const bytes = this.#state.get(stateKeys.quarantine(entry.index, entry.digest))
    if (bytes !== undefined) {
      const { recorded } = decodeStored(storedQuarantine, bytes)
      return recorded === undefined ? undefined : { ...recorded, verdicts: [] }
    }
    if (!applied) return undefined
    if (this.names(entry)) {
      throw new RefusedError(
        'ERR_QUARANTINE_ENTRY',
        `Log index ${entry.index} holds no entry of that digest that could be set aside; compare the node's status.`,
      )
    }
    throw new CipherlogError(
      'ERR_QUARANTINE_APPLIED',
      `Operators have set entry ${entry.index} aside, which this replica had applied already. Restart it: it applies again from its last stored state. If it stops here again, that state lies behind the entry: move state and trail away, so that the replica builds them anew from its log or a snapshot before the entry.`,
      { details: { index: entry.index } },
    )
  }

  /** Records the leaf of a quarantine. */
  record({ index, digest }: NamedEntry, recorded: { readonly leaf: number; readonly digest: Uint8Array }): void {
    const key = stateKeys.quarantine(index, digest)
    this.#state.put(
      key,
      encode(storedQuarantine, { ...decodeStored(storedQuarantine, this.#state.get(key)!), recorded }),
    )
  }
}

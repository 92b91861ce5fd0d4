/**
 * Proposals that wait for their answer, by the SHA-256 of what was signed. A retry of the same bytes joins the
 * first; whoever applies the entry settles all.
 */
import { ProposalOutcomeUnknownError, toHex, type CipherlogError } from '@cipherlog/core'
import { type StoredAnswer } from '@cipherlog/machine'

/** What applying said of an entry. */
export type ApplyOutcome =
  | { readonly outcome: 'applied' | 'duplicate'; readonly answer: StoredAnswer }
  | { readonly outcome: 'refused'; readonly error: CipherlogError }

interface Waiter {
  readonly resolve: (outcome: ApplyOutcome) => void
  readonly reject: (error: unknown) => void
}

export class PendingProposals {
  readonly #waiters = new Map<string, Waiter[]>()

  get size(): number {
    return this.#waiters.size
  }

  /** Waits for the entry's answer; `first` says whether it still has to be proposed. */
  wait(digest: Uint8Array, waitMsMax: number): { readonly answer: Promise<ApplyOutcome>; readonly first: boolean } {
    const name = toHex(digest)
    const waiters = this.#waiters.get(name)
    const first = waiters === undefined
    const answer = new Promise<ApplyOutcome>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#remove(name, waiter)
        reject(new ProposalOutcomeUnknownError())
      }, waitMsMax)
      const waiter: Waiter = {
        resolve: (outcome) => {
          clearTimeout(timer)
          resolve(outcome)
        },
        reject: (error) => {
          clearTimeout(timer)
          reject(error instanceof Error ? error : new ProposalOutcomeUnknownError(String(error)))
        },
      }
      if (first) this.#waiters.set(name, [waiter])
      else waiters.push(waiter)
    })
    return { answer, first }
  }

  #remove(name: string, waiter: Waiter): void {
    const rest = (this.#waiters.get(name) ?? []).filter((other) => other !== waiter)
    if (rest.length === 0) this.#waiters.delete(name)
    else this.#waiters.set(name, rest)
  }

  /** The entry was applied. */
  settle(digest: Uint8Array, outcome: ApplyOutcome): void {
    const name = toHex(digest)
    const waiters = this.#waiters.get(name)
    this.#waiters.delete(name)
    for (const waiter of waiters ?? []) waiter.resolve(outcome)
  }

  /** The entry will not be applied under this proposal, or nobody knows. */
  fail(digest: Uint8Array, error: unknown): void {
    const name = toHex(digest)
    const waiters = this.#waiters.get(name)
    this.#waiters.delete(name)
    for (const waiter of waiters ?? []) waiter.reject(error)
  }

  failAll(error: unknown): void {
    for (const waiters of this.#waiters.values()) for (const waiter of waiters) waiter.reject(error)
    this.#waiters.clear()
  }
}

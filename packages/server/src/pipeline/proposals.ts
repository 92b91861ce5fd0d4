/**
 * Proposals that wait for their answer, by the SHA-256 of what was signed. A retry of the same bytes joins the
 * first; whoever applies the entry settles all.
 *
 * Several copies of the same bytes may stand in the log. Applying any of them decides for good; refusing one does
 * not, since a later copy may still have an effect: a refusal counts only for the copy that was proposed here.
 */
import { ProposalOutcomeUnknownError, toHex, type CipherlogError } from '@cipherlog/core'
import { type StoredAnswer } from '@cipherlog/machine'

/** What applying said of an entry. */
export type ApplyOutcome =
  | { readonly outcome: 'applied' | 'duplicate'; readonly answer: StoredAnswer }
  | { readonly outcome: 'refused'; readonly error: CipherlogError }

interface Waiter {
  readonly resolve: (outcome: ApplyOutcome) => void
  readonly reject: (error: CipherlogError) => void
}

/** One copy on its way into the log, and all who wait for it. */
export interface PendingProposal {
  readonly name: string
  readonly waiters: Set<Waiter>
  /** Log index, once it is committed. */
  index: number | undefined
}

export class PendingProposals {
  readonly #pending = new Map<string, PendingProposal>()
  #size = 0

  /** How many wait. */
  get size(): number {
    return this.#size
  }

  /** Waits for a copy that is under way; undefined if there is none. */
  join(digest: Uint8Array, waitMsMax: number): Promise<ApplyOutcome> | undefined {
    const pending = this.#pending.get(toHex(digest))
    return pending === undefined ? undefined : this.#wait(pending, waitMsMax)
  }

  /** A copy that its caller will propose now. There must be none under way. */
  start(
    digest: Uint8Array,
    waitMsMax: number,
  ): { readonly pending: PendingProposal; readonly answer: Promise<ApplyOutcome> } {
    const pending: PendingProposal = { name: toHex(digest), waiters: new Set(), index: undefined }
    this.#pending.set(pending.name, pending)
    return { pending, answer: this.#wait(pending, waitMsMax) }
  }

  /** @throws {@link ProposalOutcomeUnknownError} through the promise after `waitMsMax`. */
  #wait(pending: PendingProposal, waitMsMax: number): Promise<ApplyOutcome> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        pending.waiters.delete(waiter)
        this.#size--
        if (pending.waiters.size === 0) this.#forget(pending)
        reject(new ProposalOutcomeUnknownError())
      }, waitMsMax)
      const done =
        <T>(settle: (value: T) => void) =>
        (value: T) => {
          clearTimeout(timer)
          this.#size--
          settle(value)
        }
      const waiter: Waiter = { resolve: done(resolve), reject: done(reject) }
      pending.waiters.add(waiter)
      this.#size++
    })
  }

  /** An entry with this content was applied, or refused, at `index`. */
  settle(digest: Uint8Array, index: number, outcome: ApplyOutcome): void {
    const pending = this.#pending.get(toHex(digest))
    if (pending === undefined || (outcome.outcome === 'refused' && pending.index !== index)) return
    this.#forget(pending)
    for (const waiter of pending.waiters) waiter.resolve(outcome)
  }

  /** This copy will not be applied, or nobody knows. */
  fail(pending: PendingProposal, error: CipherlogError): void {
    if (this.#pending.get(pending.name) !== pending) return
    this.#forget(pending)
    for (const waiter of pending.waiters) waiter.reject(error)
  }

  failAll(error: CipherlogError): void {
    for (const pending of [...this.#pending.values()]) this.fail(pending, error)
  }

  #forget(pending: PendingProposal): void {
    if (this.#pending.get(pending.name) === pending) this.#pending.delete(pending.name)
  }
}

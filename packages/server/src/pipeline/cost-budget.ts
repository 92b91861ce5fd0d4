/**
 * The bound of what a leader takes on: milliseconds of work that was admitted and is not applied yet (DESIGN §8).
 * What is above it is refused at once, so that queues stay short and a writer learns when to come back.
 *
 * Fair per owner: while others wait too, nobody gets more than half. An owner who holds nothing yet may exceed the
 * bound once that half is free, or a bundle that costs more than the whole bound would never get in.
 */
import { RefusedError } from '@cipherlog/core'

/** An owner who was refused counts as waiting for so long. */
const waitingMs = 1_000
const retryAfterMsMin = 10
const retryAfterMsMax = 1_000

export class CostBudget {
  readonly #costMsMax: number
  readonly #monotonic: () => number
  readonly #held = new Map<string, number>()
  /** Until when a refused owner counts as waiting. */
  readonly #waiting = new Map<string, number>()
  #total = 0

  constructor(costMsMax: number, monotonic: () => number) {
    this.#costMsMax = costMsMax
    this.#monotonic = monotonic
  }

  /** Milliseconds that are held. */
  get total(): number {
    return this.#total
  }

  /**
   * Holds `costMs` for `owner`, who must have been authenticated.
   * @returns gives it back; to be called once.
   * @throws RefusedError `ERR_BUSY` with `retryAfterMs`.
   */
  take(owner: string, costMs: number): () => void {
    const held = this.#held.get(owner) ?? 0
    const half = this.#costMsMax / 2
    const fits = this.#total + costMs <= this.#costMsMax || (held === 0 && this.#total <= half)
    const fair = held === 0 || held + costMs <= half || !this.#othersWait(owner)
    if (!fits || !fair) {
      this.#waiting.set(owner, this.#monotonic() + waitingMs)
      throw busy(this.#total)
    }
    this.#waiting.delete(owner)
    this.#held.set(owner, held + costMs)
    this.#total += costMs
    return () => {
      const rest = this.#held.get(owner)! - costMs
      // Sums of fractions do not come back to zero by themselves.
      if (rest < 1e-9) this.#held.delete(owner)
      else this.#held.set(owner, rest)
      this.#total = this.#held.size === 0 ? 0 : this.#total - costMs
    }
  }

  #othersWait(owner: string): boolean {
    for (const other of this.#held.keys()) if (other !== owner) return true
    const now = this.#monotonic()
    for (const [other, until] of this.#waiting) {
      if (until < now) this.#waiting.delete(other)
      else if (other !== owner) return true
    }
    return false
  }
}

/** The writer should wait and resend the same bytes. @param unappliedMs - work that is under way. */
export function busy(unappliedMs: number): RefusedError {
  const retryAfterMs = Math.min(retryAfterMsMax, Math.max(retryAfterMsMin, Math.ceil(unappliedMs)))
  return new RefusedError(
    'ERR_BUSY',
    'The leader has more work than it can apply soon; wait and send the same bytes again.',
    { details: { retryAfterMs } },
  )
}

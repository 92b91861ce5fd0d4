/** One root for each size, whichever replica computes it and however often it does so again. */
import { invariant, toHex } from '@cipherlog/core'
import { type ClosedBatch } from '@cipherlog/machine'

export class LedgerChecker {
  readonly #roots = new Map<number, string>()

  /** The largest tree that any replica closed. */
  get largest(): number {
    return Math.max(0, ...this.#roots.keys())
  }

  closed(replica: string, { size, rootHash }: ClosedBatch): void {
    const root = toHex(rootHash)
    const known = this.#roots.get(size)
    invariant(known === undefined || known === root, 'Two roots for one size.', { replica, size, known, root })
    this.#roots.set(size, root)
  }
}

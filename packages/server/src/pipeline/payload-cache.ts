/** Payloads of recent log entries, so that sending and applying touch no disk. Those remembered longest go first. */
import { type EntryRef } from '@cipherlog/raft'

export class PayloadCache {
  readonly #bytesMax: number
  /** By index, with the term they belong to; oldest first. */
  readonly #payloads = new Map<number, { readonly term: number; readonly payload: Uint8Array }>()
  #bytes = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  set({ index, term }: EntryRef, payload: Uint8Array): void {
    const before = this.#payloads.get(index)
    if (before !== undefined) {
      this.#payloads.delete(index)
      this.#bytes -= before.payload.length
    }
    this.#payloads.set(index, { term, payload })
    this.#bytes += payload.length
    for (const [oldest, { payload: dropped }] of this.#payloads) {
      if (this.#bytes <= this.#bytesMax) break
      this.#payloads.delete(oldest)
      this.#bytes -= dropped.length
    }
  }

  get({ index, term }: EntryRef): Uint8Array | undefined {
    const cached = this.#payloads.get(index)
    return cached?.term === term ? cached.payload : undefined
  }

  clear(): void {
    this.#payloads.clear()
    this.#bytes = 0
  }
}

/**
 * Append messages sent to one peer and not yet acknowledged: a sliding window, limited by messages and by bytes.
 *
 * The last indexes in the window never decrease, so an acknowledgement frees a prefix (etcd's `tracker/inflights.go`).
 */
import { invariant } from '@cipherlog/core'

/** Last index and bytes of each message, oldest first. */
export type InflightsDump = readonly (readonly [number, number])[]

export class Inflights {
  readonly #maxMessages: number
  readonly #maxBytes: number
  readonly #window: { readonly lastIndex: number; readonly bytes: number }[] = []
  #bytes = 0

  constructor(maxMessages: number, maxBytes: number) {
    this.#maxMessages = maxMessages
    this.#maxBytes = maxBytes
  }

  get count(): number {
    return this.#window.length
  }

  /** No further message may leave. The last one may have overshot the bytes. */
  get full(): boolean {
    return this.#window.length >= this.#maxMessages || this.#bytes >= this.#maxBytes
  }

  /** Records a message whose last entry is `lastIndex`. */
  add(lastIndex: number, bytes: number): void {
    invariant(!this.full, 'A message was added to a full window')
    invariant(lastIndex >= (this.#window.at(-1)?.lastIndex ?? 0), 'In-flight indexes went back')
    this.#window.push({ lastIndex, bytes })
    this.#bytes += bytes
  }

  /** Frees every message that ends at or before `index`. */
  freeUpTo(index: number): void {
    let freed = 0
    while (freed < this.#window.length && this.#window[freed]!.lastIndex <= index) {
      this.#bytes -= this.#window[freed]!.bytes
      freed++
    }
    if (freed > 0) this.#window.splice(0, freed)
  }

  clear(): void {
    this.#window.length = 0
    this.#bytes = 0
  }

  dump(): InflightsDump {
    return this.#window.map(({ lastIndex, bytes }) => [lastIndex, bytes])
  }

  load(dump: InflightsDump): void {
    this.clear()
    for (const [lastIndex, bytes] of dump) this.add(lastIndex, bytes)
  }
}

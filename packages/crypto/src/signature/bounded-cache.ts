/** A map of at most `entriesMax` entries that forgets the one not used for longest. */
export class BoundedCache<K, V> {
  readonly #entries = new Map<K, V>()
  readonly entriesMax: number

  constructor(entriesMax: number) {
    this.entriesMax = entriesMax
  }

  get size(): number {
    return this.#entries.size
  }

  get(key: K): V | undefined {
    const value = this.#entries.get(key)
    if (value === undefined) return undefined
    // A Map keeps insertion order: what is used moves to the end, so the first entry is the oldest.
    this.#entries.delete(key)
    this.#entries.set(key, value)
    return value
  }

  set(key: K, value: V): void {
    this.#entries.delete(key)
    if (this.#entries.size >= this.entriesMax) this.#entries.delete(this.#entries.keys().next().value as K)
    this.#entries.set(key, value)
  }
}

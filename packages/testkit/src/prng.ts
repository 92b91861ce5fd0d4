/**
 * Seeded pseudo-randomness for simulations: the same seed gives the same run. Not for keys.
 *
 * The generator is sfc32 (Chris Doty-Humphrey, PractRand), 128 bits of state, warmed up from a 32-bit seed.
 */
export class Prng {
  #a: number
  #b: number
  #c: number
  #counter = 1

  constructor(seed: number) {
    this.#a = seed >>> 0
    this.#b = Math.floor(seed / 0x1_0000_0000) >>> 0
    this.#c = 0x9e3779b9
    for (let i = 0; i < 15; i++) this.uint32()
  }

  uint32(): number {
    const out = (this.#a + this.#b + this.#counter) | 0
    this.#counter = (this.#counter + 1) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + out) | 0
    return out >>> 0
  }

  /** Uniform in [0, 1). */
  readonly float = (): number => this.uint32() / 0x1_0000_0000

  /** True with probability `p`. */
  chance(p: number): boolean {
    return this.float() < p
  }

  /** A whole number from `low` to `high`, both included. */
  between(low: number, high: number): number {
    return low + Math.floor(this.float() * (high - low + 1))
  }

  /** One of `items`, which is not empty. */
  pick<T>(items: readonly T[]): T {
    return items[this.between(0, items.length - 1)]!
  }

  /** `items` in random order, a fresh array (Fisher-Yates). */
  shuffle<T>(items: readonly T[]): T[] {
    const out = [...items]
    for (let i = out.length - 1; i > 0; i--) {
      const j = this.between(0, i)
      ;[out[i], out[j]] = [out[j]!, out[i]!]
    }
    return out
  }
}

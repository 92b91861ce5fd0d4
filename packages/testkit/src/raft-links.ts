/**
 * The links of a simulated network, directed, between places: cut ones lose everything, clogged ones hold it back.
 */
import { type Prng } from './prng.ts'

export class Links {
  readonly #cut = new Set<string>()
  readonly #clogged = new Map<string, number>()

  isCut(from: number, to: number): boolean {
    return this.#cut.has(`${from}>${to}`)
  }

  /** Round until which what is sent now is held back. */
  cloggedUntil(from: number, to: number): number {
    return this.#clogged.get(`${from}>${to}`) ?? 0
  }

  /** Loses everything between the two groups; one-way: only what goes from the first to the second. */
  partition(from: readonly number[], to: readonly number[], oneWay: boolean): void {
    for (const a of from) {
      for (const b of to) {
        this.#cut.add(`${a}>${b}`)
        if (!oneWay) this.#cut.add(`${b}>${a}`)
      }
    }
  }

  heal(): void {
    this.#cut.clear()
  }

  unclog(): void {
    this.#clogged.clear()
  }

  /** Any split, one-way or not; half of them cut off a leader, who may take a while to notice. */
  partitionAtRandom(prng: Prng, places: readonly number[], leaders: readonly number[]): void {
    const order = prng.shuffle(places)
    const first = prng.chance(0.5) ? leaders[0] : undefined
    if (first !== undefined) order.sort((a, b) => Number(b === first) - Number(a === first))
    const size = prng.between(1, first === undefined ? order.length : Math.ceil(order.length / 2))
    this.partition(order.slice(0, size), order.slice(size), prng.chance(0.3))
  }

  /** Holds everything back that one place sends to another, or everything that it sends or receives. */
  clogAtRandom(prng: Prng, places: readonly number[], leaders: readonly number[], until: number): void {
    const at = prng.pick(leaders.length > 0 && prng.chance(0.5) ? leaders : places)
    const whole = prng.chance(0.5)
    const inwards = prng.chance(0.5)
    for (const other of whole ? places : [prng.pick(places)]) {
      this.#clogged.set(inwards ? `${other}>${at}` : `${at}>${other}`, until)
    }
  }
}

/**
 * Marks: when the leader closes a batch. Soon (at most every `batchIntervalMs`) if somebody awaits a receipt,
 * else every `idleMarkMs` with new leaves. A mark makes no claim; its position decides.
 */
import { encode, type Clock } from '@cipherlog/core'
import { entryKinds, mark, markReasons } from '@cipherlog/format'
import { type Replicator } from '../replicator.ts'

export interface MarksOptions {
  readonly replicator: Replicator
  readonly clock: Clock
  readonly batchIntervalMs: number
  readonly idleMarkMs: number
  /** Leaves since the last batch record. */
  readonly openLeaves: () => number
}

export class Marks {
  readonly #options: MarksOptions
  #lastMark = -Infinity
  #wanted = false
  #inFlight = false
  #stopped = false
  #timer: ReturnType<typeof setTimeout> | undefined
  readonly #idle: ReturnType<typeof setInterval>

  constructor(options: MarksOptions) {
    this.#options = options
    this.#idle = setInterval(() => this.#propose(markReasons.interval), options.idleMarkMs)
    this.#idle.unref()
  }

  /** Somebody awaits a batch record behind what is applied now. */
  want(): void {
    this.#wanted = true
    this.#schedule()
  }

  stop(): void {
    clearInterval(this.#idle)
    clearTimeout(this.#timer)
    this.#stopped = true
  }

  #schedule(): void {
    if (this.#timer !== undefined || this.#inFlight || this.#stopped) return
    const { clock, batchIntervalMs } = this.#options
    const wait = Math.max(0, this.#lastMark + batchIntervalMs - clock.monotonic())
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#propose(markReasons.receipt)
    }, wait)
  }

  #propose(reason: (typeof markReasons)[keyof typeof markReasons]): void {
    const { replicator, clock, openLeaves } = this.#options
    if (this.#inFlight || openLeaves() === 0 || replicator.leadingSince() === undefined) return
    this.#inFlight = true
    this.#wanted = false
    this.#lastMark = clock.monotonic()
    void replicator.propose(entryKinds.mark, encode(mark, { reason })).then(() => {
      this.#inFlight = false
      // A receipt asked for meanwhile may concern a leaf behind this mark.
      if (this.#wanted) this.#schedule()
    })
  }
}

/**
 * The network between replicas and to clients: loses, repeats, delays and reorders messages, and has paths that are
 * clogged or cut, one way or both. Rates are those of TigerBeetle's VOPR, drawn once for a run.
 */
import { type Prng } from '../prng.ts'
import { type Counts } from './counts.ts'
import { type Scheduler, type SimulatedProcess } from './scheduler.ts'

export interface NetworkFaults {
  /** Messages lost, and messages that come again. */
  readonly loss: number
  readonly replay: number
  /** Mean of the exponential part of a message's time. */
  readonly delayMsMean: number
  /** A message finds its path clogged from now on, for up to `clogMsMax`. */
  readonly clog: number
  readonly clogMsMax: number
}

export const noNetworkFaults: NetworkFaults = { loss: 0, replay: 0, delayMsMean: 1, clog: 0, clogMsMax: 0 }

const delayMsMin = 0.2

export class SimulatedNetwork {
  faults: NetworkFaults = noNetworkFaults
  readonly #scheduler: Scheduler
  readonly #prng: Prng
  readonly #counts: Counts
  readonly #cut = new Set<string>()
  readonly #cloggedUntil = new Map<string, number>()

  constructor(scheduler: Scheduler, prng: Prng, counts: Counts) {
    this.#scheduler = scheduler
    this.#prng = prng
    this.#counts = counts
  }

  /** Nothing goes from any of `from` to any of `to`. */
  cut(from: readonly string[], to: readonly string[]): void {
    for (const a of from) for (const b of to) if (a !== b) this.#cut.add(`${a}>${b}`)
  }

  get isCut(): boolean {
    return this.#cut.size > 0
  }

  /** Ends partitions. */
  heal(): void {
    this.#cut.clear()
  }

  /** Ends every fault for good; what is under way still arrives late. */
  calm(): void {
    this.heal()
    this.#cloggedUntil.clear()
    this.faults = noNetworkFaults
  }

  /**
   * Sends one message, which arrives never, once or more often.
   * @param target - the process that has the address when the message arrives; undefined: nobody.
   */
  send(from: string, to: string, label: string, target: () => SimulatedProcess | undefined, deliver: () => void): void {
    // What a process still does while it ends reaches nobody.
    if (this.#scheduler.current?.alive === false) return
    const { loss, replay } = this.faults
    const path = `${from}>${to}`
    if (this.#cut.has(path)) {
      this.#counts.add('message cut off')
      return
    }
    if (this.#prng.chance(loss)) {
      this.#counts.add('message lost')
      return
    }
    this.#transmit(path, label, target, deliver)
    if (this.#prng.chance(replay)) {
      this.#counts.add('message repeated')
      this.#transmit(path, label, target, deliver)
    }
  }

  #transmit(path: string, label: string, target: () => SimulatedProcess | undefined, deliver: () => void): void {
    const { delayMsMean, clog, clogMsMax } = this.faults
    const scheduler = this.#scheduler
    if (this.#prng.chance(clog)) {
      this.#counts.add('path clogged')
      this.#cloggedUntil.set(path, scheduler.now + this.#prng.float() * clogMsMax)
    }
    const arrive = (): void => {
      const cloggedUntil = this.#cloggedUntil.get(path) ?? 0
      if (cloggedUntil > scheduler.now) {
        scheduler.after(cloggedUntil - scheduler.now, undefined, label, arrive)
        return
      }
      const process = target()
      if (process?.alive !== true) return
      if (process.paused) scheduler.after(0, process, label, deliver)
      else scheduler.as(process, deliver)
    }
    const ms = delayMsMin - Math.log(1 - this.#prng.float()) * delayMsMean
    scheduler.after(ms, undefined, `${path} ${label}`, arrive)
  }
}

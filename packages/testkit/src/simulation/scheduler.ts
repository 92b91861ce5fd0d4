/**
 * Virtual time for everything in this process: a queue of events, run one at a time in order of time and, at the same
 * time, of scheduling. Between two events all promises settle.
 *
 * Every event belongs to a {@link SimulatedProcess}: promises carry it along (AsyncLocalStorage), so whatever code a
 * replica or client runs, the timers, disk operations and messages it starts are its own. A process that is killed
 * runs nothing any more, at whatever `await` it stood; a paused one runs later what came meanwhile.
 *
 * Invariant: nothing here reads a real clock, so the order of events is a function of what was scheduled.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { createHash } from 'node:crypto'
import { type Prng } from '../prng.ts'

/** Taken before anyone replaces them. */
const realSetImmediate = globalThis.setImmediate

/** An operating system's process: what a crash ends and a pause stops. */
export class SimulatedProcess {
  readonly name: string
  /** Decides whatever code of this process leaves to chance. */
  readonly prng: Prng
  alive = true
  paused = false
  /** What came while it was paused. */
  readonly missed: SimulatedEvent[] = []
  readonly #onEnd: (() => void)[] = []

  constructor(name: string, prng: Prng) {
    this.name = name
    this.prng = prng
  }

  /** Called once when the process ends, by whomever holds a connection to it. */
  onEnd(listener: () => void): void {
    this.#onEnd.push(listener)
  }

  end(): void {
    if (!this.alive) return
    this.alive = false
    this.missed.length = 0
    for (const listener of this.#onEnd.splice(0)) listener()
  }
}

export class SimulatedEvent {
  readonly time: number
  readonly sequence: number
  readonly process: SimulatedProcess | undefined
  readonly label: string
  run: (() => void) | undefined

  constructor(time: number, sequence: number, process: SimulatedProcess | undefined, label: string, run: () => void) {
    this.time = time
    this.sequence = sequence
    this.process = process
    this.label = label
    this.run = run
  }

  cancel(): void {
    this.run = undefined
  }
}

export class Scheduler {
  /** Milliseconds of virtual time, with fractions. */
  now = 0
  /** Events run so far. */
  events = 0
  /** Native work under way (WebCrypto), which promises wait for in real time. */
  nativePending = 0
  /** Told of each event before it runs. */
  onEvent: ((event: SimulatedEvent) => void) | undefined
  readonly #context = new AsyncLocalStorage<SimulatedProcess | undefined>()
  readonly #heap: SimulatedEvent[] = []
  #sequence = 0
  readonly #digest = createHash('sha256')
  #unhashed = ''

  /** The process whose code is running; undefined: the simulation's own. */
  get current(): SimulatedProcess | undefined {
    return this.#context.getStore()
  }

  /** Runs `run` as code of `process`. */
  as<T>(process: SimulatedProcess | undefined, run: () => T): T {
    return this.#context.run(process, run)
  }

  /** Runs `run` after `delayMs`, unless its process has ended by then. */
  after(delayMs: number, process: SimulatedProcess | undefined, label: string, run: () => void): SimulatedEvent {
    const event = new SimulatedEvent(this.now + Math.max(0, delayMs), this.#sequence++, process, label, run)
    this.#push(event)
    return event
  }

  /** Ends a pause: what was missed happens now, in order. */
  resume(process: SimulatedProcess): void {
    process.paused = false
    for (const { run, label } of process.missed.splice(0)) {
      if (run !== undefined) this.after(0, process, label, run)
    }
  }

  /** Adds to the digest of the run whatever `text` says. */
  record(text: string): void {
    this.#unhashed += text
    if (this.#unhashed.length > 16_384) this.#hash()
  }

  /** Digest of everything that happened, lowercase hex; ends recording. */
  digest(): string {
    this.#hash()
    return this.#digest.digest('hex')
  }

  #hash(): void {
    this.#digest.update(this.#unhashed)
    this.#unhashed = ''
  }

  /** Runs events until `done`, or until virtual time `limitMs`; false in the second case. */
  async run(done: () => boolean, limitMs: number): Promise<boolean> {
    await this.#settle()
    while (!done()) {
      const event = this.#pop()
      if (event === undefined) return false
      if (event.time > limitMs) {
        this.#push(event)
        this.now = limitMs
        return false
      }
      this.now = event.time
      const { process, run } = event
      if (run === undefined || process?.alive === false) continue
      if (process?.paused === true) {
        process.missed.push(event)
        continue
      }
      this.events++
      this.record(`${event.time} ${process?.name ?? ''} ${event.label}\n`)
      this.onEvent?.(event)
      this.#context.run(process, run)
      await this.#settle()
    }
    return true
  }

  /** Lets all promises settle, and native work finish. */
  async #settle(): Promise<void> {
    do await new Promise<void>((resolve) => realSetImmediate(resolve))
    while (this.nativePending > 0)
  }

  // A binary heap by (time, sequence).

  #push(event: SimulatedEvent): void {
    const heap = this.#heap
    let at = heap.length
    heap.push(event)
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!isBefore(event, heap[parent]!)) break
      heap[at] = heap[parent]!
      at = parent
    }
    heap[at] = event
  }

  #pop(): SimulatedEvent | undefined {
    const heap = this.#heap
    const top = heap[0]
    const last = heap.pop()
    if (top === undefined || last === undefined || heap.length === 0) return top
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++
      if (!isBefore(heap[child]!, last)) break
      heap[at] = heap[child]!
      at = child
    }
    heap[at] = last
    return top
  }
}

function isBefore(a: SimulatedEvent, b: SimulatedEvent): boolean {
  return a.time < b.time || (a.time === b.time && a.sequence < b.sequence)
}

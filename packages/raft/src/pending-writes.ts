/**
 * Writes handed to the disk and not yet acknowledged, and what waits for them.
 *
 * Invariant: entries up to `durableIndex` are on disk *with the content the log has now*. A truncation lowers that
 * bound at once, for finished writes and for those under way, so an acknowledgement of overwritten entries says
 * nothing about their successors (the ABA of etcd's asynchronous storage writes). Writes finish in order.
 */
import { invariant } from '@cipherlog/core'
import { type Message } from './messages.ts'

interface Write {
  readonly ioId: number
  readonly tick: number
  /** What the log holds is durable up to here once this write is. */
  lastIndex: number
  /** Messages that vouch for this write or an earlier one. */
  readonly held: Message[]
}

export class PendingWrites {
  readonly #writes: Write[] = []
  #lastIoId = 0
  #durableIndex: number

  constructor(durableIndex: number) {
    this.#durableIndex = durableIndex
  }

  get durableIndex(): number {
    return this.#durableIndex
  }

  /** A new write, after which the log up to `lastIndex` is durable. Returns its id. */
  issue(lastIndex: number, tick: number): number {
    this.#writes.push({ ioId: ++this.#lastIoId, tick, lastIndex, held: [] })
    return this.#lastIoId
  }

  /** Keeps `message` until every write issued so far is durable. False if there is none under way. */
  hold(message: Message): boolean {
    const last = this.#writes.at(-1)
    last?.held.push(message)
    return last !== undefined
  }

  /** The log dropped `index` and everything after it. */
  truncateFrom(index: number): void {
    this.#durableIndex = Math.min(this.#durableIndex, index - 1)
    for (const write of this.#writes) write.lastIndex = Math.min(write.lastIndex, index - 1)
  }

  /** Write `ioId` and all before it are durable: returns what they held back. Ids already seen are ignored. */
  complete(ioId: number): readonly Message[] {
    invariant(ioId <= this.#lastIoId, 'A write was acknowledged that was never issued', { ioId })
    const released: Message[] = []
    while (this.#writes.length > 0 && this.#writes[0]!.ioId <= ioId) {
      const write = this.#writes.shift()!
      this.#durableIndex = Math.max(this.#durableIndex, write.lastIndex)
      released.push(...write.held)
    }
    return released
  }

  /** When the oldest write under way was issued. */
  get oldestTick(): number | undefined {
    return this.#writes[0]?.tick
  }
}

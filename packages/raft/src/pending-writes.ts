/**
 * Writes handed to the disk and not yet acknowledged, and what waits for them.
 *
 * Invariant: entries up to `durableIndex` are on disk *with the content the log has now*. A truncation lowers that
 * bound at once, for finished writes and for those under way, so an acknowledgement of overwritten entries says
 * nothing about their successors (the ABA of etcd's asynchronous storage writes). Writes finish in order.
 */
import { invariant } from '@cipherlog/core'
import { dumpSnapshot, loadSnapshot, type SnapshotDump, type SnapshotMeta } from './membership.ts'
import { type AppendRespMessage, type VoteMessage, type VoteRespMessage } from './messages.ts'

/** What vouches for something written. */
export type HeldMessage = VoteMessage | VoteRespMessage | AppendRespMessage

interface Write {
  readonly ioId: number
  readonly tick: number
  /** What the log holds is durable up to here once this write is. */
  lastIndex: number
  /** The snapshot it installs. */
  readonly snapshot: SnapshotMeta | undefined
  /** Messages that vouch for this write or an earlier one. */
  readonly held: HeldMessage[]
}

/** What became durable: messages to send, and the newest snapshot that is now installed. */
export interface Completed {
  readonly released: readonly HeldMessage[]
  readonly snapshot: SnapshotMeta | undefined
}

const nothing: Completed = { released: [], snapshot: undefined }

interface WriteDump extends Omit<Write, 'snapshot'> {
  readonly snapshot: SnapshotDump | null
}

export interface WritesDump {
  readonly writes: readonly WriteDump[]
  readonly lastIoId: number
  readonly durableIndex: number
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
  issue(lastIndex: number, tick: number, snapshot: SnapshotMeta | undefined): number {
    this.#writes.push({ ioId: ++this.#lastIoId, tick, lastIndex, snapshot, held: [] })
    return this.#lastIoId
  }

  /** Keeps `message` until every write issued so far is durable. False if there is none under way. */
  hold(message: HeldMessage): boolean {
    const last = this.#writes.at(-1)
    last?.held.push(message)
    return last !== undefined
  }

  /** The log's content from `index` on is another now. */
  truncateFrom(index: number): void {
    this.#durableIndex = Math.min(this.#durableIndex, index - 1)
    for (const write of this.#writes) write.lastIndex = Math.min(write.lastIndex, index - 1)
  }

  /** Write `ioId` and all before it are durable. Ids already seen are ignored. */
  complete(ioId: number): Completed {
    invariant(ioId <= this.#lastIoId, 'A write was acknowledged that was never issued', { ioId })
    const [first] = this.#writes
    if (first === undefined || first.ioId > ioId) return nothing
    const released: HeldMessage[] = []
    let snapshot: SnapshotMeta | undefined
    while (this.#writes.length > 0 && this.#writes[0]!.ioId <= ioId) {
      const write = this.#writes.shift()!
      this.#durableIndex = Math.max(this.#durableIndex, write.lastIndex)
      snapshot = write.snapshot ?? snapshot
      for (const message of write.held) released.push(message)
    }
    return { released, snapshot }
  }

  /** What leaves once write `ioId` is durable and did not wait for an earlier one; none when it is durable. */
  heldBy(ioId: number): readonly HeldMessage[] {
    return this.#writes.find((write) => write.ioId === ioId)?.held ?? []
  }

  /** When the oldest write under way was issued. */
  get oldestTick(): number | undefined {
    return this.#writes[0]?.tick
  }

  /** A snapshot is not installed yet: the log on disk is still the one before. */
  get installing(): boolean {
    return this.#writes.some(({ snapshot }) => snapshot !== undefined)
  }

  dump(): WritesDump {
    const writes = this.#writes.map(({ snapshot, held, ...write }) => ({
      ...write,
      snapshot: dumpSnapshot(snapshot),
      held: [...held],
    }))
    return { writes, lastIoId: this.#lastIoId, durableIndex: this.#durableIndex }
  }

  static fromDump({ writes, lastIoId, durableIndex }: WritesDump): PendingWrites {
    const twin = new PendingWrites(durableIndex)
    twin.#lastIoId = lastIoId
    for (const { snapshot, held, ...write } of writes) {
      twin.#writes.push({ ...write, snapshot: loadSnapshot(snapshot), held: [...held] })
    }
    return twin
  }
}

/**
 * Linearizable reads without log entries (Raft §6.4), batched: one round of heartbeats confirms leadership for every
 * read that arrived before it began.
 *
 * Rounds are numbered upwards and heartbeats carry the number of the one under way, so an answer proves that the peer
 * took us for the leader *after* that round began, however often the question was repeated. At most one round is under
 * way; reads that arrive meanwhile wait for the next, so no answer to an older question ever serves a newer read.
 */
import { type PeerId } from './membership.ts'

/** Who asked, this replica or another, and the context that names the question there. */
export interface ReadRequest {
  readonly from: PeerId
  readonly context: number
}

interface Round {
  readonly number: number
  readonly requests: readonly ReadRequest[]
  /** Commit index when the round began: at least what was committed when its reads arrived. */
  readonly index: number
  readonly confirmedBy: Set<PeerId>
}

export interface ReadOnlyDump {
  readonly waiting: readonly ReadRequest[]
  readonly round: {
    readonly number: number
    readonly requests: readonly ReadRequest[]
    readonly index: number
    readonly confirmedBy: readonly PeerId[]
  } | null
  readonly lastNumber: number
}

export class ReadOnly {
  #waiting: ReadRequest[] = []
  #round: Round | undefined
  #lastNumber = 0

  /** Number of the round under way, 0 if there is none. */
  get context(): number {
    return this.#round?.number ?? 0
  }

  /** A number above all rounds before it. */
  nextNumber(): number {
    return ++this.#lastNumber
  }

  /** Nobody waits for an answer. */
  get idle(): boolean {
    return this.#round === undefined && this.#waiting.length === 0
  }

  add(request: ReadRequest): void {
    this.#waiting.push(request)
  }

  /** Begins a round for all waiting reads at commit index `index`. False if there are none, or one is under way. */
  begin(index: number): boolean {
    if (this.#round !== undefined || this.#waiting.length === 0) return false
    this.#round = { number: this.nextNumber(), requests: this.#waiting, index, confirmedBy: new Set() }
    this.#waiting = []
    return true
  }

  /** `peer` answered a heartbeat that carried `context`. */
  confirm(peer: PeerId, context: number): void {
    if (this.#round !== undefined && context >= this.#round.number) this.#round.confirmedBy.add(peer)
  }

  /** Ends the round if `isQuorum` holds of who confirmed it. */
  finish(isQuorum: (confirmed: ReadonlySet<PeerId>) => boolean): Pick<Round, 'requests' | 'index'> | undefined {
    const round = this.#round
    if (round === undefined || !isQuorum(round.confirmedBy)) return undefined
    this.#round = undefined
    return round
  }

  /** Forgets every read and returns them: leadership is lost. */
  drain(): readonly ReadRequest[] {
    if (this.idle) return []
    const requests = [...(this.#round?.requests ?? []), ...this.#waiting]
    this.#round = undefined
    this.#waiting = []
    return requests
  }

  dump(): ReadOnlyDump {
    const round = this.#round
    return {
      waiting: [...this.#waiting],
      round: round === undefined ? null : { ...round, confirmedBy: [...round.confirmedBy] },
      lastNumber: this.#lastNumber,
    }
  }

  load({ waiting, round, lastNumber }: ReadOnlyDump): void {
    this.#waiting = [...waiting]
    this.#round = round === null ? undefined : { ...round, confirmedBy: new Set(round.confirmedBy) }
    this.#lastNumber = lastNumber
  }
}

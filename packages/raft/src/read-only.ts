/**
 * Linearizable reads without log entries (Raft §6.4), batched: one round of heartbeats confirms leadership for every
 * read that arrived before it began.
 *
 * Rounds are numbered upwards and every heartbeat carries the number of the newest, so an answer proves that the peer
 * took us for the leader *after* the round began, however often the question was repeated. At most one round is under
 * way; reads that arrive meanwhile wait for the next, so no answer to an older question ever serves a newer read.
 */
import { type PeerId } from './membership.ts'

interface Round {
  readonly contexts: readonly number[]
  /** Commit index when the round began: at least what was committed when its reads arrived. */
  readonly index: number
  readonly confirmedBy: Set<PeerId>
}

export class ReadOnly {
  #waiting: number[] = []
  #round: Round | undefined
  #roundNumber = 0

  /** Number of the newest round: what heartbeats carry. */
  get context(): number {
    return this.#roundNumber
  }

  add(context: number): void {
    this.#waiting.push(context)
  }

  /** Begins a round for all waiting reads at commit index `index`. False if there are none, or one is under way. */
  begin(index: number): boolean {
    if (this.#round !== undefined || this.#waiting.length === 0) return false
    this.#round = { contexts: this.#waiting, index, confirmedBy: new Set() }
    this.#waiting = []
    this.#roundNumber++
    return true
  }

  /** `peer` answered a heartbeat that carried `context`. */
  confirm(peer: PeerId, context: number): void {
    if (context === this.#roundNumber) this.#round?.confirmedBy.add(peer)
  }

  /** Ends the round if `isQuorum` holds of who confirmed it. */
  finish(isQuorum: (confirmed: ReadonlySet<PeerId>) => boolean): Pick<Round, 'contexts' | 'index'> | undefined {
    const round = this.#round
    if (round === undefined || !isQuorum(round.confirmedBy)) return undefined
    this.#round = undefined
    return round
  }

  /** Forgets every read and returns their contexts: leadership is lost. */
  drain(): readonly number[] {
    const contexts = [...(this.#round?.contexts ?? []), ...this.#waiting]
    this.#round = undefined
    this.#waiting = []
    return contexts
  }
}

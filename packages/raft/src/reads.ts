/**
 * Linearizable reads: by a round of heartbeats, by lease, or through the leader (Raft §6.4).
 *
 * Invariants: an index is given only by a leader that has committed in its term, and after it was confirmed as leader,
 * or under its lease; a follower's question has a number of its own that is not used twice, not even after a restart,
 * and an answer counts only for the newest question of its context, so an answer to an old one serves no new read.
 */
import { type Core } from './core.ts'
import { type PeerId } from './membership.ts'
import { type ReadIndexMessage, type ReadIndexRespMessage } from './messages.ts'
import { isJointQuorum } from './quorum.ts'
import { ReadOnly, type ReadOnlyDump, type ReadRequest } from './read-only.ts'
import { type Input } from './types.ts'

export interface ReadsDump {
  readonly readOnly: ReadOnlyDump
  readonly asked: readonly (readonly [number, number])[]
  readonly lastQuestion: number
}

export class Reads {
  readonly #core: Core
  readonly #readOnly = new ReadOnly()
  /** While following: our contexts by the number of the question that the leader was asked. */
  readonly #asked = new Map<number, number>()
  #lastQuestion = 0

  constructor(core: Core) {
    this.#core = core
  }

  /** Answers to what was asked before a restart may still be under way. */
  start(): void {
    this.#lastQuestion = Math.floor(this.#core.config.random() * 2 ** 20) * 2 ** 32
  }

  get idle(): boolean {
    return this.#readOnly.idle
  }

  /** The shell asks. */
  ask({ context, lease, monotonicMs }: Extract<Input, { type: 'readIndex' }>): void {
    const core = this.#core
    if (core.role !== 'leader') return this.#askLeader(context)
    if (lease === true && monotonicMs !== undefined && this.#hasCommitted && core.leases.holds(monotonicMs)) {
      core.out.effects.push({ type: 'readReady', context, index: core.commit })
      return
    }
    this.#readOnly.add({ from: core.id, context })
    this.beginRound()
  }

  /** Another replica asks. */
  handleRequest({ from, context }: ReadIndexMessage): void {
    if (this.#core.role !== 'leader') return
    this.#readOnly.add({ from, context })
    this.beginRound()
  }

  /** The leader answers; whoever asked and is no follower any more asks again. */
  handleResponse({ context: question, index }: ReadIndexRespMessage): void {
    const context = this.#asked.get(question)
    if (context === undefined) return
    this.#asked.delete(question)
    this.#core.out.effects.push({ type: 'readReady', context, index })
  }

  /** What the heartbeats that leave now carry. With leases each broadcast has a number of its own. */
  heartbeatContext(): number {
    const { leases } = this.#core
    if (!leases.enabled) return this.#readOnly.context
    const number = this.#readOnly.nextNumber()
    leases.left(number)
    return number
  }

  confirm(peer: PeerId, context: number): void {
    if (this.#readOnly.context === 0) return
    this.#readOnly.confirm(peer, context)
    this.#finishRound()
  }

  beginRound(): void {
    const core = this.#core
    // Until an entry of its own term is committed a leader does not know the commit index.
    if (this.#readOnly.idle || !this.#hasCommitted || !this.#readOnly.begin(core.commit)) return
    if (this.#finishRound()) return
    core.replication.broadcastHeartbeat()
  }

  /** Leadership, or the leader, is lost: whoever waits here is told. */
  fail(): void {
    const { id } = this.#core
    for (const { from, context } of this.#readOnly.drain()) if (from === id) this.#fail(context)
    if (this.#asked.size === 0) return
    for (const context of this.#asked.values()) this.#fail(context)
    this.#asked.clear()
  }

  dump(): ReadsDump {
    return { readOnly: this.#readOnly.dump(), asked: [...this.#asked], lastQuestion: this.#lastQuestion }
  }

  load({ readOnly, asked, lastQuestion }: ReadsDump): void {
    this.#readOnly.load(readOnly)
    for (const [question, context] of asked) this.#asked.set(question, context)
    this.#lastQuestion = lastQuestion
  }

  get #hasCommitted(): boolean {
    const { log, commit, term } = this.#core
    return log.term(commit) === term
  }

  /** True if a round ended; the next has begun if reads wait for it. */
  #finishRound(): boolean {
    const { id, reconfiguration } = this.#core
    const round = this.#readOnly.finish((confirmed) =>
      isJointQuorum(reconfiguration.confState, (voter) => voter === id || confirmed.has(voter)),
    )
    if (round === undefined) return false
    for (const request of round.requests) this.#answer(request, round.index)
    this.beginRound()
    return true
  }

  #answer({ from, context }: ReadRequest, index: number): void {
    const { id, term, out } = this.#core
    if (from === id) out.effects.push({ type: 'readReady', context, index })
    else out.send({ type: 'readIndexResp', from: id, to: from, term, context, index })
  }

  #askLeader(context: number): void {
    const { config, id, role, leaderId, term, out } = this.#core
    if (!config.forwardReads || role !== 'follower' || leaderId === undefined) return this.#fail(context)
    for (const [question, asked] of this.#asked) if (asked === context) this.#asked.delete(question)
    this.#asked.set(++this.#lastQuestion, context)
    out.send({ type: 'readIndex', from: id, to: leaderId, term, context: this.#lastQuestion })
  }

  #fail(context: number): void {
    const { leaderId, out } = this.#core
    const effect = { type: 'readFailed' as const, context }
    out.effects.push(leaderId === undefined ? effect : { ...effect, leaderId })
  }
}

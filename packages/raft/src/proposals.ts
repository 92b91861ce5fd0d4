/**
 * Proposals: what a leader takes into its log, and what became of it.
 *
 * Invariants: only a leader appends entries of its own; uncommitted payload bytes stay below the limit, one proposal
 * apart; a proposal is told exactly once that it was dropped, forwarded or lost, or its index is committed.
 */
import { fromHex, invariant } from '@cipherlog/core'
import { type Core } from './core.ts'
import { type PeerId } from './membership.ts'
import { isPayload, type ProposedEntry, type ProposeMessage } from './messages.ts'
import { type DropReason, emptyDigestHex, type EntryRef, type Input, membershipKind, noOpKind } from './types.ts'

export interface ProposalsDump {
  readonly waiting: readonly (readonly [number, number])[]
  readonly uncommittedBytes: number
}

export class Proposals {
  readonly #core: Core
  /** Appended here and not known to be committed: ids by index. */
  readonly #waiting = new Map<number, number>()
  /** While leading: payload bytes appended and not committed. */
  #uncommittedBytes = 0

  constructor(core: Core) {
    this.#core = core
  }

  beginLeading(): void {
    const { log, commit } = this.#core
    this.#uncommittedBytes = 0
    for (let index = commit + 1; index <= log.lastIndex; index++) this.#uncommittedBytes += log.payloadBytes(index)
    // Entries of earlier terms commit only behind one of this term (Raft §3.6.2).
    this.append({ kind: noOpKind, bytes: 0, digest: fromHex(emptyDigestHex) })
  }

  propose(input: Extract<Input, { type: 'propose' | 'proposeConf' }>): void {
    const { proposalId, bytes, digest } = input
    const entry: ProposedEntry =
      input.type === 'propose'
        ? { kind: input.kind, bytes, digest }
        : { kind: membershipKind, bytes, digest, change: input.change }
    if (!isPayload(entry)) {
      throw new RangeError(
        'A proposal needs a u16 kind, a u32 length and a digest of 32 bytes; membership goes by proposeConf',
      )
    }
    if (this.#core.role !== 'leader') return this.#forward(proposalId, entry)
    const reason = this.#refusal(entry)
    if (reason !== undefined) return this.#drop(proposalId, reason)
    this.append({ ...entry, digest: digest.slice() }, proposalId)
    this.#core.replication.broadcastAppend()
  }

  /** A follower's clients propose: all of them or none, so that payloads and entries stay in step. */
  receive({ entries }: ProposeMessage): void {
    const core = this.#core
    if (core.role !== 'leader') return
    const changes = entries.filter(({ change }) => change !== undefined).length
    const bytes = entries.reduce((sum, entry) => sum + entry.bytes, 0)
    if (changes > 1 || this.#limited(bytes) || entries.some((entry) => this.#refusal(entry) !== undefined)) return
    for (const entry of entries) this.append(entry)
    core.replication.broadcastAppend()
  }

  append({ kind, bytes, digest, change }: ProposedEntry, proposalId?: number): void {
    const core = this.#core
    invariant(core.role === 'leader', 'Only a leader appends entries of its own')
    const { id, electionTicks, maxClockErrorMs } = core.config
    const { voters } = core.reconfiguration.confState
    const time = core.clocks.stamp(
      { id, clockMs: core.clockMs, lastStamp: core.log.lastTime },
      voters,
      core.ticks - electionTicks,
      maxClockErrorMs,
    )
    const index = core.log.lastIndex + 1
    const ref: EntryRef = { term: core.term, index, kind, time, bytes, digest }
    const whole = change === undefined ? ref : { ...ref, change }
    core.log.append(whole)
    core.out.append(whole, proposalId)
    this.#uncommittedBytes += bytes
    if (change !== undefined) core.reconfiguration.appended(index)
    if (proposalId !== undefined) this.#waiting.set(index, proposalId)
  }

  /** The commit index goes from `from` to `to`. */
  committed(from: number, to: number): void {
    const { log, role } = this.#core
    for (let at = from + 1; at <= to; at++) {
      this.#waiting.delete(at)
      if (role === 'leader') this.#uncommittedBytes -= log.payloadBytes(at)
    }
  }

  /** The entries from `from` on are gone from this log. */
  overwritten(from: number): void {
    for (const [index, proposalId] of this.#waiting) {
      if (index < from) continue
      this.#core.out.effects.push({ type: 'lost', proposalId })
      this.#waiting.delete(index)
    }
  }

  dump(): ProposalsDump {
    return { waiting: [...this.#waiting], uncommittedBytes: this.#uncommittedBytes }
  }

  load({ waiting, uncommittedBytes }: ProposalsDump): void {
    for (const [index, proposalId] of waiting) this.#waiting.set(index, proposalId)
    this.#uncommittedBytes = uncommittedBytes
  }

  #refusal(entry: ProposedEntry): DropReason | undefined {
    const { transfer, reconfiguration } = this.#core
    if (transfer.target !== undefined) return 'transferring'
    // A leader that may stay though it left (stepDownOnRemoval off) takes nothing new.
    if (!reconfiguration.members.includes(this.#core.id)) return 'not-leader'
    if (entry.change !== undefined) {
      const reason = reconfiguration.refusal(entry.change)
      if (reason !== undefined) return reason
    }
    return this.#limited(entry.bytes) ? 'uncommitted-limit' : undefined
  }

  /** One proposal always fits, and one without payload too. */
  #limited(bytes: number): boolean {
    const sum = this.#uncommittedBytes + bytes
    return this.#uncommittedBytes > 0 && bytes > 0 && sum > this.#core.config.maxUncommittedBytes
  }

  #forward(proposalId: number, entry: ProposedEntry): void {
    const { config, role, leaderId, id, term, out } = this.#core
    if (!config.forwardProposals || role !== 'follower' || leaderId === undefined) {
      return this.#drop(proposalId, 'not-leader')
    }
    out.effects.push({ type: 'forwarded', proposalId, leaderId })
    out.send({ type: 'propose', from: id, to: leaderId, term, entries: [entry] })
  }

  #drop(proposalId: number, reason: DropReason): void {
    const leaderId: PeerId | undefined = this.#core.leaderId
    const effect = { type: 'dropped' as const, proposalId, reason }
    this.#core.out.effects.push(leaderId === undefined ? effect : { ...effect, leaderId })
  }
}

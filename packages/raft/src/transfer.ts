/**
 * Handing leadership over (Raft §3.10): bring the target up to date, tell it to campaign at once, take no proposals
 * meanwhile, and give up after an election timeout.
 *
 * Invariant: a leader that told anyone to campaign reads by lease no more in its term, since the votes for that
 * campaign are given while the lease would still run.
 */
import { type Core } from './core.ts'
import { type PeerId } from './membership.ts'
import { type TransferFailure } from './types.ts'

export interface TransferDump {
  readonly target: PeerId | null
  readonly awaited: PeerId | null
  readonly told: boolean
}

export class Transfer {
  readonly #core: Core
  /** Who shall lead, while leading. */
  #target: PeerId | undefined
  /** Who should, after stepping down for it. */
  #awaited: PeerId | undefined
  /** Somebody was told to campaign, in this leadership. */
  #told = false

  constructor(core: Core) {
    this.#core = core
  }

  get target(): PeerId | undefined {
    return this.#target
  }

  /** The lease is not to be trusted any more. */
  get told(): boolean {
    return this.#told
  }

  begin(to: PeerId): void {
    const { role, id, replication, log, election } = this.#core
    if (role !== 'leader') return this.#failed(to, 'not-leader')
    const progress = replication.peers.get(to)
    if (to === id || progress === undefined || progress.isLearner) return this.#failed(to, 'not-a-voter')
    if (this.#target === to) return
    this.#abort('superseded')
    this.#target = to
    // It has one election timeout.
    election.elapsed = 0
    if (progress.match === log.lastIndex) this.#tell()
    else replication.sendAppendTo(to)
  }

  /** `peer` holds the log up to `match`. */
  caughtUp(peer: PeerId, match: number): void {
    if (peer === this.#target && match === this.#core.log.lastIndex) this.#tell()
  }

  timeout(): void {
    this.#abort('timeout')
  }

  /** Membership changed: only a voter can take over. */
  checkTarget(): void {
    if (this.#target === undefined) return
    const { confState } = this.#core.reconfiguration
    if (!confState.voters.includes(this.#target) && !confState.votersOutgoing.includes(this.#target)) {
      this.#abort('not-a-voter')
    }
  }

  /** Leadership is over; whether the transfer worked shows when somebody leads. */
  ledNoMore(): void {
    this.#awaited = this.#target
    this.#target = undefined
    this.#told = false
  }

  /** Somebody leads, perhaps this replica again. */
  leaderKnown(leaderId: PeerId): void {
    if (this.#awaited === undefined) return
    if (leaderId === this.#awaited) this.#core.out.effects.push({ type: 'transferred', to: leaderId })
    else this.#failed(this.#awaited, 'lost-leadership')
    this.#awaited = undefined
  }

  dump(): TransferDump {
    return { target: this.#target ?? null, awaited: this.#awaited ?? null, told: this.#told }
  }

  load({ target, awaited, told }: TransferDump): void {
    this.#target = target ?? undefined
    this.#awaited = awaited ?? undefined
    this.#told = told
  }

  #tell(): void {
    const { id, term, out } = this.#core
    this.#told = true
    out.send({ type: 'timeoutNow', from: id, to: this.#target!, term })
  }

  #abort(reason: TransferFailure): void {
    if (this.#target === undefined) return
    this.#failed(this.#target, reason)
    this.#target = undefined
  }

  #failed(to: PeerId, reason: TransferFailure): void {
    this.#core.out.effects.push({ type: 'transferFailed', to, reason })
  }
}

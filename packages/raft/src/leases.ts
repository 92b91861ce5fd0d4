/**
 * Lease reads (Raft §6.4.1): a leader answers alone while a quorum has promised, by answering a heartbeat, to refuse
 * votes for an election timeout.
 *
 * Invariant: the lease runs from when the heartbeat *left*, by a clock that runs on while the process is paused, and
 * is compared with the clock of the moment at which the read was asked; so a process that wakes from a pause finds its
 * lease over, not its clock behind (etcd#20418). Heartbeats are numbered, so an answer says which one it is for.
 */
import { type Core } from './core.ts'
import { type PeerId } from './membership.ts'
import { jointCommittedIndex } from './quorum.ts'

export interface LeasesDump {
  readonly sent: readonly (readonly [number, number])[]
  readonly acknowledged: readonly (readonly [PeerId, number])[]
}

export class Leases {
  readonly #core: Core
  /** When the heartbeats of a number left, ms of the monotonic clock; oldest first, none older than a lease. */
  readonly #sent = new Map<number, number>()
  /** When the newest heartbeat left that a peer answered. */
  readonly #acknowledged = new Map<PeerId, number>()

  constructor(core: Core) {
    this.#core = core
  }

  get enabled(): boolean {
    return this.#core.config.leaseMs > 0
  }

  /** Heartbeats of `number` leave now. */
  left(number: number): void {
    const { monotonicMs, config } = this.#core
    if (monotonicMs === undefined) return
    this.#sent.set(number, monotonicMs)
    for (const [old, sentMs] of this.#sent) {
      if (sentMs + config.leaseMs >= monotonicMs) break
      this.#sent.delete(old)
    }
  }

  acknowledged(peer: PeerId, number: number): void {
    const sentMs = this.#sent.get(number)
    if (sentMs === undefined || sentMs <= (this.#acknowledged.get(peer) ?? -Infinity)) return
    this.#acknowledged.set(peer, sentMs)
  }

  /** True if no other leader can have been elected at `nowMs`. */
  holds(nowMs: number): boolean {
    const { id, reconfiguration, config, transfer } = this.#core
    if (!this.enabled || transfer.told || reconfiguration.confState.voters.length === 0) return false
    const since = jointCommittedIndex(reconfiguration.confState, (voter) =>
      voter === id ? nowMs : (this.#acknowledged.get(voter) ?? -Infinity),
    )
    return nowMs < since + config.leaseMs
  }

  clear(): void {
    this.#sent.clear()
    this.#acknowledged.clear()
  }

  dump(): LeasesDump {
    return { sent: [...this.#sent], acknowledged: [...this.#acknowledged] }
  }

  load({ sent, acknowledged }: LeasesDump): void {
    for (const [number, ms] of sent) this.#sent.set(number, ms)
    for (const [peer, ms] of acknowledged) this.#acknowledged.set(peer, ms)
  }
}

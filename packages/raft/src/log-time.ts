/**
 * Log time: the stamp a leader gives an entry.
 *
 * max(stamp of the last appended entry, own clock clamped to the quorum's lower median, own included, ± the allowed
 * error). So it never goes back, and one replica's broken clock, even the leader's, cannot move it further than the
 * allowed error from what some correct clock shows. Until a quorum has answered in this term the last stamp repeats.
 */
import { majority } from './quorum.ts'
import { type PeerId } from './membership.ts'

/** The middle of `values`, the lower of two: `values` is not empty. */
export function lowerMedian(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.floor((sorted.length - 1) / 2)]!
}

/** Peer, its clock in ms, and the tick at which it showed it. */
export type ClocksDump = readonly (readonly [PeerId, number, number])[]

export class PeerClocks {
  readonly #samples = new Map<PeerId, { readonly clockMs: number; readonly tick: number }>()

  /** `peer` showed `clockMs` in an answer received at `tick`. */
  record(peer: PeerId, clockMs: number, tick: number): void {
    this.#samples.set(peer, { clockMs, tick })
  }

  clear(): void {
    this.#samples.clear()
  }

  dump(): ClocksDump {
    return [...this.#samples].map(([peer, { clockMs, tick }]) => [peer, clockMs, tick])
  }

  load(dump: ClocksDump): void {
    for (const [peer, clockMs, tick] of dump) this.#samples.set(peer, { clockMs, tick })
  }

  /**
   * The stamp of the next entry.
   * @param own - the leader, its clock, and the stamp of its last appended entry
   * @param sinceTick - older samples do not count: a peer that went away must not hold the median back
   */
  stamp(
    own: { readonly id: PeerId; readonly clockMs: number; readonly lastStamp: number },
    voters: readonly PeerId[],
    sinceTick: number,
    maxErrorMs: number,
  ): number {
    const clocks: number[] = []
    for (const voter of voters) {
      const sample = this.#samples.get(voter)
      if (voter === own.id) clocks.push(own.clockMs)
      else if (sample !== undefined && sample.tick >= sinceTick) clocks.push(sample.clockMs)
    }
    if (clocks.length < majority(voters.length)) return own.lastStamp
    const median = lowerMedian(clocks)
    const clamped = Math.min(Math.max(own.clockMs, median - maxErrorMs), median + maxErrorMs)
    return Math.max(own.lastStamp, clamped)
  }
}

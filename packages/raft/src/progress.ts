/**
 * What a leader knows about one peer's log, and how fast it may send (etcd's `tracker/progress.go`).
 *
 * Invariant: `0 <= match < next`. Entries up to `match` are durable on the peer; entries between `match` and `next`
 * have been sent and not acknowledged. In `probe` one append is out at a time, since `next` is a guess; the first
 * acknowledgement turns to `replicate`, where `next` runs ahead within the in-flight window.
 */
import { invariant } from '@cipherlog/core'
import { Inflights } from './inflights.ts'
import { type PeerStatus, type ProgressState } from './types.ts'

export interface InflightLimits {
  readonly maxInflightMessages: number
  readonly maxInflightBytes: number
}

export class Progress {
  readonly #inflights: Inflights
  #match = 0
  #next: number
  #state: ProgressState = 'probe'
  #probeSent = false
  /** Highest commit index told to the peer; lost messages are made good by heartbeats. */
  #sentCommit = 0
  /** Heard from since the leader last checked its quorum. */
  recentActive = false

  /** A peer nothing is known about: the first probe goes to `next`. */
  constructor(next: number, limits: InflightLimits) {
    this.#next = next
    this.#inflights = new Inflights(limits.maxInflightMessages, limits.maxInflightBytes)
  }

  get match(): number {
    return this.#match
  }

  get next(): number {
    return this.#next
  }

  get state(): ProgressState {
    return this.#state
  }

  get sentCommit(): number {
    return this.#sentCommit
  }

  /** A probe is out and unanswered: nothing may be sent. */
  get paused(): boolean {
    return this.#state === 'probe' && this.#probeSent
  }

  /** Entries may go along with the next append, not just an empty one. */
  get windowOpen(): boolean {
    return this.#state === 'probe' || !this.#inflights.full
  }

  /** An append with `count` entries of `bytes` together left for the peer. */
  sent(count: number, bytes: number, leaderCommit: number): void {
    this.#sentCommit = Math.max(this.#sentCommit, leaderCommit)
    if (this.#state === 'probe') {
      this.#probeSent = true
    } else if (count > 0) {
      this.#next += count
      this.#inflights.add(this.#next - 1, bytes)
    }
  }

  /** The peer answered a heartbeat, so an unanswered probe is taken for lost. */
  allowProbe(): void {
    this.#probeSent = false
  }

  /** The peer holds everything up to `index`. Returns whether that tells us anything. */
  acknowledged(index: number): boolean {
    const advanced = index > this.#match
    if (advanced) {
      this.#match = index
      this.#next = Math.max(this.#next, index + 1)
      this.#probeSent = false
    }
    if (this.#state === 'probe' && index >= this.#match) {
      this.#enter('replicate')
      return true
    }
    this.#inflights.freeUpTo(index)
    return advanced
  }

  /**
   * The peer refused an append after `rejected`; our logs can agree up to `hint` at most. Never moves `match`.
   * Returns false if the refusal is older than what we know.
   */
  refused(rejected: number, hint: number): boolean {
    if (this.#state === 'replicate') {
      if (rejected <= this.#match) return false
      this.becomeProbe()
      return true
    }
    if (rejected !== this.#next - 1) return false
    this.#next = Math.max(Math.min(rejected, hint + 1), this.#match + 1)
    this.#probeSent = false
    return true
  }

  /** What is in flight may be lost: start again behind the last known match. */
  becomeProbe(): void {
    this.#enter('probe')
  }

  status(): PeerStatus {
    return {
      match: this.#match,
      next: this.#next,
      state: this.#state,
      recentActive: this.recentActive,
      inflight: this.#inflights.count,
      paused: this.paused,
      pendingSnapshot: 0,
      isLearner: false,
    }
  }

  /** Checked after every step of a leader. */
  assertInvariant(lastIndex: number): void {
    invariant(
      this.#match >= 0 && this.#match < this.#next && this.#next <= lastIndex + 1,
      '0 <= match < next is broken',
      {
        match: this.#match,
        next: this.#next,
        lastIndex,
      },
    )
  }

  #enter(state: ProgressState): void {
    this.#state = state
    this.#probeSent = false
    this.#inflights.clear()
    this.#next = this.#match + 1
  }
}

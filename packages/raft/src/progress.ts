/**
 * What a leader knows about one peer's log, and how fast it may send (etcd's `tracker/progress.go`).
 *
 * Invariant: `0 <= match < next`. Entries up to `match` are durable on the peer; entries between `match` and `next`
 * have been sent and not acknowledged. In `probe` one append with entries is out at a time, since `next` is a guess;
 * the first acknowledgement turns to `replicate`, where `next` runs ahead within the in-flight window. In `snapshot`
 * the log does not reach back to what the peer needs: it was offered a snapshot, and nothing else is sent until it
 * acknowledges an index from which the log goes on, or the transfer is over.
 */
import { invariant } from '@cipherlog/core'
import { Inflights, type InflightsDump } from './inflights.ts'
import { type PeerStatus, type ProgressState } from './types.ts'

export interface InflightLimits {
  readonly maxInflightMessages: number
  readonly maxInflightBytes: number
}

export interface ProgressDump {
  readonly match: number
  readonly next: number
  readonly state: ProgressState
  readonly flowPaused: boolean
  readonly sentCommit: number
  readonly pendingSnapshot: number
  readonly offeredAt: number
  readonly recentActive: boolean
  readonly heardAt: number
  readonly isLearner: boolean
  readonly inflights: InflightsDump
}

export class Progress {
  readonly #inflights: Inflights
  #match = 0
  #next: number
  #state: ProgressState = 'probe'
  /** An answer is awaited before anything more is sent; heartbeats' answers end that too, since messages get lost. */
  #flowPaused = false
  /** The commit index told to the peer last. */
  #sentCommit = 0
  #pendingSnapshot = 0
  /** Tick of the last offer of a snapshot. */
  #offeredAt = 0
  /** Heard from since the leader last checked its quorum. */
  recentActive = false
  /** Tick at which it was last heard from, -1: never. */
  heardAt = -1
  isLearner: boolean

  /** A peer nothing is known about: the first probe goes to `next`. */
  constructor(next: number, limits: InflightLimits, isLearner: boolean) {
    this.#next = next
    this.#inflights = new Inflights(limits.maxInflightMessages, limits.maxInflightBytes)
    this.isLearner = isLearner
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

  get offeredAt(): number {
    return this.#offeredAt
  }

  /** Nothing may be sent. */
  get paused(): boolean {
    return this.#state === 'snapshot' || this.#flowPaused
  }

  /** Entries may go along with the next append, not just an empty one. */
  get windowOpen(): boolean {
    return this.#state !== 'replicate' || !this.#inflights.full
  }

  /** Telling `commit` may let the peer commit more than it could by what it was told. */
  canBumpCommit(commit: number): boolean {
    return commit > this.#sentCommit && this.#sentCommit < this.#next - 1
  }

  /** An answer came at `tick`. */
  heard(tick: number): void {
    this.recentActive = true
    this.heardAt = tick
  }

  /** An append with `count` entries of `bytes` together left for the peer. */
  sent(count: number, bytes: number, leaderCommit: number): void {
    if (this.#state === 'replicate') {
      if (count > 0) {
        this.#next += count
        this.#inflights.add(this.#next - 1, bytes)
      }
      // With the window full, one empty append finds out whether the messages in flight arrived.
      this.#flowPaused = this.#inflights.full
    } else if (count > 0) {
      this.#flowPaused = true
    }
    this.#sentCommit = leaderCommit
  }

  /** A heartbeat told `commit`. */
  toldCommit(commit: number): void {
    this.#sentCommit = commit
  }

  pause(): void {
    this.#flowPaused = true
  }

  /** The peer answered a heartbeat, so what is unanswered is taken for lost. */
  resume(): void {
    this.#flowPaused = false
  }

  /**
   * The peer holds everything up to `index`; `firstIndex` is the log's. Returns whether that tells us anything. Any
   * index from which the log goes on ends the wait for a snapshot, whichever snapshot the peer has (etcd-io/raft#110).
   */
  acknowledged(index: number, firstIndex: number): boolean {
    const advanced = index > this.#match
    if (advanced) {
      this.#match = index
      this.#next = Math.max(this.#next, index + 1)
      this.#flowPaused = false
    }
    if (!advanced && !(this.#state === 'probe' && index === this.#match)) return false
    if (this.#state === 'probe' || (this.#state === 'snapshot' && this.#match + 1 >= firstIndex)) {
      this.#enter('replicate', this.#match + 1)
    } else if (this.#state === 'replicate') {
      this.#inflights.freeUpTo(index)
    }
    return true
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
    this.#sentCommit = Math.min(this.#sentCommit, this.#next - 1)
    this.#flowPaused = false
    return true
  }

  /** What is in flight may be lost: start again behind the last known match, or behind the snapshot it was offered. */
  becomeProbe(): void {
    this.#enter('probe', Math.max(this.#match, this.#pendingSnapshot) + 1)
    this.#sentCommit = Math.min(this.#sentCommit, this.#next - 1)
  }

  /** It was offered the snapshot up to `index`. */
  becomeSnapshot(index: number, tick: number): void {
    this.#enter('snapshot', index + 1)
    this.#pendingSnapshot = index
    this.#sentCommit = index
    this.#offeredAt = tick
  }

  /** The transfer of a snapshot is over. Either way nothing leaves before the peer is heard from. */
  snapshotFinished(ok: boolean): void {
    if (this.#state !== 'snapshot') return
    if (!ok) this.#pendingSnapshot = 0
    this.becomeProbe()
    this.#flowPaused = true
  }

  status(): PeerStatus {
    return {
      match: this.#match,
      next: this.#next,
      state: this.#state,
      recentActive: this.recentActive,
      inflight: this.#inflights.count,
      paused: this.paused,
      pendingSnapshot: this.#pendingSnapshot,
      isLearner: this.isLearner,
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

  dump(): ProgressDump {
    return {
      match: this.#match,
      next: this.#next,
      state: this.#state,
      flowPaused: this.#flowPaused,
      sentCommit: this.#sentCommit,
      pendingSnapshot: this.#pendingSnapshot,
      offeredAt: this.#offeredAt,
      recentActive: this.recentActive,
      heardAt: this.heardAt,
      isLearner: this.isLearner,
      inflights: this.#inflights.dump(),
    }
  }

  static fromDump(dump: ProgressDump, limits: InflightLimits): Progress {
    const progress = new Progress(dump.next, limits, dump.isLearner)
    progress.heardAt = dump.heardAt
    progress.#match = dump.match
    progress.#state = dump.state
    progress.#flowPaused = dump.flowPaused
    progress.#sentCommit = dump.sentCommit
    progress.#pendingSnapshot = dump.pendingSnapshot
    progress.#offeredAt = dump.offeredAt
    progress.recentActive = dump.recentActive
    progress.#inflights.load(dump.inflights)
    return progress
  }

  #enter(state: ProgressState, next: number): void {
    this.#state = state
    this.#flowPaused = false
    this.#pendingSnapshot = 0
    this.#inflights.clear()
    this.#next = next
  }
}

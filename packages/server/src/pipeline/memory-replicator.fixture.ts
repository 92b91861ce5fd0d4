/**
 * A one-node twin of the replicated log, in memory: what is proposed is durable and committed at the next turn of the
 * event loop, unless a test says otherwise. Simple enough to be right, so that the contract shows what the other does.
 */
import { invariant, NotLeaderError } from '@cipherlog/core'
import { entryKinds } from '@cipherlog/format'
import {
  type CommittedEntry,
  type Leadership,
  type ProposeOutcome,
  type Replicator,
  type ReplicatorStatus,
} from '../replicator.ts'

/** What survives a restart. */
export interface MemoryLog {
  readonly entries: CommittedEntry[]
  term: number
}

export class MemoryReplicator implements Replicator {
  readonly #log: MemoryLog
  readonly #id: string
  readonly #now: () => number
  readonly #listeners: ((leadership: Leadership) => void)[] = []
  readonly #proposed: { kind: number; payload: Uint8Array; settle: (outcome: ProposeOutcome) => void }[] = []
  #commitIndex: number
  #appliedIndex = 0
  #leadingSince: number | undefined
  #wake = (): void => {}
  #stopped = false
  /** While true, proposals wait. */
  #held = false

  constructor(options: { readonly log: MemoryLog; readonly id: string; readonly now: () => number }) {
    this.#log = options.log
    this.#id = options.id
    this.#now = options.now
    this.#commitIndex = options.log.entries.length
  }

  /** Starts a term of its own, with its no-op. */
  lead(): void {
    this.#log.term++
    this.#leadingSince = this.#log.entries.length + 1
    this.#append(entryKinds.noOp, new Uint8Array(0))
    this.#announce()
  }

  /** Proposals wait from now on. */
  hold(): void {
    this.#held = true
  }

  release(): void {
    this.#held = false
    this.#commit()
  }

  /** Loses leadership; what waited is dropped, lost, or kept by the next leader. */
  depose(fate: 'lost' | 'kept' = 'lost'): void {
    this.#leadingSince = undefined
    for (const { kind, payload, settle } of this.#proposed.splice(0)) {
      if (fate === 'kept') settle({ outcome: 'committed', index: this.#append(kind, payload) })
      else settle({ outcome: 'unknown' })
    }
    this.#announce()
  }

  #append(kind: number, payload: Uint8Array): number {
    const { entries } = this.#log
    const time = Math.max(entries.at(-1)?.time ?? 0, this.#now())
    entries.push({ index: entries.length + 1, time, kind, payload })
    this.#commitIndex = entries.length
    this.#wake()
    return entries.length
  }

  /** An entry that no proposal made: what a faulty leader appended. */
  inject(kind: number, payload: Uint8Array): number {
    return this.#append(kind, payload)
  }

  propose(kind: number, payload: Uint8Array): Promise<ProposeOutcome> {
    if (this.#stopped || this.#leadingSince === undefined) {
      return Promise.resolve({ outcome: 'dropped', reason: 'not-leader', leaderId: undefined })
    }
    return new Promise((settle) => {
      this.#proposed.push({ kind, payload, settle })
      setImmediate(() => this.#commit())
    })
  }

  #commit(): void {
    if (this.#held || this.#stopped) return
    for (const { kind, payload, settle } of this.#proposed.splice(0)) {
      settle({ outcome: 'committed', index: this.#append(kind, payload) })
    }
  }

  async committed(from: number, bytesMax: number): Promise<readonly CommittedEntry[]> {
    while (this.#commitIndex < from && !this.#stopped) {
      await new Promise<void>((resolve) => (this.#wake = resolve))
    }
    if (this.#stopped) return []
    const out: CommittedEntry[] = []
    let bytes = 0
    for (let index = from; index <= this.#commitIndex && (out.length === 0 || bytes < bytesMax); index++) {
      const entry = this.#log.entries[index - 1]!
      out.push(entry)
      bytes += entry.payload.length
    }
    return out
  }

  appliedUpTo(index: number): void {
    invariant(index >= this.#appliedIndex && index <= this.#commitIndex, 'Applied out of order', { index })
    this.#appliedIndex = index
  }

  readBarrier(): Promise<number> {
    return this.#stopped || this.#leadingSince === undefined
      ? Promise.reject(new NotLeaderError(undefined))
      : Promise.resolve(this.#commitIndex)
  }

  leadingSince(): number | undefined {
    return this.#leadingSince
  }

  status(): ReplicatorStatus {
    const leads = this.#leadingSince !== undefined
    return {
      role: leads ? 'leader' : 'follower',
      term: this.#log.term,
      leaderId: leads ? this.#id : undefined,
      commitIndex: this.#commitIndex,
      lastIndex: this.#commitIndex,
      matchIndexes: {},
    }
  }

  onLeadershipChange(listener: (leadership: Leadership) => void): void {
    this.#listeners.push(listener)
  }

  #announce(): void {
    const { role, term, leaderId } = this.status()
    for (const listener of this.#listeners) listener({ role, term, leaderId })
  }

  stop(): void {
    this.#stopped = true
    this.#leadingSince = undefined
    for (const { settle } of this.#proposed.splice(0)) settle({ outcome: 'unknown' })
    this.#wake()
  }
}

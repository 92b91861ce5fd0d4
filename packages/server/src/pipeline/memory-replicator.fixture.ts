/**
 * A one-node twin of the replicated log, in memory: what is proposed is durable and committed at the next turn of the
 * event loop, unless a test says otherwise. Simple enough to be right, so that the contract shows what the other does.
 */
import { CipherlogError, invariant, NotLeaderError } from '@cipherlog/core'
import { decodeMembershipChange, encodeMembershipChange, entryKinds } from '@cipherlog/format'
import {
  type ChangeOutcome,
  type CommittedEntry,
  type Configuration,
  type Leadership,
  type MembershipChange,
  type ProposeOutcome,
  type Replicator,
  type ReplicatorStatus,
  type SnapshotOffer,
  type Standing,
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
  readonly #configurations: { readonly index: number; readonly configuration: Configuration }[]
  readonly #configurationListeners: Parameters<Replicator['onConfigurationChange']>[0][] = []
  #compactedIndex = 0
  #snapshotIndex = 0
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
    const alone: Configuration = {
      voters: [options.id],
      learners: [],
      votersOutgoing: [],
      learnersNext: [],
      autoLeave: false,
    }
    this.#configurations = [{ index: 0, configuration: alone }]
    for (const { index, kind, payload } of options.log.entries) this.#reconfigure(index, kind, payload)
  }

  get #configuration(): Configuration {
    return this.#configurations.at(-1)!.configuration
  }

  /** It votes alone, whoever learns beside. */
  #reconfigure(index: number, kind: number, payload: Uint8Array): void {
    if (kind !== entryKinds.membership) return
    const { change, addresses } = decodeMembershipChange(payload)
    const learners = new Set(this.#configuration.learners)
    for (const { type, peer } of change.changes) {
      if (type === 'addLearner') learners.add(peer)
      else learners.delete(peer)
    }
    const configuration = { ...this.#configuration, learners: [...learners].sort() }
    this.#configurations.push({ index, configuration })
    for (const listener of this.#configurationListeners) listener(configuration, index, addresses)
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
    this.#reconfigure(entries.length, kind, payload)
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

  async committed(from: number, bytesMax: number, signal?: AbortSignal): Promise<readonly CommittedEntry[]> {
    while (this.#commitIndex < from && !this.#stopped && signal?.aborted !== true) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
        signal?.addEventListener('abort', () => resolve(), { once: true })
      })
    }
    if (this.#stopped || signal?.aborted === true) return []
    if (from <= this.#compactedIndex) throw new CipherlogError('ERR_LOG_COMPACTED', 'That entry is gone.')
    const out: CommittedEntry[] = []
    let bytes = 0
    for (let index = from; index <= this.#commitIndex && (out.length === 0 || bytes < bytesMax); index++) {
      const entry = this.#log.entries[index - 1]!
      out.push(entry)
      bytes += entry.payload.length
    }
    return out
  }

  quarantines(from: number): readonly number[] {
    const committed = this.#log.entries.slice(from - 1, this.#commitIndex)
    return committed.filter(({ kind }) => kind === entryKinds.quarantine).map(({ index }) => index)
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
      compactedIndex: this.#compactedIndex,
      snapshotIndex: this.#snapshotIndex,
      configuration: this.#configuration,
      transferringTo: undefined,
      members: {},
    }
  }

  async proposeChange({ transition, changes, addresses }: MembershipChange): Promise<ChangeOutcome> {
    const { learners } = this.#configuration
    const possible = changes.every(({ type, peer }) =>
      type === 'addLearner' ? peer !== this.#id : type === 'remove' && learners.includes(peer),
    )
    const distinct = new Set(changes.map(({ peer }) => peer)).size === changes.length
    if (this.#leadingSince !== undefined && (!possible || !distinct || changes.length === 0)) {
      return { outcome: 'refused', reason: 'invalid' }
    }
    return this.propose(entryKinds.membership, encodeMembershipChange({ transition, changes }, addresses))
  }

  onConfigurationChange(listener: Parameters<Replicator['onConfigurationChange']>[0]): void {
    this.#configurationListeners.push(listener)
  }

  standingAt(index: number): Standing {
    if (index < this.#compactedIndex || index > this.#appliedIndex) throw new RangeError(`position ${index}`)
    const { configuration } = this.#configurations.findLast((each) => each.index <= index)!
    return { term: this.#log.term, configuration }
  }

  transferLeadership(): Promise<void> {
    if (this.#leadingSince === undefined) return Promise.reject(new NotLeaderError(undefined))
    return Promise.reject(new CipherlogError('ERR_TRANSFER_FAILED', 'There is nobody else.'))
  }

  stepDown(): void {
    if (this.#leadingSince !== undefined) this.depose()
  }

  forgetLeader(): void {}

  async compactTo(index: number): Promise<number> {
    invariant(index <= this.#appliedIndex, 'Compacted before it was applied', { index })
    this.#compactedIndex = Math.max(this.#compactedIndex, index)
    return this.#compactedIndex
  }

  offerSnapshot({ index }: SnapshotOffer): void {
    this.standingAt(index)
    this.#snapshotIndex = Math.max(this.#snapshotIndex, index)
  }

  /** Nobody offers it anything. */
  onSnapshotOffer(): void {}

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

/**
 * Takes committed entries in order, verifies and applies each, and hands leaves to the trail. One entry at a
 * time: nothing else changes the ledger, so a plan made here is still good when its proofs have been checked.
 *
 * A fault of this machine (verifier, evaluator, disk) is no verdict: `run` rejects and the node must stop. Before an
 * entry at which it stopped twice the loop pauses, while the log goes on, until operators have set the entry aside: a
 * quarantine stands further on in the log, so the loop looks ahead for it before every entry.
 */
import { CipherlogError, decode, DecodeError, errorCode, invariant, toHex, type Logger } from '@cipherlog/core'
import { sha256 } from '@cipherlog/crypto/hash'
import {
  decodeMembershipChange,
  entryKinds,
  logEntry,
  logEntryBytesMax,
  mark,
  verdicts,
  type NamedAddress,
} from '@cipherlog/format'
import { type ClosedBatch, type EntryPlace, type Leaf, type Ledger, type Proposal } from '@cipherlog/machine'
import { type ProofVerifier } from '@cipherlog/proof'
import { type CommittedEntry, type Replicator } from '../replicator.ts'
import { ApplyGuard, type ApplyNotes } from './apply-guard.ts'
import { type PendingProposals } from './proposals.ts'

/** How often a paused loop looks for a quarantine. */
const pausedPollMs = 100
/** Faults that name what to do, and that trying again does not make worse. */
const expected: ReadonlySet<string> = new Set(['ERR_RULES_UNKNOWN', 'ERR_MACHINE_UNKNOWN', 'ERR_QUARANTINE_APPLIED'])
const proposalKinds: ReadonlySet<number> = new Set([
  entryKinds.keyEvent,
  entryKinds.sessionOpening,
  entryKinds.commandBundle,
  entryKinds.quarantine,
])

/** Entries are taken from the log in pieces of about this size. */
const piecesBytesMax = 4 * 1024 * 1024

export interface AppliedEntry {
  readonly verdicts: readonly number[]
  readonly durationMs: number
  /** Of which checking proofs took so much. */
  readonly verifyMs: number
}

export interface ApplyLoopOptions {
  readonly ledger: Ledger
  readonly replicator: Replicator
  readonly verifier: ProofVerifier
  readonly proposals: PendingProposals
  readonly logger: Logger
  /** Every leaf, in order, before its answer is given. */
  readonly onLeaf: (leaf: Leaf) => void
  /** Every closed batch, after its record's leaf and before anything else is applied. */
  readonly onClosed: (closed: ClosedBatch) => void
  /** Addresses of replicas, before anything after that entry is applied. */
  readonly onAddresses: (addresses: readonly NamedAddress[]) => void
  /** Awaited after every entry: whoever writes behind the answers may fall behind only so far. */
  readonly room: () => Promise<void> | undefined
  readonly onApplied: (entry: AppliedEntry) => void
  readonly onRefused: (code: string) => void
  readonly monotonic: () => number
  readonly notes: ApplyNotes
  /** Version of this software: another one tries an entry again at which this one stopped. */
  readonly software: string
}

/** The entry before which a replica has paused. */
export interface PausedEntry {
  readonly index: number
  readonly kind: number
  /** SHA-256 of its signed array, as a quarantine names it; undefined if it holds none. */
  readonly digest: Uint8Array | undefined
}

export class ApplyLoop {
  readonly #options: ApplyLoopOptions
  readonly #stopped = new AbortController()
  #waiting: { index: number; resolve: () => void }[] = []
  /** Quarantines up to this index were looked at. */
  #lookedTo = 0
  #paused: PausedEntry | undefined
  /** Applied, and the replicator knows: the ledger is ahead while an entry is being applied. */
  #reached: number

  constructor(options: ApplyLoopOptions) {
    this.#options = options
    this.#reached = options.ledger.appliedIndex
  }

  /** Runs until {@link stop} or until the replicator stops; rejects when the node must stop. */
  async run(): Promise<void> {
    const { ledger, replicator, room, notes, software } = this.#options
    const logTo = replicator.status().lastIndex
    const guard = await ApplyGuard.begin(notes, { from: ledger.appliedIndex, logTo, software })
    while (!this.#ending) {
      const entries = await replicator.committed(ledger.appliedIndex + 1, piecesBytesMax, this.#stopped.signal)
      if (entries.length === 0) break
      for (const entry of entries) {
        if (this.#ending) break
        invariant(entry.index === ledger.appliedIndex + 1, 'Committed entries came with a gap.', { index: entry.index })
        const guarded = { index: entry.index, digest: sha256(entry.payload) }
        await this.#lookAhead(entry.index)
        if (guard.refuses(guarded) && !(await this.#setAside(entry))) break
        await guard.before(guarded)
        try {
          await this.#apply(entry)
        } catch (error) {
          // It says itself that trying again is of use, or that other software is.
          if (!expected.has(errorCode(error) ?? '')) await guard.failed(guarded)
          throw error
        }
        await guard.after(guarded)
        replicator.appliedUpTo(entry.index)
        this.#reached = entry.index
        this.#wake()
        await room()
      }
    }
    await guard.end()
  }

  get #ending(): boolean {
    return this.#stopped.signal.aborted
  }

  /** The entry before which applying has paused; undefined: it goes on. */
  get paused(): PausedEntry | undefined {
    return this.#paused
  }

  /** SHA-256 of the signed array in a committed entry; undefined if there is no such entry or it holds none. */
  async digestAt(index: number): Promise<Uint8Array | undefined> {
    const { replicator } = this.#options
    if (index > replicator.status().commitIndex) return undefined
    const [entry] = await replicator.committed(index, 1, this.#stopped.signal)
    return entry === undefined ? undefined : digestOf(entry)
  }

  /** Tells the ledger which entries are set aside further on, as far as the log is committed. */
  async #lookAhead(index: number): Promise<void> {
    const { replicator, ledger, logger } = this.#options
    for (const at of replicator.quarantines(Math.max(index, this.#lookedTo) + 1)) {
      const [entry] = await replicator.committed(at, 1, this.#stopped.signal)
      if (entry === undefined) return
      const proposal = decodeEntry(entry.kind, entry.payload)
      const named = proposal && ledger.lookAhead(proposal.signed, at)
      if (named !== undefined) logger.warn({ logIndex: named.index, by: at }, 'operators have set an entry aside')
      this.#lookedTo = at
    }
  }

  /** Waits until operators have set this very entry aside; false: stopped before. */
  async #setAside(entry: CommittedEntry): Promise<boolean> {
    const { ledger, logger } = this.#options
    const digest = digestOf(entry)
    while (digest === undefined || !ledger.isSetAside({ index: entry.index, digest })) {
      if (this.#ending) return false
      if (this.#paused === undefined) {
        this.#paused = { index: entry.index, kind: entry.kind, digest }
        this.#wakeAll()
        logger.error(
          { logIndex: entry.index, kind: entry.kind, digest: digest && toHex(digest) },
          'applying has paused: this replica stopped twice at this entry; install a version that can apply it, or have operators set it aside',
        )
      }
      await new Promise((resolve) => setTimeout(resolve, pausedPollMs))
      // What named an entry before this one, applied in this run, stops us here: the next run starts before it.
      if (!this.#ending) await this.#lookAhead(entry.index)
    }
    this.#paused = undefined
    return true
  }

  stop(): void {
    this.#stopped.abort()
    this.#wakeAll()
  }

  #wakeAll(): void {
    for (const { resolve } of this.#waiting) resolve()
    this.#waiting = []
  }

  /**
   * Resolves once everything up to `index` is applied.
   * @throws CipherlogError `ERR_UNAVAILABLE` if it never will be, or nobody knows when: the replica stops or has paused.
   */
  async reached(index: number): Promise<void> {
    if (this.#reached >= index) return
    if (!this.#ending && this.#paused === undefined) {
      await new Promise<void>((resolve) => this.#waiting.push({ index, resolve }))
    }
    if (this.#ending) throw new CipherlogError('ERR_UNAVAILABLE', 'The replica is stopping; ask another one.')
    if (this.#paused === undefined || this.#reached >= index) return
    throw new CipherlogError('ERR_UNAVAILABLE', 'The replica has paused before an entry; ask another one.')
  }

  #wake(): void {
    const ready = this.#waiting.filter(({ index }) => index <= this.#reached)
    if (ready.length === 0) return
    this.#waiting = this.#waiting.filter(({ index }) => index > this.#reached)
    for (const { resolve } of ready) resolve()
  }

  async #apply(entry: CommittedEntry): Promise<void> {
    const { ledger } = this.#options
    const place: EntryPlace = { logIndex: entry.index, logTime: entry.time }
    switch (entry.kind) {
      case entryKinds.noOp:
        ledger.skip(place)
        return
      case entryKinds.membership:
        // It took effect in the core when it was committed; what stays to be kept is where the new ones are.
        this.#options.onAddresses(decodeMembershipChange(entry.payload).addresses)
        ledger.skip(place)
        return
      case entryKinds.mark:
        if (decodes(() => decode(mark, entry.payload)) === undefined) this.#undecodable(place)
        else await this.#close(place)
        return
      case entryKinds.keyEvent:
      case entryKinds.quarantine:
      case entryKinds.sessionOpening:
      case entryKinds.commandBundle:
        await this.#applyProposal(entry.kind, entry.payload, place)
        return
      default:
        throw new CipherlogError(
          'ERR_RULES_UNKNOWN',
          `The log holds an entry of kind ${entry.kind}, which this software does not know; install a newer version.`,
        )
    }
  }

  /** Only a faulty leader appends that: no leaf, no state, the same on every replica. */
  #undecodable(place: EntryPlace): void {
    const { ledger, logger, onRefused } = this.#options
    logger.warn({ logIndex: place.logIndex }, 'an undecodable entry has no effect')
    ledger.skip(place)
    onRefused('ERR_DECODE')
  }

  async #applyProposal(kind: number, payload: Uint8Array, place: EntryPlace): Promise<void> {
    const { ledger, verifier, proposals, onApplied, onRefused, onLeaf, monotonic } = this.#options
    const start = monotonic()
    const proposal = decodeEntry(kind, payload)
    if (proposal === undefined) {
      this.#undecodable(place)
      return
    }
    const digest = sha256(proposal.signed)
    const plan = ledger.plan(proposal, place)
    switch (plan.outcome) {
      case 'refused':
        ledger.skip(place)
        onRefused(plan.error.code)
        proposals.settle(digest, place.logIndex, { outcome: 'refused', error: plan.error })
        return
      case 'duplicate':
        ledger.skip(place)
        proposals.settle(digest, place.logIndex, { outcome: 'duplicate', answer: plan.answer })
        return
      case 'accepted': {
        const verifyStart = monotonic()
        const proofsGood = await verifier.verify(plan.proofs)
        const verifyMs = monotonic() - verifyStart
        const leaf = ledger.apply(kind, plan, proofsGood, place)
        onLeaf(leaf)
        onApplied({
          verdicts: leaf.verdicts.length === 0 ? [verdicts.applied] : leaf.verdicts,
          durationMs: monotonic() - start,
          verifyMs,
        })
        if (ledger.batchDue) await this.#close(place)
        proposals.settle(digest, place.logIndex, {
          outcome: 'applied',
          answer: { leaf: leaf.leafIndex, digest, verdicts: leaf.verdicts },
        })
      }
    }
  }

  async #close(place: EntryPlace): Promise<void> {
    const closed = await this.#options.ledger.close(place)
    if (closed === undefined) return
    this.#options.onLeaf(closed.leaf)
    this.#options.onClosed(closed)
  }
}

/** SHA-256 of the signed array inside an entry. */
function digestOf({ kind, payload }: CommittedEntry): Uint8Array | undefined {
  const proposal = proposalKinds.has(kind) ? decodeEntry(kind, payload) : undefined
  return proposal && sha256(proposal.signed)
}

/** The proposal inside an entry's payload, or undefined if it is none. */
export function decodeEntry(kind: number, payload: Uint8Array): Proposal | undefined {
  const entry = decodes(() => decode(logEntry, payload, logEntryBytesMax))
  return entry === undefined ? undefined : { kind, signed: entry[0], body: entry[1] }
}

function decodes<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch (error) {
    if (error instanceof DecodeError) return undefined
    throw error
  }
}

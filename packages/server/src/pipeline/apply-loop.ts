/**
 * Takes committed entries in order, verifies and applies each, and hands leaves to the trail. One entry at a
 * time: nothing else changes the ledger, so a plan made here is still good when its proofs have been checked.
 *
 * A fault of this machine (verifier, evaluator, disk) is no verdict: `run` rejects and the node must stop.
 */
import { CipherlogError, decode, DecodeError, invariant, type Logger } from '@cipherlog/core'
import { sha256 } from '@cipherlog/crypto/hash'
import { entryKinds, logEntry, logEntryBytesMax, mark, verdicts } from '@cipherlog/format'
import { type ClosedBatch, type EntryPlace, type Leaf, type Ledger, type Proposal } from '@cipherlog/machine'
import { type ProofVerifier } from '@cipherlog/proof'
import { type CommittedEntry, type Replicator } from '../replicator.ts'
import { type PendingProposals } from './proposals.ts'

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
  /** Awaited after every entry: whoever writes behind the answers may fall behind only so far. */
  readonly room: () => Promise<void> | undefined
  readonly onApplied: (entry: AppliedEntry) => void
  readonly onRefused: (code: string) => void
  readonly monotonic: () => number
}

export class ApplyLoop {
  readonly #options: ApplyLoopOptions
  readonly #stopped = new AbortController()
  #waiting: { index: number; resolve: () => void }[] = []

  constructor(options: ApplyLoopOptions) {
    this.#options = options
  }

  /** Runs until {@link stop} or until the replicator stops; rejects when the node must stop. */
  async run(): Promise<void> {
    const { ledger, replicator, room } = this.#options
    while (!this.#stopped.signal.aborted) {
      const entries = await replicator.committed(ledger.appliedIndex + 1, piecesBytesMax, this.#stopped.signal)
      if (entries.length === 0) return
      for (const entry of entries) {
        if (this.#stopped.signal.aborted) return
        invariant(entry.index === ledger.appliedIndex + 1, 'Committed entries came with a gap.', { index: entry.index })
        await this.#apply(entry)
        replicator.appliedUpTo(entry.index)
        this.#wake()
        await room()
      }
    }
  }

  stop(): void {
    this.#stopped.abort()
    for (const { resolve } of this.#waiting) resolve()
    this.#waiting = []
  }

  /** Resolves once everything up to `index` is applied. @throws CipherlogError `ERR_UNAVAILABLE` if it never will be. */
  async reached(index: number): Promise<void> {
    if (this.#options.ledger.appliedIndex >= index) return
    if (!this.#stopped.signal.aborted) await new Promise<void>((resolve) => this.#waiting.push({ index, resolve }))
    if (this.#stopped.signal.aborted)
      throw new CipherlogError('ERR_UNAVAILABLE', 'The replica is stopping; ask another one.')
  }

  #wake(): void {
    const { appliedIndex } = this.#options.ledger
    const ready = this.#waiting.filter(({ index }) => index <= appliedIndex)
    if (ready.length === 0) return
    this.#waiting = this.#waiting.filter(({ index }) => index > appliedIndex)
    for (const { resolve } of ready) resolve()
  }

  async #apply(entry: CommittedEntry): Promise<void> {
    const { ledger } = this.#options
    const place: EntryPlace = { logIndex: entry.index, logTime: entry.time }
    switch (entry.kind) {
      // Membership took effect in the core when it was committed; it waits for no proof before it.
      case entryKinds.noOp:
      case entryKinds.membership:
        ledger.skip(place)
        return
      case entryKinds.mark:
        if (decodes(() => decode(mark, entry.payload)) === undefined) this.#undecodable(place)
        else await this.#close(place)
        return
      case entryKinds.keyEvent:
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

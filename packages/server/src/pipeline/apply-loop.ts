/**
 * Takes committed entries in order, verifies and applies each, and hands leaves to the trail. One entry at a
 * time: nothing else changes the ledger, so a plan made here is still good when its proofs have been checked.
 */
import { CipherlogError, decode, DecodeError, invariant, type Logger } from '@cipherlog/core'
import { sha256 } from '@cipherlog/crypto/hash'
import { entryKinds, logEntry, logEntryBytesMax, mark, verdicts } from '@cipherlog/format'
import { type ClosedBatch, type Leaf, type Ledger, type Proposal } from '@cipherlog/machine'
import { type ProofVerifier } from '@cipherlog/proof'
import { type CommittedEntry, type Replicator } from '../replicator.ts'
import { type PendingProposals } from './proposals.ts'

/** Entries are taken from the log in pieces of about this size. */
const piecesBytesMax = 4 * 1024 * 1024

export interface ApplyLoopOptions {
  readonly ledger: Ledger
  readonly replicator: Replicator
  readonly verifier: ProofVerifier
  readonly proposals: PendingProposals
  readonly logger: Logger
  /** Every leaf, in order, before its answer is given. */
  readonly onLeaf: (leaf: Leaf) => void
  /** Every closed batch, after its record's leaf. */
  readonly onClosed: (closed: ClosedBatch) => void
  readonly onApplied: (entry: { readonly verdicts: readonly number[]; readonly durationMs: number }) => void
  readonly onRefused: (code: string) => void
  readonly monotonic: () => number
}

export class ApplyLoop {
  readonly #options: ApplyLoopOptions
  #stopped = false
  #waiting: { index: number; resolve: () => void }[] = []

  constructor(options: ApplyLoopOptions) {
    this.#options = options
  }

  /** Runs until {@link stop}; rejects when the node must stop. */
  async run(): Promise<void> {
    const { ledger, replicator } = this.#options
    while (!this.#stopped) {
      const entries = await replicator.committed(ledger.appliedIndex + 1, piecesBytesMax)
      for (const entry of entries) {
        if (this.#stopped) return
        invariant(entry.index === ledger.appliedIndex + 1, 'Committed entries came with a gap.', { index: entry.index })
        await this.#apply(entry)
        replicator.appliedUpTo(entry.index)
        this.#wake()
      }
    }
  }

  stop(): void {
    this.#stopped = true
    for (const { resolve } of this.#waiting) resolve()
    this.#waiting = []
  }

  /** Resolves once everything up to `index` is applied. */
  async reached(index: number): Promise<void> {
    if (this.#options.ledger.appliedIndex >= index) return
    await new Promise<void>((resolve) => this.#waiting.push({ index, resolve }))
    if (this.#stopped) throw new CipherlogError('ERR_UNAVAILABLE', 'The replica is stopping; ask another one.')
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
    const place = { logIndex: entry.index, logTime: entry.time }
    switch (entry.kind) {
      case entryKinds.noOp:
        ledger.skip(place)
        return
      case entryKinds.mark:
        decode(mark, entry.payload)
        await this.#close(place)
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

  async #applyProposal(kind: number, payload: Uint8Array, place: { logIndex: number; logTime: number }): Promise<void> {
    const { ledger, verifier, proposals, logger, onApplied, onRefused, onLeaf, monotonic } = this.#options
    const start = monotonic()
    const proposal = decodeEntry(kind, payload)
    if (proposal === undefined) {
      // A faulty leader appended it: no leaf, no state, the same on every replica.
      logger.warn({ logIndex: place.logIndex }, 'an undecodable entry has no effect')
      ledger.skip(place)
      onRefused('ERR_DECODE')
      return
    }
    const digest = sha256(proposal.signed)
    const plan = ledger.plan(proposal, place)
    switch (plan.outcome) {
      case 'refused':
        ledger.skip(place)
        onRefused(plan.error.code)
        proposals.settle(digest, { outcome: 'refused', error: plan.error })
        return
      case 'duplicate':
        ledger.skip(place)
        proposals.settle(digest, { outcome: 'duplicate', answer: plan.answer })
        return
      case 'accepted': {
        const proofsGood = await verifier.verify(plan.proofs)
        const leaf = ledger.apply(kind, plan, proofsGood, place)
        onLeaf(leaf)
        onApplied({
          verdicts: leaf.verdicts.length === 0 ? [verdicts.applied] : leaf.verdicts,
          durationMs: monotonic() - start,
        })
        if (ledger.batchDue) await this.#close(place)
        proposals.settle(digest, {
          outcome: 'applied',
          answer: { leaf: leaf.leafIndex, digest, verdicts: leaf.verdicts },
        })
      }
    }
  }

  async #close(place: { logIndex: number; logTime: number }): Promise<void> {
    const closed = await this.#options.ledger.close(place)
    if (closed === undefined) return
    this.#options.onLeaf(closed.leaf)
    this.#options.onClosed(closed)
  }
}

/** The proposal inside an entry's payload, or undefined if it is none. */
export function decodeEntry(kind: number, payload: Uint8Array): Proposal | undefined {
  try {
    const [signed, body] = decode(logEntry, payload, logEntryBytesMax)
    return { kind, signed, body }
  } catch (error) {
    if (error instanceof DecodeError) return undefined
    throw error
  }
}

/**
 * One leaf after the other through the ledger: every record, verdict, batch root and state root must come out the
 * same, byte for byte.
 *
 * Of a leaf the replay takes what was signed, and log index and log time, which nothing else determines; all else of
 * the record is computed and compared.
 */
import { decode, emptyBytes, equalBytes, toHex } from '@cipherlog/core'
import { labelledHash, labels } from '@cipherlog/crypto/hash'
import { loadBfvEvaluator } from '@cipherlog/crypto/evaluate/bfv'
import {
  batchRecord,
  commandBundle,
  leafKinds,
  leafRecord,
  signedCommandBundle,
  suites,
  verdicts,
} from '@cipherlog/format'
import {
  createMemoryState,
  Ledger,
  type CellEvaluator,
  type EntryPlace,
  type Leaf,
  type LedgerOptions,
  type State,
  type StateMachine,
} from '@cipherlog/machine'
import { leafHash } from '@cipherlog/merkle/verify'
import { type ProofVerifier } from '@cipherlog/proof'
import { describeDifference } from './difference.ts'
import { announcedBodyBytes, kindOf } from './leaf-check.ts'
import { byTheRules, LeafProblem } from './leaf-problem.ts'
import { checksOf, verifyAhead } from './proofs-ahead.ts'
import { placeOf } from './replay-place.ts'
import { rootOfBatch } from './root-of-batch.ts'
import { type TrailLeaf } from './trail-leaves.ts'
import { WithoutBodies } from './without-bodies.ts'

/** Adds vectors in this thread. */
const evaluator: CellEvaluator = {
  async add(suite, sum, contributions) {
    if (suite === suites.hpkeXwing || suite === suites.elgamalBjj)
      throw new RangeError(`suite ${suite} takes no evaluator`)
    const bfv = await loadBfvEvaluator(suite)
    let total = sum
    for (const contribution of contributions) total = bfv.add(total, contribution)
    return total!
  },
}

/** What an older generation leaves to the next one. */
export interface OlderGeneration {
  /** As of its end; goes over to the next. */
  readonly state: State
  /** Of the generations up to it, encoded. */
  readonly policyChain: Uint8Array
}

/** A quarantine of the trail, with the log index at which it stands. */
export interface FoundQuarantine {
  readonly signed: Uint8Array
  readonly logIndex: number
}

export interface ReplayStart {
  readonly cluster: Uint8Array
  readonly machines: readonly StateMachine[]
  /** With a memory, so that looking ahead helps. */
  readonly verifier: ProofVerifier
  /** Of the whole trail: they say what became of leaves before them. */
  readonly quarantines: readonly FoundQuarantine[]
  /** Of a generation above 0. */
  readonly older?: OlderGeneration | undefined
}

export class Replay {
  readonly #start: ReplayStart
  readonly #options: LedgerOptions
  readonly #verifier: ProofVerifier
  readonly state: State
  #ledger: Ledger | undefined
  /** Leaves that the ledger made and the trail must show next. */
  #made: Leaf[] = []
  /** Leaf hashes since the last batch record. */
  #batch: Uint8Array[] = []
  #rootHash: Uint8Array | undefined
  /** Proofs of leaves below this one have been looked at. */
  #lookedTo = 0
  leavesReplayed = 0
  proofsChecked = 0

  /** Leaves that were set aside by a quarantine which is not in this trail. */
  readonly setAsideOnTrust: number[] = []
  /** SHA-256 of the wraps of each envelope that was applied, by hex of its id. */
  readonly wrapDigests = new Map<string, Uint8Array>()

  constructor(start: ReplayStart) {
    this.#start = start
    this.state = start.older?.state ?? createMemoryState()
    this.#options = { evaluator, rootOfBatch, machines: start.machines }
    this.#verifier = start.verifier
  }

  /** Root of the tree up to the last batch record. */
  get rootHash(): Uint8Array | undefined {
    return this.#rootHash
  }

  /**
   * Before leaf `at` of a run, if it has proofs: verifies those of the leaves behind it as well, for together they
   * cost a fraction.
   */
  async lookAhead(run: readonly TrailLeaf[], at: number): Promise<void> {
    const next = run[at]!
    if (this.#ledger === undefined || next.index < this.#lookedTo) return
    if (checksOf(this.#ledger.registry, next).length === 0) return
    this.#lookedTo = next.index + (await verifyAhead(this.#ledger.registry, run.slice(at), this.#verifier))
  }

  /** Whether this leaf cannot be replayed, because its bodies are not in the trail. @throws {@link LeafProblem}. */
  async lacksBodyOf({ record, signed, body }: TrailLeaf): Promise<boolean> {
    if (this.#ledger === undefined || body !== undefined || kindOf(record) !== leafKinds.commandBundle) return false
    return (await byTheRules(() => announcedBodyBytes(signed))) > 0
  }

  /** Goes on without bodies; this replay ends. */
  withoutBodies(): WithoutBodies {
    return new WithoutBodies(this.#ledger!, this.#batch)
  }

  /** Replays the next leaf. @throws {@link LeafProblem}; errors of the verifier, which are no fault of the trail. */
  async step(leaf: TrailLeaf): Promise<void> {
    if (this.#made.length === 0) this.#made.push(...(await this.#make(leaf)))
    const expected = this.#made.shift()!
    if (!equalBytes(expected.record, leaf.record)) {
      throw new LeafProblem(await byTheRules(() => describeDifference(expected.record, leaf.record)))
    }
    if (!equalBytes(expected.signed, leaf.signed)) {
      throw new LeafProblem('The pack holds other signed bytes than this leaf is about.')
    }
    if (expected.kind === leafKinds.batchRecord) this.#batch = []
    else this.#batch.push(leafHash(leaf.record))
    this.leavesReplayed++
  }

  /** The leaves that this one gives rise to, itself first. */
  async #make(leaf: TrailLeaf): Promise<Leaf[]> {
    const ledger = this.#ledger
    if (ledger === undefined) return this.#begin(leaf)
    if (kindOf(leaf.record) === leafKinds.batchRecord) {
      const place = await byTheRules(() => placeOf(ledger, decode(batchRecord, leaf.record)))
      return [await this.#close(ledger, place)]
    }
    const { kind, place } = await byTheRules(() => {
      const record = decode(leafRecord, leaf.record)
      return { kind: record.kind, place: placeOf(ledger, record) }
    })
    await byTheRules(() => this.#trustQuarantine(ledger, leaf, place))
    const plan = await byTheRules(() => {
      const { signed, body = emptyBytes } = leaf
      const plan = ledger.plan({ kind, signed, body, wrapsIncluded: false }, place)
      if (plan.outcome === 'refused') throw plan.error
      if (plan.outcome === 'duplicate') throw new LeafProblem(`The leaf repeats leaf ${plan.answer.leaf}.`)
      return plan
    })
    const proofsGood = await this.#verifier.verify(plan.proofs)
    this.proofsChecked += plan.proofs.length
    const made = [ledger.apply(kind, plan, proofsGood, place)]
    this.#noteWraps(leaf, made[0]!.verdicts)
    // A full batch is closed by rule, in the same step.
    if (ledger.batchDue) made.push(await this.#close(ledger, place))
    return made
  }

  async #begin({ signed }: TrailLeaf): Promise<Leaf[]> {
    const { cluster, older, quarantines } = this.#start
    const { ledger, leaf, closed } = await byTheRules(() =>
      older === undefined
        ? Ledger.create(this.state, signed, this.#options)
        : Ledger.startGeneration(this.state, signed, older.policyChain, this.#options),
    )
    if (!equalBytes(ledger.registry.cluster, cluster)) {
      throw new LeafProblem('This is the genesis of another cluster.', 'ERR_AUDIT_GENESIS')
    }
    for (const { signed: quarantine, logIndex } of quarantines) ledger.lookAhead(quarantine, logIndex)
    this.#ledger = ledger
    this.#rootHash = closed.rootHash
    return [leaf, closed.leaf]
  }

  /**
   * A leaf that says it was set aside, with no quarantine in the trail: the checkpoint may not cover that yet. Taken on
   * the cosigners' word, and said so.
   */
  #trustQuarantine(ledger: Ledger, { index, record }: TrailLeaf, { logIndex }: EntryPlace): void {
    const { digest, verdicts: recorded = [] } = decode(leafRecord, record)
    const entry = { index: logIndex, digest }
    if (!recorded.includes(verdicts.quarantined) || ledger.isSetAside(entry)) return
    ledger.setAsideOnTrust(entry)
    this.setAsideOnTrust.push(index)
  }

  #noteWraps({ record, signed }: TrailLeaf, decided: readonly number[]): void {
    if (kindOf(record) !== leafKinds.commandBundle) return
    const { heads } = decode(commandBundle, decode(signedCommandBundle, signed)[0])
    heads.forEach(({ args, wraps }, command) => {
      if (args === undefined || wraps === undefined || decided[command] !== verdicts.applied) return
      this.wrapDigests.set(toHex(labelledHash(labels.envelopeId, args)), wraps.sha256)
    })
  }

  async #close(ledger: Ledger, place: EntryPlace): Promise<Leaf> {
    const closed = await ledger.close(place)
    if (closed === undefined) throw new LeafProblem('The batch record closes a batch without leaves.')
    this.#rootHash = closed.rootHash
    return closed.leaf
  }
}

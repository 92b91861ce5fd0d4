/**
 * Drives a ledger as a replica's apply loop does, and remembers the entries and leaves. The same entries can be
 * driven through another ledger, and the leaves replayed as an auditor does.
 */
import { decode, equalBytes, toHex, type CipherlogError } from '@cipherlog/core'
import { loadBfvEvaluator } from '@cipherlog/crypto/evaluate/bfv'
import { batchRecord, entryKinds, leafKinds, leafRecord, suites, type BatchRecord } from '@cipherlog/format'
import { rootOfBatch } from '@cipherlog/merkle/batch'
import { createdAt, keyEvent, type TestCluster } from './cluster.fixture.ts'
import { type CellEvaluator } from './cells.ts'
import { type ClosedBatch, type Leaf, type NeededProof, type Proposal } from './entry.ts'
import { Ledger, type LedgerOptions } from './ledger.ts'
import { type StoredAnswer } from './sessions.ts'
import { createMemoryState, type State } from './state.ts'

/** Adds vectors in this thread. */
const evaluator: CellEvaluator = {
  async add(suite, sum, contributions) {
    if (suite === suites.hpkeXwing || suite === suites.elgamalBjj) throw new RangeError('no vectors')
    const bfv = await loadBfvEvaluator(suite)
    let total = sum
    for (const contribution of contributions) total = bfv.add(total, contribution)
    return total!
  },
}

export const ledgerOptions: LedgerOptions = { evaluator, rootOfBatch }

/** A committed entry; a mark or no-op has no proposal. */
export interface TestEntry {
  readonly kind: number
  readonly proposal?: Proposal
  readonly logTime: number
}

export type Outcome =
  | { readonly outcome: 'applied'; readonly leaf: Leaf }
  | { readonly outcome: 'refused'; readonly error: CipherlogError }
  | { readonly outcome: 'duplicate'; readonly answer: StoredAnswer }

/** How a test's verifier answers: a proof that begins with ff is bad. */
export const byFirstByte = (proofs: readonly NeededProof[]): boolean[] => proofs.map(({ proof }) => proof[0] !== 0xff)

/** Contents of a state, in order of key: equal texts are equal states. */
export async function contentsOf(state: State): Promise<string> {
  const lines: string[] = []
  for await (const [key, value] of state.iterate(new Uint8Array(0))) lines.push(`${toHex(key)} ${toHex(value)}`)
  return lines.join('\n')
}

export async function copyOf(state: State): Promise<State> {
  const copy = createMemoryState()
  for await (const [key, value] of state.iterate(new Uint8Array(0))) copy.put(key, value)
  return copy
}

export class LedgerDriver {
  ledger: Ledger
  state: State
  readonly entries: TestEntry[] = []
  readonly leaves: Leaf[]
  readonly closed: ClosedBatch[]
  /** Log time of the next entry. */
  now = createdAt
  #index = 0

  private constructor(state: State, started: { ledger: Ledger; leaf: Leaf; closed: ClosedBatch }) {
    this.state = state
    this.ledger = started.ledger
    this.leaves = [started.leaf, started.closed.leaf]
    this.closed = [started.closed]
  }

  /** A ledger right after genesis. */
  static async fromGenesis(cluster: TestCluster, options = ledgerOptions): Promise<LedgerDriver> {
    const state = createMemoryState()
    return new LedgerDriver(state, await Ledger.create(state, cluster.signedGenesis, options))
  }

  /** A ledger with the cluster's key events applied and their batch closed. */
  static async start(cluster: TestCluster): Promise<LedgerDriver> {
    const driver = await LedgerDriver.fromGenesis(cluster)
    for (const signed of cluster.setup) await driver.apply(keyEvent(signed))
    await driver.mark()
    return driver
  }

  /** A ledger that came from a snapshot of another one's log, with what that log held up to there. */
  static joined(other: LedgerDriver, state: State, ledger: Ledger): LedgerDriver {
    const driver = new LedgerDriver(state, { ledger, leaf: other.leaves[0]!, closed: other.closed[0]! })
    driver.leaves.splice(0, Infinity, ...other.leaves.slice(0, ledger.treeSize))
    driver.closed.splice(0, Infinity, ...other.closed.filter(({ size }) => size <= ledger.treeSize))
    driver.entries.push(...other.entries.slice(0, ledger.appliedIndex))
    driver.now = ledger.logTime
    driver.#index = ledger.appliedIndex
    return driver
  }

  /** A ledger right after a group start, in a copy of this driver's state as of its last batch record. */
  async restored(signedGroupStart: Uint8Array, policyChain?: Uint8Array): Promise<LedgerDriver> {
    const state = await copyOf(this.state)
    const chain = policyChain ?? this.ledger.registry.policyChain(() => undefined)
    const driver = new LedgerDriver(state, await Ledger.startGeneration(state, signedGroupStart, chain, ledgerOptions))
    driver.now = driver.ledger.logTime
    return driver
  }

  /** Commits a proposal, which must be applied; returns the verdicts. */
  async apply(proposal: Proposal, proofs = byFirstByte): Promise<readonly number[]> {
    const outcome = await this.commit(proposal, proofs)
    if (outcome.outcome === 'refused') throw outcome.error
    if (outcome.outcome === 'duplicate') throw new Error('the proposal is on the log already')
    return outcome.leaf.verdicts
  }

  async commit(proposal: Proposal, proofs = byFirstByte): Promise<Outcome> {
    return (await this.drive({ kind: proposal.kind, proposal, logTime: this.now }, proofs))!
  }

  async mark(): Promise<ClosedBatch | undefined> {
    const before = this.closed.length
    await this.drive({ kind: entryKinds.mark, logTime: this.now })
    return this.closed[before]
  }

  /** Log index of the next entry. */
  get nextIndex(): number {
    return this.entries.length + 1
  }

  /** Applies the next entry of a log. */
  async drive(entry: TestEntry, proofs = byFirstByte): Promise<Outcome | undefined> {
    this.entries.push(entry)
    this.now = entry.logTime
    return this.#apply(entry, proofs)
  }

  async #apply(entry: TestEntry, proofs: (proofs: readonly NeededProof[]) => boolean[]): Promise<Outcome | undefined> {
    const place = { logIndex: ++this.#index, logTime: entry.logTime }
    if (entry.proposal === undefined) {
      if (entry.kind === entryKinds.mark) await this.#close(place)
      else this.ledger.skip(place)
      return undefined
    }
    const plan = this.ledger.plan(entry.proposal, place)
    if (plan.outcome !== 'accepted') {
      this.ledger.skip(place)
      return plan
    }
    const leaf = this.ledger.apply(entry.kind, plan, proofs(plan.proofs), place)
    this.leaves.push(leaf)
    if (this.ledger.batchDue) await this.#close(place)
    return { outcome: 'applied', leaf }
  }

  async #close(place: { logIndex: number; logTime: number }): Promise<void> {
    const closed = await this.ledger.close(place)
    if (closed === undefined) return
    this.closed.push(closed)
    this.leaves.push(closed.leaf)
  }

  /**
   * Opens the ledger again from a copy of a state as it was at a batch record, by default the present one, and
   * applies what the log holds since: what a restart does.
   */
  async reopen(persisted: State = this.state): Promise<void> {
    this.state = await copyOf(persisted)
    this.ledger = (await Ledger.open(this.state, ledgerOptions))!
    this.#index = this.ledger.appliedIndex
    this.leaves.length = this.ledger.treeSize
    this.closed.length = this.closed.findIndex(({ size }) => size === this.ledger.treeSize) + 1
    this.ledger.newestBatch(this.closed.at(-1)!.leaf.record)
    this.entries.forEach(({ proposal }, i) => {
      if (proposal?.kind === entryKinds.quarantine) this.ledger.lookAhead(proposal.signed, i + 1)
    })
    for (const entry of this.entries.slice(this.#index)) await this.#apply(entry, byFirstByte)
  }

  get batchRecord(): BatchRecord {
    return decode(batchRecord, this.closed.at(-1)!.leaf.record)
  }
}

/** Replays leaves as an auditor does: from records and packs, without wraps. Returns the records it arrives at. */
export async function replayLeaves(leaves: readonly Leaf[], proofs = byFirstByte): Promise<Uint8Array[]> {
  const { ledger, leaf, closed } = await Ledger.create(createMemoryState(), leaves[0]!.signed, ledgerOptions)
  const records = [leaf.record, closed.leaf.record]
  for (const { kind, signed, record } of leaves) {
    if (kind === leafKinds.quarantine) ledger.lookAhead(signed, decode(leafRecord, record).logIndex)
  }
  while (records.length < leaves.length) {
    const next = leaves[records.length]!
    if (next.kind === leafKinds.batchRecord) {
      const { logIndex, logTime } = decode(batchRecord, next.record)
      records.push((await ledger.close({ logIndex, logTime }))!.leaf.record)
      continue
    }
    const { logIndex, logTime } = decode(leafRecord, next.record)
    const proposal = { kind: next.kind, signed: next.signed, body: next.trailBody, wrapsIncluded: false }
    const plan = ledger.plan(proposal, { logIndex, logTime })
    if (plan.outcome !== 'accepted') throw new Error(`leaf ${records.length} is ${plan.outcome}`)
    records.push(ledger.apply(next.kind, plan, proofs(plan.proofs), { logIndex, logTime }).record)
    if (ledger.batchDue) records.push((await ledger.close({ logIndex, logTime }))!.leaf.record)
  }
  return records
}

/** Index of the first record that differs; undefined if none does. */
export function firstDifference(a: readonly Uint8Array[], b: readonly Uint8Array[]): number | undefined {
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    if (a[i] === undefined || b[i] === undefined || !equalBytes(a[i]!, b[i]!)) return i
  }
  return undefined
}

/**
 * Replays a trail through the same ledger that replicas run: every record, verdict, batch root, state root and
 * tree root must come out the same, byte for byte.
 */
import { CipherlogError, decode, equalBytes, toHex } from '@cipherlog/core'
import { loadBfvEvaluator, type BfvEvaluator } from '@cipherlog/crypto/evaluate/bfv'
import { batchRecord, leafKinds, leafRecord, suites, verdictName, verdicts } from '@cipherlog/format'
import { createMemoryState, Ledger, type CellEvaluator, type ClosedBatch, type Leaf } from '@cipherlog/machine'
import { rootOfBatch } from '@cipherlog/merkle/batch'
import { type ProofVerifier } from '@cipherlog/proof'
import { type Remarks } from './report.ts'

/** What the trail says of one leaf. */
export interface TrailLeaf {
  readonly record: Uint8Array
  readonly signed: Uint8Array
  /** Undefined: this trail does not hold bodies. */
  readonly body: Uint8Array | undefined
}

export interface ReplayResult {
  readonly leaves: Record<string, number>
  readonly verdicts: Record<string, number>
  readonly proofsChecked: number
  readonly ledger: Ledger | undefined
}

const kindNames: Readonly<Record<number, string>> = {
  [leafKinds.genesis]: 'genesis',
  [leafKinds.keyEvent]: 'key event',
  [leafKinds.sessionOpening]: 'session opening',
  [leafKinds.commandBundle]: 'command bundle',
  [leafKinds.batchRecord]: 'batch record',
}

/** Adds vectors in this thread. */
function inlineEvaluator(): CellEvaluator {
  const evaluators = new Map<number, Promise<BfvEvaluator>>()
  return {
    async add(suite, sum, contributions) {
      if (suite === suites.hpkeXwing || suite === suites.elgamalBjj)
        throw new RangeError(`suite ${suite} has no evaluator`)
      let loading = evaluators.get(suite)
      if (loading === undefined) {
        loading = loadBfvEvaluator(suite)
        evaluators.set(suite, loading)
      }
      const evaluator = await loading
      let total = sum
      for (const contribution of contributions) total = evaluator.add(total, contribution)
      return total!
    },
  }
}

export async function replay(
  leaves: readonly (TrailLeaf | undefined)[],
  verifier: ProofVerifier,
  remarks: Remarks,
  onProgress: (leaf: number) => void,
): Promise<ReplayResult> {
  const result: ReplayResult & { proofsChecked: number; ledger: Ledger | undefined } = {
    leaves: {},
    verdicts: {},
    proofsChecked: 0,
    ledger: undefined,
  }
  const [first] = leaves
  if (first === undefined) return result
  let started: { ledger: Ledger; leaf: Leaf; closed: ClosedBatch }
  try {
    started = await Ledger.create(createMemoryState(), first.signed, { evaluator: inlineEvaluator(), rootOfBatch })
  } catch (error) {
    if (!(error instanceof CipherlogError)) throw error
    remarks.problem(error.code, 'leaf 0', `The genesis does not hold: ${error.message}`)
    return result
  }
  const { ledger } = started
  result.ledger = ledger
  /** Records that the ledger made and the trail must now show. */
  const made: Leaf[] = [started.leaf, started.closed.leaf]

  for (let index = 0; index < leaves.length; index++) {
    const leaf = leaves[index]
    if (leaf === undefined) {
      remarks.problem('ERR_AUDIT_REPLAY', `leaf ${index}`, 'The leaf is missing, so nothing after it can be replayed.')
      return result
    }
    if (made.length === 0) {
      const next = await replayLeaf(ledger, leaf, index, verifier, remarks, result)
      if (next === undefined) return result
      made.push(...next)
    }
    const expected = made.shift()!
    if (!equalBytes(expected.record, leaf.record)) {
      remarks.problem('ERR_AUDIT_REPLAY', `leaf ${index}`, describeDifference(expected.record, leaf.record))
      return result
    }
    if (expected.signed.length !== leaf.signed.length || !equalBytes(expected.signed, leaf.signed)) {
      remarks.problem('ERR_AUDIT_REPLAY', `leaf ${index}`, 'The pack holds other signed bytes than the leaf is about.')
      return result
    }
    count(result, expected)
    onProgress(index + 1)
  }
  return result
}

/** The leaves that one leaf of the trail gives rise to, or undefined if the replay cannot go on. */
async function replayLeaf(
  ledger: Ledger,
  leaf: TrailLeaf,
  index: number,
  verifier: ProofVerifier,
  remarks: Remarks,
  result: { proofsChecked: number },
): Promise<Leaf[] | undefined> {
  const where = `leaf ${index}`
  try {
    // Both formats have the kind as their first value.
    if (leaf.record[2] === leafKinds.batchRecord) {
      const { logIndex, logTime } = decode(batchRecord, leaf.record)
      const closed = await ledger.close(checkedPlace(ledger, logIndex, logTime))
      if (closed === undefined) throw new CipherlogError('ERR_AUDIT_REPLAY', 'The batch record closes an empty batch.')
      return [closed.leaf]
    }
    const record = decode(leafRecord, leaf.record)
    const place = checkedPlace(ledger, record.logIndex, record.logTime)
    if (leaf.body === undefined && record.kind === leafKinds.commandBundle) {
      remarks.finding(
        'bodies not available',
        where,
        'Verdicts from here on were not re-checked; the trail has no bodies.',
      )
      return undefined
    }
    const proposal = {
      kind: record.kind,
      signed: leaf.signed,
      body: leaf.body ?? new Uint8Array(0),
      wrapsIncluded: false,
    }
    const plan = ledger.plan(proposal, place)
    if (plan.outcome === 'refused') throw plan.error
    if (plan.outcome === 'duplicate') {
      throw new CipherlogError('ERR_AUDIT_REPLAY', `The leaf repeats leaf ${plan.answer.leaf}.`)
    }
    const proofsGood = await verifier.verify(plan.proofs)
    result.proofsChecked += plan.proofs.length
    const made = [ledger.apply(record.kind, plan, proofsGood, place)]
    if (ledger.batchDue) made.push((await ledger.close(place))!.leaf)
    return made
  } catch (error) {
    if (!(error instanceof CipherlogError)) throw error
    remarks.problem(error.code, where, `The log's rules do not allow this leaf here: ${error.message}`)
    return undefined
  }
}

function checkedPlace(ledger: Ledger, logIndex: number, logTime: number): { logIndex: number; logTime: number } {
  if (logIndex < ledger.appliedIndex || logTime < ledger.logTime) {
    throw new CipherlogError('ERR_AUDIT_REPLAY', 'Log index or log time goes back.')
  }
  return { logIndex, logTime }
}

function count(result: { leaves: Record<string, number>; verdicts: Record<string, number> }, leaf: Leaf): void {
  const kind = kindNames[leaf.kind] ?? `kind ${leaf.kind}`
  result.leaves[kind] = (result.leaves[kind] ?? 0) + 1
  if (leaf.kind !== leafKinds.commandBundle) return
  for (const verdict of leaf.verdicts)
    result.verdicts[verdictName(verdict)] = (result.verdicts[verdictName(verdict)] ?? 0) + 1
}

/** Says in words what a replayed record has that the trail's has not. */
function describeDifference(expected: Uint8Array, actual: Uint8Array): string {
  try {
    if (actual[2] === leafKinds.batchRecord) {
      const [a, b] = [decode(batchRecord, expected), decode(batchRecord, actual)]
      const differing = (Object.keys(a) as (keyof typeof a)[]).filter(
        (field) => JSON.stringify(a[field]) !== JSON.stringify(b[field]),
      )
      return `The batch record says another ${differing.join(', ')} than the replay gives.`
    }
    const [a, b] = [decode(leafRecord, expected), decode(leafRecord, actual)]
    const at = (a.verdicts ?? []).findIndex((verdict, i) => verdict !== b.verdicts?.[i])
    if (at !== -1) {
      return `Command ${at} has the verdict ${verdictName(b.verdicts?.[at] ?? verdicts.applied)} in the trail, the rules give ${verdictName(a.verdicts![at]!)}.`
    }
  } catch (error) {
    if (!(error instanceof CipherlogError)) throw error
  }
  return `The leaf record is ${toHex(actual).slice(0, 64)}…, the replay gives ${toHex(expected).slice(0, 64)}….`
}

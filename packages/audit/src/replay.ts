/**
 * The second pass: leaf by leaf through the same ledger that replicas run, up to the signed root.
 *
 * It stops at the first leaf that the rules do not allow, for nothing after it has a meaning. Where a trail holds no
 * bodies, it goes on with what can be checked without them.
 */
import { equalBytes } from '@cipherlog/core'
import { type StateMachine } from '@cipherlog/machine'
import { tileWidthMax } from '@cipherlog/merkle/verify'
import { cachedVerifier, type ProofVerifier } from '@cipherlog/proof'
import { type TrustedTree } from './checkpoints.ts'
import { LeafProblem } from './leaf-problem.ts'
import { proofsRemembered } from './proofs-ahead.ts'
import { Replay } from './replay-leaf.ts'
import { recordRow, readTile } from './tile-files.ts'
import { readLeaves } from './trail-leaves.ts'
import { type TrailReader } from './trail-reader.ts'
import { wrongRoot } from './tree-check.ts'
import { type WithoutBodies } from './without-bodies.ts'

export interface ReplayOptions {
  readonly verifier: ProofVerifier
  readonly machines: readonly StateMachine[]
  readonly onLeaf: (done: number) => void
}

export interface ReplayResult {
  readonly leavesReplayed: number
  readonly proofsChecked: number
  /** All leaves were replayed, and the root they made is the signed one. */
  readonly complete: boolean
}

export async function replay(
  reader: TrailReader,
  { checkpoint, policy }: TrustedTree,
  { verifier, machines, onLeaf }: ReplayOptions,
): Promise<ReplayResult> {
  const { size } = checkpoint
  const ledger = new Replay(policy.cluster, machines, cachedVerifier(verifier, proofsRemembered))
  const result = (complete: boolean): ReplayResult => ({
    leavesReplayed: ledger.leavesReplayed,
    proofsChecked: ledger.proofsChecked,
    complete,
  })
  let rest: WithoutBodies | undefined
  for (let index = 0; index * tileWidthMax < size; index++) {
    const width = Math.min(tileWidthMax, size - index * tileWidthMax)
    const records = await readTile(reader, recordRow, index, width)
    let next = index * tileWidthMax
    for await (const run of records === undefined ? [] : readLeaves(reader, index, records.items)) {
      for (const [i, leaf] of run.entries()) {
        try {
          if (rest === undefined && (await ledger.lacksBodyOf(leaf))) rest = ledger.withoutBodies()
          if (rest === undefined) {
            await ledger.lookAhead(run, i)
            await ledger.step(leaf)
          } else {
            await rest.step(leaf)
          }
        } catch (error) {
          if (!(error instanceof LeafProblem)) throw error
          reader.remarks.problem(error.code, `leaf ${leaf.index}`, error.message)
          return result(false)
        }
        onLeaf((next = leaf.index + 1))
      }
    }
    if (next < index * tileWidthMax + width) {
      // The first pass has read these very files.
      reader.remarks.problem(
        'ERR_AUDIT_SOURCE',
        `leaf ${next}`,
        'The trail changed while it was audited; audit a copy.',
      )
      return result(false)
    }
  }
  if (rest !== undefined) return result(false)
  const complete = ledger.rootHash !== undefined && equalBytes(ledger.rootHash, checkpoint.rootHash)
  if (!complete) reader.remarks.problem('ERR_AUDIT_ROOT', 'checkpoint', wrongRoot)
  return result(complete)
}

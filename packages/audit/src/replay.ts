/**
 * The second pass: leaf by leaf through the same ledger that replicas run, up to the signed root.
 *
 * It stops at the first leaf that the rules do not allow, for nothing after it has a meaning. Where a trail holds no
 * bodies, it goes on with what can be checked without them.
 */
import { equalBytes } from '@cipherlog/core'
import { type State, type StateMachine } from '@cipherlog/machine'
import { tileWidthMax } from '@cipherlog/merkle/verify'
import { cachedVerifier, type ProofVerifier } from '@cipherlog/proof'
import { type TrustedTree } from './checkpoints.ts'
import { LeafProblem } from './leaf-problem.ts'
import { proofsRemembered } from './proofs-ahead.ts'
import { Replay, type FoundQuarantine, type OlderGeneration } from './replay-leaf.ts'
import { recordRow, readTile } from './tile-files.ts'
import { readLeaves } from './trail-leaves.ts'
import { type TrailReader } from './trail-reader.ts'
import { wrongRoot } from './tree-check.ts'
import { type WithoutBodies } from './without-bodies.ts'

export interface ReplayOptions {
  /** Leaves; default: all under the checkpoint. */
  readonly size?: number
  readonly quarantines: readonly FoundQuarantine[]
  /** What a generation above 0 goes on from. */
  readonly older?: OlderGeneration | undefined
  readonly verifier: ProofVerifier
  readonly machines: readonly StateMachine[]
  readonly onLeaf: (done: number) => void
}

export interface ReplayResult {
  readonly leavesReplayed: number
  readonly proofsChecked: number
  /** All leaves were replayed, and the root they made is the signed one. */
  readonly complete: boolean
  /** The state behind them, if all were replayed; wraps are empty. */
  readonly state: State | undefined
  /** SHA-256 of each envelope's wraps, by hex of its id. */
  readonly wrapDigests: ReadonlyMap<string, Uint8Array>
}

export async function replay(
  reader: TrailReader,
  { checkpoint, policy }: TrustedTree,
  { verifier, machines, onLeaf, quarantines, older, ...options }: ReplayOptions,
): Promise<ReplayResult> {
  const { size = checkpoint.size } = options
  const { cluster } = policy
  const ledger = new Replay({
    cluster,
    machines,
    quarantines,
    older,
    verifier: cachedVerifier(verifier, proofsRemembered),
  })
  const result = (complete: boolean): ReplayResult => ({
    leavesReplayed: ledger.leavesReplayed,
    proofsChecked: ledger.proofsChecked,
    complete: complete && ledger.setAsideOnTrust.length === 0,
    state: complete ? ledger.state : undefined,
    wrapDigests: ledger.wrapDigests,
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
  for (const leaf of ledger.setAsideOnTrust) {
    const message = 'It was set aside by a quarantine that this checkpoint does not cover; audit a newer trail.'
    reader.remarks.finding('quarantine not covered yet', `leaf ${leaf}`, message)
  }
  if (rest !== undefined) return result(false)
  // What was signed of a smaller size, the files have shown already.
  if (size < checkpoint.size) return result(true)
  const complete = ledger.rootHash !== undefined && equalBytes(ledger.rootHash, checkpoint.rootHash)
  if (!complete) reader.remarks.problem('ERR_AUDIT_ROOT', 'checkpoint', wrongRoot)
  return result(complete)
}

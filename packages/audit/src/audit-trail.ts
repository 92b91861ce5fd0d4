/**
 * Audits a whole trail offline, with nothing but the trust policy: policy chain and cosignatures, every tile, every
 * record, signed byte and body, and a replay of the log's rules from genesis to the signed root.
 *
 * Two passes. The first reads every file and finds what was changed in one of them. The second trusts none of what
 * the first found: it computes every record from what was signed, and the root it arrives at must be the signed one.
 */
import { toHex } from '@cipherlog/core'
import { leafKinds, type Seen, type TrustPolicy } from '@cipherlog/format'
import { type StateMachine } from '@cipherlog/machine'
import { parseTilePath, tileWidthMax } from '@cipherlog/merkle/verify'
import { createInlineVerifier, type ProofVerifier } from '@cipherlog/proof'
import { openTrustedTree, type TrustedTree } from './checkpoints.ts'
import { checkLeaf, type Tally } from './leaf-check.ts'
import { PolicyChainCheck } from './policy-chain-check.ts'
import { replay, type ReplayResult } from './replay.ts'
import { Remarks, type AuditReport } from './report.ts'
import { readLeaves } from './trail-leaves.ts'
import { TrailReader } from './trail-reader.ts'
import { type TrailSource } from './trail-source.ts'
import { TreeCheck } from './tree-check.ts'

export interface AuditProgress {
  /** `files`: tiles, records and digests; `replay`: rules, proofs and sums. */
  readonly step: 'files' | 'replay'
  /** Leaves. */
  readonly done: number
  readonly total: number
}

export interface AuditOptions {
  readonly trustPolicy: TrustPolicy
  /** Default: in this thread, some 10 ms a proof. Stays open. */
  readonly verifier?: ProofVerifier
  /** An application's own state machines, the same modules that its replicas run. */
  readonly machines?: readonly StateMachine[]
  /** Checkpoints that the auditor has verified before, of this log: the trail must extend each. */
  readonly earlier?: readonly Seen[]
  /** False: files only (signed checkpoint, tree, digests), a fraction of the time; the report is not `complete`. */
  readonly replay?: boolean
  /** Told after every leaf of each step; `done` reaches `total` if nothing stops the step. */
  readonly onProgress?: (progress: AuditProgress) => void
}

/**
 * Audits a trail. What is wrong with it, however hostile, is in the report.
 * @throws {@link CipherlogError} `ERR_AUDIT_SOURCE` if the trail cannot be listed; `ERR_PROOF_*` if the verifier fails;
 * `ERR_INVARIANT` if our own code contradicts itself.
 */
export async function auditTrail(source: TrailSource, options: AuditOptions): Promise<AuditReport> {
  const { trustPolicy, earlier = [], machines = [], onProgress = () => {} } = options
  const remarks = new Remarks()
  const reader = await TrailReader.open(source, remarks)
  const tally: Tally = { leaves: {}, verdicts: {} }
  const trusted = await openTrustedTree(reader, trustPolicy, earlier)
  let replayed: ReplayResult | undefined
  if (trusted !== undefined) {
    const total = trusted.checkpoint.size
    const sound = await checkFiles(reader, trusted, tally, (done) => onProgress({ step: 'files', done, total }))
    if (sound && options.replay !== false) {
      replayed = await replay(reader, trusted, {
        verifier: options.verifier ?? createInlineVerifier(),
        machines,
        onLeaf: (done) => onProgress({ step: 'replay', done, total }),
      })
    } else {
      const message = sound
        ? 'Verdicts and sums were not computed again, as asked: they are the word of the cosigners.'
        : 'Files are damaged, so verdicts and sums were not computed again: mend the trail from another copy.'
      remarks.finding('not replayed', 'leaf 0', message)
    }
  }
  return report(trustPolicy, trusted, tally, replayed, remarks)
}

/** The first pass. Returns whether all files fit each other, the signed root aside. */
async function checkFiles(
  reader: TrailReader,
  trusted: TrustedTree,
  tally: Tally,
  onLeaf: (done: number) => void,
): Promise<boolean> {
  const { remarks } = reader
  const { size, rootHash } = trusted.checkpoint
  const tree = new TreeCheck(reader, size, rootHash, trusted.known)
  const chain = new PolicyChainCheck(trusted, remarks)
  let sound = true
  /** Whether every leaf so far could be looked at. */
  let whole = true
  for (let index = 0; index * tileWidthMax < size; index++) {
    const records = await tree.addTile(index)
    if (records === 'end') {
      whole = false
      break
    }
    let next = index * tileWidthMax
    for await (const run of records === undefined ? [] : readLeaves(reader, index, records)) {
      for (const leaf of run) {
        const checked = checkLeaf(leaf, tally, remarks)
        sound &&= checked.sound
        if (whole) chain.see(leaf.index, checked.kind, leaf.signed)
        if (leaf.index === size - 1 && checked.kind !== leafKinds.batchRecord) {
          remarks.problem('ERR_AUDIT_CHECKPOINT', 'checkpoint', `Its last leaf, ${leaf.index}, is no batch record.`)
        }
        onLeaf((next = leaf.index + 1))
      }
    }
    whole &&= next === Math.min(size, (index + 1) * tileWidthMax)
  }
  if (size === 0) remarks.problem('ERR_AUDIT_CHECKPOINT', 'checkpoint', 'It covers no leaf, not even the genesis.')
  await tree.finish()
  chain.finish(size)
  findBeyond(reader, size)
  return sound && whole && size > 0 && !tree.damaged
}

/** Files of tiles that begin behind the checkpoint. */
function findBeyond(reader: TrailReader, size: number): void {
  for (const [path, { widths }] of reader.tiles()) {
    const tile = parseTilePath(path)
    const span = tile.kind === 'hashes' ? tileWidthMax ** tile.level : 1
    // A hash of an upper level is there only once all leaves below it are.
    if (tile.index * tileWidthMax < Math.floor(size / span)) continue
    for (const width of widths) {
      const file = width === tileWidthMax ? path : `${path}.p/${width}`
      reader.remarks.finding('beyond the checkpoint', file, 'The file holds what no checkpoint covers yet.')
    }
  }
}

function report(
  trustPolicy: TrustPolicy,
  trusted: TrustedTree | undefined,
  tally: Tally,
  replayed: ReplayResult | undefined,
  remarks: Remarks,
): AuditReport {
  const valid = trusted !== undefined && remarks.problemCount === 0
  return {
    valid,
    complete: valid && replayed?.complete === true,
    origin: trusted?.checkpoint.origin,
    cluster: toHex(trustPolicy.cluster),
    treeSize: trusted?.checkpoint.size ?? 0,
    rootHash: trusted === undefined ? undefined : toHex(trusted.checkpoint.rootHash),
    cosignedAt: trusted?.checkpoint.cosignedAtSeconds,
    leaves: tally.leaves,
    verdicts: tally.verdicts,
    leavesReplayed: replayed?.leavesReplayed ?? 0,
    proofsChecked: replayed?.proofsChecked ?? 0,
    problems: remarks.problems,
    findings: remarks.findings,
  }
}

/**
 * Audits a whole trail offline, with nothing but the trust policy: policy chain and cosignatures, every tile, every
 * record, signed byte and body, and a replay of the log's rules from genesis to the signed root.
 *
 * Two passes. The first reads every file and finds what was changed in one of them. The second trusts none of what
 * the first found: it computes every record from what was signed, and the root it arrives at must be the signed one.
 */
import { CipherlogError, decode, encode, equalBytes, toHex } from '@cipherlog/core'
import { sha256 } from '@cipherlog/crypto/hash'
import {
  leafKinds,
  leafRecord,
  policyChain as policyChainCodec,
  verdicts,
  type LeafRecord,
  type Seen,
  type TrustPolicy,
} from '@cipherlog/format'
import { fillWraps, type State, type StateMachine } from '@cipherlog/machine'
import { parseTilePath, tileWidthMax } from '@cipherlog/merkle/verify'
import { createInlineVerifier, type ProofVerifier } from '@cipherlog/proof'
import { openTrustedTree, type TrustedTree } from './checkpoints.ts'
import { checkLeaf, kindOf, type Tally } from './leaf-check.ts'
import { PolicyChainCheck } from './policy-chain-check.ts'
import { replay, type ReplayResult } from './replay.ts'
import { type FoundQuarantine, type OlderGeneration } from './replay-leaf.ts'
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
  /**
   * Trails of the generations before a restore, oldest first: what the newest goes on from is then computed again too.
   * Without them a generation above 0 is checked by its files and signatures alone.
   */
  readonly olderGenerations?: readonly TrailSource[]
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
  return (await audit(source, options)).report
}

/** A state computed from a trail, for a restore. */
export interface RebuiltState {
  readonly report: AuditReport
  /** As of the trail's checkpoint; undefined unless the audit was valid and complete. */
  readonly state: State | undefined
  /** Of the trail, encoded: what `Ledger.startGeneration` goes on from. */
  readonly policyChain: Uint8Array | undefined
}

/**
 * Audits a trail and keeps the state that comes out of it. Trails hold no wraps of content keys: they come from
 * elsewhere (a backup), and are taken only if they have the digest that their writer signed.
 * @param options.wrapsOf - by id of the envelope, 32 bytes.
 * @throws {@link CipherlogError} as `auditTrail`; `ERR_BACKUP_WRAPS` if wraps of an envelope are missing or others.
 */
export async function rebuildState(
  source: TrailSource,
  options: AuditOptions & { readonly wrapsOf: (envelope: Uint8Array) => Promise<Uint8Array | undefined> },
): Promise<RebuiltState> {
  const { report, replayed, trusted, wrapDigests } = await audit(source, options)
  if (!report.complete || replayed?.state === undefined || trusted === undefined) {
    return { report, state: undefined, policyChain: undefined }
  }
  await fillWraps(replayed.state, async (envelope) => {
    const wraps = await options.wrapsOf(envelope)
    const digest = wrapDigests.get(toHex(envelope))
    if (wraps !== undefined && digest !== undefined && equalBytes(sha256(wraps), digest)) return wraps
    throw new CipherlogError(
      'ERR_BACKUP_WRAPS',
      `The wraps of envelope ${toHex(envelope)} are ${wraps === undefined ? 'missing' : 'not those that were signed'}; without them its readers could open nothing. Take another backup.`,
      { details: { envelope: toHex(envelope) } },
    )
  })
  return { report, state: replayed.state, policyChain: chainBefore(trusted, trusted.links.length) }
}

interface Audited {
  readonly report: AuditReport
  readonly trusted: TrustedTree | undefined
  readonly replayed: ReplayResult | undefined
  /** Of all generations. */
  readonly wrapDigests: ReadonlyMap<string, Uint8Array>
}

async function audit(source: TrailSource, options: AuditOptions): Promise<Audited> {
  const { trustPolicy, earlier = [], machines = [], onProgress = () => {}, olderGenerations = [] } = options
  const verifier = options.verifier ?? createInlineVerifier()
  const remarks = new Remarks()
  const reader = await TrailReader.open(source, remarks)
  const tally: Tally = { leaves: {}, verdicts: {} }
  const trusted = await openTrustedTree(reader, trustPolicy, earlier)
  const wrapDigests = new Map<string, Uint8Array>()
  let replayed: ReplayResult | undefined
  if (trusted !== undefined) {
    const total = trusted.checkpoint.size
    const { sound, quarantines } = await checkFiles(reader, trusted, tally, (done) =>
      onProgress({ step: 'files', done, total }),
    )
    if (sound && options.replay !== false) {
      const older = await replayOlder(olderGenerations, trusted, remarks, {
        verifier,
        machines,
        trustPolicy,
        wrapDigests,
      })
      if (older !== 'not at hand') {
        replayed = await replay(reader, trusted, {
          verifier,
          machines,
          quarantines,
          older,
          onLeaf: (done) => onProgress({ step: 'replay', done, total }),
        })
        for (const [envelope, digest] of replayed.wrapDigests) wrapDigests.set(envelope, digest)
      }
    } else {
      const message = sound
        ? 'Verdicts and sums were not computed again, as asked: they are the word of the cosigners.'
        : 'Files are damaged, so verdicts and sums were not computed again: mend the trail from another copy.'
      remarks.finding('not replayed', 'leaf 0', message)
    }
  }
  return { report: report(trustPolicy, trusted, tally, replayed, remarks), trusted, replayed, wrapDigests }
}

/**
 * The state at the end of the generation before, from its trail and all before it, each up to where the next one goes
 * on. Undefined for generation 0.
 */
async function replayOlder(
  sources: readonly TrailSource[],
  trusted: TrustedTree,
  remarks: Remarks,
  options: {
    readonly verifier: ProofVerifier
    readonly machines: readonly StateMachine[]
    readonly trustPolicy: TrustPolicy
    readonly wrapDigests: Map<string, Uint8Array>
  },
): Promise<OlderGeneration | undefined | 'not at hand'> {
  const starts = trusted.policy.cosignerSets.flatMap(({ groupStart }, link) =>
    groupStart === undefined ? [] : [{ start: groupStart.start, link: link - 1 }],
  )
  let older: OlderGeneration | undefined
  for (const [i, { start, link }] of starts.entries()) {
    const generation = i === 0 ? 0 : starts[i - 1]!.start.generation
    const source = sources[i]
    if (source === undefined) {
      const message = `The trail of generation ${generation} was not handed in, so what generation ${start.generation} goes on from, and all verdicts since, are the word of operators and cosigners.`
      remarks.finding('older generation not at hand', `generation ${generation}`, message)
      return 'not at hand'
    }
    const own = new Remarks()
    const state = await replayOne(source, own, generation, start.end, older, options)
    remarks.include(own, `generation ${generation}, `)
    if (state === undefined) return 'not at hand'
    older = { state, policyChain: chainBefore(trusted, link) }
  }
  return older
}

/** One older trail up to the end that the next generation names; undefined, with remarks, if it does not lead there. */
async function replayOne(
  source: TrailSource,
  remarks: Remarks,
  generation: number,
  end: Seen,
  older: OlderGeneration | undefined,
  options: Parameters<typeof replayOlder>[3],
): Promise<State | undefined> {
  const { trustPolicy, verifier, machines, wrapDigests } = options
  const reader = await TrailReader.open(source, remarks)
  const { start: _, ...anyStart } = trustPolicy
  const policy = generation === trustPolicy.generation ? trustPolicy : { ...anyStart, generation }
  const trusted = await openTrustedTree(reader, policy, [end])
  if (trusted === undefined) return undefined
  const { sound, quarantines } = await checkFiles(reader, trusted, { leaves: {}, verdicts: {} }, () => {})
  if (!sound || remarks.problemCount > 0) return undefined
  const replayed = await replay(reader, trusted, {
    size: end.treeSize,
    quarantines,
    older,
    verifier,
    machines,
    onLeaf: () => {},
  })
  for (const [envelope, digest] of replayed.wrapDigests) wrapDigests.set(envelope, digest)
  return replayed.state
}

/** The policy chain up to a link, encoded. */
function chainBefore({ signedGenesis, links }: TrustedTree, link: number): Uint8Array {
  return encode(policyChainCodec, [signedGenesis, links.slice(0, link)])
}

/** The first pass. Returns whether all files fit each other, the signed root aside. */
async function checkFiles(
  reader: TrailReader,
  trusted: TrustedTree,
  tally: Tally,
  onLeaf: (done: number) => void,
): Promise<{ sound: boolean; quarantines: readonly FoundQuarantine[] }> {
  const { remarks } = reader
  const { size, rootHash } = trusted.checkpoint
  const tree = new TreeCheck(reader, size, rootHash, trusted.known)
  const chain = new PolicyChainCheck(trusted, remarks)
  const quarantines: FoundQuarantine[] = []
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
        const recorded = checked.sound ? recordOf(leaf) : undefined
        if (whole) chain.see(leaf.index, checked.kind, leaf.signed, isSetAside(recorded))
        if (recorded?.kind === leafKinds.quarantine) {
          quarantines.push({ signed: leaf.signed, logIndex: recorded.logIndex })
        }
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
  return { sound: sound && whole && size > 0 && !tree.damaged, quarantines }
}

/** Of a sound leaf; undefined for a batch record. */
function recordOf({ record }: { readonly record: Uint8Array }): LeafRecord | undefined {
  return kindOf(record) === leafKinds.batchRecord ? undefined : decode(leafRecord, record)
}

function isSetAside(record: LeafRecord | undefined): boolean {
  return record?.verdicts?.includes(verdicts.quarantined) === true
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

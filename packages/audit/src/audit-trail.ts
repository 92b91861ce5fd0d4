/**
 * Audits a whole trail offline, with nothing but the trust policy: checkpoint and cosignatures, policy chain,
 * every tile, every leaf record, every signed byte and body, and a full replay of the log's rules.
 */
import { CipherlogError, decode, equalBytes, toHex, utf8ToString } from '@cipherlog/core'
import { sha256 } from '@cipherlog/crypto/hash'
import {
  leafKinds,
  leafRecord,
  policyChain as policyChainCodec,
  signedKeyEvent,
  keyEvent,
  type TrustPolicy,
} from '@cipherlog/format'
import { bodyPath, bundlePath, parseTilePath } from '@cipherlog/merkle/verify'
import { createInlineVerifier, type ProofVerifier } from '@cipherlog/proof'
import { openPolicyChain, type PolicyView, type VerifiedCheckpoint } from '@cipherlog/registry'
import { readPack } from './packs.ts'
import { Remarks, type AuditReport } from './report.ts'
import { replay, type TrailLeaf } from './replay.ts'
import { readEntries } from './tiles.ts'
import { type TrailSource } from './trail-source.ts'

export interface AuditOptions {
  readonly trustPolicy: TrustPolicy
  /** Default: in this thread, which is slow for many proofs. */
  readonly verifier?: ProofVerifier
  readonly onProgress?: (progress: { readonly step: string; readonly done: number; readonly total: number }) => void
}

const tileWidth = 256
const topFiles = new Set(['checkpoint', 'policy-chain', 'checkpoint.witnessed'])

export async function auditTrail(source: TrailSource, options: AuditOptions): Promise<AuditReport> {
  const remarks = new Remarks()
  const progress = options.onProgress ?? (() => {})
  const verifier = options.verifier ?? createInlineVerifier()

  const chainBytes = await source.read('policy-chain')
  const note = await source.read('checkpoint')
  if (chainBytes === undefined) remarks.problem('ERR_AUDIT_MISSING', 'policy-chain', 'The policy chain is missing.')
  if (note === undefined) remarks.problem('ERR_AUDIT_MISSING', 'checkpoint', 'The checkpoint is missing.')
  const policy = chainBytes && remarks.attempt('policy-chain', () => openPolicyChain(chainBytes, options.trustPolicy))
  const checkpoint = policy && note && verifyNote(policy, note, 'checkpoint', remarks)
  if (checkpoint === undefined) return report(options.trustPolicy, undefined, undefined, remarks)

  const { size } = checkpoint
  progress({ step: 'tree', done: 0, total: size })
  const entries = await readEntries(source, size, checkpoint.rootHash, remarks)
  progress({ step: 'tree', done: size, total: size })
  const leaves = await readLeaves(source, entries, remarks)
  await checkOtherFiles(source, size, policy!, remarks)
  checkPolicyChain(chainBytes!, entries, leaves, remarks)

  const result = await replay(leaves, verifier, remarks, (done) => progress({ step: 'replay', done, total: size }))
  return report(options.trustPolicy, checkpoint, result, remarks)
}

function verifyNote(
  policy: PolicyView,
  note: Uint8Array,
  where: string,
  remarks: Remarks,
): VerifiedCheckpoint | undefined {
  const checkpoint = remarks.attempt(where, () => policy.verifyCheckpoint(utf8ToString(note)))
  for (const line of checkpoint?.unknownLines ?? []) {
    remarks.finding(
      'unknown signature line',
      where,
      `A line by ${line.name} was ignored: its key is not in the policy.`,
    )
  }
  return checkpoint
}

/** Joins records with their signed bytes and bodies, checking digests. */
async function readLeaves(
  source: TrailSource,
  entries: readonly (Uint8Array | undefined)[],
  remarks: Remarks,
): Promise<(TrailLeaf | undefined)[]> {
  const leaves: (TrailLeaf | undefined)[] = []
  for (let n = 0; n * tileWidth < entries.length; n++) {
    const width = Math.min(tileWidth, entries.length - n * tileWidth)
    const bundles = await readPackFile(source, bundlePath(n), width, remarks)
    const bodies = await readPackFile(source, bodyPath(n), width, remarks, true)
    for (let slot = 0; slot < width; slot++) {
      const index = n * tileWidth + slot
      const record = entries[index]
      const signed = bundles?.[slot]
      if (record === undefined || signed === undefined) {
        leaves.push(undefined)
        continue
      }
      checkDigest(record, signed, index, remarks)
      leaves.push({ record, signed, body: bodies?.[slot] })
    }
  }
  return leaves
}

async function readPackFile(
  source: TrailSource,
  path: string,
  width: number,
  remarks: Remarks,
  optional = false,
): Promise<readonly Uint8Array[] | undefined> {
  const bytes = await source.read(path)
  if (bytes === undefined) {
    if (optional) remarks.finding('bodies not available', path, 'The pack of bodies is not in this trail.')
    else remarks.problem('ERR_AUDIT_MISSING', path, 'The pack is missing.')
    return undefined
  }
  const pack = remarks.attempt(path, () => readPack(bytes, width))
  if (pack === undefined) return undefined
  if (pack.slotsBeyond > 0) {
    remarks.finding('beyond the checkpoint', path, `${pack.slotsBeyond} leaves are not covered by the checkpoint yet.`)
  }
  return pack.slots
}

function checkDigest(record: Uint8Array, signed: Uint8Array, index: number, remarks: Remarks): void {
  if (record[2] === leafKinds.batchRecord) return
  const { digest } = remarks.attempt(`leaf ${index}`, () => decode(leafRecord, record)) ?? {}
  if (digest !== undefined && !equalBytes(digest, sha256(signed))) {
    remarks.problem(
      'ERR_AUDIT_DIGEST',
      `leaf ${index}`,
      'The signed bytes in the pack do not have the digest in the leaf record.',
    )
  }
}

/** Files that nobody needs for the proof: they are checked where they mean something, and named where they do not. */
async function checkOtherFiles(source: TrailSource, size: number, policy: PolicyView, remarks: Remarks): Promise<void> {
  for (const path of await source.list()) {
    if (topFiles.has(path)) continue
    let beyond: boolean
    try {
      const tile = parseTilePath(path)
      const leavesPerItem = tile.kind === 'hashes' ? tileWidth ** tile.level : 1
      beyond = tile.index * tileWidth * leavesPerItem >= size
    } catch (error) {
      if (!(error instanceof CipherlogError)) throw error
      remarks.finding('unknown file', path, 'The file does not belong to a trail and was not looked at.')
      continue
    }
    if (beyond) remarks.finding('beyond the checkpoint', path, 'The file holds leaves that no checkpoint covers yet.')
  }
  const witnessed = await source.read('checkpoint.witnessed')
  if (witnessed !== undefined) verifyNote(policy, witnessed, 'checkpoint.witnessed', remarks)
}

/** The links of the policy chain must be leaves of this tree, at the places they claim, and none may be left out. */
function checkPolicyChain(
  chainBytes: Uint8Array,
  entries: readonly (Uint8Array | undefined)[],
  leaves: readonly (TrailLeaf | undefined)[],
  remarks: Remarks,
): void {
  const chain = remarks.attempt('policy-chain', () => decode(policyChainCodec, chainBytes))
  if (chain === undefined) return
  const [, links] = chain
  const claimed = new Map(links.map((link) => [link.leafIndex, link.event]))
  for (const [leafIndex, event] of claimed) {
    const leaf = leaves[leafIndex]
    if (leaf === undefined || !equalBytes(leaf.signed, event)) {
      remarks.problem(
        'ERR_AUDIT_POLICY_CHAIN',
        `leaf ${leafIndex}`,
        'The policy chain names another event than this leaf.',
      )
    }
  }
  entries.forEach((record, index) => {
    if (record?.[2] !== leafKinds.keyEvent || claimed.has(index)) return
    const signed = leaves[index]?.signed
    if (signed === undefined) return
    const event = remarks.attempt(`leaf ${index}`, () => decode(keyEvent, decode(signedKeyEvent, signed)[0]))
    if (event?.operation.type === 'cosignerSet') {
      remarks.problem(
        'ERR_AUDIT_POLICY_CHAIN',
        `leaf ${index}`,
        'The policy chain leaves out this change of cosigners.',
      )
    }
  })
}

function report(
  trustPolicy: TrustPolicy,
  checkpoint: VerifiedCheckpoint | undefined,
  result: Awaited<ReturnType<typeof replay>> | undefined,
  remarks: Remarks,
): AuditReport {
  return {
    valid: remarks.problems.length === 0 && checkpoint !== undefined,
    origin: checkpoint?.origin,
    cluster: toHex(trustPolicy.cluster),
    treeSize: checkpoint?.size ?? 0,
    rootHash: checkpoint === undefined ? undefined : toHex(checkpoint.rootHash),
    cosignedAt: checkpoint?.cosignedAtSeconds,
    leaves: result?.leaves ?? {},
    verdicts: result?.verdicts ?? {},
    proofsChecked: result?.proofsChecked ?? 0,
    problems: remarks.problems,
    findings: remarks.findings,
  }
}

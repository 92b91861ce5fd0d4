/**
 * Which tree to audit: the checkpoint that the trust policy accepts, under the cosigner sets of the policy chain;
 * and every other note, line by line.
 *
 * A note may hold lines that no verifier looks at (C2SP signed-note): they are named, for nothing may differ
 * unnoticed.
 */
import { CipherlogError, decode, PolicyError, utf8ToString } from '@cipherlog/core'
import { policyChain as policyChainCodec, type PolicyChainLink, type Seen, type TrustPolicy } from '@cipherlog/format'
import { noteBytesMax, openCheckpoint, parseNote, parseVkey, type NoteSignature } from '@cipherlog/merkle/verify'
import {
  noteKeysOf,
  openPolicyChain,
  policyChainBytesMax,
  type PolicyView,
  type VerifiedCheckpoint,
} from '@cipherlog/registry'
import { type Remarks } from './report.ts'
import { type TrailReader } from './trail-reader.ts'
import { type KnownRoot } from './tree-check.ts'

/** What the notes of a trail establish. */
export interface TrustedTree {
  readonly policy: PolicyView
  /** The policy chain's genesis, as it must stand in leaf 0. */
  readonly signedGenesis: Uint8Array
  readonly links: readonly PolicyChainLink[]
  readonly checkpoint: VerifiedCheckpoint
  /** Roots of other sizes that the tree must have. */
  readonly known: readonly KnownRoot[]
}

/**
 * Reads and verifies policy chain and notes. Undefined, with problems, if no checkpoint counts.
 * @param earlier - checkpoints that the auditor has verified before.
 */
export async function openTrustedTree(
  reader: TrailReader,
  trustPolicy: TrustPolicy,
  earlier: readonly Seen[],
): Promise<TrustedTree | undefined> {
  const { remarks } = reader
  const chainBytes = await readTop(reader, 'policy-chain', policyChainBytesMax)
  const note = await readTop(reader, 'checkpoint', noteBytesMax)
  const policy = chainBytes && remarks.attempt('policy-chain', () => openPolicyChain(chainBytes, trustPolicy))
  if (policy === undefined) return undefined
  const [signedGenesis, links] = decode(policyChainCodec, chainBytes!, policyChainBytesMax)

  const known: KnownRoot[] = []
  links.forEach((link, i) => {
    const root = transitionRoot(policy, link, i, remarks)
    if (root !== undefined) known.push(root)
  })
  if (trustPolicy.start !== undefined && policy.generation === trustPolicy.generation)
    known.push(rootOf(trustPolicy.start, 'The start of the trust policy'))
  for (const seen of earlier) known.push(rootOf(seen, 'A checkpoint verified before'))

  // Outside witnesses come later than the quorum: which of the two notes they have signed decides what is audited.
  const quorum =
    trustPolicy.witnessesRequired === 0
      ? policy
      : openPolicyChain(chainBytes!, { ...trustPolicy, witnessesRequired: 0 })
  const checkpoint = note && verifyNote(quorum, note, 'checkpoint', remarks)
  const witnessedBytes =
    reader.bytesOf('checkpoint.witnessed') === undefined
      ? undefined
      : await readTop(reader, 'checkpoint.witnessed', noteBytesMax)
  const witnessed = witnessedBytes && verifyNote(quorum, witnessedBytes, 'checkpoint.witnessed', remarks)
  const accepted = [checkpoint, witnessed]
    .filter((one) => one !== undefined)
    .filter(({ witnesses }) => witnesses >= trustPolicy.witnessesRequired)
    .sort((a, b) => b.size - a.size)[0]
  if (accepted === undefined) {
    // Says whose signatures are missing.
    if (checkpoint !== undefined) remarks.attempt('checkpoint', () => policy.verifyCheckpoint(utf8ToString(note!)))
    return undefined
  }
  for (const [where, other] of [
    ['checkpoint', checkpoint],
    ['checkpoint.witnessed', witnessed],
  ] as const) {
    if (other === undefined) continue
    if (other !== accepted)
      known.push({ size: other.size, rootHash: other.rootHash, source: 'The checkpoint in this file', where })
    if (other.size <= accepted.size) continue
    const message = `Its ${other.size} leaves wait for the outside witnesses; audited are the ${accepted.size} that they have signed.`
    remarks.finding('not witnessed yet', where, message)
  }
  for (const { size, source, where } of known) {
    if (size <= accepted.size || where.startsWith('checkpoint') || where.startsWith('policy-chain')) continue
    const message = `${source} has ${size} leaves, this trail only ${accepted.size}: it is an older one; fetch the newest.`
    remarks.problem('ERR_AUDIT_ROLLED_BACK', where, message)
  }
  return { policy, signedGenesis, links, checkpoint: accepted, known }
}

async function readTop(reader: TrailReader, path: string, bytesMax: number): Promise<Uint8Array | undefined> {
  if (reader.bytesOf(path) === undefined) {
    reader.remarks.problem('ERR_AUDIT_MISSING', path, 'The file is missing; copy it again.')
    return undefined
  }
  return reader.whole(path, bytesMax)
}

function rootOf({ treeSize, rootHash }: Seen, source: string): KnownRoot {
  return { size: treeSize, rootHash, source, where: 'what the auditor knows' }
}

function verifyNote(
  policy: PolicyView,
  bytes: Uint8Array,
  where: string,
  remarks: Remarks,
): VerifiedCheckpoint | undefined {
  const note = remarks.attempt(where, () => utf8ToString(bytes))
  if (note === undefined) return undefined
  const checkpoint = attemptNote(note, where, remarks, () => {
    const verified = policy.verifyCheckpoint(note)
    if (verified.origin === policy.origin) return verified
    const message = `The checkpoint is of ${verified.origin}, the policy chain leads to ${policy.origin}.`
    throw new PolicyError('ERR_POLICY_GENERATION', message)
  })
  if (checkpoint !== undefined) noteUncountedLines(note, checkpoint.unknownLines, where, remarks)
  return checkpoint
}

/**
 * The root under both quorums at a change of cosigners; that they suffice, `openPolicyChain` has checked. Undefined for
 * a link that says nothing of this trail: a group start, or a change in an older generation.
 */
function transitionRoot(policy: PolicyView, link: PolicyChainLink, i: number, remarks: Remarks): KnownRoot | undefined {
  const note = link.transitionCheckpoint
  if (note === undefined) return undefined
  const where = `policy-chain link ${i}`
  const { generation } = policy.cosignerSets[i + 1]!
  const names = { origin: policy.originOf(generation), clusterName: policy.genesis.name }
  const sets = [policy.cosignerSets[i]!, policy.cosignerSets[i + 1]!].map(({ set }) => noteKeysOf(set, names))
  const opened = attemptNote(note, where, remarks, () =>
    openCheckpoint(note, {
      log: sets.flatMap(({ log }) => log),
      cosigners: [...sets.flatMap(({ cosigners }) => cosigners), ...policy.trustPolicy.witnesses.map(parseVkey)],
    }),
  )
  if (opened !== undefined) noteUncountedLines(note, opened.unknownLines, where, remarks)
  if (generation !== policy.generation) return undefined
  const { transitionSize, transitionRoot } = policy.cosignerSets[i + 1]!
  return { size: transitionSize!, rootHash: transitionRoot!, source: 'The transition checkpoint in this link', where }
}

/** As `Remarks.attempt`, naming the line of a signature that is at fault. */
function attemptNote<T>(note: string, where: string, remarks: Remarks, check: () => T): T | undefined {
  try {
    return check()
  } catch (error) {
    if (!(error instanceof CipherlogError)) throw error
    const { name, keyId } = error.details
    const line =
      error.code === 'ERR_VERIFY_NOTE_SIGNATURE'
        ? lineOf(note, (signature) => signature.name === name && signature.keyId === keyId)
        : undefined
    remarks.problem(error.code, line === undefined ? where : `${where} line ${line}`, error.message)
    return undefined
  }
}

/** Names the lines of a verified note that counted for nothing. */
function noteUncountedLines(note: string, unknown: readonly NoteSignature[], where: string, remarks: Remarks): void {
  const { signatures } = parseNote(note)
  const firstLine = firstSignatureLine(note)
  const unknownKeys = new Set(unknown.map(keyOf))
  const seen = new Set<string>()
  signatures.forEach((signature, i) => {
    const line = `${where} line ${firstLine + i}`
    if (unknownKeys.has(keyOf(signature))) {
      const message = `A line by ${signature.name}+${signature.keyId} was ignored: the trust policy does not know the key.`
      remarks.finding('unknown signature line', line, message)
    } else if (seen.has(keyOf(signature))) {
      const message = `A second line by ${signature.name}+${signature.keyId} was ignored: only the first by a key counts.`
      remarks.finding('repeated signature line', line, message)
    }
    seen.add(keyOf(signature))
  })
}

function keyOf({ name, keyId }: NoteSignature): string {
  return `${name}+${keyId}`
}

function lineOf(note: string, is: (signature: NoteSignature) => boolean): number | undefined {
  const at = parseNote(note).signatures.findIndex(is)
  return at === -1 ? undefined : firstSignatureLine(note) + at
}

/** From 1: behind the text's lines and the blank one. */
function firstSignatureLine(note: string): number {
  return parseNote(note).text.split('\n').length + 1
}

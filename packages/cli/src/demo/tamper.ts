/**
 * The tamper demonstration: a host of one node tries to change what it holds and hands out, with everything it has
 * (the files, its node's keys, its TLS key), and each attempt runs against the real auditor or the real SDK.
 *
 * Invariant: before each attack the same check passes on what is untouched, so a refusal is due to the attack.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { auditTrail, type AuditReport } from '@cipherlog/audit'
import { createWorkerVerifier, trailDirectory } from '@cipherlog/audit/node'
import { CipherlogError, plainBytes } from '@cipherlog/core'
import { type NodeKeys, type TrustPolicy } from '@cipherlog/format'
import { openPolicyChain } from '@cipherlog/registry'
import { editStoredByte } from './edit-stored-byte.ts'
import { startHostileNode } from './hostile-node.ts'
import { signOwnCheckpoint } from './own-checkpoint.ts'
import { reorderCommands, writeTrail } from './reorder-commands.ts'
import { copyTrail, readCheckpoint, readLeaves } from './trail-copy.ts'

export interface TamperDemoOptions {
  /** The published trail of the host's node; copied, never changed. It holds two command bundles at least. */
  readonly trailDirectory: string
  readonly trustPolicy: TrustPolicy
  /** `https://host:port` of the host's running node. */
  readonly endpoint: string
  /** That node's own keys: a host has them. */
  readonly nodeKeys: NodeKeys
  /** Seals and writes something with the SDK, connected to this one endpoint and remembering nothing. */
  readonly write: (endpoint: string) => Promise<unknown>
  /** Default: a temporary folder, removed at the end. */
  readonly workDirectory?: string
}

export interface AttackResult {
  readonly attack: 'edit a stored byte' | 'reorder two commands' | 'sign the forgery' | 'swap a reader key'
  /** What the host did, exactly. */
  readonly did: string
  /** False: it went unnoticed. */
  readonly refused: boolean
  readonly noticedBy: 'auditor' | 'writer'
  /** Stable error code; undefined if it went unnoticed. */
  readonly code: string | undefined
  readonly message: string
}

/**
 * Runs the attacks one after the other and yields what became of each.
 * @throws CipherlogError `ERR_DEMO_BASELINE` if something is refused that nobody has touched, `ERR_DEMO_LEAVES` if the
 * trail holds too little to tamper with; as `write`, for what has nothing to do with an attack.
 */
export async function* runTamperDemo(options: TamperDemoOptions): AsyncGenerator<AttackResult, void> {
  const own = options.workDirectory === undefined
  const work = options.workDirectory ?? (await mkdtemp(join(tmpdir(), 'cipherlog-tamper-')))
  try {
    yield* attackTrail(options, work)
    yield await swapReaderKey(options)
  } finally {
    if (own) await rm(work, { recursive: true, force: true })
  }
}

async function* attackTrail(options: TamperDemoOptions, work: string): AsyncGenerator<AttackResult, void> {
  const verifier = await createWorkerVerifier({ threads: 1 })
  const audit = (directory: string): Promise<AuditReport> =>
    auditTrail(trailDirectory(directory), { trustPolicy: options.trustPolicy, verifier })
  try {
    const edited = join(work, 'edited')
    const size = await copyTrail(options.trailDirectory, edited)
    const untouched = await audit(edited)
    if (!untouched.valid) {
      throw new CipherlogError(
        'ERR_DEMO_BASELINE',
        `The trail does not verify before anybody touches it: ${untouched.problems[0]?.message ?? 'no checkpoint'}`,
        { details: { problems: untouched.problems } },
      )
    }
    const leaves = await readLeaves(edited, size)
    const note = await readCheckpoint(edited)
    const policyChain = plainBytes(await readFile(join(edited, 'policy-chain')))

    const byte = await editStoredByte(edited, size)
    yield auditResult('edit a stored byte', `flips a bit of ${byte}`, await audit(edited))

    const reordered = reorderCommands(leaves)
    const swap = `swaps leaves ${reordered.first} and ${reordered.second} and rewrites records, packs, batch roots and tiles`
    const forged = join(work, 'reordered')
    await writeTrail(forged, reordered.leaves, { checkpoint: () => note, policyChain })
    yield auditResult('reorder two commands', swap, await audit(forged))

    // Alone in its quorum, a host signs whatever it likes; then only outside witnesses and earlier checkpoints help.
    if (quorumOf(policyChain, options.trustPolicy, size) > 1) {
      const signed = (rootHash: Uint8Array): string =>
        signOwnCheckpoint(note, rootHash, options.nodeKeys, Math.floor(Date.now() / 1000))
      await writeTrail(forged, reordered.leaves, { checkpoint: signed, policyChain })
      const did = 'signs the root of the reordered trail with the keys of its own node'
      yield auditResult('sign the forgery', did, await audit(forged))
    }
  } finally {
    await verifier.close()
  }
}

async function swapReaderKey({ endpoint, nodeKeys, write }: TamperDemoOptions): Promise<AttackResult> {
  const hostile = await startHostileNode(endpoint, nodeKeys)
  try {
    await write(hostile.url)
    hostile.lies = true
    const attack = 'swap a reader key'
    const did = 'puts its own key into the key event of a keyset and hands that out over its own TLS key'
    const noticedBy = 'writer'
    try {
      await write(hostile.url)
    } catch (error) {
      if (!(error instanceof CipherlogError) || hostile.substituted === 0) throw error
      return { attack, did, refused: true, noticedBy, code: error.code, message: error.message }
    }
    if (hostile.substituted === 0) {
      const message =
        'No keyset of the cluster has a reader key; create one: `cipherlog keys create --suite hpke-xwing`.'
      throw new CipherlogError('ERR_DEMO_LEAVES', message)
    }
    return { attack, did, refused: false, noticedBy, code: undefined, message: 'The writer sealed to the wrong key.' }
  } finally {
    await hostile.close()
  }
}

function auditResult(attack: AttackResult['attack'], did: string, report: AuditReport): AttackResult {
  const problem = report.problems[0]
  return problem === undefined
    ? { attack, did, refused: false, noticedBy: 'auditor', code: undefined, message: 'The audit found nothing.' }
    : { attack, did, refused: true, noticedBy: 'auditor', code: problem.code, message: problem.message }
}

function quorumOf(policyChain: Uint8Array, trustPolicy: TrustPolicy, size: number): number {
  return Math.min(
    ...openPolicyChain(policyChain, trustPolicy)
      .setsFor(size)
      .map(({ quorum }) => quorum),
  )
}

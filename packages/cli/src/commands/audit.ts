/** `cipherlog audit verify`: everything that a trail says, checked offline. */
import { stat } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import type { AuditProgress, AuditReport } from '@cipherlog/audit'
import { type Seen } from '@cipherlog/format'
import { CipherlogError } from '@cipherlog/core'
import { type Command } from 'commander'
import { clusterFiles } from '../cluster/layout.ts'
import { contextOf, type Io } from '../context.ts'
import { readText } from '../files.ts'
import { type Output } from '../output.ts'
import { progressBar } from '../progress-bar.ts'

interface VerifyOptions {
  readonly policy?: string
  readonly earlier: readonly string[]
  readonly older: readonly string[]
  readonly filesOnly?: boolean
}

export function addAudit(program: Command, io: Io): void {
  const audit = program.command('audit').description('check a trail: signatures, tree, rules, verdicts, sums')
  audit
    .command('verify')
    .description('verify a copied trail offline; exit code 1 if it is not valid')
    .argument('<trail>', 'folder with the files of a trail, such as a copy of nodes/1/data/trail')
    .option('--policy <file>', 'trust policy; default: that of --dir')
    .option('--earlier <file>', 'a checkpoint you kept: the trail must extend it; may be repeated', collect, [])
    .option('--older <folder>', 'trail of an older generation, oldest first; may be repeated', collect, [])
    .option('--files-only', 'check signatures, tree and digests, without computing verdicts and sums again')
    .action(async (trail: string, options: VerifyOptions, command: Command) => {
      const { output, directory } = contextOf(command, io)
      const [{ auditTrail }, { createWorkerVerifier, trailDirectory }, { readTrustPolicy }] = await Promise.all([
        import('@cipherlog/audit'),
        import('@cipherlog/audit/node'),
        import('../cluster/trust-policy.ts'),
      ])
      const trustPolicy = await readTrustPolicy(options.policy ?? join(directory, clusterFiles.trustPolicy))
      for (const folder of [trail, ...options.older]) await requireDirectory(folder)
      const earlier = await Promise.all(options.earlier.map(readCheckpoint))
      const verifier = await createWorkerVerifier({ threads: Math.min(8, availableParallelism()) })
      try {
        const report = await auditTrail(trailDirectory(trail), {
          trustPolicy,
          verifier,
          earlier,
          olderGenerations: options.older.map((folder) => trailDirectory(folder)),
          replay: options.filesOnly !== true,
          onProgress: showAuditProgress(output),
        })
        output.progress(undefined)
        output.result(report, formatReport(report))
        if (!report.valid) throw notValid(report)
      } finally {
        await verifier.close()
      }
    })
}

const collect = (text: string, before: readonly string[]): string[] => [...before, text]

/** Size and root of a C2SP checkpoint in a file. Its signatures were verified when it was kept. */
async function readCheckpoint(file: string): Promise<Seen> {
  const { parseCheckpoint, parseNote } = await import('@cipherlog/merkle/verify')
  const note = await readText(file)
  try {
    const { size, rootHash } = parseCheckpoint(parseNote(note).text)
    return { treeSize: size, rootHash }
  } catch (cause) {
    if (!(cause instanceof CipherlogError)) throw cause
    throw new CipherlogError('ERR_FILE', `${file} is not a checkpoint: ${cause.message}`, { cause })
  }
}

/** A bar for each step, since they go at different paces. */
export function showAuditProgress(output: Output): (progress: AuditProgress) => void {
  let [current, start, shownAt] = ['', 0, 0]
  return ({ step, done, total }) => {
    const now = performance.now()
    if (step !== current) [current, start, shownAt] = [step, now, 0]
    if (now - shownAt < 100) return
    shownAt = now
    output.progress(`${step.padEnd(6)} ${progressBar(done, total, now - start)}`)
  }
}

async function requireDirectory(path: string): Promise<void> {
  try {
    if ((await stat(path)).isDirectory()) return
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
  throw new CipherlogError('ERR_FILE', `${path} is no folder; name the folder that holds \`checkpoint\` and \`tile/\`.`)
}

function notValid({ problems }: AuditReport): CipherlogError {
  const [first] = problems
  const more = problems.length > 1 ? ` and ${problems.length - 1} more` : ''
  const what = first === undefined ? 'It has no checkpoint.' : `${first.where}: ${first.message}`
  return new CipherlogError('ERR_AUDIT_INVALID', `The trail is not valid (${first?.code ?? 'empty'}${more}). ${what}`, {
    details: { problems: problems.length },
  })
}

export function formatReport(report: AuditReport): string {
  const counts = (of: Readonly<Record<string, number>>): string =>
    Object.entries(of)
      .map(([name, count]) => `${name} ${count}`)
      .join(', ') || 'none'
  const cosigned = report.cosignedAt === undefined ? 'never' : new Date(report.cosignedAt * 1000).toISOString()
  return [
    `trail     ${report.origin ?? `of cluster ${report.cluster ?? 'unknown'}, without a checkpoint that counts`}`,
    `tree      ${report.treeSize} leaves, root ${report.rootHash ?? 'unknown'}`,
    `cosigned  ${cosigned}, by a quorum`,
    `leaves    ${counts(report.leaves)}`,
    `verdicts  ${counts(report.verdicts)}`,
    `replayed  ${report.leavesReplayed} leaves, ${report.proofsChecked} proofs checked`,
    ...report.findings.map(({ code, where, message }) => `finding   ${code}, ${where}: ${message}`),
    ...report.problems.map(({ code, where, message }) => `PROBLEM   ${code}, ${where}: ${message}`),
    !report.valid ? 'NOT VALID' : report.complete ? 'valid' : 'valid, as far as it could be checked: see the findings',
  ].join('\n')
}

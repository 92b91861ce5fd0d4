/** `cipherlog status`: what is proven, and what each replica says of itself. */
import type { LogStatus } from '@cipherlog/client'
import { type Command } from 'commander'
import { contextOf, type Io } from '../context.ts'
import { whateverThereIs, withGuest } from '../session.ts'
import { table } from '../table.ts'

export function addStatus(program: Command, io: Io): void {
  program
    .command('status')
    .description('show the replicas: who leads, what is committed, recorded and published')
    .action(async (_options: unknown, command: Command) => {
      const context = contextOf(command, io)
      const status = await withGuest(context, (log) => log.status(), whateverThereIs)
      context.output.result(status, formatStatus(status))
    })
}

export function formatStatus({ origin, proven, replicas }: LogStatus): string {
  const rows = replicas.map(({ endpoint, status }) =>
    status === undefined
      ? [endpoint, 'no answer']
      : [
          endpoint,
          status.role,
          ...[status.term, status.commitIndex, status.appliedIndex, status.treeSize, status.publishedSize].map(String),
          status.version,
        ],
  )
  return [
    `log       ${origin}`,
    `proven    ${proven.treeSize} leaves, cosigned by a quorum ${new Date(proven.cosignedAt).toISOString()}`,
    `registry  ${proven.registryNumber} key events`,
    '',
    table(['replica', 'role', 'term', 'commit', 'applied', 'tree', 'published', 'version'], rows),
  ].join('\n')
}

/** `cipherlog node`: the files of one node. */
import { stat } from 'node:fs/promises'
import { CipherlogError, toHex } from '@cipherlog/core'
import type { FsckReport } from '@cipherlog/storage'
import { type Command } from 'commander'
import { nodeNumbered } from '../cluster/layout.ts'
import { contextOf, type Io } from '../context.ts'
import { type Output } from '../output.ts'
import { progressBar } from '../progress-bar.ts'
import { table } from '../table.ts'

export function addNode(program: Command, io: Io): void {
  program
    .command('node')
    .description('the files of one node')
    .command('fsck')
    .description('check the disk of a node that is stopped; changes nothing; exit code 1 if it found damage')
    .argument('<node>', 'its number here, or its data folder')
    .action(async (node: string, _options: unknown, command: Command) => {
      const { output, directory } = contextOf(command, io)
      const folder = /^\d{1,2}$/.test(node) ? (await nodeNumbered(directory, Number(node))).dataDirectory : node
      await requireFolder(folder)
      const { fsck } = await import('@cipherlog/storage')
      const report = await fsck(folder, { onProgress: showProgress(output) })
      output.progress(undefined)
      output.result({ ...report, good: report.problems.length === 0 }, formatFsck(report))
      if (report.problems.length > 0) {
        const message = `The disk has ${report.problems.length} damaged places. ${advice(report)}`
        throw new CipherlogError('ERR_FSCK', message, { details: { problems: report.problems.length } })
      }
    })
}

async function requireFolder(path: string): Promise<void> {
  try {
    if ((await stat(path)).isDirectory()) return
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
  throw new CipherlogError('ERR_FILE', `${path} is no folder; name a node of this cluster, or its data folder.`)
}

function showProgress(output: Output) {
  const start = performance.now()
  return ({ store, done, of }: { readonly store: string; readonly done: number; readonly of: number }): void =>
    output.progress(`${store.padEnd(6)} ${progressBar(done, of, performance.now() - start)}`)
}

export function formatFsck({ identity, wal, state, trail, problems }: FsckReport): string {
  const groups = wal?.groups.map(
    ({ group, firstIndex, lastIndex, term, holes, doubt }) =>
      `log       group ${group}: entries ${firstIndex} to ${lastIndex}, term ${term}, ${holes.length} damaged${doubt === undefined ? '' : ', IN DOUBT'}`,
  )
  const rows = problems.map(({ store, path, offset, problem, remedy }) => [
    store,
    path,
    offset === undefined ? '' : String(offset),
    remedies[remedy],
    problem,
  ])
  return [
    `replica   ${toHex(identity.peerId)}`,
    ...(groups ?? ['log       none']),
    `state     ${state === undefined ? 'none' : `${state.pairs} records`}`,
    trail === undefined
      ? 'trail     none'
      : `trail     leaves ${trail.trailFrom} to ${trail.treeSize}, published up to ${trail.publishedSize ?? 0}`,
    '',
    problems.length === 0 ? 'No damage found.' : table(['store', 'file', 'offset', 'remedy', 'problem'], rows, 60),
  ].join('\n')
}

const remedies = { start: 'start it', peers: 'start it', replace: 'replace it' } as const

function advice({ problems }: FsckReport): string {
  return problems.some(({ remedy }) => remedy === 'replace')
    ? 'What the others cannot give back is among them: replace the node with `cipherlog cluster replace`.'
    : 'Start it: it mends itself, with the help of the others.'
}

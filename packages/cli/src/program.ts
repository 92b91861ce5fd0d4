/** The command line: which commands there are, and how whatever happens becomes an exit code. */
import { Command, CommanderError } from 'commander'
import { addAudit } from './commands/audit.ts'
import { addBackup } from './commands/backup.ts'
import { addClients } from './commands/clients.ts'
import { addCluster } from './commands/cluster.ts'
import { addDemo } from './commands/demo.ts'
import { addDown } from './commands/down.ts'
import { addInit } from './commands/init.ts'
import { addKeys } from './commands/keys.ts'
import { addNode } from './commands/node.ts'
import { addNamespaces } from './commands/namespaces.ts'
import { addReceipt } from './commands/receipt.ts'
import { addStatus } from './commands/status.ts'
import { addSums } from './commands/sums.ts'
import { addUp } from './commands/up.ts'
import { addValues } from './commands/values.ts'
import { addWatch } from './commands/watch.ts'
import { addGlobalOptions, type Io } from './context.ts'
import { exitCodeOf, exitCodes, UsageError, type ExitCode } from './exit-codes.ts'
import { printError } from './output.ts'
import { version } from './version.ts'

/** In the order of the help. */
const adders = [
  ...[addInit, addUp, addDown, addStatus, addCluster, addNode, addBackup, addNamespaces, addKeys, addClients],
  ...[addValues, addSums, addWatch, addReceipt, addAudit, addDemo],
]

/** Runs one command line, without the name of the program. */
export async function run(args: readonly string[], io: Io): Promise<ExitCode> {
  let complaint = ''
  const program = new Command('cipherlog')
    .description('A replicated log of sealed commands: servers order and check what they cannot read.')
    .version(version)
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      writeOut: (text) => io.stdout.write(text),
      writeErr: (text) => io.stderr.write(text),
      outputError: (text) => (complaint += text),
    })
    .exitOverride()
  addGlobalOptions(program)
  for (const add of adders) add(program, io)
  try {
    await program.parseAsync(args, { from: 'user' })
    return exitCodes.done
  } catch (thrown) {
    const error = thrown instanceof CommanderError ? usageErrorOf(complaint) : thrown
    if (error === undefined)
      return thrown instanceof CommanderError && thrown.exitCode === 0 ? exitCodes.done : exitCodes.usage
    printError(error, args.includes('--json'), io.stderr)
    return exitCodeOf(error)
  }
}

/** Undefined if commander has said all there is to say: help, version. */
function usageErrorOf(complaint: string): UsageError | undefined {
  if (complaint === '') return undefined
  const text = complaint
    .replace(/^error: /, '')
    .trim()
    .replaceAll(/\s*\n\s*/g, ' ')
  return new UsageError(`${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.)?]$/.test(text) ? '' : '.'} See --help.`)
}

/** `cipherlog up`: runs the nodes of a cluster, each a process of its own, until Ctrl-C or in the background. */
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { CipherlogError, toHex } from '@cipherlog/core'
import { type Command } from 'commander'
import { integer } from '../arguments.ts'
import { clusterFiles, listNodes, type NodeFiles } from '../cluster/layout.ts'
import { lastWords, type NodeProcess } from '../cluster/node-process.ts'
import { runningPid } from '../cluster/pid-file.ts'
import { readProfile, type Profile } from '../cluster/profile.ts'
import { startNodes, stopNodes } from '../cluster/run-nodes.ts'
import { contextOf, type Context, type Io } from '../context.ts'
import { withGuest, withLog } from '../session.ts'
import { table } from '../table.ts'
import { countOf, initCluster, initDefaults, shown } from './init.ts'

interface UpOptions {
  readonly nodes?: number
  readonly basePort: number
  readonly detach?: boolean
}

export function addUp(program: Command, io: Io): void {
  program
    .command('up')
    .description('run the nodes of the cluster that do not run; makes a cluster first if there is none')
    .option('-n, --nodes <n>', 'replicas of a cluster that is made now', integer(1, 7))
    .option(
      '--base-port <port>',
      'ports of a cluster that is made now, as for init',
      integer(0, 65_000),
      initDefaults.basePort,
    )
    .option('--detach', 'leave the nodes running; `cipherlog down` stops them')
    .action(async (options: UpOptions, command: Command) => {
      const context = contextOf(command, io)
      const profile = await openOrInit(context, options)
      const nodes = await stoppedNodes(await nodesOf(context, options))
      const stopSignal = io.stopSignal()
      context.output.progress(`Starting ${countOf(nodes.length)} …`)
      const running = await startNodes(nodes, { detached: options.detach === true })
      try {
        context.output.progress('Waiting for a quorum …')
        await registerIfNew(context)
        showNodes(context, profile, running)
      } catch (error) {
        await stopNodes(running)
        throw error
      }
      if (options.detach === true) {
        context.output.note('They go on running; stop them with `cipherlog down`.')
        return
      }
      context.output.note('Ctrl-C stops them all.')
      await watchNodes(context, nodes, running, stopSignal)
    })
}

async function openOrInit(context: Context, { nodes, basePort }: UpOptions): Promise<Profile> {
  if (await exists(join(context.directory, clusterFiles.profile))) return readProfile(context.directory)
  context.output.note(`There is no cluster in ${shown(context.directory)}; making one.`)
  return initCluster(context, { ...initDefaults, basePort, ...(nodes === undefined ? {} : { nodes }) })
}

async function nodesOf({ directory }: Context, { nodes: wanted }: UpOptions): Promise<NodeFiles[]> {
  const nodes = await listNodes(directory)
  if (nodes.length === 0) {
    throw new CipherlogError('ERR_DIRECTORY', `${directory} has no nodes; run \`cipherlog up\` where they are.`)
  }
  if (wanted !== undefined && wanted !== nodes.length) {
    const message = `The cluster in ${shown(directory)} has ${nodes.length} nodes, not ${wanted}; leave out -n, or name another folder with --dir.`
    throw new CipherlogError('ERR_DIRECTORY', message)
  }
  return nodes
}

/** Those that are to be started: all of them, or the ones that have died. @throws CipherlogError `ERR_ALREADY_RUNNING` */
async function stoppedNodes(nodes: readonly NodeFiles[]): Promise<NodeFiles[]> {
  const pids = await Promise.all(nodes.map(runningPid))
  const stopped = nodes.filter((_node, i) => pids[i] === undefined)
  if (stopped.length === 0) {
    const message = 'All nodes run already; look at `cipherlog status`, or stop them with `cipherlog down`.'
    throw new CipherlogError('ERR_ALREADY_RUNNING', message, { details: { pids } })
  }
  return stopped
}

/** Without a passphrase the nodes run all the same: then the client is registered by the first `up` that has one. */
async function registerIfNew(context: Context): Promise<void> {
  const { client } = await readProfile(context.directory)
  const known = await withGuest(context, ({ view }) =>
    Promise.resolve(view.current.registry.client(client) !== undefined),
  )
  if (known) return
  try {
    await context.passphrase()
  } catch (error) {
    if (!(error instanceof CipherlogError) || error.code !== 'ERR_PASSPHRASE') throw error
    context.output.note(`Your client is not on the log yet, since the keyring stays closed. ${error.message}`)
    return
  }
  const { registerOwnClient } = await import('../cluster/register.ts')
  await withLog(context, registerOwnClient)
  context.output.note(`Registered your client ${toHex(client)} for all operations.`)
}

function showNodes({ output }: Context, { name }: Profile, running: readonly NodeProcess[]): void {
  const rows = running.map(({ number, apiUrl, pid }) => [String(number), apiUrl, String(pid)])
  const nodes = running.map(({ number, apiUrl, pid }) => ({ node: number, api: apiUrl, pid }))
  output.progress(undefined)
  output.result({ name, nodes }, `${name} is up.\n\n${table(['node', 'api', 'process'], rows)}`)
}

/** Returns when all have stopped: because somebody asked, or because none is left. */
async function watchNodes(
  { output }: Context,
  nodes: readonly NodeFiles[],
  running: readonly NodeProcess[],
  stopSignal: AbortSignal,
): Promise<void> {
  const ends = running.map(async (process, i) => {
    const how = await process.exited
    if (stopSignal.aborted) return
    const words = (await lastWords(nodes[i]!, 1)).at(-1) ?? 'nothing'
    output.result(
      { event: 'down', node: process.number, exit: how, lastWords: words },
      `Node ${process.number} has ended (${how}). Its last words: ${words}\nIts log is ${shown(nodes[i]!.logFile)}; the others go on.`,
    )
  })
  const stopping = new Promise<void>((resolve) => {
    if (stopSignal.aborted) resolve()
    else stopSignal.addEventListener('abort', () => resolve(), { once: true })
  })
  await Promise.race([stopping, Promise.all(ends)])
  if (!stopSignal.aborted) {
    throw new CipherlogError('ERR_NODE_STOPPED', 'Every node has ended; their logs say why.')
  }
  output.note('Stopping …')
  await stopNodes(running)
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw error
  }
}

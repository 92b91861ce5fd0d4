/** A cluster of real `cipherlog-node` processes, with an operator who is the writer and reader too. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  connectAs,
  createCluster,
  listNodes,
  readProfile,
  registerOwnClient,
  startNodeProcess,
  startNodes,
  type NodeFiles,
  type NodeProcess,
  type Profile,
} from '@cipherlog/cli/cluster'
import { type Cipherlog } from '@cipherlog/client'
import { Operator } from '@cipherlog/client/operator'
import { suites } from '@cipherlog/format'

export const passphrase = 'a passphrase of the tests'

export interface ProcessCluster {
  readonly directory: string
  readonly profile: Profile
  readonly nodes: readonly NodeFiles[]
  readonly log: Cipherlog
  readonly operator: Operator
  /** Ends a node at once. */
  kill(node: number): Promise<void>
  start(node: number): Promise<void>
  /** Stops a node as its operator would. */
  stop(node: number): Promise<void>
  /** `SIGSTOP` and `SIGCONT`. */
  signal(node: number, signal: NodeJS.Signals): void
  /** How a running node ends by itself. */
  exited(node: number): Promise<number | NodeJS.Signals>
  stopNodes(): Promise<void>
  close(): Promise<void>
}

export interface ProcessOptions {
  /** Default 3. */
  readonly nodes?: number
  /** Where each node writes down which modules it loads and what its connections carry. */
  readonly spyFolder?: string
  /** Called before the first start; may change files of nodes, and `cipherlog.toml`. */
  readonly prepare?: (nodes: readonly NodeFiles[]) => Promise<void>
  /** A program that becomes a node, with its arguments. */
  readonly startWith?: (node: NodeFiles) => readonly string[]
}

export async function startProcesses(options: ProcessOptions = {}): Promise<ProcessCluster> {
  const parent = await mkdtemp(join(tmpdir(), 'cipherlog-processes-'))
  const directory = join(parent, 'cluster')
  await createCluster(directory, { name: 'test.example', nodes: options.nodes ?? 3, passphrase })
  const nodes = await listNodes(directory)
  const { prepare, startWith } = options
  const how = startWith === undefined ? {} : { startWith }
  let profile: Profile
  try {
    await prepare?.(nodes)
    profile = await readProfile(directory)
  } catch (error) {
    await rm(parent, { recursive: true, force: true })
    throw error
  }
  const running = new Map<number, NodeProcess>()
  // Only for the moment in which nodes start: this process and its workers are not to be watched.
  const watched = async <T>(start: () => Promise<T>): Promise<T> => {
    if (options.spyFolder === undefined) return start()
    process.env['SPY_FOLDER'] = options.spyFolder
    process.env['NODE_OPTIONS'] = `--import=${import.meta.resolve('@cipherlog/testkit/spy')}`
    try {
      return await start()
    } finally {
      delete process.env['SPY_FOLDER']
      delete process.env['NODE_OPTIONS']
    }
  }
  for (const node of await watched(() => startNodes(nodes, how))) running.set(node.number, node)
  const stopNodes = async (): Promise<void> => {
    await Promise.all([...running.values()].map((node) => node.stop()))
    running.clear()
  }
  let log: Cipherlog
  try {
    log = await connectAs(profile, passphrase)
    await registerOwnClient(log)
  } catch (error) {
    await stopNodes()
    await rm(parent, { recursive: true, force: true })
    throw error
  }
  return {
    directory,
    profile,
    nodes,
    log,
    operator: new Operator(log),
    async kill(number) {
      await running.get(number)!.kill()
      running.delete(number)
    },
    async start(number) {
      running.set(number, await watched(() => startNodeProcess(nodes[number - 1]!, how)))
    },
    async stop(number) {
      await running.get(number)!.stop()
      running.delete(number)
    },
    signal(number, signal) {
      process.kill(running.get(number)!.pid, signal)
    },
    async exited(number) {
      const how = await running.get(number)!.exited
      running.delete(number)
      return how
    },
    stopNodes,
    async close() {
      await log.close()
      await stopNodes()
      await rm(parent, { recursive: true, force: true })
    },
  }
}

/** A namespace of the machine `kv` under a fresh keyset. */
export async function createKv(cluster: ProcessCluster, name: string): Promise<void> {
  const { keyset } = await cluster.operator.createKeyset({ suite: suites.hpkeXwing, readers: [cluster.log.keyring] })
  await cluster.operator.createNamespace({ name, machine: 'kv', suite: suites.hpkeXwing, keyset })
}

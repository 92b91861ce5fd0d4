/** `cipherlog init`: makes the keys and the genesis of a new cluster. */
import { relative } from 'node:path'
import { modes } from '@cipherlog/format'
import { type Command } from 'commander'
import { integer, oneOf } from '../arguments.ts'
import { type Profile } from '../cluster/profile.ts'
import { contextOf, type Context, type Io } from '../context.ts'
import { UsageError } from '../exit-codes.ts'

export interface InitOptions {
  readonly name: string
  readonly nodes: number
  /** 0: any free ports. */
  readonly basePort: number
  readonly mode: string
}

const modeNames = Object.keys(modes) as (keyof typeof modes)[]

export const initDefaults: InitOptions = { name: 'example.test/dev', nodes: 3, basePort: 7101, mode: 'development' }

export function addInit(program: Command, io: Io): void {
  program
    .command('init')
    .description('make a new cluster: keys of nodes, operator, client and reader, genesis, trust policy')
    .option('--name <name>', 'public name of the log, for ever', initDefaults.name)
    .option('--nodes <n>', 'replicas, 1 to 7', integer(1, 7), initDefaults.nodes)
    .option(
      '--base-port <port>',
      'first API port; peers listen 100 above; 0 for any free ports',
      integer(0, 65_000),
      initDefaults.basePort,
    )
    .option('--mode <mode>', modeNames.join(' or '), initDefaults.mode)
    .action(async (options: InitOptions, command: Command) => {
      const context = contextOf(command, io)
      const profile = await initCluster(context, options)
      const folder = shown(context.directory)
      context.output.result(
        { directory: context.directory, name: profile.name, endpoints: profile.endpoints, client: profile.client },
        [`Made a cluster of ${countOf(options.nodes)} in ${folder}.`, '', 'Next:', ...nextSteps(context)].join('\n'),
      )
    })
}

/** Makes the cluster and says what a person should know about it. */
export async function initCluster(context: Context, options: InitOptions): Promise<Profile> {
  const mode = oneOf(options.mode, modeNames, 'mode')
  const { isClusterName } = await import('@cipherlog/merkle/verify')
  if (!isClusterName(options.name)) {
    throw new UsageError(
      `${JSON.stringify(options.name)} is not a name such as example.com/ledger: lower case, digits, dots, dashes, slashes.`,
    )
  }
  const { name, nodes, basePort } = options
  const passphrase = await context.passphrase(true)
  const { createCluster } = await import('../cluster/create-cluster.ts')
  const profile = await createCluster(context.directory, {
    name,
    nodes,
    passphrase,
    mode,
    ...(basePort === 0 ? {} : { basePort }),
  })
  const { output } = context
  if (mode === 'development') {
    output.note('Development proving keys: whoever made them can forge the proofs of counters. Never for production.')
  } else {
    output.note('Counters need proving keys of a ceremony; this release brings none, so this cluster has no counters.')
  }
  output.note(
    'No outside witness: whoever runs all nodes could show another history to somebody who has seen none before.',
  )
  output.note(
    'Keep receipts and copies of checkpoints where that party cannot reach them; `audit verify --earlier` compares.',
  )
  return profile
}

function nextSteps(context: Context): string[] {
  const dir = shown(context.directory) === '.cipherlog' ? '' : ` --dir ${shown(context.directory)}`
  return [
    `  cipherlog up${dir}`,
    `  cipherlog namespaces create orders --machine kv${dir}`,
    `  cipherlog put orders order-42 '{"total":1999}'${dir}`,
  ]
}

export const countOf = (nodes: number): string => (nodes === 1 ? 'one node' : `${nodes} nodes`)

/** As a person would type it. */
export function shown(path: string): string {
  const short = relative(process.cwd(), path)
  return short !== '' && !short.startsWith('..') ? short : path
}

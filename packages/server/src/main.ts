/** The `cipherlog-node` command: runs one replica, or makes the keys of one. Exit codes: docs/ERRORS.md. */
import { CipherlogError, toHex } from '@cipherlog/core'
import { openGenesis } from '@cipherlog/registry'
import { Command } from 'commander'
import { addConfigFlags, loadConfig } from './host/config.ts'
import { describeMember, generateNodeKeys, readNodeKeys, writeNodeKeys } from './host/keys.ts'
import { createLogger } from './host/logging.ts'
import { nodeVersion, readGenesis, startNode } from './host/node.ts'

/** sysexits: a broken invariant or disk stops the node with 70, a wrong configuration with 78. */
const exitCodes = { software: 70, config: 78 } as const

const program = new Command('cipherlog-node').version(nodeVersion).description('One replica of a Cipherlog cluster.')

const run = program.command('run', { isDefault: true }).description('run a replica until it is told to stop')
run.option('--config <file>', 'configuration (TOML); every key can also be set by a flag or a CIPHERLOG_* variable')
const flags = addConfigFlags(run)
run.action(async () => {
  const { config: file } = run.opts<{ config?: string }>()
  const { config, warnings } = await loadConfig({ file, env: process.env, flags: flags() })
  const logger = createLogger(config.log)
  for (const warning of warnings) logger.warn({}, warning)
  const node = await startNode(config, {
    logger,
    processMetrics: true,
    onFatal: (error) => {
      // Nothing is flushed on purpose: the WAL is the truth, and what is in memory may be wrong.
      console.error(error instanceof Error ? `${errorLine(error)}` : String(error))
      process.exit(exitCodes.software)
    },
  })
  // A supervisor reads this line to learn the ports.
  console.log(JSON.stringify({ event: 'up', api: node.apiUrl, peerId: node.peerId }))
  let stopping = false
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      if (stopping) return
      stopping = true
      void node.stop().then(() => process.exit(0))
    })
  }
})

program
  .command('keygen')
  .description('make the keys of a replica; genesis or a cosigner set lists their public halves')
  .requiredOption('--out <file>', 'where to write them; must not exist')
  .option('--replaces <file>', 'keys of the same node before it lost its disk: the new ones are its next incarnation')
  .action(async ({ out, replaces }: { out: string; replaces?: string }) => {
    const keys = generateNodeKeys(
      undefined,
      replaces === undefined ? {} : { replaces: (await readNodeKeys(replaces)).peerId },
    )
    await writeNodeKeys(out, keys)
    console.log(JSON.stringify({ peerId: toHex(keys.peerId), file: out }))
  })

program
  .command('member')
  .description('print what an operator needs to add a replica to a running cluster; nothing of it is secret')
  .requiredOption('--keys <file>', 'keys of the replica')
  .requiredOption('--genesis <file>', 'signed genesis of the cluster')
  .action(async ({ keys, genesis }: { keys: string; genesis: string }) => {
    const { cluster } = openGenesis(await readGenesis(genesis))
    console.log(JSON.stringify(describeMember(await readNodeKeys(keys), cluster)))
  })

try {
  await program.parseAsync()
} catch (error) {
  if (!(error instanceof CipherlogError)) throw error
  console.error(errorLine(error))
  process.exit(error.code === 'ERR_CONFIG' ? exitCodes.config : exitCodes.software)
}

function errorLine(error: Error): string {
  return error instanceof CipherlogError ? `${error.code}: ${error.message}` : `${error.name}: ${error.message}`
}

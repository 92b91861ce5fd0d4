/** `cipherlog backup` and `cipherlog restore`: a copy without keys, and a cluster that goes on from it. */
import { resolve } from 'node:path'
import { CipherlogError } from '@cipherlog/core'
import { type Command } from 'commander'
import { integer } from '../arguments.ts'
import { nodeNumbered } from '../cluster/layout.ts'
import { runningPid, stopRunning } from '../cluster/pid-file.ts'
import { readProfile } from '../cluster/profile.ts'
import { contextOf, type Io } from '../context.ts'
import { showAuditProgress } from './audit.ts'
import { shown } from './init.ts'

export function addBackup(program: Command, io: Io): void {
  program
    .command('backup')
    .description('copy what a restore needs from one node, which rests meanwhile; no key is in it')
    .argument('<folder>', 'new folder')
    .requiredOption('--node <n>', 'number of the node; take one that does not lead', integer(1, 99))
    .action(async (folder: string, { node: number }: { node: number }, command: Command) => {
      const context = contextOf(command, io)
      const node = await nodeNumbered(context.directory, number)
      const { backUp, readNodeKeys } = await import('@cipherlog/server')
      const { readTrustPolicy } = await import('../cluster/trust-policy.ts')
      const { startNodes } = await import('../cluster/run-nodes.ts')
      const { trustPolicyFile } = await readProfile(context.directory)
      const { cluster } = await readTrustPolicy(trustPolicyFile)
      const { peerId } = await readNodeKeys(node.keysFile)
      const ran = await stopRunning(node)
      try {
        context.output.progress('Copying …')
        const contents = await backUp({ dataDir: node.dataDirectory, cluster, peerId, to: resolve(folder) })
        context.output.result(
          { folder: resolve(folder), ...contents },
          `Backed up ${contents.treeSize} leaves and the wraps of ${contents.envelopes} envelopes to ${shown(resolve(folder))}.`,
        )
      } finally {
        if (ran) await startNodes([node], { detached: true })
      }
    })

  program
    .command('restore')
    .description('go on from a backup, as the next generation, with nodes made anew; what came after it is lost')
    .argument('<backup>', 'folder that `cipherlog backup` made')
    .option('-n, --nodes <n>', 'replicas of the new generation', integer(1, 7), 3)
    .action(async (backup: string, { nodes }: { nodes: number }, command: Command) => {
      const context = contextOf(command, io)
      const profile = await readProfile(context.directory)
      await requireStopped(context.directory)
      const { restoreCluster } = await import('../cluster/restore-cluster.ts')
      const passphrase = await context.passphrase()
      const onProgress = showAuditProgress(context.output)
      const restored = await restoreCluster(profile, { backup: resolve(backup), nodes, passphrase, onProgress })
      context.output.progress(undefined)
      const aside = restored.setAside === undefined ? '' : ` The nodes from before are in ${shown(restored.setAside)}.`
      context.output.result(
        restored,
        `Generation ${restored.generation} goes on after ${restored.treeSize} leaves; start it with \`cipherlog up\`.${aside}`,
      )
    })
}

/** A node that still runs could go on with what the restore takes back. */
async function requireStopped(directory: string): Promise<void> {
  const { listNodes } = await import('../cluster/layout.ts')
  for (const node of await listNodes(directory)) {
    const pid = await runningPid(node)
    if (pid === undefined) continue
    const message = `Node ${node.number} runs (process ${pid}); stop all nodes with \`cipherlog down\` before a restore.`
    throw new CipherlogError('ERR_ALREADY_RUNNING', message, { details: { node: node.number, pid } })
  }
}

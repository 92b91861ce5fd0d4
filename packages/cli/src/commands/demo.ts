/** `cipherlog demo tamper`: a host tries to change what it holds, and is refused each time. */
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { CipherlogError } from '@cipherlog/core'
import { type Command } from 'commander'
import { clusterFiles } from '../cluster/layout.ts'
import { withLock } from '../cluster/lock.ts'
import { readProfile } from '../cluster/profile.ts'
import { contextOf, type Context, type Io } from '../context.ts'
import type { AttackResult, StageOptions } from '../demo/index.ts'
import { lockFile } from '../session.ts'
import { table } from '../table.ts'

export function addDemo(program: Command, io: Io): void {
  const demo = program.command('demo').description('see for yourself')
  demo
    .command('tamper')
    .description('attack a copy of the trail and a writer as the host of a node could; each attempt must be refused')
    .action(async (_options: unknown, command: Command) => {
      const context = contextOf(command, io)
      const { runTamperDemo, withStage } = await import('../demo/index.ts')
      const results = await onStage(context, async (stage) => {
        const onStep = (text: string): void => context.output.progress(`${text} …`)
        return withStage({ ...stage, onStep }, async (options) => {
          const results: AttackResult[] = []
          for await (const result of runTamperDemo(options)) {
            results.push(result)
            context.output.note(`The host ${result.did}.`)
          }
          return results
        })
      })
      context.output.result(
        { refused: results.every(({ refused }) => refused), attacks: results },
        formatResults(results),
      )
      if (!results.some(({ attack }) => attack === 'sign the forgery')) {
        context.output.note(
          'This host is a quorum by itself: a history that it rewrites and signs again is noticed only by who kept an earlier checkpoint or trusts an outside witness.',
        )
      }
      const unnoticed = results.filter(({ refused }) => !refused)
      if (unnoticed.length > 0) {
        const message = `Unnoticed: ${unnoticed.map(({ attack }) => attack).join(', ')}. Please report this.`
        throw new CipherlogError('ERR_DEMO_UNNOTICED', message)
      }
    })
}

async function onStage<T>(context: Context, use: (stage: StageOptions) => Promise<T>): Promise<T> {
  if (await hasCluster(context.directory)) {
    const stage = { profile: await readProfile(context.directory), passphrase: await context.passphrase() }
    return withLock(lockFile(context), () => use(stage))
  }
  context.output.note('There is no cluster here; a temporary one is made for the demonstration.')
  const { withTemporaryCluster } = await import('../demo/index.ts')
  return withTemporaryCluster(use)
}

async function hasCluster(directory: string): Promise<boolean> {
  try {
    await stat(join(directory, clusterFiles.profile))
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw error
  }
}

export function formatResults(results: readonly AttackResult[]): string {
  const rows = results.map(({ attack, refused, noticedBy, code, message }) => [
    attack,
    refused ? noticedBy : 'NOBODY',
    code ?? '',
    message,
  ])
  return table(['attack', 'noticed by', 'code', 'sentence'], rows, 60)
}

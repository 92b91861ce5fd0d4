/** `cipherlog receipt verify`: that a leaf stands in the log, offline and for ever. */
import { join } from 'node:path'
import { verdictName } from '@cipherlog/format'
import { type Command } from 'commander'
import { integer } from '../arguments.ts'
import { clusterFiles } from '../cluster/layout.ts'
import { contextOf, type Io } from '../context.ts'
import { UsageError } from '../exit-codes.ts'
import { readBytes } from '../files.ts'

interface VerifyOptions {
  readonly policy?: string
  readonly bundle?: string
  readonly command?: number
}

export function addReceipt(program: Command, io: Io): void {
  const receipt = program.command('receipt').description('check what the log has confirmed')
  receipt
    .command('verify')
    .description('verify a receipt offline')
    .argument('<file>', 'receipt, as `put --receipt` writes it')
    .option('--policy <file>', 'trust policy; default: that of --dir')
    .option('--bundle <file>', 'the signed bundle that the receipt is about')
    .option('--command <n>', 'which command of the bundle, from 0', integer(0, 255))
    .action(async (file: string, options: VerifyOptions, command: Command) => {
      const { output, directory } = contextOf(command, io)
      if (options.command !== undefined && options.bundle === undefined) {
        throw new UsageError('--command counts the commands of a bundle; name it with --bundle.')
      }
      const [{ verifyReceipt }, { readTrustPolicy }] = await Promise.all([
        import('@cipherlog/registry'),
        import('../cluster/trust-policy.ts'),
      ])
      const verified = verifyReceipt({
        receipt: await readBytes(file),
        trustPolicy: await readTrustPolicy(options.policy ?? join(directory, clusterFiles.trustPolicy)),
        ...(options.bundle === undefined ? {} : { bundle: await readBytes(options.bundle) }),
        ...(options.command === undefined ? {} : { command: options.command }),
      })
      const { position, leafRecord, checkpoint, verdict, head } = verified
      const logTime = new Date(leafRecord.logTime).toISOString()
      const verdicts = (leafRecord.verdicts ?? []).map(verdictName)
      const value = {
        position,
        logTime,
        verdicts,
        ...(verdict === undefined ? {} : { verdict: verdictName(verdict) }),
        ...(head === undefined ? {} : { namespace: head.namespace, operation: head.op }),
        checkpoint: { origin: checkpoint.origin, size: checkpoint.size, rootHash: checkpoint.rootHash },
      }
      const text = [
        `position  ${position}`,
        `log time  ${logTime}`,
        `verdicts  ${verdicts.join(', ') || 'none'}`,
        ...(head === undefined ? [] : [`command   ${head.op} in ${head.namespace}: ${verdictName(verdict!)}`]),
        `tree      ${checkpoint.size} leaves, cosigned ${new Date(checkpoint.cosignedAtSeconds * 1000).toISOString()}`,
        'valid',
      ]
      output.result(value, text.join('\n'))
    })
}

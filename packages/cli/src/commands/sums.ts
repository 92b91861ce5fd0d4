/** `cipherlog add | read`: sums that only readers can open. */
import type { Cipherlog } from '@cipherlog/client'
import { CipherlogError } from '@cipherlog/core'
import { type Command } from 'commander'
import { amount, numbers } from '../arguments.ts'
import { contextOf, type Io } from '../context.ts'
import { UsageError } from '../exit-codes.ts'
import { type Output } from '../output.ts'
import { progressBar } from '../progress-bar.ts'
import { withLog } from '../session.ts'
import { keepReceipt, requireReceiptFiles, type WriteOptions } from './write-receipt.ts'

interface CellOptions extends WriteOptions {
  readonly cell?: string
}

export function addSums(program: Command, io: Io): void {
  program
    .command('add')
    .description('add an encrypted amount (counter, with a proof of its range) or vector')
    .argument('<namespace>')
    .argument('<amount>', 'a whole number such as 1999, or a vector such as [1,2,3]')
    .option('--cell <name>', 'which sum of the namespace; servers do not see the name')
    .option('--receipt <file>', 'wait for the receipt and write it, with the bundle beside it')
    .action(async (namespace: string, text: string, options: CellOptions, command: Command) => {
      const { output } = contextOf(command, io)
      const vector = text.trim().startsWith('[') ? numbers(text) : undefined
      const value = vector === undefined ? amount(text) : 0n
      const cell = options.cell === undefined ? {} : { cell: options.cell }
      await requireReceiptFiles(options)
      await withLog(contextOf(command, io), async (log) => {
        const done =
          vector === undefined
            ? await log.counter(namespace).add(value, { ...cell, onProgress: showProving(output) })
            : await log.vector(namespace).add(vector, cell)
        await keepReceipt(done, options, output)
      })
    })

  program
    .command('read')
    .description('read and open a sum, proven against a checkpoint')
    .argument('<namespace>')
    .option('--cell <name>', 'which sum of the namespace')
    .action(async (namespace: string, { cell }: CellOptions, command: Command) => {
      const context = contextOf(command, io)
      const reading = await withLog(context, (log) =>
        readSum(log, namespace, cell === undefined ? {} : { cell }, context.output),
      )
      if (reading === undefined) {
        const what = cell === undefined ? namespace : `${cell} of ${namespace}`
        throw new CipherlogError('ERR_NOT_FOUND', `Nothing was added to ${what} yet.`)
      }
      const { sum, count, position, treeSize } = reading
      context.output.result(reading, Array.isArray(sum) ? `[${sum.join(', ')}]` : String(sum))
      context.output.note(
        `The sum of ${count} contributions as of ${position}, proven by a checkpoint of ${treeSize} leaves.`,
      )
    })
}

async function readSum(log: Cipherlog, namespace: string, options: { readonly cell?: string }, output: Output) {
  const definition = log.view.current.registry.namespace(namespace)
  if (definition?.machine === 'vector') {
    const reading = await log.vector(namespace).read(options)
    if (reading === undefined) return undefined
    const { values, ...rest } = reading
    return { sum: values, ...rest }
  }
  if (definition?.machine === 'kv' || definition?.machine === 'log') {
    const how = definition.machine === 'kv' ? 'read a value with `cipherlog get`' : 'read it with `cipherlog watch`'
    throw new UsageError(`${namespace} is a ${definition.machine} and holds no sum; ${how}.`)
  }
  const onProgress = (share: number): void =>
    output.progress(`Searching ${progressBar(Math.round(share * 100), 100, 0)} %`)
  const reading = await log.counter(namespace).read({ ...options, onProgress })
  if (reading === undefined) return undefined
  const { value, ...rest } = reading
  return { sum: value, ...rest }
}

const stages = {
  queued: 'Proving: waiting',
  witness: 'Proving: witness',
  proving: 'Proving',
  checked: 'Sending',
} as const

function showProving(output: Output): (stage: keyof typeof stages) => void {
  return (stage) => output.progress(`${stages[stage]} …`)
}

/** `cipherlog put | get | delete | append`: sealed values by name, and sealed records in order. */
import type { Cipherlog, Done, Read, Value } from '@cipherlog/client'
import { CipherlogError, plainBytes, toHex } from '@cipherlog/core'
import { type Command } from 'commander'
import { textOrJson } from '../arguments.ts'
import { contextOf, type Context, type Io } from '../context.ts'
import { UsageError } from '../exit-codes.ts'
import { readBytes } from '../files.ts'
import { toJson } from '../output.ts'
import { withLog } from '../session.ts'
import { keepReceipt, requireReceiptFiles, type WriteOptions } from './write-receipt.ts'

interface ValueOptions extends WriteOptions {
  readonly text?: boolean
}

const valueHelp = 'JSON or text; @file reads a file, - reads standard input'

export function addValues(program: Command, io: Io): void {
  withWriteOptions(program.command('put').description('seal a value under a name (kv)'))
    .argument('<namespace>')
    .argument('<name>')
    .argument('<value>', valueHelp)
    .action(async (namespace: string, name: string, value: string, options: ValueOptions, command: Command) => {
      const context = contextOf(command, io)
      const content = await readValue(value, options, context)
      await write(context, options, (log) => log.kv(namespace).put(name, content))
    })

  withWriteOptions(program.command('append').description('seal a record at the end (log)'))
    .argument('<namespace>')
    .argument('<value>', valueHelp)
    .action(async (namespace: string, value: string, options: ValueOptions, command: Command) => {
      const context = contextOf(command, io)
      const content = await readValue(value, options, context)
      await write(context, options, (log) => log.log(namespace).append(content))
    })

  program
    .command('delete')
    .description('delete a name (kv); its history stays in the log')
    .argument('<namespace>')
    .argument('<name>')
    .option('--receipt <file>', 'wait for the receipt and write it, with the bundle beside it')
    .action(async (namespace: string, name: string, options: WriteOptions, command: Command) => {
      await write(contextOf(command, io), options, (log) => log.kv(namespace).delete(name))
    })

  program
    .command('get')
    .description('read and open the newest value of a name (kv); exit code 1 if there is none')
    .argument('<namespace>')
    .argument('<name>')
    .action(async (namespace: string, name: string, _options: unknown, command: Command) => {
      const context = contextOf(command, io)
      const read = await withLog(context, (log) => log.kv(namespace).get(name))
      if (read === undefined) {
        throw new CipherlogError('ERR_NOT_FOUND', `Nothing is stored under ${name} in ${namespace}.`)
      }
      context.output.result(read, formatValue(read.value))
      context.output.note(provenance(read))
    })
}

function withWriteOptions(command: Command): Command {
  return command
    .option('--text', 'take the value as text even if it looks like JSON')
    .option('--receipt <file>', 'wait for the receipt and write it, with the bundle beside it')
}

async function write(context: Context, options: WriteOptions, send: (log: Cipherlog) => Promise<Done>): Promise<void> {
  await requireReceiptFiles(options)
  await withLog(context, async (log) => keepReceipt(await send(log), options, context.output))
}

/** A file or standard input that is not text is sealed as the bytes it is. */
async function readValue(argument: string, { text }: ValueOptions, { stdin }: Io): Promise<Value> {
  if (argument !== '-' && !argument.startsWith('@')) return (text ? argument : textOrJson(argument)) as Value
  if (argument === '@') throw new UsageError('@ is followed by the name of a file.')
  const bytes = argument === '-' ? await readAll(stdin) : await readBytes(argument.slice(1))
  let content: string
  try {
    content = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (error) {
    if (!(error instanceof TypeError)) throw error
    if (text) throw new UsageError(`${argument} is not text in UTF-8; leave out --text to seal its bytes.`)
    return bytes
  }
  return (text ? content : textOrJson(content)) as Value
}

async function readAll(stream: NodeJS.ReadableStream): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  for await (const chunk of stream) chunks.push(typeof chunk === 'string' ? new TextEncoder().encode(chunk) : chunk)
  return plainBytes(Buffer.concat(chunks))
}

/** Text as it is, bytes as hex, everything else as JSON. */
export function formatValue(value: Value): string {
  if (typeof value === 'string') return value
  return value instanceof Uint8Array ? toHex(value) : toJson(value)
}

function provenance({ position, client, treeSize }: Read): string {
  return `Written at ${position} by ${toHex(client)}, proven by a checkpoint of ${treeSize} leaves.`
}

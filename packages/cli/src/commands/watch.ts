/** `cipherlog watch`: follows the log and opens what the keyring can open. */
import type { WatchEntry } from '@cipherlog/client'
import { toHex } from '@cipherlog/core'
import { type Command } from 'commander'
import { integer } from '../arguments.ts'
import { contextOf, type Io } from '../context.ts'
import { withReadOnlyLog } from '../session.ts'
import { formatValue } from './values.ts'

interface WatchOptions {
  readonly from: number
  readonly namespace?: string
}

export function addWatch(program: Command, io: Io): void {
  program
    .command('watch')
    .description('follow the log, command by command, until Ctrl-C')
    .option('--from <leaf>', 'first leaf', integer(0, Number.MAX_SAFE_INTEGER), 0)
    .option('--namespace <name>', 'only this namespace')
    .action(async ({ from, namespace }: WatchOptions, command: Command) => {
      const context = contextOf(command, io)
      const signal = io.stopSignal()
      await withReadOnlyLog(context, async (log) => {
        const options = { from, signal, ...(namespace === undefined ? {} : { namespace }) }
        for await (const { receipt: _later, ...entry } of log.watch(options)) {
          context.output.result(entry, formatEntry(entry))
        }
      })
    })
}

export function formatEntry(entry: Omit<WatchEntry, 'receipt'>): string {
  const { leaf, command, logTime, verdictName, namespace, op, client } = entry
  return [
    new Date(logTime).toISOString(),
    `${leaf}.${command}`,
    toHex(client).slice(0, 8),
    verdictName,
    `${namespace} ${op}`,
    ...contentOf(entry),
  ].join('  ')
}

/** One entry, one line: text that would break it is quoted. */
function onOneLine(text: string): string {
  return /[\p{C}\p{Zl}\p{Zp}]/u.test(text) ? JSON.stringify(text) : text
}

function contentOf({ name, value, problem }: Pick<WatchEntry, 'name' | 'value' | 'problem'>): string[] {
  if (problem !== undefined) return [`(not opened: ${problem})`]
  if (value === undefined) return []
  const text = onOneLine(formatValue(value))
  return name === undefined || name === '' ? [text] : [`${onOneLine(name)} = ${text}`]
}

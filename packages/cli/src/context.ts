/** What every command gets: where to print, which cluster, and how to ask for the passphrase. */
import { resolve } from 'node:path'
import { type Command } from 'commander'
import { createOutput, type Output, type Streams } from './output.ts'
import { readPassphrase } from './passphrase.ts'

/** What a process gives a program; a test gives its own. */
export interface Io extends Streams {
  readonly env: Readonly<Record<string, string | undefined>>
  /** From this call on, Ctrl-C and SIGTERM abort the signal instead of ending the process. */
  readonly stopSignal: () => AbortSignal
}

export interface Context extends Io {
  readonly output: Output
  /** The cluster directory, absolute. */
  readonly directory: string
  /** @param confirm - ask twice, for a new keyring. @throws CipherlogError `ERR_PASSPHRASE` */
  passphrase(confirm?: boolean): Promise<string>
}

/** Options that every command takes. */
interface GlobalOptions {
  readonly json?: boolean
  readonly dir?: string
  readonly passphraseFile?: string
}

export function addGlobalOptions(program: Command): void {
  program
    .option('--dir <folder>', 'folder of the cluster; else CIPHERLOG_DIR, else .cipherlog')
    .option('--json', 'print JSON, one object per line, for programs')
    .option(
      '--passphrase-file <file>',
      'whose first line opens the keyring; else CIPHERLOG_PASSPHRASE, else you are asked',
    )
}

export function contextOf(command: Command, io: Io): Context {
  const {
    json = false,
    dir = io.env['CIPHERLOG_DIR'] ?? '.cipherlog',
    passphraseFile,
  } = command.optsWithGlobals<GlobalOptions>()
  // Typed once, used for everything that one command opens.
  let passphrase: Promise<string> | undefined
  const output = createOutput(json, io)
  return {
    ...io,
    output,
    directory: resolve(dir),
    passphrase(confirm = false) {
      output.progress(undefined)
      return (passphrase ??= readPassphrase(
        { ...io, file: passphraseFile, option: '--passphrase-file', variable: 'CIPHERLOG_PASSPHRASE' },
        { confirm, question: confirm ? 'New passphrase for the keyring: ' : 'Passphrase of the keyring: ' },
      ))
    },
  }
}

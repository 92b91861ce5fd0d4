/** Where a keyring's passphrase comes from: a file, the environment, or the person at the terminal. */
import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'
import { CipherlogError } from '@cipherlog/core'
import { readText } from './files.ts'
import { type Streams } from './output.ts'

export interface PassphraseSource extends Pick<Streams, 'stdin' | 'stderr'> {
  /** Its first line is the passphrase. */
  readonly file: string | undefined
  /** The option that names the file, and the environment's variable. */
  readonly option: string
  readonly variable: string
  readonly env: Readonly<Record<string, string | undefined>>
}

/**
 * @param options.confirm - ask twice: a new keyring is lost if its passphrase was mistyped.
 * @throws CipherlogError `ERR_PASSPHRASE` if there is none, nobody to ask, or the two differ
 */
export async function readPassphrase(
  source: PassphraseSource,
  options: { readonly confirm: boolean; readonly question: string },
): Promise<string> {
  const { file, env, stdin } = source
  if (file !== undefined) return notEmpty((await readText(file)).split(/\r?\n/)[0]!)
  const fromEnvironment = env[source.variable]
  if (fromEnvironment !== undefined) return notEmpty(fromEnvironment)
  if (stdin.isTTY !== true) {
    throw refused(`The keyring needs a passphrase: set ${source.variable} or give ${source.option}.`)
  }
  const questions = options.confirm ? [options.question, 'The same again: '] : [options.question]
  const [passphrase, again] = await ask(source, questions)
  if (options.confirm && again !== passphrase) throw refused('The two passphrases differ; start again.')
  return notEmpty(passphrase!)
}

/** Shows the questions, not the answers. @returns one answer each */
async function ask({ stdin, stderr }: PassphraseSource, questions: readonly string[]): Promise<string[]> {
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() })
  const terminal = createInterface({ input: stdin, output: silent, terminal: true })
  // Ctrl-C and Ctrl-D end the lines.
  terminal.once('SIGINT', () => terminal.close())
  const lines = terminal[Symbol.asyncIterator]()
  try {
    const answers: string[] = []
    for (const question of questions) {
      stderr.write(question)
      const line = await lines.next()
      stderr.write('\n')
      if (line.done === true) throw refused('No passphrase was given.')
      answers.push(line.value)
    }
    return answers
  } finally {
    terminal.close()
  }
}

function notEmpty(passphrase: string): string {
  if (passphrase === '') throw refused('The passphrase is empty; choose one.')
  return passphrase
}

function refused(message: string): CipherlogError {
  return new CipherlogError('ERR_PASSPHRASE', message)
}

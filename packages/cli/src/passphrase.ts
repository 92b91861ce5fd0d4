/** Where a keyring's passphrase comes from: a file, the environment, or the person at the terminal. */
import { readFile } from 'node:fs/promises'
import { stdin, stderr } from 'node:process'
import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'
import { CipherlogError } from '@cipherlog/core'

/** @throws CipherlogError `ERR_PASSPHRASE` if there is none and nobody to ask */
export async function readPassphrase(file: string | undefined, prompt = 'Passphrase of the keyring: '): Promise<string> {
  if (file !== undefined) return (await readFile(file, 'utf8')).replace(/\r?\n$/, '')
  const fromEnvironment = process.env['CIPHERLOG_PASSPHRASE']
  if (fromEnvironment !== undefined) return fromEnvironment
  if (!stdin.isTTY) {
    throw new CipherlogError('ERR_PASSPHRASE', 'The keyring needs a passphrase: set CIPHERLOG_PASSPHRASE or give --passphrase-file.')
  }
  // What is typed is not shown.
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() })
  const lines = createInterface({ input: stdin, output: silent, terminal: true })
  stderr.write(prompt)
  try {
    return await new Promise<string>((resolve) => lines.question('', resolve))
  } finally {
    lines.close()
    stderr.write('\n')
  }
}

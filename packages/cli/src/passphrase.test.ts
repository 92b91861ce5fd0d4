import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readPassphrase, type PassphraseSource } from './passphrase.ts'
import { testIo } from './streams.fixture.ts'

let directory: string
beforeAll(async () => (directory = await mkdtemp(join(tmpdir(), 'cipherlog-passphrase-'))))
afterAll(() => rm(directory, { recursive: true }))

const source = (parts: Partial<PassphraseSource> & { readonly file?: string }): PassphraseSource => ({
  ...testIo(),
  file: undefined,
  option: '--passphrase-file',
  variable: 'CIPHERLOG_PASSPHRASE',
  ...parts,
})
const once = { confirm: false, question: 'Passphrase: ' }

describe('readPassphrase()', () => {
  test('takes the first line of the file before the environment', async () => {
    const file = join(directory, 'two-lines')
    await writeFile(file, 'from the file\r\nsecond line\n')
    expect(await readPassphrase(source({ file, env: { CIPHERLOG_PASSPHRASE: 'other' } }), once)).toBe('from the file')
  })

  test('takes the environment', async () => {
    expect(await readPassphrase(source({ env: { CIPHERLOG_PASSPHRASE: 'x' } }), once)).toBe('x')
  })

  test('refuses an empty one, and says how to give one where nobody can be asked', async () => {
    await expect(readPassphrase(source({ env: { CIPHERLOG_PASSPHRASE: '' } }), once)).rejects.toMatchObject({
      code: 'ERR_PASSPHRASE',
    })
    await expect(readPassphrase(source({}), once)).rejects.toThrow('set CIPHERLOG_PASSPHRASE or give --passphrase-file')
    await expect(readPassphrase(source({ file: join(directory, 'none') }), once)).rejects.toMatchObject({
      code: 'ERR_FILE',
    })
  })

  test('asks at a terminal, twice for a new one, and shows the questions only', async () => {
    const io = testIo()
    const stdin = Object.assign(new PassThrough(), { isTTY: true })
    const asked = readPassphrase(source({ stdin, stderr: io.stderr }), { confirm: true, question: 'New: ' })
    stdin.write('secret\n')
    await expect.poll(() => io.err()).toContain('again')
    stdin.write('secret\n')
    expect(await asked).toBe('secret')
    expect(io.err()).toBe('New: \nThe same again: \n')
  })

  test('gives up when the terminal is closed', async () => {
    const stdin = Object.assign(new PassThrough(), { isTTY: true })
    const asked = readPassphrase(source({ stdin }), once)
    stdin.end()
    await expect(asked).rejects.toThrow('No passphrase was given')
  })

  test('refuses two that differ', async () => {
    const io = testIo()
    const stdin = Object.assign(new PassThrough(), { isTTY: true })
    const asked = readPassphrase(source({ stdin, stderr: io.stderr }), { confirm: true, question: 'New: ' })
    stdin.write('secret\n')
    const outcome = expect(asked).rejects.toThrow('differ')
    await expect.poll(() => io.err()).toContain('again')
    stdin.write('secrte\n')
    await outcome
  })
})

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { run } from './program.ts'
import { testIo } from './streams.fixture.ts'

let directory: string
beforeAll(async () => (directory = await mkdtemp(join(tmpdir(), 'cipherlog-program-'))))
afterAll(() => rm(directory, { recursive: true }))

async function cipherlog(...args: string[]) {
  const io = testIo({ CIPHERLOG_PASSPHRASE: 'p' })
  return { code: await run(args, io), out: io.out(), err: io.err() }
}

describe('cipherlog', () => {
  test('--help lists every command and ends with 0', async () => {
    const { code, out } = await cipherlog('--help')
    expect(code).toBe(0)
    const commands = ['init', 'up', 'down', 'status', 'namespaces', 'keys', 'clients', 'put', 'append', 'get']
    for (const name of [...commands, 'delete', 'add', 'read', 'watch', 'receipt', 'audit', 'demo']) {
      expect(out).toMatch(new RegExp(`^  ${name}\\b`, 'm'))
    }
  })

  test('--version ends with 0', async () => {
    expect(await cipherlog('--version')).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) as string,
    })
  })

  test.each([
    [['ststus'], 'status'],
    [['keys', 'lst'], 'list'],
    [['put', 'orders', 'a', '1', '--recipt', 'x'], '--receipt'],
  ])('%j ends with 2 and suggests %s', async (args, suggestion) => {
    const { code, err } = await cipherlog(...args)
    expect(code).toBe(2)
    expect(err).toMatch(/^ERR_USAGE: /)
    expect(err).toContain(`Did you mean ${suggestion}?`)
  })

  test.each([[[]], [['keys']]])('%j without a command shows the help and ends with 2', async (args) => {
    const { code, err } = await cipherlog(...args)
    expect(code).toBe(2)
    expect(err).toMatch(/^Usage: cipherlog/)
  })

  test.each([
    [['put', 'orders', 'a']],
    [['add', 'revenue', '-5']],
    [['add', 'revenue', '[1.5]']],
    [['keys', 'rotate', '0'.repeat(32), '--grace', '5']],
    [['keys', 'revoke', '0'.repeat(32), '0', '--reason', 'x']],
    [['init', '--nodes', '8']],
    [['init', '--mode', 'prod']],
    [['init', '--name', 'No Name']],
    [['receipt', 'verify', 'x', '--command', '1']],
    [['namespaces', 'create', 'v', '--machine', 'vector']],
    [['namespaces', 'create', 'v', '--machine', 'tree']],
    [['clients', 'add']],
    [['clients', 'add', '--grant', 'orders:']],
    [['clients', 'add', '--public-key', '00', '--possession', '00']],
  ])('%j is a usage error', async (args) => {
    expect(await cipherlog('--dir', directory, ...args)).toMatchObject({
      code: 2,
      err: expect.stringMatching(/^ERR_USAGE: /) as string,
    })
  })

  test('--json stands anywhere and turns errors into an object on standard error', async () => {
    for (const args of [
      ['--json', 'status', '--dir', directory],
      ['status', '--dir', directory, '--json'],
    ]) {
      const { code, out, err } = await cipherlog(...args)
      expect([code, out]).toEqual([78, ''])
      expect(JSON.parse(err)).toMatchObject({ error: { code: 'ERR_DIRECTORY' } })
    }
    const { code, err } = await cipherlog('nothing', '--json')
    expect(code).toBe(2)
    expect(JSON.parse(err)).toMatchObject({ error: { code: 'ERR_USAGE' } })
  })

  test('down, audit and receipt say what is missing', async () => {
    expect(await cipherlog('down', '--dir', directory)).toMatchObject({ code: 0, out: 'No node was running.\n' })
    const missing = join(directory, 'none')
    expect(await cipherlog('audit', 'verify', missing, '--policy', missing)).toMatchObject({ code: 78 })
    expect(await cipherlog('receipt', 'verify', missing, '--policy', missing)).toMatchObject({ code: 78 })
  })
})

/**
 * Who takes part, changed on running processes with the `cipherlog` command, the way docs/OPERATIONS.md tells it: a
 * fourth replica comes, one loses its disk and returns as its next incarnation, one leaves. Values stay, every trail
 * audits valid, and what the cluster must refuse is refused with its reason.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable, Writable } from 'node:stream'
import { run } from '@cipherlog/cli'
import { afterAll, beforeAll, expect, test } from 'vitest'

const env = { CIPHERLOG_PASSPHRASE: 'of the tests' }
let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cipherlog-membership-'))
})
afterAll(async () => {
  await cipherlog('down')
  await rm(folder, { recursive: true, force: true })
})

async function cipherlog(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const [stdout, out] = collector()
  const [stderr, err] = collector()
  const stopSignal = (): AbortSignal => new AbortController().signal
  const io = { stdin: Readable.from([]), stdout, stderr, env, stopSignal }
  const code = await run(['--dir', join(folder, 'cluster'), '--json', ...args], io)
  return { code, out: out(), err: err() }
}

function collector(): [Writable, () => string] {
  const chunks: Buffer[] = []
  const write = (chunk: Buffer, _encoding: unknown, done: () => void): void => {
    chunks.push(chunk)
    done()
  }
  return [new Writable({ write }), () => Buffer.concat(chunks).toString()]
}

async function json<T>(...args: string[]): Promise<T> {
  const { code, out, err } = await cipherlog(...args)
  expect([code, err]).toEqual([0, ''])
  return JSON.parse(out) as T
}

interface Status {
  readonly leader: { readonly peerId: string; readonly configuration: { readonly voters: string[] } }
  readonly replicas: readonly { readonly peerId: string; readonly own: { readonly trailFrom: number } | undefined }[]
}

const nodeDirectory = (number: number): string => join(folder, 'cluster', 'nodes', String(number))

test('replicas join, are replaced after losing their disk, and leave, while the log goes on', async () => {
  await json('up', '-n', '3', '--base-port', '0', '--detach')
  await json('namespaces', 'create', 'orders', '--machine', 'kv')
  await json('put', 'orders', 'before', '1')

  const added = await json<{ peerId: string }>('cluster', 'add')
  expect((await json<Status>('cluster', 'status')).leader.configuration.voters).toContain(added.peerId)
  const { leaderId } = await json<{ leaderId: string }>('cluster', 'transfer', '4')
  expect(leaderId).toBe(added.peerId)
  await json('put', 'orders', 'with four', '2')

  // The disk of node 2 is gone, and with it what it has promised.
  process.kill(Number(await readFile(join(nodeDirectory(2), 'node.pid'), 'utf8')), 'SIGKILL')
  await rm(join(nodeDirectory(2), 'data'), { recursive: true })
  const replaced = await json<{ peerId: string }>('cluster', 'replace', '2')
  expect(replaced.peerId.slice(24)).toBe('00000001')

  await json('cluster', 'remove', '4')
  await json('put', 'orders', 'after', '3')
  const { leader, replicas } = await json<Status>('cluster', 'status')
  expect(leader.configuration.voters).toHaveLength(3)
  expect(leader.configuration.voters).toContain(replaced.peerId)
  expect(leader.configuration.voters).not.toContain(added.peerId)
  expect(replicas.map(({ own }) => own?.trailFrom)).toEqual([0, 0, 0])

  for (const [name, value] of [
    ['before', 1],
    ['with four', 2],
    ['after', 3],
  ] as const) {
    expect(await json('get', 'orders', name)).toMatchObject({ value })
  }
  for (const number of [1, 2, 3]) {
    expect(await json('audit', 'verify', join(nodeDirectory(number), 'data', 'trail'))).toMatchObject({ valid: true })
  }
  const gone = await cipherlog('cluster', 'transfer', added.peerId)
  expect(JSON.parse(gone.err)).toMatchObject({ error: { code: expect.stringMatching(/^ERR_TRANSFER_/) as string } })
})

test('a backup without keys brings the log back as the next generation, with what came after it gone', async () => {
  const backup = join(folder, 'backup')
  const { treeSize } = await json<{ treeSize: number }>('backup', backup, '--node', '3')
  await json('put', 'orders', 'too late', '4')
  const running = await cipherlog('restore', backup)
  expect(JSON.parse(running.err)).toMatchObject({ error: { code: 'ERR_ALREADY_RUNNING' } })
  await json('down')
  for (const number of ['1', '2', '3']) expect(await json('node', 'fsck', number)).toMatchObject({ good: true })

  expect(await json('restore', backup, '--nodes', '1')).toMatchObject({ generation: 1, treeSize })
  await json('up', '--detach')
  expect(await json('get', 'orders', 'after')).toMatchObject({ value: 3 })
  expect(JSON.parse((await cipherlog('get', 'orders', 'too late')).err)).toMatchObject({
    error: { code: 'ERR_NOT_FOUND' },
  })
  await json('put', 'orders', 'new', '5')
  expect(await json('get', 'orders', 'new')).toMatchObject({ value: 5 })
  const trails = [join(nodeDirectory(1), 'data', 'trail'), '--older', join(nodeDirectory(1), 'data', 'trail-0')]
  expect(await json('audit', 'verify', ...trails)).toMatchObject({ valid: true, complete: true })
})

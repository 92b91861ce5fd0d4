/**
 * The `cipherlog` command as a person uses it, from `up` to `down`, on real nodes. What is about processes (starting,
 * standard input, turns, Ctrl-C) runs as processes; the rest runs the same command in this one.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { run } from '@cipherlog/cli'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

const bin = fileURLToPath(new URL('../../packages/cli/bin/cipherlog.js', import.meta.url))
const env = { CIPHERLOG_PASSPHRASE: 'of the tests', CIPHERLOG_NEW_PASSPHRASE: 'of bob' }

interface Outcome {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

let folder: string
let cluster: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cipherlog-cli-'))
  cluster = join(folder, '.cipherlog')
})
afterAll(async () => {
  await cipherlog('down')
  await rm(folder, { recursive: true, force: true })
})

/** In this process. */
async function cipherlog(...args: string[]): Promise<Outcome> {
  return runHere(['--dir', cluster, ...args], env)
}

async function runHere(args: readonly string[], env: Record<string, string>): Promise<Outcome> {
  const [stdout, out] = collector()
  const [stderr, err] = collector()
  const stopSignal = (): AbortSignal => new AbortController().signal
  const code = await run(args, { stdin: Readable.from([]), stdout, stderr, env, stopSignal })
  return { code, out: out(), err: err() }
}

function collector(): [Writable, () => string] {
  const chunks: Buffer[] = []
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      chunks.push(chunk)
      done()
    },
  })
  return [stream, () => Buffer.concat(chunks).toString()]
}

/** As a process of its own, in the folder above the cluster's. */
function start(...args: string[]): ChildProcess {
  return spawn(process.execPath, [bin, ...args], { cwd: folder, env: { ...process.env, ...env } })
}

function outcomeOf(child: ChildProcess): Promise<Outcome> {
  let [out, err] = ['', '']
  child.stdout!.on('data', (chunk: Buffer) => (out += chunk.toString()))
  child.stderr!.on('data', (chunk: Buffer) => (err += chunk.toString()))
  return new Promise((resolve) => child.once('close', (code) => resolve({ code, out, err })))
}

/** Runs a command that must succeed. */
async function json<T = unknown>(...args: string[]): Promise<T> {
  const { code, out, err } = await cipherlog(...args, '--json')
  expect([code, err]).toEqual([0, ''])
  return JSON.parse(out) as T
}

/** What a refused command ends with. */
async function refusal(...args: string[]): Promise<[number | null, string]> {
  const { code, out, err } = await cipherlog(...args)
  expect(out).toBe('')
  return [code, err.split(':')[0]!]
}

describe('cipherlog', () => {
  test('up makes a cluster where there is none, starts its nodes and registers the client', async () => {
    const { code, out, err } = await outcomeOf(start('up', '-n', '3', '--base-port', '0', '--detach'))
    expect(err).toContain('Development proving keys')
    expect(err).toContain('No outside witness')
    expect(err).toContain('Registered your client')
    expect(code).toBe(0)
    expect(out.match(/https:\/\/127\.0\.0\.1:\d+/g)).toHaveLength(3)
    expect(await refusal('up', '--detach')).toEqual([78, 'ERR_ALREADY_RUNNING'])
  })

  test('status shows one leader among three replicas', async () => {
    const { replicas } = await json<{ replicas: { status?: { role: string } }[] }>('status')
    expect(replicas.map(({ status }) => status?.role).sort()).toEqual(['follower', 'follower', 'leader'])
  })

  test('put and get go through a namespace with a keyset of its own', async () => {
    await json('namespaces', 'create', 'orders', '--machine', 'kv')
    await json('put', 'orders', 'order-42', '{"total":1999}')
    expect(await cipherlog('get', 'orders', 'order-42')).toMatchObject({ code: 0, out: '{"total":1999}\n' })
    expect(await refusal('get', 'orders', 'order-43')).toEqual([1, 'ERR_NOT_FOUND'])
  })

  test('processes take turns, and one reads its value from standard input, byte for byte', async () => {
    const children = [
      start('put', 'orders', 'a', '1'),
      start('put', 'orders', 'b', '2'),
      start('put', 'orders', 'c', '-'),
    ]
    children[2]!.stdin!.end(new Uint8Array([0xff, 0x00, 0xfe]))
    const outcomes = await Promise.all(children.map(outcomeOf))
    expect(outcomes.map(({ code, err }) => [code, err])).toEqual([0, 0, 0].map((code) => [code, '']))
    expect(await cipherlog('get', 'orders', 'c')).toMatchObject({ out: 'ff00fe\n' })
  })

  test('a receipt is verified offline, and not once it was changed', async () => {
    const receipt = join(folder, 'order.receipt')
    await json('put', 'orders', 'order-44', '"kept"', '--receipt', receipt)
    const verified = await json('receipt', 'verify', receipt, '--bundle', `${receipt}.bundle`, '--command', '0')
    expect(verified).toMatchObject({ verdict: 'applied', namespace: 'orders' })
    expect(await refusal('put', 'orders', 'x', '1', '--receipt', receipt)).toEqual([78, 'ERR_FILE'])

    const bytes = await readFile(receipt)
    bytes[20]! ^= 1
    await writeFile(`${receipt}.changed`, bytes)
    const [code, error] = await refusal('receipt', 'verify', `${receipt}.changed`)
    expect(code).toBe(1)
    expect(error).toMatch(/^ERR_(VERIFY|DECODE)_/)
  })

  test('amounts add up', async () => {
    await json('namespaces', 'create', 'revenue', '--machine', 'counter')
    await json('add', 'revenue', '1999')
    await json('add', 'revenue', '1', '--cell', 'eu')
    expect(await cipherlog('read', 'revenue')).toMatchObject({ code: 0, out: '1999\n' })
    expect(await json('read', 'revenue', '--cell', 'eu')).toMatchObject({ sum: '1', count: 1 })
    expect(await refusal('add', 'revenue', '4294967296')).toEqual([2, 'ERR_USAGE'])
    expect(await refusal('read', 'orders')).toEqual([2, 'ERR_USAGE'])
  })

  test('vectors add up', async () => {
    const limits = ['--length', '3', '--max-abs', '100', '--max-count', '100']
    await json('namespaces', 'create', 'latency', '--machine', 'vector', ...limits)
    await json('add', 'latency', '[1,-2,3]')
    await json('add', 'latency', '[1,2]')
    expect(await cipherlog('read', 'latency')).toMatchObject({ code: 0, out: '[2, 0, 3]\n' })
  })

  test('another client writes within its grant, until it is revoked', async () => {
    const bob = join(folder, 'bob')
    const added = ['clients', 'add', '--label', 'bob', '--grant', 'orders:put', '--out', bob]
    const { client } = await json<{ client: string }>(...added)
    const asBob = (...args: string[]) => runHere(['--dir', bob, ...args], { CIPHERLOG_PASSPHRASE: 'of bob' })
    expect(await asBob('put', 'orders', 'from-bob', '"hello"')).toMatchObject({ code: 0 })
    expect((await asBob('add', 'revenue', '1')).err).toContain('ERR_POLICY_GRANT')
    expect(await cipherlog('get', 'orders', 'from-bob')).toMatchObject({ out: 'hello\n' })
    await json('clients', 'revoke', client, '--reason', 'left')
    expect((await asBob('put', 'orders', 'from-bob', '"again"')).err).toContain('ERR_POLICY_REVOKED')
  })

  test('keys rotate and are revoked, and what was sealed before is still read', async () => {
    const { namespaces } = await json<{ namespaces: { name: string; keyset: string }[] }>('namespaces', 'list')
    const { keyset } = namespaces.find(({ name }) => name === 'orders')!
    expect(await json('keys', 'rotate', keyset, '--grace', '0s')).toMatchObject({ keyEpoch: 2 })
    expect(await cipherlog('get', 'orders', 'order-42')).toMatchObject({ out: '{"total":1999}\n' })
    await json('keys', 'revoke', keyset, '2', '--reason', 'lost laptop')
    expect(await refusal('put', 'orders', 'x', '1')).toEqual([1, 'ERR_POLICY_KEYSET'])
    await json('keys', 'rotate', keyset)
    const { keysets } = await json<{ keysets: { keyset: string; versions: { state: string }[] }[] }>('keys', 'list')
    const states = keysets.find((entry) => entry.keyset === keyset)!.versions.map(({ state }) => state)
    expect(states).toEqual(['grace or decrypt-only', 'compromised', 'active'])
  })

  test('watch prints one object per command and ends with Ctrl-C', async () => {
    const child = start('watch', '--namespace', 'orders', '--json')
    const ended = outcomeOf(child)
    await new Promise<void>((resolve) => child.stdout!.once('data', () => resolve()))
    child.kill('SIGINT')
    const { code, out } = await ended
    expect(code).toBe(0)
    const first = JSON.parse(out.split('\n')[0]!) as unknown
    const expected = { namespace: 'orders', name: 'order-42', value: { total: 1999 }, verdictName: 'applied' }
    expect(first).toMatchObject(expected)
  })

  test('audit verifies a copy of the trail, and names what was changed in it', async () => {
    const copy = join(folder, 'copy')
    await cp(join(cluster, 'nodes', '1', 'data', 'trail'), copy, { recursive: true })
    const earlier = ['--earlier', join(copy, 'checkpoint')]
    expect(await json('audit', 'verify', copy, ...earlier)).toMatchObject({ valid: true, complete: true, problems: [] })

    const pack = join(copy, 'tile', 'bundle', '000')
    const bytes = await readFile(pack)
    bytes[3000]! ^= 1
    await writeFile(pack, bytes)
    const { code, out, err } = await cipherlog('audit', 'verify', copy)
    expect(code).toBe(1)
    expect(out).toContain('PROBLEM')
    expect(err).toMatch(/^ERR_AUDIT_INVALID/)
  })

  test('demo tamper: four attacks, refused with four codes', async () => {
    const { refused, attacks } = await json<{
      refused: boolean
      attacks: { attack: string; noticedBy: string; code: string }[]
    }>('demo', 'tamper')
    expect(refused).toBe(true)
    expect(attacks.map(({ attack, noticedBy, code }) => [attack, noticedBy, code])).toEqual([
      ['edit a stored byte', 'auditor', 'ERR_AUDIT_BODY'],
      ['reorder two commands', 'auditor', expect.stringMatching(/^ERR_AUDIT_(ROOT|FORK)$/)],
      ['sign the forgery', 'auditor', 'ERR_POLICY_QUORUM'],
      ['swap a reader key', 'writer', 'ERR_KEY_UNPROVEN'],
    ])
  })

  test('down stops the nodes, and without them there is no answer', async () => {
    expect(await json('down')).toEqual({ stopped: [1, 2, 3] })
    expect(await refusal('status')).toEqual([69, 'ERR_UNAVAILABLE'])
  })

  test('up in the foreground tells of a node that dies, goes on with the rest, and Ctrl-C stops them', async () => {
    const child = start('up', '--json')
    const ended = outcomeOf(child)
    let printed = ''
    child.stdout!.on('data', (chunk: Buffer) => (printed += chunk.toString()))
    const line = async (number: number): Promise<unknown> => {
      await expect.poll(() => printed.split('\n').length, { timeout: 60_000 }).toBeGreaterThan(number + 1)
      return JSON.parse(printed.split('\n')[number]!)
    }
    const { nodes } = (await line(0)) as { nodes: { node: number; pid: number }[] }
    process.kill(nodes[2]!.pid, 'SIGKILL')
    expect(await line(1)).toMatchObject({ event: 'down', node: 3, exit: 'SIGKILL' })
    expect(await cipherlog('get', 'orders', 'order-42')).toMatchObject({ code: 0, out: '{"total":1999}\n' })

    // The dead one is started again by a second `up`, which leaves the others alone.
    const again = await json<{ nodes: { node: number }[] }>('up', '--detach')
    expect(again.nodes.map(({ node }) => node)).toEqual([3])
    child.kill('SIGINT')
    expect((await ended).code).toBe(0)
    expect(await json('down')).toEqual({ stopped: [3] })
  })
})

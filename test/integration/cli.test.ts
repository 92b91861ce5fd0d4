/** The `cipherlog` command as a person uses it: real processes from `up` to `down`, in one folder. */
import { spawn, type ChildProcess } from 'node:child_process'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

const bin = fileURLToPath(new URL('../../packages/cli/bin/cipherlog.js', import.meta.url))

interface Outcome {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

let folder: string
beforeAll(async () => (folder = await mkdtemp(join(tmpdir(), 'cipherlog-cli-'))))
afterAll(async () => {
  await cipherlog('down')
  await rm(folder, { recursive: true, force: true })
})

function start(args: readonly string[], env: Record<string, string> = {}): ChildProcess {
  const passphrases = { CIPHERLOG_PASSPHRASE: 'of the tests', CIPHERLOG_NEW_PASSPHRASE: 'of bob' }
  return spawn(process.execPath, [bin, ...args], { cwd: folder, env: { ...process.env, ...passphrases, ...env } })
}

function outcomeOf(child: ChildProcess): Promise<Outcome> {
  let [out, err] = ['', '']
  child.stdout!.on('data', (chunk: Buffer) => (out += chunk.toString()))
  child.stderr!.on('data', (chunk: Buffer) => (err += chunk.toString()))
  return new Promise((resolve) => child.once('close', (code) => resolve({ code, out, err })))
}

const cipherlog = (...args: string[]): Promise<Outcome> => outcomeOf(start(args))

async function json(...args: string[]): Promise<Record<string, never>> {
  const { code, out, err } = await cipherlog(...args, '--json')
  expect(err).toBe('')
  expect(code).toBe(0)
  return JSON.parse(out) as Record<string, never>
}

describe('cipherlog', () => {
  test('up makes a cluster where there is none, starts its nodes and registers the client', async () => {
    const { code, out, err } = await cipherlog('up', '-n', '3', '--base-port', '0', '--detach')
    expect(err).toContain('Development proving keys')
    expect(err).toContain('No outside witness')
    expect(err).toContain('Registered your client')
    expect(code).toBe(0)
    expect(out.match(/https:\/\/127\.0\.0\.1:\d+/g)).toHaveLength(3)
    expect(await cipherlog('up', '--detach')).toMatchObject({
      code: 78,
      out: '',
      err: expect.stringContaining('ERR_ALREADY_RUNNING') as string,
    })
  })

  test('status shows one leader among three replicas', async () => {
    const { replicas } = (await json('status')) as { replicas: { status?: { role: string } }[] }
    expect(replicas.map(({ status }) => status?.role).sort()).toEqual(['follower', 'follower', 'leader'])
  })

  test('put and get go through a namespace with a keyset of its own', async () => {
    await json('namespaces', 'create', 'orders', '--machine', 'kv')
    expect(await cipherlog('put', 'orders', 'order-42', '{"total":1999}')).toMatchObject({ code: 0 })
    expect(await cipherlog('get', 'orders', 'order-42')).toMatchObject({ code: 0, out: '{"total":1999}\n' })
    expect(await cipherlog('get', 'orders', 'order-43')).toMatchObject({
      code: 1,
      err: expect.stringContaining('ERR_NOT_FOUND') as string,
    })
  })

  test('a value comes from standard input, byte for byte', async () => {
    const bytes = new Uint8Array([0xff, 0x00, 0xfe])
    const child = start(['put', 'orders', 'binary', '-'])
    child.stdin!.end(bytes)
    expect(await outcomeOf(child)).toMatchObject({ code: 0 })
    expect(await cipherlog('get', 'orders', 'binary')).toMatchObject({ out: 'ff00fe\n' })
  })

  test('commands that run at the same time take turns', async () => {
    const outcomes = await Promise.all(['a', 'b', 'c'].map((name) => cipherlog('put', 'orders', name, name)))
    expect(outcomes.map(({ code, err }) => [code, err])).toEqual([0, 0, 0].map((code) => [code, '']))
  })

  test('a receipt is verified offline, and not once it was changed', async () => {
    const receipt = join(folder, 'order.receipt')
    await json('put', 'orders', 'order-44', '"kept"', '--receipt', receipt)
    const policy = join(folder, '.cipherlog', 'trust-policy.cbor')
    const verify = ['receipt', 'verify', receipt, '--policy', policy, '--bundle', `${receipt}.bundle`, '--command', '0']
    expect(await json(...verify)).toMatchObject({ verdict: 'applied', namespace: 'orders' })

    const bytes = await readFile(receipt)
    bytes[20]! ^= 1
    await writeFile(`${receipt}.changed`, bytes)
    const changed = await cipherlog('receipt', 'verify', `${receipt}.changed`, '--policy', policy)
    expect(changed).toMatchObject({ code: 1, out: '' })
    expect(changed.err).toMatch(/^ERR_(VERIFY|DECODE)_/)
  })

  test('amounts and vectors add up', async () => {
    await json('namespaces', 'create', 'revenue', '--machine', 'counter')
    await json('add', 'revenue', '1999')
    await json('add', 'revenue', '1', '--cell', 'eu')
    expect(await cipherlog('read', 'revenue')).toMatchObject({ code: 0, out: '1999\n' })
    expect(await json('read', 'revenue', '--cell', 'eu')).toMatchObject({ sum: '1', count: 1 })
    expect(await cipherlog('add', 'revenue', '4294967296')).toMatchObject({ code: 2 })

    const limits = ['--length', '3', '--max-abs', '100', '--max-count', '100']
    await json('namespaces', 'create', 'latency', '--machine', 'vector', ...limits)
    await json('add', 'latency', '[1,-2,3]')
    await json('add', 'latency', '[1,2]')
    expect(await cipherlog('read', 'latency')).toMatchObject({ code: 0, out: '[2, 0, 3]\n' })
  })

  test('keys rotate, and what was sealed before is still read', async () => {
    const { namespaces } = (await json('namespaces', 'list')) as { namespaces: { name: string; keyset: string }[] }
    const { keyset } = namespaces.find(({ name }) => name === 'orders')!
    expect(await json('keys', 'rotate', keyset, '--grace', '0s')).toMatchObject({ keyEpoch: 2 })
    expect(await cipherlog('get', 'orders', 'order-42')).toMatchObject({ out: '{"total":1999}\n' })
    await json('keys', 'revoke', keyset, '2', '--reason', 'lost laptop')
    expect(await cipherlog('put', 'orders', 'x', '1')).toMatchObject({
      code: 1,
      err: expect.stringContaining('ERR_POLICY_KEYSET') as string,
    })
    await json('keys', 'rotate', keyset)
    expect(await cipherlog('put', 'orders', 'x', '1')).toMatchObject({ code: 0 })
    const { keysets } = (await json('keys', 'list')) as { keysets: { keyset: string; versions: { state: string }[] }[] }
    const states = keysets.find((entry) => entry.keyset === keyset)!.versions.map(({ state }) => state)
    expect(states).toEqual(['grace or decrypt-only', 'compromised', 'active'])
  })

  test('another client writes within its grant, until it is revoked', async () => {
    const bob = join(folder, 'bob')
    const { client } = (await json('clients', 'add', '--label', 'bob', '--grant', 'orders:put', '--out', bob)) as {
      client: string
    }
    const asBob = (...args: string[]) => outcomeOf(start([...args, '--dir', bob], { CIPHERLOG_PASSPHRASE: 'of bob' }))
    expect(await asBob('put', 'orders', 'from-bob', '"hello"')).toMatchObject({ code: 0 })
    expect((await asBob('add', 'revenue', '1')).err).toContain('ERR_POLICY_GRANT')
    expect(await cipherlog('get', 'orders', 'from-bob')).toMatchObject({ out: 'hello\n' })
    await json('clients', 'revoke', client, '--reason', 'left')
    const refused = await asBob('put', 'orders', 'from-bob', '"again"')
    expect([refused.code, refused.err.split(':')[0]]).toEqual([1, 'ERR_POLICY_REVOKED'])
  })

  test('watch prints one object per command and ends with Ctrl-C', async () => {
    const child = start(['watch', '--namespace', 'orders', '--json'])
    const ended = outcomeOf(child)
    await new Promise<void>((resolve) => child.stdout!.once('data', () => resolve()))
    child.kill('SIGINT')
    const { code, out } = await ended
    expect(code).toBe(0)
    const first = JSON.parse(out.split('\n')[0]!) as unknown
    expect(first).toMatchObject({
      namespace: 'orders',
      name: 'order-42',
      value: { total: 1999 },
      verdictName: 'applied',
    })
  })

  test('audit verifies a copy of the trail, and names what was changed in it', async () => {
    const copy = join(folder, 'copy')
    await cp(join(folder, '.cipherlog', 'nodes', '1', 'data', 'trail'), copy, { recursive: true })
    expect(await json('audit', 'verify', copy)).toMatchObject({ valid: true, complete: true, problems: [] })

    const entries = join(copy, 'tile', 'bundle', '000')
    const bytes = await readFile(entries)
    bytes[bytes.length - 10]! ^= 1
    await writeFile(entries, bytes)
    const { code, out, err } = await cipherlog('audit', 'verify', copy)
    expect(code).toBe(1)
    expect(out).toContain('PROBLEM')
    expect(err).toMatch(/^ERR_AUDIT_INVALID/)
  })

  test('demo tamper: four attacks, refused with four codes', async () => {
    const { refused, attacks } = (await json('demo', 'tamper')) as {
      refused: boolean
      attacks: { attack: string; noticedBy: string; code: string }[]
    }
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
    expect(await cipherlog('status')).toMatchObject({
      code: 69,
      err: expect.stringContaining('ERR_UNAVAILABLE') as string,
    })
  })

  test('up in the foreground tells of a node that dies, goes on with the rest, and Ctrl-C stops them', async () => {
    const child = start(['up', '--json'])
    const ended = outcomeOf(child)
    const lines: string[] = []
    child.stdout!.on('data', (chunk: Buffer) => lines.push(...chunk.toString().trim().split('\n')))
    await expect.poll(() => lines.length, { timeout: 60_000 }).toBe(1)
    const { nodes } = JSON.parse(lines[0]!) as { nodes: { node: number; pid: number }[] }
    process.kill(nodes[2]!.pid, 'SIGKILL')
    await expect.poll(() => lines.length, { timeout: 20_000 }).toBe(2)
    expect(JSON.parse(lines[1]!)).toMatchObject({ event: 'down', node: 3, exit: 'SIGKILL' })
    expect(await cipherlog('get', 'orders', 'order-42')).toMatchObject({ code: 0, out: '{"total":1999}\n' })

    // The dead one is started again by a second `up`, which leaves the others alone.
    const again = (await json('up', '--detach')) as { nodes: { node: number }[] }
    expect(again.nodes.map(({ node }) => node)).toEqual([3])
    child.kill('SIGINT')
    expect((await ended).code).toBe(0)
    expect(await json('down')).toEqual({ stopped: [3] })
  })
})

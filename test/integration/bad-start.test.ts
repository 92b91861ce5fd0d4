/** Bad input at a node's start and at its door: each gets a typed error with a sentence, and the server stays up. */
import { spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { request as httpsRequest } from 'node:https'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { startTestCluster, type TestCluster } from '@cipherlog/testkit/cluster'
import { afterAll, beforeAll, expect, test } from 'vitest'

const bin = fileURLToPath(import.meta.resolve('@cipherlog/server/bin'))
let cluster: TestCluster
let other: TestCluster
let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cipherlog-bad-start-'))
  cluster = await startTestCluster()
  other = await startTestCluster()
})
afterAll(async () => {
  await cluster.stop()
  await other.stop()
  await rm(folder, { recursive: true, force: true })
})

async function runNode(args: readonly string[]): Promise<{ code: number | null; stderr: string }> {
  const child = spawn(process.execPath, [bin, ...args], { stdio: ['ignore', 'ignore', 'pipe'] })
  let stderr = ''
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString()
  })
  const code = await new Promise<number | null>((resolve) => child.on('exit', resolve))
  return { code, stderr }
}

async function configFile(name: string, lines: Record<string, string>): Promise<string> {
  const file = join(folder, name)
  const text = Object.entries(lines).map(([key, value]) => `${key} = ${value}\n`)
  await writeFile(file, text.join(''))
  return file
}

const quoted = (text: string): string => JSON.stringify(text)

async function usable(over: Record<string, string> = {}): Promise<string> {
  return configFile(`${Math.random().toString(36).slice(2)}.toml`, {
    data_dir: quoted(join(folder, 'data')),
    keys_file: quoted(join(cluster.directory, '1', 'node.keys')),
    genesis_file: quoted(join(cluster.directory, 'genesis.cbor')),
    'listen.api': quoted('127.0.0.1:0'),
    'listen.peers': quoted('127.0.0.1:0'),
    ...over,
  })
}

test('a typo in the configuration is named, with what was probably meant', async () => {
  const { code, stderr } = await runNode(['run', '--config', await usable({ datadir: quoted('/x') })])
  expect(stderr).toMatch(/ERR_CONFIG.*datadir.*did you mean data_dir/)
  expect(code).toBe(78)
})

test.each([bin, fileURLToPath(import.meta.resolve('@cipherlog/cli/bin'))])(
  'an old Node is told so in one line: %s',
  async (program) => {
    // A real old Node may not be at hand; what the program looks at is its version.
    const preload = join(folder, 'old-node.cjs')
    await writeFile(
      preload,
      "Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '20.20.2' } })",
    )
    const child = spawn(process.execPath, ['--require', preload, program, '--version'], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    let stderr = ''
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
    const code = await new Promise((resolve) => child.on('exit', resolve))
    expect(stderr).toMatch(/^cipherlog(-node)? needs Node 22\.19 or newer.*\n$/)
    expect(code).toBe(70)
  },
)

test('a port in use is named', async () => {
  const taken = createServer()
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve))
  const { port } = taken.address() as { port: number }
  try {
    const { code, stderr } = await runNode([
      'run',
      '--config',
      await usable({ 'listen.api': quoted(`127.0.0.1:${port}`), data_dir: quoted(join(folder, 'data-port')) }),
    ])
    expect(stderr).toContain('ERR_LISTEN_ADDRESS_IN_USE')
    expect(stderr).toContain(String(port))
    expect(code).toBe(70)
  } finally {
    taken.close()
  }
})

test('the data directory of another cluster is refused', async () => {
  const [foreign] = other.replicas
  await foreign!.stop()
  const { code, stderr } = await runNode([
    'run',
    '--config',
    await usable({ data_dir: quoted(foreign!.dataDirectory) }),
  ])
  expect(stderr).toContain('ERR_DATA_DIR_FOREIGN')
  expect(code).toBe(70)
})

test('a data directory that another process uses is refused', async () => {
  const { code, stderr } = await runNode([
    'run',
    '--config',
    await usable({ data_dir: quoted(cluster.replicas[0]!.dataDirectory) }),
  ])
  expect(stderr).toContain('ERR_DATA_DIR_LOCKED')
  expect(code).toBe(70)
})

test('keys that the genesis does not list are refused', async () => {
  const keysFile = join(folder, 'fresh.keys')
  expect((await runNode(['keygen', '--out', keysFile])).code).toBe(0)
  const { code, stderr } = await runNode(['run', '--config', await usable({ keys_file: quoted(keysFile) })])
  expect(stderr).toContain('ERR_NOT_A_MEMBER')
  expect(code).toBe(70)
})

interface Answer {
  readonly status: number
  readonly body: string
}

function post(path: string, contentType: string, body: string | Uint8Array): Promise<Answer> {
  const url = new URL(path, cluster.endpoints[0])
  return new Promise((resolve, reject) => {
    const request = httpsRequest(
      url,
      // The test speaks to its own node; what clients believe never depends on TLS.
      { method: 'POST', rejectUnauthorized: false, headers: { 'content-type': contentType } },
      (response) => {
        let text = ''
        response.setEncoding('utf8')
        response.on('data', (chunk: string) => (text += chunk))
        response.on('end', () => resolve({ status: response.statusCode!, body: text }))
      },
    )
    request.on('error', reject)
    request.end(body)
  })
}

const propose = '/cipherlog.v1.CipherlogService/Propose'
const proposeJson = (kind: number, signed: Uint8Array): Promise<Answer> =>
  post(propose, 'application/json', JSON.stringify({ kind, signed: Buffer.from(signed).toString('base64') }))

test.each([
  ['a wrong content type', () => post(propose, 'text/plain', 'hello'), 415, ''],
  ['JSON that is none', () => post(propose, 'application/json', '{'), 400, ''],
  ['bytes that are no bundle', () => proposeJson(3, Uint8Array.of(0xff, 1, 2)), 400, 'ERR_DECODE_TYPE'],
  ['a truncated array', () => proposeJson(3, Uint8Array.of(0x82, 0x41)), 400, 'ERR_DECODE_TRUNCATED'],
  ['a kind that nobody may propose', () => proposeJson(33, Uint8Array.of(0xa0)), 400, 'ERR_'],
] as const)('%s gets a typed answer, and the server stays up', async (_what, send, status, code) => {
  const answer = await send()
  expect(answer.status).toBe(status)
  expect(answer.body).toContain(code)
  const health = await post('/cipherlog.v1.CipherlogService/Status', 'application/json', '{}')
  expect(health.status).toBe(200)
  expect(JSON.parse(health.body)).toMatchObject({ role: 'leader' })
})

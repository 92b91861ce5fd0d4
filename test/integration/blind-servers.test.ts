/** Promise 1: no server process, file, metric, log line or peer frame ever holds plaintext or a decryption key. */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { decode, utf8 } from '@cipherlog/core'
import { suites, wraps as wrapsCodec, type KeyringEntry } from '@cipherlog/format'
import { stateDatabase } from '@cipherlog/storage'
import { XWing } from '@hpke/hybridkem-x-wing'
import {
  searchBytes,
  searchDatabase,
  searchFolders,
  textCanary,
  type Canary,
  type Sighting,
} from '@cipherlog/testkit/canaries'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createKv, startProcesses, type ProcessCluster } from './processes.ts'

const planted = {
  name: 'canary-name-zanzibar',
  value: 'canary value: the quick brown fox owes 80615',
  cell: 'canary-cell-quokka',
  logged: 'canary log line: pelican',
}

let folder: string
let spyFolder: string
let cluster: ProcessCluster

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cipherlog-blind-'))
  spyFolder = join(folder, 'spy')
  await mkdir(spyFolder)
  cluster = await startProcesses({ spyFolder })
})
afterAll(async () => {
  await cluster.close()
  await rm(folder, { recursive: true, force: true })
})

/** Everything that a server could have kept of what passed through it. */
async function searchServers(
  canaries: readonly Canary[],
): Promise<{ sightings: Sighting[]; files: number; bytes: number }> {
  const found = await searchFolders([join(cluster.directory, 'nodes'), spyFolder], canaries)
  for (const { directory } of cluster.nodes) {
    found.sightings.push(...(await searchDatabase(await stateDatabase(join(directory, 'data', 'state')), canaries)))
  }
  return found
}

async function fetchText(path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    request(new URL(path, cluster.profile.endpoints[0]), { rejectUnauthorized: false }, (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => (text += chunk))
      response.on('end', () => resolve(text))
    })
      .on('error', reject)
      .end()
  })
}

function secretsOf(entry: KeyringEntry): Canary[] {
  switch (entry.type) {
    case 'client':
    case 'operator':
      return [{ name: `${entry.type} signing key`, bytes: entry.secretKey }]
    case 'reader':
      return [
        { name: 'reader signing key', bytes: entry.signingKey },
        { name: 'reader KEM key', bytes: entry.kemKey },
      ]
    case 'nameKey':
      return [{ name: 'name key', bytes: entry.key }]
    case 'keyVersion':
      // A BFV key is large; any stretch of it would do.
      return [{ name: `secret of suite ${entry.suite}`, bytes: entry.secret.slice(-64) }]
    case 'contentKey':
      return [{ name: 'content key', bytes: entry.key }]
  }
}

test('a whole run leaves no plaintext and no key in any server byte', async () => {
  const { log, operator } = cluster
  await createKv(cluster, 'orders')
  const kv = log.kv('orders')
  await kv.put(planted.name, { text: planted.value })
  await kv.put(planted.name, { text: planted.value })
  expect((await kv.get(planted.name))?.value).toEqual({ text: planted.value })

  const readers = [log.keyring]
  const { keyset: lines } = await operator.createKeyset({ suite: suites.hpkeXwing, readers })
  await operator.createNamespace({ name: 'lines', machine: 'log', suite: suites.hpkeXwing, keyset: lines })
  await log.log('lines').append(planted.logged)
  const { keyset: amounts } = await operator.createKeyset({ suite: suites.elgamalBjj, readers })
  await operator.createNamespace({
    name: 'revenue',
    machine: 'counter',
    suite: suites.elgamalBjj,
    keyset: amounts,
    circuit: 'sealed-amount-32',
  })
  await log.counter('revenue').add(1_234_567_890n, { cell: planted.cell })
  expect((await log.counter('revenue').read({ cell: planted.cell }))?.value).toBe(1_234_567_890n)
  const { keyset: vectors } = await operator.createKeyset({ suite: suites.bfv4096, readers })
  const bounds = { length: 4, maxAbs: 1000, maxCount: 100 }
  await operator.createNamespace({
    name: 'latency',
    machine: 'vector',
    suite: suites.bfv4096,
    keyset: vectors,
    vector: bounds,
  })
  await log.vector('latency').add([1, 2, 3, 4], { cell: planted.cell })
  await operator.rotateKey({ keyset: lines, readers, graceMs: 0 })
  await (await log.log('lines').append(planted.logged)).receipt()
  await writeFile(join(folder, 'metrics.txt'), await fetchText('/metrics'))

  const secrets = log.keyring.entries.flatMap(secretsOf)
  expect(secrets.length).toBeGreaterThan(10)
  const shared = await sharedSecrets(cluster)
  expect(shared.length).toBeGreaterThan(0)
  await cluster.stopNodes()

  const texts = Object.entries(planted).map(([name, text]) => textCanary(name, text))
  const { sightings, files, bytes } = await searchServers([...texts, ...secrets, ...shared])
  expect(sightings).toEqual([])
  expect(searchBytes(await readFile(join(folder, 'metrics.txt')), 'metrics', texts)).toEqual([])
  // A search that looked at nothing would find nothing.
  expect(files).toBeGreaterThan(20)
  expect(bytes).toBeGreaterThan(1_000_000)
  const frames = await searchFolders([spyFolder], [textCanary('a namespace, which servers do see', 'revenue')])
  expect(
    frames.sightings.map(({ where }) => where).filter((where) => where.endsWith('.frames')).length,
  ).toBeGreaterThan(2)
})

/** What X-Wing gave sender and reader of every wrap on the log, recomputed with the readers' keys. */
async function sharedSecrets({ log }: ProcessCluster): Promise<Canary[]> {
  const kem = new XWing()
  const out: Canary[] = []
  for (const { envelope } of log.keyring.of('contentKey', log.cluster)) {
    const { wraps } = await log.replicas.connection(log.replicas.addresses[0]!).envelope(envelope)
    for (const wrap of decode(wrapsCodec, wraps)) {
      for (const { secret, suite } of log.keyring.of('keyVersion', log.cluster)) {
        if (suite !== suites.hpkeXwing) continue
        const recipientKey = await kem.importKey('raw', new Uint8Array(secret).buffer, false)
        const enc = new Uint8Array(wrap.enc).buffer
        out.push({ name: 'shared secret', bytes: new Uint8Array(await kem.decap({ recipientKey, enc })) })
      }
    }
  }
  return out
}

test('two puts of one value share no ciphertext bytes beyond chance', async () => {
  await cluster.start(1)
  await cluster.start(2)
  const { lowLevel } = cluster.log
  const [first, second] = await Promise.all(
    [1, 2].map(async () => (await lowLevel.sealPut('orders', planted.name, { text: planted.value })).at(-1)!),
  )
  const a = Buffer.from(first!.bodies.ciphertext!)
  const b = Buffer.from(second!.bodies.ciphertext!)
  // Four equal bytes anywhere in 120 against 120: one run in 300,000.
  const repeated = Array.from({ length: a.length - 3 }, (_, i) => a.subarray(i, i + 4)).filter((piece) =>
    b.includes(piece),
  )
  expect(repeated).toEqual([])
})

test('a writer that leaks on purpose is caught in WAL, trail, database and frames', async () => {
  const leak = 'canary leaked: ostrich '.repeat(8)
  const { lowLevel } = cluster.log
  const commands = await lowLevel.sealPut('orders', 'leaky', 1)
  const last = commands.pop()!
  commands.push(lowLevel.replaceBodies(last, { ciphertext: utf8(leak) }))
  const answer = await lowLevel.proposeBundle(await lowLevel.sealBundle(commands))
  expect(answer.verdictNames.at(-1)).toBe('applied')
  const receiptOf = await cluster.log.kv('orders').put('after', 1)
  await receiptOf.receipt()
  await new Promise((resolve) => setTimeout(resolve, 1_500))
  await cluster.stopNodes()
  const { sightings } = await searchServers([textCanary('leak', leak.slice(0, 22))])
  const places = sightings.map(({ where }) => where)
  for (const place of ['/wal/', '/trail/tile/body/', '/state', '.frames']) {
    expect(
      places.some((where) => where.includes(place)),
      `${place} in ${places.join(', ')}`,
    ).toBe(true)
  }
})

describe('the modules that running nodes and their workers have loaded', () => {
  let modules: string[]
  beforeAll(async () => {
    const lists = (await readdir(spyFolder)).filter((name) => name.endsWith('.modules'))
    modules = [
      ...new Set(
        (await Promise.all(lists.map((name) => readFile(join(spyFolder, name), 'utf8')))).join('').split('\n'),
      ),
    ]
  })

  test('include the pipeline, the proof verifier and the BFV evaluator: the list is real', () => {
    for (const part of ['server/src/pipeline/replica.ts', 'mcl-wasm', 'crypto/src/evaluate/bfv', 'node-seal']) {
      expect(
        modules.some((url) => url.includes(part)),
        part,
      ).toBe(true)
    }
  })

  test('include none that can decrypt', () => {
    const forbidden = [
      'crypto/src/seal',
      '@hpke',
      '@cipherlog/client',
      'packages/client',
      'packages/prover',
      'node_modules/snarkjs',
      'seal_throws',
    ]
    expect(modules.filter((url) => forbidden.some((part) => url.includes(part)))).toEqual([])
  })

  test("use none of node-seal's secret classes", async () => {
    const own = modules.filter((url) => url.startsWith('file:') && !url.includes('/node_modules/'))
    expect(own.length).toBeGreaterThan(100)
    const users: string[] = []
    for (const url of own) {
      if (/\b(Decryptor|KeyGenerator|SecretKey|Encryptor)\b/.test(await readFile(fileURLToPath(url), 'utf8')))
        users.push(url)
    }
    expect(users).toEqual([])
  })
})

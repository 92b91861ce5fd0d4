import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { type IncomingMessage } from 'node:http'
import { request as httpsRequest, type RequestOptions } from 'node:https'
import { connect } from 'node:tls'
import { createClient, type Client } from '@connectrpc/connect'
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from '@connectrpc/connect-node'
import { CipherlogService, fromConnectError } from '@cipherlog/api'
import { CipherlogError, equalBytes, NotLeaderError, RefusedError, silentLogger, utf8 } from '@cipherlog/core'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { type NodeApi, type Proposal, type ProposalAnswer } from '../node-api.ts'
import { createApiServer, type ApiServerOptions } from './http.ts'
import { createLogger } from './logging.ts'
import { createMetrics } from './metrics.ts'
import { browserTlsIdentity, peerTlsKey, pinnedTlsIdentity } from './tls.ts'

const pinned = pinnedTlsIdentity(new Uint8Array(32).fill(5), 'cipherlog-node')
const browser = browserTlsIdentity(['127.0.0.1'])

/** A node without a log: it answers by what it is asked. `signed` decides what becomes of a proposal. */
class PlainNode implements NodeApi {
  readonly hanging: ((answer: ProposalAnswer) => void)[] = []
  readonly watching: AbortSignal[] = []
  isReady = true

  propose(proposal: Proposal): Promise<ProposalAnswer> {
    const { signed, body } = proposal
    if (equalBytes(signed, utf8('not leader'))) return Promise.reject(new NotLeaderError('00ff'))
    if (equalBytes(signed, utf8('gap'))) return Promise.reject(new RefusedError('ERR_SEQUENCE_GAP', 'Too high.'))
    if (equalBytes(signed, utf8('bug'))) return Promise.reject(new TypeError('secret of /var/lib'))
    if (equalBytes(signed, utf8('hang'))) return new Promise((resolve) => this.hanging.push(resolve))
    return Promise.resolve({ applied: utf8(`${signed.length} ${body.length}`), duplicate: proposal.receipt })
  }
  status() {
    return {
      origin: 'example.org/log/0011/00/0',
      cluster: '00'.repeat(32),
      group: '00'.repeat(16),
      generation: 0,
      peerId: '01'.repeat(16),
      role: 'leader',
      leaderId: undefined,
      term: 3,
      commitIndex: 9,
      appliedIndex: 8,
      treeSize: 7,
      publishedSize: 6,
      registryNumber: 1,
      logTime: 1_700_000_000_000,
      peers: [
        {
          peerId: '02'.repeat(16),
          apiAddress: 'https://b',
          peersAddress: 'b:7444',
          connected: true,
          matchIndex: 9,
          learner: false,
          voter: true,
          incarnation: 0x02020202,
          state: 'replicate',
          nextIndex: 10,
          paused: false,
          inflight: 1,
          pendingSnapshot: 0,
          trailFrom: 256,
          rulesVersionMax: 2,
        },
      ],
      mode: 'development',
      trailFrom: 0,
      version: '0.1.0',
      provingKeys: 'none',
      rulesVersion: 1,
      paused: undefined,
      rulesVersionMax: 2,
      configuration: {
        voters: ['02'.repeat(16)],
        learners: [],
        votersOutgoing: [],
        learnersNext: [],
        autoLeave: false,
      },
      membership: 'voter',
      compactedIndex: 4,
      snapshotIndex: 5,
      damagedEntries: 0,
      inDoubt: false,
    } as const
  }
  keyEvents(from: number, max: number) {
    return Promise.resolve([utf8(`${from} ${max}`)])
  }
  checkpoint() {
    return Promise.resolve({ checkpoint: 'note\n', policyChain: utf8('c'), lastLeaf: utf8('l'), proof: [utf8('p')] })
  }
  receipt(leaf: number, waitMs: number) {
    return Promise.resolve(utf8(`${leaf} ${waitMs}`))
  }
  leaf(index: number) {
    if (index > 6) return Promise.reject(new CipherlogError('ERR_NOT_FOUND', 'There is no such leaf yet.'))
    return Promise.resolve({ record: utf8('r'), signed: utf8('s'), body: utf8('b'), wraps: utf8('w') })
  }
  value({ key, linearizable }: { key: Uint8Array; linearizable: boolean }) {
    const value = {
      leaf: 5,
      command: 2,
      record: utf8('r'),
      signed: utf8(String(linearizable)),
      ciphertext: utf8('x'),
      tlogProof: 'p',
    }
    return Promise.resolve({ value: key[0] === 1 ? value : undefined, appliedLeafCount: 7 })
  }
  cell({ key }: { key: Uint8Array }) {
    const cell = { cellProof: utf8('c'), batchRecord: utf8('b'), tlogProof: 'p' }
    return Promise.resolve(key.length === 0 ? cell : undefined)
  }
  envelope(id: Uint8Array) {
    return Promise.resolve({ fixed: id, wraps: utf8('w') })
  }
  session(client: Uint8Array) {
    return Promise.resolve({ highWaterMark: client[0]!, open: [{ number: 4, lastSequence: 2 }] })
  }
  async *watch({ fromLeaf }: { fromLeaf: number }, signal: AbortSignal) {
    this.watching.push(signal)
    for (let leaf = fromLeaf; leaf < 7; leaf++) yield { leaf, record: utf8('r'), signed: utf8('s'), body: utf8('b') }
    await new Promise((resolve) => signal.addEventListener('abort', resolve))
  }
  trailFile(path: string) {
    const bytes = utf8('0123456789'.repeat(100_000))
    if (path !== 'tile/bundle/000') return Promise.resolve(undefined)
    const read = (start: number, length: number) => Promise.resolve(bytes.slice(start, start + length))
    return Promise.resolve({ size: bytes.length, immutable: false, read })
  }
  bodiesArePublic() {
    return false
  }
  ready() {
    return { ok: this.isReady, reasons: this.isReady ? [] : ['no leader'] }
  }
}

const closers: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0)) await close()
})

async function start(options: Partial<ApiServerOptions> = {}) {
  const node = new PlainNode()
  const server = createApiServer({
    node,
    metrics: createMetrics({ process: false }),
    listen: { host: '127.0.0.1', port: 0 },
    tls: [pinned, browser],
    logger: silentLogger,
    closeMsMax: 20,
    ...options,
  })
  const address = await server.start()
  closers.push(() => server.close())
  const baseUrl = `https://127.0.0.1:${address.port}`
  const transport = { baseUrl, nodeOptions: { rejectUnauthorized: false } }
  return {
    node,
    server,
    address,
    client: createClient(CipherlogService, createConnectTransport({ ...transport, httpVersion: '2' })),
    client1: createClient(CipherlogService, createConnectTransport({ ...transport, httpVersion: '1.1' })),
    grpc: createClient(CipherlogService, createGrpcTransport(transport)),
    grpcWeb: createClient(CipherlogService, createGrpcWebTransport({ ...transport, httpVersion: '1.1' })),
    http: (path: string, request: RequestOptions & { body?: string | Uint8Array } = {}) =>
      http(address.port, path, request),
  }
}

/** One plain HTTP/1.1 request, as curl would send it. */
async function http(port: number, path: string, { body, ...options }: RequestOptions & { body?: string | Uint8Array }) {
  const request = httpsRequest({ port, path, host: '127.0.0.1', rejectUnauthorized: false, agent: false, ...options })
  request.end(body)
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk as Buffer)
  return { status: response.statusCode, headers: response.headers, text: Buffer.concat(chunks).toString() }
}

const service = '/cipherlog.v1.CipherlogService'
const json = { method: 'POST', headers: { 'content-type': 'application/json' } }
const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'no error',
    (error: unknown) => fromConnectError(error).code,
  )

describe('API server', () => {
  it('speaks JSON over HTTP/1.1, by POST and for reads by GET', async () => {
    const { http } = await start()
    const posted = await http(`${service}/Status`, { ...json, body: '{}' })
    expect(posted.status).toBe(200)
    expect(JSON.parse(posted.text)).toMatchObject({
      origin: 'example.org/log/0011/00/0',
      term: '3',
      peers: [{ matchIndex: '9', connected: true }],
    })
    const got = await http(`${service}/GetLeaf?connect=v1&encoding=json&message=${encodeURIComponent('{"leaf":"2"}')}`)
    expect([got.status, JSON.parse(got.text)]).toEqual([
      200,
      { record: 'cg==', signed: 'cw==', body: 'Yg==', wraps: 'dw==' },
    ])
  })

  it('answers every call alike over Connect (HTTP/2, HTTP/1.1), gRPC and gRPC-Web', async () => {
    const { client, client1, grpc, grpcWeb } = await start()
    const callAll = async (api: Client<typeof CipherlogService>) => ({
      propose: await api.propose({ kind: 3, signed: utf8('abc'), body: utf8('de'), receipt: true, tag: 9n }),
      status: await api.status({}),
      events: await api.getKeyEvents({ from: 3n, max: 5_000 }),
      checkpoint: await api.getCheckpoint({}),
      receipt: await api.getReceipt({ leaf: 4n, waitMs: 99_999_999 }),
      leaf: await api.getLeaf({ leaf: 4n }),
      value: await api.getValue({ namespace: 'n', key: new Uint8Array([1]), linearizable: true }),
      noValue: await api.getValue({ namespace: 'n', key: new Uint8Array([2]) }),
      cell: await api.getCell({ namespace: 'n' }),
      noCell: await api.getCell({ namespace: 'n', key: new Uint8Array([1]) }),
      envelope: await api.getEnvelope({ id: new Uint8Array(32) }),
      session: await api.getSession({ client: new Uint8Array(16).fill(6) }),
      notFound: await codeOf(api.getLeaf({ leaf: 7n })),
      notLeader: await codeOf(api.propose({ kind: 1, signed: utf8('not leader') })),
      refused: await codeOf(api.propose({ kind: 1, signed: utf8('gap') })),
    })
    const first = await callAll(client)
    expect(first).toMatchObject({
      propose: { tag: 9n, outcome: { case: 'answer', value: { applied: utf8('3 2'), duplicate: true } } },
      status: { logTime: 1_700_000_000_000n, leaderId: '', peers: [{ matchIndex: 9n }] },
      events: { signed: [utf8('3 1000')] },
      checkpoint: { checkpoint: 'note\n', proof: [utf8('p')] },
      receipt: { receipt: utf8('4 30000') },
      leaf: { wraps: utf8('w') },
      value: { found: true, leaf: 5n, command: 2, signed: utf8('true'), appliedLeafCount: 7n },
      noValue: { found: false, appliedLeafCount: 7n },
      cell: { found: true, cellProof: utf8('c') },
      noCell: { found: false },
      envelope: { fixed: new Uint8Array(32) },
      session: { highWaterMark: 6n, open: [{ number: 4n, lastSequence: 2n }] },
      notFound: 'ERR_NOT_FOUND',
      notLeader: 'ERR_NOT_LEADER',
      refused: 'ERR_SEQUENCE_GAP',
    })
    for (const api of [client1, grpc, grpcWeb]) expect(await callAll(api)).toEqual(first)
  })

  it.each([
    ['a kind that is none', { kind: 5, signed: utf8('a') }],
    ['nothing signed', { kind: 3 }],
    ['a body where none belongs', { kind: 1, signed: utf8('a'), body: utf8('b') }],
    ['something signed above the limit', { kind: 3, signed: new Uint8Array(1_048_576 + 4097) }],
    ['bodies above the limit', { kind: 3, signed: utf8('a'), body: new Uint8Array(8_388_609) }],
  ])('refuses a proposal with %s', async (_what, request) => {
    const { client } = await start()
    expect(await codeOf(client.propose(request))).toBe('ERR_REQUEST_INVALID')
  })

  it('refuses reads with ids, keys, names or numbers of impossible size', async () => {
    const { client } = await start()
    const codes = await Promise.all([
      codeOf(client.getEnvelope({ id: new Uint8Array(31) })),
      codeOf(client.getSession({ client: new Uint8Array(17) })),
      codeOf(client.getValue({ namespace: 'n' })),
      codeOf(client.getValue({ namespace: '', key: new Uint8Array(1) })),
      codeOf(client.getCell({ namespace: 'n'.repeat(129) })),
      codeOf(client.getLeaf({ leaf: 2n ** 53n })),
    ])
    expect(new Set(codes)).toEqual(new Set(['ERR_REQUEST_INVALID']))
  })

  it('takes a message of the largest bundle and refuses one above the limit of messages', async () => {
    const { client } = await start()
    const body = new Uint8Array(8_388_608)
    const { outcome } = await client.propose({ kind: 3, signed: new Uint8Array(1_048_576), body })
    expect(outcome.value).toMatchObject({ applied: utf8('1048576 8388608') })
    const tooLarge = client.propose({ kind: 3, signed: new Uint8Array(2_200_000), body })
    expect(await codeOf(tooLarge)).toBe('ERR_REQUEST_TOO_LARGE')
  })

  it('says nothing of its own faults to clients, and logs them', async () => {
    const lines: string[] = []
    const logger = createLogger({
      level: 'error',
      pretty: false,
      destination: { write: (line) => void lines.push(line) },
    })
    const { http } = await start({ logger })
    const body = JSON.stringify({ kind: 1, signed: Buffer.from('bug').toString('base64') })
    const { status, text } = await http(`${service}/Propose`, { ...json, body })
    expect([status, text.includes('secret'), text.includes('"code":"internal"')]).toEqual([500, false, true])
    expect(lines.join('')).toContain('secret of /var/lib')
  })

  it('answers 415 to another content type and 404 to another path', async () => {
    const { http } = await start()
    const wrong = await http(`${service}/Status`, {
      method: 'POST',
      headers: { 'content-type': 'text/html' },
      body: '{}',
    })
    expect(wrong.status).toBe(415)
    expect((await http('/nothing')).status).toBe(404)
    expect((await http(`${service}/Nothing`, { ...json, body: '{}' })).status).toBe(405)
  })

  it('refuses compressed requests, so that nothing can expand', async () => {
    const { http } = await start()
    const headers = { ...json.headers, 'content-encoding': 'gzip' }
    expect((await http(`${service}/Status`, { ...json, headers, body: '{}' })).status).toBe(501)
  })

  it('survives a Host header that is not a host', async () => {
    const { http } = await start()
    const headers = { ...json.headers, host: '[' }
    expect((await http(`${service}/Status`, { ...json, headers, body: '{}' })).status).toBe(400)
    expect((await http('/healthz')).text).toBe('ok\n')
  })

  it('survives a request that breaks off', async () => {
    const { address, http } = await start()
    const socket = connect({ ...address, rejectUnauthorized: false })
    await once(socket, 'secureConnect')
    socket.write(
      `POST ${service}/Propose HTTP/1.1\r\nhost: a\r\ncontent-type: application/proto\r\ncontent-length: 99\r\n\r\nab`,
    )
    await new Promise((resolve) => setTimeout(resolve, 20))
    socket.destroy()
    expect((await http('/healthz')).status).toBe(200)
  })

  it('tells health, readiness and metrics', async () => {
    const { http, node } = await start()
    expect((await http('/readyz')).status).toBe(200)
    node.isReady = false
    const unready = await http('/readyz')
    expect([unready.status, unready.text]).toEqual([503, '{"ok":false,"reasons":["no leader"]}'])
    const metrics = await http('/metrics')
    expect(metrics.headers['content-type']).toMatch(/^text\/plain; version=0\.0\.4/)
    expect(metrics.text).toContain('cipherlog_has_leader 0')
    const head = await http('/healthz', { method: 'HEAD' })
    expect([head.status, head.text]).toEqual([200, ''])
    const post = await http('/healthz', { method: 'POST' })
    expect([post.status, post.headers.allow]).toEqual([405, 'GET, HEAD, OPTIONS'])
  })

  it('lets web pages of any origin ask', async () => {
    const { http } = await start()
    const preflight = await http(`${service}/Status`, { method: 'OPTIONS', headers: { origin: 'https://a.example' } })
    expect(preflight.status).toBe(204)
    expect(preflight.headers).toMatchObject({ 'access-control-allow-origin': '*', 'access-control-max-age': '7200' })
    expect(preflight.headers['access-control-allow-headers']).toContain('Connect-Protocol-Version')
    const answer = await http(`${service}/Status`, { ...json, body: '{}' })
    expect(answer.headers['access-control-allow-origin']).toBe('*')
  })

  it('serves the trail with ranges, over HTTP/1.1', async () => {
    const { http } = await start()
    const whole = await http('/trail/tile/bundle/000')
    expect([whole.status, whole.text.length]).toEqual([200, 1_000_000])
    const part = await http('/trail/tile/bundle/000', { headers: { range: 'bytes=999995-' } })
    expect([part.status, part.text, part.headers['content-range']]).toEqual([
      206,
      '56789',
      'bytes 999995-999999/1000000',
    ])
    const head = await http('/trail/tile/bundle/000', { method: 'HEAD' })
    expect([head.headers['content-length'], head.text]).toEqual(['1000000', ''])
    for (const path of ['/trail/', '/trail/..%2f..%2fkeys', '/trail/tile/body/000']) {
      expect((await http(path)).status, path).toBe(404)
    }
  })

  it('shows the pinned key to clients that ask for Ed25519 and P-256 to browsers', async () => {
    const { address } = await start()
    const options = { ...address, rejectUnauthorized: false }
    const pinning = connect({ ...options, sigalgs: 'ed25519' })
    await once(pinning, 'secureConnect')
    expect(peerTlsKey(pinning)).toEqual(pinned.publicKey)
    const browsing = connect({ ...options, sigalgs: 'ecdsa_secp256r1_sha256' })
    await once(browsing, 'secureConnect')
    expect(browsing.getPeerX509Certificate()!.fingerprint256).toBe(
      new X509Certificate(browser.certificate).fingerprint256,
    )
    pinning.destroy()
    browsing.destroy()
  })

  it('fails with a typed error if the address is in use', async () => {
    const { address } = await start()
    await expect(start({ listen: address })).rejects.toMatchObject({ code: 'ERR_LISTEN_ADDRESS_IN_USE' })
  })

  it('refuses requests as busy while it holds as many bytes as it may, and takes them again later', async () => {
    const { client, node } = await start({ requestBytesMax: 100_000 })
    const hanging = client.propose({ kind: 3, signed: utf8('hang'), body: new Uint8Array(40_000) })
    await vi.waitFor(() => expect(node.hanging).toHaveLength(1))
    const large = () => client.propose({ kind: 3, signed: utf8('a'), body: new Uint8Array(60_000) })
    expect(await codeOf(large())).toBe('ERR_BUSY')
    node.hanging[0]!({ applied: utf8('done'), duplicate: false })
    await hanging
    for (let i = 0; i < 5; i++) expect(await codeOf(large())).toBe('no error')
    expect(await codeOf(client.propose({ kind: 3, signed: utf8('a'), body: new Uint8Array(100_001) }))).toBe('ERR_BUSY')
  })
})

describe('API server, streams', () => {
  it('answers many proposals in flight on one stream by their tags', async () => {
    const { client, node } = await start()
    async function* requests() {
      yield { kind: 3, signed: utf8('hang'), tag: 1n }
      for (let i = 2n; i <= 200n; i++) yield { kind: 3, signed: utf8('ok'), tag: i }
      yield { kind: 3, signed: utf8('gap'), tag: 201n }
    }
    const tags: bigint[] = []
    for await (const { tag, outcome } of client.proposeStream(requests())) {
      tags.push(tag)
      expect(outcome.case).toBe(tag === 201n ? 'error' : 'answer')
      if (tags.length === 200) node.hanging[0]!({ applied: utf8('late'), duplicate: false })
    }
    expect(tags.at(-1)).toBe(1n)
    expect(new Set(tags).size).toBe(201)
  })

  it('answers on gRPC streams too, while the client goes on sending', async () => {
    const { grpc } = await start()
    let next = (_request: { kind: number; signed: Uint8Array; tag: bigint }): void => {}
    async function* requests() {
      yield { kind: 3, signed: utf8('a'), tag: 1n }
      yield await new Promise<{ kind: number; signed: Uint8Array; tag: bigint }>((resolve) => (next = resolve))
    }
    const tags: bigint[] = []
    for await (const { tag } of grpc.proposeStream(requests())) {
      tags.push(tag)
      if (tag === 1n) next({ kind: 3, signed: utf8('b'), tag: 2n })
    }
    expect(tags).toEqual([1n, 2n])
  })

  it('counts the bytes of a long stream only while they are in flight', async () => {
    const { client } = await start({ requestBytesMax: 300_000 })
    async function* requests() {
      for (let tag = 1n; tag <= 40n; tag++) {
        yield { kind: 3, signed: utf8('a'), body: new Uint8Array(30_000), tag }
        await new Promise((resolve) => setTimeout(resolve, 1))
      }
    }
    let answered = 0
    for await (const { outcome } of client.proposeStream(requests())) if (outcome.case === 'answer') answered++
    expect(answered).toBe(40)
  })

  it('refuses a two-way stream over HTTP/1.1 with 505', async () => {
    const { http } = await start()
    const headers = { 'content-type': 'application/connect+proto' }
    expect((await http(`${service}/ProposeStream`, { method: 'POST', headers })).status).toBe(505)
  })

  it('watches from a leaf on, and stops when the client goes', async () => {
    const { client, node } = await start()
    const leaves: bigint[] = []
    const abort = new AbortController()
    const watching = (async () => {
      for await (const { leaf } of client.watch({ fromLeaf: 4n }, { signal: abort.signal })) leaves.push(leaf)
    })()
    const code = codeOf(watching)
    await vi.waitFor(() => expect(leaves).toHaveLength(3))
    abort.abort()
    expect(await code).toBe('ERR_CANCELED')
    expect(leaves).toEqual([4n, 5n, 6n])
    await vi.waitFor(() => expect(node.watching[0]!.aborted).toBe(true))
  })

  it('ends watches when it closes, with an error that says to go elsewhere', async () => {
    const { client, server } = await start()
    const leaves: bigint[] = []
    const watched = (async () => {
      for await (const { leaf } of client.watch({ fromLeaf: 6n })) leaves.push(leaf)
    })()
    const code = codeOf(watched)
    await vi.waitFor(() => expect(leaves).toEqual([6n]))
    await server.close()
    expect(await code).toBe('ERR_UNAVAILABLE')
  })

  it('answers what is in flight before it closes', async () => {
    const { client, node, server } = await start({ closeMsMax: 5_000 })
    const proposed = client.propose({ kind: 3, signed: utf8('hang') })
    await vi.waitFor(() => expect(node.hanging).toHaveLength(1))
    const closed = server.close()
    node.hanging[0]!({ applied: utf8('done'), duplicate: false })
    expect((await proposed).outcome.value).toMatchObject({ applied: utf8('done') })
    await closed
  })

  it('cuts what does not end', async () => {
    const { client, node, server } = await start({ closeMsMax: 30 })
    const code = codeOf(client.propose({ kind: 3, signed: utf8('hang') }))
    await vi.waitFor(() => expect(node.hanging).toHaveLength(1))
    await server.close()
    expect(await code).not.toBe('no error')
  })
})

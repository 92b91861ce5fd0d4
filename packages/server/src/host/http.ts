/**
 * The one TLS port for clients: the Connect API (Connect, gRPC, gRPC-Web), `/trail/`, `/healthz`, `/readyz` and
 * `/metrics`, over HTTP/2 and HTTP/1.1.
 *
 * Everybody may connect; nothing here is a ground for trust. So every request is bounded in size and number before
 * it is looked at, no request can throw out of its handler, and any web page may read (`Access-Control-Allow-Origin:
 * *`): no request carries an authority that a browser would add by itself.
 */
import { type IncomingMessage, type ServerResponse } from 'node:http'
import {
  constants,
  createSecureServer,
  type Http2SecureServer,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Session,
} from 'node:http2'
import { type Socket } from 'node:net'
import { Code, ConnectError, cors, createConnectRouter, createContextValues } from '@connectrpc/connect'
import { universalRequestFromNodeRequest, universalResponseToNodeResponse } from '@connectrpc/connect-node'
import { type UniversalHandler } from '@connectrpc/connect/protocol'
import { CipherlogService } from '@cipherlog/api'
import { type Logger } from '@cipherlog/core'
import { type NodeApi } from '../node-api.ts'
import { createApiService } from './api-service.ts'
import { type Address } from './config.ts'
import { listen } from './listen.ts'
import { type Metrics } from './metrics.ts'
import { RequestBudget, UndecodedBytes, undecodedBytesKey } from './request-budget.ts'
import { type TlsIdentity } from './tls.ts'
import { trailResponse } from './trail-http.ts'

/** A full bundle with all its bodies is below 9.1 MiB; base64 in JSON needs a third more, so send large ones binary. */
const messageBytesMax = 10_485_760
/** A receipt's longest wait, and some. A client may ask for less time; streams have no limit. */
const unaryMsMax = 60_000
const connectionsMax = 1024
/** Calls at once on one HTTP/2 connection. */
const callsPerConnectionMax = 256
/** HTTP/2 flow control of a stream and of a connection: what a client may send ahead of being read. */
const windowBytes = 1_048_576
/** Requests in memory over all connections. */
const requestBytesMax = 268_435_456
/** An HTTP/2 connection that does not answer a ping for this long is dead. */
const pingIntervalMs = 30_000
/** How long streams may take to end when the server closes. */
const closeMsMax = 2_000

type Request = IncomingMessage | Http2ServerRequest
type Response = (ServerResponse | Http2ServerResponse) & {
  // The two classes declare incompatible overloads of what they both do.
  writeHead(status: number, headers: Readonly<Record<string, string>>): unknown
  write(chunk: Uint8Array): boolean
  end(text?: string): unknown
}

export interface ApiServerOptions {
  readonly node: NodeApi
  readonly metrics: Metrics
  readonly listen: Address
  /** One certificate for each type of key; TLS picks what the client can use. */
  readonly tls: readonly TlsIdentity[]
  readonly logger: Logger
  readonly requestBytesMax?: number
  readonly closeMsMax?: number
}

export interface ApiServer {
  /** Listens, and gives the address bound. @throws CipherlogError `ERR_LISTEN_*` */
  start(): Promise<Address>
  /** Takes no more, ends streams, waits a little for calls in progress, then cuts what is left. */
  close(): Promise<void>
}

export function createApiServer(options: ApiServerOptions): ApiServer {
  const { node, metrics, logger } = options
  const draining = new AbortController()
  const shutdown = new AbortController()
  const budget = new RequestBudget(options.requestBytesMax ?? requestBytesMax)
  const handlers = rpcHandlers()
  const sockets = new Set<Socket>()
  const server: Http2SecureServer = createSecureServer({
    allowHTTP1: true,
    cert: options.tls.map(({ certificate }) => certificate),
    key: options.tls.map(({ privateKey }) => privateKey),
    minVersion: 'TLSv1.2',
    handshakeTimeout: 10_000,
    settings: { maxConcurrentStreams: callsPerConnectionMax, initialWindowSize: windowBytes },
  })
  server.maxConnections = connectionsMax
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.setNoDelay(true)
    socket.on('close', () => sockets.delete(socket))
  })
  server.on('session', onSession)
  server.on('tlsClientError', (error) => logger.debug({ error }, 'A TLS handshake of a client failed.'))
  server.on('request', (request: Request, response: Response) => {
    request.on('error', (error) => logger.debug({ error }, 'A request of a client broke off.'))
    response.on('error', (error: Error) => logger.debug({ error }, 'A response to a client broke off.'))
    handle(request, response).catch((error: unknown) => {
      if (response.destroyed || ConnectError.from(error).code === Code.Aborted) return
      logger.error({ error, path: request.url }, 'A request failed because of a fault of this node.')
      if (response.headersSent) response.destroy()
      else reply(request, response, 500, 'text/plain', 'internal error\n')
    })
  })

  function rpcHandlers(): ReadonlyMap<string, UniversalHandler> {
    const router = createConnectRouter({
      readMaxBytes: messageBytesMax,
      maxTimeoutMs: unaryMsMax,
      // Sealed content does not compress, and nothing that expands is worth the risk.
      acceptCompression: [],
      shutdownSignal: shutdown.signal,
    })
    router.service(CipherlogService, createApiService({ node, budget, draining: draining.signal, logger }))
    return new Map(router.handlers.map((handler) => [handler.requestPath, handler]))
  }

  function onSession(session: ServerHttp2Session): void {
    session.setLocalWindowSize(windowBytes)
    let answered = true
    const timer = setInterval(() => {
      if (!answered) {
        session.destroy()
        return
      }
      answered = false
      session.ping(() => (answered = true))
    }, pingIntervalMs)
    timer.unref()
    session.on('close', () => clearInterval(timer))
    session.on('error', (error) => logger.debug({ error }, 'An HTTP/2 connection of a client broke off.'))
  }

  async function handle(request: Request, response: Response): Promise<void> {
    const path = request.url?.split('?', 1)[0] ?? ''
    response.setHeader('access-control-allow-origin', '*')
    response.setHeader('access-control-expose-headers', [...cors.exposedHeaders, 'content-range', 'retry-after'].join())
    response.setHeader('x-content-type-options', 'nosniff')
    if (request.method === 'OPTIONS') {
      response.writeHead(204, {
        'access-control-allow-methods': [...cors.allowedMethods, 'HEAD'].join(),
        'access-control-allow-headers': [...cors.allowedHeaders, 'range'].join(),
        'access-control-max-age': '7200',
      })
      response.end()
      return
    }
    const rpc = handlers.get(path)
    if (rpc !== undefined) return handleRpc(rpc, request, response)
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('allow', 'GET, HEAD, OPTIONS')
      reply(request, response, 405, 'text/plain', 'use GET\n')
      return
    }
    if (path.startsWith('/trail/')) return handleTrail(path.slice('/trail/'.length), request, response)
    switch (path) {
      case '/healthz':
        reply(request, response, 200, 'text/plain', 'ok\n')
        return
      case '/readyz': {
        const readiness = node.ready()
        reply(request, response, readiness.ok ? 200 : 503, 'application/json', JSON.stringify(readiness))
        return
      }
      case '/metrics':
        reply(request, response, 200, metrics.registry.contentType, await metrics.registry.metrics())
        return
      default:
        reply(request, response, 404, 'text/plain', 'not found; the API is cipherlog.v1.CipherlogService\n')
    }
  }

  async function handleRpc(rpc: UniversalHandler, request: Request, response: Response): Promise<void> {
    if (request.httpVersionMajor < 2 && !URL.canParse(`https://${request.headers.host}`)) {
      reply(request, response, 400, 'text/plain', 'the Host header is not a host\n')
      return
    }
    // A call that neither sends nor is answered; HTTP/1.1 has Node's own limits, streams may be quiet for hours.
    if ('stream' in request && rpc.method.methodKind === 'unary') {
      request.stream.setTimeout(unaryMsMax, () => request.stream.close(constants.NGHTTP2_CANCEL))
    }
    const undecoded = new UndecodedBytes(budget)
    response.on('close', () => undecoded.settle())
    const contextValues = createContextValues().set(undecodedBytesKey, undecoded)
    const universal = universalRequestFromNodeRequest(request, response, undefined, contextValues)
    const body = undecoded.count(universal.body as AsyncIterable<Uint8Array>)
    // Rejects if the response breaks off, and never resolves over HTTP/1.1: nothing may come after it.
    await universalResponseToNodeResponse(await rpc({ ...universal, body }), response)
  }

  async function handleTrail(path: string, request: Request, response: Response): Promise<void> {
    const { status, headers, body } = await trailResponse(node, path, request.headers.range)
    response.writeHead(status, headers)
    if (request.method !== 'HEAD') {
      for await (const chunk of body) {
        if (response.destroyed) return
        if (!response.write(chunk)) await drained(response)
      }
    }
    response.end()
  }

  return {
    start: () => listen(server, options.listen),
    async close() {
      draining.abort()
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      const timer = setTimeout(() => {
        shutdown.abort()
        for (const socket of sockets) socket.destroy()
      }, options.closeMsMax ?? closeMsMax)
      await closed
      clearTimeout(timer)
      shutdown.abort()
    },
  }
}

function reply(request: Request, response: Response, status: number, contentType: string, text: string): void {
  response.writeHead(status, { 'content-type': contentType, 'cache-control': 'no-cache' })
  response.end(request.method === 'HEAD' ? undefined : text)
}

/** Resolves once `response` takes more, or never will. */
function drained(response: Response): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off('drain', done)
      response.off('close', done)
      resolve()
    }
    response.on('drain', done)
    response.on('close', done)
  })
}

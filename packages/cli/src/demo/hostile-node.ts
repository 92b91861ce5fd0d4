/**
 * A node whose host lies: an HTTPS server in front of the real node that shows the real node's TLS key, passes every
 * stream on, and swaps a reader's key in the key events that it hands out.
 */
import {
  connect,
  createSecureServer,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2'
import { type AddressInfo } from 'node:net'
import { fromBinary, toBinary } from '@bufbuild/protobuf'
import { GetKeyEventsResponseSchema } from '@cipherlog/api'
import { plainBytes, systemRandom } from '@cipherlog/core'
import { generateReaderKey } from '@cipherlog/crypto/seal'
import { type NodeKeys } from '@cipherlog/format'
import { nodeCertificate } from './node-certificate.ts'
import { bringsReaderKey, substituteReaderKey } from './substitute-key.ts'

const keyEventsPath = '/cipherlog.v1.CipherlogService/GetKeyEvents'

export interface HostileNode {
  /** `https://host:port`. */
  readonly url: string
  /** Until this is set it passes everything on unchanged. */
  lies: boolean
  /** Key events handed out with another reader key. */
  readonly substituted: number
  close(): Promise<void>
}

/**
 * @param upstream - `https://host:port` of the node whose host this is.
 * @param keys - that node's own keys.
 */
export async function startHostileNode(upstream: string, keys: NodeKeys): Promise<HostileNode> {
  const { publicKey: hostileKey } = await generateReaderKey(systemRandom)
  const node = { url: '', lies: false, substituted: 0 }
  const alter = (answer: Uint8Array): Uint8Array => {
    const response = fromBinary(GetKeyEventsResponseSchema, answer)
    response.signed = response.signed.map((event) => {
      if (!bringsReaderKey(event)) return event
      node.substituted++
      return substituteReaderKey(event, hostileKey)
    })
    return toBinary(GetKeyEventsResponseSchema, response)
  }

  // Between the host's own processes nothing has to be checked.
  const real = connect(upstream, { rejectUnauthorized: false })
  const { certificate, privateKey } = nodeCertificate(keys.tls)
  const server = createSecureServer({ cert: certificate, key: privateKey })
  const sessions = new Set<ServerHttp2Session>()
  server.on('session', (session) => {
    sessions.add(session)
    session.once('close', () => sessions.delete(session))
  })
  server.on('stream', (stream, headers) => {
    const request = real.request(forwarded(headers))
    request.on('error', () => stream.destroy())
    stream.on('error', () => request.destroy())
    stream.on('close', () => request.destroy())
    stream.pipe(request)
    request.on('response', (answerHeaders) => {
      const isAltered = node.lies && headers[':path']?.startsWith(keyEventsPath) === true
      if (!isAltered || answerHeaders[':status'] !== 200) {
        stream.respond(answerHeaders)
        request.pipe(stream)
        return
      }
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => respond(stream, answerHeaders, alter(plainBytes(Buffer.concat(chunks)))))
    })
  })
  await new Promise<void>((resolve, reject) => {
    real.once('connect', () => server.listen(0, '127.0.0.1', resolve))
    real.once('error', reject)
    server.once('error', reject)
  })
  node.url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`
  return Object.assign(node, {
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve())
        for (const session of sessions) session.destroy()
        real.destroy()
      }),
  })
}

function forwarded(headers: IncomingHttpHeaders & { readonly ':authority'?: string }) {
  const { ':authority': _own, ...rest } = headers
  return rest
}

function respond(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, body: Uint8Array): void {
  const { 'content-length': _old, ...rest } = headers
  stream.respond(rest)
  stream.end(body)
}

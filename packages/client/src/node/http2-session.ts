/**
 * An HTTP/2 connection to one replica under TLS, kept open and reopened when it is lost.
 *
 * Replicas are no web servers: their certificates are self-signed, and what counts is the raw Ed25519 key in them,
 * which operators listed on the log. So by default only such certificates are asked for (TLS 1.3, signature
 * algorithm ed25519), and the key is compared before the first byte of HTTP is sent. With a CA instead, Node's usual
 * verification applies, for clusters whose operators have configured certificates of their own.
 */
import {
  connect as connectHttp2,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type OutgoingHttpHeaders,
} from 'node:http2'
import { isIP } from 'node:net'
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls'
import { CipherlogError } from '@cipherlog/core'

const connectMsMax = 5_000
/** A connection with open streams that does not answer a ping for this long is dead. */
const pingIntervalMs = 10_000
/** Flow control: what a replica may send ahead of being read. */
const windowBytes = 4_194_304

/** How a replica's certificate is checked. */
export type TlsTrust =
  /** Self-signed Ed25519, the key listed in the cosigner set. */
  | { readonly kind: 'pinned' }
  /** A certificate chain, by PEM roots or, without, by those of Node. */
  | { readonly kind: 'ca'; readonly ca?: string | string[] | undefined }

export class Http2Session {
  /** `https://host:port`, as the Connect transport compares it. */
  readonly authority: string
  readonly #url: URL
  readonly #trust: TlsTrust
  readonly #checkPeerKey: (key: Uint8Array) => CipherlogError | undefined
  #session: Promise<ClientHttp2Session> | undefined
  #peerKey: Uint8Array | undefined
  #closed = false

  constructor(address: string, trust: TlsTrust, checkPeerKey: (key: Uint8Array) => CipherlogError | undefined) {
    this.#url = new URL(address)
    this.authority = this.#url.origin
    this.#trust = trust
    this.#checkPeerKey = checkPeerKey
  }

  get peerKey(): Uint8Array | undefined {
    return this.#peerKey
  }

  /** Resolves once connected. @throws CipherlogError `ERR_UNAVAILABLE`, `ERR_POLICY_ENDPOINT`: nothing was sent. */
  async ready(): Promise<void> {
    await this.#connected()
  }

  /** A request stream; part of what Connect's transport asks of a session manager. */
  async request(
    method: string,
    path: string,
    headers: OutgoingHttpHeaders,
    options: object,
  ): Promise<ClientHttp2Stream> {
    const session = await this.#connected()
    return session.request({ ...headers, ':method': method, ':path': path }, options)
  }

  /** Asked for by Connect's transport; pings are counted here by their answers alone. */
  notifyResponseByteRead(): void {}

  close(): void {
    this.#closed = true
    this.#session?.then(
      (session) => session.destroy(),
      () => undefined,
    )
    this.#session = undefined
  }

  #connected(): Promise<ClientHttp2Session> {
    if (this.#closed) return Promise.reject(unavailable(this.authority, 'this client is closed'))
    if (this.#session === undefined) {
      const session = this.#connect()
      this.#session = session
      // A failed attempt is not remembered; the next call tries again.
      session.catch(() => this.#forget(session))
    }
    return this.#session
  }

  #forget(session: Promise<ClientHttp2Session>): void {
    if (this.#session === session) this.#session = undefined
  }

  async #connect(): Promise<ClientHttp2Session> {
    const socket = await this.#handshake()
    const session = connectHttp2(this.#url, { createConnection: () => socket })
    // Streams report it; without a listener it would end the process.
    session.on('error', () => undefined)
    const current = this.#session
    const over = (): void => {
      clearInterval(timer)
      if (current !== undefined) this.#forget(current)
    }
    let answered = true
    const timer = setInterval(() => {
      if (session.destroyed) return
      if (answered) {
        answered = false
        session.ping(() => (answered = true))
        return
      }
      // It may take a while to close; nothing can be asked of it meanwhile.
      over()
      session.destroy()
    }, pingIntervalMs)
    timer.unref()
    session.on('goaway', () => current !== undefined && this.#forget(current))
    session.on('close', over)
    await new Promise<void>((resolve, reject) => {
      session.once('connect', () => {
        session.setLocalWindowSize(windowBytes)
        resolve()
      })
      session.once('close', () => reject(unavailable(this.authority, 'it closed the connection')))
    })
    return session
  }

  #handshake(): Promise<TLSSocket> {
    const { hostname, port } = this.#url
    const host = hostname.replace(/^\[|\]$/g, '')
    const common: ConnectionOptions = {
      host,
      port: port === '' ? 443 : Number(port),
      ALPNProtocols: ['h2'],
      ...(isIP(host) === 0 ? { servername: host } : {}),
    }
    const options: ConnectionOptions =
      this.#trust.kind === 'pinned'
        ? { ...common, minVersion: 'TLSv1.3', sigalgs: 'ed25519', rejectUnauthorized: false }
        : { ...common, minVersion: 'TLSv1.2', ...(this.#trust.ca === undefined ? {} : { ca: this.#trust.ca }) }
    return new Promise((resolve, reject) => {
      const socket = connectTls(options)
      const fail = (error: CipherlogError): void => {
        clearTimeout(timer)
        socket.destroy()
        reject(error)
      }
      const timer = setTimeout(() => fail(unavailable(this.authority, 'it does not answer')), connectMsMax)
      const onError = (cause: Error): void => fail(unavailable(this.authority, cause.message, cause))
      socket.once('error', onError)
      socket.once('secureConnect', () => {
        clearTimeout(timer)
        socket.off('error', onError)
        const problem = this.#problemOf(socket)
        if (problem !== undefined) return fail(problem)
        socket.setNoDelay(true)
        resolve(socket)
      })
    })
  }

  #problemOf(socket: TLSSocket): CipherlogError | undefined {
    if (socket.alpnProtocol !== 'h2') return unavailable(this.authority, 'it speaks no HTTP/2')
    if (this.#trust.kind !== 'pinned') return undefined
    const key = ed25519KeyOf(socket)
    if (key === undefined) return unavailable(this.authority, 'it shows no Ed25519 certificate')
    const problem = this.#checkPeerKey(key)
    if (problem === undefined) this.#peerKey = key
    return problem
  }
}

/** The raw key of the certificate whose private key the handshake proved; a resumed session proves none. */
function ed25519KeyOf(socket: TLSSocket): Uint8Array | undefined {
  const key = socket.isSessionReused() ? undefined : socket.getPeerX509Certificate()?.publicKey
  if (key?.asymmetricKeyType !== 'ed25519') return undefined
  return new Uint8Array(Buffer.from(key.export({ format: 'jwk' }).x!, 'base64url'))
}

function unavailable(address: string, why: string, cause?: unknown): CipherlogError {
  return new CipherlogError(
    'ERR_UNAVAILABLE',
    `The replica at ${address} cannot be used: ${why.slice(0, 200)}. Check the address, or try another endpoint.`,
    { cause, details: { address } },
  )
}

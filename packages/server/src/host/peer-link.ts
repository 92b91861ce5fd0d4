/**
 * The connection that this replica dials to one peer and sends on. It redials for ever, with exponential back-off
 * and jitter, and notices a peer that went silent: TCP alone would keep a dead connection for minutes.
 *
 * Invariant: nothing is sent before the peer has shown the listed key and answered with a hello of our cluster.
 */
import { connect, type TLSSocket } from 'node:tls'
import { CipherlogError, equalBytes, toHex, type Logger } from '@cipherlog/core'
import {
  encodePeerFrameHead,
  PeerFrameReader,
  peerProtocolVersion,
  type PeerHeader,
} from '@cipherlog/format/peer-frame'
import { type Address } from './config.ts'
import { type Metrics } from './metrics.ts'
import { peerTlsKey, peerTlsOptions, type PinnedTlsIdentity } from './tls.ts'

/** Longest hello, ping or pong: all that is accepted where nothing longer has a place. */
export const shortFrameBytesMax = 1024

export interface PeerTiming {
  /** From the first packet to the peer's hello. */
  readonly handshakeMsMax: number
  readonly pingIntervalMs: number
  /** Without pong, and without anything more taken by the network, for this long: the peer is gone. */
  readonly silenceMsMax: number
  /** The dialled side gives up when it hears nothing for this long. */
  readonly idleMsMax: number
  readonly redialMsMin: number
  readonly redialMsMax: number
}

export const defaultPeerTiming: PeerTiming = {
  handshakeMsMax: 5_000,
  pingIntervalMs: 1_000,
  silenceMsMax: 3_000,
  idleMsMax: 10_000,
  redialMsMin: 50,
  redialMsMax: 2_000,
}

export interface PeerMember {
  /** Lowercase hex of 16 bytes. */
  readonly peerId: string
  /** Raw Ed25519 key, 32 bytes. */
  readonly tlsKey: Uint8Array
  readonly address: Address
}

/** The last thing said to a replica that has no part in the group. */
export type NotMember = PeerHeader & { readonly type: 'notMember' }

export interface PeerLinkOptions {
  readonly identity: PinnedTlsIdentity
  readonly hello: PeerHeader & { readonly type: 'hello' }
  readonly peer: PeerMember
  readonly queueBytesMax: number
  readonly timing: PeerTiming
  readonly onStateChange: (connected: boolean) => void
  /** The peer has answered; `rulesVersionMax` is its word. */
  readonly onHello: (rulesVersionMax: number) => void
  readonly onNotMember: (said: NotMember) => void
  readonly logger: Logger
  readonly metrics: Metrics | undefined
}

export class PeerLink {
  readonly #options: PeerLinkOptions
  #socket: TLSSocket | undefined
  #connected = false
  #closed = false
  #failures = 0
  #lastProblem: string | undefined
  /** The one timer of this state: handshake limit, next ping, or next dial. */
  #timer: NodeJS.Timeout | undefined
  #corked = false
  /** Bytes handed to the socket since it was opened. */
  #written = 0
  #pingSequence = 0
  #pingSentAt = 0
  #pongAwaited = false
  /** When the peer was last known to take or send anything. */
  #aliveAt = 0
  #taken = 0

  constructor(options: PeerLinkOptions) {
    this.#options = options
    this.#dial()
  }

  get peer(): PeerMember {
    return this.#options.peer
  }

  get connected(): boolean {
    return this.#connected
  }

  /**
   * Queues one frame. The bytes must not change afterwards.
   * @returns false if it was dropped: not connected, or the queue would exceed its bound.
   */
  send(header: PeerHeader, bodies: readonly Uint8Array[]): boolean {
    const { peer, metrics, queueBytesMax } = this.#options
    const socket = this.#socket
    const bodiesBytes = bodies.reduce((sum, { length }) => sum + length, 0)
    const head = encodePeerFrameHead(header, bodiesBytes)
    const queued = socket?.writableLength ?? 0
    // A frame alone always fits, however long.
    const full = queued > 0 && queued + head.length + bodiesBytes > queueBytesMax
    if (socket === undefined || !this.#connected || full) {
      metrics?.peerDroppedFrames.inc({ peer: peer.peerId })
      return false
    }
    this.#write(socket, head, bodies)
    return true
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
    this.#socket?.destroy()
  }

  /** Frames of one turn of the event loop leave together. */
  #write(socket: TLSSocket, head: Uint8Array, bodies: readonly Uint8Array[]): void {
    if (!this.#corked) {
      this.#corked = true
      socket.cork()
      process.nextTick(() => {
        this.#corked = false
        socket.uncork()
      })
    }
    let bytes = head.length
    socket.write(head)
    for (const body of bodies) {
      if (body.length === 0) continue
      socket.write(body)
      bytes += body.length
    }
    this.#written += bytes
    this.#options.metrics?.peerSentBytes.inc({ peer: this.#options.peer.peerId }, bytes)
  }

  #dial(): void {
    const { identity, hello, peer, timing } = this.#options
    const socket = connect({ ...peerTlsOptions(identity), host: peer.address.host, port: peer.address.port })
    this.#socket = socket
    this.#written = 0
    this.#taken = 0
    this.#corked = false
    let problem: Error | undefined
    const fail = (error: Error): void => {
      problem ??= error
      socket.destroy()
    }
    this.#timer = setTimeout(
      () => fail(new CipherlogError('ERR_PEER_TIMEOUT', 'The peer did not finish the handshake in time.')),
      timing.handshakeMsMax,
    )
    socket.setNoDelay(true)
    socket.on('error', (error) => (problem ??= error))
    socket.on('close', () => this.#onClose(problem))
    socket.on('secureConnect', () => {
      const key = peerTlsKey(socket)
      if (key === undefined || !equalBytes(key, peer.tlsKey)) {
        fail(
          new CipherlogError(
            'ERR_PEER_KEY',
            'The address answers with a TLS key that is not the one listed for this peer; check the address.',
            { details: { key: key === undefined ? 'none' : toHex(key), expected: toHex(peer.tlsKey) } },
          ),
        )
        return
      }
      const reader = new PeerFrameReader(shortFrameBytesMax)
      socket.on('data', (chunk) => {
        try {
          for (const { header } of reader.push(chunk)) this.#receive(header)
        } catch (error) {
          if (!(error instanceof CipherlogError)) throw error
          fail(error)
        }
      })
      this.#write(socket, encodePeerFrameHead(hello, 0), [])
    })
  }

  /** What the peer says on this connection: one hello, then pongs; or that it has nothing to do with us. @throws CipherlogError `ERR_PEER_*` */
  #receive(header: PeerHeader | { readonly type: 'unknown' }): void {
    const { hello, peer, metrics } = this.#options
    if (header.type === 'unknown') {
      metrics?.peerUnknownFrames.inc({ peer: peer.peerId })
      return
    }
    if (header.type === 'notMember') {
      this.#options.onNotMember(header)
      throw new CipherlogError('ERR_PEER_NOT_MEMBER', 'The peer says that this replica has no part in the group.')
    }
    if (!this.#connected) {
      const { rulesVersionMax } = checkHello(header, hello.cluster, [peer.peerId])
      this.#options.onHello(rulesVersionMax)
      this.#onConnected()
      return
    }
    if (header.type !== 'pong')
      throw new CipherlogError('ERR_PEER_PROTOCOL', `The peer sent ${header.type} as an answer.`)
    if (!this.#pongAwaited || header.sequence !== this.#pingSequence) return
    this.#pongAwaited = false
    this.#aliveAt = performance.now()
    metrics?.peerRoundTripTime.observe({ peer: peer.peerId }, (this.#aliveAt - this.#pingSentAt) / 1000)
  }

  #onConnected(): void {
    const { peer, timing, logger, onStateChange } = this.#options
    clearTimeout(this.#timer)
    this.#connected = true
    this.#failures = 0
    this.#lastProblem = undefined
    this.#pongAwaited = false
    this.#aliveAt = performance.now()
    this.#timer = setInterval(() => this.#ping(), timing.pingIntervalMs)
    logger.info({ peer: peer.peerId }, 'Connected to peer.')
    onStateChange(true)
  }

  #ping(): void {
    const socket = this.#socket!
    const now = performance.now()
    const taken = this.#written - socket.writableLength
    if (taken > this.#taken) this.#aliveAt = now
    this.#taken = taken
    if (this.#pongAwaited) {
      if (now - this.#aliveAt > this.#options.timing.silenceMsMax) {
        socket.destroy(new CipherlogError('ERR_PEER_TIMEOUT', 'The peer went silent.'))
      }
      return
    }
    this.#pongAwaited = true
    this.#pingSentAt = now
    this.#pingSequence++
    this.#write(socket, encodePeerFrameHead({ type: 'ping', sequence: this.#pingSequence }, 0), [])
  }

  #onClose(problem: Error | undefined): void {
    const { peer, timing, logger, onStateChange } = this.#options
    clearTimeout(this.#timer)
    this.#socket = undefined
    const wasConnected = this.#connected
    this.#connected = false
    if (!this.#closed) {
      // Half to all of the back-off, so that peers that were cut off together do not come back together.
      const backOffMs = Math.min(timing.redialMsMax, timing.redialMsMin * 2 ** Math.min(this.#failures, 16))
      this.#failures++
      this.#timer = setTimeout(() => this.#dial(), backOffMs * (0.5 + Math.random() / 2))
      const text = problem?.message ?? 'The peer closed the connection.'
      // Once per problem: a peer that is down for an hour is one line.
      if (text !== this.#lastProblem) {
        logger.warn({ peer: peer.peerId, ...peer.address, error: problem }, `No connection to peer: ${text}`)
      }
      this.#lastProblem = text
    }
    if (wasConnected) onStateChange(false)
  }
}

/**
 * @param peerIds - who may be on the other side of this connection, by its TLS key.
 * @returns the peer id, lowercase hex, and the newest rules that it says it can apply.
 * @throws CipherlogError `ERR_PEER_PROTOCOL`, `ERR_PEER_CLUSTER`, `ERR_PEER_KEY`
 */
export function checkHello(
  header: PeerHeader | { readonly type: 'unknown' },
  cluster: Uint8Array,
  peerIds: readonly string[],
): { readonly peerId: string; readonly rulesVersionMax: number } {
  if (header.type !== 'hello')
    throw new CipherlogError('ERR_PEER_PROTOCOL', `The peer sent ${header.type} before hello.`)
  if (!equalBytes(header.cluster, cluster)) {
    throw new CipherlogError(
      'ERR_PEER_CLUSTER',
      'The peer belongs to another cluster; check addresses and genesis files.',
      { details: { cluster: toHex(header.cluster) } },
    )
  }
  const peerId = toHex(header.peerId)
  if (!peerIds.includes(peerId)) {
    throw new CipherlogError('ERR_PEER_KEY', 'The peer says an id whose listed TLS key is not the one it has shown.', {
      details: { peerId },
    })
  }
  return { peerId, rulesVersionMax: header.rulesVersionMax ?? 1 }
}

/** The hello of this replica. `rulesVersionMax`: newest rules that it can apply. */
export function helloOf(
  cluster: Uint8Array,
  peerId: Uint8Array,
  rulesVersionMax = 1,
): PeerHeader & { readonly type: 'hello' } {
  const rules = rulesVersionMax === 1 ? {} : { rulesVersionMax }
  return { type: 'hello', cluster, peerId, version: peerProtocolVersion, ...rules }
}

/**
 * The connections that peers dial to this replica: it reads from them, and answers with one hello and with pongs.
 *
 * Invariant: no byte of a connection is read before its TLS key is found among the members', and no frame but a
 * short hello before that hello names this cluster and the member with that key. One connection per peer: a newer
 * one replaces the older, which is most likely dead.
 */
import { createServer, type Server, type TLSSocket } from 'node:tls'
import { CipherlogError, equalBytes, InvariantViolation, toHex, type Logger } from '@cipherlog/core'
import { encodePeerFrameHead, peerFrameBytesMax, PeerFrameReader, type PeerHeader } from '@cipherlog/format/peer-frame'
import { type Address } from './config.ts'
import { listen } from './listen.ts'
import { type Metrics } from './metrics.ts'
import { checkHello, shortFrameBytesMax, type NotMember, type PeerMember, type PeerTiming } from './peer-link.ts'
import { peerTlsKey, peerTlsOptions, type PinnedTlsIdentity } from './tls.ts'

/** Sockets open at once, strangers in their handshake included. */
const connectionsMax = 128
/** Pongs that a peer does not take: it is not reading, so it is not well. */
const answerBytesMax = 65_536

/** What peers say to each other beyond keeping the connection. */
export type PeerMessageHeader = Exclude<PeerHeader, { readonly type: 'hello' | 'ping' | 'pong' | 'notMember' }>

export interface PeerListenerOptions {
  readonly identity: PinnedTlsIdentity
  readonly hello: PeerHeader & { readonly type: 'hello' }
  /** Without this replica itself. */
  readonly members: () => readonly Pick<PeerMember, 'peerId' | 'tlsKey'>[]
  /** Replicas that the log lists: those among them that are no members learn so, strangers are cut off. */
  readonly listed: () => readonly Pick<PeerMember, 'peerId' | 'tlsKey'>[]
  readonly notMember: () => NotMember
  /** A connection of ALPN `h2`, with the Ed25519 key that it has shown: no peer's, but an administrator's. */
  readonly onAdmin: (socket: TLSSocket, key: Uint8Array) => void
  readonly listen: Address
  readonly timing: PeerTiming
  readonly onFrame: (from: string, header: PeerMessageHeader, bodies: Uint8Array) => void
  readonly logger: Logger
  readonly metrics: Metrics | undefined
}

export class PeerListener {
  readonly #options: PeerListenerOptions
  readonly #server: Server
  readonly #sockets = new Set<TLSSocket>()
  readonly #byPeer = new Map<string, TLSSocket>()

  constructor(options: PeerListenerOptions) {
    this.#options = options
    const { identity, timing, logger } = options
    this.#server = createServer({
      ...peerTlsOptions(identity),
      // Peers name no protocol.
      ALPNProtocols: ['h2'],
      handshakeTimeout: timing.handshakeMsMax,
    })
    this.#server.maxConnections = connectionsMax
    this.#server.on('secureConnection', (socket) => this.#accept(socket))
    this.#server.on('tlsClientError', (error) => logger.debug({ error }, 'A TLS handshake with a stranger failed.'))
  }

  /** @throws CipherlogError `ERR_LISTEN_*` */
  start(): Promise<Address> {
    return listen(this.#server, this.#options.listen)
  }

  /** Ends the connections of peers that are no longer members, or have another key. */
  membersChanged(): void {
    const members = this.#options.members()
    for (const [peerId, socket] of this.#byPeer) {
      const key = peerTlsKey(socket)
      const stays = members.some(
        (member) => member.peerId === peerId && key !== undefined && equalBytes(member.tlsKey, key),
      )
      if (!stays) this.#dismiss(socket)
    }
  }

  /** Says why, and ends the connection. */
  #dismiss(socket: TLSSocket): void {
    socket.removeAllListeners('data')
    // What still comes is read and thrown away, so that the other side reads this before it sees the end.
    socket.resume()
    socket.end(encodePeerFrameHead(this.#options.notMember(), 0))
    setTimeout(() => socket.destroy(), this.#options.timing.silenceMsMax).unref()
  }

  close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    return new Promise((resolve) => this.#server.close(() => resolve()))
  }

  #accept(socket: TLSSocket): void {
    const { members, listed, hello, timing, logger, onAdmin } = this.#options
    let peerId: string | undefined
    this.#sockets.add(socket)
    const fail = (error: CipherlogError): void => {
      logger.warn({ peer: peerId, address: socket.remoteAddress, error }, `Closed a connection: ${error.message}`)
      socket.destroy()
    }
    socket.on('error', (error) => logger.debug({ peer: peerId, error }, 'A connection of a peer failed.'))
    socket.on('close', () => {
      this.#sockets.delete(socket)
      if (peerId !== undefined && this.#byPeer.get(peerId) === socket) this.#byPeer.delete(peerId)
    })
    const key = peerTlsKey(socket)
    if (socket.alpnProtocol === 'h2' && key !== undefined) {
      onAdmin(socket, key)
      return
    }
    const peerIds = [...members(), ...listed()].flatMap((member) =>
      key !== undefined && equalBytes(member.tlsKey, key) ? [member.peerId] : [],
    )
    if (peerIds.length === 0) {
      fail(
        new CipherlogError('ERR_PEER_KEY', 'A stranger connected: its TLS key is not listed for any peer.', {
          details: { key: key === undefined ? 'none' : toHex(key) },
        }),
      )
      return
    }
    socket.setNoDelay(true)
    const deadline = setTimeout(() => {
      fail(new CipherlogError('ERR_PEER_TIMEOUT', 'The peer did not say hello in time.'))
    }, timing.handshakeMsMax)
    socket.on('close', () => clearTimeout(deadline))
    socket.setTimeout(timing.idleMsMax, () => {
      fail(new CipherlogError('ERR_PEER_TIMEOUT', 'The peer went silent.'))
    })
    const reader = new PeerFrameReader(shortFrameBytesMax)
    const receive = (chunk: Uint8Array): void => {
      for (const { header, bodies } of reader.push(chunk)) {
        if (socket.destroyed) return
        if (peerId !== undefined) {
          this.#receive(socket, peerId, header, bodies)
          continue
        }
        const said = checkHello(header, hello.cluster, peerIds)
        clearTimeout(deadline)
        if (!members().some((member) => member.peerId === said.peerId && equalBytes(member.tlsKey, key!))) {
          this.#dismiss(socket)
          return
        }
        peerId = said.peerId
        reader.frameBytesMax = peerFrameBytesMax
        this.#byPeer.get(peerId)?.destroy()
        this.#byPeer.set(peerId, socket)
        socket.write(encodePeerFrameHead(hello, 0))
      }
      if (peerId !== undefined) this.#options.metrics?.peerReceivedBytes.inc({ peer: peerId }, chunk.length)
    }
    socket.on('data', (chunk) => {
      try {
        receive(chunk)
      } catch (error) {
        // What a peer sends can be wrong in many ways, all typed. A broken invariant or a bug must stop the node.
        if (!(error instanceof CipherlogError) || error instanceof InvariantViolation) throw error
        fail(error)
      }
    })
  }

  #receive(
    socket: TLSSocket,
    peerId: string,
    header: PeerHeader | { readonly type: 'unknown'; readonly tag: number },
    bodies: Uint8Array,
  ): void {
    if (header.type === 'unknown') {
      this.#options.metrics?.peerUnknownFrames.inc({ peer: peerId })
    } else if (header.type === 'ping') {
      if (socket.writableLength > answerBytesMax) {
        throw new CipherlogError('ERR_PEER_TIMEOUT', 'The peer does not read its answers.')
      }
      socket.write(encodePeerFrameHead({ type: 'pong', sequence: header.sequence }, 0))
    } else if (header.type === 'hello' || header.type === 'pong' || header.type === 'notMember') {
      throw new CipherlogError('ERR_PEER_PROTOCOL', `The peer sent ${header.type} where it has no place.`)
    } else {
      this.#options.onFrame(peerId, header, bodies)
    }
  }
}

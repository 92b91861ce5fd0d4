/**
 * The transport between replicas: framed TCP under mutual TLS, pinned to the keys of the members
 * (docs/formats/peer-frame.md). Each replica dials every other and sends on the connection it dialled.
 *
 * It may lose frames (no connection, full queue, broken connection) and never reorders or repeats those of one
 * connection: what Raft asks of a network. The sender of a frame is authenticated; its content is not believed.
 */
import { equalBytes, fromHex, type Logger } from '@cipherlog/core'
import { group0 } from '@cipherlog/format'
import { type PeerHeader } from '@cipherlog/format/peer-frame'
import { type Address } from './config.ts'
import { type Metrics } from './metrics.ts'
import { type TLSSocket } from 'node:tls'
import { defaultPeerTiming, helloOf, PeerLink, type NotMember, type PeerMember, type PeerTiming } from './peer-link.ts'
import { PeerListener, type PeerMessageHeader } from './peer-listener.ts'
import { pinnedTlsIdentity } from './tls.ts'

export { type PeerMember, type PeerTiming } from './peer-link.ts'
export { type PeerMessageHeader } from './peer-listener.ts'

/** Bytes waiting for one peer; Raft sends again what is dropped, so more would only be stale. */
const defaultQueueBytesMax = 33_554_432

export interface PeerTransportOptions {
  readonly self: {
    /** Lowercase hex of 16 bytes. */
    readonly peerId: string
    /** Ed25519 seed, 32 bytes. */
    readonly tlsSeed: Uint8Array
  }
  /** SHA-256 of the genesis, 32 bytes. */
  readonly cluster: Uint8Array
  /** Newest rules that this replica can apply, which it tells its peers; default 1. */
  readonly rulesVersionMax?: number
  /** Who takes part at this moment, this replica included or not; those without an address can only dial. */
  readonly members: () => readonly TransportMember[]
  /** Replicas that the log lists, members or not: those that are none learn so instead of being cut off. */
  readonly listed?: () => readonly Pick<PeerMember, 'peerId' | 'tlsKey'>[]
  /** What they learn, for the group of which they are no members. */
  readonly notMember?: () => NotMember
  /** A peer that this replica dials says that we are no member. */
  readonly onNotMember?: (from: string, said: NotMember) => void
  /** A TLS connection of ALPN `h2` with its key, not looked at yet; without this all are refused. */
  readonly onAdmin?: (socket: TLSSocket, key: Uint8Array) => void
  readonly listen: Address
  /**
   * A frame of an authenticated peer; `bodies` are the payloads of an append's entries in turn, with the lengths that
   * they announce, else empty. Throwing a `CipherlogError` ends the connection; any other error is not caught.
   */
  readonly onFrame: (from: string, header: PeerMessageHeader, bodies: Uint8Array) => void
  /** Whether frames can be sent to a peer; those in the queue of a lost connection are gone. */
  readonly onStateChange: (peerId: string, connected: boolean) => void
  readonly logger: Logger
  readonly metrics?: Metrics | undefined
  readonly queueBytesMax?: number
  readonly timing?: Partial<PeerTiming>
}

export type TransportMember = Omit<PeerMember, 'address'> & { readonly address: Address | undefined }

export interface PeerTransport {
  /** Listens, then dials the members. Gives the address bound. @throws CipherlogError `ERR_LISTEN_*` */
  start(): Promise<Address>
  /**
   * Queues one frame; the bytes of `bodies` must not change afterwards.
   * @returns false if it was dropped: unknown peer, not connected, or its queue is full.
   */
  send(to: string, header: PeerMessageHeader, bodies?: readonly Uint8Array[]): boolean
  connected(peerId: string): boolean
  /** Newest rules that a peer has said it can apply; undefined before it was connected. */
  rulesVersionMax(peerId: string): number | undefined
  /** `members` gives something else than before: connections follow. */
  membersChanged(): void
  close(): Promise<void>
}

export function createPeerTransport(options: PeerTransportOptions): PeerTransport {
  const { self, cluster, logger, metrics } = options
  const timing = { ...defaultPeerTiming, ...options.timing }
  const identity = pinnedTlsIdentity(self.tlsSeed, `cipherlog-peer-${self.peerId}`)
  const hello: PeerHeader & { readonly type: 'hello' } = helloOf(cluster, fromHex(self.peerId), options.rulesVersionMax)
  const members = () => options.members().filter(({ peerId }) => peerId !== self.peerId)
  const { onFrame } = options
  const listener = new PeerListener({
    identity,
    hello,
    members,
    listed: options.listed ?? (() => []),
    notMember: options.notMember ?? (() => ({ type: 'notMember', group: group0, index: 0 })),
    onAdmin: options.onAdmin ?? ((socket) => socket.destroy()),
    listen: options.listen,
    timing,
    onFrame,
    logger,
    metrics,
  })
  const links = new Map<string, PeerLink>()
  const rulesVersions = new Map<string, number>()

  function reconcile(): void {
    const wanted = new Map(
      members().flatMap(({ address, ...member }) =>
        address === undefined ? [] : [[member.peerId, { ...member, address }] as const],
      ),
    )
    for (const [peerId, link] of links) {
      const member = wanted.get(peerId)
      if (member !== undefined && isSame(member, link.peer)) continue
      link.close()
      links.delete(peerId)
    }
    for (const [peerId, peer] of wanted) {
      if (links.has(peerId)) continue
      const link = new PeerLink({
        identity,
        hello,
        peer,
        queueBytesMax: options.queueBytesMax ?? defaultQueueBytesMax,
        timing,
        onHello: (rulesVersionMax) => rulesVersions.set(peerId, rulesVersionMax),
        onStateChange: (connected) => options.onStateChange(peerId, connected),
        onNotMember: (said) => options.onNotMember?.(peerId, said),
        logger,
        metrics,
      })
      links.set(peerId, link)
    }
  }

  return {
    async start() {
      const address = await listener.start()
      reconcile()
      return address
    },
    send: (to, header, bodies = []) => links.get(to)?.send(header, bodies) ?? false,
    connected: (peerId) => links.get(peerId)?.connected ?? false,
    rulesVersionMax: (peerId) => rulesVersions.get(peerId),
    membersChanged() {
      listener.membersChanged()
      reconcile()
    },
    async close() {
      for (const link of links.values()) link.close()
      links.clear()
      await listener.close()
    },
  }
}

const isSame = (a: PeerMember, b: PeerMember): boolean =>
  equalBytes(a.tlsKey, b.tlsKey) && a.address.host === b.address.host && a.address.port === b.address.port

/**
 * Administration of a running cluster (`ClusterService`): over TLS to the address where replicas listen for each other,
 * with the key of one of them. Whoever holds such a key takes part in the group already, so it opens nothing new.
 *
 * Reads go to whichever replica answers, changes to the leader, wherever it is by then.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { create } from '@bufbuild/protobuf'
import { createClient, type Client } from '@connectrpc/connect'
import { createConnectTransport } from '@connectrpc/connect-node'
import { ChangeMembershipRequestSchema, ClusterService, fromConnectError, type StatusResponse } from '@cipherlog/api'
import { CipherlogError, equalBytes } from '@cipherlog/core'
import { peerTlsKey, peerTlsOptions, pinnedTlsIdentity } from '@cipherlog/server'
import { type NodeAddress } from './node-files.ts'

/** A change waits until it is committed; a cluster between two leaders takes an election longer. */
const callMsMax = 30_000
const statusMsMax = 3_000
const pollMs = 150

export interface ClusterStatus {
  readonly peerId: string
  readonly role: string
  readonly membership: string
  readonly leaderId: string
  readonly term: number
  readonly commitIndex: number
  readonly appliedIndex: number
  readonly compactedIndex: number
  readonly snapshotIndex: number
  readonly damagedEntries: number
  readonly inDoubt: boolean
  readonly trailFrom: number
  readonly treeSize: number
  readonly publishedSize: number
  readonly rulesVersion: number
  readonly rulesVersionMax: number
  readonly version: string
  readonly configuration: {
    readonly voters: readonly string[]
    readonly learners: readonly string[]
    readonly votersOutgoing: readonly string[]
  }
  readonly peers: readonly PeerStatus[]
}

export interface PeerStatus {
  readonly peerId: string
  readonly peers: string
  readonly api: string
  readonly connected: boolean
  readonly voter: boolean
  readonly learner: boolean
  readonly incarnation: number
  /** The rest is known to the leader only. */
  readonly state: string
  readonly matchIndex: number | undefined
  readonly nextIndex: number | undefined
  readonly paused: boolean
  readonly inflight: number
  readonly pendingSnapshot: number
  readonly trailFrom: number | undefined
  readonly rulesVersionMax: number
}

export interface Change {
  readonly type: 'addVoter' | 'addLearner' | 'remove'
  readonly peer: string
  /** Of a replica that is added. */
  readonly address?: NodeAddress
}

export interface ClusterAdminOptions {
  /** Seed of the TLS key of a replica that the log lists, 32 bytes. */
  readonly tlsSeed: Uint8Array
  /** Where replicas listen for each other, `host:port`. */
  readonly addresses: readonly string[]
  /** TLS keys of replicas, 32 bytes each: others are not talked to. */
  readonly trusted: readonly Uint8Array[]
}

type AdminClient = Client<typeof ClusterService>

export class ClusterAdmin {
  readonly #options: ClusterAdminOptions
  readonly #clients = new Map<string, AdminClient>()
  readonly #sockets = new Set<TLSSocket>()

  constructor(options: ClusterAdminOptions) {
    this.#options = options
  }

  /** What the leader says, or if none is found in time, whoever answers. @throws CipherlogError `ERR_UNAVAILABLE` */
  async status(): Promise<ClusterStatus> {
    const found = await this.#leader(performance.now() + statusMsMax)
    if (found !== undefined) return statusOf(found.status)
    const [any] = await this.#answers(this.#options.addresses)
    if (any === undefined) throw unreachable(this.#options.addresses)
    return statusOf(any.status)
  }

  /** What one replica says of itself; undefined if it does not answer. */
  async statusAt(address: string): Promise<ClusterStatus | undefined> {
    const [answer] = await this.#answers([address])
    return answer === undefined ? undefined : statusOf(answer.status)
  }

  /** @throws CipherlogError `ERR_MEMBERSHIP_*` with the reason, `ERR_UNAVAILABLE` */
  async changeMembership(change: {
    readonly transition: 'auto' | 'jointImplicit' | 'jointExplicit'
    readonly changes: readonly Change[]
    readonly force?: boolean
  }): Promise<void> {
    const request = create(ChangeMembershipRequestSchema, {
      transition: change.transition,
      changes: change.changes.map(({ type, peer, address }) => ({
        type,
        peerId: peer,
        peersAddress: address?.peers ?? '',
        apiAddress: address?.api ?? '',
      })),
      force: change.force ?? false,
    })
    await this.#onLeader((client) => client.changeMembership(request, { timeoutMs: callMsMax }))
  }

  /** @param to - peer id; the voter that is furthest if absent. @returns who leads now. */
  async transferLeadership(to?: string): Promise<string> {
    const { leaderId } = await this.#onLeader((client) =>
      client.transferLeadership({ to: to ?? '' }, { timeoutMs: callMsMax }),
    )
    return leaderId
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy()
    this.#clients.clear()
  }

  /** Calls the leader, and its successor if it has lost its role meanwhile. */
  async #onLeader<T>(call: (client: AdminClient) => Promise<T>): Promise<T> {
    const deadline = performance.now() + callMsMax
    for (;;) {
      const found = await this.#leader(deadline)
      if (found === undefined) throw unreachable(this.#options.addresses)
      try {
        return await call(found.client)
      } catch (thrown) {
        const error = fromConnectError(thrown)
        if (error.code !== 'ERR_NOT_LEADER' || performance.now() > deadline) throw error
        await sleep(pollMs)
      }
    }
  }

  async #leader(deadline: number): Promise<{ client: AdminClient; status: StatusResponse } | undefined> {
    for (;;) {
      const answers = await this.#answers(this.#options.addresses)
      const named = answers.flatMap(({ status }) =>
        status.peers.filter(({ peerId, peersAddress }) => peerId === status.leaderId && peersAddress !== ''),
      )
      const others = named
        .map(({ peersAddress }) => peersAddress)
        .filter((address) => !this.#options.addresses.includes(address))
      const all = [...answers, ...(await this.#answers([...new Set(others)]))]
      const leaders = all.filter(({ status }) => status.role === 'leader')
      // Of two, the newer one: the other does not know yet that it was deposed.
      leaders.sort((a, b) => Number(b.status.term - a.status.term))
      if (leaders.length > 0) return leaders[0]
      if (performance.now() > deadline) return undefined
      await sleep(pollMs)
    }
  }

  async #answers(addresses: readonly string[]): Promise<{ client: AdminClient; status: StatusResponse }[]> {
    const answers = await Promise.all(
      addresses.map(async (address) => {
        const client = this.#client(address)
        try {
          return { client, status: await client.status({}, { timeoutMs: statusMsMax }) }
        } catch (thrown) {
          const error = fromConnectError(thrown)
          if (error.code === 'ERR_POLICY_ENDPOINT') throw error
          return undefined
        }
      }),
    )
    return answers.filter((answer) => answer !== undefined)
  }

  #client(address: string): AdminClient {
    const known = this.#clients.get(address)
    if (known !== undefined) return known
    const client = createClient(
      ClusterService,
      createConnectTransport({
        baseUrl: `https://${address}`,
        httpVersion: '2',
        acceptCompression: [],
        nodeOptions: { createConnection: () => this.#socket(address) },
      }),
    )
    this.#clients.set(address, client)
    return client
  }

  #socket(address: string): TLSSocket {
    const { tlsSeed, trusted } = this.#options
    const at = address.lastIndexOf(':')
    const socket = connectTls({
      ...peerTlsOptions(pinnedTlsIdentity(tlsSeed, 'cipherlog-admin')),
      host: address.slice(0, at).replace(/^\[|\]$/g, ''),
      port: Number(address.slice(at + 1)),
      ALPNProtocols: ['h2'],
    })
    this.#sockets.add(socket)
    socket.once('close', () => this.#sockets.delete(socket))
    socket.once('secureConnect', () => {
      const key = peerTlsKey(socket)
      if (key !== undefined && trusted.some((known) => equalBytes(known, key))) return
      socket.destroy(
        new CipherlogError('ERR_POLICY_ENDPOINT', `What listens at ${address} is no replica that the log lists.`),
      )
    })
    return socket
  }
}

function unreachable(addresses: readonly string[]): CipherlogError {
  const message = `No leader was found among ${addresses.join(', ')}; look whether a majority of the replicas runs.`
  return new CipherlogError('ERR_UNAVAILABLE', message, { details: { addresses: [...addresses] } })
}

function statusOf(status: StatusResponse): ClusterStatus {
  const { configuration } = status
  return {
    peerId: status.peerId,
    role: status.role,
    membership: status.membership,
    leaderId: status.leaderId,
    term: Number(status.term),
    commitIndex: Number(status.commitIndex),
    appliedIndex: Number(status.appliedIndex),
    compactedIndex: Number(status.compactedIndex),
    snapshotIndex: Number(status.snapshotIndex),
    damagedEntries: Number(status.damagedEntries),
    inDoubt: status.inDoubt,
    trailFrom: Number(status.trailFrom),
    treeSize: Number(status.treeSize),
    publishedSize: Number(status.publishedSize),
    rulesVersion: status.rulesVersion,
    rulesVersionMax: status.rulesVersionMax,
    version: status.version,
    configuration: {
      voters: configuration?.voters ?? [],
      learners: configuration?.learners ?? [],
      votersOutgoing: configuration?.votersOutgoing ?? [],
    },
    peers: status.peers.map((peer) => ({
      peerId: peer.peerId,
      peers: peer.peersAddress,
      api: peer.apiAddress,
      connected: peer.connected,
      voter: peer.voter,
      learner: peer.learner,
      incarnation: peer.incarnation,
      state: peer.state,
      matchIndex: optional(peer.matchIndex),
      nextIndex: optional(peer.nextIndex),
      paused: peer.paused,
      inflight: peer.inflight,
      pendingSnapshot: Number(peer.pendingSnapshot),
      trailFrom: optional(peer.trailFrom),
      rulesVersionMax: peer.rulesVersionMax,
    })),
  }
}

const optional = (value: bigint | undefined): number | undefined => (value === undefined ? undefined : Number(value))

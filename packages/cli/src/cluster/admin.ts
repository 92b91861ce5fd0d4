/**
 * Administration of a running cluster (`ClusterService`): over TLS to the address where replicas listen for each other,
 * with the key of one of them. Whoever holds such a key takes part in the group already, so it opens nothing new.
 *
 * Reads go to whichever replica answers, changes to the leader, wherever it is by then.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { type StatusResponse } from '@cipherlog/api'
import { CipherlogError, errorCode } from '@cipherlog/core'
import { type NodeKeys } from '@cipherlog/format'
import { connectCluster, parseAddress, type ClusterClient } from '@cipherlog/server'

/** A cluster between two leaders takes an election longer. */
const leaderMsMax = 30_000
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

export interface ClusterAdminOptions {
  /** Of a replica that the log lists. */
  readonly keys: Pick<NodeKeys, 'peerId' | 'tls'>
  /** Where replicas listen for each other, `host:port`. */
  readonly addresses: readonly string[]
  /** TLS keys of replicas as of now, 32 bytes each: others are not talked to. */
  readonly accept: () => readonly Uint8Array[]
}

interface Answer {
  readonly client: ClusterClient
  readonly status: StatusResponse
}

export class ClusterAdmin {
  readonly #options: ClusterAdminOptions
  readonly #clients = new Map<string, Promise<ClusterClient>>()

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
  async changeMembership(change: Parameters<ClusterClient['changeMembership']>[0]): Promise<void> {
    await this.#onLeader((client) => client.changeMembership(change))
  }

  /** @param to - peer id; the voter that is furthest if absent. @returns who leads now. */
  transferLeadership(to?: string): Promise<string> {
    return this.#onLeader((client) => client.transferLeadership(to))
  }

  close(): void {
    for (const client of this.#clients.values()) {
      client.then(
        (open) => open.close(),
        // It never was open; whoever called was told.
        () => undefined,
      )
    }
    this.#clients.clear()
  }

  /** Calls the leader, and its successor if it has lost its role meanwhile. */
  async #onLeader<T>(call: (client: ClusterClient) => Promise<T>): Promise<T> {
    const deadline = performance.now() + leaderMsMax
    for (;;) {
      const found = await this.#leader(deadline)
      if (found === undefined) throw unreachable(this.#options.addresses)
      try {
        return await call(found.client)
      } catch (error) {
        if (errorCode(error) !== 'ERR_NOT_LEADER' || performance.now() > deadline) throw error
        await sleep(pollMs)
      }
    }
  }

  async #leader(deadline: number): Promise<Answer | undefined> {
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

  async #answers(addresses: readonly string[]): Promise<Answer[]> {
    const answers = await Promise.all(
      addresses.map(async (address) => {
        try {
          const client = await this.#connected(address)
          return { client, status: await client.status() }
        } catch (error) {
          // Next time anew: a connection that broke stays broken, and who is listed changes.
          this.#clients.delete(address)
          if (!(error instanceof CipherlogError)) throw error
          return undefined
        }
      }),
    )
    return answers.filter((answer) => answer !== undefined)
  }

  #connected(text: string): Promise<ClusterClient> {
    const known = this.#clients.get(text)
    if (known !== undefined) return known
    const address = parseAddress(text)
    if (address === undefined) throw new RangeError(`${text} is not host:port`)
    const { keys, accept } = this.#options
    const client = connectCluster({ address, keys, accept: accept() })
    this.#clients.set(text, client)
    return client
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

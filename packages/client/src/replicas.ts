/**
 * The replicas of a cluster: which are known, which one is asked next, and which errors are worth another one.
 *
 * Reads and proposals both go to the replica that last led. A replica that cannot be reached, is behind or hands out
 * what does not verify is left for the next; no answer becomes true by being repeated. Invariant: once keys are
 * pinned, no connection to another key stays open.
 */
import {
  CipherlogError,
  DecodeError,
  NotLeaderError,
  PolicyError,
  toHex,
  VerificationError,
  type Clock,
  type Random,
} from '@cipherlog/core'
import { type Connection, type Dial, type ReplicaStatus } from './connection.ts'

/** Endpoints given and learned together: seven replicas, the ones before a change, some to spare. */
const addressesMax = 64
const backoffMsMin = 25
const backoffMsMax = 1_000

export interface ReplicasOptions {
  /** `https://host:port`, at least one. */
  readonly endpoints: readonly string[]
  readonly dial: Dial
  readonly clock: Clock
  readonly random: Random
  /** How long a read tries one replica after another, milliseconds. */
  readonly readMsMax: number
}

/** A replica that answers truly but from the past: worth waiting for, or asking another one. */
export class BehindError extends CipherlogError {
  override readonly name = 'BehindError'
  constructor(message: string, details: Readonly<Record<string, unknown>> = {}) {
    super('ERR_REPLICA_BEHIND', message, { details })
  }
}

export class Replicas {
  readonly #options: ReplicasOptions
  readonly #addresses: string[]
  readonly #connections = new Map<string, Connection>()
  #preferred = 0
  #pinned: ReadonlySet<string> | undefined
  #closed = false

  constructor(options: ReplicasOptions) {
    this.#options = options
    this.#addresses = [...new Set(options.endpoints.map(checkedAddress))]
    if (this.#addresses.length === 0) throw new TypeError('name at least one endpoint, such as https://127.0.0.1:7001')
  }

  get addresses(): readonly string[] {
    return this.#addresses
  }

  /** The address that is asked next. */
  get preferred(): string {
    return this.#addresses[this.#preferred % this.#addresses.length]!
  }

  connection(address: string = this.preferred): Connection {
    if (this.#closed) throw new CipherlogError('ERR_CLOSED', 'This log handle is closed; connect again.')
    let connection = this.#connections.get(address)
    if (connection === undefined) {
      connection = this.#options.dial(address, (key) => this.#problemOfKey(address, key))
      this.#connections.set(address, connection)
    }
    return connection
  }

  /** From now on only these TLS keys are spoken to. @param keys - raw Ed25519, 32 bytes each. */
  pin(keys: readonly Uint8Array[]): void {
    this.#pinned = new Set(keys.map(toHex))
    for (const [address, connection] of [...this.#connections]) {
      const { peerKey } = connection
      if (peerKey !== undefined && this.#problemOfKey(address, peerKey) !== undefined) {
        connection.close()
        this.#connections.delete(address)
        if (address === this.preferred) this.next(address)
      }
    }
  }

  #problemOfKey(address: string, key: Uint8Array): CipherlogError | undefined {
    if (this.#pinned === undefined || this.#pinned.has(toHex(key))) return undefined
    return new PolicyError(
      'ERR_POLICY_ENDPOINT',
      `${address} shows a TLS key that the cosigner set does not list; nothing was sent there. Check the address.`,
      { details: { address, key } },
    )
  }

  /** Goes on to the next address, unless somebody else has already. */
  next(from: string): void {
    if (this.preferred === from) this.#preferred = (this.#preferred + 1) % this.#addresses.length
  }

  /**
   * Prefers the leader that `from` names. Addresses are a replica's word: a wrong one costs a try, since what is
   * there must still show a listed key.
   */
  async follow(leaderId: string | undefined, from: string): Promise<void> {
    if (leaderId === undefined) return this.next(from)
    let status: ReplicaStatus
    try {
      status = await this.connection(from).status()
    } catch (error) {
      if (!(error instanceof CipherlogError)) throw error
      return this.next(from)
    }
    const address = status.peers.find(({ peerId }) => peerId === leaderId)?.apiAddress
    if (address === undefined || !isAddress(address)) return this.next(from)
    const { origin } = new URL(address)
    let at = this.#addresses.indexOf(origin)
    if (at === -1 && this.#addresses.length < addressesMax) at = this.#addresses.push(origin) - 1
    if (at === -1 || origin === from) return this.next(from)
    this.#preferred = at
  }

  /**
   * Runs `ask` on one replica after another until it succeeds. Faults of single replicas are retried until the time
   * is over; what does not verify only until every replica has had its turn.
   * @throws the last error; `ERR_CLOSED` after {@link Replicas.close}.
   */
  async read<T>(ask: (connection: Connection) => Promise<T>): Promise<T> {
    const { clock, readMsMax } = this.#options
    const deadline = clock.monotonic() + readMsMax
    let doubted = 0
    for (let attempt = 0; ; attempt++) {
      const address = this.preferred
      try {
        return await ask(this.connection(address))
      } catch (error) {
        const fault = faultOf(error)
        if (fault === 'final' || (fault === 'doubtful' && ++doubted >= this.#addresses.length)) throw error
        if (error instanceof NotLeaderError) await this.follow(leaderIdOf(error), address)
        else this.next(address)
        const pause = this.backoff(attempt, error)
        if (clock.monotonic() + pause > deadline) throw error
        await sleep(pause)
      }
    }
  }

  /** How long to wait before trying again: what the replica asked for, else doubling with jitter. */
  backoff(attempt: number, error?: unknown): number {
    const asked = error instanceof CipherlogError ? error.details['retryAfterMs'] : undefined
    if (typeof asked === 'number') return Math.min(asked, backoffMsMax)
    // The first round over all replicas goes quickly: often one of them is simply down.
    const round = Math.floor(attempt / this.#addresses.length)
    const most = Math.min(backoffMsMax, backoffMsMin * 2 ** Math.min(round, 10))
    return most / 2 + (most / 2) * (this.#options.random.bytes(1)[0]! / 255)
  }

  close(): void {
    this.#closed = true
    for (const connection of this.#connections.values()) connection.close()
    this.#connections.clear()
  }
}

/** `leaderId` of the error, if it is one. */
export function leaderIdOf(error: NotLeaderError): string | undefined {
  const { leaderId } = error.details
  return typeof leaderId === 'string' ? leaderId : undefined
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

const passing: ReadonlySet<string> = new Set([
  ...['ERR_UNAVAILABLE', 'ERR_TIMEOUT', 'ERR_CANCELED', 'ERR_NOT_LEADER', 'ERR_BUSY', 'ERR_INTERNAL'],
  ...['ERR_NOT_PUBLISHED', 'ERR_OUTCOME_UNKNOWN', 'ERR_REPLICA_BEHIND', 'ERR_POLICY_ENDPOINT', 'ERR_UNIMPLEMENTED'],
  // It began with a snapshot, and others have what it has not got yet.
  'ERR_TRAIL_NOT_HERE',
])

/** `passing`: of this replica at this time. `doubtful`: it does not verify, another replica may have better. */
export function faultOf(error: unknown): 'passing' | 'doubtful' | 'final' {
  if (!(error instanceof CipherlogError)) return 'final'
  if (passing.has(error.code)) return 'passing'
  // A fork is evidence: it is not to be outvoted.
  if (error.code === 'ERR_VERIFY_SPLIT_VIEW') return 'final'
  // What one replica has not applied yet, another has.
  if (error.code === 'ERR_NOT_FOUND') return 'doubtful'
  const doubtful = error instanceof DecodeError || error instanceof VerificationError || error instanceof PolicyError
  return doubtful ? 'doubtful' : 'final'
}

function isAddress(address: string): boolean {
  if (!URL.canParse(address)) return false
  const { protocol, username, password, pathname, search, hash } = new URL(address)
  return protocol === 'https:' && username + password + search + hash === '' && (pathname === '/' || pathname === '')
}

function checkedAddress(address: string): string {
  if (!isAddress(address)) {
    throw new TypeError(`an endpoint is https://host:port, not ${JSON.stringify(address)}`)
  }
  return new URL(address).origin
}

/**
 * Calls of the cluster service, by who holds the keys of a replica: `cipherlog cluster …` and tools of operators.
 *
 * Both sides show Ed25519 keys and compare them; nothing is sent before the other side has shown one that the caller
 * accepts.
 */
import { connect as connectHttp2, type ClientHttp2Session } from 'node:http2'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { createClient } from '@connectrpc/connect'
import { createConnectTransport } from '@connectrpc/connect-node'
import { ClusterService, fromConnectError, type Configuration, type StatusResponse } from '@cipherlog/api'
import { CipherlogError, equalBytes, toHex } from '@cipherlog/core'
import { type NodeKeys } from '@cipherlog/format'
import { type RequestedChange } from '../node-api.ts'
import { type Address } from './config.ts'
import { peerTlsKey, peerTlsOptions, pinnedTlsIdentity } from './tls.ts'

const connectMsMax = 5_000
/** A change waits until a joint configuration is left. */
const callMsMax = 30_000

export interface ClusterClientOptions {
  /** Where a replica listens for the others. */
  readonly address: Address
  /** Of a replica that the log lists: what `cipherlog-node keygen` wrote. */
  readonly keys: Pick<NodeKeys, 'peerId' | 'tls'>
  /** TLS keys, 32 bytes each, that the other side may show: those of the cosigner sets. */
  readonly accept: readonly Uint8Array[]
}

/** Every call throws what the replica refused with, as in packages/api; `ERR_UNAVAILABLE` if it cannot be reached. */
export interface ClusterClient {
  status(): Promise<StatusResponse>
  changeMembership(change: Partial<RequestedChange> & Pick<RequestedChange, 'changes'>): Promise<{
    readonly index: number
    readonly configuration: Configuration
  }>
  /** @returns who leads now. */
  transferLeadership(to?: string): Promise<string>
  stepDown(): Promise<void>
  close(): void
}

/**
 * Connects to one replica. Changes are for the leader: another one refuses them with `ERR_NOT_LEADER`, and its status
 * names the leader with its address.
 * @throws CipherlogError `ERR_UNAVAILABLE`, `ERR_PEER_KEY`: nothing was sent.
 */
export async function connectCluster({ address, keys, accept }: ClusterClientOptions): Promise<ClusterClient> {
  const socket = await handshake(address, keys, accept)
  const session = connectHttp2('https://replica', { createConnection: () => socket })
  const client = createClient(
    ClusterService,
    createConnectTransport({
      baseUrl: 'https://replica',
      httpVersion: '2',
      sessionManager: managerOf(session),
      acceptCompression: [],
      defaultTimeoutMs: callMsMax,
    }),
  )
  session.on('error', () => undefined)
  const call = async <T>(run: () => Promise<T>): Promise<T> => {
    if (session.closed || session.destroyed) throw unavailable('the connection is closed')
    try {
      return await run()
    } catch (error) {
      throw fromConnectError(error)
    }
  }
  return {
    status: () => call(() => client.status({})),
    changeMembership: ({ changes, transition = 'auto', addresses = [], force = false }) =>
      call(async () => {
        const { index, configuration } = await client.changeMembership({
          transition,
          force,
          changes: changes.map(({ type, peer }) => {
            const known = addresses.find(({ peerId }) => peerId === peer)
            return { type, peerId: peer, peersAddress: known?.peers ?? '', apiAddress: known?.api ?? '' }
          }),
        })
        return { index: Number(index), configuration: configuration! }
      }),
    transferLeadership: (to = '') => call(async () => (await client.transferLeadership({ to })).leaderId),
    stepDown: () => call(async () => void (await client.stepDown({}))),
    close: () => session.destroy(),
  }
}

/** One connection, which is not made again. */
function managerOf(session: ClientHttp2Session) {
  return {
    authority: 'https://replica',
    request: (method: string, path: string, headers: object, options: object) =>
      Promise.resolve(session.request({ ...headers, ':method': method, ':path': path }, options)),
    notifyResponseByteRead(): void {},
  }
}

function handshake(
  { host, port }: Address,
  keys: ClusterClientOptions['keys'],
  accept: readonly Uint8Array[],
): Promise<TLSSocket> {
  const identity = pinnedTlsIdentity(keys.tls, `cipherlog-admin-${toHex(keys.peerId)}`)
  return new Promise((resolve, reject) => {
    const socket = connectTls({ ...peerTlsOptions(identity), ALPNProtocols: ['h2'], host, port })
    const fail = (error: CipherlogError): void => {
      clearTimeout(timer)
      socket.destroy()
      reject(error)
    }
    const timer = setTimeout(() => fail(unavailable('it does not answer')), connectMsMax)
    const onError = (error: Error): void => fail(unavailable(error.message, error))
    socket.once('error', onError)
    socket.once('secureConnect', () => {
      clearTimeout(timer)
      socket.off('error', onError)
      const key = peerTlsKey(socket)
      if (key === undefined || !accept.some((listed) => equalBytes(listed, key))) {
        fail(
          new CipherlogError('ERR_PEER_KEY', 'The address answers with a TLS key that is not listed; check it.', {
            details: { key: key === undefined ? 'none' : toHex(key) },
          }),
        )
        return
      }
      if (socket.alpnProtocol !== 'h2') fail(unavailable('it is no replica of this version'))
      else resolve(socket)
    })
  })
}

function unavailable(why: string, cause?: unknown): CipherlogError {
  return new CipherlogError('ERR_UNAVAILABLE', `The replica cannot be reached (${why}); try another one.`, { cause })
}

/**
 * The cluster service, for who runs replicas: Connect over HTTP/2 on the port where replicas listen for each other.
 *
 * Whoever shows the TLS key of a replica that the log lists may call it: such a key takes part in the group's Raft
 * already, so this adds comfort, not power. Everybody else's connection ends before a byte of it is read.
 */
import { createServer, type ServerHttp2Session } from 'node:http2'
import { type TLSSocket } from 'node:tls'
import { create } from '@bufbuild/protobuf'
import { Code, type ServiceImpl } from '@connectrpc/connect'
import { connectNodeAdapter } from '@connectrpc/connect-node'
import {
  ChangeMembershipResponseSchema,
  ClusterService,
  StepDownResponseSchema,
  toConnectError,
  TransferLeadershipResponseSchema,
  type ChangeMembershipRequest,
} from '@cipherlog/api'
import { CipherlogError, equalBytes, toHex, type Logger } from '@cipherlog/core'
import { type ClusterApi, type RequestedChange } from '../node-api.ts'
import { parseAddress } from './config.ts'
import { configurationMessage, statusMessage } from './status-message.ts'

/** No request of this service is longer. */
const messageBytesMax = 65_536
const callMsMax = 60_000
const changesMax = 16
const sessionsMax = 32

export interface ClusterServerOptions {
  readonly cluster: ClusterApi
  /** Raw Ed25519 keys that may call. */
  readonly keys: () => readonly Uint8Array[]
  readonly logger: Logger
}

export interface ClusterServer {
  /** Takes a TLS connection of ALPN `h2` that has shown `key`. */
  accept(socket: TLSSocket, key: Uint8Array): void
  close(): Promise<void>
}

export function createClusterServer({ cluster, keys, logger }: ClusterServerOptions): ClusterServer {
  const sessions = new Set<ServerHttp2Session>()
  const server = createServer({ maxSessionMemory: 1 })
  server.on('session', (session) => {
    sessions.add(session)
    session.on('close', () => sessions.delete(session))
    session.on('error', (error) => logger.debug({ error }, 'A connection of an administrator broke off.'))
  })
  server.on(
    'request',
    connectNodeAdapter({
      routes: (router) => router.service(ClusterService, serviceOf(cluster, logger)),
      readMaxBytes: messageBytesMax,
      maxTimeoutMs: callMsMax,
      acceptCompression: [],
    }),
  )
  return {
    accept(socket, key) {
      if (sessions.size >= sessionsMax || !keys().some((listed) => equalBytes(listed, key))) {
        logger.warn(
          { key: toHex(key), address: socket.remoteAddress },
          'refused an administrator: its key is not listed',
        )
        socket.destroy()
        return
      }
      server.emit('connection', socket)
    },
    close() {
      for (const session of sessions) session.destroy()
      return Promise.resolve()
    },
  }
}

function serviceOf(cluster: ClusterApi, logger: Logger): ServiceImpl<typeof ClusterService> {
  const unary =
    <Request, Response>(method: string, handle: (request: Request) => Promise<Response>) =>
    async (request: Request): Promise<Response> => {
      try {
        return await handle(request)
      } catch (error) {
        const refused = toConnectError(error)
        if (refused.code === Code.Internal) logger.error({ method, error }, 'A request failed by a fault of this node.')
        throw refused
      }
    }
  return {
    status: unary('Status', () => Promise.resolve(statusMessage(cluster.status()))),
    changeMembership: unary('ChangeMembership', async (request: ChangeMembershipRequest) => {
      const change = changeOf(request)
      logger.info({ change }, 'a change of membership is asked for')
      const { index, configuration } = await cluster.changeMembership(change)
      return create(ChangeMembershipResponseSchema, {
        index: BigInt(index),
        configuration: configurationMessage(configuration),
      })
    }),
    transferLeadership: unary('TransferLeadership', async ({ to }: { readonly to: string }) => {
      if (to !== '') checkPeerId('to', to)
      return create(TransferLeadershipResponseSchema, {
        leaderId: await cluster.transferLeadership(to === '' ? undefined : to),
      })
    }),
    stepDown: unary('StepDown', async () => {
      await cluster.stepDown()
      return create(StepDownResponseSchema, {})
    }),
  }
}

const transitions = ['auto', 'jointImplicit', 'jointExplicit'] as const
const changeTypes = ['addVoter', 'addLearner', 'remove'] as const

function changeOf({ transition: named, changes, force }: ChangeMembershipRequest): RequestedChange {
  const transition = named === '' ? 'auto' : transitions.find((each) => each === named)
  if (transition === undefined) throw badRequest('transition', `is one of ${transitions.join(', ')}`)
  if (changes.length > changesMax) throw badRequest('changes', `has at most ${changesMax} items`)
  return {
    transition,
    force,
    changes: changes.map(({ type: name, peerId }) => {
      const type = changeTypes.find((each) => each === name)
      if (type === undefined) throw badRequest('changes.type', `is one of ${changeTypes.join(', ')}`)
      return { type, peer: checkPeerId('changes.peer_id', peerId) }
    }),
    addresses: changes.flatMap(({ peerId, peersAddress: peers, apiAddress: api }) => {
      if (peers === '' && api === '') return []
      if (parseAddress(peers) === undefined) throw badRequest('changes.peers_address', 'is host:port')
      if (api.length > 272 || !/^https:\/\/[^\s/]+$/.test(api)) {
        throw badRequest('changes.api_address', 'looks like https://host:port')
      }
      return [{ peerId, peers, api }]
    }),
  }
}

function checkPeerId(field: string, id: string): string {
  if (!/^[0-9a-f]{32}$/.test(id)) throw badRequest(field, 'has 32 lowercase hex digits')
  return id
}

const badRequest = (field: string, problem: string): CipherlogError =>
  new CipherlogError('ERR_REQUEST_INVALID', `The field ${field} ${problem}.`, { details: { field } })

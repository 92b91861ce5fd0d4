/**
 * The API's methods on top of {@link NodeApi}: checks what arrives for type and size, turns numbers and messages
 * into ours and back, and errors into Connect errors. It decides nothing about the log.
 */
import { create } from '@bufbuild/protobuf'
import { Code, type ConnectError, type HandlerContext, type ServiceImpl } from '@connectrpc/connect'
import {
  type CipherlogService,
  GetCellResponseSchema,
  GetCheckpointResponseSchema,
  GetEnvelopeResponseSchema,
  GetKeyEventsResponseSchema,
  GetLeafResponseSchema,
  GetReceiptResponseSchema,
  GetSessionResponseSchema,
  GetValueResponseSchema,
  ProposeResponseSchema,
  toConnectError,
  WatchResponseSchema,
  type ProposeRequest,
} from '@cipherlog/api'
import { CipherlogError, type Logger } from '@cipherlog/core'
import { bodiesBytesMax, bundleBytesMax, keyBytesMax } from '@cipherlog/format'
import { type NodeApi, type ProposalAnswer } from '../node-api.ts'
import { proposeStream } from './propose-stream.ts'
import { undecodedBytesKey, type RequestBudget } from './request-budget.ts'
import { statusMessage } from './status-message.ts'

/** A signed CBOR array: bundle or key event of at most 1 MiB, signatures, heads of CBOR. */
const signedBytesMax = bundleBytesMax + 4096
const receiptWaitMsMax = 30_000
/** Key events in one answer. */
const keyEventsMax = 1000

export interface ApiServiceOptions {
  readonly node: NodeApi
  readonly budget: RequestBudget
  /** The host stops: streams end. */
  readonly draining: AbortSignal
  readonly logger: Logger
}

export function createApiService(options: ApiServiceOptions): ServiceImpl<typeof CipherlogService> {
  const { node, budget, draining, logger } = options

  /** The Connect error for what a handler threw. Faults of our own are logged: the client learns only the code. */
  function refusal(method: string, error: unknown): ConnectError {
    const refused = toConnectError(error)
    if (refused.code === Code.Internal) logger.error({ method, error }, 'A request failed by a fault of this node.')
    return refused
  }

  const unary =
    <Request, Response>(method: string, handle: (request: Request, context: HandlerContext) => Promise<Response>) =>
    async (request: Request, context: HandlerContext): Promise<Response> => {
      try {
        return await handle(request, context)
      } catch (error) {
        throw refusal(method, error)
      }
    }

  async function* streaming<Response>(method: string, responses: AsyncIterable<Response>): AsyncGenerator<Response> {
    try {
      yield* responses
    } catch (error) {
      throw refusal(method, error)
    }
  }

  async function propose(request: ProposeRequest): Promise<ProposalAnswer> {
    const { kind, signed, body, receipt } = request
    if (kind < 1 || kind > 4) {
      throw badRequest('kind', 'is 1 (key event), 2 (session opening), 3 (command bundle) or 4 (quarantine)')
    }
    checkBytes('signed', signed, 1, signedBytesMax)
    checkBytes('body', body, 0, kind === 3 ? bodiesBytesMax : 0)
    const bytes = signed.length + body.length
    budget.take(bytes)
    try {
      return await node.propose({ kind, signed, body, receipt })
    } catch (error) {
      // On a stream the error becomes an answer, so it is logged here.
      refusal('Propose', error)
      throw error
    } finally {
      budget.give(bytes)
    }
  }

  return {
    async propose(request, context) {
      context.values.get(undecodedBytesKey)?.settle()
      try {
        const { applied, duplicate } = await propose(request)
        return create(ProposeResponseSchema, {
          tag: request.tag,
          outcome: { case: 'answer', value: { applied, duplicate } },
        })
      } catch (error) {
        throw toConnectError(error)
      }
    },

    proposeStream(requests, context) {
      const undecoded = context.values.get(undecodedBytesKey)
      const settled = (request: ProposeRequest): Promise<ProposalAnswer> => {
        undecoded?.settle()
        return propose(request)
      }
      return streaming('ProposeStream', proposeStream(requests, { propose: settled, gone: context.signal, draining }))
    },

    status: unary('Status', async () => statusMessage(node.status())),

    getKeyEvents: unary('GetKeyEvents', async ({ from, max }) => {
      const count = max === 0 ? keyEventsMax : Math.min(max, keyEventsMax)
      const signed = await node.keyEvents(safeNumber('from', from), count)
      return create(GetKeyEventsResponseSchema, { signed: [...signed] })
    }),

    getCheckpoint: unary('GetCheckpoint', async () => {
      const { checkpoint, policyChain, lastLeaf, proof } = await node.checkpoint()
      return create(GetCheckpointResponseSchema, { checkpoint, policyChain, lastLeaf, proof: [...proof] })
    }),

    getReceipt: unary('GetReceipt', async ({ leaf, waitMs }, context) => {
      const signal = AbortSignal.any([context.signal, draining])
      const receipt = await node.receipt(safeNumber('leaf', leaf), Math.min(waitMs, receiptWaitMsMax), signal)
      return create(GetReceiptResponseSchema, { receipt })
    }),

    getLeaf: unary('GetLeaf', async ({ leaf }) =>
      create(GetLeafResponseSchema, { ...(await node.leaf(safeNumber('leaf', leaf))) }),
    ),

    getValue: unary('GetValue', async ({ namespace, key, linearizable }) => {
      checkNamespace(namespace)
      checkBytes('key', key, 1, keyBytesMax)
      const { value, appliedLeafCount } = await node.value({ namespace, key, linearizable })
      const head = { found: value !== undefined, appliedLeafCount: BigInt(appliedLeafCount) }
      if (value === undefined) return create(GetValueResponseSchema, head)
      return create(GetValueResponseSchema, { ...head, ...value, leaf: BigInt(value.leaf) })
    }),

    getCell: unary('GetCell', async ({ namespace, key }) => {
      checkNamespace(namespace)
      checkBytes('key', key, 0, keyBytesMax)
      const cell = await node.cell({ namespace, key })
      return create(GetCellResponseSchema, { found: cell !== undefined, ...cell })
    }),

    getEnvelope: unary('GetEnvelope', async ({ id }) => {
      checkBytes('id', id, 32, 32)
      return create(GetEnvelopeResponseSchema, { ...(await node.envelope(id)) })
    }),

    getSession: unary('GetSession', async ({ client }) => {
      checkBytes('client', client, 16, 16)
      const { highWaterMark, open } = await node.session(client)
      return create(GetSessionResponseSchema, {
        highWaterMark: BigInt(highWaterMark),
        open: open.map(({ number, lastSequence }) => ({ number: BigInt(number), lastSequence: BigInt(lastSequence) })),
      })
    }),

    watch: ({ fromLeaf, namespace }, context) => {
      const signal = AbortSignal.any([context.signal, draining])
      async function* leaves() {
        if (namespace !== '') checkNamespace(namespace)
        const query = {
          fromLeaf: safeNumber('from_leaf', fromLeaf),
          namespace: namespace === '' ? undefined : namespace,
        }
        for await (const { leaf, record, signed, body } of node.watch(query, signal)) {
          yield create(WatchResponseSchema, { leaf: BigInt(leaf), record, signed, body })
        }
        if (draining.aborted) {
          throw new CipherlogError('ERR_UNAVAILABLE', 'The replica is stopping; go on with another one.')
        }
      }
      return streaming('Watch', leaves())
    },
  }
}

const badRequest = (field: string, problem: string): CipherlogError =>
  new CipherlogError('ERR_REQUEST_INVALID', `The field ${field} ${problem}.`, { details: { field } })

function checkBytes(field: string, value: Uint8Array, min: number, max: number): void {
  if (value.length >= min && value.length <= max) return
  throw badRequest(field, `has ${value.length} bytes; allowed are ${min === max ? min : `${min} to ${max}`}`)
}

/** The grammar is the registry's business; no name is longer. */
function checkNamespace(namespace: string): void {
  if (namespace.length < 1 || namespace.length > 128) throw badRequest('namespace', 'has 1 to 128 characters')
}

function safeNumber(field: string, value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw badRequest(field, 'is above 2^53-1')
  return Number(value)
}

/** A replica over Connect on HTTP/2: proposals on one stream, everything else unary, tiles by plain GET. Node only. */
import { createClient, type Client } from '@connectrpc/connect'
import { createConnectTransport } from '@connectrpc/connect-node'
import { CipherlogService, fromConnectError, type GetValueResponse, type StatusResponse } from '@cipherlog/api'
import { CipherlogError, DecodeError, plainBytes } from '@cipherlog/core'
import {
  type Connection,
  type Dial,
  type Proposal,
  type ProposalAnswer,
  type ReplicaStatus,
  type StoredValue,
} from '../connection.ts'
import { Http2Session, type TlsTrust } from './http2-session.ts'
import { ProposeStream } from './propose-stream.ts'

const unaryMsMax = 20_000
/** Beyond what a receipt waits for at the replica. */
const marginMs = 5_000
/** Many key events with BFV keys are the largest answer. */
const readBytesMax = 67_108_864
const writeBytesMax = 10_485_760
/** A full tile: 256 hashes of 32 bytes. */
const tileBytesMax = 8_192

/** Dials over TLS and HTTP/2. */
export function nodeDial(trust: TlsTrust): Dial {
  return (address, checkPeerKey) => new NodeConnection(address, trust, checkPeerKey)
}

class NodeConnection implements Connection {
  readonly #session: Http2Session
  readonly #client: Client<typeof CipherlogService>
  readonly #abort = new AbortController()
  #proposals: ProposeStream | undefined

  constructor(address: string, trust: TlsTrust, checkPeerKey: (key: Uint8Array) => CipherlogError | undefined) {
    this.#session = new Http2Session(address, trust, checkPeerKey)
    const transport = createConnectTransport({
      baseUrl: this.#session.authority,
      httpVersion: '2',
      sessionManager: this.#session,
      // Sealed content does not compress, and nothing that expands is worth the risk.
      acceptCompression: [],
      readMaxBytes: readBytesMax,
      writeMaxBytes: writeBytesMax,
      defaultTimeoutMs: unaryMsMax,
    })
    this.#client = createClient(CipherlogService, transport)
  }

  get peerKey(): Uint8Array | undefined {
    return this.#session.peerKey
  }

  close(): void {
    this.#proposals?.close()
    this.#abort.abort()
    this.#session.close()
  }

  async propose(proposal: Proposal): Promise<ProposalAnswer> {
    await this.#session.ready()
    if (this.#proposals === undefined || this.#proposals.ended) {
      this.#proposals = new ProposeStream((requests) =>
        this.#client.proposeStream(requests, { timeoutMs: 0, signal: this.#abort.signal }),
      )
    }
    return this.#proposals.propose(proposal)
  }

  async status(): Promise<ReplicaStatus> {
    return statusOf(await this.#call((options) => this.#client.status({}, options)))
  }

  async keyEvents(from: number, max: number): Promise<Uint8Array[]> {
    const { signed } = await this.#call((options) => this.#client.getKeyEvents({ from: BigInt(from), max }, options))
    return signed.map(copyOf)
  }

  async checkpoint() {
    const { checkpoint, policyChain, lastLeaf, proof } = await this.#call((options) =>
      this.#client.getCheckpoint({}, options),
    )
    return { checkpoint, policyChain: copyOf(policyChain), lastLeaf: copyOf(lastLeaf), proof: proof.map(copyOf) }
  }

  async receipt(leaf: number, waitMs: number): Promise<Uint8Array> {
    const { receipt } = await this.#call(
      (options) => this.#client.getReceipt({ leaf: BigInt(leaf), waitMs }, options),
      waitMs + marginMs,
    )
    return copyOf(receipt)
  }

  async leaf(leaf: number) {
    const { record, signed, body, wraps } = await this.#call((options) =>
      this.#client.getLeaf({ leaf: BigInt(leaf) }, options),
    )
    return { record: copyOf(record), signed: copyOf(signed), body: copyOf(body), wraps: copyOf(wraps) }
  }

  async value(query: { readonly namespace: string; readonly key: Uint8Array; readonly linearizable: boolean }) {
    const response = await this.#call((options) => this.#client.getValue(query, options))
    return {
      value: response.found ? valueOf(response) : undefined,
      appliedLeafCount: safeNumber(response.appliedLeafCount),
    }
  }

  async cell(query: { readonly namespace: string; readonly key: Uint8Array }) {
    const { found, cellProof, batchRecord, tlogProof } = await this.#call((options) =>
      this.#client.getCell(query, options),
    )
    return found ? { cellProof: copyOf(cellProof), batchRecord: copyOf(batchRecord), tlogProof } : undefined
  }

  async envelope(id: Uint8Array) {
    const { fixed, wraps } = await this.#call((options) => this.#client.getEnvelope({ id }, options))
    return { fixed: copyOf(fixed), wraps: copyOf(wraps) }
  }

  async session(client: Uint8Array) {
    const { highWaterMark } = await this.#call((options) => this.#client.getSession({ client }, options))
    return { highWaterMark: safeNumber(highWaterMark) }
  }

  async *watch(query: { readonly fromLeaf: number; readonly namespace: string | undefined }, signal: AbortSignal) {
    const request = { fromLeaf: BigInt(query.fromLeaf), namespace: query.namespace ?? '' }
    const either = AbortSignal.any([signal, this.#abort.signal])
    try {
      for await (const leaf of this.#client.watch(request, { timeoutMs: 0, signal: either })) {
        yield {
          leaf: safeNumber(leaf.leaf),
          record: copyOf(leaf.record),
          signed: copyOf(leaf.signed),
          body: copyOf(leaf.body),
        }
      }
    } catch (error) {
      if (signal.aborted) return
      throw errorOf(error)
    }
  }

  async tile(path: string): Promise<Uint8Array | undefined> {
    const stream = await this.#session.request('GET', `/trail/${path}`, {}, {})
    const timer = setTimeout(() => stream.destroy(new Error('no answer')), unaryMsMax)
    try {
      const status = await new Promise<number>((resolve, reject) => {
        stream.once('response', (headers) => resolve(headers[':status'] ?? 0))
        stream.once('error', reject)
        stream.once('close', () => reject(new Error('the stream closed')))
      })
      if (status !== 200) {
        stream.destroy()
        if (status === 404) return undefined
        throw new CipherlogError('ERR_UNAVAILABLE', `The replica answers ${status} for ${path}; try another endpoint.`)
      }
      const chunks: Uint8Array[] = []
      let length = 0
      for await (const chunk of stream as AsyncIterable<Uint8Array>) {
        length += chunk.length
        if (length > tileBytesMax) throw new DecodeError('ERR_DECODE_TILE', `${path} is longer than a tile can be.`)
        chunks.push(chunk)
      }
      return copyOf(Buffer.concat(chunks))
    } catch (error) {
      stream.destroy()
      if (error instanceof CipherlogError) throw error
      throw new CipherlogError('ERR_UNAVAILABLE', `${path} did not arrive; try another endpoint.`, { cause: error })
    } finally {
      clearTimeout(timer)
    }
  }

  async #call<T>(
    call: (options: { readonly timeoutMs: number; readonly signal: AbortSignal }) => Promise<T>,
    timeoutMs = unaryMsMax,
  ): Promise<T> {
    try {
      return await call({ timeoutMs, signal: this.#abort.signal })
    } catch (error) {
      throw errorOf(error)
    }
  }
}

/** Ours if one stands behind what the library made of it. */
function errorOf(error: unknown): CipherlogError {
  for (let at = error; at instanceof Error; at = at.cause) if (at instanceof CipherlogError) return at
  return fromConnectError(error)
}

/** Fresh and plain: what the library hands out is a view of its receive buffer. */
function copyOf(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(plainBytes(bytes))
}

function safeNumber(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw new DecodeError('ERR_DECODE_LIMIT', 'The replica names a number above 2^53-1; ask another one.')
  }
  return Number(value)
}

function valueOf(response: GetValueResponse): StoredValue {
  return {
    leaf: safeNumber(response.leaf),
    command: response.command,
    record: copyOf(response.record),
    signed: copyOf(response.signed),
    ciphertext: copyOf(response.ciphertext),
    tlogProof: response.tlogProof,
  }
}

function statusOf(status: StatusResponse): ReplicaStatus {
  return {
    origin: status.origin,
    cluster: status.cluster,
    group: status.group,
    generation: safeNumber(status.generation),
    peerId: status.peerId,
    role: status.role,
    leaderId: status.leaderId === '' ? undefined : status.leaderId,
    term: safeNumber(status.term),
    commitIndex: safeNumber(status.commitIndex),
    appliedIndex: safeNumber(status.appliedIndex),
    treeSize: safeNumber(status.treeSize),
    publishedSize: safeNumber(status.publishedSize),
    registryNumber: safeNumber(status.registryNumber),
    logTime: safeNumber(status.logTime),
    peers: status.peers.map(({ peerId, apiAddress, connected, matchIndex, learner }) => ({
      peerId,
      apiAddress,
      connected,
      matchIndex: matchIndex === undefined ? undefined : safeNumber(matchIndex),
      learner,
    })),
    mode: status.mode,
    trailFrom: safeNumber(status.trailFrom),
    version: status.version,
    provingKeys: status.provingKeys,
  }
}

/**
 * Fetches a snapshot from peers. A majority of voters decides which one: each is asked for the digest of its own as of
 * that entry, and what a majority names is fetched, from any of them, chunk by chunk against the manifest's hashes.
 * A crash, a lost peer or a wrong chunk costs what was on its way, no more.
 *
 * Invariant: what is handed to `check` hashes to a digest that a majority of the voters named.
 */
import { DecodeError, equalBytes, errorCode, toHex, VerificationError, type Logger } from '@cipherlog/core'
import { sha256 } from '@cipherlog/crypto/hash'
import { decodeSnapshotManifest, snapshotChunkLength } from '@cipherlog/format'
import { type SnapshotDownload, type SnapshotStore, type StoredSnapshot } from '@cipherlog/storage'
import { type Configuration, type OfferedSnapshot } from '../replicator.ts'
import { type SnapshotReply, type SnapshotRequest } from './snapshot-server.ts'

/** Ticks after which an unanswered request is made again, to another peer. */
const retryTicks = 10
/** Ticks without any progress after which a fetch is given up. */
const giveUpTicks = 300
/** Chunks asked for and not answered. */
const requestsMax = 4

/** Why something that a peer sent, or all of a snapshot, was thrown away. */
export type SnapshotProblem = 'digest' | 'manifest' | 'chunk' | 'content'

export interface SnapshotFetcherOptions {
  readonly cluster: Uint8Array
  readonly group: Uint8Array
  readonly snapshots: SnapshotStore
  /** Replicas that can be asked now. */
  readonly connected: (peerId: string) => boolean
  readonly send: (to: string, request: SnapshotRequest) => boolean
  /**
   * Checks the content of a whole snapshot; false: it cannot be used yet. @throws VerificationError, DecodeError if it
   * is wrong.
   */
  readonly check: (snapshot: StoredSnapshot) => Promise<boolean>
  /** Bytes of chunks asked for in a second, at most, about. */
  readonly bytesPerSecond: number
  /** Length of a tick in ms. */
  readonly tickMs: number
  readonly logger: Logger
  readonly onProblem: (problem: SnapshotProblem) => void
  readonly onChunk: (bytes: number) => void
  /** The disk failed: the node must stop. */
  readonly onFatal: (error: unknown) => void
}

interface Fetch {
  readonly offer: OfferedSnapshot
  readonly settle: (ok: boolean) => void
  readonly promise: Promise<boolean>
  /** What each voter named. */
  readonly answers: Map<string, Uint8Array>
  /** What a majority named. */
  chosen: Uint8Array | undefined
  download: SnapshotDownload | undefined
  /** Sent something wrong, or have it not. */
  readonly useless: Set<string>
  /** Chunks on their way: to whom, and for how many ticks. */
  readonly requests: Map<number, { readonly to: string; ticks: number }>
  /** The manifest is on its way: from whom, and for how many ticks. */
  manifest: { readonly from: string; ticks: number } | undefined
  /** Since something was learned. */
  idleTicks: number
  queryTicks: number
  /** Work with the disk, one piece after the other. */
  work: Promise<void>
  /** Pieces of it that are not done. */
  working: number
  asked: number
}

export class SnapshotFetcher {
  readonly #options: SnapshotFetcherOptions
  #fetch: Fetch | undefined
  #allowance = 0
  #stopped = false

  constructor(options: SnapshotFetcherOptions) {
    this.#options = options
  }

  /** Chunks here and in all of the snapshot on its way; undefined: none is. */
  get progress(): { readonly chunks: number; readonly of: number } | undefined {
    const download = this.#fetch?.download
    if (download === undefined) return undefined
    const of = download.manifest.chunks.length
    return { chunks: of - download.missing().length, of }
  }

  /** Resolves true once the snapshot is whole and good, false if it cannot be had. One at a time: others are refused. */
  fetch(offer: OfferedSnapshot, from: string): Promise<boolean> {
    const { logger } = this.#options
    if (this.#stopped) return Promise.resolve(false)
    const current = this.#fetch
    if (current !== undefined) {
      // The newer one is offered again once this is over.
      return current.offer.index === offer.index ? current.promise : Promise.resolve(false)
    }
    let settle!: (ok: boolean) => void
    const promise = new Promise<boolean>((resolve) => (settle = resolve))
    logger.info({ index: offer.index, digest: toHex(offer.digest), from }, 'a snapshot is offered: fetching it')
    this.#fetch = {
      offer,
      settle,
      promise,
      answers: new Map([[from, offer.digest]]),
      chosen: undefined,
      download: undefined,
      useless: new Set(),
      requests: new Map(),
      manifest: undefined,
      idleTicks: 0,
      queryTicks: retryTicks,
      work: Promise.resolve(),
      working: 0,
      asked: 0,
    }
    this.#allowance = this.#options.bytesPerSecond
    this.#choose(this.#fetch)
    this.#advance()
    return promise
  }

  tick(): void {
    const fetch = this.#fetch
    if (fetch === undefined) return
    const { bytesPerSecond, tickMs } = this.#options
    this.#allowance = Math.min(bytesPerSecond, this.#allowance + (bytesPerSecond * tickMs) / 1000)
    fetch.queryTicks++
    if (fetch.working === 0 && ++fetch.idleTicks > giveUpTicks) {
      this.#end(fetch, false, 'nobody sends it')
      return
    }
    if (fetch.manifest !== undefined && ++fetch.manifest.ticks > retryTicks) {
      fetch.useless.add(fetch.manifest.from)
      fetch.manifest = undefined
    }
    for (const [chunk, request] of fetch.requests) if (++request.ticks > retryTicks) fetch.requests.delete(chunk)
    // Somebody who had nothing to give may have it now.
    if (fetch.idleTicks > 0 && fetch.idleTicks % (4 * retryTicks) === 0) fetch.useless.clear()
    this.#advance()
  }

  stop(): void {
    this.#stopped = true
    this.#fetch?.settle(false)
    this.#fetch = undefined
  }

  /** What a peer answers; what is wrong is thrown away, and asked of another peer. */
  receive(from: string, header: SnapshotReply, body: Uint8Array): void {
    const fetch = this.#fetch
    if (fetch === undefined) return
    if (header.type === 'snapshotAnswer') {
      if (header.index !== fetch.offer.index) return
      fetch.answers.set(from, header.digest)
      fetch.idleTicks = 0
      this.#choose(fetch)
    } else if (fetch.chosen !== undefined && equalBytes(header.digest, fetch.chosen)) {
      if (header.chunk === undefined) this.#manifestCame(fetch, from, body)
      else this.#chunkCame(fetch, from, header.chunk, body)
    }
    this.#advance()
  }

  /** Whether a majority of the voters, of both configurations if they are joint, named the same snapshot. */
  #choose(fetch: Fetch): void {
    if (fetch.chosen !== undefined) return
    for (const digest of fetch.answers.values()) {
      const named = (peer: string): boolean => {
        const answer = fetch.answers.get(peer)
        return answer !== undefined && equalBytes(answer, digest)
      }
      if (!isMajority(fetch.offer.configuration, named)) continue
      fetch.chosen = digest
      if (!equalBytes(digest, fetch.offer.digest)) {
        this.#options.logger.warn(
          { index: fetch.offer.index, offered: toHex(fetch.offer.digest), confirmed: toHex(digest) },
          'a majority of the voters has another snapshot than the one that is offered: theirs is fetched',
        )
        this.#options.onProblem('digest')
      }
      return
    }
  }

  /** Does what can be done next. */
  #advance(): void {
    const fetch = this.#fetch
    if (fetch === undefined) return
    if (fetch.chosen === undefined) this.#ask(fetch)
    else if (fetch.download !== undefined) this.#requestChunks(fetch)
    else if (fetch.working > 0) return
    else if (this.#options.snapshots.find(fetch.chosen) !== undefined) this.#work(fetch, () => this.#finish(fetch))
    else this.#requestManifest(fetch)
  }

  #ask(fetch: Fetch): void {
    if (fetch.queryTicks < retryTicks) return
    fetch.queryTicks = 0
    const { group, send } = this.#options
    for (const peer of votersOf(fetch.offer.configuration)) {
      if (!fetch.answers.has(peer)) send(peer, { type: 'snapshotQuery', group, index: fetch.offer.index })
    }
  }

  /** The next peer that has the snapshot. */
  #source(fetch: Fetch): string | undefined {
    const sources = [...fetch.answers].flatMap(([peer, digest]) =>
      equalBytes(digest, fetch.chosen!) && !fetch.useless.has(peer) && this.#options.connected(peer) ? [peer] : [],
    )
    return sources[fetch.asked++ % Math.max(1, sources.length)]
  }

  #requestManifest(fetch: Fetch): void {
    if (fetch.manifest !== undefined) return
    const from = this.#source(fetch)
    if (from === undefined) return
    const { group, send } = this.#options
    if (send(from, { type: 'chunkRequest', group, digest: fetch.chosen! })) fetch.manifest = { from, ticks: 0 }
  }

  #manifestCame(fetch: Fetch, from: string, bytes: Uint8Array): void {
    const { snapshots } = this.#options
    if (fetch.manifest?.from !== from) return
    fetch.manifest = undefined
    if (bytes.length === 0) {
      fetch.useless.add(from)
      return
    }
    if (!equalBytes(sha256(bytes), fetch.chosen!)) {
      this.#refuse(fetch, from, 'manifest', 'its manifest has another hash')
      return
    }
    const problem = this.#problemOf(fetch, bytes)
    if (problem !== undefined) {
      // A majority named it, so nobody has a better one.
      this.#discard(fetch, 'manifest', problem)
      return
    }
    this.#work(fetch, async () => {
      fetch.download = await snapshots.download(fetch.chosen!, bytes)
      fetch.idleTicks = 0
      if (fetch.download.missing().length === 0) await this.#finish(fetch)
    })
  }

  #problemOf(fetch: Fetch, bytes: Uint8Array): DecodeError | undefined {
    const { cluster, group } = this.#options
    try {
      const { manifest } = decodeSnapshotManifest(bytes)
      const isOurs = equalBytes(manifest.cluster, cluster) && equalBytes(manifest.group, group)
      if (isOurs && manifest.index === fetch.offer.index) return undefined
      return new DecodeError('ERR_DECODE_VALUE', 'The snapshot is of another cluster, group or entry.')
    } catch (error) {
      if (error instanceof DecodeError) return error
      throw error
    }
  }

  #requestChunks(fetch: Fetch): void {
    const { group, send } = this.#options
    const download = fetch.download!
    for (const chunk of download.missing()) {
      if (fetch.requests.size >= requestsMax || this.#allowance <= 0) return
      if (fetch.requests.has(chunk)) continue
      const to = this.#source(fetch)
      if (to === undefined) return
      if (!send(to, { type: 'chunkRequest', group, digest: download.digest, chunk })) continue
      this.#allowance -= snapshotChunkLength(download.manifest, chunk)
      fetch.requests.set(chunk, { to, ticks: 0 })
    }
  }

  #chunkCame(fetch: Fetch, from: string, number: number, bytes: Uint8Array): void {
    const { download } = fetch
    // Asked of somebody else meanwhile, it is as good.
    if (download === undefined || !fetch.requests.has(number)) return
    if (bytes.length === 0) {
      fetch.useless.add(from)
      fetch.requests.delete(number)
      return
    }
    this.#work(fetch, async () => {
      try {
        await download.put(number, bytes)
      } catch (error) {
        if (errorCode(error) !== 'ERR_SNAPSHOT_CHUNK') throw error
        this.#refuse(fetch, from, 'chunk', `chunk ${number} has another hash`)
        return
      } finally {
        fetch.requests.delete(number)
      }
      fetch.idleTicks = 0
      this.#options.onChunk(bytes.length)
      if (download.missing().length === 0) await this.#finish(fetch)
    })
  }

  /** All of it is here: whether it is good. */
  async #finish(fetch: Fetch): Promise<void> {
    const { snapshots, check } = this.#options
    const snapshot = snapshots.find(fetch.chosen!) ?? (await fetch.download!.complete())
    let ok: boolean
    try {
      ok = await check(snapshot)
    } catch (error) {
      if (!(error instanceof VerificationError || error instanceof DecodeError)) throw error
      await snapshots.remove(snapshot.digest)
      this.#discard(fetch, 'content', error)
      return
    }
    if (ok) this.#end(fetch, true)
    else this.#end(fetch, false, 'what else it needs cannot be had yet')
  }

  #work(fetch: Fetch, work: () => Promise<void>): void {
    fetch.working++
    fetch.work = fetch.work
      .then(() => (this.#fetch === fetch ? work() : undefined))
      .catch((error: unknown) => {
        if (this.#fetch === fetch) this.#options.onFatal(error)
      })
      .finally(() => {
        fetch.working--
        this.#advance()
      })
  }

  /** What this peer sent is wrong; others may have it right. */
  #refuse(fetch: Fetch, from: string, problem: SnapshotProblem, what: string): void {
    fetch.useless.add(from)
    this.#options.logger.warn({ from, digest: toHex(fetch.chosen!) }, `a snapshot is fetched elsewhere: ${what}`)
    this.#options.onProblem(problem)
  }

  /** The snapshot itself is wrong. */
  #discard(fetch: Fetch, problem: SnapshotProblem, error: unknown): void {
    this.#options.logger.error({ err: error, digest: toHex(fetch.chosen!) }, 'a snapshot is wrong: it is discarded')
    this.#options.onProblem(problem)
    this.#end(fetch, false)
  }

  #end(fetch: Fetch, ok: boolean, why?: string): void {
    if (this.#fetch !== fetch) return
    this.#fetch = undefined
    if (why !== undefined) this.#options.logger.warn({ index: fetch.offer.index }, `a snapshot is given up: ${why}`)
    fetch.settle(ok)
  }
}

const votersOf = ({ voters, votersOutgoing }: Configuration): readonly string[] => [
  ...new Set([...voters, ...votersOutgoing]),
]

function isMajority({ voters, votersOutgoing }: Configuration, holds: (peer: string) => boolean): boolean {
  const has = (peers: readonly string[]): boolean => peers.filter(holds).length > peers.length / 2
  return has(voters) && (votersOutgoing.length === 0 || has(votersOutgoing))
}

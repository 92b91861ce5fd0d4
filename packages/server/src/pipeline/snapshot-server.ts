/** Hands this replica's snapshots to peers that fetch them: manifest and chunks by digest, as they were asked for. */
import { equalBytes, errorCode, toHex, type Logger } from '@cipherlog/core'
import { type PeerHeader } from '@cipherlog/format/peer-frame'
import { type SnapshotStore } from '@cipherlog/storage'

/** Chunks read for one peer at once; requests beyond are dropped, and asked again. */
const readsPerPeerMax = 8
/** Positions whose digest is remembered after the snapshot itself is gone. */
const rememberedMax = 64

export type SnapshotRequest = Extract<PeerHeader, { readonly type: 'snapshotQuery' | 'chunkRequest' }>
export type SnapshotReply = Extract<PeerHeader, { readonly type: 'snapshotAnswer' | 'chunk' }>

export interface SnapshotServerOptions {
  readonly group: Uint8Array
  readonly snapshots: Pick<SnapshotStore, 'list' | 'find' | 'readChunk' | 'remove'>
  readonly send: (to: string, reply: SnapshotReply, body: readonly Uint8Array[]) => void
  readonly logger: Logger
  /** The disk failed in a way that says nothing about one snapshot only. */
  readonly onFatal: (error: unknown) => void
}

export class SnapshotServer {
  readonly #options: SnapshotServerOptions
  /** Digests by index, oldest first. */
  readonly #made = new Map<number, Uint8Array>()
  readonly #reading = new Map<string, number>()

  constructor(options: SnapshotServerOptions) {
    this.#options = options
    for (const { manifest, digest } of options.snapshots.list().toReversed()) this.made(manifest.index, digest)
  }

  /** This replica has made, or installed, a snapshot. */
  made(index: number, digest: Uint8Array): void {
    this.#made.set(index, digest)
    if (this.#made.size > rememberedMax) this.#made.delete(this.#made.keys().next().value!)
  }

  receive(from: string, header: SnapshotRequest): void {
    const { group, snapshots, send } = this.#options
    if (header.type === 'snapshotQuery') {
      const digest = this.#made.get(header.index)
      if (digest !== undefined) send(from, { type: 'snapshotAnswer', group, index: header.index, digest }, [])
      return
    }
    const { digest, chunk } = header
    const found = snapshots.find(digest)
    if (found === undefined) this.#reply(from, header, undefined)
    else if (chunk === undefined) this.#reply(from, header, found.manifestBytes)
    else if (chunk >= found.manifest.chunks.length) this.#reply(from, header, undefined)
    else void this.#readChunk(from, header, chunk)
  }

  async #readChunk(from: string, request: SnapshotRequest & { type: 'chunkRequest' }, chunk: number): Promise<void> {
    const { snapshots, logger, onFatal } = this.#options
    const reading = this.#reading.get(from) ?? 0
    if (reading >= readsPerPeerMax) return
    this.#reading.set(from, reading + 1)
    try {
      this.#reply(from, request, await snapshots.readChunk(request.digest, chunk))
    } catch (error) {
      const code = errorCode(error)
      if (code === 'ERR_SNAPSHOT_DAMAGED') {
        logger.warn({ err: error, digest: toHex(request.digest) }, 'a snapshot on this disk is damaged: it is removed')
        snapshots.remove(request.digest).catch(onFatal)
      } else if (code !== 'ERR_SNAPSHOT_UNKNOWN' && code !== 'ERR_STORAGE_CLOSED') {
        onFatal(error)
        return
      }
      this.#reply(from, request, undefined)
    } finally {
      this.#reading.set(from, this.#reading.get(from)! - 1)
    }
  }

  #reply(
    to: string,
    { digest, chunk }: SnapshotRequest & { type: 'chunkRequest' },
    body: Uint8Array | undefined,
  ): void {
    const { group, send } = this.#options
    const number = chunk === undefined ? {} : { chunk }
    send(to, { type: 'chunk', group, digest, bytes: body?.length ?? 0, ...number }, body === undefined ? [] : [body])
  }

  /** Whether this replica has made that very snapshot. */
  has(index: number, digest: Uint8Array): boolean {
    const known = this.#made.get(index)
    return known !== undefined && equalBytes(known, digest)
  }
}

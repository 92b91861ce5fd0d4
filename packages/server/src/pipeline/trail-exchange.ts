/**
 * Files of the trail between replicas, in pieces: what a replica whose trail begins with a snapshot fills it from. The
 * one that asks verifies everything against its tree; the one that answers only minds that a path is one of a trail.
 */
import { CipherlogError, errorCode, type Logger } from '@cipherlog/core'
import { pieceBytesMax, type PeerHeader } from '@cipherlog/format/peer-frame'
import { type TrailSource, type TrailStore } from '@cipherlog/storage'
import { isTrailPath } from './trail-path.ts'

/** Ticks without an answer after which a request has failed. */
const answerTicks = 30
/** Pieces read for peers at once; requests beyond are dropped, and fail there. */
const readsMax = 8

export type TrailRequest = Extract<PeerHeader, { readonly type: 'trailRequest' }>
export type TrailPiece = Extract<PeerHeader, { readonly type: 'trailPiece' }>

export interface TrailExchangeOptions {
  readonly group: Uint8Array
  /** Undefined while a snapshot takes its place. */
  readonly trail: () => Pick<TrailStore, 'file'> | undefined
  /** @returns false if it was not sent. */
  readonly send: (to: string, header: TrailRequest | TrailPiece, body: readonly Uint8Array[]) => boolean
  readonly logger: Logger
}

interface Waiting {
  readonly from: string
  readonly path: string
  readonly offset: number
  ticks: number
  readonly resolve: (answer: { readonly size: number; readonly bytes: Uint8Array }) => void
  readonly reject: (error: unknown) => void
}

export class TrailExchange {
  readonly #options: TrailExchangeOptions
  readonly #waiting = new Set<Waiting>()
  #reading = 0

  constructor(options: TrailExchangeOptions) {
    this.#options = options
  }

  /** The trail of a peer. Asking fails with `ERR_UNAVAILABLE` if it does not answer. */
  source(peer: string): TrailSource {
    return {
      file: async (path) => {
        const { size, bytes: first } = await this.#ask(peer, path, 0, pieceBytesMax)
        if (size === 0) return undefined
        return {
          size,
          read: async (start, length) => {
            if (start + length <= first.length) return first.subarray(start, start + length)
            return (await this.#ask(peer, path, start, Math.min(length, pieceBytesMax))).bytes
          },
        }
      },
    }
  }

  #ask(to: string, path: string, offset: number, bytes: number): Promise<{ size: number; bytes: Uint8Array }> {
    const { group, send } = this.#options
    return new Promise((resolve, reject) => {
      if (!send(to, { type: 'trailRequest', group, path, offset, bytes }, [])) {
        reject(silent(to))
        return
      }
      this.#waiting.add({ from: to, path, offset, ticks: 0, resolve, reject })
    })
  }

  tick(): void {
    for (const waiting of this.#waiting) {
      if (++waiting.ticks <= answerTicks) continue
      this.#waiting.delete(waiting)
      waiting.reject(silent(waiting.from))
    }
  }

  stop(): void {
    for (const waiting of this.#waiting) waiting.reject(silent(waiting.from))
    this.#waiting.clear()
  }

  receive(from: string, header: TrailRequest | TrailPiece, body: Uint8Array): void {
    if (header.type === 'trailRequest') {
      void this.#answer(from, header)
      return
    }
    for (const waiting of this.#waiting) {
      if (waiting.from !== from || waiting.path !== header.path || waiting.offset !== header.offset) continue
      this.#waiting.delete(waiting)
      waiting.resolve({ size: header.size, bytes: body })
    }
  }

  async #answer(to: string, { path, offset, bytes }: TrailRequest): Promise<void> {
    const { group, trail, send, logger } = this.#options
    if (this.#reading >= readsMax) return
    this.#reading++
    let size = 0
    let piece: Uint8Array = new Uint8Array(0)
    try {
      const file = isTrailPath(path) ? await trail()?.file(path) : undefined
      if (file !== undefined && offset < file.size) {
        size = file.size
        piece = await file.read(offset, Math.min(bytes, file.size - offset))
      }
    } catch (error) {
      // What is wrong with this trail shows when this replica reads it itself; the peer asks another one.
      logger.warn({ err: error, code: errorCode(error), path }, 'could not read a file of the trail for a peer')
      size = 0
      piece = new Uint8Array(0)
    } finally {
      this.#reading--
    }
    send(to, { type: 'trailPiece', group, path, offset, size, bytes: piece.length }, piece.length === 0 ? [] : [piece])
  }
}

function silent(peer: string): CipherlogError {
  return new CipherlogError('ERR_UNAVAILABLE', `Replica ${peer} did not send a file of the trail; ask another one.`)
}

/**
 * Bytes of requests that are in memory, over all connections: what strangers may make the host hold before anything
 * of theirs is checked. Above the bound requests are refused as busy; no queue grows.
 */
import { createContextKey } from '@connectrpc/connect'
import { toConnectError } from '@cipherlog/api'
import { RefusedError } from '@cipherlog/core'

export class RequestBudget {
  readonly #bytesMax: number
  #bytes = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  /** @throws RefusedError `ERR_BUSY` */
  take(bytes: number): void {
    if (this.#bytes + bytes > this.#bytesMax) {
      throw new RefusedError('ERR_BUSY', 'The replica holds as many requests as it can; send it again later.', {
        details: { retryAfterMs: 100 },
      })
    }
    this.#bytes += bytes
  }

  give(bytes: number): void {
    this.#bytes -= bytes
  }
}

/** The bytes of one HTTP request that were received and are not yet a message in someone's hands. */
export class UndecodedBytes {
  readonly #budget: RequestBudget
  #held = 0

  constructor(budget: RequestBudget) {
    this.#budget = budget
  }

  /** Passes chunks on, counting them. @throws ConnectError of an `ERR_BUSY` */
  async *count(chunks: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
    for await (const chunk of chunks) {
      try {
        this.#budget.take(chunk.length)
      } catch (error) {
        throw toConnectError(error)
      }
      this.#held += chunk.length
      yield chunk
    }
  }

  /** A message was decoded, or the request is over. Bytes of the next message in the same chunk are let go too. */
  settle(): void {
    this.#budget.give(this.#held)
    this.#held = 0
  }
}

/** Where a handler finds the count of its own request. */
export const undecodedBytesKey = createContextKey<UndecodedBytes | undefined>(undefined)

/**
 * Proposals on one long-lived stream, told apart by tags. Invariant: every proposal written settles once; when the
 * stream ends, those without an answer have an unknown outcome.
 */
import { create, type MessageInitShape } from '@bufbuild/protobuf'
import { fromErrorDetail, ProposeRequestSchema, type ProposeRequest, type ProposeResponse } from '@cipherlog/api'
import { type CipherlogError, plainBytes, ProposalOutcomeUnknownError } from '@cipherlog/core'
import { type Proposal, type ProposalAnswer } from '../connection.ts'

/** A replica answers within 15 s that it does not know; a dead one never does. */
const answerMsMax = 20_000

interface Waiter {
  readonly resolve: (answer: ProposalAnswer) => void
  readonly reject: (error: CipherlogError) => void
  readonly timer: ReturnType<typeof setTimeout>
}

export class ProposeStream {
  readonly #outbox: ProposeRequest[] = []
  readonly #waiters = new Map<bigint, Waiter>()
  #nextTag = 1n
  #ended = false
  #wake: () => void = () => undefined

  /** @param open - starts the call: takes the requests, gives the answers. */
  constructor(open: (requests: AsyncIterable<ProposeRequest>) => AsyncIterable<ProposeResponse>) {
    void this.#run(open)
  }

  get ended(): boolean {
    return this.#ended
  }

  propose(proposal: Proposal): Promise<ProposalAnswer> {
    if (this.#ended) return Promise.reject(new ProposalOutcomeUnknownError())
    const tag = this.#nextTag++
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#reject(tag, new ProposalOutcomeUnknownError()), answerMsMax)
      this.#waiters.set(tag, { resolve, reject, timer })
      const init: MessageInitShape<typeof ProposeRequestSchema> = { ...proposal, tag }
      this.#outbox.push(create(ProposeRequestSchema, init))
      this.#wake()
    })
  }

  /** Ends the stream once the replica has read what was written. */
  close(): void {
    this.#end()
  }

  async #run(open: (requests: AsyncIterable<ProposeRequest>) => AsyncIterable<ProposeResponse>): Promise<void> {
    try {
      for await (const response of open(this.#requests())) this.#settle(response)
    } catch (error) {
      if (!(error instanceof Error)) throw error
      // Why it ended changes nothing for those who wait: their proposals may have been appended.
    } finally {
      this.#end()
      for (const tag of [...this.#waiters.keys()]) this.#reject(tag, new ProposalOutcomeUnknownError())
    }
  }

  #end(): void {
    this.#ended = true
    this.#wake()
  }

  async *#requests(): AsyncGenerator<ProposeRequest> {
    for (;;) {
      const next = this.#outbox.shift()
      if (next !== undefined) yield next
      else if (this.#ended) return
      else await new Promise<void>((resolve) => (this.#wake = resolve))
    }
  }

  #settle({ tag, outcome }: ProposeResponse): void {
    if (outcome.case === 'answer') {
      const { applied, duplicate } = outcome.value
      this.#take(tag)?.resolve({ applied: new Uint8Array(plainBytes(applied)), duplicate })
    } else if (outcome.case === 'error') {
      this.#reject(tag, fromErrorDetail(outcome.value))
    } else {
      this.#reject(tag, new ProposalOutcomeUnknownError())
    }
  }

  #reject(tag: bigint, error: CipherlogError): void {
    this.#take(tag)?.reject(error)
  }

  #take(tag: bigint): Waiter | undefined {
    const waiter = this.#waiters.get(tag)
    if (waiter === undefined) return undefined
    this.#waiters.delete(tag)
    clearTimeout(waiter.timer)
    return waiter
  }
}

/**
 * Many proposals in flight on one stream: requests are read while earlier ones wait, answers leave in the order in
 * which they are known, told apart by their tags. At the bound of what is in flight, reading stops; HTTP/2 flow
 * control then holds the client back.
 */
import { create } from '@bufbuild/protobuf'
import { ProposeResponseSchema, toErrorDetail, type ProposeRequest, type ProposeResponse } from '@cipherlog/api'
import { CipherlogError } from '@cipherlog/core'
import { type ProposalAnswer } from '../node-api.ts'

/** Proposals of one stream without an answer: more than the sessions an application keeps open. */
const inFlightMax = 2048
/** The first one is read whatever its size. */
const inFlightBytesMax = 33_554_432

export interface ProposeStreamOptions {
  readonly propose: (request: ProposeRequest) => Promise<ProposalAnswer>
  /** The client is gone: nobody reads answers any more. */
  readonly gone: AbortSignal
  /** The host stops: read no more, answer what is in flight, end. */
  readonly draining: AbortSignal
}

/** @throws whatever `requests` throws, once what was read before has its answer. */
export async function* proposeStream(
  requests: AsyncIterable<ProposeRequest>,
  options: ProposeStreamOptions,
): AsyncGenerator<ProposeResponse> {
  const { propose, gone, draining } = options
  const answers: ProposeResponse[] = []
  let inFlight = 0
  let inFlightBytes = 0
  let reading = true
  let failure: { readonly error: unknown } | undefined
  let wakeWriter = (): void => {}
  let wakeReader = (): void => {}

  async function answer(request: ProposeRequest): Promise<void> {
    const bytes = request.signed.length + request.body.length
    inFlightBytes += bytes
    let outcome: ProposeResponse['outcome']
    try {
      const { applied, duplicate } = await propose(request)
      outcome = { case: 'answer', value: { $typeName: 'cipherlog.v1.Answer', applied, duplicate } }
    } catch (error) {
      outcome = { case: 'error', value: toErrorDetail(error) }
    }
    inFlightBytes -= bytes
    answers.push(create(ProposeResponseSchema, { tag: request.tag, outcome }))
    wakeWriter()
  }

  async function read(): Promise<void> {
    try {
      for await (const request of requests) {
        if (draining.aborted || gone.aborted) return
        inFlight++
        void answer(request)
        while (inFlight >= inFlightMax || inFlightBytes >= inFlightBytesMax) {
          await new Promise<void>((resolve) => (wakeReader = resolve))
        }
      }
    } catch (error) {
      failure = { error }
    } finally {
      reading = false
      wakeWriter()
    }
  }

  const onSignal = (): void => wakeWriter()
  gone.addEventListener('abort', onSignal)
  draining.addEventListener('abort', onSignal)
  void read()
  try {
    while (!gone.aborted) {
      const next = answers.shift()
      if (next !== undefined) {
        yield next
        // Only now is it off our hands: a client that reads no answers is not read from.
        inFlight--
        wakeReader()
      } else if (inFlight === 0 && (!reading || draining.aborted)) {
        break
      } else {
        await new Promise<void>((resolve) => (wakeWriter = resolve))
      }
    }
  } finally {
    gone.removeEventListener('abort', onSignal)
    draining.removeEventListener('abort', onSignal)
  }
  if (failure !== undefined) throw failure.error
  if (reading && draining.aborted) {
    throw new CipherlogError('ERR_UNAVAILABLE', 'The replica is stopping; go on with another one.')
  }
}

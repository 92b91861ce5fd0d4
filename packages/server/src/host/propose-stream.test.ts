import { create } from '@bufbuild/protobuf'
import { ProposeRequestSchema, type ProposeRequest, type ProposeResponse } from '@cipherlog/api'
import { RefusedError } from '@cipherlog/core'
import { describe, expect, it, vi } from 'vitest'
import { type ProposalAnswer } from '../node-api.ts'
import { proposeStream } from './propose-stream.ts'

const request = (tag: number, bytes = 1) =>
  create(ProposeRequestSchema, { tag: BigInt(tag), kind: 3, signed: new Uint8Array(bytes) })
const answer: ProposalAnswer = { applied: new Uint8Array([1]), duplicate: false }

/** A stream whose requests and answers the test decides one by one. */
function open() {
  const gone = new AbortController()
  const draining = new AbortController()
  const asked: { tag: number; settle: (result: ProposalAnswer | Error) => void }[] = []
  let read = 0
  const proposing = (item: ProposeRequest): Promise<ProposalAnswer> =>
    new Promise((resolve, reject) => {
      const settle = (result: ProposalAnswer | Error) => (result instanceof Error ? reject(result) : resolve(result))
      asked.push({ tag: Number(item.tag), settle })
    })
  async function* counted(requests: Iterable<ProposeRequest> | AsyncIterable<ProposeRequest>) {
    for await (const item of requests) {
      read++
      yield item
    }
  }
  const options = { propose: proposing, gone: gone.signal, draining: draining.signal }
  const start = (requests: Iterable<ProposeRequest> | AsyncIterable<ProposeRequest>) => {
    const answers: ProposeResponse[] = []
    const ended = (async () => {
      for await (const item of proposeStream(counted(requests), options)) answers.push(item)
    })()
    ended.catch(() => undefined)
    return { answers, ended }
  }
  return { start, asked, gone, draining, options, requests: counted, read: () => read }
}

async function* endless(): AsyncGenerator<ProposeRequest> {
  for (let tag = 0; ; tag++) yield request(tag)
}

describe('proposeStream()', () => {
  it('answers in the order in which answers are known, refusals too, and ends after the last', async () => {
    const { start, asked } = open()
    const { answers, ended } = start([request(1), request(2), request(3)])
    await vi.waitFor(() => expect(asked).toHaveLength(3))
    asked[2]!.settle(answer)
    await vi.waitFor(() => expect(answers).toHaveLength(1))
    asked[1]!.settle({ ...answer, duplicate: true })
    await vi.waitFor(() => expect(answers).toHaveLength(2))
    asked[0]!.settle(new RefusedError('ERR_SEQUENCE_GAP', 'Too high.'))
    await ended
    expect(answers.map(({ tag, outcome }) => [Number(tag), outcome.case])).toEqual([
      [3, 'answer'],
      [2, 'answer'],
      [1, 'error'],
    ])
    expect(answers[2]!.outcome.value).toMatchObject({ code: 'ERR_SEQUENCE_GAP', refused: true })
  })

  it('stops reading at its bound of proposals in flight and goes on when answers are taken', async () => {
    const { start, asked, read, gone } = open()
    const { ended } = start(endless())
    await vi.waitFor(() => expect(read()).toBe(2048))
    await new Promise((resolve) => setTimeout(resolve, 5))
    expect(read()).toBe(2048)
    for (const { settle } of asked.slice(0, 10)) settle(answer)
    await vi.waitFor(() => expect(read()).toBe(2058))
    gone.abort()
    await ended
  })

  it('stops reading when the answers are not taken', async () => {
    const { requests, asked, read, options } = open()
    const stream = proposeStream(requests(endless()), options)
    const first = stream.next()
    await vi.waitFor(() => expect(read()).toBe(2048))
    for (const { settle } of asked) settle(answer)
    await first
    await new Promise((resolve) => setTimeout(resolve, 5))
    expect(read()).toBe(2048)
    await stream.next()
    await vi.waitFor(() => expect(read()).toBe(2049))
    await stream.return(undefined)
  })

  it('stops reading at its bound of bytes', async () => {
    const { start, read, gone } = open()
    const large = (tag: number) => request(tag, 9_000_000)
    start([large(1), large(2), large(3), large(4), large(5)])
    await vi.waitFor(() => expect(read()).toBe(4))
    await new Promise((resolve) => setTimeout(resolve, 5))
    expect(read()).toBe(4)
    gone.abort()
  })

  it('ends at once when the client is gone', async () => {
    const { start, asked, gone } = open()
    const { answers, ended } = start(endless())
    await vi.waitFor(() => expect(asked.length).toBeGreaterThan(0))
    gone.abort()
    await ended
    expect(answers).toEqual([])
  })

  it('answers what is in flight when the host stops, then says that it stops', async () => {
    const { start, asked, draining } = open()
    async function* one() {
      yield request(1)
      await new Promise(() => {})
    }
    const { answers, ended } = start(one())
    await vi.waitFor(() => expect(asked).toHaveLength(1))
    draining.abort()
    await new Promise((resolve) => setTimeout(resolve, 5))
    asked[0]!.settle(answer)
    await expect(ended).rejects.toMatchObject({ code: 'ERR_UNAVAILABLE' })
    expect(answers).toHaveLength(1)
  })

  it('passes on a broken request stream after the answers', async () => {
    const { start, asked } = open()
    async function* broken() {
      yield request(1)
      throw new Error('too large')
    }
    const { answers, ended } = start(broken())
    await vi.waitFor(() => expect(asked).toHaveLength(1))
    asked[0]!.settle(answer)
    await expect(ended).rejects.toThrow('too large')
    expect(answers).toHaveLength(1)
  })
})

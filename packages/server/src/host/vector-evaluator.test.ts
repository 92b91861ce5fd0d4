import { errorCode } from '@cipherlog/core'
import { loadBfvEvaluator } from '@cipherlog/crypto/evaluate/bfv'
import { loadBfvClient } from '@cipherlog/crypto/seal'
import { suites } from '@cipherlog/format'
import { afterEach, describe, expect, it } from 'vitest'
import { createThreadedEvaluator, type ThreadedEvaluator } from './vector-evaluator.ts'

const suite = suites.bfv4096

describe('createThreadedEvaluator()', () => {
  let evaluator: ThreadedEvaluator
  afterEach(() => evaluator.close())
  const codeOf = (promise: Promise<unknown>): Promise<string | undefined> =>
    promise.then(
      () => undefined,
      (error: unknown) => errorCode(error),
    )

  it('adds like the library does in one thread, job after job, and opens to the sum', async () => {
    evaluator = createThreadedEvaluator()
    const client = await loadBfvClient(suite)
    const keys = client.generateKey()
    const vectors = [1, 2, 3].map((value) => client.encrypt({ publicKey: keys.publicKey, values: [value, 10 * value] }))
    const first = evaluator.add(suite, undefined, vectors.slice(0, 1))
    const second = evaluator.add(suite, await first, vectors.slice(1))
    const whole = evaluator.add(suite, undefined, vectors)
    const direct = await loadBfvEvaluator(suite)
    let expected: Uint8Array | undefined
    for (const vector of vectors) expected = direct.add(expected, vector)
    expect(await second).toEqual(expected)
    expect(await whole).toEqual(expected)
  })

  it('fails for good: what it is asked afterwards, and what waited, gets the same fault', async () => {
    evaluator = createThreadedEvaluator()
    const bad = new Uint8Array(113 + 16 * 2 * 4096)
    const [first, second] = [evaluator.add(suite, bad, [bad]), evaluator.add(suite, bad, [bad])]
    expect(await codeOf(first)).toBe('ERR_EVALUATOR')
    expect(await codeOf(second)).toBe('ERR_EVALUATOR')
    expect(await codeOf(evaluator.add(suite, undefined, [bad]))).toBe('ERR_EVALUATOR')
  })

  it('leaves nobody waiting when it is closed', async () => {
    evaluator = createThreadedEvaluator()
    const waiting = codeOf(evaluator.add(suite, undefined, [new Uint8Array(8)]))
    await evaluator.close()
    expect(await waiting).toBe('ERR_EVALUATOR')
    expect(await codeOf(evaluator.add(suite, undefined, []))).toBe('ERR_EVALUATOR')
  })
})

/**
 * Adds BFV ciphertexts in a worker thread, so that a sum of many never blocks heartbeats. Order and grouping of
 * additions do not change the bytes: each sum is canonical and addition is exact.
 */
import { Worker } from 'node:worker_threads'
import { CipherlogError } from '@cipherlog/core'
import { type CellEvaluator } from '@cipherlog/machine'
import { type EvaluatorAnswer, type EvaluatorJob } from './vector-evaluator-messages.ts'

export interface ThreadedEvaluator extends CellEvaluator {
  close(): Promise<void>
}

/** The thread starts with the first vector; a cluster without vectors never loads the library. */
export function createThreadedEvaluator(): ThreadedEvaluator {
  let worker: Worker | undefined
  let closed = false
  let failure: CipherlogError | undefined
  const waiting: { resolve: (sum: Uint8Array) => void; reject: (error: Error) => void }[] = []

  const fail = (cause: unknown): void => {
    failure ??= new CipherlogError(
      'ERR_EVALUATOR',
      'Adding ciphertexts failed; this is no verdict, the node must stop.',
      { cause },
    )
    for (const { reject } of waiting.splice(0)) reject(failure)
  }
  const start = (): Worker => {
    const file = import.meta.url.endsWith('.ts') ? './vector-evaluator-thread.ts' : './vector-evaluator-thread.js'
    const started = new Worker(new URL(file, import.meta.url), { name: 'cipherlog-evaluator' })
    started.on('message', (answer: EvaluatorAnswer) => {
      if (failure !== undefined) return
      if (answer.type === 'sum') waiting.shift()!.resolve(answer.sum)
      else fail(new Error(answer.message))
    })
    started.on('error', fail)
    started.on('exit', (exitCode) => {
      if (!closed) fail(new Error(`the thread ended (${exitCode})`))
    })
    return started
  }

  return {
    add(suite, sum, contributions) {
      if (closed) fail(new Error('the evaluator was closed'))
      if (failure !== undefined) return Promise.reject(failure)
      worker ??= start()
      const job: EvaluatorJob = { suite, sum, contributions: [...contributions] }
      return new Promise((resolve, reject) => {
        waiting.push({ resolve, reject })
        worker!.postMessage(job)
      })
    },
    async close() {
      closed = true
      if (waiting.length > 0) fail(new Error('the evaluator was closed'))
      await worker?.terminate()
    },
  }
}

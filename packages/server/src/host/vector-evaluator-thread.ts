/** The thread behind {@link createThreadedEvaluator}: one evaluator per suite, jobs in order. */
import { parentPort } from 'node:worker_threads'
import { loadBfvEvaluator, type BfvEvaluator, type BfvSuiteNumber } from '@cipherlog/crypto/evaluate/bfv'
import { type EvaluatorAnswer, type EvaluatorJob } from './vector-evaluator-messages.ts'

const evaluators = new Map<number, Promise<BfvEvaluator>>()
let last: Promise<void> = Promise.resolve()

async function run({ suite, sum, contributions }: EvaluatorJob): Promise<EvaluatorAnswer> {
  try {
    let evaluator = evaluators.get(suite)
    if (evaluator === undefined) {
      evaluator = loadBfvEvaluator(suite as BfvSuiteNumber)
      evaluators.set(suite, evaluator)
    }
    const loaded = await evaluator
    let total = sum
    for (const contribution of contributions) total = loaded.add(total, contribution)
    return { type: 'sum', sum: total! }
  } catch (error) {
    return { type: 'failed', message: error instanceof Error ? error.message : String(error) }
  }
}

parentPort!.on('message', (job: EvaluatorJob) => {
  last = last.then(async () => parentPort!.postMessage(await run(job)))
})

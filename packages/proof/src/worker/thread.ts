/** A verifier thread: mcl checks, and noble confirms each proof that mcl calls bad before it is called bad. */
import { parentPort } from 'node:worker_threads'
import { CipherlogError, DecodeError, InvariantViolation } from '@cipherlog/core'
import { confirmFailureWithNoble } from '../groth16/confirm.ts'
import { loadMclEngine } from '../groth16/mcl.ts'
import { checkEach } from '../groth16/search.ts'
import { type ThreadAnswer, type ThreadJob } from './messages.ts'

const port = parentPort!
const engine = await loadMclEngine()
port.on('message', (job: ThreadJob) => answer(run(job)))
answer({ type: 'ready' })

function answer(message: ThreadAnswer): void {
  port.postMessage(message)
}

function run({ verificationKey, items, stopAtFirstFailure }: ThreadJob): ThreadAnswer {
  try {
    const answers = checkEach(engine, verificationKey, items, {
      stopAtFirstFailure,
      confirmFailure: (item) => confirmFailureWithNoble(verificationKey, item),
    })
    return { type: 'answers', answers }
  } catch (error) {
    return { type: 'error', ...describe(error) }
  }
}

function describe(error: unknown): Omit<ThreadAnswer & { type: 'error' }, 'type'> {
  const message = error instanceof Error ? error.message : String(error)
  if (!(error instanceof CipherlogError)) return { kind: 'other', code: 'ERR_PROOF_WORKER', message, details: {} }
  const kind = error instanceof DecodeError ? 'decode' : error instanceof InvariantViolation ? 'invariant' : 'other'
  return { kind, code: error.code, message, details: error.details }
}

/**
 * A verifier on `node:worker_threads`: mcl in each thread, so that proofs never block the event loop, whose
 * heartbeats keep a leader in office. Node only; the browser's twin is `createInlineVerifier`.
 */
import { Worker } from 'node:worker_threads'
import { CipherlogError, DecodeError, InvariantViolation } from '@cipherlog/core'
import { groupByKey, inOrder } from '../grouping.ts'
import { batchProofsMax } from '../groth16/engine.ts'
import { closedError, type ProofVerifier } from '../verifier.ts'
import { type ThreadAnswer, type ThreadJob } from './messages.ts'

export interface WorkerVerifierOptions {
  /** Threads, 1 to 64; each takes about 30 MB. One keeps up with about 500 proofs a second in batches. */
  readonly threads: number
}

/** Checks that may wait at once: 64 full bundles. Admission by cost keeps a node far below that. */
const checksPendingMax = 64 * batchProofsMax
/** Smaller batches are not worth splitting over threads: the final exponentiation would dominate. */
const batchProofsMin = 8

/**
 * Starts the threads and waits until each has passed its self-test.
 * @throws {@link InvariantViolation} if a self-test fails, {@link CipherlogError} `ERR_PROOF_WORKER` if a thread dies.
 */
export async function createWorkerVerifier({ threads }: WorkerVerifierOptions): Promise<ProofVerifier> {
  if (!Number.isInteger(threads) || threads < 1 || threads > 64)
    throw new RangeError(`a verifier has 1 to 64 threads, not ${threads}`)
  const pool = new Pool(threads)
  try {
    await pool.ready()
  } catch (error) {
    await pool.close()
    throw error
  }
  let checksPending = 0
  return {
    async verify(checks, options = {}) {
      if (checks.length === 0) return []
      if (checksPending + checks.length > checksPendingMax) {
        throw new CipherlogError(
          'ERR_PROOF_BUSY',
          `${checksPending} proofs wait already; ask again when they are done.`,
        )
      }
      checksPending += checks.length
      try {
        const stopAtFirstFailure = options.stopAtFirstFailure ?? false
        const share = Math.ceil(checks.length / threads)
        const groups = groupByKey(checks, Math.min(batchProofsMax, Math.max(batchProofsMin, share)))
        const answers = await Promise.all(
          groups.map(({ verificationKey, items }) =>
            pool.run({
              verificationKey: new Uint8Array(verificationKey),
              items: items.map(({ statement, proof }) => ({
                statement: new Uint8Array(statement),
                proof: new Uint8Array(proof),
              })),
              stopAtFirstFailure,
            }),
          ),
        )
        return inOrder(checks.length, groups, answers, stopAtFirstFailure)
      } finally {
        checksPending -= checks.length
      }
    },
    close: () => pool.close(),
  }
}

interface Pending {
  readonly job: ThreadJob
  readonly resolve: (answers: readonly boolean[]) => void
  readonly reject: (error: Error) => void
}

interface Thread {
  readonly worker: Worker
  /** Settles when the thread has passed its self-test or died. */
  readonly started: Promise<void>
  running: Pending | undefined
  idle: boolean
}

/** First in, first out; one job per thread at a time. Fails as a whole, and for good, when a thread dies. */
class Pool {
  readonly #threads: Thread[] = []
  readonly #queue: Pending[] = []
  #failure: Error | undefined

  constructor(threads: number) {
    for (let i = 0; i < threads; i++) this.#threads.push(this.#start())
  }

  async ready(): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread.started))
  }

  run(job: ThreadJob): Promise<readonly boolean[]> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) return reject(this.#failure)
      this.#queue.push({ job, resolve, reject })
      this.#dispatch()
    })
  }

  async close(): Promise<void> {
    this.#fail(closedError())
    await Promise.all(this.#threads.map((thread) => thread.worker.terminate()))
  }

  #start(): Thread {
    // The same file before and after the build strips its types.
    const file = import.meta.url.endsWith('.ts') ? './thread.ts' : './thread.js'
    // The process's own options (a script by --eval, a debugger) are not the thread's.
    const worker = new Worker(new URL(file, import.meta.url), { name: 'cipherlog-proof', execArgv: [] })
    const started = Promise.withResolvers<void>()
    // A failed start is reported by ready(); a later one by run().
    started.promise.catch(() => {})
    const thread: Thread = { worker, started: started.promise, running: undefined, idle: false }
    const die = (error: Error) => {
      started.reject(error)
      this.#fail(error)
    }
    worker.on('message', (message: ThreadAnswer) => {
      const { running } = thread
      thread.running = undefined
      thread.idle = true
      if (message.type === 'ready') started.resolve()
      else if (message.type === 'answers') running?.resolve(message.answers)
      else running?.reject(toError(message))
      this.#dispatch()
    })
    worker.on('error', (cause: Error) =>
      die(
        (cause as { code?: unknown }).code === 'ERR_INVARIANT'
          ? new InvariantViolation(cause.message)
          : new CipherlogError('ERR_PROOF_WORKER', 'A verifier thread failed; restart the process.', { cause }),
      ),
    )
    worker.on('exit', (exitCode) =>
      die(new CipherlogError('ERR_PROOF_WORKER', `A verifier thread ended (${exitCode}); restart the process.`)),
    )
    return thread
  }

  #dispatch(): void {
    for (const thread of this.#threads) {
      if (!thread.idle) continue
      const next = this.#queue.shift()
      if (next === undefined) return
      thread.idle = false
      thread.running = next
      thread.worker.postMessage(next.job)
    }
  }

  #fail(error: Error): void {
    if (this.#failure !== undefined) return
    this.#failure = error
    for (const { reject } of this.#queue.splice(0)) reject(error)
    for (const thread of this.#threads) {
      thread.running?.reject(error)
      thread.running = undefined
      thread.idle = false
    }
  }
}

function toError({ kind, code, message, details }: ThreadAnswer & { type: 'error' }): Error {
  if (kind === 'decode') return new DecodeError(code, message, { details })
  if (kind === 'invariant') return new InvariantViolation(message, details)
  return new CipherlogError(code, `A verifier thread failed: ${message}`, { details })
}

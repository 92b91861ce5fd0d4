// SPDX-License-Identifier: GPL-3.0-or-later
/**
 * A bounded queue of proofs to make, and the threads that make them. Proving takes 0.4 to 0.8 s of a core, so it
 * never runs on the caller's event loop. Threads start with the first proof, and idle ones keep no process alive.
 */
import { Worker } from 'node:worker_threads'
import { CipherlogError, equalBytes } from '@cipherlog/core'
import { defaultArtifactsDirectory, loadArtifacts, type CircuitArtifacts } from './artifacts.ts'
import { type ThreadAnswer, type ThreadJob } from './messages.ts'
import { mismatchError, sealedAmountInput, type ProveOptions, type SealedAmountWitness } from './sealed-amount.ts'

export interface ProverOptions {
  /** The directory with `manifest.json`; default: the one of this release. */
  readonly artifactsDirectory?: string
  /** 1 (default) to 16; each takes about 100 MB. */
  readonly threads?: number
}

export interface Prover {
  /**
   * Proves that a ciphertext holds an amount below 2^bits, for one command; the proof (128 bytes) is verified before
   * it is returned.
   * @throws RangeError, {@link DecodeError} on a bad witness; {@link CipherlogError} `ERR_PROVE_MISMATCH` (the
   * ciphertext is another one's), `ERR_PROVE_KEY` (other verification key), `ERR_PROVE_BUSY` (queue full),
   * `ERR_PROVE_ABORTED`, `ERR_PROVE_CLOSED`, `ERR_PROVE_FAILED`, `ERR_PROOF_ARTIFACT`, `ERR_PROOF_MANIFEST`.
   */
  proveSealedAmount(witness: SealedAmountWitness, options?: ProveOptions): Promise<Uint8Array>
  /** The verification key (288 bytes) that this prover's proofs verify under. */
  verificationKey(circuit: string): Promise<Uint8Array>
  /** Ends the threads; what is queued or running rejects with `ERR_PROVE_CLOSED`. */
  close(): Promise<void>
}

/** Proofs that may wait: a bundle of 256 commands needs as many. */
const queuedMax = 256

interface Pending {
  readonly job: Omit<ThreadJob, 'artifacts'>
  readonly artifacts: CircuitArtifacts
  readonly onProgress: NonNullable<ProveOptions['onProgress']>
  readonly resolve: (proof: Uint8Array) => void
  readonly reject: (error: Error) => void
}

interface Thread {
  readonly worker: Worker
  /** Circuits whose artifacts it has. */
  readonly circuits: Set<string>
  running: Pending | undefined
}

export function createProver(options: ProverOptions = {}): Prover {
  const { artifactsDirectory = defaultArtifactsDirectory, threads = 1 } = options
  if (!Number.isInteger(threads) || threads < 1 || threads > 16)
    throw new RangeError(`a prover has 1 to 16 threads, not ${threads}`)
  return new SnarkjsProver(artifactsDirectory, threads)
}

class SnarkjsProver implements Prover {
  readonly #directory: string
  readonly #threadsMax: number
  readonly #artifacts = new Map<string, Promise<CircuitArtifacts>>()
  readonly #threads = new Set<Thread>()
  readonly #queue: Pending[] = []
  #closed = false

  constructor(directory: string, threadsMax: number) {
    this.#directory = directory
    this.#threadsMax = threadsMax
  }

  async proveSealedAmount(witness: SealedAmountWitness, options: ProveOptions = {}): Promise<Uint8Array> {
    const { circuit, input, statement } = sealedAmountInput(witness)
    const { onProgress = () => {}, signal } = options
    const artifacts = await this.#load(circuit.id)
    if (witness.verificationKey !== undefined && !equalBytes(witness.verificationKey, artifacts.verificationKey)) {
      throw new CipherlogError(
        'ERR_PROVE_KEY',
        `The cluster accepts another key for ${circuit.id}; install the artifacts of its ceremony.`,
      )
    }
    if (signal?.aborted) throw abortedError(signal)
    if (this.#closed) throw closedError()
    if (this.#queue.length >= queuedMax) {
      throw new CipherlogError('ERR_PROVE_BUSY', `${queuedMax} proofs wait already; ask again when some are done.`)
    }
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>()
    const pending: Pending = { job: { circuit: circuit.id, input, statement }, artifacts, onProgress, resolve, reject }
    const abort = () => this.#abort(pending, abortedError(signal!))
    signal?.addEventListener('abort', abort, { once: true })
    try {
      this.#queue.push(pending)
      onProgress('queued')
      this.#dispatch()
      const proof = await promise
      onProgress('checked')
      return proof
    } finally {
      signal?.removeEventListener('abort', abort)
    }
  }

  async verificationKey(circuit: string): Promise<Uint8Array> {
    return new Uint8Array((await this.#load(circuit)).verificationKey)
  }

  async close(): Promise<void> {
    this.#closed = true
    for (const { reject } of this.#queue.splice(0)) reject(closedError())
    await Promise.all([...this.#threads].map((thread) => this.#end(thread, closedError())))
  }

  /** Checked against the manifest once; a failure is not remembered, so that it can be repaired. */
  #load(circuit: string): Promise<CircuitArtifacts> {
    let loading = this.#artifacts.get(circuit)
    if (loading === undefined) {
      loading = loadArtifacts(circuit, this.#directory)
      this.#artifacts.set(circuit, loading)
      loading.catch(() => this.#artifacts.delete(circuit))
    }
    return loading
  }

  #abort(pending: Pending, error: CipherlogError): void {
    const at = this.#queue.indexOf(pending)
    if (at >= 0) {
      this.#queue.splice(at, 1)
      pending.reject(error)
      return
    }
    for (const thread of this.#threads) {
      // snarkjs can't be interrupted; its thread can.
      if (thread.running === pending) void this.#end(thread, error).then(() => this.#dispatch())
    }
  }

  #dispatch(): void {
    while (this.#queue.length > 0) {
      let thread = [...this.#threads].find(({ running }) => running === undefined)
      if (thread === undefined && this.#threads.size < this.#threadsMax) thread = this.#start()
      if (thread === undefined) return
      const pending = this.#queue.shift()!
      const { circuit } = pending.job
      thread.running = pending
      thread.worker.ref()
      thread.worker.postMessage({
        ...pending.job,
        artifacts: thread.circuits.has(circuit) ? undefined : pending.artifacts,
      } satisfies ThreadJob)
      thread.circuits.add(circuit)
    }
  }

  #start(): Thread {
    // The same file before and after the build strips its types.
    const file = import.meta.url.endsWith('.ts') ? './thread.ts' : './thread.js'
    const worker = new Worker(new URL(file, import.meta.url), {
      name: 'cipherlog-prover',
      // web-worker, below snarkjs, runs workerData.mod in every thread that it finds itself in.
      workerData: { mod: 'data:,' },
      // The process's own options (a script by --eval, a debugger) are not the thread's.
      execArgv: [],
    })
    const thread: Thread = { worker, circuits: new Set(), running: undefined }
    this.#threads.add(thread)
    worker.on('message', (message: ThreadAnswer) => this.#receive(thread, message))
    const die = (cause?: unknown) => {
      const error = new CipherlogError(
        'ERR_PROVE_FAILED',
        'A prover thread ended in the middle of a proof; prove again.',
        {
          cause,
        },
      )
      void this.#end(thread, error).then(() => this.#dispatch())
    }
    worker.on('error', die)
    worker.on('exit', () => die())
    return thread
  }

  #receive(thread: Thread, message: ThreadAnswer): void {
    const { running } = thread
    if (running === undefined) return
    if (message.type === 'stage') {
      running.onProgress(message.stage)
      return
    }
    thread.running = undefined
    thread.worker.unref()
    if (message.type === 'proof') running.resolve(message.proof)
    else if (message.type === 'mismatch') running.reject(mismatchError())
    else {
      running.reject(
        new CipherlogError('ERR_PROVE_FAILED', `Proving failed (${message.step}): ${message.problem}. Seal again.`),
      )
    }
    this.#dispatch()
  }

  async #end(thread: Thread, error: CipherlogError): Promise<void> {
    if (!this.#threads.delete(thread)) return
    thread.running?.reject(error)
    thread.running = undefined
    await thread.worker.terminate()
  }
}

function abortedError(signal: AbortSignal): CipherlogError {
  return new CipherlogError('ERR_PROVE_ABORTED', 'Proving was aborted by its caller.', { cause: signal.reason })
}

function closedError(): CipherlogError {
  return new CipherlogError('ERR_PROVE_CLOSED', 'The prover is closed; create another one.')
}

// SPDX-License-Identifier: GPL-3.0-or-later
/**
 * A prover thread: witness, proof, and a check of the proof with the verifier's own code before it is handed out.
 * snarkjs runs on a single-threaded curve here: threads of its own would outlive it.
 */
import { parentPort } from 'node:worker_threads'
import { bytesToBigint, equalBytes } from '@cipherlog/core'
import { proofFromSnarkjs, verifyGroth16Noble } from '@cipherlog/proof'
import type * as Snarkjs from 'snarkjs'
import { type CircuitArtifacts } from './artifacts.ts'
import { type ThreadAnswer, type ThreadJob } from './messages.ts'

/** Pages of 64 KiB that a witness program starts with; snarkjs would reserve 2 GiB. */
const witnessMemoryPages = 64
/** Where witness[1], the public signal, stands in a wtns file over BN254: header 12, section 1 12 + 40, section 2 12. */
const publicSignalAt = 76 + 32

const port = parentPort!
const artifactsOf = new Map<string, CircuitArtifacts>()

// snarkjs prints a failed assertion before it throws it; who called the prover gets the error. This console is the
// thread's own, and piping the thread's output instead would keep the process alive while it is idle.
for (const method of ['log', 'info', 'warn', 'error'] as const) console[method] = () => {}

// First of all, because web-worker, below snarkjs, listens to the same port and would take the first job from us.
port.on('message', (job: ThreadJob) => void prove(job).then(answer))
const loaded = loadSnarkjs()

async function loadSnarkjs(): Promise<Pick<typeof Snarkjs, 'groth16' | 'wtns'>> {
  const { curves, groth16, wtns } = await import('snarkjs')
  // ffjavascript looks here before it builds a curve, which would take a fifth of the time of every proof.
  Object.assign(globalThis, { curve_bn128: await curves.getCurveFromName('bn128', { singleThread: true }) })
  return { groth16, wtns }
}

function answer(message: ThreadAnswer): void {
  port.postMessage(message)
}

async function prove({ circuit, artifacts: sent, input, statement }: ThreadJob): Promise<ThreadAnswer> {
  if (sent !== undefined) artifactsOf.set(circuit, sent)
  const { wasm, provingKey, verificationKey } = artifactsOf.get(circuit)!
  let step: 'witness' | 'proving' | 'checking' = 'witness'
  try {
    const { groth16, wtns } = await loaded
    answer({ type: 'stage', stage: 'witness' })
    const witness: Snarkjs.MemoryFile = { type: 'mem' }
    await wtns.calculate(input, wasm, witness, { memorySize: witnessMemoryPages })
    const signal = witness.data!.slice(publicSignalAt, publicSignalAt + 32).reverse()
    if (!equalBytes(signal, statement)) return { type: 'mismatch' }

    step = 'proving'
    answer({ type: 'stage', stage: 'proving' })
    const made = await groth16.prove(provingKey, witness)

    step = 'checking'
    const proof = proofFromSnarkjs(made.proof)
    const isAboutStatement =
      made.publicSignals.length === 1 && BigInt(made.publicSignals[0]!) === bytesToBigint(statement)
    if (!isAboutStatement || !verifyGroth16Noble(verificationKey, [statement], proof)) {
      return { type: 'failed', step, problem: 'the proof does not verify' }
    }
    return { type: 'proof', proof }
  } catch (error) {
    // A failed assertion names a template and a line, never a value; other messages of snarkjs do not either.
    return { type: 'failed', step, problem: error instanceof Error ? error.message.trim() : String(error) }
  }
}

// SPDX-License-Identifier: GPL-3.0-or-later
/** What the prover and its threads say to each other. */
import { type CircuitArtifacts } from './artifacts.ts'
import { type CircuitInput } from './sealed-amount.ts'

export interface ThreadJob {
  readonly circuit: string
  /** Sent with a thread's first job for the circuit. */
  readonly artifacts: CircuitArtifacts | undefined
  readonly input: CircuitInput
  /** 32 bytes: what the proof must be about. */
  readonly statement: Uint8Array
}

export type ThreadAnswer =
  | { readonly type: 'stage'; readonly stage: 'witness' | 'proving' }
  | { readonly type: 'proof'; readonly proof: Uint8Array }
  | { readonly type: 'mismatch' }
  /** snarkjs threw, or made a proof that does not verify. The text never holds values of the witness. */
  | { readonly type: 'failed'; readonly step: 'witness' | 'proving' | 'checking'; readonly problem: string }

/**
 * `counter` and `tally`: sums of ElGamal ciphertexts, each contribution proven to be an encryption of a bounded
 * amount. One rule under two names: a counter counts one thing in a cell, a tally has a cell for each choice.
 */
import { proofBytes } from '@cipherlog/proof'
import { elgamalCiphertextBytes } from '@cipherlog/crypto/evaluate/elgamal'
import { suites, verdicts } from '@cipherlog/format'
import { hasExactly } from '../head-parts.ts'
import { type StateMachine } from '../state-machine.ts'

function sumMachine(name: string): StateMachine {
  return {
    name,
    version: 1,
    operations: ['add'],
    accepts: (head) =>
      head.suite === suites.elgamalBjj &&
      hasExactly(head, ['key', 'circuit', 'ciphertext', 'proof']) &&
      head.ciphertext!.bytes === elgamalCiphertextBytes &&
      head.proof!.bytes === proofBytes,
    // One Groth16 verification in a batch, and Poseidon.
    costOf: () => 5,
    apply: (context, head, bodies) =>
      context.cells.contribute(context, head, bodies.ciphertext!, { bound: 0 }) ? verdicts.applied : verdicts.limit,
  }
}

export const counterMachine: StateMachine = sumMachine('counter')
export const tallyMachine: StateMachine = sumMachine('tally')

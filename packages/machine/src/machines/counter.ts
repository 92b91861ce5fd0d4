/** `counter`: sums of ElGamal ciphertexts, each contribution proven to be an encryption of a bounded amount. */
import { suites, verdicts } from '@cipherlog/format'
import { type StateMachine } from '../state-machine.ts'

export const counterMachine: StateMachine = {
  name: 'counter',
  version: 1,
  operations: ['add'],
  accepts: (head, namespace) =>
    head.suite === suites.elgamalBjj &&
    head.key !== undefined &&
    head.args === undefined &&
    head.envelope === undefined &&
    head.circuit !== undefined &&
    head.circuit === namespace.circuit &&
    head.ciphertext?.bytes === 128 &&
    head.proof?.bytes === 128,
  // One Groth16 verification in a batch, and Poseidon.
  costOf: () => 5,
  apply(context, head, bodies) {
    return context.cells.contribute(context, head, bodies.ciphertext!, { bound: 0 }) ? verdicts.applied : verdicts.limit
  },
}

/**
 * `vector`: sums of BFV ciphertexts. The server's gate checks structure only: bounds are declared, not proven
 * (docs/THREAT_MODEL.md), so a slice takes at most `maxCount` contributions before its key must be rotated.
 */
import { suites, verdicts } from '@cipherlog/format'
import { bfvSuites } from '@cipherlog/crypto/evaluate/bfv'
import { hasExactly } from '../head-parts.ts'
import { type StateMachine } from '../state-machine.ts'

export const vectorMachine: StateMachine = {
  name: 'vector',
  version: 1,
  operations: ['add'],
  accepts: (head) =>
    (head.suite === suites.bfv2048 || head.suite === suites.bfv4096 || head.suite === suites.bfv8192) &&
    hasExactly(head, ['key', 'ciphertext']) &&
    head.ciphertext!.bytes === bfvSuites[head.suite].ciphertextBytes,
  costOf: () => 0.3,
  apply(context, head, bodies) {
    const { maxAbs, maxCount } = context.namespace.vector!
    const count = context.cells.count(context.namespace.name, head.key!, head.keyEpoch)
    if (count >= maxCount) return verdicts.rotationDue
    return context.cells.contribute(context, head, bodies.ciphertext!, { bound: maxAbs })
      ? verdicts.applied
      : verdicts.limit
  },
}

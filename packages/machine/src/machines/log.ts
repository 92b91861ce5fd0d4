/** `log`: sealed records in order; the trail is its content, so applying keeps nothing. */
import { sealedValueBytesMin, suites, verdicts } from '@cipherlog/format'
import { hasExactly } from '../head-parts.ts'
import { type StateMachine } from '../state-machine.ts'

export const logMachine: StateMachine = {
  name: 'log',
  version: 1,
  operations: ['append'],
  accepts: (head) =>
    head.suite === suites.hpkeXwing &&
    hasExactly(head, ['envelope', 'ciphertext']) &&
    head.ciphertext!.bytes >= sealedValueBytesMin,
  costOf: () => 0.01,
  apply: () => verdicts.applied,
}

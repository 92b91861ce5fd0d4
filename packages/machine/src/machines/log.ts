/** `log`: sealed records in order; the trail is its content, so applying keeps nothing. */
import { sealedValueBytesMin, suites, verdicts } from '@cipherlog/format'
import { type StateMachine } from '../state-machine.ts'

export const logMachine: StateMachine = {
  name: 'log',
  version: 1,
  operations: ['append'],
  accepts: (head) =>
    head.suite === suites.hpkeXwing &&
    head.key === undefined &&
    head.args === undefined &&
    (head.ciphertext?.bytes ?? 0) >= sealedValueBytesMin &&
    head.proof === undefined,
  costOf: () => 0.01,
  apply: () => verdicts.applied,
}

/** `kv`: the newest sealed value of each blinded name. */
import { encode } from '@cipherlog/core'
import { sealedValueBytesMin, storedValue, suites, verdicts } from '@cipherlog/format'
import { hasExactly } from '../head-parts.ts'
import { stateKeys } from '../state-keys.ts'
import { type StateMachine } from '../state-machine.ts'

export const kvMachine: StateMachine = {
  name: 'kv',
  version: 1,
  operations: ['put', 'delete'],
  accepts: (head) =>
    head.suite === suites.hpkeXwing &&
    // A deletion carries a sealed value too: the name inside proves to readers which name was meant.
    hasExactly(head, ['key', 'envelope', 'ciphertext']) &&
    head.ciphertext!.bytes >= sealedValueBytesMin,
  costOf: () => 0.02,
  apply(context, head, bodies) {
    const key = stateKeys.value(context.namespace.name, head.key!)
    if (head.op === 'put') {
      context.state.put(
        key,
        encode(storedValue, {
          leaf: context.leaf,
          command: context.command,
          ciphertext: bodies.ciphertext!,
          ...(context.generation === 0 ? {} : { generation: context.generation }),
        }),
      )
    } else {
      context.state.delete(key)
    }
    return verdicts.applied
  },
}

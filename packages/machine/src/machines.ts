/**
 * The state machines that this software runs: the built-in ones by name, an application's own by name, version and
 * code hash, all three of which the namespace names (rules 2).
 */
import { CipherlogError, equalBytes, toHex } from '@cipherlog/core'
import { type NamespaceDefinition } from '@cipherlog/format'
import { kvMachine } from './machines/kv.ts'
import { logMachine } from './machines/log.ts'
import { counterMachine, tallyMachine } from './machines/sums.ts'
import { vectorMachine } from './machines/vector.ts'
import { type StateMachine } from './state-machine.ts'

export const builtInMachines: readonly StateMachine[] = [
  logMachine,
  kvMachine,
  counterMachine,
  tallyMachine,
  vectorMachine,
]

type MachineName = Pick<NamespaceDefinition, 'machine' | 'application'>

export class Machines {
  readonly #builtIn = new Map(builtInMachines.map((machine) => [machine.name, machine]))
  readonly #own: readonly StateMachine[]

  /** @throws RangeError if one has the name of a built-in one or no code hash, or two are the same. */
  constructor(own: readonly StateMachine[]) {
    own.forEach((machine, i) => {
      if (this.#builtIn.has(machine.name))
        throw new RangeError(`${machine.name} is built in; rename your state machine`)
      if (machine.code?.length !== 32) throw new RangeError(`${machine.name} lacks its code hash of 32 bytes`)
      if (own.slice(0, i).some((other) => isSame(other, machine))) {
        throw new RangeError(`the state machine ${machine.name} is listed twice`)
      }
    })
    this.#own = own
  }

  /** The machine of a namespace; undefined if this software lacks it. */
  find({ machine: name, application }: MachineName): StateMachine | undefined {
    if (application === undefined) return this.#builtIn.get(name)
    return this.#own.find((machine) => isSame(machine, { name, ...application }))
  }

  /** @throws CipherlogError `ERR_MACHINE_UNKNOWN` if this software lacks the machine of a namespace. */
  require(namespace: MachineName & { readonly name: string }): void {
    if (this.find(namespace) !== undefined) return
    const { machine, application } = namespace
    const which =
      application === undefined ? '' : ` version ${application.version} with code ${toHex(application.code)}`
    throw new CipherlogError(
      'ERR_MACHINE_UNKNOWN',
      `The namespace ${namespace.name} runs the state machine ${machine}${which}, which this process was not given; start it with that module.`,
      { details: { namespace: namespace.name, machine, version: application?.version } },
    )
  }
}

function isSame(
  a: Pick<StateMachine, 'name' | 'version' | 'code'>,
  b: Pick<StateMachine, 'name' | 'version' | 'code'>,
): boolean {
  return a.name === b.name && a.version === b.version && equalBytes(a.code!, b.code!)
}

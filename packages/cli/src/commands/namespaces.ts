/** `cipherlog namespaces`: create one, for ever; list them. */
import type { Cipherlog } from '@cipherlog/client'
import type { Operator } from '@cipherlog/client/operator'
import { CipherlogError, toHex } from '@cipherlog/core'
import { readPolicies, suiteNames, suites, type NamespaceDefinition, type Suite } from '@cipherlog/format'
import { type Command } from 'commander'
import { id, integer, oneOf } from '../arguments.ts'
import { contextOf, type Io } from '../context.ts'
import { UsageError } from '../exit-codes.ts'
import { withGuest, withOperator } from '../session.ts'
import { table } from '../table.ts'

interface CreateOptions {
  readonly machine: string
  readonly keyset: string
  readonly circuit: string
  readonly length?: number
  readonly maxAbs?: number
  readonly maxCount?: number
  readonly read: string
}

const machines = ['kv', 'log', 'counter', 'vector'] as const
type Machine = (typeof machines)[number]

/** What a keyset made for a machine is for. */
const suiteOfMachine: Readonly<Record<Machine, Suite>> = {
  kv: suites.hpkeXwing,
  log: suites.hpkeXwing,
  counter: suites.elgamalBjj,
  vector: suites.bfv4096,
}

const bound = integer(1, 0x7fff_ffff)

export function addNamespaces(program: Command, io: Io): void {
  const namespaces = program.command('namespaces').description('what commands are written into')
  namespaces
    .command('create')
    .description('create a namespace, with a keyset of its own unless one is named')
    .argument('<name>', 'such as orders or eu/revenue; servers see it')
    .requiredOption('--machine <machine>', machines.join(', '))
    .option('--keyset <id>', 'keyset whose readers open it, or `new`', 'new')
    .option('--circuit <id>', 'counter: which amounts can be proven', 'sealed-amount-32')
    .option('--length <n>', 'vector: numbers in a vector', integer(1, 8192))
    .option('--max-abs <n>', 'vector: largest absolute value of one number', bound)
    .option('--max-count <n>', 'vector: contributions until the key must be rotated', bound)
    .option('--read <who>', 'who may fetch ciphertext: public or granted', 'public')
    .action(async (name: string, options: CreateOptions, command: Command) => {
      const context = contextOf(command, io)
      const machine = oneOf(options.machine, machines, 'machine')
      const parts = {
        ...partsFor(machine, options),
        readPolicy: readPolicies[oneOf(options.read, ['public', 'granted'], 'read policy')],
      }
      const keyset = options.keyset === 'new' ? undefined : id(options.keyset, 'keyset')
      const created = await withOperator(context, async (operator, log) => {
        const chosen = await chooseKeyset(log, operator, machine, keyset)
        const definition = { name, machine, ...chosen, ...parts }
        const { number, leaf } = await operator.createNamespace(definition)
        return { ...definition, number, leaf }
      })
      context.output.result(
        { ...created, suite: suiteNames[created.suite] },
        `Created ${name}, a ${machine} of suite ${suiteNames[created.suite]}, keyset ${toHex(created.keyset)}.`,
      )
    })

  namespaces
    .command('list')
    .description('list all namespaces')
    .action(async (_options: unknown, command: Command) => {
      const context = contextOf(command, io)
      const list = await withGuest(context, ({ view }) => Promise.resolve(view.current.registry.namespaces()))
      const rows = list.map(({ name, machine, suite, keyset, readPolicy }) => [
        name,
        machine,
        suiteNames[suite as Suite],
        toHex(keyset),
        readPolicy === readPolicies.public ? 'public' : 'granted',
      ])
      context.output.result(
        { namespaces: list.map((namespace) => ({ ...namespace, suite: suiteNames[namespace.suite as Suite] })) },
        table(['namespace', 'machine', 'suite', 'keyset', 'ciphertext'], rows),
      )
    })
}

function partsFor(machine: Machine, options: CreateOptions): Pick<NamespaceDefinition, 'circuit' | 'vector'> {
  const { length, maxAbs, maxCount } = options
  if (machine !== 'vector') {
    if ((length ?? maxAbs ?? maxCount) !== undefined) {
      throw new UsageError('--length, --max-abs and --max-count are for --machine vector.')
    }
    return machine === 'counter' ? { circuit: options.circuit } : {}
  }
  if (length === undefined || maxAbs === undefined || maxCount === undefined) {
    throw new UsageError('A vector needs --length, --max-abs and --max-count, so that no sum can overflow.')
  }
  return { vector: { length, maxAbs, maxCount } }
}

/** The named keyset, whose suite decides, or a new one of which this keyring is the reader. */
async function chooseKeyset(
  log: Cipherlog,
  operator: Operator,
  machine: Machine,
  keyset: Uint8Array | undefined,
): Promise<{ keyset: Uint8Array; suite: Suite }> {
  if (keyset === undefined) {
    const suite = suiteOfMachine[machine]
    return { keyset: (await operator.createKeyset({ suite, readers: [log.keyring] })).keyset, suite }
  }
  const entry = log.view.current.registry.keyset(keyset)
  if (entry === undefined) {
    throw new CipherlogError(
      'ERR_REGISTRY_UNKNOWN',
      `There is no keyset ${toHex(keyset)}; \`cipherlog keys list\` shows all.`,
    )
  }
  return { keyset, suite: entry.suite }
}

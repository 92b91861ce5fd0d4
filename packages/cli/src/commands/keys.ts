/** `cipherlog keys`: keysets and their versions. */
import { toHex } from '@cipherlog/core'
import { suiteNames, type KeyState, type Suite } from '@cipherlog/format'
import type { KeysetEntry, KeyVersionEntry } from '@cipherlog/registry'
import { type Command } from 'commander'
import { id, integer, oneOf } from '../arguments.ts'
import { contextOf, type Io } from '../context.ts'
import { formatDuration, parseDuration } from '../duration.ts'
import { withGuest, withOperator } from '../session.ts'
import { table } from '../table.ts'

const suiteNumbers = new Map(Object.entries(suiteNames).map(([number, name]) => [name, Number(number) as Suite]))

export function addKeys(program: Command, io: Io): void {
  const keys = program.command('keys').description('keysets, and the versions of their keys')
  keys
    .command('create')
    .description('create a keyset whose reader is this keyring')
    .requiredOption('--suite <suite>', [...suiteNumbers.keys()].join(', '))
    .option('--label <text>', 'for people; public')
    .action(async ({ suite, label }: { suite: string; label?: string }, command: Command) => {
      const context = contextOf(command, io)
      const number = suiteNumbers.get(oneOf(suite, [...suiteNumbers.keys()], 'suite'))!
      const { keyset, event } = await withOperator(context, (operator, log) =>
        operator.createKeyset({
          suite: number,
          readers: [log.keyring],
          ...(label === undefined ? {} : { label }),
        }),
      )
      context.output.result({ keyset, keyEpoch: 1, suite, ...event }, `Created keyset ${toHex(keyset)} (${suite}).`)
    })

  keys
    .command('rotate')
    .description('replace the key in use by a new version')
    .argument('<keyset>')
    .option('--grace <duration>', 'how long commands under the old version are still applied', '60s')
    .action(async (keyset: string, { grace }: { grace: string }, command: Command) => {
      const context = contextOf(command, io)
      const graceMs = parseDuration(grace)
      const { keyEpoch, event } = await withOperator(context, (operator, log) =>
        operator.rotateKey({ keyset: id(keyset, 'keyset'), readers: [log.keyring], graceMs }),
      )
      const until =
        graceMs === 0 ? 'The old one ends at once.' : `The old one is applied for ${formatDuration(graceMs)} more.`
      context.output.result({ keyset, keyEpoch, graceMs, ...event }, `Version ${keyEpoch} is active. ${until}`)
    })

  keys
    .command('revoke')
    .description('end a version that is compromised, at once; rotate afterwards')
    .argument('<keyset>')
    .argument('<epoch>', 'number of the version', integer(1, 0xffff_ffff))
    .requiredOption('--reason <text>', 'public, and for ever')
    .action(async (keyset: string, epoch: number, { reason }: { reason: string }, command: Command) => {
      const context = contextOf(command, io)
      const event = await withOperator(context, (operator) =>
        operator.compromiseKeyVersion(id(keyset, 'keyset'), epoch, reason),
      )
      context.output.result(
        { keyset, keyEpoch: epoch, ...event },
        `Version ${epoch} is compromised from leaf ${event.leaf} on. Make a new one: cipherlog keys rotate ${keyset} --grace 0s`,
      )
    })

  keys
    .command('list')
    .description('list all keysets with the state of each version')
    .action(async (_options: unknown, command: Command) => {
      const context = contextOf(command, io)
      const { keysets, logTime } = await withGuest(context, ({ view: { current } }) =>
        Promise.resolve({ keysets: current.registry.keysets(), logTime: current.batchRecord.logTime }),
      )
      const { keyStateAt } = await import('@cipherlog/registry')
      const list = keysets.map((entry) => described(entry, (version) => stateOf(version, keyStateAt(version, logTime))))
      const rows = list.flatMap(({ keyset, suite, label, versions }) =>
        versions.map(({ keyEpoch, state }) => [toHex(keyset), suite, String(keyEpoch), state, label ?? '']),
      )
      context.output.result({ keysets: list }, table(['keyset', 'suite', 'version', 'state', 'label'], rows))
    })
}

function described(
  { id: keyset, suite, label, members, versions }: KeysetEntry,
  stateOf: (version: KeyVersionEntry) => string,
) {
  return {
    keyset,
    suite: suiteNames[suite],
    label,
    readers: members.length,
    versions: [...versions.values()].map((version) => ({
      keyEpoch: version.keyEpoch,
      state: stateOf(version),
    })),
  }
}

/** A client that folds proven events knows their order and not their times, so not when a grace has ended. */
function stateOf(version: KeyVersionEntry, state: KeyState): string {
  return state === 'decrypt-only' && version.graceUntil === undefined ? 'grace or decrypt-only' : state
}

/** `cipherlog clients`: who may write. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { Cipherlog, Keyring } from '@cipherlog/client'
import { toHex } from '@cipherlog/core'
import { type Grant } from '@cipherlog/format'
import { type Command } from 'commander'
import { hexBytes, id } from '../arguments.ts'
import { clusterFiles } from '../cluster/layout.ts'
import { formatProfile, readProfile } from '../cluster/profile.ts'
import { contextOf, type Context, type Io } from '../context.ts'
import { UsageError } from '../exit-codes.ts'
import { readBytes, requireAbsent } from '../files.ts'
import { everything, formatGrant, parseGrant } from '../grants.ts'
import { readPassphrase } from '../passphrase.ts'
import { withGuest, withOperator } from '../session.ts'
import { table } from '../table.ts'
import { shown } from './init.ts'

interface AddOptions {
  readonly label?: string
  readonly grant: readonly Grant[]
  readonly out?: string
  readonly newPassphraseFile?: string
  readonly publicKey?: string
  readonly possession?: string
}

export function addClients(program: Command, io: Io): void {
  const clients = program.command('clients').description('who may write, and what')
  clients
    .command('add')
    .description('add a client: one whose key is made here (--out), or one that sends its public key')
    .option('--label <text>', 'for people; public')
    .option(
      '--grant <pattern[:operations]>',
      'such as orders/*:put,delete; may be repeated; default: everything',
      collectGrants,
      [],
    )
    .option('--out <folder>', 'make keys, and a folder with which the client connects (cipherlog --dir <folder>)')
    .option(
      '--new-passphrase-file <file>',
      'passphrase of the new keyring; else CIPHERLOG_NEW_PASSPHRASE, else you are asked',
    )
    .option('--public-key <hex>', 'Ed25519 key of a client elsewhere, 32 bytes')
    .option('--possession <hex>', 'its proof of possession for this cluster, 64 bytes')
    .action(async (options: AddOptions, command: Command) => {
      const context = contextOf(command, io)
      const grants = options.grant.length === 0 ? [everything] : [...options.grant]
      const label = options.label === undefined ? {} : { label: options.label }
      const added = await addClient(context, options, { grants, ...label })
      context.output.result({ ...added, grants, ...label }, describeAdded(added, options))
    })

  clients
    .command('revoke')
    .description('end a client for ever, from the position of this event on')
    .argument('<client>')
    .requiredOption('--reason <text>', 'public, and for ever')
    .action(async (client: string, { reason }: { reason: string }, command: Command) => {
      const context = contextOf(command, io)
      const event = await withOperator(context, (operator) => operator.revokeClient(id(client, 'client'), reason))
      context.output.result(
        { client, ...event },
        `Revoked ${client}: nothing it signs is applied after leaf ${event.leaf}.`,
      )
    })

  clients
    .command('list')
    .description('list all clients with their grants')
    .action(async (_options: unknown, command: Command) => {
      const context = contextOf(command, io)
      const list = await withGuest(context, ({ view }) => Promise.resolve(view.current.registry.clients()))
      const rows = list.map(({ id, label, grants, revoked }) => [
        toHex(id),
        label ?? '',
        revoked === undefined ? 'active' : `revoked: ${revoked.reason}`,
        grants.map(formatGrant).join('; '),
      ])
      context.output.result({ clients: list }, table(['client', 'label', 'state', 'grants'], rows))
    })
}

interface AddedClient {
  readonly client: Uint8Array
  readonly number: number
  readonly leaf: number
  readonly directory?: string
}

async function addClient(
  context: Context,
  { out, publicKey, possession, newPassphraseFile }: AddOptions,
  registration: { readonly grants: Grant[]; readonly label?: string },
): Promise<AddedClient> {
  if (publicKey === undefined || possession === undefined) {
    if (publicKey !== undefined || possession !== undefined) {
      throw new UsageError('--public-key and --possession come together, from the client.')
    }
    if (out === undefined) {
      throw new UsageError(
        'Say where the new client lives with --out <folder>, or give its --public-key and --possession.',
      )
    }
    return addLocalClient(context, resolve(out), newPassphraseFile, registration)
  }
  if (out !== undefined) throw new UsageError('--out makes a key of its own; leave it out with --public-key.')
  const keys = {
    publicKey: hexBytes(publicKey, 32, '--public-key'),
    possession: hexBytes(possession, 64, '--possession'),
  }
  return withOperator(context, async (operator, log) => {
    const client = log.random.bytes(16)
    const { number, leaf } = await operator.submit({ type: 'addClient', client, ...keys, ...registration })
    return { client, number, leaf }
  })
}

/** Makes a folder like that of `init`, without nodes and without an operator's key. */
async function addLocalClient(
  context: Context,
  directory: string,
  newPassphraseFile: string | undefined,
  registration: { readonly grants: Grant[]; readonly label?: string },
): Promise<AddedClient> {
  const profile = await readProfile(context.directory)
  const file = (name: keyof typeof clusterFiles): string => join(directory, clusterFiles[name])
  for (const name of ['profile', 'keyring', 'trustPolicy'] as const) await requireAbsent(file(name))
  await context.passphrase()
  const passphrase = await readPassphrase(
    { ...context, file: newPassphraseFile, option: '--new-passphrase-file', variable: 'CIPHERLOG_NEW_PASSPHRASE' },
    { confirm: true, question: "Passphrase for the new client's keyring: " },
  )
  const { createKeyringFile } = await import('@cipherlog/client')
  return withOperator(context, async (operator, log) => {
    await mkdir(directory, { recursive: true })
    const keyring = await createKeyringFile(file('keyring'), { passphrase, label: registration.label ?? '' })
    shareNameKeys(log, keyring)
    const { client, event } = await operator.addClient({ ...registration, keyring })
    await writeFile(file('trustPolicy'), await readBytes(profile.trustPolicyFile))
    const own = {
      ...profile,
      directory,
      client,
      trustPolicyFile: file('trustPolicy'),
      keyringFile: file('keyring'),
      memoryFile: file('memory'),
    }
    await writeFile(file('profile'), formatProfile(own))
    return { client, number: event.number, leaf: event.leaf, directory }
  })
}

/** Every writer of a cluster hides names under the same key. */
function shareNameKeys(log: Cipherlog, keyring: Keyring): void {
  for (const entry of log.keyring.of('nameKey', log.cluster)) keyring.add(entry)
}

function collectGrants(text: string, before: readonly Grant[]): Grant[] {
  return [...before, parseGrant(text)]
}

function describeAdded({ client, leaf, directory }: AddedClient, { label }: AddOptions): string {
  const who = label === undefined ? toHex(client) : `${label} (${toHex(client)})`
  return directory === undefined
    ? `Added client ${who} at leaf ${leaf}.`
    : `Added client ${who} at leaf ${leaf}. It connects with: cipherlog --dir ${shown(directory)} …`
}

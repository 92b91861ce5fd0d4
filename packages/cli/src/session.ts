/**
 * Commands that talk to the cluster: connected, used, closed. The SDK is loaded only by commands that need it, so that
 * help and usage errors come at once.
 */
import { join } from 'node:path'
import type { Cipherlog } from '@cipherlog/client'
import type { Operator } from '@cipherlog/client/operator'
import type { GuestOptions } from './cluster/connect.ts'
import { withLock } from './cluster/lock.ts'
import { readProfile } from './cluster/profile.ts'
import { type Context } from './context.ts'
import { UsageError } from './exit-codes.ts'

/** Held by the one command that may write what the client remembers. */
export const lockFile = ({ directory }: Context): string => join(directory, 'me.lock')

/** As the client of the cluster directory, which asks for the passphrase. One such command runs at a time. */
export async function withLog<T>(context: Context, use: (log: Cipherlog) => Promise<T>): Promise<T> {
  const profile = await readProfile(context.directory)
  const passphrase = await context.passphrase()
  const { connectAs } = await import('./cluster/connect.ts')
  context.output.progress('Connecting …')
  return withLock(lockFile(context), async () =>
    using(await connectAs(profile, passphrase), async (log) => {
      context.output.progress('Waiting for the log …')
      const { entries } = log.keyring
      const result = await use(log)
      // A content key that is kept spares the next command a new envelope.
      if (log.keyring.entries !== entries) await log.keyring.save()
      return result
    }),
  )
}

/** As a key operator, whose keys are in the same keyring. */
export function withOperator<T>(context: Context, use: (operator: Operator, log: Cipherlog) => Promise<T>): Promise<T> {
  return withLog(context, async (log) => {
    const { Operator } = await import('@cipherlog/client/operator')
    return use(new Operator(log), log)
  })
}

/**
 * As the same client, but keeping nothing: for commands that run on while others write. What was remembered before is
 * still held against every answer.
 */
export async function withReadOnlyLog<T>(context: Context, use: (log: Cipherlog) => Promise<T>): Promise<T> {
  const profile = await readProfile(context.directory)
  const { connectAs } = await import('./cluster/connect.ts')
  return using(await connectAs(profile, await context.passphrase(), { readOnly: true }), use)
}

/** A cluster without quorum has an old checkpoint, and its status is wanted all the more, and soon. */
export const whateverThereIs: GuestOptions = { registryMaxAgeMs: 100 * 365 * 86_400_000, readMsMax: 3_000 }

/** Without a key: what everybody may see. */
export async function withGuest<T>(
  context: Context,
  use: (log: Cipherlog) => Promise<T>,
  options: GuestOptions = {},
): Promise<T> {
  const profile = await readProfile(context.directory)
  const { connectAsGuest } = await import('./cluster/connect.ts')
  return using(await connectAsGuest(profile, options), use)
}

async function using<T>(log: Cipherlog, use: (log: Cipherlog) => Promise<T>): Promise<T> {
  try {
    return await use(log)
  } catch (error) {
    // How the SDK refuses an argument, such as an amount out of range.
    if (error instanceof RangeError)
      throw new UsageError(`${error.message.charAt(0).toUpperCase()}${error.message.slice(1)}.`)
    throw error
  } finally {
    await log.close()
  }
}

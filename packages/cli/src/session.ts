/** Commands that talk to the cluster: connected, used, closed. */
import { join } from 'node:path'
import { type Cipherlog } from '@cipherlog/client'
import { connectAs, connectAsGuest } from './cluster/connect.ts'
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
  return withLock(lockFile(context), async () => using(await connectAs(profile, passphrase), use))
}

/**
 * As the same client, but keeping nothing: for commands that run on while others write. What was remembered before is
 * still held against every answer.
 */
export async function withReadOnlyLog<T>(context: Context, use: (log: Cipherlog) => Promise<T>): Promise<T> {
  const profile = await readProfile(context.directory)
  return using(await connectAs(profile, await context.passphrase(), { readOnly: true }), use)
}

/** Without a key: what everybody may see. @param registryMaxAgeMs - as for `connectAsGuest`. */
export async function withGuest<T>(
  context: Context,
  use: (log: Cipherlog) => Promise<T>,
  registryMaxAgeMs?: number,
): Promise<T> {
  return using(await connectAsGuest(await readProfile(context.directory), registryMaxAgeMs), use)
}

async function using<T>(log: Cipherlog, use: (log: Cipherlog) => Promise<T>): Promise<T> {
  try {
    return await use(log)
  } catch (error) {
    // How the SDK refuses an argument, such as an amount out of range.
    if (error instanceof RangeError) throw new UsageError(`${error.message}.`)
    throw error
  } finally {
    await log.close()
  }
}

/** Replaces a small file: old content or new, never a mixture, whatever crashes. */
import { open, readFile, rename } from 'node:fs/promises'
import { dirname } from 'node:path'
import { StorageFailedError } from '@cipherlog/storage'

/** Durable when it resolves. @throws `ERR_STORAGE_FAILED`: the node must stop. */
export async function replaceFile(file: string, bytes: Uint8Array): Promise<void> {
  try {
    await replace(file, bytes)
  } catch (cause) {
    throw new StorageFailedError(file, cause)
  }
}

async function replace(file: string, bytes: Uint8Array): Promise<void> {
  const next = `${file}.next`
  const handle = await open(next, 'w', 0o600)
  try {
    await handle.writeFile(bytes)
    await handle.datasync()
  } finally {
    await handle.close()
  }
  await rename(next, file)
  const directory = await open(dirname(file), 'r')
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}

/** Undefined if there is no such file. */
export async function readIfThere(file: string): Promise<Uint8Array | undefined> {
  try {
    return new Uint8Array(await readFile(file))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

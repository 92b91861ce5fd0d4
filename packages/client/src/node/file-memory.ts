/** A client's memory in one file, replaced whole: a crash leaves the old or the new one. Node only. */
import { open, readFile, rename } from 'node:fs/promises'
import { dirname } from 'node:path'
import { array, bytes, decode, encode, text, tuple } from '@cipherlog/core'
import { historyBytesMax, type ClientMemory } from '../history.ts'

const originsMax = 64
const memoryFile = array(tuple(text(256), bytes(1, historyBytesMax)), originsMax)

/**
 * A memory for one client in one process at a time.
 * @param path - made with the first save; mode 0600, since it tells what was read and written when.
 */
export function fileMemory(path: string): ClientMemory {
  let contents: Promise<Map<string, Uint8Array>> | undefined
  let writing: Promise<void> = Promise.resolve()
  const load = () => (contents ??= readContents(path))
  return {
    load: async (origin) => (await load()).get(origin),
    save: (origin, saved) => {
      const next = writing.then(async () => {
        const all = await load()
        all.set(origin, saved)
        await replaceFile(path, encode(memoryFile, [...all]))
      })
      // A failed save is its caller's to know; the next one starts afresh.
      writing = next.catch(() => undefined)
      return next
    },
  }
}

async function readContents(path: string): Promise<Map<string, Uint8Array>> {
  let file: Uint8Array
  try {
    file = new Uint8Array(await readFile(path))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return new Map()
    throw error
  }
  return new Map(decode(memoryFile, file, originsMax * historyBytesMax))
}

/** Writes beside, syncs, renames, syncs the folder. */
export async function replaceFile(path: string, content: Uint8Array): Promise<void> {
  const temporary = `${path}.new`
  const file = await open(temporary, 'w', 0o600)
  try {
    await file.writeFile(content)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(temporary, path)
  const folder = await open(dirname(path), 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

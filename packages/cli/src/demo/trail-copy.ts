/**
 * Copies of a trail to play with. The original is only read; a running node may be writing to it meanwhile, so the
 * copy is cut to what its checkpoint covers.
 */
import { copyFile, mkdir, readdir, readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { CipherlogError, errorCode } from '@cipherlog/core'
import { parseCheckpoint, parseNote } from '@cipherlog/merkle/verify'
import { openFileTrail } from '@cipherlog/storage'

/** A node publishes a few times a second; between two publications a copy succeeds. */
const attemptsMax = 10

/** One leaf of a trail. */
export interface CopiedLeaf {
  /** Leaf record or batch record. */
  readonly record: Uint8Array
  readonly signed: Uint8Array
  readonly body: Uint8Array
}

/**
 * Copies a trail into an empty or new directory.
 * @returns the size of its checkpoint.
 * @throws CipherlogError `ERR_FILE` if there is no published trail.
 */
export async function copyTrail(from: string, to: string): Promise<number> {
  for (let attempt = 1; ; attempt++) {
    // The checkpoint first: the leaves it covers are there before it is, and only grow.
    const size = sizeOf(await readCheckpoint(from))
    await copyFiles(from, to)
    try {
      const trail = await openFileTrail(to, size)
      await trail.close()
      return size
    } catch (error) {
      if (errorCode(error) !== 'ERR_TRAIL_SHORT' || attempt === attemptsMax) throw error
      await sleep(100)
    }
  }
}

/** All leaves of a copied trail. */
export async function readLeaves(directory: string, size: number): Promise<CopiedLeaf[]> {
  const trail = await openFileTrail(directory, size)
  try {
    const leaves: CopiedLeaf[] = []
    for (let index = 0; index < size; index++) {
      leaves.push({
        record: await trail.readEntry(index),
        signed: await trail.readSigned(index),
        body: await trail.readBody(index),
      })
    }
    return leaves
  } finally {
    await trail.close()
  }
}

export async function readCheckpoint(directory: string): Promise<string> {
  const path = join(directory, 'checkpoint')
  try {
    return await readFile(path, 'utf8')
  } catch (cause) {
    const message = `${path} cannot be read; name the trail of a node that has published, such as nodes/1/data/trail.`
    throw new CipherlogError('ERR_FILE', message, { cause })
  }
}

/** Leaves under a checkpoint note. */
export function sizeOf(note: string): number {
  return parseCheckpoint(parseNote(note).text).size
}

async function copyFiles(from: string, to: string): Promise<void> {
  const entries = await readdir(from, { recursive: true, withFileTypes: true })
  for (const entry of entries) {
    if (!entry.isFile() || entry.name.endsWith('.tmp')) continue
    const source = join(entry.parentPath, entry.name)
    const target = join(to, source.slice(from.length))
    await mkdir(dirname(target), { recursive: true })
    try {
      await copyFile(source, target)
    } catch (error) {
      // A partial tile that a wider one has just replaced.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    }
  }
}

/**
 * Trails of generations before a restore: `trail-<generation>` beside `trail`, copied from the backup. They are only
 * read, and end with the checkpoint from which the next generation goes on.
 */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { parseCheckpoint, parseNote } from '@cipherlog/merkle/verify'
import { openFileTrail, type TrailStore } from '@cipherlog/storage'
import { utf8ToString } from '@cipherlog/core'
import { readIfThere } from './replace-file.ts'

/** Where the trail of a generation stands. */
export function olderTrailName(generation: number): string {
  return `trail-${generation}`
}

/** Names in `directory` that hold older trails, by generation, oldest first. */
export async function olderTrailsIn(directory: string): Promise<{ generation: number; path: string }[]> {
  const names = await readdir(directory)
  return names
    .flatMap((name) => {
      const [, digits] = /^trail-(0|[1-9][0-9]{0,14})$/.exec(name) ?? []
      return digits === undefined ? [] : [{ generation: Number(digits), path: join(directory, name) }]
    })
    .sort((a, b) => a.generation - b.generation)
}

/** Size of the published tree; undefined if nothing was published. */
export async function publishedSizeOf(trailDirectory: string): Promise<number | undefined> {
  const note = await readIfThere(join(trailDirectory, 'checkpoint'))
  return note === undefined ? undefined : parseCheckpoint(parseNote(utf8ToString(note)).text).size
}

/** Opens the older trails of a data directory. */
export async function openOlderTrails(dataDir: string): Promise<ReadonlyMap<number, TrailStore>> {
  const trails = new Map<number, TrailStore>()
  for (const { generation, path } of await olderTrailsIn(dataDir)) {
    const size = await publishedSizeOf(path)
    if (size !== undefined) trails.set(generation, await openFileTrail(path, size))
  }
  return trails
}

/** Node only: a trail in a folder, and a verifier on threads. */
import { constants } from 'node:fs'
import { lstat, open, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { CipherlogError } from '@cipherlog/core'
import { sourceError, type TrailFile, type TrailSource } from './trail-source.ts'

/** Files of a folder that are listed at most: a trail of 100 million leaves has fewer. */
const filesMax = 2_000_000

/** Links are not followed, and a pipe or device put in a file's place does not hang the audit. Windows has neither. */
// The types have these as numbers; on Windows they are undefined.
const openFlags =
  constants.O_RDONLY |
  ((constants.O_NOFOLLOW as number | undefined) ?? 0) |
  ((constants.O_NONBLOCK as number | undefined) ?? 0)

/** A trail copied into `directory`. */
export function trailDirectory(directory: string): TrailSource {
  const locate = (path: string): string => join(directory, ...path.split('/'))
  return {
    async list() {
      const files: TrailFile[] = []
      const pending = ['']
      for (let folder = pending.pop(); folder !== undefined; folder = pending.pop()) {
        const names = await namesIn(locate(folder), folder)
        if (names === undefined) {
          files.push({ path: folder, bytes: undefined })
          continue
        }
        for (const { name, isDirectory, isFile } of names) {
          const path = folder === '' ? name : `${folder}/${name}`
          if (isDirectory) pending.push(path)
          else files.push({ path, bytes: isFile ? await sizeOf(locate(path)) : undefined })
          if (files.length > filesMax) throw sourceError(directory, `holds more than ${filesMax} files: it is no trail`)
        }
      }
      return files
    },
    async read(path, start, length) {
      try {
        const file = await open(locate(path), openFlags)
        try {
          if (!(await file.stat()).isFile()) throw sourceError(path, 'is no plain file any more')
          const bytes = new Uint8Array(length)
          let at = 0
          while (at < length) {
            const { bytesRead } = await file.read(bytes, at, length - at, start + at)
            if (bytesRead === 0) throw sourceError(path, 'became shorter while it was read')
            at += bytesRead
          }
          return bytes
        } finally {
          await file.close()
        }
      } catch (error) {
        throw unreadable(path, error)
      }
    },
  }
}

/** What a folder holds; undefined if a folder below the trail's root cannot be listed. */
async function namesIn(
  location: string,
  folder: string,
): Promise<{ name: string; isDirectory: boolean; isFile: boolean }[] | undefined> {
  try {
    const entries = await readdir(location, { withFileTypes: true })
    return entries.map((entry) => ({ name: entry.name, isDirectory: entry.isDirectory(), isFile: entry.isFile() }))
  } catch (error) {
    // Without its root there is no trail; anything below that cannot be listed is named in the report.
    if (folder === '') throw unreadable(location, error)
    if (systemCode(error) === undefined) throw error
    return undefined
  }
}

async function sizeOf(location: string): Promise<number | undefined> {
  try {
    const stats = await lstat(location)
    return stats.isFile() ? stats.size : undefined
  } catch (error) {
    if (systemCode(error) === undefined) throw error
    return undefined
  }
}

function unreadable(path: string, error: unknown): unknown {
  const code = systemCode(error)
  return error instanceof CipherlogError || code === undefined
    ? error
    : sourceError(path, `cannot be read (${code})`, error)
}

/** `ENOENT` and its like: what the operating system refused. */
function systemCode(error: unknown): string | undefined {
  return error instanceof Error && 'syscall' in error && 'code' in error ? String(error.code) : undefined
}

export { createWorkerVerifier } from '@cipherlog/proof/worker'

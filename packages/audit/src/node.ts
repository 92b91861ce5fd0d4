/** Node only: trails in a directory, and a verifier on threads. */
import { readdir, readFile } from 'node:fs/promises'
import { join, relative, sep } from 'node:path'
import { type TrailSource } from './trail-source.ts'

/** A trail copied into `directory`. Symbolic links are not followed. */
export function trailDirectory(directory: string): TrailSource {
  return {
    async list() {
      const entries = await readdir(directory, { recursive: true, withFileTypes: true })
      return entries
        .filter((entry) => entry.isFile())
        .map((entry) => relative(directory, join(entry.parentPath, entry.name)).split(sep).join('/'))
        .sort()
    },
    async read(path) {
      try {
        return new Uint8Array(await readFile(join(directory, ...path.split('/'))))
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
        throw error
      }
    },
  }
}

export { createWorkerVerifier } from '@cipherlog/proof/worker'

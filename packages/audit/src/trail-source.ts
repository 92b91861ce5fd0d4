/**
 * Where an auditor reads a trail from: a copied folder, files that a browser was given, an archive.
 *
 * Nothing in it is believed. The audit lists it once, reads only what is listed, and asks for ranges, so that
 * neither a large trail nor a hostile one has to fit into memory.
 */
import { CipherlogError } from '@cipherlog/core'

/** What stands under a path. */
export interface TrailFile {
  /** Relative to the trail's root, parts joined by `/`. */
  readonly path: string
  /** Its size; undefined if it is no plain file (a link, a pipe) or nobody may look at it: then it is never read. */
  readonly bytes: number | undefined
}

export interface TrailSource {
  /** All files, in any order. @throws {@link CipherlogError} `ERR_AUDIT_SOURCE`: there is nothing to audit. */
  list(): Promise<readonly TrailFile[]>
  /**
   * Exactly `length` bytes of a listed file, from `start`; the audit may keep them.
   * @throws {@link CipherlogError} `ERR_AUDIT_SOURCE` if they cannot be read.
   */
  read(path: string, start: number, length: number): Promise<Uint8Array>
}

/** Files at hand by path: what a browser got from `<input webkitdirectory>`, or bytes from an archive. */
export function trailFiles(files: ReadonlyMap<string, Blob | Uint8Array>): TrailSource {
  return {
    list: () =>
      Promise.resolve(
        [...files].map(([path, file]) => ({ path, bytes: file instanceof Uint8Array ? file.length : file.size })),
      ),
    async read(path, start, length) {
      const file = files.get(path)
      if (file === undefined) throw sourceError(path, 'is not there')
      if (file instanceof Uint8Array) return file.slice(start, start + length)
      try {
        return new Uint8Array(await file.slice(start, start + length).arrayBuffer())
      } catch (cause) {
        throw sourceError(path, 'cannot be read', cause)
      }
    },
  }
}

/** A file that cannot be read as it was listed. */
export function sourceError(path: string, what: string, cause?: unknown): CipherlogError {
  return new CipherlogError('ERR_AUDIT_SOURCE', `${path} ${what}; copy the trail again and audit the copy.`, {
    cause,
    details: { path },
  })
}

/** Files that a person names: what is wrong with one is said with its path. */
import { access, readFile, writeFile } from 'node:fs/promises'
import { CipherlogError, DecodeError, plainBytes } from '@cipherlog/core'

/** @throws CipherlogError `ERR_FILE` */
export async function readBytes(path: string): Promise<Uint8Array> {
  try {
    return plainBytes(await readFile(path))
  } catch (cause) {
    throw new CipherlogError('ERR_FILE', `${path} cannot be read${why(cause)}.`, { cause, details: { path } })
  }
}

/** @throws CipherlogError `ERR_FILE`, also if it is not UTF-8 */
export async function readText(path: string): Promise<string> {
  const bytes = await readBytes(path)
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    throw new CipherlogError('ERR_FILE', `${path} is not text in UTF-8.`, { cause, details: { path } })
  }
}

/**
 * Writes a new file.
 * @param mode - 0o600 for secrets.
 * @throws CipherlogError `ERR_FILE` if it is there already or cannot be written
 */
export async function writeNew(path: string, content: Uint8Array | string, mode = 0o644): Promise<void> {
  try {
    await writeFile(path, content, { flag: 'wx', mode })
  } catch (cause) {
    throw new CipherlogError('ERR_FILE', `${path} cannot be written${why(cause)}.`, { cause, details: { path } })
  }
}

/** @throws CipherlogError `ERR_FILE` if there is something at `path` */
export async function requireAbsent(path: string): Promise<void> {
  try {
    await access(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
    throw error
  }
  throw new CipherlogError('ERR_FILE', `${path} exists, and is not overwritten; choose another name.`)
}

/** Reads and decodes; an error names the file. @throws CipherlogError `ERR_FILE`, whatever `decode` throws */
export async function readDecoded<T>(path: string, what: string, decode: (bytes: Uint8Array) => T): Promise<T> {
  const bytes = await readBytes(path)
  try {
    return decode(bytes)
  } catch (cause) {
    if (!(cause instanceof DecodeError)) throw cause
    throw new CipherlogError('ERR_FILE', `${path} is not ${what}: ${cause.message}`, { cause, details: { path } })
  }
}

const reasons: Readonly<Record<string, string>> = {
  ENOENT: ': there is no such file',
  EEXIST: ': it exists, and is not overwritten',
  EACCES: ': permission denied',
  EISDIR: ': it is a folder',
}

const why = (cause: unknown): string => reasons[(cause as NodeJS.ErrnoException).code ?? ''] ?? ''

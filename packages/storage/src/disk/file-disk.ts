/**
 * The real {@link Disk}: `node:fs` with callbacks, which cost less than `fs.promises` on the path of every
 * acknowledgement. Never the synchronous calls: a hung disk must not stop heartbeats.
 */
import fs from 'node:fs'
import path from 'node:path'
import { type DirectoryEntry, type Disk, type DiskFile } from './disk.ts'

/** One call of the callback kind as a promise. */
function call<T>(start: (done: (error: Error | null, result?: T) => void) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    start((error, result) => (error === null || error === undefined ? resolve(result as T) : reject(error)))
  })
}

/** The result, or `otherwise` if the error has this `code`. */
async function unless<T>(code: string, otherwise: T, result: Promise<T>): Promise<T> {
  try {
    return await result
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === code) return otherwise
    throw error
  }
}

/** Only Linux promises that O_DSYNC flushes the drive; elsewhere a write is followed by fdatasync. */
const dsyncFlag = process.platform === 'linux' ? fs.constants.O_DSYNC : undefined

class FileOnDisk implements DiskFile {
  readonly #fd: number
  readonly #syncEachWrite: boolean

  constructor(fd: number, syncEachWrite: boolean) {
    this.#fd = fd
    this.#syncEachWrite = syncEachWrite
  }

  async size(): Promise<number> {
    return (await call<fs.Stats>((done) => fs.fstat(this.#fd, done))).size
  }

  async read(position: number, length: number): Promise<Uint8Array> {
    const out = new Uint8Array(length)
    let at = 0
    while (at < length) {
      const count = await call<number>((done) => fs.read(this.#fd, out, at, length - at, position + at, done))
      if (count === 0) return out.slice(0, at)
      at += count
    }
    return out
  }

  async write(bytes: Uint8Array, position: number): Promise<void> {
    let at = 0
    while (at < bytes.length) {
      const count = await call<number>((done) => fs.write(this.#fd, bytes, at, bytes.length - at, position + at, done))
      if (count === 0) throw new Error('write: the disk took no bytes')
      at += count
    }
    if (this.#syncEachWrite) await this.datasync()
  }

  truncate(size: number): Promise<void> {
    return call((done) => fs.ftruncate(this.#fd, size, done))
  }

  datasync(): Promise<void> {
    return call((done) => fs.fdatasync(this.#fd, done))
  }

  close(): Promise<void> {
    return call((done) => fs.close(this.#fd, done))
  }
}

/** Creates a directory and its missing parents; all their names are durable afterwards. */
export async function createDirectory(directory: string): Promise<void> {
  const target = path.resolve(directory)
  const first = await call<string | undefined>((done) => fs.mkdir(target, { recursive: true, mode: 0o700 }, done))
  if (first === undefined) return
  for (let made = target; ; made = path.dirname(made)) {
    await createFileDisk(path.dirname(made)).syncDirectory('')
    if (made === path.resolve(first)) return
  }
}

/** A disk rooted at an existing directory. */
export function createFileDisk(root: string): Disk {
  const at = (relative: string) => path.join(root, relative)
  return {
    async open(file, { durable = false, readOnly = false } = {}) {
      const { O_RDONLY, O_RDWR, O_CREAT } = fs.constants
      const flags = readOnly ? O_RDONLY : O_RDWR | O_CREAT | (durable ? (dsyncFlag ?? 0) : 0)
      const fd = await call<number>((done) => fs.open(at(file), flags, 0o600, done))
      return new FileOnDisk(fd, durable && dsyncFlag === undefined)
    },
    readFile: (file) => unless('ENOENT', undefined, readPlain(at(file))),
    async list(directory) {
      const entries = await unless<fs.Dirent[]>(
        'ENOENT',
        [],
        call((done) => fs.readdir(at(directory), { withFileTypes: true }, done)),
      )
      return entries.map((entry): DirectoryEntry => ({ name: entry.name, isDirectory: entry.isDirectory() }))
    },
    makeDirectory: (directory) =>
      unless(
        'EEXIST',
        undefined,
        call((done) => fs.mkdir(at(directory), 0o700, done)),
      ),
    rename: (from, to) => call((done) => fs.rename(at(from), at(to), done)),
    remove: (file) =>
      unless(
        'ENOENT',
        undefined,
        call((done) => fs.unlink(at(file), done)),
      ),
    removeDirectory: (directory) =>
      unless(
        'ENOENT',
        undefined,
        call((done) => fs.rmdir(at(directory), done)),
      ),
    async syncDirectory(directory) {
      const fd = await call<number>((done) => fs.open(at(directory), 'r', done))
      try {
        await call<undefined>((done) => fs.fsync(fd, done))
      } finally {
        await call<undefined>((done) => fs.close(fd, done))
      }
    },
  }
}

async function readPlain(file: string): Promise<Uint8Array | undefined> {
  const buffer = await call<Buffer>((done) => fs.readFile(file, done))
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.length)
}

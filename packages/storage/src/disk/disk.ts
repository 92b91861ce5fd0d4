/**
 * The seam to the file system: the few operations that storage needs, each asynchronous.
 *
 * Invariant that callers may rely on: bytes are durable once `datasync` (or, in a file opened `durable`, `write`)
 * has returned, and a name is durable once `syncDirectory` of its directory has. Before that a crash may keep, lose
 * or tear any of it, in any order. Paths are relative to the disk's root, joined by `/`; `''` is the root.
 */

/** An open file, read and written at explicit positions. */
export interface DiskFile {
  /** Length in bytes. */
  size(): Promise<number>
  /** Up to `length` bytes from `position`, fewer only at the end of the file. Fresh memory. */
  read(position: number, length: number): Promise<Uint8Array>
  /** Writes all of `bytes`; they must not change before it returns. Extends the file as needed. */
  write(bytes: Uint8Array, position: number): Promise<void>
  /** Cuts or extends (with zeros) to `size` bytes. */
  truncate(size: number): Promise<void>
  /** Makes everything written so far durable, with the length needed to read it. */
  datasync(): Promise<void>
  close(): Promise<void>
}

export interface DirectoryEntry {
  readonly name: string
  readonly isDirectory: boolean
}

export interface Disk {
  /**
   * Opens a file for reading and writing; creates it if it is missing.
   * @param durable - every write returns only once it is durable (O_DSYNC): one system call instead of two.
   * @param readOnly - the file must be there, and nothing is ever written to it.
   */
  open(path: string, options?: { readonly durable?: boolean; readonly readOnly?: boolean }): Promise<DiskFile>
  /** The whole file, or undefined if there is none. */
  readFile(path: string): Promise<Uint8Array | undefined>
  /** Names in a directory, in no order; none if it does not exist. */
  list(directory: string): Promise<DirectoryEntry[]>
  /** Creates a directory whose parent exists; nothing happens if it is there. */
  makeDirectory(path: string): Promise<void>
  /** Replaces `to` atomically, within one directory. */
  rename(from: string, to: string): Promise<void>
  /** Removes a file; nothing happens if it is missing. */
  remove(path: string): Promise<void>
  /** Removes an empty directory; nothing happens if it is missing. */
  removeDirectory(path: string): Promise<void>
  /** Makes the names in a directory durable. */
  syncDirectory(path: string): Promise<void>
}

/** Writes a new or existing file so that after a crash it holds the old bytes or all the new ones. */
export async function replaceFile(disk: Disk, path: string, bytes: Uint8Array): Promise<void> {
  const temporary = `${path}.tmp`
  const file = await disk.open(temporary)
  try {
    await file.truncate(0)
    await file.write(bytes, 0)
    await file.datasync()
  } finally {
    await file.close()
  }
  await disk.rename(temporary, path)
  await disk.syncDirectory(parentOf(path))
}

/** Opens a file, which is created if it is missing, for as long as `use` takes. */
export async function withFile<T>(disk: Disk, path: string, use: (file: DiskFile) => Promise<T>): Promise<T> {
  const file = await disk.open(path)
  try {
    return await use(file)
  } finally {
    await file.close()
  }
}

/** The directory of a path. */
export function parentOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')))
}

/** Removes a folder with everything in it; nothing happens if it is missing. */
export async function removeFolder(disk: Disk, folder: string): Promise<void> {
  for (const { name, isDirectory } of await disk.list(folder)) {
    const path = `${folder}/${name}`
    await (isDirectory ? removeFolder(disk, path) : disk.remove(path))
  }
  await disk.removeDirectory(folder)
}

/** The log in a directory, and its twin in memory. */
import { createDirectory, createFileDisk } from '../disk/file-disk.ts'
import { createMemoryDisk, type MemoryDisk } from '../disk/memory-disk.ts'
import { createWal } from './segmented-wal.ts'
import { type Wal, type WalOptions } from './wal.ts'

/** The log in `directory`, created if it is missing. */
export async function createFileWal(directory: string, options: WalOptions): Promise<Wal> {
  await createDirectory(directory)
  return createWal(createFileDisk(directory), { preallocate: true, ...options })
}

/** The log on a disk in memory; hand the same disk to a second log to restart it. */
export function createMemoryWal(options: WalOptions, disk: MemoryDisk = createMemoryDisk()): Wal {
  return createWal(disk, options)
}

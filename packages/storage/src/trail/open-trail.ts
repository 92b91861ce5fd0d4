/** The trail in a directory, and its twin in memory. */
import { createDirectory, createFileDisk } from '../disk/file-disk.ts'
import { createMemoryDisk, type MemoryDisk } from '../disk/memory-disk.ts'
import { openTrail } from './file-trail.ts'
import { type TrailStore } from './trail-store.ts'

/** The trail in `directory`, created if it is missing; see {@link openTrail}. */
export async function openFileTrail(directory: string, treeSize: number): Promise<TrailStore> {
  await createDirectory(directory)
  return openTrail(createFileDisk(directory), treeSize)
}

/** The trail on a disk in memory; hand the same disk to a second one to restart it. */
export function openMemoryTrail(treeSize: number, disk: MemoryDisk = createMemoryDisk()): Promise<TrailStore> {
  return openTrail(disk, treeSize)
}

/** A trail that begins with a snapshot: the files of its edge, and a note where it begins. */
import { CipherlogError } from '@cipherlog/core'
import { type SnapshotManifest, type SnapshotPair } from '@cipherlog/format'
import { bodyPath, bundlePath, tileWidthMax } from '@cipherlog/merkle/verify'
import { type Disk } from '../disk/disk.ts'
import { createDirectory, createFileDisk } from '../disk/file-disk.ts'
import { type MemoryDisk } from '../disk/memory-disk.ts'
import { StorageFailedError } from '../errors.ts'
import { PackWriter } from './pack-writer.ts'
import { entriesRow, hashRow } from './tile-row.ts'
import { readTrailEdge } from './trail-edge.ts'
import { TrailFiles } from './trail-files.ts'
import { writeTrailFrom } from './trail-from.ts'

/**
 * Lets the trail in `directory`, which must not be open, begin with a snapshot; then open it with the snapshot's tree
 * size. Older files stay where they are: `backfill` takes from them what fits. To be done again after a crash.
 * @param pairs - the stream of the snapshot.
 * @throws `ERR_SNAPSHOT_TRAIL`, `ERR_STORAGE_FAILED`, and what `pairs` throws.
 */
export async function installFileTrail(
  directory: string,
  manifest: SnapshotManifest,
  pairs: AsyncIterable<SnapshotPair>,
): Promise<void> {
  await createDirectory(directory)
  await installTrail(createFileDisk(directory), manifest, pairs)
}

/** The same on a disk in memory. */
export function installMemoryTrail(
  disk: MemoryDisk,
  manifest: SnapshotManifest,
  pairs: AsyncIterable<SnapshotPair>,
): Promise<void> {
  return installTrail(disk, manifest, pairs)
}

async function installTrail(disk: Disk, manifest: SnapshotManifest, pairs: AsyncIterable<SnapshotPair>): Promise<void> {
  try {
    const files = new TrailFiles(disk)
    const tile = Math.floor((manifest.treeSize - 1) / tileWidthMax)
    const bundle = await PackWriter.begin(files, bundlePath(tile))
    const body = await PackWriter.begin(files, bodyPath(tile))
    const edge = await readTrailEdge(manifest, pairs, async (leaf) => {
      await bundle.append(leaf.signed)
      await body.append(leaf.body)
    })
    await bundle.finish()
    await body.finish()
    const width = (count: number): number | undefined => (count === tileWidthMax ? undefined : count)
    await files.replace(entriesRow.path(tile, width(edge.entries.length)), entriesRow.format(edge.entries))
    for (const each of edge.tiles) {
      await files.replace(hashRow(each.level).path(each.index, width(each.width)), each.hashes)
    }
    await files.sync()
    await writeTrailFrom(disk, edge.from)
  } catch (error) {
    throw error instanceof CipherlogError ? error : new StorageFailedError('the trail', error)
  }
}

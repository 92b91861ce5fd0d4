/**
 * The data directory of a fresh replica in a generation that goes on from a backup: state and trail as the group start
 * leaves them, an empty log, nothing signed, and the older trails for what was written in them.
 */
import { cp } from 'node:fs/promises'
import { join } from 'node:path'
import { CipherlogError } from '@cipherlog/core'
import { type ClosedBatch, type Leaf, type State } from '@cipherlog/machine'
import { createLevelStateStore, openDataDirectory, openFileTrail } from '@cipherlog/storage'
import { olderTrailName } from './older-trails.ts'
import { openSignedHead } from './signed-head.ts'

/**
 * Writes the data directory of one replica; the same parts for each, but its own peer id.
 * @param options.started - what `Ledger.startGeneration` made, and the state that it left.
 * @param options.olderTrails - folders, copied.
 * @throws CipherlogError `ERR_DATA_DIR_USED` if the directory holds a replica already; `ERR_DATA_DIR_*`.
 */
export async function writeRestoredData(options: {
  readonly dataDir: string
  readonly cluster: Uint8Array
  readonly peerId: Uint8Array
  readonly started: { readonly state: State; readonly leaf: Leaf; readonly closed: ClosedBatch }
  readonly olderTrails: readonly { readonly generation: number; readonly path: string }[]
}): Promise<void> {
  const { dataDir, cluster, peerId, started, olderTrails } = options
  const directory = await openDataDirectory(dataDir, { cluster, peerId })
  try {
    if (!directory.isNew) {
      throw new CipherlogError(
        'ERR_DATA_DIR_USED',
        `${dataDir} holds a replica's data already; restore into a new directory, with new keys.`,
        { details: { directory: dataDir } },
      )
    }
    for (const { generation, path } of olderTrails) {
      await cp(path, join(dataDir, olderTrailName(generation)), { recursive: true })
    }
    const trail = await openFileTrail(directory.trail, 0)
    for (const { leafIndex: index, record: entry, signed, trailBody: body, tiles } of [
      started.leaf,
      started.closed.leaf,
    ]) {
      trail.append({ index, entry, signed, body, tiles })
    }
    await trail.flush({ sync: true })
    await trail.close()
    // Says that these keys have signed nothing: the one thing that no backup holds.
    await openSignedHead(join(dataDir, 'signed-head'), { isNew: true })
    const state = await createLevelStateStore(directory.state)
    for await (const [key, value] of started.state.iterate(new Uint8Array(0))) state.put(key, value)
    await state.persist(state.checkpoint())
    await state.close()
  } finally {
    await directory.close()
  }
}

/**
 * Backups of a replica that is stopped (DESIGN §4 "Restore"): its trail up to the published checkpoint, trails of
 * older generations, and the wraps that trails do not hold.
 *
 * ```
 * genesis.cbor   trail/   trail-<older generation>/   envelopes/<number>
 * ```
 *
 * Invariant: neither a replica's keys nor its signed head is in a backup. Whoever restores makes new ones.
 */
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { CipherlogError, decode, encode, toHex } from '@cipherlog/core'
import {
  backedUpEnvelopes,
  backedUpEnvelopesBytesMax,
  envelopesPerFile,
  policyChain,
  type BackedUpEnvelope,
} from '@cipherlog/format'
import { storedEnvelopes } from '@cipherlog/machine'
import { createLevelStateStore, openDataDirectory, openFileTrail } from '@cipherlog/storage'
import { olderTrailName, olderTrailsIn, publishedSizeOf } from './older-trails.ts'
import { readIfThere } from './replace-file.ts'

/** What a backup holds. */
export interface BackupContents {
  /** Leaves of the trail: those under its checkpoint. */
  readonly treeSize: number
  readonly envelopes: number
  /** Older generations whose trails it has. */
  readonly olderGenerations: readonly number[]
}

/**
 * Copies what a restore needs out of a stopped replica's data directory.
 * @param options.to - a folder that is created, and must be empty.
 * @throws CipherlogError `ERR_DATA_DIR_*` (a node has it open, or it is another's), `ERR_BACKUP_TRAIL` if its trail is
 * not whole or nothing was published, `ERR_BACKUP_FOLDER`; `ERR_TRAIL_*`.
 */
export async function backUp(options: {
  readonly dataDir: string
  readonly cluster: Uint8Array
  readonly peerId: Uint8Array
  readonly to: string
}): Promise<BackupContents> {
  const { dataDir, cluster, peerId, to } = options
  const directory = await openDataDirectory(dataDir, { cluster, peerId })
  try {
    const treeSize = await publishedSizeOf(directory.trail)
    if (treeSize === undefined) throw badTrail('has no published checkpoint', directory.trail)
    if ((await readIfThere(join(directory.trail, 'trail-from'))) !== undefined) {
      throw badTrail('does not begin with leaf 0 yet', directory.trail)
    }
    await createEmpty(to)
    await copyTrail(directory.trail, join(to, 'trail'), treeSize)
    const older = await olderTrailsIn(dataDir)
    for (const { generation, path } of older) {
      const size = await publishedSizeOf(path)
      if (size === undefined) throw badTrail('has no published checkpoint', path)
      await copyTrail(path, join(to, olderTrailName(generation)), size)
    }
    const [signedGenesis] = decode(policyChain, new Uint8Array(await readFile(join(to, 'trail', 'policy-chain'))))
    await writeFile(join(to, 'genesis.cbor'), signedGenesis)
    const envelopes = await copyEnvelopes(directory.state, join(to, 'envelopes'))
    return { treeSize, envelopes, olderGenerations: older.map(({ generation }) => generation) }
  } finally {
    await directory.close()
  }
}

/** A copy that ends with the checkpoint: what the replica appended after it is cut. */
async function copyTrail(from: string, to: string, treeSize: number): Promise<void> {
  await cp(from, to, { recursive: true, errorOnExist: true, force: false })
  const trail = await openFileTrail(to, treeSize)
  await trail.close()
}

async function copyEnvelopes(stateDirectory: string, to: string): Promise<number> {
  await mkdir(to)
  const state = await createLevelStateStore(stateDirectory)
  let count = 0
  let batch: BackedUpEnvelope[] = []
  const write = async (): Promise<void> => {
    if (batch.length === 0) return
    const number = Math.ceil(count / envelopesPerFile) - 1
    await writeFile(join(to, String(number).padStart(6, '0')), encode(backedUpEnvelopes, batch))
    batch = []
  }
  try {
    for await (const { id, wraps } of storedEnvelopes(state)) {
      count++
      batch.push({ id, wraps })
      if (batch.length === envelopesPerFile) await write()
    }
    await write()
  } finally {
    await state.close()
  }
  return count
}

/** An opened backup. */
export interface Backup {
  readonly signedGenesis: Uint8Array
  /** Folder of the newest trail. */
  readonly trail: string
  /** Folders of older trails, oldest first. */
  readonly olderTrails: readonly { readonly generation: number; readonly path: string }[]
  /** Wraps of an envelope, by its id: as they were found, to be checked against the trail. */
  readonly wrapsOf: (envelope: Uint8Array) => Promise<Uint8Array | undefined>
}

/** Opens a backup; nothing in it is believed before an audit. @throws CipherlogError `ERR_BACKUP_FOLDER`; DecodeError. */
export async function openBackup(directory: string): Promise<Backup> {
  const signedGenesis = await readIfThere(join(directory, 'genesis.cbor'))
  if (signedGenesis === undefined) throw badFolder(directory, 'holds no genesis.cbor, so it is no backup')
  const wraps = new Map<string, Uint8Array>()
  for (let number = 0; ; number++) {
    const bytes = await readIfThere(join(directory, 'envelopes', String(number).padStart(6, '0')))
    if (bytes === undefined) break
    for (const envelope of decode(backedUpEnvelopes, bytes, backedUpEnvelopesBytesMax)) {
      wraps.set(toHex(envelope.id), envelope.wraps)
    }
  }
  return {
    signedGenesis,
    trail: join(directory, 'trail'),
    olderTrails: await olderTrailsIn(directory),
    wrapsOf: (envelope) => Promise.resolve(wraps.get(toHex(envelope))),
  }
}

async function createEmpty(directory: string): Promise<void> {
  try {
    await mkdir(directory)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw cause
    throw badFolder(directory, 'is there already; name a new folder', cause)
  }
}

function badFolder(directory: string, problem: string, cause?: unknown): CipherlogError {
  return new CipherlogError('ERR_BACKUP_FOLDER', `${directory} ${problem}.`, { cause, details: { directory } })
}

function badTrail(problem: string, path: string): CipherlogError {
  return new CipherlogError(
    'ERR_BACKUP_TRAIL',
    `The trail in ${path} ${problem}; take the backup of another replica.`,
    {
      details: { path },
    },
  )
}

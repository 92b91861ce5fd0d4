/**
 * A replica's data directory: one process at a time, one replica for ever.
 *
 * ```
 * identity.json   whose directory this is; written once, before anything else
 * lock/           held by the process that has the directory open
 * wal/ state/ trail/ snapshots/
 * ```
 *
 * Two processes on one log, or one replica's disk under another's name, break what voters promise each other
 * (a peer id is one disk, DESIGN §4), so both are refused.
 */
import path from 'node:path'
import { ClassicLevel } from 'classic-level'
import { CipherlogError, equalBytes, fromHex, toHex, utf8, utf8ToString } from '@cipherlog/core'
import { replaceFile } from './disk/disk.ts'
import { createDirectory, createFileDisk } from './disk/file-disk.ts'

const identityPath = 'identity.json'
const formatNumber = 1

/** Whose data a directory holds, of however many groups. */
export interface DataIdentity {
  /** SHA-256 of the genesis, 32 bytes. */
  readonly cluster: Uint8Array
  /** 12 random bytes ‖ u32 incarnation. */
  readonly peerId: Uint8Array
}

/** An open data directory: where each store belongs. */
export interface DataDirectory {
  readonly wal: string
  readonly state: string
  readonly trail: string
  readonly snapshots: string
  /** No store had been opened here before. */
  readonly isNew: boolean
  /** Lets the next process in; call it after the stores are closed. */
  close(): Promise<void>
}

/**
 * Locks `directory`, which is created if it is missing, and checks that it belongs to `identity`.
 * @throws `ERR_DATA_DIR_LOCKED` if a process has it open, `ERR_DATA_DIR_FOREIGN` if it is another replica's,
 * `ERR_DATA_DIR_FORMAT` if it holds data of unknown owner or format.
 */
export async function openDataDirectory(directory: string, identity: DataIdentity): Promise<DataDirectory> {
  await createDirectory(directory)
  const lock = await takeLock(directory)
  try {
    const isNew = await checkIdentity(directory, identity)
    const at = (name: string) => path.join(directory, name)
    return {
      wal: at('wal'),
      state: at('state'),
      trail: at('trail'),
      snapshots: at('snapshots'),
      isNew,
      close: () => lock.close(),
    }
  } catch (error) {
    await lock.close()
    throw error
  }
}

/** Keeps every process out of a data directory that exists. @throws `ERR_DATA_DIR_LOCKED`. */
export function lockDataDirectory(directory: string): Promise<{ close(): Promise<void> }> {
  return takeLock(directory)
}

/** Whose data directory this is. @throws `ERR_DATA_DIR_FORMAT` if it is nobody's, or does not exist. */
export async function readIdentity(directory: string): Promise<DataIdentity> {
  const bytes = await createFileDisk(directory).readFile(identityPath)
  if (bytes === undefined) throw malformed(directory, `has no ${identityPath}`)
  return parseIdentity(directory, utf8ToString(bytes))
}

/** LevelDB's lock is one of the kernel's, freed however the process ends; a file with a process id would go stale. */
async function takeLock(directory: string): Promise<ClassicLevel> {
  const lock = new ClassicLevel(path.join(directory, 'lock'))
  try {
    await lock.open()
  } catch (cause) {
    if (((cause as Error).cause as { code?: string } | undefined)?.code !== 'LEVEL_LOCKED') throw cause
    throw new CipherlogError(
      'ERR_DATA_DIR_LOCKED',
      `A process has ${directory} open already; stop it first, or give this replica a directory of its own.`,
      { cause, details: { directory } },
    )
  }
  return lock
}

/** True if the directory is new, which now has an owner. */
async function checkIdentity(directory: string, identity: DataIdentity): Promise<boolean> {
  const disk = createFileDisk(directory)
  const bytes = await disk.readFile(identityPath)
  if (bytes === undefined) {
    const names = (await disk.list('')).map((entry) => entry.name)
    if (names.some((name) => ['wal', 'state', 'trail', 'snapshots'].includes(name))) {
      throw malformed(directory, `has stores but no ${identityPath}`)
    }
    await replaceFile(disk, identityPath, utf8(formatIdentity(identity)))
    return true
  }
  const found = parseIdentity(directory, utf8ToString(bytes))
  for (const name of ['cluster', 'peerId'] as const) {
    if (equalBytes(found[name], identity[name])) continue
    throw new CipherlogError(
      'ERR_DATA_DIR_FOREIGN',
      `${directory} belongs to ${name} ${toHex(found[name])}, not ${toHex(identity[name])}; start this replica with its own directory.`,
      { details: { directory, field: name, found: toHex(found[name]), expected: toHex(identity[name]) } },
    )
  }
  return false
}

function formatIdentity({ cluster, peerId }: DataIdentity): string {
  const fields = { format: formatNumber, cluster: toHex(cluster), peerId: toHex(peerId) }
  return `${JSON.stringify(fields, undefined, 2)}\n`
}

/** Accepts only what {@link formatIdentity} writes. */
function parseIdentity(directory: string, text: string): DataIdentity {
  const match = /"cluster": "([0-9a-f]{64})",\n {2}"peerId": "([0-9a-f]{32})"/.exec(text)
  const identity = match && { cluster: fromHex(match[1]!), peerId: fromHex(match[2]!) }
  if (identity === null || formatIdentity(identity) !== text) {
    throw malformed(directory, `has an ${identityPath} that this software cannot read`)
  }
  return identity
}

function malformed(directory: string, problem: string): CipherlogError {
  return new CipherlogError(
    'ERR_DATA_DIR_FORMAT',
    `${directory} ${problem}; restore the file, or start this replica as a new member with an empty directory.`,
    { details: { directory } },
  )
}

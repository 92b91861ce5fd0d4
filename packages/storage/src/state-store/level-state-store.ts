/**
 * The state store on LevelDB, one database for each generation of the state:
 *
 * ```
 * generation    which database is in force, as a decimal number and a line feed; 0 if the file is missing
 * 0/ 1/ …       databases; those not in force are removed at the next start
 * ```
 *
 * A snapshot replaces the whole state, which may have gigabytes. It gets a database of its own, written in bounded
 * batches, and comes into force with the replacement of one small file; a single batch that deletes and writes everything
 * would have to fit into memory, and would leave the old state's bytes behind until LevelDB compacts them.
 *
 * Compression is off: Snappy hid planted plaintext from the search that looks for it in every server file.
 */
import path from 'node:path'
import { ClassicLevel } from 'classic-level'
import { plainBytes, utf8, utf8ToString } from '@cipherlog/core'
import { createDirectory, createFileDisk } from '../disk/file-disk.ts'
import { type Disk, removeFolder, replaceFile } from '../disk/disk.ts'
import { StorageFailedError } from '../errors.ts'
import { OverlayStateStore, type StateBackend } from './overlay-state-store.ts'
import { type StateStore } from './state-store.ts'

const generationPath = 'generation'

/** Opens or creates the store in `directory`. @throws `ERR_STORAGE_FAILED`, also if another process has it open. */
export async function createLevelStateStore(directory: string): Promise<StateStore> {
  try {
    await createDirectory(directory)
    const disk = createFileDisk(directory)
    const generation = await readGeneration(disk)
    // The kernel's lock on this database keeps another process from removing what is beside it.
    const level = await openLevel(directory, generation)
    for (const { name } of await disk.list('')) {
      if (/^\d+$/.test(name) && name !== String(generation)) await removeFolder(disk, name)
    }
    await disk.syncDirectory('')
    return new OverlayStateStore(levelBackend({ directory, disk, generation, level }))
  } catch (cause) {
    throw new StorageFailedError(`the state store in ${directory}`, cause)
  }
}

/** The folder of the LevelDB database that is in force. */
export async function stateDatabase(directory: string): Promise<string> {
  return path.join(directory, String(await readGeneration(createFileDisk(directory))))
}

async function readGeneration(disk: Disk): Promise<number> {
  const bytes = await disk.readFile(generationPath)
  if (bytes === undefined) return 0
  const text = utf8ToString(bytes)
  if (!/^(0|[1-9]\d{0,14})\n$/.test(text)) throw new Error(`${generationPath} is damaged; restore this replica`)
  return Number(text)
}

async function openLevel(directory: string, generation: number): Promise<ClassicLevel<Uint8Array, Uint8Array>> {
  const level = new ClassicLevel<Uint8Array, Uint8Array>(path.join(directory, String(generation)), {
    keyEncoding: 'view',
    valueEncoding: 'view',
    compression: false,
  })
  await level.open()
  return level
}

interface LevelPlace {
  readonly directory: string
  readonly disk: Disk
  readonly generation: number
  readonly level: ClassicLevel<Uint8Array, Uint8Array>
}

function levelBackend({ directory, disk, generation, level }: LevelPlace): StateBackend {
  return {
    get(key) {
      const value = level.getSync(key)
      return value === undefined ? undefined : plainBytes(value)
    },
    iterate(prefix) {
      // An iterator reads from a snapshot taken when it is made, so it is made here and not at the first step.
      const iterator = level.iterator({ gte: prefix, ...upperBound(prefix) })
      return readAll(iterator)
    },
    async write(changes) {
      const batch = level.batch()
      for (const [key, value] of changes) {
        if (value === undefined) batch.del(key)
        else batch.put(key, value)
      }
      await batch.write({ sync: true })
    },
    async prepare() {
      const next = generation + 1
      await removeFolder(disk, String(next))
      const place = { directory, disk, generation: next, level: await openLevel(directory, next) }
      return {
        ...levelBackend(place),
        async commit() {
          await disk.syncDirectory(String(next))
          await replaceFile(disk, generationPath, utf8(`${next}\n`))
          await removeFolder(disk, String(generation))
        },
        remove: () => removeFolder(disk, String(next)),
      }
    },
    close: () => level.close(),
  }
}

async function* readAll(
  iterator: AsyncIterable<[Uint8Array, Uint8Array]>,
): AsyncGenerator<readonly [Uint8Array, Uint8Array]> {
  for await (const [key, value] of iterator) yield [plainBytes(key), plainBytes(value)]
}

/** The first key after all that start with `prefix`; no bound if there is none. */
function upperBound(prefix: Uint8Array): { lt?: Uint8Array } {
  let length = prefix.length
  while (length > 0 && prefix[length - 1] === 0xff) length--
  if (length === 0) return {}
  const lt = prefix.slice(0, length)
  lt[length - 1]! += 1
  return { lt }
}

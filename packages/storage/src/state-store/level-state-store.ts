/**
 * The state store on LevelDB.
 *
 * Compression is off: Snappy hid planted plaintext from the search that looks for it in every server file.
 */
import { ClassicLevel } from 'classic-level'
import { plainBytes } from '@cipherlog/core'
import { StorageFailedError } from '../errors.ts'
import { OverlayStateStore, type StateBackend } from './overlay-state-store.ts'
import { type StateStore } from './state-store.ts'

/** Opens or creates the store in `directory`. @throws `ERR_STORAGE_FAILED`, also if another process has it open. */
export async function createLevelStateStore(directory: string): Promise<StateStore> {
  const level = new ClassicLevel<Uint8Array, Uint8Array>(directory, {
    keyEncoding: 'view',
    valueEncoding: 'view',
    compression: false,
  })
  try {
    await level.open()
  } catch (cause) {
    throw new StorageFailedError(`the state store in ${directory}`, cause)
  }
  return new OverlayStateStore(levelBackend(level))
}

function levelBackend(level: ClassicLevel<Uint8Array, Uint8Array>): StateBackend {
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

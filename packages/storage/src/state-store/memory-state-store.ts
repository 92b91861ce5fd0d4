/** The state store's twin in memory: same layers, same rules, gone when the process ends. */
import { bytesOfKey, keyOfBytes } from './keys.ts'
import { OverlayStateStore, type StateBackend } from './overlay-state-store.ts'
import { type StateStore } from './state-store.ts'

/** What a memory store keeps across a restart; hand the same one to the next store. */
export type StateMemory = Map<string, Uint8Array>

/** Carries out one atomic write by calling `apply`. */
type Write = (apply: () => void) => void | Promise<void>

/**
 * @param memory - what was persisted; shared, so that a test can restart on it.
 * @param write - carries out each atomic batch, and the commit of a replacement, by calling `apply`. A test's own may
 * throw before or after it: then the write failed, and the batch is not there or is, as after a crash.
 */
export function createMemoryStateStore(
  memory: StateMemory = new Map<string, Uint8Array>(),
  write: Write = (apply) => apply(),
): StateStore {
  return new OverlayStateStore(memoryBackend({ memory }, write))
}

function memoryBackend(place: { memory: StateMemory }, write: Write): StateBackend {
  return {
    get: (key) => place.memory.get(keyOfBytes(key)),
    iterate(prefix) {
      const text = keyOfBytes(prefix)
      const pairs = [...place.memory].filter(([key]) => key.startsWith(text)).sort(([a], [b]) => (a < b ? -1 : 1))
      return (async function* () {
        for (const [key, value] of pairs) yield [bytesOfKey(key), value] as const
      })()
    },
    async write(changes) {
      await write(() => {
        for (const [key, value] of changes) {
          if (value === undefined) place.memory.delete(keyOfBytes(key))
          else place.memory.set(keyOfBytes(key), value)
        }
      })
    },
    async prepare() {
      const next = { memory: new Map<string, Uint8Array>() }
      return {
        ...memoryBackend(next, write),
        async commit() {
          // The map that a restart is handed is the place: what was prepared moves into it.
          await write(() => {
            place.memory.clear()
            for (const [key, value] of next.memory) place.memory.set(key, value)
            next.memory = place.memory
          })
        },
        async remove() {},
      }
    },
    async close() {},
  }
}

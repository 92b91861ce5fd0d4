/** The state store's twin in memory: same layers, same rules, gone when the process ends. */
import { bytesOfKey, keyOfBytes } from './keys.ts'
import { OverlayStateStore } from './overlay-state-store.ts'
import { type StateStore } from './state-store.ts'

/** What a memory store keeps across a restart; hand the same one to the next store. */
export type StateMemory = Map<string, Uint8Array>

/**
 * @param memory - what was persisted; shared, so that a test can restart on it.
 * @param write - carries out each atomic batch by calling `apply`. A test's own may throw before or after it: then the
 * write failed, and the batch is not there or is, as after a crash.
 */
export function createMemoryStateStore(
  memory: StateMemory = new Map<string, Uint8Array>(),
  write: (apply: () => void) => void = (apply) => apply(),
): StateStore {
  return new OverlayStateStore({
    get: (key) => memory.get(keyOfBytes(key)),
    iterate(prefix) {
      const text = keyOfBytes(prefix)
      const pairs = [...memory].filter(([key]) => key.startsWith(text)).sort(([a], [b]) => (a < b ? -1 : 1))
      return (async function* () {
        for (const [key, value] of pairs) yield [bytesOfKey(key), value] as const
      })()
    },
    async write(changes) {
      write(() => {
        for (const [key, value] of changes) {
          if (value === undefined) memory.delete(keyOfBytes(key))
          else memory.set(keyOfBytes(key), value)
        }
      })
    },
    async close() {},
  })
}

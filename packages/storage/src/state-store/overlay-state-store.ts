/**
 * A {@link StateStore} over any backend that can read one key and write one atomic, durable batch.
 *
 * Layers from new to old: the open overlay, frozen batches that are not persisted yet, the backend. A batch leaves
 * the layers only after the backend has it, so no read falls through a gap.
 */
import { invariant } from '@cipherlog/core'
import { StorageClosedError, StorageFailedError } from '../errors.ts'
import { bytesOfKey, keyOfBytes } from './keys.ts'
import { type PendingBatch, type StateReplacement, type StateStore, stateKeyBytesMax } from './state-store.ts'

/** `undefined` deletes. */
export type Change = readonly [key: Uint8Array, value: Uint8Array | undefined]

export interface StateBackend {
  get(key: Uint8Array): Uint8Array | undefined
  /** Pairs in order of key as they are at the call, even if a batch is written meanwhile. */
  iterate(prefix: Uint8Array): AsyncIterable<readonly [Uint8Array, Uint8Array]>
  /** Atomic and durable. */
  write(changes: readonly Change[]): Promise<void>
  /** A new, empty backend in a place of its own. */
  prepare(): Promise<PreparedBackend>
  close(): Promise<void>
}

/** A backend that is not in force. */
export interface PreparedBackend extends StateBackend {
  /** What was written is what the next start finds. The backend that made it is closed before, and removed. */
  commit(): Promise<void>
  /** Removes it, closed. */
  remove(): Promise<void>
}

/** A new state is written in batches of about so many bytes: memory for one, and few enough syncs. */
const replacementBatchBytes = 8 * 1024 * 1024

/** Keys in their string form, so that they compare by content and sort by bytes. */
type Layer = Map<string, Uint8Array | undefined>

class Batch implements PendingBatch {
  readonly layer: Layer
  readonly bytes: number

  constructor(layer: Layer) {
    this.layer = layer
    let bytes = 0
    for (const [key, value] of layer) bytes += key.length + (value?.length ?? 0)
    this.bytes = bytes
  }

  get changes(): number {
    return this.layer.size
  }
}

export class OverlayStateStore implements StateStore {
  readonly #backend: StateBackend
  #overlay: Layer = new Map()
  /** Oldest first. */
  readonly #frozen: Batch[] = []
  #writing: Promise<void> | undefined
  #failure: StorageFailedError | undefined
  #closed = false

  constructor(backend: StateBackend) {
    this.#backend = backend
  }

  get(key: Uint8Array): Uint8Array | undefined {
    this.#checkOpen()
    const text = keyOfBytes(key)
    if (this.#overlay.has(text)) return this.#overlay.get(text)
    for (let at = this.#frozen.length - 1; at >= 0; at--) {
      const { layer } = this.#frozen[at]!
      if (layer.has(text)) return layer.get(text)
    }
    return this.#backend.get(key)
  }

  put(key: Uint8Array, value: Uint8Array): void {
    this.#set(key, value)
  }

  delete(key: Uint8Array): void {
    this.#set(key, undefined)
  }

  #set(key: Uint8Array, value: Uint8Array | undefined): void {
    this.#checkOpen()
    if (key.length < 1 || key.length > stateKeyBytesMax) {
      throw new RangeError(`a key has 1 to ${stateKeyBytesMax} bytes, not ${key.length}`)
    }
    this.#overlay.set(keyOfBytes(key), value)
  }

  iterate(prefix: Uint8Array): AsyncIterable<[Uint8Array, Uint8Array]> {
    this.#checkOpen()
    const text = keyOfBytes(prefix)
    const changed: Layer = new Map()
    for (const layer of [...this.#frozen.map((batch) => batch.layer), this.#overlay]) {
      for (const [key, value] of layer) if (key.startsWith(text)) changed.set(key, value)
    }
    return merge(this.#backend.iterate(prefix), changed)
  }

  checkpoint(): PendingBatch {
    this.#checkOpen()
    const batch = new Batch(this.#overlay)
    this.#overlay = new Map()
    this.#frozen.push(batch)
    return batch
  }

  async persist(batch: PendingBatch): Promise<void> {
    this.#checkOpen()
    if (this.#failure !== undefined) throw this.#failure
    invariant(this.#frozen[0] === batch && this.#writing === undefined, 'Checkpoints must be persisted in order')
    const writing = this.#write(this.#frozen[0])
    this.#writing = writing
    try {
      await writing
    } finally {
      this.#writing = undefined
    }
  }

  async #write(batch: Batch): Promise<void> {
    try {
      if (batch.changes > 0) {
        await this.#backend.write([...batch.layer].map(([key, value]) => [bytesOfKey(key), value]))
      }
      this.#frozen.shift()
    } catch (cause) {
      this.#failure = new StorageFailedError('the state store', cause)
      throw this.#failure
    }
  }

  async prepareReplacement(
    pairs: AsyncIterable<readonly [key: Uint8Array, value: Uint8Array]>,
  ): Promise<StateReplacement> {
    this.#checkOpen()
    const prepared = await guarded(() => this.#backend.prepare())
    const store = new OverlayStateStore(prepared)
    const discard = async (): Promise<void> => {
      await store.close()
      await guarded(() => prepared.remove())
    }
    try {
      await writeAll(prepared, pairs)
    } catch (error) {
      await discard()
      throw error
    }
    return {
      store,
      commit: async () => {
        await this.close()
        await guarded(() => prepared.commit())
      },
      discard,
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    // A failure was told to whoever called persist().
    await Promise.allSettled([this.#writing])
    await this.#backend.close()
  }

  #checkOpen(): void {
    if (this.#closed) throw new StorageClosedError('state store')
  }
}

/** Names what failed. */
async function guarded<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (cause) {
    throw new StorageFailedError('the state store', cause)
  }
}

async function writeAll(
  backend: StateBackend,
  pairs: AsyncIterable<readonly [key: Uint8Array, value: Uint8Array]>,
): Promise<void> {
  let changes: Change[] = []
  let bytes = 0
  async function flush(): Promise<void> {
    const batch = changes
    changes = []
    bytes = 0
    await guarded(() => backend.write(batch))
  }
  for await (const [key, value] of pairs) {
    changes.push([key, value])
    bytes += key.length + value.length
    if (bytes >= replacementBatchBytes) await flush()
  }
  await flush()
}

/** The backend's pairs with `changed` on top, in order of key. */
async function* merge(
  stored: AsyncIterable<readonly [Uint8Array, Uint8Array]>,
  changed: Layer,
): AsyncGenerator<[Uint8Array, Uint8Array]> {
  const keys = [...changed.keys()].sort()
  let next = 0
  for await (const [key, value] of stored) {
    const text = keyOfBytes(key)
    for (; next < keys.length && keys[next]! < text; next++) yield* pair(keys[next]!, changed)
    if (!changed.has(text)) yield [key, value]
  }
  for (; next < keys.length; next++) yield* pair(keys[next]!, changed)
}

function* pair(key: string, changed: Layer): Generator<[Uint8Array, Uint8Array]> {
  const value = changed.get(key)
  if (value !== undefined) yield [bytesOfKey(key), value]
}

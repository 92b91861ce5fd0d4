/**
 * Snapshots in a directory:
 *
 * ```
 * <digest, 64 hex>/   manifest stream    whole
 * writing/            stream             one that is being taken; removed at the next start
 * incoming/           manifest stream    one that is being fetched
 * ```
 *
 * A folder gets its final name after everything in it is durable, and loses that name before anything in it is removed,
 * so a crash leaves a snapshot whole or not at all. Chunks being fetched are not synced one by one: after a crash their
 * hashes tell which are there.
 */
import { hash } from 'node:crypto'
import {
  compareBytes,
  DecodeError,
  emptyBytes,
  equalBytes,
  invariant,
  InvariantViolation,
  plainBytes,
  toHex,
  VerificationError,
} from '@cipherlog/core'
import {
  decodeSnapshotManifest,
  encodeSnapshotManifest,
  encodeSnapshotPair,
  snapshotChunkBytes,
  snapshotChunkLength,
  SnapshotPairReader,
  type OpenedSnapshotManifest,
  type SnapshotPair,
} from '@cipherlog/format'
import { createDirectory, createFileDisk } from '../disk/file-disk.ts'
import { removeFolder, replaceFile, withFile, type Disk, type DiskFile } from '../disk/disk.ts'
import { createMemoryDisk, type MemoryDisk } from '../disk/memory-disk.ts'
import { SnapshotDamagedError, SnapshotUnknownError, StorageClosedError, StorageFailedError } from '../errors.ts'
import {
  snapshotsKept,
  type SnapshotDownload,
  type SnapshotHead,
  type SnapshotStore,
  type StoredSnapshot,
} from './snapshot-store.ts'

const writing = 'writing'
const incoming = 'incoming'
const wholeName = /^[0-9a-f]{64}$/

/** The snapshots in `directory`, created if it is missing. @throws `ERR_STORAGE_FAILED`. */
export async function openFileSnapshots(directory: string): Promise<SnapshotStore> {
  await createDirectory(directory)
  return openSnapshots(createFileDisk(directory))
}

/** Snapshots on a disk in memory; hand the same disk to a second store to restart it. */
export function openMemorySnapshots(disk: MemoryDisk = createMemoryDisk()): Promise<SnapshotStore> {
  return openSnapshots(disk)
}

async function openSnapshots(disk: Disk): Promise<SnapshotStore> {
  const whole = new Map<string, StoredSnapshot>()
  const damaged: string[] = []
  await guarded(async () => {
    for (const { name, isDirectory } of await disk.list('')) {
      if (!isDirectory || name === incoming) continue
      if (wholeName.test(name)) {
        const found = await readWhole(disk, name)
        if (found !== undefined) {
          whole.set(name, found)
          continue
        }
        damaged.push(name)
      }
      await removeFolder(disk, name)
    }
  })
  return new FileSnapshots(disk, whole, damaged)
}

/** A snapshot with its manifest intact and its stream of the right length. */
async function readWhole(disk: Disk, name: string): Promise<StoredSnapshot | undefined> {
  const found = await readManifest(disk, name)
  if (found === undefined || toHex(found.digest) !== name) return undefined
  const bytes = await withFile(disk, `${name}/stream`, (file) => file.size())
  return bytes === found.manifest.bytes ? found : undefined
}

async function readManifest(disk: Disk, folder: string): Promise<StoredSnapshot | undefined> {
  const manifestBytes = await disk.readFile(`${folder}/manifest`)
  if (manifestBytes === undefined) return undefined
  try {
    return { ...decodeSnapshotManifest(manifestBytes), manifestBytes }
  } catch (error) {
    if (error instanceof DecodeError) return undefined
    throw error
  }
}

class FileSnapshots implements SnapshotStore {
  readonly damaged: readonly string[]
  readonly #disk: Disk
  readonly #whole: Map<string, StoredSnapshot>
  /** Changes of the directory, one after the other. */
  #working: Promise<unknown> = Promise.resolve()
  /** One that is being taken. */
  #taking: Promise<StoredSnapshot> | undefined
  #download: Download | undefined
  /** Downloads are opened one after the other. */
  #opening: Promise<unknown> = Promise.resolve()
  #closed = false

  constructor(disk: Disk, whole: Map<string, StoredSnapshot>, damaged: readonly string[]) {
    this.#disk = disk
    this.#whole = whole
    this.damaged = damaged
  }

  list(): readonly StoredSnapshot[] {
    return [...this.#whole.values()].sort((a, b) => b.manifest.index - a.manifest.index)
  }

  find(digest: Uint8Array): StoredSnapshot | undefined {
    return this.#whole.get(toHex(digest))
  }

  // Taking one

  async write(head: SnapshotHead, pairs: AsyncIterable<SnapshotPair>): Promise<StoredSnapshot> {
    this.#checkOpen()
    invariant(this.#taking === undefined, 'Two snapshots were taken at once.')
    this.#taking = this.#take(head, pairs)
    try {
      return await this.#taking
    } finally {
      this.#taking = undefined
    }
  }

  async #take(head: SnapshotHead, pairs: AsyncIterable<SnapshotPair>): Promise<StoredSnapshot> {
    await guarded(() => prepareFolder(this.#disk, writing))
    const file = await guarded(() => this.#disk.open(`${writing}/stream`))
    let stream: { pairs: number; bytes: number; chunks: Uint8Array[] }
    try {
      stream = await writeStream(file, this.#whileOpen(pairs))
      await guarded(() => file.datasync())
    } finally {
      await file.close()
    }
    const manifestBytes = encodeSnapshotManifest({ version: 1, ...head, ...stream })
    await guarded(() => replaceFile(this.#disk, `${writing}/manifest`, manifestBytes))
    return this.#keep(writing, { ...decodeSnapshotManifest(manifestBytes), manifestBytes })
  }

  async *#whileOpen(pairs: AsyncIterable<SnapshotPair>): AsyncGenerator<SnapshotPair> {
    for await (const pair of pairs) {
      this.#checkOpen()
      yield pair
    }
  }

  /** Gives a folder whose files are durable its final name. */
  #keep(folder: string, snapshot: StoredSnapshot): Promise<StoredSnapshot> {
    const name = toHex(snapshot.digest)
    return this.#serially(async () => {
      const known = this.#whole.get(name)
      if (known !== undefined) {
        await removeFolder(this.#disk, folder)
        return known
      }
      await this.#disk.syncDirectory(folder)
      await this.#disk.rename(folder, name)
      await this.#disk.syncDirectory('')
      this.#whole.set(name, snapshot)
      return snapshot
    })
  }

  // Reading

  async readChunk(digest: Uint8Array, number: number): Promise<Uint8Array> {
    this.#checkOpen()
    const name = toHex(digest)
    const { manifest } = this.#whole.get(name) ?? unknown(digest)
    const expected = manifest.chunks[number]
    if (expected === undefined) throw new RangeError(`the snapshot has no chunk ${number}`)
    const length = snapshotChunkLength(manifest, number)
    let chunk: Uint8Array
    try {
      chunk = await withFile(this.#disk, `${name}/stream`, (file) => file.read(number * snapshotChunkBytes, length))
    } catch (cause) {
      // It may have been pruned meanwhile.
      if (!this.#whole.has(name)) return unknown(digest)
      throw new SnapshotDamagedError(digest, number, cause)
    }
    if (!equalBytes(sha256(chunk), expected)) throw new SnapshotDamagedError(digest, number)
    return chunk
  }

  async *pairs(digest: Uint8Array): AsyncGenerator<SnapshotPair> {
    const { manifest } = this.find(digest) ?? unknown(digest)
    const reader = new SnapshotPairReader()
    try {
      for (let number = 0; number < manifest.chunks.length; number++) {
        yield* reader.push(await this.readChunk(digest, number))
      }
      reader.end()
    } catch (error) {
      if (error instanceof DecodeError) throw badStream(digest, error.message)
      throw error
    }
    if (reader.pairs !== manifest.pairs) throw badStream(digest, `The snapshot has ${reader.pairs} pairs.`)
  }

  async verify(digest: Uint8Array): Promise<void> {
    const pairs = this.pairs(digest)
    while ((await pairs.next()).done !== true);
  }

  // Forgetting

  remove(digest: Uint8Array): Promise<void> {
    return this.#serially(() => this.#remove(toHex(digest)))
  }

  prune(keep: number = snapshotsKept): Promise<void> {
    if (keep < 1) throw new RangeError('at least one snapshot is kept')
    return this.#serially(async () => {
      for (const { digest } of this.list().slice(keep)) await this.#remove(toHex(digest))
    })
  }

  async #remove(name: string): Promise<void> {
    if (!this.#whole.delete(name)) return
    await this.#disk.rename(name, `${name}.removed`)
    await this.#disk.syncDirectory('')
    await removeFolder(this.#disk, `${name}.removed`)
  }

  // Fetching one

  resume(): Promise<SnapshotDownload | undefined> {
    return this.#openInTurn(() => this.#resume())
  }

  async #resume(): Promise<Download | undefined> {
    if (this.#download !== undefined) return this.#download
    const known = await guarded(() => readManifest(this.#disk, incoming))
    if (known === undefined) return undefined
    this.#download = await this.#openDownload(known)
    return this.#download
  }

  async download(digest: Uint8Array, manifestBytes: Uint8Array): Promise<SnapshotDownload> {
    const own = manifestBytes.slice()
    if (!equalBytes(sha256(own), digest)) {
      throw new VerificationError(
        'ERR_SNAPSHOT_MANIFEST',
        `The manifest is not that of snapshot ${toHex(digest)}; fetch it from another replica.`,
        { details: { digest: toHex(digest) } },
      )
    }
    const snapshot = { ...decodeSnapshotManifest(own), manifestBytes: own }
    return this.#openInTurn(() => this.#start(snapshot))
  }

  async #start(snapshot: StoredSnapshot): Promise<Download> {
    const present = await this.#resume()
    if (present !== undefined && equalBytes(present.digest, snapshot.digest)) return present
    await present?.discard()
    await this.#serially(async () => {
      await prepareFolder(this.#disk, incoming)
      await replaceFile(this.#disk, `${incoming}/manifest`, snapshot.manifestBytes)
      await this.#disk.syncDirectory('')
    })
    this.#download = await this.#openDownload(snapshot)
    return this.#download
  }

  #openInTurn<T>(open: () => Promise<T>): Promise<T> {
    this.#checkOpen()
    const result = this.#opening.then(open)
    this.#opening = result.catch(() => {
      // Told to the caller.
    })
    return result
  }

  async #openDownload(snapshot: StoredSnapshot): Promise<Download> {
    const file = await guarded(() => this.#disk.open(`${incoming}/stream`))
    const ended = (): void => {
      this.#download = undefined
    }
    const download = new Download(snapshot, file, {
      keep: () => this.#keep(incoming, snapshot).finally(ended),
      discard: () => this.#serially(() => removeFolder(this.#disk, incoming)).finally(ended),
    })
    await guarded(() => download.look())
    return download
  }

  #serially<T>(work: () => Promise<T>): Promise<T> {
    this.#checkOpen()
    const result = this.#working.then(() => guarded(work))
    this.#working = result.catch(() => {
      // Told to the caller.
    })
    return result
  }

  #checkOpen(): void {
    if (this.#closed) throw new StorageClosedError('snapshot store')
  }

  async close(): Promise<void> {
    this.#closed = true
    await Promise.allSettled([this.#taking, this.#opening])
    await this.#working
    await this.#download?.close()
  }
}

class Download implements SnapshotDownload {
  readonly manifest: OpenedSnapshotManifest['manifest']
  readonly record: OpenedSnapshotManifest['record']
  readonly digest: Uint8Array
  readonly #file: DiskFile
  readonly #ends: { readonly keep: () => Promise<StoredSnapshot>; readonly discard: () => Promise<void> }
  readonly #missing = new Set<number>()
  #ended = false

  constructor(
    { manifest, record, digest }: StoredSnapshot,
    file: DiskFile,
    ends: { readonly keep: () => Promise<StoredSnapshot>; readonly discard: () => Promise<void> },
  ) {
    this.manifest = manifest
    this.record = record
    this.digest = digest
    this.#file = file
    this.#ends = ends
  }

  /** Finds out what is here. */
  async look(): Promise<void> {
    for (let number = 0; number < this.manifest.chunks.length; number++) {
      const length = snapshotChunkLength(this.manifest, number)
      const chunk = await this.#file.read(number * snapshotChunkBytes, length)
      if (!equalBytes(sha256(chunk), this.manifest.chunks[number]!)) this.#missing.add(number)
    }
  }

  missing(): number[] {
    return [...this.#missing].sort((a, b) => a - b)
  }

  async put(number: number, chunk: Uint8Array): Promise<void> {
    this.#checkOpen()
    const expected = this.manifest.chunks[number]
    if (expected === undefined || !equalBytes(sha256(chunk), expected)) {
      throw new VerificationError(
        'ERR_SNAPSHOT_CHUNK',
        `Chunk ${number} is not the one that the manifest of the snapshot names; fetch it from another replica.`,
        { details: { digest: toHex(this.digest), chunk: number } },
      )
    }
    if (!this.#missing.has(number)) return
    await guarded(() => this.#file.write(chunk, number * snapshotChunkBytes))
    this.#missing.delete(number)
  }

  async complete(): Promise<StoredSnapshot> {
    this.#checkOpen()
    invariant(this.#missing.size === 0, 'A snapshot was completed without all of its chunks.')
    this.#ended = true
    await guarded(async () => {
      // A crash may have left the file longer than what was hashed.
      await this.#file.truncate(this.manifest.bytes)
      await this.#file.datasync()
      await this.#file.close()
    })
    return this.#ends.keep()
  }

  async discard(): Promise<void> {
    this.#checkOpen()
    await this.close()
    await this.#ends.discard()
  }

  async close(): Promise<void> {
    if (this.#ended) return
    this.#ended = true
    await this.#file.close()
  }

  #checkOpen(): void {
    if (this.#ended) throw new StorageClosedError('download')
  }
}

/** Writes the stream of `pairs` in chunks. */
async function writeStream(
  file: DiskFile,
  pairs: AsyncIterable<SnapshotPair>,
): Promise<{ pairs: number; bytes: number; chunks: Uint8Array[] }> {
  const chunks: Uint8Array[] = []
  const chunk = new Uint8Array(snapshotChunkBytes)
  let used = 0
  let count = 0
  let last: Uint8Array = emptyBytes
  async function flush(): Promise<void> {
    const bytes = chunk.slice(0, used)
    await guarded(() => file.write(bytes, chunks.length * snapshotChunkBytes))
    chunks.push(sha256(bytes))
    used = 0
  }
  for await (const pair of pairs) {
    invariant(compareBytes(last, pair[0]) < 0, 'Pairs of a snapshot came out of order.')
    last = pair[0]
    count++
    const bytes = encodeSnapshotPair(pair)
    for (let at = 0; at < bytes.length;) {
      const part = bytes.subarray(at, at + snapshotChunkBytes - used)
      chunk.set(part, used)
      used += part.length
      at += part.length
      if (used === snapshotChunkBytes) await flush()
    }
  }
  const bytes = chunks.length * snapshotChunkBytes + used
  if (used > 0) await flush()
  return { pairs: count, bytes, chunks }
}

/** An empty folder of this name. */
async function prepareFolder(disk: Disk, folder: string): Promise<void> {
  await removeFolder(disk, folder)
  await disk.makeDirectory(folder)
}

/** Names what failed. */
async function guarded<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (cause) {
    if (cause instanceof InvariantViolation || cause instanceof StorageFailedError) throw cause
    throw new StorageFailedError('a snapshot', cause)
  }
}

function sha256(bytes: Uint8Array): Uint8Array {
  return plainBytes(hash('sha256', bytes, 'buffer'))
}

function unknown(digest: Uint8Array): never {
  throw new SnapshotUnknownError(digest)
}

function badStream(digest: Uint8Array, reason: string): VerificationError {
  return new VerificationError('ERR_SNAPSHOT_STREAM', `${reason} Discard snapshot ${toHex(digest)}.`, {
    details: { digest: toHex(digest), reason },
  })
}

/** The trail's files on a {@link Disk}; see trail-store.ts. */
import {
  CipherlogError,
  concatBytes,
  equalBytes,
  errorCode,
  invariant,
  InvariantViolation,
  utf8,
  utf8ToString,
} from '@cipherlog/core'
import {
  bodyPath,
  bundlePath,
  entriesPath,
  entryBytesMax,
  parseCheckpoint,
  parseNote,
  tileWidthMax,
} from '@cipherlog/merkle/verify'
import { type Disk, type DiskFile, parentOf, withFile } from '../disk/disk.ts'
import {
  StorageClosedError,
  StorageFailedError,
  TrailDamagedError,
  TrailNotHereError,
  TrailShortError,
} from '../errors.ts'
import { diskSource, fillTile } from './backfill.ts'
import { packSlots, PackTable, packTableBytes, readSlot } from './pack.ts'
import { parseTile, type RecoveredTrail, recoverTrail, tileOf } from './recover-trail.ts'
import { firstTile, hashBytes, hashRow, TileRow } from './tile-row.ts'
import { TrailFiles } from './trail-files.ts'
import { readTrailFrom, trailFromPath, writeTrailFrom } from './trail-from.ts'
import {
  type TrailFile,
  type TrailLeaf,
  type TrailPublication,
  type TrailSource,
  type TrailStore,
} from './trail-store.ts'

/** Leaf-record tiles kept parsed, for readers that go through a tile leaf by leaf. */
const parsedTilesMax = 8

const checkpointPath = 'checkpoint'
const policyChainPath = 'policy-chain'

/**
 * Opens the trail at the root of `disk` with the `treeSize` that the database names. What is longer is cut.
 * @throws `ERR_TRAIL_SHORT` if a file below that size is missing or cut off: the trail must be rebuilt.
 * `ERR_TRAIL_DAMAGED` for an unreadable checkpoint, `ERR_STORAGE_FAILED`.
 */
export async function openTrail(disk: Disk, treeSize: number): Promise<TrailStore> {
  const files = new TrailFiles(disk)
  try {
    for (const path of [checkpointPath, policyChainPath, trailFromPath]) await files.remove(`${path}.tmp`)
    const published = await readPublished(disk)
    const trailFrom = await readTrailFrom(disk)
    if (trailFrom > 0 && trailFrom >= treeSize) throw new TrailShortError(trailFromPath, treeSize, 'names a later leaf')
    const recovered = await recoverTrail(disk, files, treeSize, published?.size ?? 0, trailFrom)
    return new FileTrail(disk, files, { treeSize, trailFrom }, recovered, published)
  } catch (error) {
    throw error instanceof CipherlogError ? error : new StorageFailedError('the trail', error)
  }
}

interface Published {
  readonly note: string
  readonly size: number
}

async function readPublished(disk: Disk): Promise<Published | undefined> {
  const bytes = await disk.readFile(checkpointPath)
  if (bytes === undefined) return undefined
  const note = utf8ToString(bytes)
  const size = sizeOf(note)
  if (size === undefined) throw new TrailDamagedError(checkpointPath, 'is no checkpoint')
  return { note, size }
}

/** The size that a note states, or undefined if it is no checkpoint. */
function sizeOf(note: string): number | undefined {
  try {
    return parseCheckpoint(parseNote(note).text).size
  } catch (error) {
    if (errorCode(error)?.startsWith('ERR_DECODE_')) return undefined
    throw error
  }
}

/** A pack in memory: which, and its table as far as leaves have been written. */
interface OpenPack {
  readonly pathOf: (index: number) => string
  table: PackTable
}

class FileTrail implements TrailStore {
  readonly #disk: Disk
  readonly #files: TrailFiles
  readonly #entries: TileRow
  readonly #hashes: TileRow[]
  readonly #bundle: OpenPack
  readonly #body: OpenPack
  /** Leaves that are not in the packs yet, from `#writtenSize` on. */
  #buffer: TrailLeaf[] = []
  #writtenSize: number
  readonly #partials: Set<string>
  #published: Published | undefined
  /** Writes, one after the other. */
  #working: Promise<void> = Promise.resolve()
  #failure: StorageFailedError | undefined
  #closed = false
  #trailFrom: number
  /** A fill under way. */
  #filling: Promise<void> | undefined
  readonly #parsed = new Map<number, Uint8Array[]>()

  constructor(
    disk: Disk,
    files: TrailFiles,
    { treeSize, trailFrom }: { readonly treeSize: number; readonly trailFrom: number },
    { entries, hashes, bundle, body, partials }: RecoveredTrail,
    published: Published | undefined,
  ) {
    this.#disk = disk
    this.#files = files
    this.#writtenSize = treeSize
    this.#trailFrom = trailFrom
    this.#entries = entries
    this.#hashes = hashes
    this.#bundle = { pathOf: bundlePath, table: bundle }
    this.#body = { pathOf: bodyPath, table: body }
    this.#partials = partials
    this.#published = published
  }

  get size(): number {
    return this.#writtenSize + this.#buffer.length
  }

  get trailFrom(): number {
    return this.#trailFrom
  }

  // Writing

  append(leaf: TrailLeaf): void {
    if (this.#closed) throw new StorageClosedError('trail')
    const { index, entry, tiles } = leaf
    invariant(index === this.size, 'Leaves must follow each other', { index, size: this.size })
    if (entry.length > entryBytesMax) throw new RangeError(`a leaf record has at most ${entryBytesMax} bytes`)
    let levels = 1
    while ((index + 1) % tileWidthMax ** levels === 0) levels++
    invariant(tiles.length === levels, 'A leaf must bring one hash per level that it completes', { index })
    tiles.forEach((tile, level) => {
      const expected = (index + 1) / tileWidthMax ** level - 1
      invariant(
        tile.level === level && tile.index === expected && tile.hash.length === hashBytes,
        'A leaf must bring the hashes that it completes, lowest level first',
        { index, level },
      )
    })
    for (const { level, hash } of tiles) {
      this.#hashes[level] ??= new TileRow(hashRow(level))
      this.#hashes[level].push(hash)
    }
    this.#entries.push(entry)
    this.#buffer.push(leaf)
  }

  flush({ sync }: { readonly sync: boolean }): Promise<void> {
    return this.#serially(async () => {
      await this.#writeLeaves()
      if (sync) await this.#sync()
    })
  }

  async publish({ checkpoint, size, policyChain }: TrailPublication): Promise<void> {
    invariant(size <= this.size && size >= (this.#published?.size ?? 0), 'A checkpoint must not go back or ahead', {
      size,
      treeSize: this.size,
      publishedSize: this.#published?.size,
    })
    invariant(sizeOf(checkpoint) === size, 'A checkpoint must state the size it is published for', { size })
    await this.#serially(async () => {
      await this.#writeLeaves()
      for (const row of this.#rows()) await this.#writePartial(row, size)
      await this.#files.sync()
      if (policyChain !== undefined) await this.#replacePolicyChain(policyChain)
      await this.#files.replace(checkpointPath, utf8(checkpoint))
      this.#published = { note: checkpoint, size }
      await this.#sync()
    })
  }

  checkpoint(): string | undefined {
    return this.#published?.note
  }

  /** Runs `work` after what was asked before. The first failure is the last write. */
  #serially(work: () => Promise<void>): Promise<void> {
    const result = this.#working.then(async () => {
      if (this.#closed) throw new StorageClosedError('trail')
      if (this.#failure !== undefined) throw this.#failure
      try {
        await work()
      } catch (cause) {
        if (cause instanceof InvariantViolation) throw cause
        this.#failure = new StorageFailedError('the trail', cause)
        throw this.#failure
      }
    })
    this.#working = result.catch(() => {
      // Told to the caller.
    })
    return result
  }

  #rows(): TileRow[] {
    return [this.#entries, ...this.#hashes]
  }

  /** Writes what is buffered: full tiles, the partial ones of this size, packs. */
  async #writeLeaves(): Promise<void> {
    const size = this.size
    const leaves = this.#buffer.slice()
    if (leaves.length === 0) return
    for (const row of this.#rows()) {
      const fullCount = Math.floor(row.countAt(size) / tileWidthMax)
      for (let index = Math.floor(row.countAt(this.#writtenSize) / tileWidthMax); index < fullCount; index++) {
        await this.#files.write(row.format.path(index), row.tile(index, tileWidthMax))
      }
    }
    await this.#writePack(this.#bundle, leaves, (leaf) => leaf.signed)
    await this.#writePack(this.#body, leaves, (leaf) => leaf.body)
    for (const row of this.#rows()) row.release(row.countAt(size))
    this.#buffer.splice(0, leaves.length)
    this.#writtenSize = size
    for (const row of this.#rows()) await this.#writePartial(row, size)
  }

  /** The partial tile of a tree of `size` leaves, unless it has none or its tile is full by now. */
  async #writePartial(row: TileRow, size: number): Promise<void> {
    const partial = partialOf(row, size)
    if (partial === undefined || this.#partials.has(partial.path)) return
    await this.#files.write(partial.path, row.tile(partial.index, partial.width))
    this.#partials.add(partial.path)
  }

  /** Data before the table that names it, so that a reader of the directory never finds a slot without its data. */
  async #writePack(
    pack: OpenPack,
    leaves: readonly TrailLeaf[],
    partOf: (leaf: TrailLeaf) => Uint8Array,
  ): Promise<void> {
    for (let at = 0; at < leaves.length;) {
      const first = leaves[at]!.index
      const index = Math.floor(first / packSlots)
      const run = leaves.slice(at, at + (index + 1) * packSlots - first)
      if (first % packSlots === 0) pack.table = new PackTable()
      const next = new PackTable(pack.table.bytes.slice(), pack.table.end)
      for (const leaf of run) next.append(leaf.index % packSlots, partOf(leaf).length)
      const parts = concatBytes(...run.map(partOf))
      if (parts.length > 0) await this.#files.write(pack.pathOf(index), parts, pack.table.end)
      await this.#files.write(pack.pathOf(index), next.bytes)
      pack.table = next
      at += run.length
    }
  }

  /** Syncs everything written; then partial tiles that nothing needs any more can go. */
  async #sync(): Promise<void> {
    await this.#files.sync()
    const needed = new Set<string>()
    for (const row of this.#rows()) {
      for (const size of [this.#writtenSize, this.#published?.size ?? 0]) {
        const partial = partialOf(row, size)
        if (partial !== undefined) needed.add(partial.path)
      }
    }
    for (const path of this.#partials) {
      if (needed.has(path)) continue
      await this.#files.remove(path)
      this.#partials.delete(path)
      const directory = parentOf(path)
      const shared = [...this.#partials].some((other) => parentOf(other) === directory)
      if (!shared) await this.#files.removeDirectory(directory)
    }
  }

  async #replacePolicyChain(policyChain: Uint8Array): Promise<void> {
    const before = await this.#disk.readFile(policyChainPath)
    if (before === undefined || !equalBytes(before, policyChain)) {
      await this.#files.replace(policyChainPath, policyChain)
    }
  }

  // Filling

  async backfill(source: TrailSource): Promise<void> {
    this.#checkOpen()
    if (this.#failure !== undefined) throw this.#failure
    invariant(this.#filling === undefined, 'A trail was filled twice at once')
    if (this.#trailFrom === 0) return
    const filling = this.#fill(source)
    this.#filling = filling.catch(() => {
      // Told to the caller.
    })
    try {
      await filling
    } finally {
      this.#filling = undefined
    }
  }

  async #fill(source: TrailSource): Promise<void> {
    const tile = this.#trailFrom / tileWidthMax - 1
    const fill = (from: TrailSource): Promise<void> =>
      fillTile(
        {
          // Of its own: what is being written here is no business of a sync for the newest leaves.
          files: new TrailFiles(this.#disk),
          tile,
          lowest: (level) => firstTile(hashRow(level), this.#trailFrom),
          checkOpen: () => this.#checkOpen(),
          hashAt: async (level, index) => {
            const width = (index % tileWidthMax) + 1
            return (await this.readTile(level, Math.floor(index / tileWidthMax), width)).slice(-hashBytes)
          },
        },
        from,
      )
    try {
      if (!(await this.#fillFromDisk(tile, fill))) await fill(source)
      this.#checkOpen()
      await writeTrailFrom(this.#disk, tile * tileWidthMax)
    } catch (cause) {
      if (cause instanceof CipherlogError) throw cause
      this.#failure ??= new StorageFailedError('the trail', cause)
      throw this.#failure
    }
    this.#trailFrom = tile * tileWidthMax
  }

  /** What this replica had before its snapshot, or a fill that a crash cut off, may do. */
  async #fillFromDisk(tile: number, fill: (source: TrailSource) => Promise<void>): Promise<boolean> {
    const own = diskSource(this.#disk)
    if ((await own.file(entriesPath(tile))) === undefined) return false
    try {
      await fill(own)
      return true
    } catch (error) {
      if (errorCode(error) === 'ERR_TRAIL_BACKFILL') return false
      throw error
    }
  }

  // Reading

  async readTile(level: number, index: number, width: number): Promise<Uint8Array> {
    this.#checkOpen()
    const row = this.#hashes[level]
    const end = index * tileWidthMax + width
    if (row === undefined || width < 1 || width > tileWidthMax || index < 0 || end > row.count) {
      throw new RangeError(`the tree has no ${width} hashes in tile ${index} of level ${level}`)
    }
    this.#checkHere(row.format.path(index), index >= firstTile(row.format, this.#trailFrom))
    if (index * tileWidthMax >= row.first) return row.tile(index, width)
    return (await this.#fullTile(row, index)).subarray(0, width * hashBytes)
  }

  async readEntry(index: number): Promise<Uint8Array> {
    this.#checkLeaf(index)
    return this.#entries.item(index) ?? (await this.#entriesOf(Math.floor(index / tileWidthMax)))[index % tileWidthMax]!
  }

  readSigned(index: number): Promise<Uint8Array> {
    return this.#readPart(index, this.#bundle, (leaf) => leaf.signed)
  }

  readBody(index: number): Promise<Uint8Array> {
    return this.#readPart(index, this.#body, (leaf) => leaf.body)
  }

  async #fullTile(row: TileRow, index: number): Promise<Uint8Array> {
    const path = row.format.path(index)
    const bytes = await this.#disk.readFile(path)
    if (bytes === undefined) throw new TrailDamagedError(path, 'is missing')
    if (row !== this.#entries && bytes.length !== tileWidthMax * hashBytes) {
      throw new TrailDamagedError(path, `has ${bytes.length} bytes`)
    }
    return bytes
  }

  /** The records of a full tile, parsed once for several reads. */
  async #entriesOf(index: number): Promise<Uint8Array[]> {
    let entries = this.#parsed.get(index)
    if (entries === undefined) {
      entries = itemsOf(this.#entries, index, await this.#fullTile(this.#entries, index))
      this.#parsed.set(index, entries)
      if (this.#parsed.size > parsedTilesMax) this.#parsed.delete(this.#parsed.keys().next().value!)
    }
    return entries
  }

  async #readPart(index: number, pack: OpenPack, partOf: (leaf: TrailLeaf) => Uint8Array): Promise<Uint8Array> {
    this.#checkLeaf(index)
    const buffered = this.#buffer[index - this.#writtenSize]
    if (buffered !== undefined) return partOf(buffered)
    const path = pack.pathOf(Math.floor(index / packSlots))
    return withFile(this.#disk, path, async (file) => {
      const { offset, length } = readSlot(await readExactly(path, file, (index % packSlots) * 8, 8), 0)
      if (offset + length > (await file.size())) throw new TrailDamagedError(path, 'has a slot that leads past its end')
      return readExactly(path, file, offset, length)
    })
  }

  async file(path: string): Promise<TrailFile | undefined> {
    this.#checkOpen()
    if (path === checkpointPath || path === policyChainPath) {
      const bytes = await this.#disk.readFile(path)
      return bytes === undefined ? undefined : bytesFile(bytes, false)
    }
    const tile = tileOf(path)
    if (tile === undefined) return undefined
    switch (tile.kind) {
      case 'hashes':
        return this.#tileFile(this.#hashes[tile.level], tile)
      case 'entries':
        return this.#tileFile(this.#entries, tile)
      case 'bundle':
      case 'body':
        return this.#packFile(tile.kind, tile.index)
    }
  }

  async #tileFile(
    row: TileRow | undefined,
    { index, width }: { readonly index: number; readonly width: number },
  ): Promise<TrailFile | undefined> {
    if (row === undefined || index * tileWidthMax + width > row.countAt(this.#writtenSize)) return undefined
    if (index < firstTile(row.format, this.#trailFrom)) return undefined
    if (index * tileWidthMax >= row.first) return bytesFile(row.tile(index, width), true)
    const full = await this.#fullTile(row, index)
    if (width === tileWidthMax) return bytesFile(full, true)
    return bytesFile(row.format.format(itemsOf(row, index, full).slice(0, width)), true)
  }

  /** A pack as of now: its table is copied, so that it never names data behind `size`. */
  async #packFile(kind: 'bundle' | 'body', index: number): Promise<TrailFile | undefined> {
    const pack = kind === 'bundle' ? this.#bundle : this.#body
    const end = (index + 1) * packSlots
    if (end - packSlots >= this.#writtenSize || end <= this.#trailFrom) return undefined
    const growing = end > this.#writtenSize ? pack.table : undefined
    const path = pack.pathOf(index)
    return {
      size: growing?.end ?? (await withFile(this.#disk, path, (file) => file.size())),
      // Erasing zeroes a body in place.
      immutable: kind === 'bundle' && growing === undefined,
      read: async (start, length) => {
        const bytes = await withFile(this.#disk, path, (file) => readExactly(path, file, start, length))
        if (growing !== undefined && start < packTableBytes) bytes.set(growing.bytes.subarray(start, start + length))
        return bytes
      },
    }
  }

  #checkLeaf(index: number): void {
    this.#checkOpen()
    if (!Number.isSafeInteger(index) || index < 0 || index >= this.size) {
      throw new RangeError(`the trail has ${this.size} leaves, and no leaf ${index}`)
    }
    this.#checkHere(`leaf ${index}`, index >= this.#trailFrom)
  }

  #checkHere(what: string, isHere: boolean): void {
    if (!isHere) throw new TrailNotHereError(what, this.#trailFrom)
  }

  #checkOpen(): void {
    if (this.#closed) throw new StorageClosedError('trail')
  }

  async close(): Promise<void> {
    await this.#working
    this.#closed = true
    await this.#filling
  }
}

/** Which partial tile a tree of `size` leaves has in a row, unless its tile is full on disk. */
function partialOf(row: TileRow, size: number): { path: string; index: number; width: number } | undefined {
  const count = row.countAt(size)
  const index = Math.floor(count / tileWidthMax)
  const width = count % tileWidthMax
  if (width === 0 || index * tileWidthMax < row.first) return undefined
  return { path: row.format.path(index, width), index, width }
}

async function readExactly(path: string, file: DiskFile, position: number, length: number): Promise<Uint8Array> {
  const bytes = await file.read(position, length)
  if (bytes.length !== length) throw new TrailDamagedError(path, 'ends too early')
  return bytes
}

function bytesFile(bytes: Uint8Array, immutable: boolean): TrailFile {
  return {
    size: bytes.length,
    immutable,
    read: (start, length) => Promise.resolve(bytes.slice(start, start + length)),
  }
}

/** The items of a full tile. */
function itemsOf({ format }: TileRow, index: number, bytes: Uint8Array): Uint8Array[] {
  const items = parseTile(format, bytes)
  if (items?.length !== tileWidthMax) throw new TrailDamagedError(format.path(index), 'is malformed')
  return items
}

/**
 * Fills a trail that began with a snapshot from older files of a peer, a mirror or this disk, 256 leaves at a time, from
 * the newest back to leaf 0.
 *
 * Nothing is believed: the hash of the 256 records stands in the tile above, which is here or follows from the one
 * above it, up to a root that was verified when the snapshot was installed; records name the signed bytes, heads the
 * bodies. So a filled trail has the same bytes as one that was there from the start.
 */
import { concatBytes, DecodeError, emptyBytes, equalBytes, VerificationError } from '@cipherlog/core'
import { bodiesBytesMax, signedLeafBytesMax } from '@cipherlog/format'
import {
  bodyPath,
  bundlePath,
  entriesPath,
  entryBytesMax,
  leafHash,
  parseEntryBundle,
  tileWidthMax,
} from '@cipherlog/merkle/verify'
import { type Disk, parentOf, withFile } from '../disk/disk.ts'
import { leafProblem } from './check-leaf.ts'
import { PackTable, packSlots, packTableBytes, readSlot } from './pack.ts'
import { PackWriter } from './pack-writer.ts'
import { hashBytes, hashRow } from './tile-row.ts'
import { rootOfTile } from './trail-edge.ts'
import { type TrailFiles } from './trail-files.ts'
import { type TrailSource } from './trail-store.ts'

/** What is asked of a source at once. */
const pieceBytes = 1024 * 1024
export interface Filling {
  readonly files: TrailFiles
  /** Which 256 leaves. */
  readonly tile: number
  /** First tile of `level` that is here. */
  readonly lowest: (level: number) => number
  /** Throws if the trail has been closed meanwhile. */
  readonly checkOpen: () => void
  /** Hash number `index` of tile level `level`, which is here. */
  readonly hashAt: (level: number, index: number) => Promise<Uint8Array>
}

/** Brings the files of 256 leaves, and the tiles above them, and makes them durable. @throws `ERR_TRAIL_BACKFILL`. */
export async function fillTile(filling: Filling, from: TrailSource): Promise<void> {
  const { files, tile } = filling
  const source = watched(filling, from)
  const expected = await hashAbove(filling, source, 0, tile)
  const path = entriesPath(tile)
  const entriesBytes = await readAll(source, path, tileWidthMax * (2 + entryBytesMax))
  const entries = parse(path, () => parseEntryBundle(entriesBytes))
  const hashes = concatBytes(...entries.map((entry) => leafHash(entry)))
  if (entries.length !== tileWidthMax || !equalBytes(rootOfTile(hashes), expected)) {
    throw bad(path, 'has other leaf records than the tree')
  }
  await fillPacks(filling, source, entries)
  await files.replace(path, entriesBytes)
  await files.replace(hashRow(0).path(tile), hashes)
  await files.sync()
}

/** A source whose failures say where to go on, and which is not read after the trail was closed. */
function watched({ checkOpen }: Filling, source: TrailSource): TrailSource {
  async function ask<T>(path: string, answer: () => Promise<T>): Promise<T> {
    checkOpen()
    try {
      return await answer()
    } catch (cause) {
      throw bad(path, 'could not be read there', cause)
    }
  }
  return {
    async file(path) {
      const file = await ask(path, () => source.file(path))
      return file && { size: file.size, read: (start, length) => ask(path, () => file.read(start, length)) }
    },
  }
}

/** What the tree says of tile `index` of `level`: the level above is here, or is fetched and verified the same way. */
async function hashAbove(filling: Filling, source: TrailSource, level: number, index: number): Promise<Uint8Array> {
  const above = Math.floor(index / tileWidthMax)
  if (above >= filling.lowest(level + 1)) return filling.hashAt(level + 1, index)
  const expected = await hashAbove(filling, source, level + 1, above)
  const path = hashRow(level + 1).path(above)
  const bytes = await readAll(source, path, tileWidthMax * hashBytes)
  if (bytes.length !== tileWidthMax * hashBytes || !equalBytes(rootOfTile(bytes), expected)) {
    throw bad(path, 'has other hashes than the tree')
  }
  await filling.files.replace(path, bytes)
  return bytes.slice((index % tileWidthMax) * hashBytes, ((index % tileWidthMax) + 1) * hashBytes)
}

async function fillPacks({ files, tile }: Filling, source: TrailSource, entries: readonly Uint8Array[]): Promise<void> {
  const [bundle, body] = [bundlePath(tile), bodyPath(tile)]
  const signedParts = await PackParts.open(source, bundle, signedLeafBytesMax)
  const bodyParts = await PackParts.open(source, body, bodiesBytesMax)
  const bundleWriter = await PackWriter.begin(files, bundle)
  const bodyWriter = await PackWriter.begin(files, body)
  for (const entry of entries) {
    const leaf = { entry, signed: await signedParts.next(), body: await bodyParts.next() }
    const problem = leafProblem(leaf)
    if (problem !== undefined) throw bad(bundle, `or ${body} does not fit its leaf record: ${problem}`)
    await bundleWriter.append(leaf.signed)
    await bodyWriter.append(leaf.body)
  }
  await bundleWriter.finish()
  await bodyWriter.finish()
}

/** The parts of a full pack, one after the other, as they stand in it. */
class PackParts {
  readonly #stream: PieceStream
  readonly #table: Uint8Array
  #slot = 0

  private constructor(stream: PieceStream, table: Uint8Array) {
    this.#stream = stream
    this.#table = table
  }

  static async open(source: TrailSource, path: string, partBytesMax: number): Promise<PackParts> {
    const stream = await PieceStream.open(source, path, packTableBytes + packSlots * partBytesMax)
    const table = await stream.take(packTableBytes)
    for (let slot = 0; slot < packSlots; slot++) {
      if (readSlot(table, slot).length > partBytesMax) throw bad(path, `has too many bytes in slot ${slot}`)
    }
    if (PackTable.prefix(table, packSlots)?.end !== stream.size) throw bad(path, 'has a table that does not fit it')
    return new PackParts(stream, table)
  }

  next(): Promise<Uint8Array> {
    return this.#stream.take(readSlot(this.#table, this.#slot++).length)
  }
}

type SourceFile = NonNullable<Awaited<ReturnType<TrailSource['file']>>>

/** A file of the source, read from its start in pieces. */
class PieceStream {
  readonly size: number
  readonly #path: string
  readonly #file: SourceFile
  #piece: Uint8Array = emptyBytes
  /** Behind `#piece`. */
  #position = 0

  private constructor(path: string, file: SourceFile) {
    this.#path = path
    this.#file = file
    this.size = file.size
  }

  static async open(source: TrailSource, path: string, bytesMax: number): Promise<PieceStream> {
    const file = await source.file(path)
    if (file === undefined) throw bad(path, 'is missing there')
    if (file.size > bytesMax) throw bad(path, `has ${file.size} bytes, more than it can`)
    return new PieceStream(path, file)
  }

  /** The next `length` bytes. */
  async take(length: number): Promise<Uint8Array> {
    const parts: Uint8Array[] = []
    for (let missing = length; missing > 0;) {
      if (this.#piece.length === 0) await this.#read()
      const part = this.#piece.subarray(0, missing)
      parts.push(part)
      this.#piece = this.#piece.subarray(part.length)
      missing -= part.length
    }
    return parts.length === 1 ? parts[0]! : concatBytes(...parts)
  }

  async #read(): Promise<void> {
    const length = Math.min(pieceBytes, this.size - this.#position)
    const piece = length === 0 ? emptyBytes : await this.#file.read(this.#position, length)
    if (length === 0 || piece.length !== length) throw bad(this.#path, 'ends too early')
    this.#piece = piece
    this.#position += length
  }
}

async function readAll(source: TrailSource, path: string, bytesMax: number): Promise<Uint8Array> {
  const stream = await PieceStream.open(source, path, bytesMax)
  return stream.take(stream.size)
}

/** The files of a disk, such as those that a trail had before a snapshot was installed. */
export function diskSource(disk: Disk): TrailSource {
  return {
    async file(path) {
      const name = path.slice(parentOf(path).length + 1)
      if (!(await disk.list(parentOf(path))).some((entry) => entry.name === name)) return undefined
      return {
        size: await withFile(disk, path, (file) => file.size()),
        read: (start, length) => withFile(disk, path, (file) => file.read(start, length)),
      }
    },
  }
}

function parse<T>(path: string, read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (error instanceof DecodeError) throw bad(path, error.message)
    throw error
  }
}

function bad(path: string, reason: string, cause?: unknown): VerificationError {
  return new VerificationError('ERR_TRAIL_BACKFILL', `${path} ${reason}; fetch it from another replica or mirror.`, {
    cause,
    details: { path, reason },
  })
}

/**
 * Opens the files of a trail at the size that the database names: checks that nothing below is missing, cuts what is
 * above (it comes again, byte for byte, when the log is replayed), and reads back what appending needs.
 *
 * Files below the beginning of a trail that started from a snapshot are left alone: filling it may use them.
 *
 * A partial tile is removed only after a wider one or the full file is durable, so of those at least as wide as
 * needed the narrowest can be trusted.
 */
import { equalBytes, errorCode } from '@cipherlog/core'
import { bodyPath, bundlePath, leafHash, parseTilePath, type TilePath, tileWidthMax } from '@cipherlog/merkle/verify'
import { type Disk, parentOf } from '../disk/disk.ts'
import { TrailShortError } from '../errors.ts'
import { packSlots, PackTable, packTableBytes } from './pack.ts'
import { entriesRow, firstTile, hashRow, TileRow, type TileRowFormat } from './tile-row.ts'
import { type TrailFiles } from './trail-files.ts'

export interface RecoveredTrail {
  readonly entries: TileRow
  /** By level, as many as the tree has. */
  readonly hashes: TileRow[]
  readonly bundle: PackTable
  readonly body: PackTable
  /** Paths of the partial tiles that are stored. */
  readonly partials: Set<string>
}

/** Tile files found of one row. */
interface Found {
  readonly full: Set<number>
  readonly partials: { readonly index: number; readonly width: number }[]
}

export async function recoverTrail(
  disk: Disk,
  files: TrailFiles,
  treeSize: number,
  publishedSize: number,
  trailFrom: number,
): Promise<RecoveredTrail> {
  const found = await findTiles(disk, files)
  const of = (key: string): Found => found.get(key) ?? { full: new Set(), partials: [] }
  const partials = new Set<string>()

  async function recoverRow(format: TileRowFormat, { full, partials: widths }: Found): Promise<TileRow> {
    const count = Math.floor(treeSize / format.span)
    const fullCount = Math.floor(count / tileWidthMax)
    for (let index = firstTile(format, trailFrom); index < fullCount; index++) {
      if (!full.has(index)) throw new TrailShortError(format.path(index), treeSize, 'is missing')
    }
    const width = count % tileWidthMax
    const items = width === 0 ? [] : await readTail(format, fullCount, width, full, widths)
    const row = new TileRow(format, fullCount * tileWidthMax, items)
    const keep = new Set<string>()
    if (width > 0) keep.add(format.path(fullCount, width))
    const published = Math.floor(publishedSize / format.span)
    if (
      publishedSize <= treeSize &&
      published % tileWidthMax > 0 &&
      Math.floor(published / tileWidthMax) === fullCount
    ) {
      keep.add(format.path(fullCount, published % tileWidthMax))
    }
    for (const { index, width: other } of widths) {
      const path = format.path(index, other)
      if (keep.has(path)) partials.add(path)
      else await removePartial(path)
    }
    for (const index of full) if (index >= fullCount) await files.remove(format.path(index))
    return row
  }

  /** The first `width` items of the tile that is not full yet; its exact file is there afterwards. */
  async function readTail(
    format: TileRowFormat,
    index: number,
    width: number,
    full: ReadonlySet<number>,
    widths: Found['partials'],
  ): Promise<Uint8Array[]> {
    const wide = widths.filter((one) => one.index === index && one.width >= width).map((one) => one.width)
    const narrowest = wide.length > 0 ? Math.min(...wide) : full.has(index) ? tileWidthMax : undefined
    const exact = format.path(index, width)
    if (narrowest === undefined) throw new TrailShortError(exact, treeSize, 'is missing')
    const path = format.path(index, narrowest)
    const items = parseTile(format, (await disk.readFile(path))!)
    if (items === undefined || items.length < width)
      throw new TrailShortError(path, treeSize, 'is cut off or malformed')
    const kept = items.slice(0, width)
    if (narrowest !== width) {
      // Atomically: a torn file of just this width would be trusted at the next start.
      await files.replace(exact, format.format(kept))
      await files.sync()
      partials.add(exact)
    }
    return kept
  }

  async function removePartial(path: string): Promise<void> {
    await files.remove(path)
    if ((await disk.list(parentOf(path))).length === 0) await files.removeDirectory(parentOf(path))
  }

  async function recoverPack(pathOf: (index: number) => string, { full: packs }: Found): Promise<PackTable> {
    const fullCount = Math.floor(treeSize / packSlots)
    const leaves = treeSize % packSlots
    for (let index = trailFrom / packSlots; index < Math.ceil(treeSize / packSlots); index++) {
      if (!packs.has(index)) throw new TrailShortError(pathOf(index), treeSize, 'is missing')
    }
    for (const index of packs) if (index * packSlots >= treeSize) await files.remove(pathOf(index))
    return leaves === 0 ? new PackTable() : cutPack(pathOf(fullCount), leaves)
  }

  async function cutPack(path: string, leaves: number): Promise<PackTable> {
    const file = await disk.open(path)
    const [before, size] = await Promise.all([file.read(0, packTableBytes), file.size()]).finally(() => file.close())
    const table = before.length === packTableBytes ? PackTable.prefix(before, leaves) : undefined
    if (table === undefined || table.end > size) throw new TrailShortError(path, treeSize, 'ends too early')
    if (!equalBytes(table.bytes, before)) await files.write(path, table.bytes)
    if (size > table.end) await files.truncate(path, table.end)
    return table
  }

  const entries = await recoverRow(entriesRow, of('entries'))
  const hashes: TileRow[] = []
  const levels = [...found.keys()].flatMap((key) => (key.startsWith('hashes/') ? [Number(key.slice(7))] : []))
  for (let level = 0; level <= Math.max(0, ...levels) || tileWidthMax ** level <= treeSize; level++) {
    const row = await recoverRow(hashRow(level), of(`hashes/${level}`))
    if (row.count > 0) hashes.push(row)
  }
  for (let number = entries.first; number < treeSize; number++) {
    if (!equalBytes(leafHash(entries.item(number)!), hashes[0]!.item(number)!)) {
      throw new TrailShortError(
        hashRow(0).path(entries.first / tileWidthMax),
        treeSize,
        'does not fit the leaf records',
      )
    }
  }
  const bundle = await recoverPack(bundlePath, of('bundle'))
  const body = await recoverPack(bodyPath, of('body'))
  await files.sync()
  return { entries, hashes, bundle, body, partials }
}

/** The items of a tile, or undefined if it is malformed. */
export function parseTile(format: TileRowFormat, bytes: Uint8Array): Uint8Array[] | undefined {
  try {
    return format.parse(bytes)
  } catch (error) {
    if (error instanceof RangeError || errorCode(error) === 'ERR_DECODE_ENTRY_BUNDLE') return undefined
    throw error
  }
}

/** All tile files below `tile/`, by row. Removes what a crash left of a replacement; other files are left alone. */
async function findTiles(disk: Disk, files: TrailFiles): Promise<Map<string, Found>> {
  const found = new Map<string, Found>()
  async function walk(directory: string): Promise<void> {
    for (const { name, isDirectory } of await disk.list(directory)) {
      const path = `${directory}/${name}`
      if (isDirectory) await walk(path)
      else if (path.endsWith('.tmp')) await files.remove(path)
      else note(path)
    }
  }
  function note(path: string): void {
    const tile = tileOf(path)
    if (tile === undefined) return
    const key = tile.kind === 'hashes' ? `hashes/${tile.level}` : tile.kind
    const row = found.get(key) ?? { full: new Set(), partials: [] }
    found.set(key, row)
    if ('width' in tile && tile.width < tileWidthMax) row.partials.push({ index: tile.index, width: tile.width })
    else row.full.add(tile.index)
  }
  await walk('tile')
  return found
}

/** What the path names, or undefined if it is none of the trail's. */
export function tileOf(path: string): TilePath | undefined {
  try {
    return parseTilePath(path)
  } catch (error) {
    if (errorCode(error) === 'ERR_DECODE_TILE_PATH') return undefined
    throw error
  }
}

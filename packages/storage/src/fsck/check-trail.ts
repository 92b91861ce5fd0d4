/**
 * Checks a trail's files against each other, without changing any: leaf records and their hashes, each tile and the
 * level above it, packs and the records that name their content, and the published root.
 */
import { equalBytes, errorCode, utf8ToString } from '@cipherlog/core'
import { rootFromTiles } from '@cipherlog/merkle/tree'
import {
  bodyPath,
  bundlePath,
  leafHash,
  parseCheckpoint,
  parseNote,
  tilePath,
  tileWidthMax,
} from '@cipherlog/merkle/verify'
import { type Disk } from '../disk/disk.ts'
import { leafProblem } from '../trail/check-leaf.ts'
import { PackTable, packTableBytes, readSlot } from '../trail/pack.ts'
import { parseTile, tileOf } from '../trail/recover-trail.ts'
import { entriesRow, firstTile, hashBytes, hashRow, type TileRowFormat } from '../trail/tile-row.ts'
import { rootOfTile } from '../trail/trail-edge.ts'
import { readTrailFrom } from '../trail/trail-from.ts'

export interface CheckedTrail {
  readonly trailFrom: number
  readonly treeSize: number
  readonly publishedSize: number | undefined
}

/** @param report - told of each problem: in which file, and what it is. */
export async function checkTrail(
  disk: Pick<Disk, 'list' | 'readFile'>,
  report: (path: string, problem: string) => void,
  onProgress: (done: number, of: number) => void,
): Promise<CheckedTrail> {
  const trailFrom = await readTrailFrom(disk as Disk)
  const widths = await findTiles(disk)
  const entriesTiles = widths.get('entries') ?? new Map<number, number>()
  const lastTile = Math.max(-1, ...entriesTiles.keys())
  const treeSize = lastTile < 0 ? 0 : lastTile * tileWidthMax + entriesTiles.get(lastTile)!
  /** Items of the widest file of a tile, or none if it is missing or malformed. */
  async function tile(format: TileRowFormat, row: string, index: number): Promise<readonly Uint8Array[]> {
    const width = widths.get(row)?.get(index)
    const path = format.path(index, width)
    if (width === undefined) {
      report(path, 'is missing')
      return []
    }
    const items = parseTile(format, (await disk.readFile(path))!)
    if (items?.length === width) return items
    report(path, 'is cut off or malformed')
    return []
  }

  const first = firstTile(entriesRow, trailFrom)
  for (let index = first; index * tileWidthMax < treeSize; index++) {
    onProgress(index - first, lastTile + 1 - first)
    const entries = await tile(entriesRow, 'entries', index)
    const hashes = await tile(hashRow(0), 'hashes/0', index)
    const fits = entries.every((entry, at) => hashes[at] !== undefined && equalBytes(leafHash(entry), hashes[at]))
    if (!fits && hashes.length > 0) report(tilePath(0, index), 'does not fit the leaf records')
    await checkPacks(disk, index, entries, report)
  }
  for (let level = 1; tileWidthMax ** level <= treeSize; level++) {
    const row = hashRow(level)
    const count = Math.floor(treeSize / row.span)
    for (let index = firstTile(row, trailFrom); index * tileWidthMax < count; index++) {
      const items = await tile(row, `hashes/${level}`, index)
      const below = hashRow(level - 1)
      for (const [at, hash] of items.entries()) {
        const child = index * tileWidthMax + at
        if (child < firstTile(below, trailFrom)) continue
        const hashes = await disk.readFile(below.path(child))
        const fits = hashes?.length === tileWidthMax * hashBytes && equalBytes(rootOfTile(hashes), hash)
        if (!fits) report(below.path(child), 'does not have the hash that the level above says')
      }
    }
  }
  const publishedSize = await checkPublished(disk, treeSize, widths, report)
  onProgress(lastTile + 1 - first, lastTile + 1 - first)
  return { trailFrom, treeSize, publishedSize }
}

/** The packs of 256 leaves: contiguous, and with the content that the leaf records name. */
async function checkPacks(
  disk: Pick<Disk, 'readFile'>,
  index: number,
  entries: readonly Uint8Array[],
  report: (path: string, problem: string) => void,
): Promise<void> {
  const packs: Uint8Array[] = []
  for (const path of [bundlePath(index), bodyPath(index)]) {
    const bytes = await disk.readFile(path)
    const table = bytes && PackTable.prefix(bytes.subarray(0, packTableBytes), entries.length)
    if (bytes === undefined) report(path, 'is missing')
    else if (bytes.length < packTableBytes || table === undefined) report(path, 'has a malformed table')
    else if (table.end > bytes.length) report(path, 'ends too early')
    else packs.push(bytes)
  }
  const [bundle, body] = packs
  if (bundle === undefined || body === undefined) return
  for (const [at, entry] of entries.entries()) {
    const problem = leafProblem({ entry, signed: slotOf(bundle, at), body: slotOf(body, at) })
    if (problem !== undefined) report(bundlePath(index), `does not fit leaf ${index * tileWidthMax + at}: ${problem}`)
  }
}

function slotOf(pack: Uint8Array, number: number): Uint8Array {
  const { offset, length } = readSlot(pack, number)
  return pack.subarray(offset, offset + length)
}

/** The size of the published checkpoint, whose root must follow from the tiles. */
async function checkPublished(
  disk: Pick<Disk, 'readFile'>,
  treeSize: number,
  widths: ReadonlyMap<string, ReadonlyMap<number, number>>,
  report: (path: string, problem: string) => void,
): Promise<number | undefined> {
  const bytes = await disk.readFile('checkpoint')
  if (bytes === undefined) return undefined
  let published: { readonly size: number; readonly rootHash: Uint8Array }
  try {
    published = parseCheckpoint(parseNote(utf8ToString(bytes)).text)
  } catch (error) {
    if (errorCode(error)?.startsWith('ERR_DECODE_') !== true) throw error
    report('checkpoint', 'is no checkpoint')
    return undefined
  }
  const { size, rootHash } = published
  if (size > treeSize) {
    report('checkpoint', `covers ${size} leaves, of which ${treeSize} are here`)
    return size
  }
  try {
    const root = await rootFromTiles(size, async (level, index, width) => {
      const widest = widths.get(`hashes/${level}`)?.get(index)
      const tile = await disk.readFile(hashRow(level).path(index, widest))
      return (tile ?? new Uint8Array(0)).subarray(0, width * hashBytes)
    })
    if (!equalBytes(root, rootHash)) report('checkpoint', 'has another root than the tiles')
  } catch (error) {
    // The tile that is missing or cut off has been reported itself.
    if (errorCode(error) !== 'ERR_DECODE_TILE') throw error
  }
  return size
}

/** Widest file by tile, of each row. */
async function findTiles(disk: Pick<Disk, 'list'>): Promise<Map<string, Map<number, number>>> {
  const found = new Map<string, Map<number, number>>()
  async function walk(directory: string): Promise<void> {
    for (const { name, isDirectory } of await disk.list(directory)) {
      const path = `${directory}/${name}`
      if (isDirectory) await walk(path)
      const tile = isDirectory ? undefined : tileOf(path)
      if (tile === undefined) continue
      const key = tile.kind === 'hashes' ? `hashes/${tile.level}` : tile.kind
      const row = found.get(key) ?? new Map<number, number>()
      found.set(key, row)
      const width = 'width' in tile ? tile.width : tileWidthMax
      row.set(tile.index, Math.max(width, row.get(tile.index) ?? 0))
    }
  }
  await walk('tile')
  return found
}

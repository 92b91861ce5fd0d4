/**
 * Tiles as files: which file to read for the first items of a tile, and whether the others of that tile agree.
 *
 * A full tile replaces its partial ones, and C2SP lets them lie about (https://c2sp.org/tlog-tiles). Verifiers
 * ignore those; an audit reads and compares them all, so that nothing in a trail differs unnoticed.
 */
import { DecodeError, equalBytes } from '@cipherlog/core'
import {
  entriesPath,
  entryBytesMax,
  hashBytes,
  parseEntryBundle,
  tilePath,
  tileWidthMax,
} from '@cipherlog/merkle/verify'
import { type TrailReader } from './trail-reader.ts'

/** One row of tiles: the hashes of a level, or the leaf records. */
export interface TileRow {
  /** What a missing file lacks, for people. */
  readonly items: string
  path(index: number, width?: number): string
  bytesMax(width: number): number
  /** @throws {@link DecodeError}. */
  parse(bytes: Uint8Array): Uint8Array[]
}

export function hashRow(level: number): TileRow {
  return {
    items: 'hashes',
    path: (index, width) => tilePath(level, index, width),
    bytesMax: (width) => width * hashBytes,
    parse(bytes) {
      if (bytes.length % hashBytes !== 0) {
        throw new DecodeError(
          'ERR_AUDIT_TILE',
          `The tile has ${bytes.length} bytes, which are no hashes of ${hashBytes}.`,
        )
      }
      return Array.from({ length: bytes.length / hashBytes }, (_, i) =>
        bytes.subarray(i * hashBytes, (i + 1) * hashBytes),
      )
    },
  }
}

export const recordRow: TileRow = {
  items: 'leaf records',
  path: entriesPath,
  bytesMax: (width) => width * (2 + entryBytesMax),
  parse: parseEntryBundle,
}

/** A tile as far as it was found good: its items come from `path`. */
export interface TileItems {
  readonly path: string
  /** As many as asked for. */
  readonly items: readonly Uint8Array[]
}

/** The file to read for the first `width` items: the full one, else the narrowest that has them. */
function widthToRead(reader: TrailReader, row: TileRow, index: number, width: number): number | undefined {
  const widths = reader.widthsOf(row.path(index))
  return widths.includes(tileWidthMax) ? tileWidthMax : widths.find((stored) => stored >= width)
}

/** Whether any file holds the first `width` items. */
export function hasTile(reader: TrailReader, row: TileRow, index: number, width: number): boolean {
  return widthToRead(reader, row, index, width) !== undefined
}

/** The first `width` items of a tile; undefined, with a problem, if they are missing or malformed. */
export async function readTile(
  reader: TrailReader,
  row: TileRow,
  index: number,
  width: number,
): Promise<TileItems | undefined> {
  const stored = widthToRead(reader, row, index, width)
  if (stored === undefined) {
    const where = row.path(index, width)
    reader.remarks.problem('ERR_AUDIT_MISSING', where, `The file with these ${row.items} is missing; copy it again.`)
    return undefined
  }
  const path = row.path(index, stored)
  const bytes = await reader.whole(path, row.bytesMax(stored))
  const items = bytes && reader.remarks.attempt(path, () => row.parse(bytes))
  if (items === undefined) return undefined
  if (items.length !== stored) {
    const message = `The file holds ${items.length} ${row.items}, its name says ${stored}.`
    reader.remarks.problem('ERR_AUDIT_TILE', path, message)
    return undefined
  }
  return { path, items: items.slice(0, width) }
}

/**
 * Compares all files of a tile with one another: each must be a prefix of the wider ones, starting from the items
 * that were read. What differs is a finding, and so is what goes beyond the checkpoint.
 * @param width - items that the checkpoint covers.
 */
export async function compareFiles(
  reader: TrailReader,
  row: TileRow,
  index: number,
  width: number,
  { path: readPath, items }: TileItems,
): Promise<void> {
  const widths = reader.widthsOf(row.path(index))
  if (widths.at(-1)! > width) {
    const message = `Only the first ${width} ${row.items} are covered by the checkpoint yet.`
    reader.remarks.finding('beyond the checkpoint', row.path(index, widths.at(-1)!), message)
  }
  let longest = items
  for (const stored of widths) {
    const path = row.path(index, stored)
    if (path === readPath && stored <= width) continue
    const found = await readQuietly(reader, row, path, stored)
    if (found === undefined || !commonPrefix(found, longest)) {
      const message = `It does not say what ${readPath} says of the same ${row.items}; verifiers do not use it.`
      reader.remarks.finding('redundant file differs', path, message)
    } else if (found.length > longest.length) {
      longest = found
    }
  }
}

/** Items of a file that nothing needs; undefined if it is not what its name says. */
async function readQuietly(
  reader: TrailReader,
  row: TileRow,
  path: string,
  width: number,
): Promise<readonly Uint8Array[] | undefined> {
  if (reader.bytesOf(path)! > row.bytesMax(width)) return undefined
  const bytes = await reader.range(path, 0, reader.bytesOf(path)!)
  if (bytes === undefined) return undefined
  try {
    const items = row.parse(bytes)
    return items.length === width ? items : undefined
  } catch (error) {
    // Malformed: reported by the caller as a file that differs.
    if (error instanceof DecodeError) return undefined
    throw error
  }
}

function commonPrefix(a: readonly Uint8Array[], b: readonly Uint8Array[]): boolean {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) if (!equalBytes(a[i]!, b[i]!)) return false
  return true
}

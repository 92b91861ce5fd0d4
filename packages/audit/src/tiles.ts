/**
 * The tree of a trail: every tile read, rebuilt from level 0 and compared. Level 0 comes from the files; all
 * above is recomputed, so that an upper tile that differs is found although no proof needed it.
 */
import { DecodeError, equalBytes } from '@cipherlog/core'
import { CompactRange } from '@cipherlog/merkle/tree'
import { entriesPath, leafHash, parseEntryBundle, parseTilePath, tilePath } from '@cipherlog/merkle/verify'
import { type Remarks } from './report.ts'
import { type TrailSource } from './trail-source.ts'

const hashBytes = 32
const tileWidth = 256

/** Reads the first `width` of a tile's items: its full file if there is one, else the partial of that width. */
async function readPrefix(
  source: TrailSource,
  path: (width?: number) => string,
  width: number,
): Promise<{ path: string; bytes: Uint8Array; whole: boolean } | undefined> {
  const full = await source.read(path())
  if (full !== undefined) return { path: path(), bytes: full, whole: true }
  if (width === tileWidth) return undefined
  const partial = await source.read(path(width))
  return partial === undefined ? undefined : { path: path(width), bytes: partial, whole: false }
}

/** All leaf records of a trail of `treeSize`, checked against level 0; undefined where one is missing. */
export async function readEntries(
  source: TrailSource,
  treeSize: number,
  rootHash: Uint8Array,
  remarks: Remarks,
): Promise<(Uint8Array | undefined)[]> {
  const entries: (Uint8Array | undefined)[] = []
  const tree = new CompactRange()
  const levels = new Map<number, Uint8Array[]>()
  for (let first = 0; first < treeSize; first += tileWidth) {
    const n = first / tileWidth
    const width = Math.min(tileWidth, treeSize - first)
    const hashes = await readHashes(source, 0, n, width, remarks)
    const records = await readBundle(source, n, width, remarks)
    for (let i = 0; i < width; i++) {
      const record = records?.[i]
      const hash = hashes?.[i]
      const computed = record === undefined ? undefined : leafHash(record)
      if (hash !== undefined && computed !== undefined && !equalBytes(hash, computed)) {
        remarks.problem(
          'ERR_AUDIT_LEAF',
          `leaf ${first + i}`,
          `The record in ${entriesPath(n)} does not have the hash in ${tilePath(0, n)}: one of the two was changed.`,
        )
      }
      entries.push(record)
      const leaf = computed ?? hash ?? new Uint8Array(hashBytes)
      tree.append(leaf, (level, index, node) => {
        if (level === 0 || level % 8 !== 0) return
        const row = levels.get(level / 8) ?? []
        row[index] = node
        levels.set(level / 8, row)
      })
    }
  }
  if (!equalBytes(tree.root(), rootHash)) {
    remarks.problem('ERR_AUDIT_ROOT', 'checkpoint', 'The leaf records do not add up to the signed root.')
  }
  for (const [level, row] of levels) await compareUpper(source, level, row, remarks)
  await comparePartials(source, treeSize, remarks)
  return entries
}

async function readHashes(
  source: TrailSource,
  level: number,
  n: number,
  width: number,
  remarks: Remarks,
): Promise<Uint8Array[] | undefined> {
  const found = await readPrefix(source, (w) => tilePath(level, n, w), width)
  const where = tilePath(level, n, width === tileWidth ? undefined : width)
  if (found === undefined) {
    remarks.problem('ERR_AUDIT_MISSING', where, 'The tile is missing.')
    return undefined
  }
  if (found.bytes.length !== (found.whole ? tileWidth : width) * hashBytes) {
    remarks.problem('ERR_AUDIT_TILE', found.path, 'The tile has a wrong length.')
    return undefined
  }
  return Array.from({ length: width }, (_, i) => found.bytes.subarray(i * hashBytes, (i + 1) * hashBytes))
}

async function readBundle(
  source: TrailSource,
  n: number,
  width: number,
  remarks: Remarks,
): Promise<Uint8Array[] | undefined> {
  const found = await readPrefix(source, (w) => entriesPath(n, w), width)
  const where = entriesPath(n, width === tileWidth ? undefined : width)
  if (found === undefined) {
    remarks.problem('ERR_AUDIT_MISSING', where, 'The leaf records are missing.')
    return undefined
  }
  const records = remarks.attempt(found.path, () => parseEntryBundle(found.bytes))
  if (records !== undefined && records.length !== (found.whole ? tileWidth : width)) {
    remarks.problem('ERR_AUDIT_TILE', found.path, `The file holds ${records.length} leaf records, expected ${width}.`)
    return undefined
  }
  return records
}

async function compareUpper(
  source: TrailSource,
  level: number,
  row: readonly Uint8Array[],
  remarks: Remarks,
): Promise<void> {
  for (let n = 0; n * tileWidth < row.length; n++) {
    const expected = row.slice(n * tileWidth, (n + 1) * tileWidth)
    const hashes = await readHashes(source, level, n, expected.length, remarks)
    hashes?.forEach((hash, i) => {
      if (equalBytes(hash, expected[i]!)) return
      remarks.problem(
        'ERR_AUDIT_TILE',
        `${tilePath(level, n)} slot ${i}`,
        'The tile differs from the one that the leaves give.',
      )
    })
  }
}

/** Every stored partial must be a prefix of a larger file of the same tile; otherwise it is redundant and different. */
async function comparePartials(source: TrailSource, treeSize: number, remarks: Remarks): Promise<void> {
  const largest = new Map<string, { path: string; width: number }>()
  const partials: { path: string; tile: string; width: number }[] = []
  for (const path of await source.list()) {
    const parsed = parseTrailTile(path)
    if (parsed === undefined) continue
    const { tile, width } = parsed
    const before = largest.get(tile)
    if (before === undefined || before.width < width) largest.set(tile, { path, width })
    if (width < tileWidth) partials.push({ path, tile, width })
  }
  for (const [tile, { path, width }] of largest) {
    const covered = coveredWidth(tile, treeSize)
    if (width <= covered) continue
    remarks.finding('beyond the checkpoint', path, `Only the first ${covered} items are covered by the checkpoint yet.`)
  }
  for (const { path, tile } of partials) {
    const whole = largest.get(tile)!
    if (whole.path === path) continue
    const [part, full] = [await source.read(path), await source.read(whole.path)]
    if (part === undefined || full === undefined || !equalBytes(part, full.subarray(0, part.length))) {
      remarks.finding(
        'redundant file differs',
        path,
        `It is no prefix of ${whole.path}; verifiers use the larger file.`,
      )
    }
  }
}

/** How many items of the tile with this full path a tree of `treeSize` has. */
function coveredWidth(tile: string, treeSize: number): number {
  const parsed = parseTilePath(tile)
  const level = parsed.kind === 'hashes' ? parsed.level : 0
  const items = Math.floor(treeSize / tileWidth ** level)
  return Math.max(0, Math.min(tileWidth, items - parsed.index * tileWidth))
}

function parseTrailTile(path: string): { tile: string; width: number } | undefined {
  if (!path.startsWith('tile/')) return undefined
  try {
    const parsed = parseTilePath(path)
    if (!('width' in parsed)) return undefined
    return { tile: path.replace(/\.p\/\d+$/, ''), width: parsed.width }
  } catch (error) {
    // Not the path of a tile; files that do not belong are reported by the audit as a whole.
    if (error instanceof DecodeError) return undefined
    throw error
  }
}

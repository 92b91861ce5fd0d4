/**
 * The trail edge (docs/formats/snapshot.md): what a snapshot carries of the trail, so that a replica can append,
 * publish and prove without the files of older leaves. Proofs about a leaf need, to its left, only hashes in the last
 * tile of each level.
 */
import { decode, DecodeError, encode, equalBytes, VerificationError } from '@cipherlog/core'
import {
  isSnapshotEdge,
  snapshotEdgeKeys,
  snapshotLeaf,
  trailFromOf,
  type SnapshotLeaf,
  type SnapshotManifest,
  type SnapshotPair,
} from '@cipherlog/format'
import { CompactRange, rootFromTiles } from '@cipherlog/merkle/tree'
import { leafHash, tileWidthMax } from '@cipherlog/merkle/verify'
import { leafProblem } from './check-leaf.ts'
import { hashBytes, hashRow } from './tile-row.ts'
import { type TrailStore } from './trail-store.ts'

/** A tile of the edge: its hashes as far as the tree has them. */
interface EdgeTile {
  readonly level: number
  readonly index: number
  readonly width: number
}

/** The edge of a tree, verified against its root. */
export interface TrailEdge {
  readonly from: number
  /** Of every level that has any, from 0 on. */
  readonly tiles: readonly (EdgeTile & { readonly hashes: Uint8Array })[]
  /** Records of leaf `from` and those after it. */
  readonly entries: readonly Uint8Array[]
}

/** The tile of each level above 0 that covers the first leaf of the edge, unless the tree has none of its hashes. */
function edgeTiles(treeSize: number): EdgeTile[] {
  const from = trailFromOf(treeSize)
  const tiles: EdgeTile[] = []
  for (let level = 1; tileWidthMax ** level <= treeSize; level++) {
    const index = Math.floor(from / tileWidthMax ** (level + 1))
    const width = Math.min(tileWidthMax, Math.floor(treeSize / tileWidthMax ** level) - index * tileWidthMax)
    if (width > 0) tiles.push({ level, index, width })
  }
  return tiles
}

/** The pairs of the edge at `treeSize`, a batch record's size that `trail` has reached. */
export async function* trailEdge(trail: TrailStore, treeSize: number): AsyncGenerator<SnapshotPair> {
  for (const { level, index, width } of edgeTiles(treeSize)) {
    yield [snapshotEdgeKeys.tile(level), await trail.readTile(level, index, width)]
  }
  for (let leaf = trailFromOf(treeSize); leaf < treeSize; leaf++) {
    const entry = await trail.readEntry(leaf)
    const parts = { entry, signed: await trail.readSigned(leaf), body: await trail.readBody(leaf) }
    yield [snapshotEdgeKeys.leaf(leaf), encode(snapshotLeaf, parts)]
  }
}

/**
 * Reads the edge from the stream of a snapshot, and no further, and verifies all of it.
 * @param onLeaf - given each leaf in turn before the whole of it is verified.
 * @throws {@link VerificationError} `ERR_SNAPSHOT_TRAIL`.
 */
export async function readTrailEdge(
  { treeSize, rootHash, batchRecord }: SnapshotManifest,
  pairs: AsyncIterable<SnapshotPair>,
  onLeaf: (leaf: SnapshotLeaf) => Promise<void> = () => Promise.resolve(),
): Promise<TrailEdge> {
  const from = trailFromOf(treeSize)
  const expected = edgeTiles(treeSize)
  const tiles: (EdgeTile & { hashes: Uint8Array })[] = []
  const entries: Uint8Array[] = []
  for await (const [key, value] of pairs) {
    if (!isSnapshotEdge(key)) break
    const tile = expected[tiles.length]
    if (tile !== undefined) {
      if (!equalBytes(key, snapshotEdgeKeys.tile(tile.level)) || value.length !== tile.width * hashBytes) {
        throw bad(`has no tile of level ${tile.level} with ${tile.width} hashes`)
      }
      tiles.push({ ...tile, hashes: value.slice() })
      continue
    }
    const number = from + entries.length
    if (number >= treeSize || !equalBytes(key, snapshotEdgeKeys.leaf(number))) throw bad('has a key that is none of it')
    const leaf = decodeLeaf(value)
    const problem = leafProblem(leaf)
    if (problem !== undefined) throw bad(`has a bad leaf ${number}: ${problem}`)
    entries.push(leaf.entry.slice())
    await onLeaf(leaf)
  }
  if (from + entries.length !== treeSize) throw bad('lacks leaves')
  if (!equalBytes(entries.at(-1)!, batchRecord)) throw bad('does not end with the batch record of the manifest')
  const all = [{ level: 0, index: from / tileWidthMax, width: entries.length, hashes: hashesOf(entries) }, ...tiles]
  await verifyTiles(all, treeSize, rootHash)
  return { from, tiles: all, entries }
}

function hashesOf(entries: readonly Uint8Array[]): Uint8Array {
  const hashes = new Uint8Array(entries.length * hashBytes)
  entries.forEach((entry, at) => hashes.set(leafHash(entry), at * hashBytes))
  return hashes
}

/** Full tiles must be what the level above says of them, and the others fold to the root. */
async function verifyTiles(tiles: TrailEdge['tiles'], treeSize: number, rootHash: Uint8Array): Promise<void> {
  for (const { level, index, width, hashes } of tiles) {
    if (width < tileWidthMax) continue
    const above = tiles.find((tile) => tile.level === level + 1)!
    const at = (index - above.index * tileWidthMax) * hashBytes
    if (!equalBytes(rootOfTile(hashes), above.hashes.subarray(at, at + hashBytes))) {
      throw bad(`has another tile of level ${level} than the level above says`)
    }
  }
  const root = await rootFromTiles(treeSize, (level) => tiles.find((tile) => tile.level === level)!.hashes)
  if (!equalBytes(root, rootHash)) throw bad('does not have the root of the manifest')
}

/** The hash of a full tile in the level above. */
export function rootOfTile(hashes: Uint8Array): Uint8Array {
  const range = new CompactRange()
  for (const hash of hashRow(0).parse(hashes)) range.append(hash)
  return range.root()
}

function decodeLeaf(bytes: Uint8Array): SnapshotLeaf {
  try {
    return decode(snapshotLeaf, bytes)
  } catch (error) {
    if (error instanceof DecodeError) throw bad(`has a malformed leaf: ${error.message}`)
    throw error
  }
}

function bad(reason: string): VerificationError {
  return new VerificationError(
    'ERR_SNAPSHOT_TRAIL',
    `The trail edge of the snapshot ${reason}; discard the snapshot and fetch it elsewhere.`,
    { details: { reason } },
  )
}

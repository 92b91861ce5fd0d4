/**
 * Inclusion and consistency proofs, and roots of older sizes, read from tiles (RFC 6962 §2.1.1 and §2.1.2).
 *
 * A proof names ranges of leaves; each range's root is folded from stored nodes. Tiles are trusted here: a damaged
 * one gives a proof that fails to verify, so whoever hands proofs out verifies them against the checkpoint first.
 */
import { DecodeError } from '@cipherlog/core'
import { emptyRoot, hashBytes, nodeHash } from '../verify/hashing.ts'
import { tileWidthMax } from '../verify/tile-path.ts'
import { tileBytes, tileHeight, tileWidth } from './tile-hashes.ts'

/**
 * Reads a tile: at least its first `width` hashes of 32 bytes. `width` is what the tile has at the proof's tree
 * size; a reader may answer with the full tile. Called once per tile and proof.
 */
export type ReadTile = (tileLevel: number, tileIndex: number, width: number) => Uint8Array | Promise<Uint8Array>

/** Leaves begin … end − 1; `begin` is a multiple of the largest power of two below the range's length, or 0. */
interface Range {
  readonly begin: number
  readonly end: number
}

/**
 * The inclusion proof of a leaf in the tree of `treeSize` leaves, its sibling first.
 * @throws RangeError if there is no such leaf.
 * @throws {@link DecodeError} `ERR_DECODE_TILE` if a tile is too short.
 */
export async function inclusionProof(leafIndex: number, treeSize: number, readTile: ReadTile): Promise<Uint8Array[]> {
  if (!Number.isSafeInteger(treeSize) || !Number.isSafeInteger(leafIndex) || leafIndex < 0 || leafIndex >= treeSize) {
    throw new RangeError(`there is no leaf ${leafIndex} in a tree of size ${treeSize}`)
  }
  const siblings: Range[] = []
  let range: Range = { begin: 0, end: treeSize }
  while (range.end - range.begin > 1) {
    const [left, right] = halves(range)
    if (leafIndex < right.begin) {
      siblings.unshift(right)
      range = left
    } else {
      siblings.unshift(left)
      range = right
    }
  }
  return rootsOf(siblings, treeSize, readTile)
}

/**
 * The consistency proof from the tree of `size1` to that of `size2` leaves; empty for equal sizes and for size1 = 0.
 * @throws RangeError unless 0 ≤ size1 ≤ size2.
 * @throws {@link DecodeError} `ERR_DECODE_TILE` if a tile is too short.
 */
export async function consistencyProof(size1: number, size2: number, readTile: ReadTile): Promise<Uint8Array[]> {
  if (!Number.isSafeInteger(size1) || !Number.isSafeInteger(size2) || size1 < 0 || size1 > size2) {
    throw new RangeError(`a tree of size ${size2} cannot extend one of size ${size1}`)
  }
  if (size1 === 0 || size1 === size2) return []
  const nodes: Range[] = []
  let range: Range = { begin: 0, end: size2 }
  // Down to the subtree that ends where the old tree ends; RFC 6962 calls this SUBPROOF.
  while (range.end !== size1) {
    const [left, right] = halves(range)
    if (size1 <= left.end) {
      nodes.unshift(right)
      range = left
    } else {
      nodes.unshift(left)
      range = right
    }
  }
  // That subtree is the whole old tree if it starts at 0, and then the verifier has its root.
  if (range.begin !== 0) nodes.unshift(range)
  return rootsOf(nodes, size2, readTile)
}

/** The root of the tree's first `treeSize` leaves. @throws {@link DecodeError} `ERR_DECODE_TILE`. */
export async function rootFromTiles(treeSize: number, readTile: ReadTile): Promise<Uint8Array> {
  if (!Number.isSafeInteger(treeSize) || treeSize < 0) throw new RangeError(`no tree has ${treeSize} leaves`)
  if (treeSize === 0) return emptyRoot.slice()
  return (await rootsOf([{ begin: 0, end: treeSize }], treeSize, readTile))[0]!
}

/** Roots of ranges, in order, reading every tile once. */
async function rootsOf(ranges: readonly Range[], treeSize: number, readTile: ReadTile): Promise<Uint8Array[]> {
  const tiles = new Map<string, Promise<Uint8Array>>()
  const tile = (tileLevel: number, tileIndex: number): Promise<Uint8Array> => {
    const key = `${tileLevel}/${tileIndex}`
    let bytes = tiles.get(key)
    if (bytes === undefined) {
      bytes = checkedTile(tileLevel, tileIndex, tileWidth(tileLevel, tileIndex, treeSize), readTile)
      tiles.set(key, bytes)
    }
    return bytes
  }
  return Promise.all(ranges.map((range) => rootOf(range, tile)))
}

type Tile = (tileLevel: number, tileIndex: number) => Promise<Uint8Array>

async function rootOf(range: Range, tile: Tile): Promise<Uint8Array> {
  const leaves = range.end - range.begin
  const level = perfectLevel(leaves)
  if (level !== undefined) return nodeFromTile(level, range.begin / leaves, tile)
  const [left, right] = await Promise.all(halves(range).map((half) => rootOf(half, tile)))
  return nodeHash(left!, right!)
}

/** A node of the tree, folded from the hashes below it in its tile: 2^(level mod 8) of them, so all in one tile. */
async function nodeFromTile(level: number, index: number, tile: Tile): Promise<Uint8Array> {
  const depth = level % tileHeight
  const first = index * 2 ** depth
  const bytes = await tile((level - depth) / tileHeight, Math.floor(first / tileWidthMax))
  const slot = first % tileWidthMax
  let hashes: Uint8Array[] = []
  for (let i = slot; i < slot + 2 ** depth; i++) hashes.push(bytes.slice(i * hashBytes, (i + 1) * hashBytes))
  while (hashes.length > 1) {
    const parents: Uint8Array[] = []
    for (let i = 0; i < hashes.length; i += 2) parents.push(nodeHash(hashes[i]!, hashes[i + 1]!))
    hashes = parents
  }
  return hashes[0]!
}

async function checkedTile(level: number, index: number, width: number, readTile: ReadTile): Promise<Uint8Array> {
  const bytes = await readTile(level, index, width)
  if (bytes.length < tileBytes(width)) {
    throw new DecodeError(
      'ERR_DECODE_TILE',
      `Tile ${level}/${index} has ${bytes.length} bytes instead of ${tileBytes(width)}; restore it from another replica.`,
      { details: { level, index, width, bytes: bytes.length } },
    )
  }
  return bytes
}

/** The level of a subtree with this many leaves if it is perfect. By halving: `Math.log2` rounds 2^50 − 1 to 50. */
function perfectLevel(leaves: number): number | undefined {
  let level = 0
  let rest = leaves
  for (; rest % 2 === 0; rest /= 2) level++
  return rest === 1 ? level : undefined
}

/** RFC 6962 splits n > 1 leaves at the largest power of two smaller than n. */
function halves({ begin, end }: Range): [Range, Range] {
  let split = 1
  while (split * 2 < end - begin) split *= 2
  return [
    { begin, end: begin + split },
    { begin: begin + split, end },
  ]
}

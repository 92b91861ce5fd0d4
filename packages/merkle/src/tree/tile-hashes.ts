/**
 * Which nodes of the tree are stored in tiles, and where (https://c2sp.org/tlog-tiles).
 *
 * Tile level L holds the nodes of tree level 8·L, 256 to a tile; the nodes between are recomputed from them.
 */
import { hashBytes } from '../verify/hashing.ts'
import { tileWidthMax } from '../verify/tile-path.ts'

/** Tree levels that one tile spans. */
export const tileHeight = 8

export interface TileSlot {
  readonly tileLevel: number
  readonly tileIndex: number
  /** Which hash of the tile, 0 to 255. */
  readonly slot: number
}

/** Where the node (`level`, `index`) of the tree stands, or undefined if tiles do not hold its level. */
export function tileSlot(level: number, index: number): TileSlot | undefined {
  if (level % tileHeight !== 0) return undefined
  return { tileLevel: level / tileHeight, tileIndex: Math.floor(index / tileWidthMax), slot: index % tileWidthMax }
}

/** How many hashes a tile has in a tree of `treeSize` leaves: 0 (it does not exist) to 256 (it is full). */
export function tileWidth(tileLevel: number, tileIndex: number, treeSize: number): number {
  const nodes = Math.floor(treeSize / tileWidthMax ** tileLevel)
  return Math.max(0, Math.min(tileWidthMax, nodes - tileIndex * tileWidthMax))
}

/** Bytes of a tile with `width` hashes. */
export function tileBytes(width: number): number {
  return width * hashBytes
}

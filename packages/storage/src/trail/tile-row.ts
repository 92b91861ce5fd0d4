/**
 * One row of tiles: the hashes of a level, or the leaf records. Keeps in memory what is not in a full tile on disk.
 *
 * Invariant: `first` is a multiple of 256, and every item below it is in a full tile that has been written.
 */
import { concatBytes } from '@cipherlog/core'
import { entriesPath, formatEntryBundle, parseEntryBundle, tilePath, tileWidthMax } from '@cipherlog/merkle/verify'

export const hashBytes = 32

export interface TileRowFormat {
  /** Leaves that one item covers. */
  readonly span: number
  path(index: number, width?: number): string
  format(items: readonly Uint8Array[]): Uint8Array
  /** The items of a tile; throws if it is malformed. */
  parse(bytes: Uint8Array): Uint8Array[]
}

/** The first tile of a row that a trail from leaf `trailFrom` on has: the one that covers it. */
export function firstTile({ span }: TileRowFormat, trailFrom: number): number {
  return Math.floor(trailFrom / (span * tileWidthMax))
}

/** The hashes of tile level `level`. */
export function hashRow(level: number): TileRowFormat {
  return {
    span: tileWidthMax ** level,
    path: (index, width) => tilePath(level, index, width),
    format: (items) => concatBytes(...items),
    parse(bytes) {
      if (bytes.length % hashBytes !== 0) throw new RangeError(`a tile of ${bytes.length} bytes`)
      return Array.from({ length: bytes.length / hashBytes }, (_, at) =>
        bytes.subarray(at * hashBytes, (at + 1) * hashBytes),
      )
    },
  }
}

/** The leaf records. */
export const entriesRow: TileRowFormat = {
  span: 1,
  path: entriesPath,
  format: formatEntryBundle,
  parse: parseEntryBundle,
}

export class TileRow {
  readonly format: TileRowFormat
  #first: number
  #items: Uint8Array[]

  /** @param items - those from number `first` on, a multiple of 256. */
  constructor(format: TileRowFormat, first = 0, items: Uint8Array[] = []) {
    this.format = format
    this.#first = first
    this.#items = items
  }

  /** Number of the first item in memory. */
  get first(): number {
    return this.#first
  }

  /** Number of items, written or not. */
  get count(): number {
    return this.#first + this.#items.length
  }

  push(item: Uint8Array): void {
    this.#items.push(item)
  }

  /** How many items a tree of `treeSize` leaves has here. */
  countAt(treeSize: number): number {
    return Math.floor(treeSize / this.format.span)
  }

  /** Item `number`, or undefined if it is only on disk. */
  item(number: number): Uint8Array | undefined {
    return this.#items[number - this.#first]
  }

  /** The first `width` items of a tile that is in memory. */
  tile(index: number, width: number): Uint8Array {
    const from = index * tileWidthMax - this.#first
    return this.format.format(this.#items.slice(from, from + width))
  }

  /** Forgets full tiles below item `count`: they have been written. */
  release(count: number): void {
    const first = Math.floor(count / tileWidthMax) * tileWidthMax
    this.#items.splice(0, first - this.#first)
    this.#first = first
  }
}

/**
 * The tree of a trail, rebuilt from its leaf records, tile by tile: level 0 must hold their hashes, every upper tile
 * what follows from them, and the root must be the signed one.
 *
 * Memory: one tile of each level, however long the trail.
 */
import { equalBytes, toHex } from '@cipherlog/core'
import { CompactRange, tileWidth } from '@cipherlog/merkle/tree'
import { hashBytes, leafHash, tileWidthMax } from '@cipherlog/merkle/verify'
import { type Remarks } from './report.ts'
import { compareFiles, hasTile, hashRow, readTile, recordRow, type TileItems } from './tile-files.ts'
import { type TrailReader } from './trail-reader.ts'

/** A root that somebody vouches for, whoever it is. */
export interface KnownRoot {
  readonly size: number
  /** 32 bytes. */
  readonly rootHash: Uint8Array
  /** Who, in a sentence: "The checkpoint that …". */
  readonly source: string
  readonly where: string
}

/** What both passes say of a root. */
export const wrongRoot = 'The leaf records and tiles fit each other, but they do not add up to the signed root.'

/** Nodes of a tile level that no file has been compared with yet. */
interface OpenTile {
  index: number
  nodes: Uint8Array[]
}

export class TreeCheck {
  readonly #reader: TrailReader
  readonly #remarks: Remarks
  readonly #size: number
  readonly #rootHash: Uint8Array
  readonly #known = new Map<number, KnownRoot[]>()
  /** Undefined once a leaf is missing: from there on nothing follows. */
  #tree: CompactRange | undefined = new CompactRange()
  /** By tile level, from 1. */
  readonly #upper = new Map<number, OpenTile>()
  #damaged = false

  constructor(reader: TrailReader, size: number, rootHash: Uint8Array, known: readonly KnownRoot[]) {
    this.#reader = reader
    this.#remarks = reader.remarks
    this.#size = size
    this.#rootHash = rootHash
    for (const root of known) this.#known.set(root.size, [...(this.#known.get(root.size) ?? []), root])
  }

  /** Whether a file was found to be damaged, so that records cannot be trusted to be those that were signed. */
  get damaged(): boolean {
    return this.#damaged
  }

  /**
   * Checks level 0 and the leaf records of tile `index`, the next one.
   * @returns its leaf records, undefined if there are none to read; `end` if nothing from here on exists.
   */
  async addTile(index: number): Promise<readonly Uint8Array[] | undefined | 'end'> {
    const first = index * tileWidthMax
    const width = Math.min(tileWidthMax, this.#size - first)
    const leaves = hashRow(0)
    if (!hasTile(this.#reader, recordRow, index, width) && !hasTile(this.#reader, leaves, index, width)) {
      const message = `The checkpoint covers ${this.#size} leaves, but leaves ${first} to ${first + width - 1} are not all here; copy the rest too.`
      this.#problem('ERR_AUDIT_MISSING', recordRow.path(index, width), message)
      this.#tree = undefined
      return 'end'
    }
    const before = this.#remarks.problemCount
    const records = await readTile(this.#reader, recordRow, index, width)
    const hashes = await readTile(this.#reader, leaves, index, width)
    if (this.#remarks.problemCount > before) this.#damaged = true

    const computed = records?.items.map(leafHash)
    const { agreed, recordsFit } =
      computed && hashes
        ? await this.#agree(index, computed, records!, hashes)
        : { agreed: computed ?? hashes?.items, recordsFit: true }
    // Held against what is right, as far as that is known: damage that is named already should not be named again.
    if (records !== undefined && recordsFit) await compareFiles(this.#reader, recordRow, index, width, records)
    if (hashes !== undefined) {
      await compareFiles(this.#reader, leaves, index, width, { path: hashes.path, items: agreed! })
    }
    if (agreed === undefined) this.#tree = undefined
    for (const hash of agreed ?? []) await this.#append(hash)
    return records?.items
  }

  /** The leaf hashes that records and tile agree on; where they don't, those that fit what is above them. */
  async #agree(
    index: number,
    computed: readonly Uint8Array[],
    records: TileItems,
    hashes: TileItems,
  ): Promise<{ agreed: readonly Uint8Array[]; recordsFit: boolean }> {
    const differing = computed.flatMap((hash, i) => (equalBytes(hash, hashes.items[i]!) ? [] : [i]))
    if (differing.length === 0) return { agreed: computed, recordsFit: true }
    const fits = await this.#fits(index, computed, hashes.items)
    const changed =
      fits === 'records'
        ? `${hashes.path} was changed: the record fits the rest of the tree`
        : fits === 'hashes'
          ? `the record was changed: its hash in ${hashes.path} fits the rest of the tree`
          : 'at least one of the two was changed'
    for (const i of differing) {
      const leaf = index * tileWidthMax + i
      const message = `The record in ${records.path} does not have the hash in ${hashes.path}; ${changed}.`
      this.#problem('ERR_AUDIT_LEAF', `leaf ${leaf}`, message)
    }
    return fits === 'hashes'
      ? { agreed: hashes.items, recordsFit: false }
      : { agreed: computed, recordsFit: fits === 'records' }
  }

  /** Which of two versions of a tile leads to the hash above it: of a full tile in level 1, else the root. */
  async #fits(
    index: number,
    computed: readonly Uint8Array[],
    stored: readonly Uint8Array[],
  ): Promise<'records' | 'hashes' | undefined> {
    if (this.#tree === undefined) return undefined
    let above: Uint8Array | undefined
    let start = this.#tree
    if (computed.length === tileWidthMax) {
      start = new CompactRange()
      const level1 = hashRow(1)
      const parent = Math.floor(index / tileWidthMax)
      const width = tileWidth(1, parent, this.#size)
      if (!hasTile(this.#reader, level1, parent, width)) return undefined
      above = (await readTile(this.#reader, level1, parent, width))?.items[index % tileWidthMax]
    } else {
      above = this.#rootHash
    }
    if (above === undefined) return undefined
    const rootOf = (hashes: readonly Uint8Array[]): Uint8Array => {
      const tree = start.clone()
      for (const hash of hashes) tree.append(hash)
      return tree.root()
    }
    return equalBytes(rootOf(computed), above) ? 'records' : equalBytes(rootOf(stored), above) ? 'hashes' : undefined
  }

  async #append(hash: Uint8Array): Promise<void> {
    const tree = this.#tree
    if (tree === undefined) return
    const full: [number, OpenTile][] = []
    tree.append(hash, (treeLevel, node, nodeHash) => {
      if (treeLevel === 0 || treeLevel % 8 !== 0) return
      const level = treeLevel / 8
      const open = this.#upper.get(level) ?? { index: 0, nodes: [] }
      this.#upper.set(level, open)
      open.nodes.push(nodeHash)
      if ((node + 1) % tileWidthMax !== 0) return
      full.push([level, open])
      this.#upper.set(level, { index: open.index + 1, nodes: [] })
    })
    for (const [level, open] of full) await this.#compareUpper(level, open)
    for (const known of this.#known.get(tree.size) ?? []) this.#compareRoot(known, tree.root())
  }

  #compareRoot({ rootHash, source, where, size }: KnownRoot, root: Uint8Array): void {
    if (equalBytes(root, rootHash) || this.#damaged) return
    this.#remarks.problem(
      'ERR_AUDIT_FORK',
      where,
      `${source} names another root for size ${size} (${toHex(rootHash)}) than this trail has (${toHex(root)}): history was rewritten; keep both.`,
    )
  }

  /** The last tiles of each upper level, and the root. */
  async finish(): Promise<void> {
    for (const [level, open] of this.#upper) if (open.nodes.length > 0) await this.#compareUpper(level, open)
    // A damaged file has been named already; that the root differs is then no news.
    if (this.#tree === undefined || this.#damaged || equalBytes(this.#tree.root(), this.#rootHash)) return
    this.#remarks.problem('ERR_AUDIT_ROOT', 'checkpoint', wrongRoot)
  }

  /** @param open - what is known of the tile; less than its width if leaves behind it are missing. */
  async #compareUpper(level: number, { index, nodes }: OpenTile): Promise<void> {
    const row = hashRow(level)
    const width = tileWidth(level, index, this.#size)
    const before = this.#remarks.problemCount
    const found = await readTile(this.#reader, row, index, width)
    if (found !== undefined) {
      await compareFiles(this.#reader, row, index, width, found)
      nodes.forEach((node, slot) => {
        if (equalBytes(node, found.items[slot]!)) return
        const leaves = tileWidthMax ** level
        const first = (index * tileWidthMax + slot) * leaves
        const message = `Its ${hashBytes} bytes differ from the root of leaves ${first} to ${first + leaves - 1}.`
        this.#remarks.problem('ERR_AUDIT_TILE', `${found.path} slot ${slot}`, message)
      })
    }
    if (this.#remarks.problemCount > before) this.#damaged = true
  }

  #problem(code: string, where: string, message: string): void {
    this.#damaged = true
    this.#remarks.problem(code, where, message)
  }
}

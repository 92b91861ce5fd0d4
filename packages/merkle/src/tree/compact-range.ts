/**
 * The compact range of a growing RFC 6962 tree: the roots of its perfect subtrees, largest first, and nothing else.
 *
 * Appending costs O(log n) hashes and hands out every node of the tree once, which is what tiles are made of.
 *
 * Invariant: one peak for each 1 in the binary form of `size`, the most significant first.
 */
import { concatBytes, DecodeError, readU64, writeU64 } from '@cipherlog/core'
import { emptyRoot, hashBytes, nodeHash } from '../verify/hashing.ts'

/** Told of each perfect subtree when its last leaf comes: level 0 is the leaf itself, `index` counts at that level. */
export type VisitNode = (level: number, index: number, hash: Uint8Array) => void

const sizeBytes = 8

export class CompactRange {
  #size = 0
  #peaks: Uint8Array[] = []

  /**
   * The range of a tree of `size` leaves.
   * @param peaks - roots of its perfect subtrees, largest first, 32 bytes each; copied.
   * @throws RangeError if their number is not the one that `size` demands.
   */
  static fromPeaks(size: number, peaks: readonly Uint8Array[]): CompactRange {
    if (!Number.isSafeInteger(size) || size < 0) throw new RangeError(`no tree has ${size} leaves`)
    if (peaks.length !== onesOf(size) || peaks.some((peak) => peak.length !== hashBytes)) {
      throw new RangeError(`a tree of ${size} leaves has ${onesOf(size)} peaks of ${hashBytes} bytes`)
    }
    const range = new CompactRange()
    range.#size = size
    range.#peaks = peaks.map((peak) => peak.slice())
    return range
  }

  /**
   * The range that {@link toBytes} wrote.
   * @throws {@link DecodeError} `ERR_DECODE_COMPACT_RANGE` if the length is not the one that the size demands;
   * `ERR_DECODE_LIMIT` if the size is above 2^53−1.
   */
  static fromBytes(bytes: Uint8Array): CompactRange {
    if (bytes.length < sizeBytes) throw malformed()
    const size = readU64(bytes, 0)
    if (bytes.length !== sizeBytes + hashBytes * onesOf(size)) throw malformed()
    const peaks: Uint8Array[] = []
    for (let at = sizeBytes; at < bytes.length; at += hashBytes) peaks.push(bytes.slice(at, at + hashBytes))
    return CompactRange.fromPeaks(size, peaks)
  }

  /** Number of leaves. */
  get size(): number {
    return this.#size
  }

  /** Roots of the perfect subtrees, largest first; copies. */
  get peaks(): Uint8Array[] {
    return this.#peaks.map((peak) => peak.slice())
  }

  /** Appends a leaf. If `visit` throws, the range stays as it was. @throws RangeError unless it is 32 bytes. */
  append(leafHash: Uint8Array, visit?: VisitNode): void {
    if (leafHash.length !== hashBytes) throw new RangeError(`a leaf hash is ${hashBytes} bytes, not ${leafHash.length}`)
    let hash: Uint8Array = leafHash.slice()
    let index = this.#size
    let peaks = this.#peaks.length
    visit?.(0, index, hash)
    for (let level = 1; index % 2 === 1; level++) {
      hash = nodeHash(this.#peaks[--peaks]!, hash)
      index = (index - 1) / 2
      visit?.(level, index, hash)
    }
    this.#peaks.length = peaks
    this.#peaks.push(hash)
    this.#size++
  }

  /** The root, 32 bytes: the peaks folded from the right (RFC 6962 §2.1), SHA-256 of nothing if there are none. */
  root(): Uint8Array {
    return fold(this.#peaks) ?? emptyRoot.slice()
  }

  /**
   * Root of the leaves since the last multiple of 256 as a tree of their own, or undefined if there are none: the
   * fold of the peaks below level 8. The aligned start makes these peaks nodes of that tree too.
   */
  tailRoot(): Uint8Array | undefined {
    const below = onesOf(this.#size % 256)
    return fold(this.#peaks.slice(this.#peaks.length - below))
  }

  /** u64 size, big-endian, then the peaks. */
  toBytes(): Uint8Array {
    const size = new Uint8Array(sizeBytes)
    writeU64(size, 0, this.#size)
    return concatBytes(size, ...this.#peaks)
  }

  /** An independent copy. */
  clone(): CompactRange {
    return CompactRange.fromPeaks(this.#size, this.#peaks)
  }
}

/** The last two become one until one is left; undefined of none. Always a fresh array. */
function fold(peaks: readonly Uint8Array[]): Uint8Array | undefined {
  let root: Uint8Array | undefined = peaks.at(-1)?.slice()
  if (root === undefined) return undefined
  for (let i = peaks.length - 2; i >= 0; i--) root = nodeHash(peaks[i]!, root)
  return root
}

/** How many ones the binary form has; sizes may exceed 32 bits. */
function onesOf(size: number): number {
  let ones = 0
  for (let rest = size; rest > 0; rest = Math.floor(rest / 2)) ones += rest % 2
  return ones
}

function malformed(): DecodeError {
  return new DecodeError('ERR_DECODE_COMPACT_RANGE', 'The bytes are not a compact range; restore them from a snapshot.')
}

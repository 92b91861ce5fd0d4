/**
 * The RFC 6962 tree over cell digests (state root algorithm 1). Its leaves change in place, so it keeps the root of
 * every perfect subtree: a batch that touches d of n cells costs O(d log n) hashes, not n.
 *
 * Invariant: `levels[h][i]` is the root over leaves i·2^h to (i+1)·2^h − 1, for every i for which these exist.
 */
import { invariant } from '@cipherlog/core'
import { leafHash, nodeHash } from '@cipherlog/merkle/verify'

export class CellTree {
  readonly #levels: Uint8Array[][] = [[]]

  /** Number of leaves. */
  get size(): number {
    return this.#levels[0]!.length
  }

  /** Sets the digest (32 bytes) of a cell: a known one's, or the next one's. */
  set(number: number, digest: Uint8Array): void {
    invariant(number <= this.size, 'A cell was added out of order.', { number })
    this.#levels[0]![number] = leafHash(digest)
    let i = number
    for (let height = 0; ; height++) {
      const level = this.#levels[height]!
      const left = i - (i % 2)
      if (left + 1 >= level.length) return
      i = left / 2
      const above = (this.#levels[height + 1] ??= [])
      above[i] = nodeHash(level[left]!, level[left + 1]!)
    }
  }

  /** 32 bytes, or undefined while there are no leaves. */
  root(): Uint8Array | undefined {
    return this.size === 0 ? undefined : this.#root(0, this.size)
  }

  /** Inclusion path of a leaf, its nearest sibling first (RFC 6962 §2.1.1). */
  path(number: number): Uint8Array[] {
    const path: Uint8Array[] = []
    let from = 0
    let to = this.size
    while (to - from > 1) {
      const split = from + splitPoint(to - from)
      path.unshift(number < split ? this.#root(split, to) : this.#root(from, split))
      if (number < split) to = split
      else from = split
    }
    return path
  }

  /** RFC 6962 §2.1 over leaves `from` to `to` − 1; splits of the whole tree only, so perfect ones are aligned. */
  #root(from: number, to: number): Uint8Array {
    const size = to - from
    const height = 31 - Math.clz32(size)
    if (size === 2 ** height) return this.#levels[height]![from / size]!
    const split = from + splitPoint(size)
    return nodeHash(this.#root(from, split), this.#root(split, to))
  }
}

/** The largest power of two below `size`. */
function splitPoint(size: number): number {
  return 2 ** (31 - Math.clz32(size - 1))
}

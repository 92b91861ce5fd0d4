/**
 * The stream of a snapshot, pair by pair (docs/formats/snapshot.md).
 *
 * Invariant: keys ascend strictly, so a set of pairs has one stream.
 */
import { compareBytes, concatBytes, DecodeError, emptyBytes, readU32, writeU32 } from '@cipherlog/core'

/** A key has 1 to this many bytes, as in a state store. */
export const snapshotKeyBytesMax = 4096
/** As much as a record of the state may have when it is read back. */
export const snapshotValueBytesMax = 16 * 1024 * 1024

export type SnapshotPair = readonly [key: Uint8Array, value: Uint8Array]

const headBytes = 6

/** A pair as it stands in the stream. @throws RangeError for a key or value out of bounds. */
export function encodeSnapshotPair([key, value]: SnapshotPair): Uint8Array {
  if (key.length < 1 || key.length > snapshotKeyBytesMax || value.length > snapshotValueBytesMax) {
    throw new RangeError(`a pair of ${key.length} and ${value.length} bytes does not fit into a snapshot`)
  }
  const head = new Uint8Array(headBytes)
  head[0] = key.length >> 8
  head[1] = key.length
  writeU32(head, 2, value.length)
  return concatBytes(head, key, value)
}

/** Finds the pairs in the chunks of a stream, pushed in order. */
export class SnapshotPairReader {
  /** What does not make a whole pair yet, in order; joined once the pair is complete. */
  #parts: Uint8Array[] = []
  #available = 0
  #needed = headBytes
  #last: Uint8Array = emptyBytes
  #pairs = 0

  /** Pairs so far. */
  get pairs(): number {
    return this.#pairs
  }

  /** The pairs that `chunk` completes, as views. @throws DecodeError: the stream is no snapshot's. */
  push(chunk: Uint8Array): SnapshotPair[] {
    this.#parts.push(chunk)
    this.#available += chunk.length
    const pairs: SnapshotPair[] = []
    if (this.#available < this.#needed) return pairs
    const bytes = this.#parts.length === 1 ? chunk : concatBytes(...this.#parts)
    let at = 0
    for (;;) {
      this.#needed = headBytes
      if (bytes.length - at < headBytes) break
      const keyBytes = (bytes[at]! << 8) | bytes[at + 1]!
      const valueBytes = readU32(bytes, at + 2)
      if (keyBytes < 1 || keyBytes > snapshotKeyBytesMax || valueBytes > snapshotValueBytesMax) {
        fail('ERR_DECODE_LIMIT', `has a pair of ${keyBytes} and ${valueBytes} bytes`)
      }
      this.#needed = headBytes + keyBytes + valueBytes
      if (bytes.length - at < this.#needed) break
      const key = bytes.subarray(at + headBytes, at + headBytes + keyBytes)
      if (compareBytes(this.#last, key) >= 0) fail('ERR_DECODE_NOT_CANONICAL', 'has keys out of order')
      pairs.push([key, bytes.subarray(at + headBytes + keyBytes, at + this.#needed)])
      this.#last = key
      this.#pairs++
      at += this.#needed
    }
    this.#parts = at === bytes.length ? [] : [bytes.subarray(at)]
    this.#available = bytes.length - at
    return pairs
  }

  /** @throws DecodeError if the stream ends inside a pair. */
  end(): void {
    if (this.#available > 0) fail('ERR_DECODE_TRUNCATED', 'ends inside a pair')
  }
}

function fail(code: string, what: string): never {
  throw new DecodeError(code, `The snapshot ${what}; discard it and fetch another one.`)
}

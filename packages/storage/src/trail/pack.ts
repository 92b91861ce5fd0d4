/**
 * Packs, `tile/bundle/<N>` and `tile/body/<N>`: one growing file for 256 leaves. A table of 256 × (offset u32, length
 * u32), big-endian, from the start of the file, then the data in order of leaf. A slot without data is zero.
 *
 * Invariant: data is contiguous, with nothing between or after, so that a pack has one encoding.
 */
import { readU32, writeU32 } from '@cipherlog/core'

export const packSlots = 256
export const packTableBytes = packSlots * 8
/** A pack has at most 2^32 − 1 bytes, as its offsets do. */
export const packBytesMax = 0xffff_ffff

export interface PackSlot {
  /** From the start of the file; 0 if there is no data. */
  readonly offset: number
  readonly length: number
}

/** Slot `number` of a table. */
export function readSlot(table: Uint8Array, number: number): PackSlot {
  return { offset: readU32(table, number * 8), length: readU32(table, number * 8 + 4) }
}

/** The table of a pack that grows, and where its data ends. */
export class PackTable {
  /** 2,048 bytes. */
  readonly bytes: Uint8Array
  end: number

  constructor(bytes: Uint8Array = new Uint8Array(packTableBytes), end: number = packTableBytes) {
    this.bytes = bytes
    this.end = end
  }

  /** Gives slot `number` the next `length` bytes. @throws RangeError if the pack would be too large. */
  append(number: number, length: number): void {
    if (length === 0) return
    if (this.end + length > packBytesMax) throw new RangeError(`a pack has at most ${packBytesMax} bytes`)
    writeU32(this.bytes, number * 8, this.end)
    writeU32(this.bytes, number * 8 + 4, length)
    this.end += length
  }

  /** The first `leaves` slots of a table that was read back; undefined if they are not contiguous. */
  static prefix(table: Uint8Array, leaves: number): PackTable | undefined {
    const out = new PackTable()
    for (let number = 0; number < leaves; number++) {
      const { offset, length } = readSlot(table, number)
      if (offset !== (length === 0 ? 0 : out.end)) return undefined
      out.append(number, length)
    }
    return out
  }
}

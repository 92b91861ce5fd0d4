/**
 * Packs: `tile/bundle/<N>` and `tile/body/<N>`, 2,048 bytes of 256 × (offset u32, length u32) big-endian, then the
 * data of each leaf in order, with nothing between or after.
 */
import { DecodeError, readU32 } from '@cipherlog/core'

const slots = 256
const tableBytes = slots * 8

export interface Pack {
  /** What each of the leaves has; empty if nothing. Views into the file. */
  readonly slots: readonly Uint8Array[]
  /** Slots in use behind the last leaf that the checkpoint covers: a pack grows before a checkpoint does. */
  readonly slotsBeyond: number
}

/**
 * The first `leaves` slots of a pack.
 * @throws DecodeError `ERR_AUDIT_PACK` unless data is contiguous in leaf order and unused slots are zero.
 */
export function readPack(bytes: Uint8Array, leaves: number): Pack {
  if (bytes.length < tableBytes) throw malformed('its table is cut off')
  const out: Uint8Array[] = []
  let slotsBeyond = 0
  let next = tableBytes
  for (let slot = 0; slot < slots; slot++) {
    const offset = readU32(bytes, slot * 8)
    const length = readU32(bytes, slot * 8 + 4)
    if (length === 0) {
      if (offset !== 0) throw malformed(`slot ${slot} is empty but has an offset`)
      if (slot < leaves) out.push(new Uint8Array(0))
      continue
    }
    if (offset !== next || next + length > bytes.length)
      throw malformed(`slot ${slot} does not follow the one before it`)
    if (slot < leaves) out.push(bytes.subarray(offset, offset + length))
    else slotsBeyond++
    next += length
  }
  if (next !== bytes.length) throw malformed(`${bytes.length - next} bytes follow the last leaf`)
  return { slots: out, slotsBeyond }
}

function malformed(problem: string): DecodeError {
  return new DecodeError('ERR_AUDIT_PACK', `The pack is malformed: ${problem}.`)
}

/**
 * Packs: `tile/bundle/<N>` and `tile/body/<N>`, 2,048 bytes of 256 × (offset u32, length u32) big-endian, then the
 * data of each leaf in order, with nothing between or after.
 */
import { DecodeError, readU32 } from '@cipherlog/core'

const slots = 256
const tableBytes = slots * 8

/**
 * The slots of a pack of which the first `leaves` may be used. Views into `bytes`.
 * @throws DecodeError `ERR_AUDIT_PACK` unless data is contiguous in leaf order and unused slots are zero.
 */
export function readPack(bytes: Uint8Array, leaves: number): Uint8Array[] {
  if (bytes.length < tableBytes) throw malformed('its table is cut off')
  const out: Uint8Array[] = []
  let next = tableBytes
  for (let slot = 0; slot < slots; slot++) {
    const offset = readU32(bytes, slot * 8)
    const length = readU32(bytes, slot * 8 + 4)
    if (length === 0) {
      if (offset !== 0) throw malformed(`slot ${slot} is empty but has an offset`)
      if (slot < leaves) out.push(new Uint8Array(0))
      continue
    }
    if (slot >= leaves) throw malformed(`slot ${slot} is used, but the tree has no such leaf yet`)
    if (offset !== next || next + length > bytes.length)
      throw malformed(`slot ${slot} does not follow the one before it`)
    out.push(bytes.subarray(offset, offset + length))
    next += length
  }
  if (next !== bytes.length) throw malformed(`${bytes.length - next} bytes follow the last leaf`)
  return out
}

function malformed(problem: string): DecodeError {
  return new DecodeError('ERR_AUDIT_PACK', `The pack is malformed: ${problem}.`)
}

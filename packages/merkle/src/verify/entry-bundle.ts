/**
 * Entry bundles (https://c2sp.org/tlog-tiles): up to 256 leaf records, each as u16 big-endian length ‖ bytes.
 *
 * Not to be confused with a command bundle. A partial bundle is a prefix of the full one.
 */
import { DecodeError } from '@cipherlog/core'
import { tileWidthMax } from './tile-path.ts'

/** Bytes of an entry: what a u16 can say. */
export const entryBytesMax = 65_535

/**
 * The entries of a bundle, 1 to 256, as views of `bytes`.
 * @throws {@link DecodeError} `ERR_DECODE_ENTRY_BUNDLE` if it is empty, ends inside an entry, or has more than 256.
 */
export function parseEntryBundle(bytes: Uint8Array): Uint8Array[] {
  const entries: Uint8Array[] = []
  let at = 0
  while (at < bytes.length) {
    if (entries.length === tileWidthMax) throw malformed(`has bytes after its ${tileWidthMax}th entry`)
    if (at + 2 > bytes.length) throw malformed('ends inside a length')
    const end = at + 2 + ((bytes[at]! << 8) | bytes[at + 1]!)
    if (end > bytes.length) throw malformed('ends inside an entry')
    entries.push(bytes.subarray(at + 2, end))
    at = end
  }
  if (entries.length === 0) throw malformed('is empty')
  return entries
}

/** The bundle of 1 to 256 entries of at most 65,535 bytes. @throws RangeError. */
export function formatEntryBundle(entries: readonly Uint8Array[]): Uint8Array {
  if (entries.length < 1 || entries.length > tileWidthMax) {
    throw new RangeError(`an entry bundle has 1 to ${tileWidthMax} entries, not ${entries.length}`)
  }
  let length = 0
  for (const entry of entries) {
    if (entry.length > entryBytesMax) throw new RangeError(`an entry has at most ${entryBytesMax} bytes`)
    length += 2 + entry.length
  }
  const out = new Uint8Array(length)
  let at = 0
  for (const entry of entries) {
    out[at] = entry.length >> 8
    out[at + 1] = entry.length
    out.set(entry, at + 2)
    at += 2 + entry.length
  }
  return out
}

function malformed(what: string): DecodeError {
  return new DecodeError('ERR_DECODE_ENTRY_BUNDLE', `The entry bundle ${what}; fetch it again from another replica.`)
}

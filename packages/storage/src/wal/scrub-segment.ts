/**
 * Rereads a stretch of a segment that is not written any more: compares each header with its copy and mends the one
 * that is damaged, and compares each payload with its SHA-256.
 *
 * Invariant: writes only what the other copy says byte for byte, so that a crash in between leaves one good copy.
 */
import { hash } from 'node:crypto'
import { equalBytes, errorCode, toHex } from '@cipherlog/core'
import {
  readWalRecordHeader,
  walPayloadCrcBytes,
  type WalRecordHeader,
  walRecordKinds,
} from '@cipherlog/format/wal-record'
import { readable } from './readable.ts'
import { type Segment } from './segment.ts'

/** Where scrubbing goes on. */
export interface ScrubCursor {
  /** Sequence number of the next record. */
  readonly sequence: number
  readonly offset: number
}

export interface ScrubbedStretch {
  /** Undefined at the end of the segment. */
  readonly next: ScrubCursor | undefined
  readonly bytes: number
  readonly mended: number
  readonly headersLost: number
  /** Entries whose payload is not what their header says. */
  readonly damaged: readonly { readonly groupHex: string; readonly index: number; readonly offset: number }[]
}

export async function scrubSegment(segment: Segment, from: ScrubCursor, bytesMax: number): Promise<ScrubbedStretch> {
  const { headerBytes } = segment.layout
  const damaged: { groupHex: string; index: number; offset: number }[] = []
  let { sequence, offset } = from
  let bytes = 0
  let mended = 0
  while (sequence < segment.nextSequence && bytes < bytesMax) {
    const refsAt = segment.refsPosition(sequence)
    const [ownBytes, copyBytes] = [
      await readable(segment.wal, offset, headerBytes),
      await readable(segment.refs, refsAt, headerBytes),
    ]
    const own = headerOf(ownBytes, segment, sequence)
    const copy = headerOf(copyBytes, segment, sequence)
    const header = own ?? copy
    if (header === undefined || (own !== undefined && copy !== undefined && !equalBytes(ownBytes, copyBytes))) {
      // Where the next record starts is unknown too.
      return { next: undefined, bytes, mended, headersLost: segment.nextSequence - sequence, damaged }
    }
    if (own === undefined) await segment.wal.write(copyBytes, offset)
    if (copy === undefined) await segment.refs.write(ownBytes, refsAt)
    if (own === undefined || copy === undefined) mended++
    const payload = await readable(segment.wal, segment.payloadPosition(offset), header.bytes)
    const isWhole = payload.length === header.bytes && equalBytes(hash('sha256', payload, 'buffer'), header.digest)
    if (!isWhole && header.kind === walRecordKinds.entry) {
      damaged.push({ groupHex: toHex(header.group), index: header.index, offset })
    }
    const length = headerBytes + header.bytes + walPayloadCrcBytes
    bytes += length + headerBytes
    offset += length
    sequence++
  }
  const next = sequence < segment.nextSequence ? { sequence, offset } : undefined
  return { next, bytes, mended, headersLost: 0, damaged }
}

function headerOf(bytes: Uint8Array, segment: Segment, sequence: number): WalRecordHeader | undefined {
  try {
    const header = readWalRecordHeader(bytes, 0, segment.layout)
    return header.sequence === sequence ? header : undefined
  } catch (error) {
    if (errorCode(error)?.startsWith('ERR_DECODE_')) return undefined
    throw error
  }
}

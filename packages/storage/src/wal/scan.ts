/**
 * Reads one segment against its refs file and decides, record by record: good, mended, torn or corrupt. Pure.
 *
 * Every record is written and synced in the segment first, then its header is written and synced in the refs file,
 * and only then is it acknowledged. So:
 *
 * - a header that stands in the refs file belongs to a record that was once whole on this disk. If the record is not
 *   whole now, that is damage, and never a torn write;
 * - a header that is missing there belongs to a record that was never acknowledged, or its copy is damaged. If the
 *   record itself is whole it is kept either way, and its copy written again;
 * - a record that is not whole and has no copy was torn by a crash. It is cut if all of this holds: the segment is
 *   the last one (a new one is begun only after the old one is synced), no later header stands in the refs file,
 *   and the refs file is there to say so.
 *
 * One damaged place therefore never makes an acknowledged record look torn: that takes the record and its copy, in
 * another file, damaged together. A torn record takes its whole append with it, which was not acknowledged either.
 */
import { hash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { CipherlogError, equalBytes, errorCode, readU32, toHex, writeU32 } from '@cipherlog/core'
import {
  decodeWalSegmentHeader,
  encodeWalSegmentHeader,
  readWalRecordHeader,
  walMagic,
  walPayloadCrcBytes,
  walRecordBytes,
  type WalRecordHeader,
  walRecordHeaderBytes,
  walRecordKinds,
  walRefsMagic,
  walSegmentHeaderBytes,
  type WalSegmentHeader,
  writeWalRecordHeader,
} from '@cipherlog/format/wal-record'
import { WalCorruptError } from '../errors.ts'
import { segmentNames } from './segment.ts'
import { type WalIdentity } from './wal.ts'

export interface SegmentFiles {
  readonly firstSequence: number
  /** First sequence number of the segment after it; undefined for the last segment. */
  readonly endSequence: number | undefined
  readonly wal: Uint8Array
  /** Undefined if the file is missing. */
  readonly refs: Uint8Array | undefined
}

export interface ScannedRecord {
  readonly header: WalRecordHeader
  readonly offset: number
  /** A view of the segment's bytes. */
  readonly payload: Uint8Array
}

export interface ScannedSegment {
  /** Records of whole appends; none if the segment can be removed. */
  readonly records: readonly ScannedRecord[]
  /** Length of the segment without its torn tail. */
  readonly walBytes: number
  /** Bytes to write into the segment: what was damaged, and all that had no copy yet. */
  readonly walPatches: readonly { readonly position: number; readonly bytes: Uint8Array }[]
  /** What the refs file must hold. */
  readonly refs: Uint8Array
  readonly recordsMended: number
  readonly refsMended: number
}

/** @throws {@link WalCorruptError}, or `ERR_DATA_DIR_FOREIGN` if the segment belongs to another cluster or replica. */
export function scanSegment(files: SegmentFiles, identity: WalIdentity): ScannedSegment {
  const { firstSequence, endSequence, wal } = files
  const names = segmentNames(firstSequence)
  const refs = files.refs ?? new Uint8Array(0)
  const expected = { ...identity, firstSequence }
  const walHeader = attempt(() => decodeWalSegmentHeader(wal, walMagic))
  const refsHeader = attempt(() => decodeWalSegmentHeader(refs, walRefsMagic))
  for (const header of [walHeader, refsHeader]) if (header !== undefined) checkIdentity(names.wal, header, expected)

  const copies = readCopies(refs, firstSequence)
  const records: ScannedRecord[] = []
  const patches: { position: number; bytes: Uint8Array }[] = []
  let recordsMended = 0
  let refsMended = 0
  let offset = walSegmentHeaderBytes
  let problem: string | undefined
  /** Records, patches and bytes up to the end of the last whole append. */
  let whole = { records: 0, patches: 0, offset, recordsMended, refsMended }

  while (endSequence === undefined ? offset < wal.length || records.length < copies.length : true) {
    const sequence = firstSequence + records.length
    if (sequence === endSequence) break
    const copy = copies[records.length]
    const own = headerAt(wal, offset, sequence)
    if (own !== undefined && copy !== undefined && !equalBytes(own.raw, copy.raw)) {
      throw new WalCorruptError(names.wal, offset, `record ${sequence} and its copy in the refs file differ`)
    }
    const found = own ?? copy
    if (found === undefined) {
      problem = 'the header of a record and its copy are both unreadable'
      break
    }
    const { header } = found
    const end = offset + walRecordBytes(header.bytes)
    const payload = wal.subarray(offset + walRecordHeaderBytes, end - walPayloadCrcBytes)
    // Entries are compared with their digest again whenever they are read, so the CRC-32 is enough for most.
    const mustMatch = own === undefined || header.kind !== walRecordKinds.entry
    const state = end > wal.length ? 'damaged' : payloadState(wal.subarray(offset, end), header, mustMatch)
    if (state === 'damaged') {
      problem = 'the payload of a record is damaged or incomplete'
      break
    }
    if (own === undefined || state === 'checksum') {
      recordsMended++
      patches.push({ position: offset, bytes: wholeRecord(found.raw, payload) })
    } else if (copy === undefined) {
      // Perhaps only in the page cache, left there by a sync that failed: written again, it gets synced.
      patches.push({ position: offset, bytes: wal.subarray(offset, end) })
    }
    if (copy === undefined) refsMended++
    records.push({ header, offset, payload })
    offset = end
    if (!header.endOfBatch) continue
    whole = { records: records.length, patches: patches.length, offset, recordsMended, refsMended }
  }

  if (problem === undefined && whole.records < records.length) problem = 'an append is incomplete'
  if (problem === undefined && offset < wal.length) problem = 'bytes follow the last record of a closed segment'
  if (problem !== undefined) {
    const last = endSequence === undefined
    const confirmed = copies.some((copy, number) => copy !== undefined && number >= whole.records)
    // A segment gets its first record after both its headers are durable: without any, it was never begun.
    const begun = whole.records > 0 || walHeader !== undefined || refsHeader !== undefined
    const neverAcknowledged = last && !confirmed && (refsHeader !== undefined || !begun)
    if (!neverAcknowledged) throw new WalCorruptError(names.wal, offset, problem)
  }
  if (whole.records > 0) {
    if (walHeader === undefined && refsHeader === undefined) {
      throw new WalCorruptError(names.wal, 0, 'the header of the segment and its copy are both unreadable')
    }
    if (walHeader === undefined) {
      patches.unshift({ position: 0, bytes: encodeWalSegmentHeader({ magic: walMagic, ...expected }) })
      whole.patches++
      whole.recordsMended++
    }
  }
  const kept = records.slice(0, whole.records)
  return {
    records: kept,
    walBytes: whole.offset,
    walPatches: patches.slice(0, whole.patches),
    refs: refsOf(kept, expected),
    recordsMended: whole.recordsMended,
    refsMended: whole.refsMended,
  }
}

interface FoundHeader {
  readonly header: WalRecordHeader
  readonly raw: Uint8Array
}

/** The header at `at` if its CRC-32 holds and it is the one of record `sequence`. */
function headerAt(bytes: Uint8Array, at: number, sequence: number): FoundHeader | undefined {
  const header = attempt(() => readWalRecordHeader(bytes, at))
  if (header?.sequence !== sequence) return undefined
  return { header, raw: bytes.subarray(at, at + walRecordHeaderBytes) }
}

/** Headers in the refs file by number of record; undefined where there is none that can be read. */
function readCopies(refs: Uint8Array, firstSequence: number): (FoundHeader | undefined)[] {
  const copies: (FoundHeader | undefined)[] = []
  for (let at = walSegmentHeaderBytes; at + walRecordHeaderBytes <= refs.length; at += walRecordHeaderBytes) {
    copies.push(headerAt(refs, at, firstSequence + copies.length))
  }
  while (copies.length > 0 && copies.at(-1) === undefined) copies.pop()
  return copies
}

/** `checksum`: the payload has its digest, only the CRC-32 behind it is wrong. */
function payloadState(
  record: Uint8Array,
  { digest }: WalRecordHeader,
  mustMatch: boolean,
): 'good' | 'checksum' | 'damaged' {
  const payload = record.subarray(walRecordHeaderBytes, -walPayloadCrcBytes)
  const checksumHolds = crc32(payload) === readU32(record, record.length - walPayloadCrcBytes)
  if (checksumHolds && !mustMatch) return 'good'
  if (!equalBytes(hash('sha256', payload, 'buffer'), digest)) return 'damaged'
  return checksumHolds ? 'good' : 'checksum'
}

function wholeRecord(header: Uint8Array, payload: Uint8Array): Uint8Array {
  const out = new Uint8Array(walRecordBytes(payload.length))
  out.set(header)
  out.set(payload, walRecordHeaderBytes)
  writeU32(out, walRecordHeaderBytes + payload.length, crc32(payload))
  return out
}

function refsOf(records: readonly ScannedRecord[], expected: WalIdentity & { firstSequence: number }): Uint8Array {
  const out = new Uint8Array(walSegmentHeaderBytes + records.length * walRecordHeaderBytes)
  out.set(encodeWalSegmentHeader({ magic: walRefsMagic, ...expected }))
  records.forEach(({ header }, number) =>
    writeWalRecordHeader(out, walSegmentHeaderBytes + number * walRecordHeaderBytes, header),
  )
  return out
}

function checkIdentity(
  name: string,
  header: WalSegmentHeader,
  expected: WalIdentity & { firstSequence: number },
): void {
  if (!equalBytes(header.cluster, expected.cluster) || !equalBytes(header.peerId, expected.peerId)) {
    throw new CipherlogError(
      'ERR_DATA_DIR_FOREIGN',
      `${name} belongs to replica ${toHex(header.peerId)} of cluster ${toHex(header.cluster)}; start this replica with its own data directory.`,
      { details: { cluster: toHex(header.cluster), peerId: toHex(header.peerId) } },
    )
  }
  if (header.firstSequence !== expected.firstSequence) {
    throw new WalCorruptError(name, 0, `its header says that it starts with record ${header.firstSequence}`)
  }
}

/** The result, or undefined if the bytes are not a valid encoding. */
function attempt<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch (error) {
    if (errorCode(error)?.startsWith('ERR_DECODE_')) return undefined
    throw error
  }
}

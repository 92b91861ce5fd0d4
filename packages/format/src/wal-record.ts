/**
 * WAL v2: segment headers and records, byte for byte (docs/formats/wal.md).
 *
 * Fixed layouts, not CBOR: a damaged disk hands back any bytes, and a reader must say where a record ends and
 * which of its two parts is damaged without trusting either. All integers are big-endian.
 *
 * Invariant: a header or payload whose CRC-32 holds was written by us; every single bit flip breaks one CRC-32.
 * Uses `node:zlib`, so it is imported by its own path and never by code for browsers.
 */
import { crc32 } from 'node:zlib'
import { DecodeError, emptyBytes, readU32, readU64, writeU32, writeU64 } from '@cipherlog/core'

/** "WAL2": a segment of records. */
export const walMagic = 0x57414c32
/** "WRF2": the second copy of the record headers of one segment. */
export const walRefsMagic = 0x57524632

/** Header of a segment and of its refs file. */
export const walSegmentHeaderBytes = 512
/** Header of a record, its own CRC-32 included. */
export const walRecordHeaderBytes = 100

/** What differs between versions of the log. */
export interface WalLayout {
  readonly version: number
  /** Opens a segment. */
  readonly magic: number
  /** Opens its refs file. */
  readonly refsMagic: number
  /** Header of a record. */
  readonly headerBytes: number
}

/** Version 1, without fencing tokens, is only read; version 2 is written. */
export const walLayouts = {
  v1: { version: 1, magic: 0x57414c31, refsMagic: 0x57524631, headerBytes: 92 },
  v2: { version: 2, magic: walMagic, refsMagic: walRefsMagic, headerBytes: walRecordHeaderBytes },
} as const satisfies Record<string, WalLayout>
/** CRC-32 after the payload. */
export const walPayloadCrcBytes = 4
/** Largest payload: an entry with a full bundle and all its bodies is below 9.1 MiB. */
export const walPayloadBytesMax = 16 * 1024 * 1024

/** What a record does to the log of its group. */
export const walRecordKinds = {
  /** Appends the entry `index`, which follows the last one. */
  entry: 1,
  /** Replaces the HardState; the payload is its CBOR. */
  hardState: 2,
  /** Drops the entries from `index` on; `term` is that of the entry before. */
  truncate: 3,
  /** Opens a segment: everything up to entry `index`, of `term`, stands in earlier segments. */
  start: 4,
  /** Drops the whole log, which continues after entry `index`, of `term`: a snapshot covers what was before. */
  snapshot: 5,
  /** In doubt: the log goes on after entry `index`, of `term`, whatever unreadable records before it said. */
  resume: 6,
  /** Ends a doubt: what unreadable records before it said has been learned again or never counted. */
  settled: 7,
} as const
export type WalRecordKind = (typeof walRecordKinds)[keyof typeof walRecordKinds]

/** What opens every file of the WAL. */
export interface WalSegmentHeader {
  /** {@link walMagic} or {@link walRefsMagic}, or those of version 1. */
  readonly magic: number
  /** SHA-256 of the genesis, 32 bytes. */
  readonly cluster: Uint8Array
  /** The replica that writes, 16 bytes. */
  readonly peerId: Uint8Array
  /** Sequence number of the segment's first record, from 0. */
  readonly firstSequence: number
}

/** The fixed part of a record; the same bytes stand in the refs file. */
export interface WalRecordHeader {
  /** Bytes of the payload. */
  readonly bytes: number
  readonly kind: WalRecordKind
  /** Kind of the log entry, 1 to 65,535; 0 in other records. */
  readonly entryKind: number
  /** Set on the last record of an append: an append counts as a whole or not at all. */
  readonly endOfBatch: boolean
  /** Place of the record among all records of this WAL, from 0. */
  readonly sequence: number
  /** 16 bytes. */
  readonly group: Uint8Array
  readonly term: number
  /** Log index: of the entry, of HardState's commit, of the first dropped or the last earlier entry. */
  readonly index: number
  /** Log time in milliseconds: of the entry, or of the entry that `term` is of; 0 in HardState records. */
  readonly time: number
  /** Fencing token, first half: the writer's term. Never decreases within a group; 0 in version 1. */
  readonly fencingTerm: number
  /** Fencing token, second half: which flush of that term. Never decreases within a term; stays at 2^32 − 1. */
  readonly fencingFlush: number
  /** SHA-256 of the payload, 32 bytes. */
  readonly digest: Uint8Array
}

const u32Max = 0xffff_ffff
const kindsKnown = new Set<number>(Object.values(walRecordKinds))

/** Bytes that a record with a payload of `payloadBytes` takes in a segment. */
export function walRecordBytes(payloadBytes: number, { headerBytes }: WalLayout = walLayouts.v2): number {
  return headerBytes + payloadBytes + walPayloadCrcBytes
}

/** The 512 bytes of a segment header. @throws RangeError on a field of the wrong size. */
export function encodeWalSegmentHeader(header: WalSegmentHeader): Uint8Array {
  checkLength('cluster', header.cluster, 32)
  checkLength('peerId', header.peerId, 16)
  checkCounter('firstSequence', header.firstSequence)
  const out = new Uint8Array(walSegmentHeaderBytes)
  writeU32(out, 0, header.magic)
  writeU32(out, 4, versionOf(header.magic))
  out.set(header.cluster, 8)
  out.set(header.peerId, 40)
  writeU64(out, 56, header.firstSequence)
  writeU32(out, walSegmentHeaderBytes - 4, crc32(out.subarray(0, walSegmentHeaderBytes - 4)))
  return out
}

/**
 * Reads a segment header.
 * @throws {@link DecodeError} `ERR_DECODE_TRUNCATED`, `ERR_DECODE_CHECKSUM`, `ERR_DECODE_VERSION`, `ERR_DECODE_VALUE`.
 */
export function decodeWalSegmentHeader(bytes: Uint8Array, magic: number): WalSegmentHeader {
  if (bytes.length < walSegmentHeaderBytes) throw truncated('segment header')
  const crcAt = walSegmentHeaderBytes - 4
  if (readU32(bytes, crcAt) !== crc32(bytes.subarray(0, crcAt))) throw damaged('segment header')
  const found = readU32(bytes, 0)
  const version = readU32(bytes, 4)
  if (found !== magic || version !== versionOf(magic)) {
    throw new DecodeError(
      'ERR_DECODE_VERSION',
      `The file starts with 0x${found.toString(16)} version ${version}, expected 0x${magic.toString(16)} version ${versionOf(magic)}; open it with software that knows it.`,
    )
  }
  if (bytes.subarray(64, crcAt).some((byte) => byte !== 0)) throw reserved('segment header')
  return { magic, cluster: bytes.slice(8, 40), peerId: bytes.slice(40, 56), firstSequence: readU64(bytes, 56) }
}

function versionOf(magic: number): number {
  const { v1, v2 } = walLayouts
  return magic === v1.magic || magic === v1.refsMagic ? v1.version : v2.version
}

/** Writes the 100 bytes of a record header at `at`. @throws RangeError on a field that does not fit. */
export function writeWalRecordHeader(out: Uint8Array, at: number, header: WalRecordHeader): void {
  if (header.bytes > walPayloadBytesMax) {
    throw new RangeError(`a payload of ${header.bytes} bytes is above the limit ${walPayloadBytesMax}`)
  }
  checkEntryKind(header, (problem) => new RangeError(problem))
  checkLength('group', header.group, 16)
  checkLength('digest', header.digest, 32)
  for (const name of ['bytes', 'sequence', 'term', 'index', 'time'] as const) checkCounter(name, header[name])
  for (const name of ['fencingTerm', 'fencingFlush'] as const) {
    checkCounter(name, header[name])
    if (header[name] > u32Max) throw new RangeError(`${name} ${header[name]} does not fit 32 bits`)
  }
  writeU32(out, at, header.bytes)
  out[at + 4] = header.kind
  out[at + 5] = header.endOfBatch ? 1 : 0
  out[at + 6] = header.entryKind >> 8
  out[at + 7] = header.entryKind
  writeU64(out, at + 8, header.sequence)
  out.set(header.group, at + 16)
  writeU64(out, at + 32, header.term)
  writeU64(out, at + 40, header.index)
  writeU64(out, at + 48, header.time)
  writeU32(out, at + 56, header.fencingTerm)
  writeU32(out, at + 60, header.fencingFlush)
  out.set(header.digest, at + 64)
  writeU32(out, at + 96, crc32(out.subarray(at, at + 96)))
}

/**
 * Reads the record header at `at`. The result holds copies.
 * @throws {@link DecodeError} `ERR_DECODE_TRUNCATED`, `ERR_DECODE_CHECKSUM`, `ERR_DECODE_LIMIT`, `ERR_DECODE_VALUE`.
 */
export function readWalRecordHeader(input: Uint8Array, at: number, layout: WalLayout = walLayouts.v2): WalRecordHeader {
  if (at + layout.headerBytes > input.length) throw truncated('record header')
  const crcAt = at + layout.headerBytes - 4
  if (readU32(input, crcAt) !== crc32(input.subarray(at, crcAt))) throw damaged('record header')
  const bytes = readU32(input, at)
  if (bytes > walPayloadBytesMax) {
    throw new DecodeError(
      'ERR_DECODE_LIMIT',
      `The record announces ${bytes} bytes, above the limit ${walPayloadBytesMax}.`,
    )
  }
  const kind = input[at + 4]! as WalRecordKind
  const flags = input[at + 5]!
  const entryKind = (input[at + 6]! << 8) | input[at + 7]!
  if (!kindsKnown.has(kind)) throw new DecodeError('ERR_DECODE_VALUE', `Unknown kind of WAL record: ${kind}.`)
  if (flags > 1) throw reserved('record header')
  checkEntryKind({ kind, entryKind }, (problem) => new DecodeError('ERR_DECODE_VALUE', `The record has ${problem}.`))
  return {
    bytes,
    kind,
    entryKind,
    endOfBatch: flags === 1,
    sequence: readU64(input, at + 8),
    group: input.slice(at + 16, at + 32),
    term: readU64(input, at + 32),
    index: readU64(input, at + 40),
    time: readU64(input, at + 48),
    fencingTerm: layout.version === 1 ? 0 : readU32(input, at + 56),
    fencingFlush: layout.version === 1 ? 0 : readU32(input, at + 60),
    digest: input.slice(crcAt - 32, crcAt),
  }
}

/** Writes a whole record (header, payload, payload CRC-32) at `at`; `payload.length` must be `header.bytes`. */
export function writeWalRecord(
  out: Uint8Array,
  at: number,
  header: WalRecordHeader,
  payload: Uint8Array = emptyBytes,
): void {
  if (payload.length !== header.bytes) throw new RangeError(`${payload.length} bytes of payload, not ${header.bytes}`)
  writeWalRecordHeader(out, at, header)
  out.set(payload, at + walRecordHeaderBytes)
  writeU32(out, at + walRecordHeaderBytes + payload.length, crc32(payload))
}

function checkEntryKind(
  { kind, entryKind }: Pick<WalRecordHeader, 'kind' | 'entryKind'>,
  error: (problem: string) => Error,
): void {
  const isEntry = kind === walRecordKinds.entry
  if (!Number.isInteger(entryKind) || entryKind < (isEntry ? 1 : 0) || entryKind > (isEntry ? 0xffff : 0)) {
    throw error(`entry kind ${entryKind} in a record of kind ${kind}`)
  }
}

function checkLength(name: string, bytes: Uint8Array, length: number): void {
  if (bytes.length !== length) throw new RangeError(`${name} has ${bytes.length} bytes, not ${length}`)
}

function checkCounter(name: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`${name} ${value} is no unsigned safe integer`)
}

function truncated(what: string): DecodeError {
  return new DecodeError('ERR_DECODE_TRUNCATED', `The bytes end inside a WAL ${what}.`)
}

function damaged(what: string): DecodeError {
  return new DecodeError('ERR_DECODE_CHECKSUM', `The CRC-32 of a WAL ${what} does not match its bytes.`)
}

function reserved(what: string): DecodeError {
  return new DecodeError('ERR_DECODE_VALUE', `Reserved bytes of a WAL ${what} are not zero.`)
}

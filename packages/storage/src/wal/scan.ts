/**
 * Reads one segment against its refs file and decides, record by record: good, mended, a hole, lost or torn. Pure.
 *
 * Every record is written and synced in the segment first, then its header is written and synced in the refs file,
 * and only then is it acknowledged. So:
 *
 * - a header that stands in the refs file belongs to a record that was once whole on this disk. If its payload is not
 *   whole now, that is damage, never a torn write: an entry becomes a hole, whose header is known;
 * - a record whose header is unreadable in both files is lost, and what follows is found again by its copies;
 * - what comes after the last whole append, in the last segment, was torn by a crash if the refs file is there and
 *   has nothing at its place, or if the segment has nothing there. It is cut. With something in both places it may
 *   have been acknowledged, and counts as lost.
 *
 * One damaged place therefore never makes an acknowledged record look torn: that takes the record and its copy, in
 * another file, emptied together. A torn record takes its whole append with it, which was not acknowledged either.
 */
import { hash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { CipherlogError, equalBytes, errorCode, readU32, toHex, writeU32 } from '@cipherlog/core'
import {
  decodeWalSegmentHeader,
  encodeWalSegmentHeader,
  readWalRecordHeader,
  walLayouts,
  type WalLayout,
  walPayloadCrcBytes,
  type WalRecordHeader,
  walRecordKinds,
  walSegmentHeaderBytes,
  type WalSegmentHeader,
} from '@cipherlog/format/wal-record'
import { WalCorruptError } from '../errors.ts'
import { segmentNames } from './segment.ts'
import { type WalDamage, type WalIdentity } from './wal.ts'

export interface SegmentFiles {
  readonly firstSequence: number
  /** First sequence number of the segment after it; undefined for the last segment. */
  readonly endSequence: number | undefined
  /** Undefined if the file is missing. */
  readonly wal: Uint8Array | undefined
  readonly refs: Uint8Array | undefined
}

export interface ScannedRecord {
  readonly header: WalRecordHeader
  readonly offset: number
  /** Of a HardState: its bytes. */
  readonly payload: Uint8Array | undefined
  /** The payload is not what the header says. */
  readonly damaged: boolean
}

/** Records that were here and of which nothing is known. */
export interface LostRecords {
  readonly lost: number
  readonly offset: number
}

export interface Patch {
  readonly position: number
  readonly bytes: Uint8Array
}

export interface ScannedSegment {
  readonly layout: WalLayout
  readonly items: readonly (ScannedRecord | LostRecords)[]
  /** Sequence number after the last record, lost ones included. */
  readonly nextSequence: number
  /** Length of the segment without its torn tail. */
  readonly walBytes: number
  /** Its last records are lost: where the next one would go is unknown. */
  readonly lostTail: boolean
  /** Bytes of a torn tail. */
  readonly bytesCut: number
  /** Bytes to write into the segment: what was damaged, and all that had no copy yet. */
  readonly walPatches: readonly Patch[]
  /** Length of the refs file, and what of it must be written; nothing if it is as it should be. */
  readonly refsBytes: number
  /** Bytes after that length which are not zero. */
  readonly refsCut: number
  readonly refsPatch: Patch | undefined
  readonly recordsMended: number
  readonly refsMended: number
  readonly damage: readonly WalDamage[]
}

/**
 * @param checkDigests - compares every payload with its SHA-256; else entries only with their CRC-32, since they are
 * compared with their digest whenever they are read.
 * @throws {@link WalCorruptError} if whose segment this is cannot be told, `ERR_DATA_DIR_FOREIGN` if it belongs to
 * another cluster or replica.
 */
export function scanSegment(files: SegmentFiles, identity: WalIdentity, checkDigests = false): ScannedSegment {
  return new SegmentScan(files, identity, checkDigests).run()
}

interface FoundHeader {
  readonly header: WalRecordHeader
  readonly raw: Uint8Array
}

class SegmentScan {
  readonly #name: string
  readonly #firstSequence: number
  /** Number of records; undefined in the last segment. */
  readonly #count: number | undefined
  readonly #wal: Uint8Array
  readonly #refs: Uint8Array
  readonly #walHeader: WalSegmentHeader | undefined
  readonly #refsHeader: WalSegmentHeader | undefined
  readonly #layout: WalLayout
  readonly #expected: WalIdentity & { readonly firstSequence: number }
  readonly #checkDigests: boolean
  /** Number after the last record whose header in the refs file can be read. */
  readonly #copyCount: number
  /** Up to where the files hold anything but zeros. */
  readonly #walEnd: number
  readonly #refsEnd: number

  readonly #items: (ScannedRecord | LostRecords)[] = []
  /** Headers as they must stand in the refs file, by number of record; undefined for lost ones. */
  readonly #raws: (Uint8Array | undefined)[] = []
  readonly #patches: Patch[] = []
  readonly #damage: WalDamage[] = []
  #recordsMended = 0
  #refsMended = 0
  #offset = walSegmentHeaderBytes
  #lostTail = false
  /** Everything up to the end of the last whole append. */
  #whole = { items: 0, raws: 0, patches: 0, damage: 0, offset: walSegmentHeaderBytes, recordsMended: 0, refsMended: 0 }

  constructor(files: SegmentFiles, identity: WalIdentity, checkDigests: boolean) {
    const { firstSequence, endSequence } = files
    this.#name = segmentNames(firstSequence).wal
    this.#firstSequence = firstSequence
    this.#count = endSequence === undefined ? undefined : endSequence - firstSequence
    this.#wal = files.wal ?? new Uint8Array(0)
    this.#refs = files.refs ?? new Uint8Array(0)
    this.#expected = { ...identity, firstSequence }
    this.#checkDigests = checkDigests
    const [v2, v1] = [walLayouts.v2, walLayouts.v1]
    this.#walHeader = headerOf(this.#wal, v2.magic) ?? headerOf(this.#wal, v1.magic)
    this.#refsHeader = headerOf(this.#refs, v2.refsMagic) ?? headerOf(this.#refs, v1.refsMagic)
    for (const header of [this.#walHeader, this.#refsHeader]) {
      if (header !== undefined) checkIdentity(this.#name, header, this.#expected)
    }
    const isV1 = this.#walHeader?.magic === v1.magic || this.#refsHeader?.magic === v1.refsMagic
    this.#layout = isV1 ? v1 : v2
    this.#walEnd = endOfContent(this.#wal)
    this.#refsEnd = endOfContent(this.#refs)
    this.#copyCount = this.#slots()
    if (this.#count !== undefined) this.#copyCount = Math.min(this.#count, this.#copyCount)
    while (this.#copyCount > 0 && this.#copyOf(this.#copyCount - 1) === undefined) this.#copyCount--
  }

  run(): ScannedSegment {
    while (!this.#isAtEnd()) if (!this.#step()) break
    if (this.#count === undefined && this.#whole.raws < this.#raws.length && !this.#lostTail) {
      this.#stopAt('an append is incomplete')
    }
    if (this.#raws.length > 0 && this.#walHeader === undefined) this.#mendSegmentHeader()
    const { refsBytes, refsPatch } = this.#refsFile()
    return {
      layout: this.#layout,
      items: this.#items,
      nextSequence: this.#firstSequence + this.#raws.length,
      walBytes: this.#offset,
      lostTail: this.#lostTail,
      bytesCut: this.#lostTail ? 0 : Math.max(0, this.#walEnd - this.#offset),
      walPatches: this.#patches,
      refsBytes,
      refsCut: Math.max(0, this.#refsEnd - refsBytes),
      refsPatch,
      recordsMended: this.#recordsMended,
      refsMended: this.#refsMended,
      damage: this.#damage,
    }
  }

  #isAtEnd(): boolean {
    const number = this.#raws.length
    if (this.#count !== undefined) return number === this.#count
    return number >= this.#copyCount && this.#offset >= this.#walEnd
  }

  /** Takes the next record; false if nothing after it can be told. */
  #step(): boolean {
    const number = this.#raws.length
    const { headerBytes } = this.#layout
    const own = this.#headerAt(this.#wal, this.#offset, this.#firstSequence + number)
    // Equal bytes need no second check.
    const slot = this.#slotOf(number)
    const copy = own !== undefined && Buffer.compare(own.raw, slot) === 0 ? own : this.#copyOf(number)
    const contradict = own !== undefined && copy !== undefined && copy !== own
    const found = contradict ? undefined : (own ?? copy)
    if (found === undefined) {
      return this.#lose(
        contradict
          ? 'a record and its copy in the refs file differ'
          : 'the header of a record and its copy are both unreadable',
      )
    }
    const { header, raw } = found
    const end = this.#offset + headerBytes + header.bytes + walPayloadCrcBytes
    const payload = this.#wal.subarray(this.#offset + headerBytes, end - walPayloadCrcBytes)
    const mustMatch = own === undefined || header.kind !== walRecordKinds.entry || this.#checkDigests
    const state = payloadState(payload, this.#wal.subarray(end - walPayloadCrcBytes, end), header, mustMatch)
    if (state === 'damaged') {
      if (this.#isTorn()) return this.#stopAt('the payload of a record is incomplete')
      if (header.kind === walRecordKinds.entry) {
        this.#note(`the payload of entry ${header.index} is damaged or missing`, 'hole')
      } else {
        this.#note(`the vote in a HardState of term ${header.term} is unreadable`, 'mended')
      }
      if (own === undefined) this.#patch(this.#offset, raw.slice())
    } else if (own === undefined || state === 'checksum') {
      this.#patch(this.#offset, wholeRecord(raw, payload))
      this.#note('a header or checksum of a record is damaged', 'mended')
    } else if (copy === undefined) {
      // Perhaps only in the page cache, left there by a sync that failed: written again, it gets synced.
      this.#patches.push({ position: this.#offset, bytes: this.#wal.slice(this.#offset, end) })
    }
    if (copy === undefined) this.#refsMended++
    this.#items.push({
      header,
      offset: this.#offset,
      payload: header.kind === walRecordKinds.hardState && state !== 'damaged' ? payload.slice() : undefined,
      damaged: state === 'damaged',
    })
    this.#raws.push(raw)
    this.#offset = end
    if (header.endOfBatch) this.#markWhole()
    return true
  }

  /** A record of which nothing is known: goes on at the next one that can be found, if there is any. */
  #lose(reason: string): boolean {
    const number = this.#raws.length
    const next = this.#locateAfter(number)
    if (next !== undefined) {
      this.#pushLost(next.number - number, reason)
      this.#offset = next.offset
      return true
    }
    if (this.#isTorn()) return this.#stopAt('a record is incomplete')
    return this.#loseTail(reason)
  }

  #loseTail(reason: string): false {
    const end = this.#count ?? Math.max(this.#slots(), this.#raws.length + 1)
    this.#pushLost(end - this.#raws.length, reason)
    this.#lostTail = true
    return false
  }

  #pushLost(lost: number, reason: string): void {
    this.#note(reason, 'doubt')
    this.#items.push({ lost, offset: this.#offset })
    for (let i = 0; i < lost; i++) this.#raws.push(undefined)
    this.#markWhole()
  }

  /** Cuts what follows the last whole append if it was torn; else it is lost. */
  #stopAt(reason: string): false {
    if (!this.#isTorn()) return this.#loseTail(reason)
    const { items, raws, patches, damage, offset, recordsMended, refsMended } = this.#whole
    this.#items.length = items
    this.#raws.length = raws
    this.#patches.length = patches
    this.#damage.length = damage
    this.#offset = offset
    this.#recordsMended = recordsMended
    this.#refsMended = refsMended
    this.#note(reason, 'cut')
    return false
  }

  /** What follows the last whole append was certainly never acknowledged. */
  #isTorn(): boolean {
    if (this.#count !== undefined) return false
    const { raws, offset } = this.#whole
    if (this.#copyCount > raws) return false
    if (this.#walEnd <= offset) return true
    // A segment gets its first record after both its headers are durable: without any, it was never begun.
    if (this.#refsHeader === undefined) return raws === 0 && this.#walHeader === undefined
    return this.#refsEnd <= walSegmentHeaderBytes + raws * this.#layout.headerBytes
  }

  #markWhole(): void {
    this.#whole = {
      items: this.#items.length,
      raws: this.#raws.length,
      patches: this.#patches.length,
      damage: this.#damage.length,
      offset: this.#offset,
      recordsMended: this.#recordsMended,
      refsMended: this.#refsMended,
    }
  }

  /**
   * The next record after `number` whose place can be told: by its copy, found in the segment, or counted back from
   * one that was. Only copies are trusted here, since payloads may hold bytes that look like records.
   */
  #locateAfter(number: number): { readonly number: number; readonly offset: number } | undefined {
    const haystack = Buffer.from(this.#wal.buffer, this.#wal.byteOffset, this.#wal.length)
    for (let at = number + 1; at < this.#copyCount; at++) {
      const copy = this.#copyOf(at)
      const offset = copy === undefined ? -1 : haystack.indexOf(copy.raw, this.#offset)
      if (offset === -1) continue
      let first = { number: at, offset }
      while (first.number - 1 > number) {
        const before = this.#copyOf(first.number - 1)
        if (before === undefined) break
        first = { number: first.number - 1, offset: first.offset - this.#recordBytes(before.header) }
      }
      return first.offset > this.#offset ? first : { number: at, offset }
    }
    return undefined
  }

  #recordBytes({ bytes }: WalRecordHeader): number {
    return this.#layout.headerBytes + bytes + walPayloadCrcBytes
  }

  #mendSegmentHeader(): void {
    if (this.#refsHeader === undefined) {
      throw new WalCorruptError(this.#name, 0, 'the header of the segment and its copy are both unreadable')
    }
    this.#patches.unshift({
      position: 0,
      bytes: encodeWalSegmentHeader({ ...this.#refsHeader, magic: this.#layout.magic }),
    })
    this.#recordsMended++
    this.#damage.push({ segment: this.#name, offset: 0, reason: 'the segment header is damaged', outcome: 'mended' })
  }

  /** What the refs file must hold, from the first byte on that differs. */
  #refsFile(): { refsBytes: number; refsPatch: Patch | undefined } {
    const { headerBytes, refsMagic } = this.#layout
    const refsBytes = walSegmentHeaderBytes + this.#raws.length * headerBytes
    const out = new Uint8Array(refsBytes)
    // With a good header and nothing after it the file would say that the tail was torn.
    const keepsHeader = this.#lostTail && this.#refsHeader === undefined
    if (keepsHeader) out.set(this.#refs.subarray(0, walSegmentHeaderBytes))
    else out.set(encodeWalSegmentHeader({ magic: refsMagic, ...this.#expected }))
    this.#raws.forEach((raw, number) => {
      const at = walSegmentHeaderBytes + number * headerBytes
      out.set(raw ?? this.#refs.subarray(at, at + headerBytes), at)
    })
    let from = 0
    while (from < refsBytes && this.#refs[from] === out[from]) from++
    return { refsBytes, refsPatch: from === refsBytes ? undefined : { position: from, bytes: out.slice(from) } }
  }

  /** Where the header of record `number` is in the refs file. */
  #slotOf(number: number): Uint8Array {
    const { headerBytes } = this.#layout
    const at = walSegmentHeaderBytes + number * headerBytes
    return this.#refs.subarray(at, at + headerBytes)
  }

  /** The header of record `number` in the refs file, if it can be read. */
  #copyOf(number: number): FoundHeader | undefined {
    const at = walSegmentHeaderBytes + number * this.#layout.headerBytes
    return this.#headerAt(this.#refs, at, this.#firstSequence + number)
  }

  /** Records for which the refs file has anything. */
  #slots(): number {
    return Math.max(0, Math.ceil((this.#refsEnd - walSegmentHeaderBytes) / this.#layout.headerBytes))
  }

  /** The header at `at` if its CRC-32 holds and it is the one of record `sequence`. */
  #headerAt(bytes: Uint8Array, at: number, sequence: number): FoundHeader | undefined {
    const header = attempt(() => readWalRecordHeader(bytes, at, this.#layout))
    if (header?.sequence !== sequence) return undefined
    return { header, raw: bytes.subarray(at, at + this.#layout.headerBytes) }
  }

  #patch(position: number, bytes: Uint8Array): void {
    this.#patches.push({ position, bytes })
    this.#recordsMended++
  }

  #note(reason: string, outcome: WalDamage['outcome']): void {
    this.#damage.push({ segment: this.#name, offset: this.#offset, reason, outcome })
  }
}

/** `checksum`: the payload has its digest, only the CRC-32 behind it is wrong. */
function payloadState(
  payload: Uint8Array,
  crcBytes: Uint8Array,
  { bytes, digest }: WalRecordHeader,
  mustMatch: boolean,
): 'good' | 'checksum' | 'damaged' {
  if (payload.length !== bytes) return 'damaged'
  const checksumHolds = crcBytes.length === walPayloadCrcBytes && crc32(payload) === readU32(crcBytes, 0)
  if (checksumHolds && !mustMatch) return 'good'
  if (!equalBytes(hash('sha256', payload, 'buffer'), digest)) return 'damaged'
  return checksumHolds ? 'good' : 'checksum'
}

function wholeRecord(header: Uint8Array, payload: Uint8Array): Uint8Array {
  const out = new Uint8Array(header.length + payload.length + walPayloadCrcBytes)
  out.set(header)
  out.set(payload, header.length)
  writeU32(out, header.length + payload.length, crc32(payload))
  return out
}

const zeros = Buffer.alloc(64 * 1024)

/** Length without the zeros at the end. */
function endOfContent(bytes: Uint8Array): number {
  let end = bytes.length
  // A segment may be almost all zeros: compared by the block.
  while (end >= zeros.length && zeros.equals(bytes.subarray(end - zeros.length, end))) end -= zeros.length
  while (end > 0 && bytes[end - 1] === 0) end--
  return end
}

function headerOf(bytes: Uint8Array, magic: number): WalSegmentHeader | undefined {
  return attempt(() => decodeWalSegmentHeader(bytes, magic))
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

/** A segment of the log: `<16 hex of its first sequence number>.wal`, and beside it `.refs` with its headers again. */
import { invariant } from '@cipherlog/core'
import {
  encodeWalSegmentHeader,
  type WalLayout,
  walLayouts,
  walMagic,
  walRefsMagic,
  walSegmentHeaderBytes,
} from '@cipherlog/format/wal-record'
import { type Disk, type DiskFile } from '../disk/disk.ts'
import { type WalIdentity } from './wal.ts'

/** Names of a segment's two files. */
export function segmentNames(firstSequence: number): { readonly wal: string; readonly refs: string } {
  const stem = firstSequence.toString(16).padStart(16, '0')
  return { wal: `${stem}.wal`, refs: `${stem}.refs` }
}

/** The first sequence number in a name of one of the two kinds; undefined for any other name. */
export function parseSegmentName(name: string, kind: 'wal' | 'refs'): number | undefined {
  const match = /^([0-9a-f]{16})\.(wal|refs)$/.exec(name)
  if (match === null || match[2] !== kind) return undefined
  const sequence = Number.parseInt(match[1]!, 16)
  return Number.isSafeInteger(sequence) ? sequence : undefined
}

export class Segment {
  readonly firstSequence: number
  readonly name: string
  readonly layout: WalLayout
  #files: readonly [wal: DiskFile, refs: DiskFile] | undefined
  /** Where the next record goes. */
  bytes: number
  /** Sequence number after the last record. */
  nextSequence: number
  /** Highest entry index per group (hex) among its records: what compaction asks. */
  readonly lastIndexes = new Map<string, number>()

  constructor(firstSequence: number, layout: WalLayout, bytes: number, nextSequence: number) {
    this.firstSequence = firstSequence
    this.name = segmentNames(firstSequence).wal
    this.layout = layout
    this.bytes = bytes
    this.nextSequence = nextSequence
  }

  get wal(): DiskFile {
    return this.#open()[0]
  }

  get refs(): DiskFile {
    return this.#open()[1]
  }

  #open(): readonly [wal: DiskFile, refs: DiskFile] {
    invariant(this.#files !== undefined, 'The files of a segment are used while they are open', { name: this.name })
    return this.#files
  }

  attach(wal: DiskFile, refs: DiskFile): void {
    this.#files = [wal, refs]
  }

  /** Where the header of record `sequence` stands in the refs file. */
  refsPosition(sequence: number): number {
    invariant(sequence >= this.firstSequence, 'A record stands in an earlier segment', { sequence })
    return walSegmentHeaderBytes + (sequence - this.firstSequence) * this.layout.headerBytes
  }

  /** Where the payload of a record that starts at `offset` is. */
  payloadPosition(offset: number): number {
    return offset + this.layout.headerBytes
  }

  /** Notes that the segment holds an entry. */
  noteEntry(groupHex: string, index: number): void {
    this.lastIndexes.set(groupHex, Math.max(index, this.lastIndexes.get(groupHex) ?? 0))
  }

  async close(): Promise<void> {
    for (const file of new Set(this.#files)) await file.close()
    this.#files = undefined
  }
}

/** Opens the two files of a segment. Every write to either returns only once it is durable. */
export async function openSegmentFiles(disk: Disk, firstSequence: number): Promise<[wal: DiskFile, refs: DiskFile]> {
  const names = segmentNames(firstSequence)
  const refs = await disk.open(names.refs, { durable: true })
  try {
    return [await disk.open(names.wal, { durable: true }), refs]
  } catch (error) {
    await refs.close()
    throw error
  }
}

/**
 * Sets the lengths of a segment's files ahead of what will be written, as one change of metadata instead of one with
 * every flush. Reads as zeros; takes no space.
 */
export async function preallocate({ wal, refs }: Segment, segmentBytes: number): Promise<void> {
  for (const [file, bytes] of [
    [wal, segmentBytes],
    [refs, Math.ceil(segmentBytes / refsShare)],
  ] as const) {
    if ((await file.size()) >= bytes) continue
    await file.truncate(bytes)
    await file.datasync()
  }
}

/** Bytes of segment to one byte of its refs file, with records of about 6 KiB. */
const refsShare = 64

/**
 * Creates an empty segment, durable with both names, over what a crash may have left of an earlier try.
 * @param preallocatedBytes - 0 for none.
 */
export async function createSegment(
  disk: Disk,
  identity: WalIdentity,
  firstSequence: number,
  preallocatedBytes: number,
): Promise<Segment> {
  const [wal, refs] = await openSegmentFiles(disk, firstSequence)
  const segment = new Segment(firstSequence, walLayouts.v2, walSegmentHeaderBytes, firstSequence)
  segment.attach(wal, refs)
  for (const [file, magic] of [
    [refs, walRefsMagic],
    [wal, walMagic],
  ] as const) {
    await file.truncate(0)
    await file.write(encodeWalSegmentHeader({ magic, ...identity, firstSequence }), 0)
    await file.datasync()
  }
  await preallocate(segment, preallocatedBytes)
  await disk.syncDirectory('')
  return segment
}

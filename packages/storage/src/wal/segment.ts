/** A segment of the log: `<16 hex of its first sequence number>.wal`, and beside it `.refs` with its headers again. */
import { invariant } from '@cipherlog/core'
import {
  encodeWalSegmentHeader,
  walMagic,
  walRecordHeaderBytes,
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
  readonly wal: DiskFile
  readonly refs: DiskFile
  /** Where the next record goes. */
  bytes: number
  /** Sequence number after the last record. */
  nextSequence: number
  /** Highest entry index per group (hex) among its records: what compaction asks. */
  readonly lastIndexes = new Map<string, number>()

  constructor(firstSequence: number, wal: DiskFile, refs: DiskFile, bytes: number, nextSequence: number) {
    this.firstSequence = firstSequence
    this.name = segmentNames(firstSequence).wal
    this.wal = wal
    this.refs = refs
    this.bytes = bytes
    this.nextSequence = nextSequence
  }

  /** Where the header of record `sequence` stands in the refs file. */
  refsPosition(sequence: number): number {
    invariant(sequence >= this.firstSequence, 'A record stands in an earlier segment', { sequence })
    return walSegmentHeaderBytes + (sequence - this.firstSequence) * walRecordHeaderBytes
  }

  /** Notes that the segment holds an entry. */
  noteEntry(groupHex: string, index: number): void {
    this.lastIndexes.set(groupHex, Math.max(index, this.lastIndexes.get(groupHex) ?? 0))
  }

  async close(): Promise<void> {
    await this.wal.close()
    await this.refs.close()
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

/** Creates an empty segment, durable with both names, over what a crash may have left of an earlier try. */
export async function createSegment(disk: Disk, identity: WalIdentity, firstSequence: number): Promise<Segment> {
  const [wal, refs] = await openSegmentFiles(disk, firstSequence)
  for (const [file, magic] of [
    [refs, walRefsMagic],
    [wal, walMagic],
  ] as const) {
    await file.truncate(0)
    await file.write(encodeWalSegmentHeader({ magic, ...identity, firstSequence }), 0)
    await file.datasync()
  }
  await disk.syncDirectory('')
  return new Segment(firstSequence, wal, refs, walSegmentHeaderBytes, firstSequence)
}

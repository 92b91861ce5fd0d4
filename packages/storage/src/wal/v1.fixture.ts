/** Writes segments of version 1 of the log, which nothing else writes any more. */
import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { concatBytes, writeU32, writeU64 } from '@cipherlog/core'
import { encodeHardState } from '@cipherlog/format/hard-state'
import { encodeWalSegmentHeader, walLayouts, walRecordKinds } from '@cipherlog/format/wal-record'
import type { HardState } from '@cipherlog/raft'
import { type WalEntry, type WalIdentity } from './wal.ts'

export interface V1Record {
  readonly hardState?: HardState
  readonly entry?: WalEntry
}

/** The first segment of a log: its two files. Each record is a batch of its own. */
export function encodeV1Segment(
  records: readonly V1Record[],
  group: Uint8Array,
  identity: WalIdentity,
): { wal: Uint8Array; refs: Uint8Array } {
  const { magic, refsMagic, headerBytes } = walLayouts.v1
  const wal = [encodeWalSegmentHeader({ magic, ...identity, firstSequence: 0 })]
  const refs = [encodeWalSegmentHeader({ magic: refsMagic, ...identity, firstSequence: 0 })]
  for (const [sequence, { hardState, entry }] of records.entries()) {
    const payload = entry?.payload ?? encodeHardState(hardState!)
    const header = new Uint8Array(headerBytes)
    writeU32(header, 0, payload.length)
    header[4] = entry === undefined ? walRecordKinds.hardState : walRecordKinds.entry
    header[5] = 1
    header[7] = entry?.ref.kind ?? 0
    writeU64(header, 8, sequence)
    header.set(group, 16)
    writeU64(header, 32, entry?.ref.term ?? hardState!.term)
    writeU64(header, 40, entry?.ref.index ?? hardState!.commit)
    writeU64(header, 48, entry?.ref.time ?? 0)
    header.set(createHash('sha256').update(payload).digest(), 56)
    writeU32(header, 88, crc32(header.subarray(0, 88)))
    const checksum = new Uint8Array(4)
    writeU32(checksum, 0, crc32(payload))
    wal.push(header, payload, checksum)
    refs.push(header)
  }
  return { wal: concatBytes(...wal), refs: concatBytes(...refs) }
}

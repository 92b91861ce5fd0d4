/** Payloads of entries, from memory where they are cached, else from their segments, each checked against its digest. */
import { hash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { equalBytes, writeU32 } from '@cipherlog/core'
import { walPayloadCrcBytes, walRecordBytes } from '@cipherlog/format/wal-record'
import { WalPayloadDamagedError } from '../errors.ts'
import { type Slot } from './group-log.ts'
import { type WalEntry } from './wal.ts'

/** @throws {@link WalPayloadDamagedError} */
export async function readSlots(slots: readonly Slot[]): Promise<WalEntry[]> {
  for (const { damaged, payload, ref, segment, offset } of slots) {
    if (damaged && payload === undefined) throw new WalPayloadDamagedError(ref.index, segment!.name, offset)
  }
  // Decided before the first await: a payload may leave the cache, but never before it is on disk.
  const runs: { slots: Slot[]; payloads: Uint8Array[] | undefined }[] = []
  for (const slot of slots) {
    const last = runs.at(-1)
    if (slot.payload !== undefined) {
      if (last?.payloads !== undefined) {
        last.slots.push(slot)
        last.payloads.push(slot.payload)
      } else {
        runs.push({ slots: [slot], payloads: [slot.payload] })
      }
    } else if (last !== undefined && last.payloads === undefined && adjacent(last.slots.at(-1)!, slot)) {
      last.slots.push(slot)
    } else {
      runs.push({ slots: [slot], payloads: undefined })
    }
  }
  const out: WalEntry[] = []
  for (const run of runs) {
    const payloads = run.payloads ?? (await readRun(run.slots))
    run.slots.forEach(({ ref }, number) => out.push({ ref, payload: payloads[number]! }))
  }
  return out
}

/** Writes an entry's payload over its damaged one. Until the write is whole, the header still says what belongs here. */
export async function rewritePayload(slot: Slot, payload: Uint8Array): Promise<void> {
  const bytes = new Uint8Array(payload.length + walPayloadCrcBytes)
  bytes.set(payload)
  writeU32(bytes, payload.length, crc32(payload))
  const segment = slot.segment!
  await segment.wal.write(bytes, segment.payloadPosition(slot.offset))
  slot.damaged = false
}

function adjacent(before: Slot, slot: Slot): boolean {
  return (
    before.segment === slot.segment &&
    before.offset + walRecordBytes(before.ref.bytes, before.segment?.layout) === slot.offset
  )
}

/** Payloads of adjacent records, read at once and checked. */
async function readRun(slots: readonly Slot[]): Promise<Uint8Array[]> {
  const [first, last] = [slots[0]!, slots.at(-1)!]
  const segment = first.segment!
  const length = last.offset + walRecordBytes(last.ref.bytes, segment.layout) - first.offset
  let bytes: Uint8Array
  try {
    bytes = await segment.wal.read(first.offset, length)
  } catch (cause) {
    throw new WalPayloadDamagedError(first.ref.index, segment.name, first.offset, cause)
  }
  return slots.map((slot) => {
    const { ref, offset } = slot
    const at = segment.payloadPosition(offset) - first.offset
    const payload = bytes.subarray(at, at + ref.bytes)
    if (payload.length !== ref.bytes || !equalBytes(hash('sha256', payload, 'buffer'), ref.digest)) {
      slot.damaged = true
      throw new WalPayloadDamagedError(ref.index, segment.name, offset)
    }
    return payload
  })
}

/**
 * Packs, `tile/bundle/<N>` and `tile/body/<N>`: 2,048 bytes of 256 × (offset u32, length u32), big-endian, then the
 * data of each leaf in order, with nothing between or after (DESIGN §5 "Trail").
 *
 * A pack of bodies may have 2 GiB, so only its table is read at once; data comes in runs of some leaves.
 */
import { DecodeError, emptyBytes, readU32 } from '@cipherlog/core'
import { bodiesBytesMax, bundleBytesMax, keyEventBytesMax } from '@cipherlog/format'
import { bodyPath, bundlePath, tileWidthMax } from '@cipherlog/merkle/verify'
import { type TrailReader } from './trail-reader.ts'

export const packTableBytes = tileWidthMax * 8

/** Bytes of one leaf's data: what any signed array may have, and all bodies of one bundle. */
const slotBytesMax = { bundle: Math.max(bundleBytesMax, keyEventBytesMax) + 4096, body: bodiesBytesMax } as const

/** Data read at once, unless a single leaf has more. */
const runBytesMax = 4 * 1024 * 1024

export interface Pack {
  readonly path: string
  /** Where each leaf's data begins, and behind the last one where data ends. */
  readonly offsets: readonly number[]
}

/**
 * The table of a pack.
 * @param table - 2,048 bytes.
 * @param leaves - how many of them the checkpoint covers; what follows may still grow.
 * @returns where each leaf's data begins, and where the last one's ends.
 * @throws {@link DecodeError} `ERR_AUDIT_PACK` unless data is contiguous in leaf order, unused slots are zero, no
 * leaf has more than `slotBytesMax`, and a finished pack ends where the file does.
 */
export function parsePackTable(
  table: Uint8Array,
  { fileBytes, leaves, slotBytesMax }: { fileBytes: number; leaves: number; slotBytesMax: number },
): { offsets: number[]; usedBeyond: boolean } {
  const offsets: number[] = []
  let end = packTableBytes
  for (let slot = 0; slot < tileWidthMax; slot++) {
    const offset = readU32(table, slot * 8)
    const length = readU32(table, slot * 8 + 4)
    if (slot <= leaves) offsets.push(end)
    if (offset !== (length === 0 ? 0 : end)) throw malformed(`the data of slot ${slot} does not follow the one before`)
    if (length > slotBytesMax) throw malformed(`slot ${slot} has ${length} bytes, at most ${slotBytesMax} make sense`)
    if (end + length > fileBytes) throw malformed(`the data of slot ${slot} lies behind the end of the file`)
    end += length
  }
  if (leaves === tileWidthMax) offsets.push(end)
  // Data is written before the table that names it: of a pack that grows, the end is nobody's yet.
  if (leaves === tileWidthMax && end !== fileBytes) throw malformed(`${fileBytes - end} bytes follow its last leaf`)
  return { offsets, usedBeyond: fileBytes > offsets.at(-1)! }
}

/** The pack of tile `index`, as far as `leaves` leaves go; undefined, with a problem, if it is malformed. */
export async function openPack(
  reader: TrailReader,
  kind: 'bundle' | 'body',
  index: number,
  leaves: number,
): Promise<Pack | 'missing' | undefined> {
  const path = kind === 'bundle' ? bundlePath(index) : bodyPath(index)
  const { remarks } = reader
  const fileBytes = reader.bytesOf(path)
  if (fileBytes === undefined) {
    if (kind === 'body') {
      const message = 'Without the bodies, verdicts and sums are taken from the cosigned records.'
      remarks.finding('bodies not available', path, message)
    } else {
      remarks.problem('ERR_AUDIT_MISSING', path, 'The pack of signed bytes is missing; copy it again.')
    }
    return 'missing'
  }
  if (fileBytes < packTableBytes) {
    remarks.problem('ERR_AUDIT_PACK', path, 'The pack is malformed: its table is cut off.')
    return undefined
  }
  const table = await reader.range(path, 0, packTableBytes)
  const parsed =
    table && remarks.attempt(path, () => parsePackTable(table, { fileBytes, leaves, slotBytesMax: slotBytesMax[kind] }))
  if (parsed === undefined) return undefined
  if (parsed.usedBeyond) {
    const message = `What follows the ${leaves} leaves under the checkpoint is not covered yet.`
    remarks.finding('beyond the checkpoint', path, message)
  }
  return { path, offsets: parsed.offsets }
}

/** Cuts `leaves` leaves into runs [from, to) whose data is read at once. */
export function runsOf(packs: readonly Pack[], leaves: number): [from: number, to: number][] {
  const runs: [number, number][] = []
  const bytesOf = (from: number, to: number): number =>
    packs.reduce((sum, { offsets }) => sum + offsets[to]! - offsets[from]!, 0)
  for (let from = 0; from < leaves;) {
    let to = from + 1
    while (to < leaves && bytesOf(from, to + 1) <= runBytesMax) to++
    runs.push([from, to])
    from = to
  }
  return runs
}

/** The data of leaves [from, to) of a pack, empty where there is none. Undefined, with a problem, if unreadable. */
export async function readRun(
  reader: TrailReader,
  { path, offsets }: Pack,
  from: number,
  to: number,
): Promise<Uint8Array[] | undefined> {
  const start = offsets[from]!
  const length = offsets[to]! - start
  const bytes = length === 0 ? emptyBytes : await reader.range(path, start, length)
  if (bytes === undefined) return undefined
  return Array.from({ length: to - from }, (_, i) =>
    bytes.subarray(offsets[from + i]! - start, offsets[from + i + 1]! - start),
  )
}

function malformed(problem: string): DecodeError {
  return new DecodeError('ERR_AUDIT_PACK', `The pack is malformed: ${problem}.`)
}

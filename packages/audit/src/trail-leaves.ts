/** The leaves of one tile: records joined with signed bytes and bodies, some at a time. */
import { tileWidthMax } from '@cipherlog/merkle/verify'
import { openPack, readRun, runsOf } from './packs.ts'
import { type TrailReader } from './trail-reader.ts'

/** What the trail says of one leaf. */
export interface TrailLeaf {
  readonly index: number
  readonly record: Uint8Array
  /** Empty of a batch record, which nobody signs. */
  readonly signed: Uint8Array
  /** Undefined: this trail does not hold bodies here. */
  readonly body: Uint8Array | undefined
}

/** Yields the leaves of tile `index` in runs. Ends early, with a problem, where a pack is damaged. */
export async function* readLeaves(
  reader: TrailReader,
  index: number,
  records: readonly Uint8Array[],
): AsyncGenerator<TrailLeaf[], void> {
  const bundles = await openPack(reader, 'bundle', index, records.length)
  const bodies = await openPack(reader, 'body', index, records.length)
  if (bundles === undefined || bundles === 'missing' || bodies === undefined) return
  const packs = bodies === 'missing' ? [bundles] : [bundles, bodies]
  for (const [from, to] of runsOf(packs, records.length)) {
    const [signed, body] = await Promise.all(packs.map((pack) => readRun(reader, pack, from, to)))
    if (signed === undefined || (bodies !== 'missing' && body === undefined)) return
    yield signed.map((bytes, i) => ({
      index: index * tileWidthMax + from + i,
      record: records[from + i]!,
      signed: bytes,
      body: body?.[i],
    }))
  }
}

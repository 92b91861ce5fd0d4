/**
 * Reads a whole log and says what it holds and what opening it must write. Changes nothing on disk: opening carries
 * the plan out (segmented-wal.ts), an offline check only looks at it (fsck).
 */
import { type Disk } from '../disk/disk.ts'
import { readableFile } from './readable.ts'
import { Replay } from './replay.ts'
import { scanSegment, type ScannedSegment } from './scan.ts'
import { parseSegmentName, Segment, segmentNames } from './segment.ts'
import { type WalDamage, type WalIdentity, type WalRepairs } from './wal.ts'

/** Places of damage that are reported one by one; a disk that has more is described by these. */
const damageMax = 1_000

export interface SegmentPlan {
  readonly segment: Segment
  readonly scanned: ScannedSegment
  readonly hasWal: boolean
}

export interface LogPlan {
  readonly segments: readonly SegmentPlan[]
  /** First sequence numbers of segments that hold nothing: what a crash left of one that was being created. */
  readonly empty: readonly number[]
  readonly replay: Replay
  readonly repairs: WalRepairs
  readonly damage: readonly WalDamage[]
}

/**
 * @param checkDigests - see {@link scanSegment}.
 * @param onSegment - called after each segment with how many of how many are done.
 * @throws `ERR_WAL_CORRUPT`, `ERR_DATA_DIR_FOREIGN`.
 */
export async function readLog(
  disk: Pick<Disk, 'list' | 'open' | 'readFile'>,
  identity: WalIdentity,
  checkDigests = false,
  onSegment: (done: number, of: number) => void = () => {},
): Promise<LogPlan> {
  const firsts = await listSegments(disk)
  const segments: SegmentPlan[] = []
  const empty: number[] = []
  const repairs = { bytesCut: 0, recordsMended: 0, refsMended: 0 }
  const damage: WalDamage[] = []
  const replay = new Replay(identity.peerId)
  for (const [number, firstSequence] of firsts.entries()) {
    const names = segmentNames(firstSequence)
    const wal = await readableFile(disk, names.wal)
    const refs = await readableFile(disk, names.refs)
    const files = { firstSequence, endSequence: firsts[number + 1], wal, refs }
    const scanned = scanSegment(files, identity, checkDigests)
    repairs.bytesCut += scanned.bytesCut
    repairs.recordsMended += scanned.recordsMended
    repairs.refsMended += scanned.refsMended
    damage.push(...scanned.damage.slice(0, damageMax - damage.length))
    if (scanned.items.length === 0) {
      empty.push(firstSequence)
    } else {
      const segment = new Segment(firstSequence, scanned.layout, scanned.walBytes, scanned.nextSequence)
      replay.take(segment, scanned)
      segments.push({ segment, scanned, hasWal: wal !== undefined })
    }
    onSegment(number + 1, firsts.length)
  }
  replay.finish()
  const groups = [...replay.groups.values()]
  const slots = groups.flatMap(({ log }) => [...log.damaged, ...(log.doubt?.known ?? [])])
  const holes = new Set(slots.map(({ segment, offset }) => placeOf({ segment: segment?.name, offset })))
  const inDoubt = groups.length === 0 || groups.some(({ log }) => log.doubt !== undefined)
  return {
    segments,
    empty,
    replay,
    repairs,
    damage: damage.map((one) => {
      const isMissed = one.outcome === 'doubt' ? inDoubt : one.outcome !== 'hole' || holes.has(placeOf(one))
      return isMissed ? one : { ...one, outcome: 'mended', reason: `${one.reason}; nothing needs it` }
    }),
  }
}

function placeOf({ segment, offset }: { segment: string | undefined; offset: number }): string {
  return `${segment} ${offset}`
}

/** First sequence numbers of the segments of which there is a file, in order. */
async function listSegments(disk: Pick<Disk, 'list'>): Promise<number[]> {
  const entries = await disk.list('')
  const firsts = entries.map(({ name }) => parseSegmentName(name, 'wal') ?? parseSegmentName(name, 'refs'))
  return [...new Set(firsts.filter((first) => first !== undefined))].sort((a, b) => a - b)
}

/** Brings a segment's two files to what the plan says. They are open, and every write is durable when it returns. */
export async function mendSegment({ segment, scanned }: SegmentPlan): Promise<void> {
  const { walBytes, refsBytes, refsPatch } = scanned
  if (scanned.bytesCut > 0) {
    await segment.wal.truncate(walBytes)
    await segment.wal.datasync()
  }
  // These writes are durable before the copies in the refs file vouch for them.
  for (const patch of scanned.walPatches) await segment.wal.write(patch.bytes, patch.position)
  if (scanned.refsCut > 0) {
    await segment.refs.truncate(refsBytes)
    await segment.refs.datasync()
  }
  if (refsPatch !== undefined) await segment.refs.write(refsPatch.bytes, refsPatch.position)
  await segment.refs.datasync()
}

import { describe, expect, it } from 'vitest'
import { errorCode, readU32 } from '@cipherlog/core'
import { walRecordBytes, walRecordHeaderBytes, walSegmentHeaderBytes } from '@cipherlog/format/wal-record'
import { createMemoryDisk, type MemoryDisk } from '../disk/memory-disk.ts'
import { seededRandom } from '../random.fixture.ts'
import { identity } from './compliance.fixture.ts'
import { checkAndHeal, type Model, type Outcome, randomLife, runLife } from './life.fixture.ts'
import { createMemoryWal } from './open-wal.ts'
import { parseSegmentName, segmentNames } from './segment.ts'

const options = { identity, segmentBytes: 1500, cacheBytesMax: 0 }

async function written(seed: number, preallocate: boolean): Promise<{ disk: MemoryDisk; models: Model[] }> {
  const { appends, models } = randomLife(seededRandom(seed), 30)
  const disk = createMemoryDisk()
  const wal = createMemoryWal({ ...options, preallocate }, disk)
  await wal.open()
  await runLife(wal, appends)
  await wal.close()
  return { disk, models }
}

/** Opens, checks, heals, and does it again: what was healed must stay. */
async function openAndHeal(disk: MemoryDisk, models: readonly Model[], total: Outcome): Promise<void> {
  for (const again of [false, true]) {
    const wal = createMemoryWal(options, disk)
    try {
      const contents = await wal.open()
      for (const model of models) {
        const outcome = await checkAndHeal(
          wal,
          contents,
          again ? { ...model, hardState: contents.group(model.group).hardState! } : model,
        )
        if (again) expect(outcome).toMatchObject({ holes: 0, doubts: 0 })
        for (const name of ['holes', 'doubts', 'abstained', 'termsUnknown'] as const) total[name] += outcome[name]
      }
    } finally {
      await wal.close()
    }
  }
}

type Damage = (disk: MemoryDisk, random: () => number) => Promise<void>

/** Lives with damage, by seed; what came of them. */
async function survive(seeds: number, damage: Damage): Promise<Outcome & { refused: number }> {
  const total = { holes: 0, doubts: 0, abstained: 0, termsUnknown: 0, refused: 0 }
  for (let seed = 0; seed < seeds; seed++) {
    const { disk, models } = await written(seed, seed % 2 === 0)
    await damage(disk, seededRandom(seed + 1e6))
    try {
      await openAndHeal(disk, models, total)
    } catch (error) {
      if (errorCode(error) !== 'ERR_WAL_CORRUPT') throw new Error(`seed ${seed}`, { cause: error })
      total.refused++
    }
  }
  return total
}

/** Fills with bytes that are not zero. */
function scribble(disk: MemoryDisk, path: string, from: number, to: number, random: () => number): void {
  disk.damage(path, (bytes) => {
    for (let at = from; at < Math.min(to, bytes.length); at++) bytes[at] = 1 + Math.floor(random() * 255)
    return bytes
  })
}

describe('a damaged log is mended, has holes, is in doubt or refused, and never loses anything silently', () => {
  it('with scribbles in up to five places', async () => {
    const total = await survive(250, async (disk, random) => {
      const paths = disk.paths()
      for (let places = 1 + Math.floor(random() * 5); places > 0; places--) {
        const path = paths[Math.floor(random() * paths.length)]!
        const used = (await disk.readFile(path))!.findLastIndex((byte) => byte !== 0) + 1
        const from = Math.floor(random() * used)
        const length = random() < 0.5 ? 1 : 1 + Math.floor(random() * 300)
        scribble(disk, path, from, Math.min(from + length, used), random)
      }
    })
    expect(total.holes).toBeGreaterThan(50)
    expect(total.refused).toBeLessThan(25)
  })

  it('with runs of records whose headers are gone from both files', async () => {
    const total = await survive(600, async (disk, random) => {
      for (let runs = 1 + Math.floor(random() * 2); runs > 0; runs--) {
        const firsts = disk.paths().flatMap((name) => parseSegmentName(name, 'wal') ?? [])
        const { wal, refs } = segmentNames(firsts[Math.floor(random() * firsts.length)]!)
        const headers = (await disk.readFile(refs))!
        const offsets: number[] = []
        let offset = walSegmentHeaderBytes
        for (let at = walSegmentHeaderBytes; at < headers.length; at += walRecordHeaderBytes) {
          const bytes = readU32(headers, at)
          if (headers[at + 4] === 0 || bytes > 1e4) break
          offsets.push(offset)
          offset += walRecordBytes(bytes)
        }
        const from = Math.floor(random() * offsets.length)
        const to = from + 1 + Math.floor(random() * random() * 5)
        for (const [number, at] of offsets.slice(from, to).entries()) {
          const copy = walSegmentHeaderBytes + (from + number) * walRecordHeaderBytes
          scribble(disk, wal, at, at + walRecordHeaderBytes, random)
          scribble(disk, refs, copy, copy + walRecordHeaderBytes, random)
        }
      }
    })
    expect(total.doubts).toBeGreaterThan(300)
    expect(total.termsUnknown).toBeGreaterThan(10)
    expect(total.abstained).toBeGreaterThan(10)
    expect(total.refused).toBe(0)
  })

  it('with files lost: a segment, a refs file, or both of one that is not the last', async () => {
    const total = await survive(150, async (disk, random) => {
      const firsts = disk.paths().flatMap((name) => parseSegmentName(name, 'wal') ?? [])
      const number = Math.floor(random() * firsts.length)
      const { wal, refs } = segmentNames(firsts[number]!)
      const which = random()
      if (which < 2 / 3) await disk.remove(which < 1 / 3 ? wal : refs)
      else if (number > 0 && number < firsts.length - 1) for (const path of [wal, refs]) await disk.remove(path)
    })
    expect(total.holes).toBeGreaterThan(100)
    expect(total.doubts).toBeGreaterThan(10)
    expect(total.refused).toBe(0)
  })

  it('with a segment zeroed from somewhere on, as some disks leave it after a power loss', async () => {
    const total = await survive(100, async (disk, random) => {
      const name = disk.paths().findLast((path) => path.endsWith('.wal'))!
      disk.damage(name, (bytes) => bytes.fill(0, walSegmentHeaderBytes + Math.floor(random() * 400)))
    })
    expect(total.holes).toBeGreaterThan(100)
    expect(total).toMatchObject({ doubts: 0, refused: 0 })
  })
})

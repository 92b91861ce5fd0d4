import { describe, expect, it } from 'vitest'
import { equalBytes } from '@cipherlog/core'
import { type HardState } from '@cipherlog/raft'
import { type Disk } from '../disk/disk.ts'
import { createMemoryDisk, type MemoryDisk } from '../disk/memory-disk.ts'
import { seededRandom } from '../random.fixture.ts'
import { codeOf, entries, entry, group, identity, peer } from './compliance.fixture.ts'
import { createMemoryWal } from './open-wal.ts'
import { segmentNames } from './segment.ts'
import { createWal } from './segmented-wal.ts'
import { type Wal, type WalAppend, type WalContents } from './wal.ts'

const options = { identity, segmentBytes: 900 }

/** A life of a log: growth, a vote, overwritten suffixes, enough for three segments. */
const workload: readonly WalAppend[] = [
  { ...entries(1, 1, 2), hardState: { term: 1, votedFor: peer, commit: 0 } },
  entries(1, 3, 5),
  { group, entries: [], hardState: { term: 1, votedFor: peer, commit: 3 }, fencingTerm: 1 },
  { group, entries: [], hardState: { term: 2, votedFor: undefined, commit: 3 }, fencingTerm: 2 },
  { ...entries(2, 4, 4), truncateFrom: 4 },
  { group, entries: [entry(5, 2, new Uint8Array(700).fill(5))], fencingTerm: 2 },
  entries(2, 6, 8),
  { ...entries(3, 8, 9), truncateFrom: 8, hardState: { term: 3, votedFor: peer, commit: 5 } },
  entries(3, 10, 14),
]

/** What the log holds after the first `count` appends, said the slow way. */
function modelAfter(count: number): { hardState: HardState | undefined; list: string[] } {
  let hardState: HardState | undefined
  const list: string[] = []
  for (const append of workload.slice(0, count)) {
    hardState = append.hardState ?? hardState
    if (append.truncateFrom !== undefined) list.length = append.truncateFrom - 1
    for (const { ref } of append.entries) list.push(`${ref.term}/${ref.index}`)
  }
  return { hardState, list }
}
const models = workload
  .map((_, number) => modelAfter(number))
  .concat(modelAfter(workload.length))
  .map((model) => JSON.stringify(model))

/** By term/index. */
const payloads = new Map(
  workload.flatMap(({ entries: list }) => list.map(({ ref, payload }) => [`${ref.term}/${ref.index}`, payload])),
)
const other = '0a'.repeat(16)

/** How many appends the log holds. Fails if it holds anything but a whole number of them. */
async function appendsIn(wal: Wal, contents: WalContents): Promise<number[]> {
  const found = contents.group(group)
  const last = found.baseIndex + found.refs.length
  const payloads = found.refs.length === 0 ? [] : await wal.read(group, found.baseIndex + 1, last, 1e9)
  expect(payloads.length).toBe(found.refs.length)
  const list = found.refs.map((ref) => `${ref.term}/${ref.index}`)
  const held = JSON.stringify({ hardState: found.hardState, list })
  const matches = models.flatMap((model, number) => (model === held ? [number] : []))
  expect(matches.length, `the log holds ${held}, which no prefix of the appends explains`).toBeGreaterThan(0)
  return matches
}

/** Runs the workload from append `from` on, two at a time; returns how many were acknowledged. */
async function run(wal: Wal, from = 0): Promise<number> {
  let acknowledged = from
  for (let at = from; at < workload.length; at += 2) {
    const pair = workload.slice(at, at + 2).map((append, number) =>
      wal.append(append).then(
        () => (acknowledged = Math.max(acknowledged, at + number + 1)),
        () => {},
      ),
    )
    await Promise.all(pair)
  }
  return acknowledged
}

async function openOn(disk: MemoryDisk): Promise<{ wal: Wal; contents: WalContents }> {
  const wal = createMemoryWal(options, disk)
  return { wal, contents: await wal.open() }
}

/** Faults the `number`-th operation that changes the disk; counts them. */
function faultAt(disk: MemoryDisk, number: number, fault: 'crash' | 'fail', forEver = false): () => number {
  let count = 0
  disk.fault = () => {
    count++
    return count === number || (forEver && count > number) ? fault : undefined
  }
  return () => count
}

async function operationsOf(work: (disk: MemoryDisk) => Promise<void>): Promise<number> {
  const disk = createMemoryDisk()
  const count = faultAt(disk, Infinity, 'fail')
  await work(disk)
  return count()
}

async function wholeLife(disk: MemoryDisk): Promise<void> {
  const { wal } = await openOn(disk)
  await run(wal)
  await wal.close()
}

describe('the write-ahead log when the machine stops', () => {
  it('loses nothing acknowledged, at a power loss at any write or sync', async () => {
    const operations = await operationsOf(wholeLife)
    expect(operations).toBeGreaterThan(20)
    let torn = 0
    for (let at = 1; at <= operations; at++) {
      for (let seed = 0; seed < 12; seed++) {
        const disk = createMemoryDisk()
        faultAt(disk, at, 'crash')
        const wal = createMemoryWal({ ...options, preallocate: seed % 2 === 0 }, disk)
        await wal.open()
        const acknowledged = await run(wal)
        disk.restart(seededRandom(1000 * at + seed))
        disk.fault = () => undefined

        const second = await openOn(disk)
        torn += second.contents.repairs.bytesCut > 0 ? 1 : 0
        const held = (await appendsIn(second.wal, second.contents)).at(-1)!
        expect(held).toBeGreaterThanOrEqual(acknowledged)
        // It goes on as if nothing had happened, and what it holds now stays through another power loss.
        expect(await run(second.wal, held)).toBe(workload.length)
        disk.crash()
        disk.restart(seededRandom(seed))
        const third = await openOn(disk)
        expect(await appendsIn(third.wal, third.contents)).toContain(workload.length)
        expect(third.contents.repairs.bytesCut).toBe(0)
      }
    }
    expect(torn).toBeGreaterThan(10)
  })

  it('loses nothing acknowledged, at a power loss at any write or sync of recovery itself', async () => {
    for (let seed = 0; seed < 200; seed++) {
      const disk = createMemoryDisk()
      faultAt(disk, 10 + (seed % 40), 'crash')
      const acknowledged = await run((await openOn(disk)).wal)
      disk.restart(seededRandom(seed))
      for (let at = 1; ; at++) {
        faultAt(disk, at, 'crash')
        const code = await codeOf(openOn(disk))
        disk.restart(seededRandom(100 * seed + at))
        disk.fault = () => undefined
        if (code === undefined) break
        expect(code).toBe('ERR_STORAGE_FAILED')
      }
      const { wal, contents } = await openOn(disk)
      expect((await appendsIn(wal, contents)).at(-1)).toBeGreaterThanOrEqual(acknowledged)
    }
  })

  it('loses nothing acknowledged when the process dies at any write or sync, and power fails after its restart', async () => {
    const operations = await operationsOf(wholeLife)
    for (let at = 1; at <= operations; at++) {
      const disk = createMemoryDisk()
      faultAt(disk, at, 'fail', true)
      const acknowledged = await run((await openOn(disk)).wal)
      disk.fault = () => undefined

      const second = await openOn(disk)
      const held = (await appendsIn(second.wal, second.contents)).at(-1)!
      expect(held).toBeGreaterThanOrEqual(acknowledged)
      disk.crash()
      disk.restart(seededRandom(at))
      const third = await openOn(disk)
      expect(await appendsIn(third.wal, third.contents)).toContain(held)
    }
  })

  it('drops no segment that is needed, at a power loss at any step of compaction', async () => {
    const compacted = async (disk: MemoryDisk) => {
      const { wal } = await openOn(disk)
      await run(wal)
      await wal.compactTo(group, 12).catch(() => {})
      await wal.close().catch(() => {})
    }
    const before = await operationsOf(wholeLife)
    const after = await operationsOf(compacted)
    expect(after).toBeGreaterThan(before)
    for (let at = before + 1; at <= after; at++) {
      for (let seed = 0; seed < 10; seed++) {
        const disk = createMemoryDisk()
        faultAt(disk, at, 'crash')
        await compacted(disk)
        disk.restart(seededRandom(seed))
        disk.fault = () => undefined
        const found = (await openOn(disk)).contents.group(group)
        expect(found.baseIndex).toBeLessThanOrEqual(12)
        expect(found.baseIndex + found.refs.length).toBe(14)
        expect(found.hardState).toEqual(modelAfter(workload.length).hardState)
      }
    }
  })
})

describe('compaction beside a segment that is being begun', () => {
  it('waits until the new segment repeats what the old ones hold', async () => {
    const disk = createMemoryDisk()
    let letGo = () => {}
    const gate = new Promise<void>((resolve) => (letGo = resolve))
    let reached = () => {}
    const beforeStart = new Promise<void>((resolve) => (reached = resolve))
    const slow: Disk = {
      ...disk,
      async open(path, how) {
        const file = await disk.open(path, how)
        if (path !== segmentNames(9).wal) return file
        return {
          ...file,
          async write(bytes, position) {
            if (position >= 512) {
              reached()
              await gate
            }
            await file.write(bytes, position)
          },
        }
      },
    }
    const wal = createWal(slow, { identity, segmentBytes: 1400 })
    await wal.open()
    const hardState = { term: 1, votedFor: peer, commit: 8 }
    await wal.append({ ...entries(1, 1, 8), hardState })
    const pending = codeOf(wal.append(entries(1, 9, 9)))
    await beforeStart
    expect(await wal.compactTo(group, 8)).toBe(0)
    disk.crash()
    letGo()
    expect(await pending).toBe('ERR_STORAGE_FAILED')
    disk.restart(seededRandom(1))
    const { contents } = await openOn(disk)
    expect(contents.group(group).hardState).toEqual(hardState)
  })
})

describe('the write-ahead log on a failing disk', () => {
  it('rejects every append, pending and later, after any write or sync failed once', async () => {
    const operations = await operationsOf(wholeLife)
    for (let at = 1; at <= operations; at++) {
      const disk = createMemoryDisk()
      faultAt(disk, at, 'fail')
      const { wal } = await openOn(disk)
      const codes = await Promise.all(workload.map((append) => codeOf(wal.append(append))))
      const first = codes.indexOf('ERR_STORAGE_FAILED')
      // The whole workload fits fewer flushes when all of it is submitted at once.
      if (first === -1) continue
      expect(new Set(codes.slice(first))).toEqual(new Set(['ERR_STORAGE_FAILED']))
      expect(await codeOf(wal.append(entries(3, 15, 15)))).toBe('ERR_STORAGE_FAILED')
      await wal.close()
    }
  })
})

describe('the write-ahead log on a damaged disk', () => {
  it('mends every single bit flip, or reports a hole that a repair mends, and never loses an acknowledged append', async () => {
    const outcomes = { same: 0, hole: 0, vote: 0 }
    const disk = createMemoryDisk()
    const twoSegments = { identity, segmentBytes: 1500 }
    const first = createMemoryWal(twoSegments, disk)
    await first.open()
    await run(first)
    await first.close()
    const paths = disk.paths()
    expect(paths.length).toBe(4)
    for (const path of paths) {
      const good = (await disk.readFile(path))!
      for (let at = 0; at < good.length; at++) {
        const bit = 1 << ((at * 5) & 7)
        disk.damage(path, (bytes) => {
          bytes[at]! ^= bit
          return bytes
        })
        const wal = createMemoryWal(twoSegments, disk)
        const contents = await wal.open()
        const { holes, doubt } = contents.group(group)
        expect(doubt).toBeUndefined()
        for (const { index, term } of holes) {
          expect(await codeOf(wal.read(group, index, index, 1))).toBe('ERR_WAL_PAYLOAD_DAMAGED')
          await wal.repair(group, index, payloads.get(`${term}/${index}`)!)
        }
        const isVote = contents.damage.some(({ reason }) => reason.startsWith('the vote'))
        const isDropped = contents.damage.some(({ reason }) => reason.endsWith('nothing needs it'))
        if (isDropped) {
          expect(await appendsIn(wal, contents)).toContain(workload.length)
          disk.damage(path, () => good)
        } else if (!isVote) {
          expect(await appendsIn(wal, contents)).toContain(workload.length)
          expect(equalBytes((await disk.readFile(path))!, good), `byte ${at} of ${path} was not mended`).toBe(true)
        } else {
          disk.damage(path, () => good)
        }
        outcomes[isVote ? 'vote' : holes.length > 0 ? 'hole' : 'same']++
        await wal.close()
      }
    }
    expect(outcomes.hole).toBeGreaterThan(700)
    expect(outcomes.vote).toBeGreaterThan(50)
    expect(outcomes.same).toBeGreaterThan(4 * 512 + 2 * 20 * 100)
  })

  it('loses nothing acknowledged when a power loss and one bit flip anywhere come together', async () => {
    const outcomes = { whole: 0, holes: 0, doubts: 0 }
    for (let seed = 0; seed < 1000; seed++) {
      const random = seededRandom(seed)
      const disk = createMemoryDisk()
      const preallocate = seed % 3 === 0
      faultAt(disk, 6 + Math.floor(random() * 60), 'crash')
      const first = createMemoryWal({ ...options, preallocate }, disk)
      const acknowledged = await first.open().then(
        () => run(first),
        () => 0,
      )
      disk.restart(random)
      disk.fault = () => undefined
      const paths = disk.paths()
      const path = paths[Math.floor(random() * paths.length)]
      if (path !== undefined) {
        disk.damage(path, (bytes) => {
          if (bytes.length > 0) bytes[Math.floor(random() * bytes.length)]! ^= 1 << Math.floor(random() * 8)
          return bytes
        })
      }
      const wal = createMemoryWal({ ...options, preallocate }, disk)
      const contents = await wal.open()
      const { holes, doubt, refs, hardState } = contents.group(group)
      if (doubt !== undefined) {
        outcomes.doubts++
        const { list } = modelAfter(acknowledged)
        const names = refs.map((ref) => `${ref.term}/${ref.index}`)
        expect(list.slice(0, doubt.fromIndex - 1)).toEqual(names.slice(0, Math.min(list.length, doubt.fromIndex - 1)))
        continue
      }
      for (const { index, term } of holes) await wal.repair(group, index, payloads.get(`${term}/${index}`)!)
      if (hardState?.votedFor === peer && contents.damage.some(({ reason }) => reason.startsWith('the vote'))) continue
      const held = await appendsIn(wal, contents)
      expect(held.at(-1), `seed ${seed}`).toBeGreaterThanOrEqual(acknowledged)
      outcomes[holes.length > 0 ? 'holes' : 'whole']++
    }
    expect(outcomes.whole).toBeGreaterThan(600)
    expect(outcomes.holes).toBeGreaterThan(20)
  })

  it('keeps what is known of a record that is damaged together with its copy', async () => {
    const disk = createMemoryDisk()
    const wal = createMemoryWal({ identity }, disk)
    await wal.open()
    for (let index = 1; index <= 4; index++) await wal.append(entries(1, index, index))
    await wal.close()
    const { wal: walName, refs } = segmentNames(0)
    const good = [(await disk.readFile(walName))!, (await disk.readFile(refs))!] as const
    const openAgain = async () => {
      const again = createMemoryWal({ identity }, disk)
      const found = (await again.open()).group(group)
      await again.close()
      return found
    }
    for (let record = 0; record < 4; record++) {
      disk.damage(refs, () => good[1].with(512 + record * 100, 0xff))
      // The header in the segment is whole: a hole.
      disk.damage(walName, () => good[0].with(512 + record * 107 + 101, 0xff))
      expect(await openAgain()).toMatchObject({ doubt: undefined, holes: [{ index: record + 1 }] })
      // It is not: nobody knows what this record was.
      disk.damage(refs, () => good[1].with(512 + record * 100, 0xff))
      disk.damage(walName, () => good[0].with(512 + record * 107, 0xff))
      const isLast = record === 3
      expect((await openAgain()).doubt).toMatchObject({
        reason: isLast ? 'tailUnproven' : 'headersLost',
        fromIndex: record + 1,
        termUnknown: isLast,
        termAtLeast: 1,
        known: [2, 3, 4].slice(record).map((index) => ({ index, term: 1 })),
      })
    }
    // Without the refs file nobody can tell whether the last record was acknowledged.
    disk.damage(walName, () => good[0].with(512 + 3 * 107, 0xff))
    await disk.remove(refs)
    for (let again = 0; again < 2; again++) {
      expect((await openAgain()).doubt).toMatchObject({ reason: 'tailUnproven', fromIndex: 4, termUnknown: true })
    }
  })

  it('does not take one record of the right length for another: misdirected writes are noticed', async () => {
    const disk = createMemoryDisk()
    const wal = createMemoryWal({ identity, cacheBytesMax: 0 }, disk)
    await wal.open()
    for (const commit of [1, 2]) {
      await wal.append({ ...entries(1, commit, commit), hardState: { term: 1, votedFor: other, commit } })
    }
    await wal.close()
    const { wal: name } = segmentNames(0)
    const good = (await disk.readFile(name))!
    const [hardState, one, next] = [512, 512 + 104 + 23, 512 + 104 + 23 + 107]
    const swapped = (from: number, to: number, length: number) => {
      const bytes = good.slice()
      bytes.set(good.subarray(from, from + length), to)
      return bytes
    }
    // Payload and CRC-32 of a HardState over those of the next one: its vote is known from the one before.
    disk.damage(name, () => swapped(hardState + 100, next + 100, 27))
    const { contents } = await openOn(disk)
    expect(contents.group(group).hardState).toEqual({ term: 1, votedFor: other, commit: 2 })
    expect(contents.damage).toMatchObject([{ segment: name, offset: next, outcome: 'mended' }])
    // A whole record over another: the header comes back from its copy, the payload does not fit it.
    disk.damage(name, () => swapped(one, next + 127, 107))
    expect((await openOn(disk)).contents.group(group).holes).toMatchObject([{ index: 2 }])
    // An entry's payload with a CRC-32 that fits: found when it is read.
    disk.damage(name, () => swapped(one + 100, next + 127 + 100, 7))
    const again = createMemoryWal({ identity }, disk)
    await again.open()
    await expect(again.read(group, 2, 2, 1)).rejects.toMatchObject({ code: 'ERR_WAL_PAYLOAD_DAMAGED', index: 2 })
    expect(again.holes(group)).toMatchObject([{ index: 2 }])
    expect((await again.read(group, 1, 1, 1)).length).toBe(1)
  })

  it('votes for nobody else in a term whose vote is unreadable', async () => {
    const disk = createMemoryDisk()
    const { wal } = await openOn(disk)
    await wal.append({ group, hardState: { term: 3, votedFor: undefined, commit: 0 }, entries: [], fencingTerm: 3 })
    await wal.append({ group, hardState: { term: 4, votedFor: other, commit: 0 }, entries: [], fencingTerm: 4 })
    await wal.close()
    disk.damage(segmentNames(0).wal, (bytes) => bytes.with(-5, bytes.at(-5)! ^ 1))
    const { contents } = await openOn(disk)
    expect(contents.group(group)).toMatchObject({ hardState: { term: 4, votedFor: peer, commit: 0 }, doubt: undefined })
  })

  it('refuses a segment whose header and its copy are both gone, and a replica that is not its own', async () => {
    const disk = createMemoryDisk()
    await wholeLife(disk)
    for (const path of Object.values(segmentNames(0))) disk.damage(path, (bytes) => bytes.with(9, bytes[9]! ^ 1))
    expect(await codeOf(openOn(disk))).toBe('ERR_WAL_CORRUPT')
  })

  it('read() reports a payload damaged after opening, and only that one', async () => {
    const disk = createMemoryDisk()
    const wal = createMemoryWal({ identity, cacheBytesMax: 0 }, disk)
    await wal.open()
    await wal.append(entries(1, 1, 3))
    disk.damage(segmentNames(0).wal, (bytes) => {
      bytes[512 + 107 + 101]! ^= 0x80
      return bytes
    })
    await expect(wal.read(group, 1, 3, 1e6)).rejects.toMatchObject({ code: 'ERR_WAL_PAYLOAD_DAMAGED', index: 2 })
    expect((await wal.read(group, 1, 1, 1e6)).length).toBe(1)
    expect((await wal.read(group, 3, 3, 1e6)).length).toBe(1)
  })
})

describe('group commit', () => {
  it('puts appends that arrive during a write into the next one', async () => {
    const disk = createMemoryDisk()
    const { wal } = await openOn(disk)
    await wal.append(entries(1, 1, 1))
    let writes = 0
    disk.fault = ({ kind }) => {
      if (kind === 'write') writes++
      return undefined
    }
    await Promise.all(Array.from({ length: 100 }, (_, number) => wal.append(entries(1, 2 + number, 2 + number))))
    // The first turn's appends in one flush: its records, then its headers.
    expect(writes).toBe(2)
  })

  it('bounds a flush, and counts flushes in the fencing token', async () => {
    const disk = createMemoryDisk()
    const wal = createMemoryWal({ identity, flushBytesMax: 10 }, disk)
    await wal.open()
    let writes = 0
    disk.fault = ({ kind, path }) => {
      if (kind === 'write' && path.endsWith('.wal')) writes++
      return undefined
    }
    await Promise.all([1, 2, 3, 4, 5, 6].map((index) => wal.append(entries(1, index, index))))
    // "1/1" has three bytes: four of them reach the bound. The first write is the segment's header.
    expect(writes).toBe(3)
    const bytes = (await disk.readFile(segmentNames(0).wal))!
    const tokens = [0, 1, 2, 3, 4, 5].map((number) => bytes[512 + number * 107 + 63])
    expect(tokens).toEqual([1, 1, 1, 1, 2, 2])
  })
})

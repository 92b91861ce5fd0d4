import { describe, expect, it } from 'vitest'
import { utf8 } from '@cipherlog/core'
import { createMemoryDisk, type MemoryDisk } from '../disk/memory-disk.ts'
import { seededRandom } from '../random.fixture.ts'
import { codeOf, entries, group, identity, listOf, peer } from './compliance.fixture.ts'
import { createMemoryWal } from './open-wal.ts'
import { segmentNames } from './segment.ts'
import { createWal } from './segmented-wal.ts'
import { type Wal, type WalContents } from './wal.ts'

const options = { identity, segmentBytes: 1000, cacheBytesMax: 0 }
const names = segmentNames(0)

/** Entries 1 to 6 of term 1, two HardStates, two segments. */
async function written(): Promise<MemoryDisk> {
  const disk = createMemoryDisk()
  const wal = createMemoryWal(options, disk)
  await wal.open()
  await wal.append({ ...entries(1, 1, 4), hardState: { term: 1, votedFor: peer, commit: 0 } })
  await wal.append({ ...entries(1, 5, 6), hardState: { term: 1, votedFor: peer, commit: 2 } })
  await wal.close()
  return disk
}

async function opened(disk: MemoryDisk): Promise<{ wal: Wal; contents: WalContents }> {
  const wal = createMemoryWal(options, disk)
  return { wal, contents: await wal.open() }
}

function flip(disk: MemoryDisk, path: string, at: number): void {
  disk.damage(path, (bytes) => bytes.with(at, bytes[at]! ^ 1))
}

/**
 * Runs `work` with a power loss at each write and sync in turn, and `check` on what is there after it.
 * @param prepare - makes the damaged disk.
 */
async function atEachPowerLoss(
  prepare: () => Promise<MemoryDisk>,
  work: (wal: Wal, contents: WalContents) => Promise<void>,
  check: (wal: Wal, contents: WalContents, done: boolean) => Promise<void>,
): Promise<number> {
  for (let at = 1; ; at++) {
    for (let seed = 0; seed < 6; seed++) {
      const disk = await prepare()
      let count = 0
      disk.fault = () => (++count === at ? 'crash' : undefined)
      const wal = createMemoryWal(options, disk)
      let done = false
      try {
        await work(wal, await wal.open())
        done = true
      } catch {
        // The power loss; what is left is checked below.
      }
      if (count < at) return at - 1
      disk.restart(seededRandom(100 * at + seed))
      disk.fault = () => undefined
      const { wal: again, contents } = await opened(disk)
      await check(again, contents, done)
      await again.close()
    }
  }
}

describe('a power loss at any write or sync', () => {
  it('of a repair leaves the hole or the payload', async () => {
    const steps = await atEachPowerLoss(
      async () => {
        const disk = await written()
        for (const index of [2, 4]) flip(disk, names.wal, 512 + 127 + (index - 1) * 107 + 101)
        return disk
      },
      async (wal) => {
        await wal.repair(group, 2, utf8('1/2'))
        await wal.repair(group, 4, utf8('1/4'))
      },
      async (wal, contents, done) => {
        const { holes, refs, doubt } = contents.group(group)
        expect([refs.length, doubt]).toEqual([6, undefined])
        if (done) expect(holes).toEqual([])
        for (const { index } of holes) await wal.repair(group, index, utf8(`1/${index}`))
        expect(await wal.read(group, 1, 6, 1e6)).toEqual(entries(1, 1, 6).entries)
      },
    )
    expect(steps).toBeGreaterThan(3)
  })

  it('of the installation of a snapshot leaves the whole old log or the whole new one', async () => {
    const hardState = { term: 3, votedFor: undefined, commit: 9 }
    const steps = await atEachPowerLoss(
      written,
      (wal) =>
        wal.append({ ...entries(3, 10, 11), hardState, snapshot: { index: 9, term: 2, time: 77 }, fencingTerm: 3 }),
      async (wal, contents, done) => {
        const found = contents.group(group)
        const isNew = found.baseIndex === 9
        if (done) expect(isNew).toBe(true)
        if (isNew) expect(found).toMatchObject({ baseTerm: 2, baseTime: 77, hardState, doubt: undefined })
        else expect(found.hardState).toEqual({ term: 1, votedFor: peer, commit: 2 })
        const list = isNew ? entries(3, 10, 11).entries : entries(1, 1, 6).entries
        expect(found.refs).toEqual(list.map(({ ref }) => ref))
        expect(await wal.read(group, list[0]!.ref.index, list.at(-1)!.ref.index, 1e6)).toEqual(list)
      },
    )
    expect(steps).toBeGreaterThan(2)
  })

  it('of learning again and settling leaves the replica in doubt, or settled with all of it', async () => {
    const hardState = { term: 5, votedFor: undefined, commit: 2 }
    const lose = async () => {
      const disk = await written()
      flip(disk, names.wal, 512 + 127 + 2 * 107 + 20)
      flip(disk, names.refs, 512 + 3 * 100 + 20)
      return disk
    }
    const learn = async (wal: Wal, contents: WalContents) => {
      const { refs, doubt } = contents.group(group)
      if (doubt === undefined) return
      for (let index = refs.length + 1; index <= 6; index++) {
        await wal.append({ ...entries(1, index, index), fencingTerm: doubt.termAtLeast })
      }
      await wal.settle(group, { hardState, through: { index: 6, term: 1 } })
    }
    let doubts = 0
    const steps = await atEachPowerLoss(lose, learn, async (wal, contents, done) => {
      const { doubt, refs, hardState: found } = contents.group(group)
      if (done) expect(doubt).toBeUndefined()
      if (doubt === undefined) {
        expect(found).toEqual(hardState)
      } else {
        doubts++
        expect(refs.length).toBeGreaterThanOrEqual(2)
        expect(listOf({ refs })).toEqual(refs.map((_, at) => `1/${at + 1}`))
        await learn(wal, contents)
      }
      expect(await wal.read(group, 1, 6, 1e6)).toEqual(entries(1, 1, 6).entries)
    })
    expect(steps).toBeGreaterThan(8)
    expect(doubts).toBeGreaterThan(20)
  })
})

describe('a full disk', () => {
  it('stops the log, and once there is space again everything acknowledged is there', async () => {
    for (let at = 1; at < 40; at++) {
      const disk = createMemoryDisk()
      let count = 0
      disk.fault = () => (++count >= at ? 'full' : undefined)
      const wal = createMemoryWal({ ...options, preallocate: at % 2 === 0 }, disk)
      await wal.open()
      let acknowledged = 0
      for (let index = 1; index <= 15; index++) {
        const code = await codeOf(wal.append(entries(1, index, index)))
        if (code === undefined) acknowledged = index
        else expect(code).toBe('ERR_STORAGE_FAILED')
      }
      await wal.close()
      if (acknowledged === 15) continue
      disk.fault = () => undefined
      const { wal: again, contents } = await opened(disk)
      const { refs, doubt } = contents.group(group)
      expect(doubt).toBeUndefined()
      expect(refs.length).toBeGreaterThanOrEqual(acknowledged)
      if (refs.length > 0) {
        expect(await again.read(group, 1, refs.length, 1e6)).toEqual(entries(1, 1, refs.length).entries)
      }
      await again.append(entries(1, refs.length + 1, refs.length + 1))
      await again.close()
    }
  })
})

describe('a disk that cannot read single sectors', () => {
  it('costs what is in them, and nothing else', async () => {
    const disk = await written()
    const [from, to] = [512 + 127 + 107 + 100, 512 + 127 + 107 + 103]
    const fails = (position: number, length: number) => position < to && position + length > from
    const bad = createWal(
      {
        ...disk,
        async readFile(path) {
          if (path === names.wal) throw new Error('EIO')
          return disk.readFile(path)
        },
        async open(path, how) {
          const file = await disk.open(path, how)
          if (path !== names.wal) return file
          return {
            ...file,
            async read(position, length) {
              if (fails(position, length)) throw new Error('EIO')
              return file.read(position, length)
            },
          }
        },
      },
      { ...options, onDamage: 'alertAndContinue' },
    )
    const contents = await bad.open()
    // The piece that cannot be read is larger than this log's first segment, whose headers come from their copies.
    const { holes, refs, doubt, hardState } = contents.group(group)
    expect([refs.length, doubt, hardState]).toEqual([6, undefined, { term: 1, votedFor: peer, commit: 2 }])
    expect(holes.length).toBeGreaterThan(0)
    expect(await bad.read(group, 5, 6, 1e6)).toEqual(entries(1, 5, 6).entries)
    await bad.close()
  })
})

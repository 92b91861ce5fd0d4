import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { concatBytes, equalBytes, utf8, utf8ToString, writeU32 } from '@cipherlog/core'
import { CompactRange } from '@cipherlog/merkle/tree'
import {
  bodyPath,
  bundlePath,
  entriesPath,
  formatCheckpoint,
  formatEntryBundle,
  formatNote,
  leafHash,
  parseCheckpoint,
  parseNote,
  tilePath,
} from '@cipherlog/merkle/verify'
import { createMemoryDisk, type MemoryDisk } from '../disk/memory-disk.ts'
import { seededRandom } from '../random.fixture.ts'
import { codeOf } from '../wal/compliance.fixture.ts'
import { openFileTrail, openMemoryTrail } from './open-trail.ts'
import { type TileHash, type TrailLeaf, type TrailStore } from './trail-store.ts'

const leavesMax = 600
const leaves: TrailLeaf[] = []

beforeAll(() => {
  const tree = new CompactRange()
  for (let index = 0; index < leavesMax; index++) {
    const entry = utf8(`record ${index}`)
    const tiles: TileHash[] = []
    tree.append(leafHash(entry), (level, at, hash) => {
      if (level % 8 === 0) tiles.push({ level: level / 8, index: at, hash })
    })
    const signed = index % 5 === 0 ? new Uint8Array(0) : utf8(`signed ${index} `.repeat(index % 4))
    const body = index % 3 === 0 ? utf8(`body ${index} `.repeat(index % 7)) : new Uint8Array(0)
    leaves.push({ index, entry, signed, body, tiles })
  }
})

function note(size: number): string {
  const rootHash = new Uint8Array(32).fill(1)
  const signature = { name: 'test', keyId: '00112233', signature: new Uint8Array(64) }
  return formatNote(formatCheckpoint({ origin: 'test/0', size, rootHash }), [signature])
}

/** What `treeSize` leaves must look like on disk, said the slow way; partial tiles for the sizes in `partialSizes`. */
function filesOf(treeSize: number, partialSizes: readonly number[]): Map<string, Uint8Array> {
  const files = new Map<string, Uint8Array>()
  const levels: Uint8Array[][] = []
  for (const leaf of leaves.slice(0, treeSize))
    for (const { level, hash } of leaf.tiles) (levels[level] ??= []).push(hash)
  const rows = levels.map((items, level) => ({
    items,
    span: 256 ** level,
    path: (n: number, width?: number) => tilePath(level, n, width),
    format: (parts: Uint8Array[]) => concatBytes(...parts),
  }))
  const entries = leaves.slice(0, treeSize).map((leaf) => leaf.entry)
  for (const row of [{ items: entries, span: 1, path: entriesPath, format: formatEntryBundle }, ...rows]) {
    const full = Math.floor(row.items.length / 256)
    for (let n = 0; n < full; n++) files.set(row.path(n), row.format(row.items.slice(n * 256, (n + 1) * 256)))
    for (const size of partialSizes) {
      const count = Math.floor(size / row.span)
      if (count % 256 === 0 || Math.floor(count / 256) < full) continue
      files.set(row.path(full, count % 256), row.format(row.items.slice(full * 256, count)))
    }
  }
  for (let n = 0; n * 256 < treeSize; n++) {
    const part = leaves.slice(n * 256, Math.min(treeSize, (n + 1) * 256))
    files.set(bundlePath(n), pack(part.map((leaf) => leaf.signed)))
    files.set(bodyPath(n), pack(part.map((leaf) => leaf.body)))
  }
  return files
}

function pack(parts: Uint8Array[]): Uint8Array {
  const table = new Uint8Array(2048)
  let at = 2048
  parts.forEach((part, slot) => {
    if (part.length === 0) return
    writeU32(table, slot * 8, at)
    writeU32(table, slot * 8 + 4, part.length)
    at += part.length
  })
  return concatBytes(table, ...parts)
}

async function expectFiles(disk: MemoryDisk, expected: Map<string, Uint8Array>): Promise<void> {
  const found = disk.paths().filter((one) => one.startsWith('tile/'))
  expect(found).toEqual([...expected.keys()].sort())
  for (const [one, bytes] of expected) {
    expect(equalBytes((await disk.readFile(one))!, bytes), `${one} has other bytes`).toBe(true)
  }
}

function appendTo(trail: TrailStore, size: number): void {
  while (trail.size < size) trail.append(leaves[trail.size]!)
}

async function expectReadable(trail: TrailStore): Promise<void> {
  for (const leaf of leaves.slice(0, trail.size)) {
    expect(await trail.readEntry(leaf.index)).toEqual(leaf.entry)
    expect(await trail.readSigned(leaf.index)).toEqual(leaf.signed)
    expect(await trail.readBody(leaf.index)).toEqual(leaf.body)
    for (const { level, index, hash } of leaf.tiles) {
      const tile = await trail.readTile(level, Math.floor(index / 256), (index % 256) + 1)
      expect(tile.slice(-32)).toEqual(hash)
    }
  }
}

describe('the trail', () => {
  it.each([0, 1, 255, 256, 257, 511, 512, 600])(
    'has the files of %i leaves, however they were flushed',
    async (size) => {
      for (const step of [1000, 200, 37]) {
        const disk = createMemoryDisk()
        const trail = await openMemoryTrail(0, disk)
        for (let at = 0; at < size; at += step) {
          appendTo(trail, Math.min(size, at + step))
          await trail.flush({ sync: (at / step) % 3 !== 2 })
        }
        await trail.flush({ sync: true })
        await expectFiles(disk, filesOf(size, [size]))
        await trail.close()
      }
    },
  )

  it('answers for buffered leaves and for flushed ones alike', async () => {
    const trail = await openMemoryTrail(0)
    appendTo(trail, 300)
    await expectReadable(trail)
    await trail.flush({ sync: true })
    appendTo(trail, 310)
    await expectReadable(trail)
    expect(await codeOf(trail.readEntry(310))).toBe('RangeError')
    expect(await codeOf(trail.readSigned(-1))).toBe('RangeError')
    expect(await codeOf(trail.readTile(0, 1, 55))).toBe('RangeError')
    expect(await codeOf(trail.readTile(2, 0, 1))).toBe('RangeError')
    await trail.close()
    expect(await codeOf(trail.readEntry(0))).toBe('ERR_STORAGE_CLOSED')
  })

  it('takes leaves while it flushes', async () => {
    const disk = createMemoryDisk()
    const trail = await openMemoryTrail(0, disk)
    appendTo(trail, 250)
    const flushing = trail.flush({ sync: true })
    for (let size = 251; size <= 520; size++) {
      appendTo(trail, size)
      await Promise.resolve()
    }
    await flushing
    await expectReadable(trail)
    await trail.flush({ sync: true })
    await expectFiles(disk, filesOf(520, [520]))
  })

  it('publishes a size below its own with the partial tiles of both, and drops those that nothing needs', async () => {
    const disk = createMemoryDisk()
    const trail = await openMemoryTrail(0, disk)
    appendTo(trail, 300)
    await trail.publish({ checkpoint: note(290), size: 290, policyChain: utf8('one') })
    await expectFiles(disk, filesOf(300, [290, 300]))
    expect(trail.checkpoint()).toBe(note(290))
    appendTo(trail, 310)
    await trail.publish({ checkpoint: note(310), size: 310, policyChain: utf8('two') })
    await expectFiles(disk, filesOf(310, [310]))
    appendTo(trail, 520)
    await trail.flush({ sync: true })
    // The level 0 tile of size 310 is full now, its readers fall back to it; that of level 1 is not.
    await expectFiles(disk, filesOf(520, [310, 520]))
    expect(utf8ToString((await disk.readFile('checkpoint'))!)).toBe(note(310))
    expect(utf8ToString((await disk.readFile('policy-chain'))!)).toBe('two')
    await trail.close()
    expect((await openMemoryTrail(520, disk)).checkpoint()).toBe(note(310))
  })

  it('refuses a checkpoint that goes back, ahead, or states another size', async () => {
    const trail = await openMemoryTrail(0)
    appendTo(trail, 10)
    await trail.publish({ checkpoint: note(8), size: 8 })
    for (const [text, size] of [
      [note(7), 7],
      [note(11), 11],
      [note(9), 10],
      ['no note', 10],
    ] as const) {
      expect(await codeOf(trail.publish({ checkpoint: text, size }))).toBe('ERR_INVARIANT')
    }
    expect(trail.checkpoint()).toBe(note(8))
    await trail.publish({ checkpoint: note(8), size: 8 })
  })

  it('refuses a leaf out of order, with missing or surplus hashes', async () => {
    const trail = await openMemoryTrail(0)
    appendTo(trail, 255)
    const last = leaves[255]!
    for (const wrong of [
      leaves[254]!,
      leaves[256]!,
      { ...last, tiles: last.tiles.slice(0, 1) },
      { ...last, tiles: [last.tiles[1]!, last.tiles[0]!] },
      { ...last, tiles: [...last.tiles, { level: 2, index: 0, hash: new Uint8Array(32) }] },
    ]) {
      expect(() => trail.append(wrong)).toThrow(/Leaves must|A leaf must/)
    }
    expect(() => trail.append({ ...last, entry: new Uint8Array(65_536) })).toThrow(RangeError)
    trail.append({ ...last, entry: new Uint8Array(65_535) })
    await trail.flush({ sync: true })
    expect((await trail.readEntry(255)).length).toBe(65_535)
  })

  it('reaches the third level of tiles', async () => {
    const disk = createMemoryDisk()
    const trail = await openMemoryTrail(0, disk)
    const empty = new Uint8Array(0)
    const size = 65_536 + 256
    for (let index = 0; index < size; index++) {
      const tiles: TileHash[] = []
      for (let level = 0; (index + 1) % 256 ** level === 0; level++) {
        const hash = new Uint8Array(32).fill(level)
        writeU32(hash, 0, index)
        tiles.push({ level, index: (index + 1) / 256 ** level - 1, hash })
      }
      trail.append({ index, entry: empty, signed: empty, body: empty, tiles })
    }
    await trail.flush({ sync: true })
    expect(await disk.readFile(tilePath(0, 256))).toHaveLength(8192)
    expect(await disk.readFile(tilePath(1, 0))).toHaveLength(8192)
    expect(await disk.readFile(tilePath(1, 1, 1))).toHaveLength(32)
    expect((await disk.readFile(tilePath(2, 0, 1)))![3]).toBe(0xff)
    await trail.close()
    const again = await openMemoryTrail(size, disk)
    expect(again.size).toBe(size)
    expect((await again.readTile(2, 0, 1))[31]).toBe(2)
  })
})

describe('trail files for readers', () => {
  it('cuts a partial tile from a wider one, and grows packs without naming what is not there yet', async () => {
    const trail = await openMemoryTrail(0)
    appendTo(trail, 300)
    await trail.publish({ checkpoint: note(300), size: 300, policyChain: utf8('chain') })
    const read = async (one: string) => {
      const file = await trail.file(one)
      return file === undefined ? undefined : file.read(0, file.size)
    }
    const all = filesOf(300, [3, 270, 300])
    for (const one of [tilePath(0, 1, 44), tilePath(1, 0, 1), entriesPath(0), bundlePath(1), bodyPath(0)]) {
      expect(await read(one)).toEqual(all.get(one))
    }
    expect(await read(tilePath(0, 1, 14))).toEqual(filesOf(300, [270]).get(tilePath(0, 1, 14)))
    expect(await read(tilePath(0, 0, 3))).toEqual(filesOf(3, [3]).get(tilePath(0, 0, 3)))
    expect(await read(entriesPath(0, 3))).toEqual(filesOf(3, [3]).get(entriesPath(0, 3)))
    expect(utf8ToString((await read('checkpoint'))!)).toBe(note(300))
    expect(utf8ToString((await read('policy-chain'))!)).toBe('chain')
    for (const none of [
      tilePath(0, 1),
      tilePath(0, 1, 45),
      tilePath(0, 2, 1),
      tilePath(2, 0, 1),
      bundlePath(2),
      'tile/0/0',
      '../checkpoint',
      'checkpoint.tmp',
      '',
    ]) {
      expect(await trail.file(none)).toBeUndefined()
    }
    const growing = (await trail.file(bundlePath(1)))!
    const full = (await trail.file(bundlePath(0)))!
    expect([growing.immutable, full.immutable, (await trail.file(bodyPath(0)))!.immutable]).toEqual([
      false,
      true,
      false,
    ])
    appendTo(trail, 305)
    await trail.flush({ sync: true })
    expect(await growing.read(0, growing.size)).toEqual(filesOf(300, []).get(bundlePath(1)))
    expect(await read(bundlePath(1))).toEqual(filesOf(305, []).get(bundlePath(1)))
    expect(await full.read(2040, 20)).toEqual(all.get(bundlePath(0))!.slice(2040, 2060))
  })
})

describe('the trail after a restart', () => {
  it.each([0, 1, 44, 255, 256, 257, 299, 300])(
    'is cut to the %i leaves of the database and grows as before',
    async (size) => {
      const disk = createMemoryDisk()
      const trail = await openMemoryTrail(0, disk)
      // Synced at `size`, then more that the database does not know of.
      appendTo(trail, size)
      await trail.flush({ sync: true })
      appendTo(trail, 300)
      await trail.flush({ sync: true })
      await trail.close()
      const again = await openMemoryTrail(size, disk)
      await expectFiles(disk, filesOf(size, [size]))
      await expectReadable(again)
      appendTo(again, 600)
      await again.publish({ checkpoint: note(600), size: 600 })
      await expectFiles(disk, filesOf(600, [600]))
    },
  )

  it('refuses a trail that is shorter than the database says, or has a gap, whatever file it is in', async () => {
    const size = 530
    const complete = createMemoryDisk()
    const trail = await openMemoryTrail(0, complete)
    appendTo(trail, size)
    await trail.flush({ sync: true })
    await trail.close()
    for (const one of complete.paths()) {
      const bytes = (await complete.readFile(one))!
      await complete.remove(one)
      expect(await codeOf(openMemoryTrail(size, complete)), `without ${one}`).toBe('ERR_TRAIL_SHORT')
      const file = await complete.open(one)
      await file.write(bytes, 0)
    }
    for (const one of [bundlePath(2), bodyPath(2), tilePath(0, 2, 18), entriesPath(2, 18)]) {
      const bytes = (await complete.readFile(one))!
      complete.damage(one, () => bytes.slice(0, -1))
      expect(await codeOf(openMemoryTrail(size, complete)), `${one} cut`).toBe('ERR_TRAIL_SHORT')
      complete.damage(one, () => bytes)
    }
    expect(await codeOf(openMemoryTrail(size + 1, complete))).toBe('ERR_TRAIL_SHORT')
    complete.damage(tilePath(0, 2, 18), (bytes) => bytes.fill(1, 0, 1))
    expect(await codeOf(openMemoryTrail(size, complete))).toBe('ERR_TRAIL_SHORT')
  })

  it('has the same bytes after a power loss at any write or sync, and its checkpoint never outruns its files', async () => {
    /** The life of a trail: returns the size that the database has when it ends or crashes. */
    async function live(disk: MemoryDisk, from: number): Promise<number> {
      let persisted = from
      try {
        const trail = await openMemoryTrail(from, disk)
        for (const [size, action] of [
          [20, 'persist'],
          [200, 'write'],
          [250, 'publish'],
          [300, 'persist'],
          [540, 'publish'],
          [600, 'publish'],
        ] as const) {
          if (size <= from) continue
          appendTo(trail, size)
          if (action !== 'publish' || size < publishedSize(trail)) await trail.flush({ sync: action === 'persist' })
          else await trail.publish({ checkpoint: note(size), size, policyChain: utf8(`chain ${size}`) })
          if (action === 'persist') persisted = size
        }
        await trail.close()
      } catch (error) {
        if ((error as { code?: string }).code !== 'ERR_STORAGE_FAILED') throw error
      }
      return persisted
    }
    const known = new Map<number, Map<string, Uint8Array>>()
    function expectedAt(size: number): Map<string, Uint8Array> {
      const files = known.get(size) ?? filesOf(size, [size])
      known.set(size, files)
      return files
    }
    function publishedSize(trail: TrailStore): number {
      const text = trail.checkpoint()
      return text === undefined ? 0 : parseCheckpoint(parseNote(text).text).size
    }
    async function checkPublished(disk: MemoryDisk): Promise<number> {
      const bytes = await disk.readFile('checkpoint')
      if (bytes === undefined) return 0
      const { size } = parseCheckpoint(parseNote(utf8ToString(bytes)).text)
      for (const [one, expected] of expectedAt(size)) {
        const full = one.replace(/\.p\/.*$/, '')
        const found = (await disk.readFile(one)) ?? (await disk.readFile(full))
        const start = one.startsWith('tile/bundle') || one.startsWith('tile/body') ? 2048 : 0
        const same = found !== undefined && equalBytes(found.slice(start, expected.length), expected.slice(start))
        expect(same, `${one} of published size ${size}`).toBe(true)
      }
      return size
    }

    const complete = expectedAt(600)
    const whole = createMemoryDisk()
    let operations = 0
    whole.fault = () => {
      operations++
      return undefined
    }
    expect(await live(whole, 0)).toBe(300)
    await expectFiles(whole, filesOf(600, [600]))
    expect(operations).toBeGreaterThan(100)
    let published = 0
    for (let at = 1; at <= operations; at++) {
      const random = seededRandom(at)
      const disk = createMemoryDisk()
      let count = 0
      disk.fault = () => (++count === at ? 'crash' : undefined)
      const persisted = await live(disk, 0)
      disk.restart(random)
      published += (await checkPublished(disk)) > 0 ? 1 : 0
      // Once more, during recovery and the first writes after it.
      count = at - 1 - Math.floor(random() * 30)
      const later = await live(disk, persisted)
      disk.crash()
      disk.restart(random)
      disk.fault = () => undefined
      expect(await live(disk, later)).toBe(300)
      await expectFiles(disk, complete)
      expect(utf8ToString((await disk.readFile('checkpoint'))!)).toBe(note(600))
      expect(utf8ToString((await disk.readFile('policy-chain'))!)).toBe('chain 600')
      expect(disk.paths().filter((one) => one.endsWith('.tmp'))).toEqual([])
    }
    expect(published).toBeGreaterThan(operations / 3)
  })
})

describe('the trail on a failing disk', () => {
  it('writes nothing ever again after one failure, and still answers', async () => {
    const disk = createMemoryDisk()
    const trail = await openMemoryTrail(0, disk)
    appendTo(trail, 10)
    disk.fault = ({ kind }) => (kind === 'datasync' ? 'fail' : undefined)
    expect(await codeOf(trail.flush({ sync: true }))).toBe('ERR_STORAGE_FAILED')
    disk.fault = () => undefined
    expect(await codeOf(trail.flush({ sync: true }))).toBe('ERR_STORAGE_FAILED')
    expect(await codeOf(trail.publish({ checkpoint: note(10), size: 10 }))).toBe('ERR_STORAGE_FAILED')
    expect(trail.checkpoint()).toBeUndefined()
    await expectReadable(trail)
  })

  it('names a file that is damaged while it is open', async () => {
    const disk = createMemoryDisk()
    const trail = await openMemoryTrail(0, disk)
    appendTo(trail, 257)
    await trail.flush({ sync: true })
    disk.damage(tilePath(0, 0), (bytes) => bytes.slice(1))
    disk.damage(bundlePath(0), (bytes) => bytes.slice(0, 2047))
    await expect(trail.readTile(0, 0, 256)).rejects.toMatchObject({
      code: 'ERR_TRAIL_DAMAGED',
      details: { path: tilePath(0, 0) },
    })
    expect(await codeOf(trail.readSigned(255))).toBe('ERR_TRAIL_DAMAGED')
    disk.damage(bodyPath(0), (bytes) => {
      writeU32(bytes, 3 * 8 + 4, 0xffff_ffff)
      return bytes
    })
    expect(await codeOf(trail.readBody(3))).toBe('ERR_TRAIL_DAMAGED')
    for (const damaged of [new Uint8Array(1), new Uint8Array(600), new Uint8Array(513).fill(1)]) {
      disk.damage(entriesPath(0), () => damaged)
      expect(await codeOf(trail.readEntry(3))).toBe('ERR_TRAIL_DAMAGED')
      expect(await codeOf(trail.file(entriesPath(0, 5)))).toBe('ERR_TRAIL_DAMAGED')
    }
  })
})

describe('openFileTrail()', () => {
  it('has the files of its memory twin, and goes on after a restart', async () => {
    const root = await mkdtemp(path.join(tmpdir(), 'cipherlog-trail-'))
    const directory = path.join(root, 'a', 'trail')
    let trail = await openFileTrail(directory, 0)
    appendTo(trail, 280)
    await trail.publish({ checkpoint: note(280), size: 280 })
    await trail.close()
    trail = await openFileTrail(directory, 270)
    expect(trail.checkpoint()).toBe(note(280))
    appendTo(trail, 600)
    await trail.flush({ sync: true })
    await expectReadable(trail)
    const { readFile } = await import('node:fs/promises')
    for (const [one, bytes] of filesOf(600, [600])) {
      expect(equalBytes(await readFile(path.join(directory, one)), bytes), one).toBe(true)
    }
    await trail.close()
    await rm(root, { recursive: true })
  })
})

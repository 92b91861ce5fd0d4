import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { equalBytes, utf8 } from '@cipherlog/core'
import { snapshotEdgeKeys, trailFromOf, type SnapshotManifest, type SnapshotPair } from '@cipherlog/format'
import { rootFromTiles } from '@cipherlog/merkle/tree'
import { bodyPath, bundlePath, entriesPath, formatCheckpoint, formatNote, tilePath } from '@cipherlog/merkle/verify'
import { createMemoryDisk, type MemoryDisk } from '../disk/memory-disk.ts'
import { seededRandom } from '../random.fixture.ts'
import { codeOf } from '../wal/compliance.fixture.ts'
import { installFileTrail, installMemoryTrail } from './install-trail.ts'
import { openFileTrail, openMemoryTrail } from './open-trail.ts'
import { makeLeaves, none } from './leaves.fixture.ts'
import { readTrailEdge, trailEdge } from './trail-edge.ts'
import { type TrailSource, type TrailStore } from './trail-store.ts'

const { leaves, rootAt } = makeLeaves(1400)

function appendTo(trail: TrailStore, size: number, from = leaves): void {
  while (trail.size < size) trail.append(from[trail.size]!)
}

function note(size: number): string {
  const signature = { name: 'test', keyId: '00112233', signature: new Uint8Array(64) }
  return formatNote(formatCheckpoint({ origin: 'test/0', size, rootHash: rootAt(size) }), [signature])
}

/** What the edge is checked against; the rest of a manifest is no business of the trail. */
function manifestAt(treeSize: number, rootHash = rootAt(treeSize), all = leaves): SnapshotManifest {
  return { treeSize, rootHash, batchRecord: all[treeSize - 1]!.entry } as SnapshotManifest
}

async function wholeTrail(size: number): Promise<{ trail: TrailStore; disk: MemoryDisk }> {
  const disk = createMemoryDisk()
  const trail = await openMemoryTrail(0, disk)
  appendTo(trail, size)
  await trail.flush({ sync: true })
  return { trail, disk }
}

async function* from(pairs: readonly SnapshotPair[]): AsyncGenerator<SnapshotPair> {
  for (const pair of pairs) yield pair
}

async function edgeOf(trail: TrailStore, treeSize: number): Promise<SnapshotPair[]> {
  const pairs: SnapshotPair[] = []
  for await (const pair of trailEdge(trail, treeSize)) pairs.push(pair)
  return [...pairs, [utf8('state'), utf8('not of the edge')]]
}

async function filesOn(disk: MemoryDisk): Promise<Map<string, Uint8Array>> {
  const files = new Map<string, Uint8Array>()
  for (const one of disk.paths()) files.set(one, (await disk.readFile(one))!)
  return files
}

async function expectSameFiles(disk: MemoryDisk, original: MemoryDisk): Promise<void> {
  expect(disk.paths()).toEqual(original.paths())
  const expected = await filesOn(original)
  for (const [one, bytes] of await filesOn(disk)) {
    expect(equalBytes(bytes, expected.get(one)!), `${one} has other bytes`).toBe(true)
  }
}

async function fillAll(trail: TrailStore, source: TrailSource): Promise<void> {
  while (trail.trailFrom > 0) await trail.backfill(source)
}

const sizes = [1, 2, 255, 256, 257, 300, 511, 512, 513, 768, 1000]

describe('a trail that begins with a snapshot', () => {
  it.each(sizes)('at %i leaves goes on, publishes and proves, and knows what is not here', async (size) => {
    const original = await wholeTrail(1300)
    const disk = createMemoryDisk()
    await installMemoryTrail(disk, manifestAt(size), from(await edgeOf(original.trail, size)))
    const trail = await openMemoryTrail(size, disk)
    expect([trail.size, trail.trailFrom]).toEqual([size, trailFromOf(size)])
    appendTo(trail, 1290)
    await trail.publish({ checkpoint: note(1290), size: 1290, policyChain: utf8('chain') })
    for (let leaf = trail.trailFrom; leaf < 1290; leaf++) {
      expect(await trail.readEntry(leaf)).toEqual(leaves[leaf]!.entry)
      expect(await trail.readSigned(leaf)).toEqual(leaves[leaf]!.signed)
      expect(await trail.readBody(leaf)).toEqual(leaves[leaf]!.body)
    }
    const readTile = (level: number, index: number, width: number) => trail.readTile(level, index, width)
    for (const each of sizes.filter((one) => one >= size))
      expect(await rootFromTiles(each, readTile)).toEqual(rootAt(each))
    if (trail.trailFrom > 0) {
      for (const read of [
        trail.readEntry(0),
        trail.readSigned(trail.trailFrom - 1),
        trail.readBody(5),
        trail.readTile(0, 0, 9),
      ]) {
        expect(await codeOf(read)).toBe('ERR_TRAIL_NOT_HERE')
      }
      for (const one of [entriesPath(0), entriesPath(0, 3), tilePath(0, 0), bundlePath(0), bodyPath(0)]) {
        expect(await trail.file(one)).toBeUndefined()
      }
    }
    // What is here is what the original has.
    const expected = await filesOn((await wholeTrail(1290)).disk)
    for (const [one, bytes] of await filesOn(disk)) {
      if (one.startsWith('tile/')) expect(equalBytes(bytes, expected.get(one)!), one).toBe(true)
    }
    await trail.close()
    const again = await openMemoryTrail(1290, disk)
    expect([again.trailFrom, again.checkpoint()]).toEqual([trailFromOf(size), note(1290)])
  })

  it.each(sizes)('at %i leaves is the original byte for byte once it is filled, whoever filled it', async (size) => {
    const original = await wholeTrail(1300)
    const disk = createMemoryDisk()
    await installMemoryTrail(disk, manifestAt(size), from(await edgeOf(original.trail, size)))
    let trail = await openMemoryTrail(size, disk)
    appendTo(trail, 1300)
    let steps = 0
    while (trail.trailFrom > 0) {
      const before = trail.trailFrom
      const filling = trail.backfill(original.trail)
      if (steps++ === 1) await trail.flush({ sync: true })
      await filling
      expect(trail.trailFrom).toBe(before - 256)
      expect(await trail.readBody(before - 256)).toEqual(leaves[before - 256]!.body)
      if (steps !== 2) continue
      await trail.close()
      trail = await openMemoryTrail(1300, disk)
      expect(trail.trailFrom).toBe(before - 256)
    }
    await trail.flush({ sync: true })
    await expectSameFiles(disk, original.disk)
    await trail.backfill(original.trail)
    // It can fill another one.
    const third = createMemoryDisk()
    await installMemoryTrail(third, manifestAt(size), from(await edgeOf(trail, size)))
    const copy = await openMemoryTrail(size, third)
    await fillAll(copy, trail)
    appendTo(copy, 1300)
    await copy.flush({ sync: true })
    await expectSameFiles(third, original.disk)
  })

  it('fills the upper levels of tiles too', { timeout: 60_000 }, async () => {
    const all = makeLeaves(66_100, [65_536, 65_537, 66_048, 66_100])
    const original = createMemoryDisk()
    const whole = await openMemoryTrail(0, original)
    appendTo(whole, 66_100, all.leaves)
    await whole.flush({ sync: true })
    for (const size of [65_536, 65_537, 66_048]) {
      const disk = createMemoryDisk()
      await installMemoryTrail(disk, manifestAt(size, all.rootAt(size), all.leaves), from(await edgeOf(whole, size)))
      const trail = await openMemoryTrail(size, disk)
      appendTo(trail, 66_100, all.leaves)
      const root = await rootFromTiles(66_100, (level, index, width) => trail.readTile(level, index, width))
      expect(root).toEqual(all.rootAt(66_100))
      await trail.flush({ sync: true })
      await trail.close()
      const again = await openMemoryTrail(66_100, disk)
      expect(await codeOf(again.readTile(1, 0, 1))).toBe(size === 65_536 ? undefined : 'ERR_TRAIL_NOT_HERE')
      while (again.trailFrom > 65_024) await again.backfill(whole)
      expect(await again.readTile(1, 0, 256)).toEqual(await whole.readTile(1, 0, 256))
    }
  })

  it('takes from its own older files what fits', async () => {
    const original = await wholeTrail(1300)
    const { trail: older, disk } = await wholeTrail(600)
    await older.close()
    disk.damage(bundlePath(0), (bytes) => bytes.fill(bytes[3000]! ^ 1, 3000, 3001))
    await installMemoryTrail(disk, manifestAt(1200), from(await edgeOf(original.trail, 1200)))
    const trail = await openMemoryTrail(1200, disk)
    const asked = new Set<string>()
    await fillAll(trail, {
      file(one) {
        asked.add(one)
        return original.trail.file(one)
      },
    })
    // 1: own and good. 0: own and damaged. 2 was not full.
    expect([3, 2, 1, 0].map((tile) => asked.has(entriesPath(tile)))).toEqual([true, true, false, true])
    appendTo(trail, 1300)
    await trail.flush({ sync: true })
    await expectSameFiles(disk, original.disk)
  })

  it('refuses any file of a source that is missing or differs, and goes on with another source', async () => {
    const original = await wholeTrail(800)
    const disk = createMemoryDisk()
    await installMemoryTrail(disk, manifestAt(600), from(await edgeOf(original.trail, 600)))
    const trail = await openMemoryTrail(600, disk)
    const paths = [entriesPath(1), bundlePath(1), bodyPath(1)]
    for (const one of paths) {
      const bytes = (await original.disk.readFile(one))!
      const random = seededRandom(bytes.length)
      const changes: (Uint8Array | undefined)[] = [
        undefined,
        none,
        bytes.slice(1),
        bytes.slice(0, -1),
        Uint8Array.from([...bytes, 0]),
      ]
      for (let n = 0; n < 30; n++) {
        const at = Math.floor(random() * bytes.length)
        changes.push(bytes.map((byte, i) => (i === at ? byte ^ (1 << (n % 8)) : byte)))
      }
      for (const changed of changes) {
        const liar: TrailSource = {
          file: async (name) =>
            name !== one
              ? original.trail.file(name)
              : changed && {
                  size: changed.length,
                  read: async (start, length) => changed.slice(start, start + length),
                },
        }
        await expect(trail.backfill(liar)).rejects.toMatchObject({ code: 'ERR_TRAIL_BACKFILL' })
        expect(trail.trailFrom).toBe(512)
      }
    }
    const broken: TrailSource = { file: () => Promise.reject(new Error('connection lost')) }
    await expect(trail.backfill(broken)).rejects.toMatchObject({
      code: 'ERR_TRAIL_BACKFILL',
      cause: new Error('connection lost'),
    })
    const huge: TrailSource = { file: async () => ({ size: 2 ** 40, read: () => Promise.reject(new Error('read')) }) }
    await expect(trail.backfill(huge)).rejects.toThrow(/more than it can/)
    const filling = trail.backfill(original.trail)
    await expect(trail.backfill(original.trail)).rejects.toMatchObject({ code: 'ERR_INVARIANT' })
    await filling
    await fillAll(trail, original.trail)
    appendTo(trail, 800)
    await trail.flush({ sync: true })
    await expectSameFiles(disk, original.disk)
  })

  it('does not open at a size before its beginning, nor with an unreadable beginning', async () => {
    const original = await wholeTrail(600)
    const disk = createMemoryDisk()
    await installMemoryTrail(disk, manifestAt(600), from(await edgeOf(original.trail, 600)))
    for (const size of [0, 300, 512]) expect(await codeOf(openMemoryTrail(size, disk))).toBe('ERR_TRAIL_SHORT')
    for (const text of ['513\n', '0\n', '512', '9999999999999999999\n', '']) {
      disk.damage('trail-from', () => utf8(text))
      expect(await codeOf(openMemoryTrail(600, disk))).toBe('ERR_TRAIL_DAMAGED')
    }
  })

  it('keeps nothing from being closed, and ends what it fills', async () => {
    const original = await wholeTrail(600)
    const disk = createMemoryDisk()
    await installMemoryTrail(disk, manifestAt(600), from(await edgeOf(original.trail, 600)))
    const trail = await openMemoryTrail(600, disk)
    const filling = codeOf(trail.backfill(original.trail))
    await trail.close()
    expect(await filling).toBe('ERR_STORAGE_CLOSED')
    const again = await openMemoryTrail(600, disk)
    await fillAll(again, original.trail)
    await expectSameFiles(disk, original.disk)
  })

  it(
    'has the same bytes after a power loss at any write or sync of installing and filling',
    { timeout: 60_000 },
    async () => {
      const original = await wholeTrail(300)
      const edge = await edgeOf(original.trail, 260)
      /** What a node does that finds a snapshot's state: `installed` is what its state store says. */
      async function live(disk: MemoryDisk, installed: boolean): Promise<boolean> {
        let isInstalled = installed
        try {
          if (!installed) await installMemoryTrail(disk, manifestAt(260), from(edge))
          isInstalled = true
          const trail = await openMemoryTrail(260, disk)
          appendTo(trail, 280)
          await trail.backfill(original.trail)
          await trail.flush({ sync: true })
          appendTo(trail, 300)
          await trail.flush({ sync: true })
          await trail.close()
        } catch (error) {
          if ((error as { code?: string }).code !== 'ERR_STORAGE_FAILED') throw error
        }
        return isInstalled
      }
      const whole = createMemoryDisk()
      let operations = 0
      whole.fault = () => {
        operations++
        return undefined
      }
      await live(whole, false)
      await expectSameFiles(whole, original.disk)
      expect(operations).toBeGreaterThan(50)
      for (let at = 1; at <= operations; at++) {
        const disk = createMemoryDisk()
        let count = 0
        disk.fault = () => (++count === at ? 'crash' : undefined)
        const installed = await live(disk, false)
        disk.restart(seededRandom(at))
        disk.fault = () => undefined
        await live(disk, installed)
        await expectSameFiles(disk, original.disk)
      }
    },
  )
})

describe('the trail edge of a snapshot', () => {
  it('is refused with any bit flipped, with a pair too few, too many or out of order', async () => {
    const { trail } = await wholeTrail(600)
    for (const size of [300, 512]) {
      const pairs = (await edgeOf(trail, size)).slice(0, -1)
      expect((await readTrailEdge(manifestAt(size), from(pairs))).from).toBe(trailFromOf(size))
      const random = seededRandom(size)
      const wrong: SnapshotPair[][] = [
        [],
        pairs.slice(1),
        pairs.slice(0, -1),
        [...pairs.slice(0, 5), ...pairs.slice(6)],
        [pairs[1]!, pairs[0]!, ...pairs.slice(2)],
        [...pairs, [snapshotEdgeKeys.leaf(size), pairs.at(-1)![1]]],
        [...pairs, [snapshotEdgeKeys.tile(9), none]],
        [[snapshotEdgeKeys.tile(2), new Uint8Array(32)], ...pairs],
      ]
      for (let n = 0; n < 60; n++) {
        const which = n < 10 ? 0 : Math.floor(random() * pairs.length)
        const [key, value] = pairs[which]!
        const at = Math.floor(random() * value.length)
        const flipped = value.map((byte, i) => (i === at ? byte ^ (1 << (n % 8)) : byte))
        wrong.push(pairs.map((pair, i) => (i === which ? [key, flipped] : pair)))
      }
      for (const [n, each] of wrong.entries()) {
        expect(await codeOf(readTrailEdge(manifestAt(size), from(each))), `change ${n}`).toBe('ERR_SNAPSHOT_TRAIL')
      }
      const good = manifestAt(size)
      for (const manifest of [
        { ...good, rootHash: rootAt(size - 1) },
        { ...good, batchRecord: leaves[size - 2]!.entry },
        manifestAt(size + 1),
        manifestAt(size - 1),
      ]) {
        expect(await codeOf(readTrailEdge(manifest, from(pairs)))).toBe('ERR_SNAPSHOT_TRAIL')
      }
    }
  })
})

describe('installFileTrail()', () => {
  it('has the files of its memory twin, and fills them', async () => {
    const root = await mkdtemp(path.join(tmpdir(), 'cipherlog-trail-from-'))
    const directory = path.join(root, 'trail')
    const original = await wholeTrail(600)
    await installFileTrail(directory, manifestAt(600), from(await edgeOf(original.trail, 600)))
    const trail = await openFileTrail(directory, 600)
    await fillAll(trail, original.trail)
    await trail.close()
    const { readFile } = await import('node:fs/promises')
    for (const [one, bytes] of await filesOn(original.disk)) {
      expect(equalBytes(await readFile(path.join(directory, one)), bytes), one).toBe(true)
    }
    await rm(root, { recursive: true })
  })
})

import { hash } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { beforeEach, describe, expect, it } from 'vitest'
import { encode, equalBytes, toHex, utf8 } from '@cipherlog/core'
import {
  batchRecord,
  encodeSnapshotManifest,
  encodeSnapshotPair,
  snapshotChunkBytes,
  type SnapshotPair,
} from '@cipherlog/format'
import { createMemoryDisk, type MemoryDisk } from '../disk/memory-disk.ts'
import { seededRandom } from '../random.fixture.ts'
import { codeOf } from '../wal/compliance.fixture.ts'
import { openFileSnapshots, openMemorySnapshots } from './file-snapshots.ts'
import { type SnapshotHead, type SnapshotStore, type StoredSnapshot } from './snapshot-store.ts'

const sha256 = (bytes: Uint8Array): Uint8Array => new Uint8Array(hash('sha256', bytes, 'buffer'))
const bytes32 = (fill: number): Uint8Array => new Uint8Array(32).fill(fill)

function headOf(index: number): SnapshotHead {
  return {
    cluster: bytes32(1),
    group: new Uint8Array(16),
    generation: 0,
    index,
    term: 1,
    time: 1000 + index,
    confState: { voters: [], learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false },
    treeSize: 10,
    rootHash: bytes32(2),
    batchRecord: encode(batchRecord, {
      kind: 5,
      group: new Uint8Array(16),
      logIndex: index,
      logTime: 1000 + index,
      firstLeaf: 6,
      leafCount: 3,
      batchRoot: bytes32(3),
      registryHead: { number: 0, digest: bytes32(4) },
      rulesVersion: 1,
    }),
  }
}

/** `count` pairs of about `valueBytes`, different for every `seed`. */
function pairsOf(seed: number, count: number, valueBytes: number): SnapshotPair[] {
  const random = seededRandom(seed)
  return Array.from({ length: count }, (_, n) => {
    const value = new Uint8Array(Math.floor(random() * valueBytes * 2))
    for (let at = 0; at < value.length; at += 97) value[at] = random() * 256
    return [utf8(`key ${String(n).padStart(6, '0')}`), value]
  })
}

async function* from(pairs: readonly SnapshotPair[]): AsyncGenerator<SnapshotPair> {
  for (const pair of pairs) yield pair
}

async function pairsIn(store: SnapshotStore, digest: Uint8Array): Promise<SnapshotPair[]> {
  const found: SnapshotPair[] = []
  for await (const [key, value] of store.pairs(digest)) found.push([key.slice(), value.slice()])
  return found
}

/** Three chunks, the last one short. */
const large = pairsOf(1, 5000, 500)

async function fetchAll(
  source: SnapshotStore,
  snapshot: StoredSnapshot,
  store: SnapshotStore,
): Promise<StoredSnapshot> {
  const download = await store.download(snapshot.digest, snapshot.manifestBytes)
  for (const number of download.missing()) await download.put(number, await source.readChunk(snapshot.digest, number))
  return download.complete()
}

interface Place {
  open(): Promise<SnapshotStore>
  clear(): Promise<void>
}

function compliance(name: string, makePlace: () => Promise<Place>): void {
  describe(`${name}: compliance`, () => {
    async function on(run: (store: SnapshotStore, reopen: () => Promise<SnapshotStore>) => Promise<void>) {
      const place = await makePlace()
      let store = await place.open()
      try {
        await run(store, async () => {
          await store.close()
          store = await place.open()
          return store
        })
      } finally {
        await store.close()
        await place.clear()
      }
    }

    it('keeps what was written, whole, across a restart', () =>
      on(async (store, reopen) => {
        const written = await store.write(headOf(5), from(large))
        expect(written.manifest.chunks).toHaveLength(3)
        expect(written.manifest.pairs).toBe(large.length)
        expect(written.record.logIndex).toBe(5)
        const stream = Buffer.concat(large.map(encodeSnapshotPair))
        expect(written.manifest.bytes).toBe(stream.length)
        const again = await reopen()
        expect(again.damaged).toEqual([])
        expect(again.list()).toEqual([written])
        expect(await pairsIn(again, written.digest)).toEqual(large)
        const second = await again.readChunk(written.digest, 1)
        expect(equalBytes(second, stream.subarray(snapshotChunkBytes, 2 * snapshotChunkBytes))).toBe(true)
        expect((await again.readChunk(written.digest, 2)).length).toBe(stream.length - 2 * snapshotChunkBytes)
      }))

    it('is the same for the same pairs, and stores it once', () =>
      on(async (store) => {
        const first = await store.write(headOf(5), from(large))
        const second = await store.write(headOf(5), from(large))
        expect([second.digest, store.list().length]).toEqual([first.digest, 1])
        const other = await store.write({ ...headOf(5), term: 2 }, from(large))
        expect(other.digest).not.toEqual(first.digest)
      }))

    it('lists the newest first, and prunes to it and one more', () =>
      on(async (store, reopen) => {
        const all: StoredSnapshot[] = []
        for (const index of [3, 9, 5, 7]) all.push(await store.write(headOf(index), from(pairsOf(index, 5, 10))))
        expect(store.list().map(({ manifest }) => manifest.index)).toEqual([9, 7, 5, 3])
        await store.prune()
        expect(store.list().map(({ manifest }) => manifest.index)).toEqual([9, 7])
        const again = await reopen()
        expect(again.list().map(({ manifest }) => manifest.index)).toEqual([9, 7])
        expect(await codeOf(again.readChunk(all[0]!.digest, 0))).toBe('ERR_SNAPSHOT_UNKNOWN')
        expect(await codeOf(again.pairs(all[0]!.digest).next())).toBe('ERR_SNAPSHOT_UNKNOWN')
        expect(await codeOf(again.readChunk(all[1]!.digest, 1))).toBe('RangeError')
        await again.remove(all[1]!.digest)
        await again.remove(all[1]!.digest)
        expect(again.list().map(({ manifest }) => manifest.index)).toEqual([7])
        expect(() => again.prune(0)).toThrow(RangeError)
      }))

    it('leaves nothing of a snapshot whose pairs end in an error, or are out of order', () =>
      on(async (store, reopen) => {
        async function* broken(): AsyncGenerator<SnapshotPair> {
          yield* from(large.slice(0, 4000))
          throw new RangeError('the state was closed')
        }
        expect(await codeOf(store.write(headOf(5), broken()))).toBe('RangeError')
        expect(await codeOf(store.write(headOf(5), from([...large].reverse())))).toBe('ERR_INVARIANT')
        const again = await reopen()
        expect([again.list(), again.damaged]).toEqual([[], []])
        await again.write(headOf(5), from(large))
      }))

    it('ends what it takes when it is closed, and takes one at a time', () =>
      on(async (store, reopen) => {
        let given = 0
        async function* endless(): AsyncGenerator<SnapshotPair> {
          for (; ; given++) {
            yield [utf8(`key ${String(given).padStart(9, '0')}`), new Uint8Array(1000)]
            if (given % 1000 === 0) await new Promise((resolve) => setImmediate(resolve))
          }
        }
        const taking = codeOf(store.write(headOf(5), endless()))
        expect(await codeOf(store.write(headOf(6), from(large)))).toBe('ERR_INVARIANT')
        while (given < 3000) await new Promise((resolve) => setImmediate(resolve))
        const again = await reopen()
        expect(await taking).toBe('ERR_STORAGE_CLOSED')
        expect([again.list(), again.damaged]).toEqual([[], []])
      }))

    it('opens the same download for two who ask for it at once', () =>
      on(async (store) => {
        const source = await openMemorySnapshots()
        const { digest, manifestBytes } = await source.write(headOf(5), from(large))
        const [first, second] = await Promise.all([
          store.download(digest, manifestBytes),
          store.download(digest, manifestBytes),
        ])
        expect(second).toBe(first)
      }))

    it('fetches chunks in any order, goes on after a restart, and refuses what the manifest does not name', () =>
      on(async (store, reopen) => {
        const source = await openMemorySnapshots()
        const snapshot = await source.write(headOf(5), from(large))
        const chunks = await Promise.all([0, 1, 2].map((number) => source.readChunk(snapshot.digest, number)))
        const download = await store.download(snapshot.digest, snapshot.manifestBytes)
        expect(download.missing()).toEqual([0, 1, 2])
        await download.put(2, chunks[2]!)
        for (const [number, chunk] of [
          [0, chunks[1]!],
          [0, chunks[0]!.map((byte, at) => (at === 77 ? byte ^ 1 : byte))],
          [1, chunks[1]!.subarray(1)],
          [3, chunks[2]!],
        ] as const) {
          expect(await codeOf(download.put(number, chunk))).toBe('ERR_SNAPSHOT_CHUNK')
        }
        await download.put(2, chunks[2]!)
        expect(download.missing()).toEqual([0, 1])
        expect(await codeOf(download.complete())).toBe('ERR_INVARIANT')

        const again = await reopen()
        expect(again.list()).toEqual([])
        const resumed = (await again.resume())!
        expect([resumed.digest, resumed.missing()]).toEqual([snapshot.digest, [0, 1]])
        await resumed.put(1, chunks[1]!)
        // The same offer again is the same download.
        const same = await again.download(snapshot.digest, snapshot.manifestBytes)
        expect(same.missing()).toEqual([0])
        await same.put(0, chunks[0]!)
        expect(await same.complete()).toEqual(snapshot)
        expect(await again.resume()).toBeUndefined()
        expect(await pairsIn(await reopen(), snapshot.digest)).toEqual(large)
      }))

    it('gives up a download for another one, or when told', () =>
      on(async (store) => {
        const source = await openMemorySnapshots()
        const [older, newer] = [await source.write(headOf(5), from(large)), await source.write(headOf(6), from(large))]
        const first = await store.download(older.digest, older.manifestBytes)
        await first.put(0, await source.readChunk(older.digest, 0))
        const second = await store.download(newer.digest, newer.manifestBytes)
        expect(second.missing()).toEqual([0, 1, 2])
        expect(await codeOf(first.put(1, new Uint8Array(1)))).toBe('ERR_STORAGE_CLOSED')
        await second.discard()
        expect(await store.resume()).toBeUndefined()
        expect(await codeOf(store.download(sha256(utf8('no manifest')), utf8('no manifest')))).toMatch(/^ERR_DECODE_/)
        expect(await codeOf(store.download(older.digest, newer.manifestBytes))).toBe('ERR_SNAPSHOT_MANIFEST')
        for (let at = 0; at < older.manifestBytes.length; at++) {
          const flipped = older.manifestBytes.map((byte, i) => (i === at ? byte ^ (1 << (at % 8)) : byte))
          expect(await codeOf(store.download(older.digest, flipped))).toBe('ERR_SNAPSHOT_MANIFEST')
        }
        await fetchAll(source, older, store)
        expect(store.list()).toEqual([older])
      }))
  })
}

compliance('openMemorySnapshots()', async () => {
  const disk = createMemoryDisk()
  return { open: () => openMemorySnapshots(disk), clear: async () => {} }
})
compliance('openFileSnapshots()', async () => {
  const root = await mkdtemp(path.join(tmpdir(), 'cipherlog-snapshots-'))
  return {
    open: () => openFileSnapshots(path.join(root, 'a', 'snapshots')),
    clear: () => rm(root, { recursive: true }),
  }
})

describe('a snapshot on a damaged disk', () => {
  let disk: MemoryDisk
  let store: SnapshotStore
  let snapshot: StoredSnapshot
  beforeEach(async () => {
    disk = createMemoryDisk()
    store = await openMemorySnapshots(disk)
    snapshot = await store.write(headOf(5), from(large))
  })
  const pathOf = (name: string): string => `${toHex(snapshot.digest)}/${name}`

  it('is never handed out with a flipped bit', async () => {
    disk.damage(pathOf('stream'), (bytes) =>
      bytes.fill(bytes[snapshotChunkBytes + 5]! ^ 1, snapshotChunkBytes + 5, snapshotChunkBytes + 6),
    )
    await store.readChunk(snapshot.digest, 0)
    await expect(store.readChunk(snapshot.digest, 1)).rejects.toMatchObject({
      code: 'ERR_SNAPSHOT_DAMAGED',
      details: { chunk: 1 },
    })
    expect(await codeOf(store.verify(snapshot.digest))).toBe('ERR_SNAPSHOT_DAMAGED')
    await store.remove(snapshot.digest)
    expect(disk.paths()).toEqual([])
  })

  it.each<[string, string, (bytes: Uint8Array) => Uint8Array]>([
    ['a flipped bit in its manifest', 'manifest', (bytes) => bytes.fill(bytes[40]! ^ 1, 40, 41)],
    ['a manifest cut off', 'manifest', (bytes) => bytes.slice(1)],
    ['a stream cut off', 'stream', (bytes) => bytes.slice(1)],
    ['a longer stream', 'stream', (bytes) => Uint8Array.from([...bytes, 0])],
  ])('is removed at the next start with %s', async (_, name, change) => {
    disk.damage(pathOf(name), change)
    const again = await openMemorySnapshots(disk)
    expect([again.list(), again.damaged]).toEqual([[], [toHex(snapshot.digest)]])
    expect(disk.paths()).toEqual([])
  })

  it('made wrong by whoever took it is refused when it is read', async () => {
    const pair = encodeSnapshotPair([utf8('a'), utf8('1')])
    for (const [bytes, pairs] of [
      [pair.subarray(1), 1],
      [pair, 2],
      [Uint8Array.from([...pair, ...pair]), 2],
      [pair.subarray(0, -1), 1],
    ] as const) {
      const chunks = [sha256(bytes)]
      const manifest = encodeSnapshotManifest({ version: 1, ...headOf(7), pairs, bytes: bytes.length, chunks })
      const download = await store.download(sha256(manifest), manifest)
      await download.put(0, bytes)
      const made = await download.complete()
      expect(await codeOf(store.verify(made.digest))).toBe('ERR_SNAPSHOT_STREAM')
    }
  })
})

describe('snapshots through a power loss', () => {
  /** Every operation of `life` in turn is the last one before the power goes; then `check` sees what is left. */
  async function atEachOperation(
    prepare: (disk: MemoryDisk) => Promise<void>,
    life: (disk: MemoryDisk) => Promise<void>,
    check: (disk: MemoryDisk, operation: number) => Promise<void>,
  ): Promise<number> {
    for (let at = 1; ; at++) {
      const disk = createMemoryDisk()
      await prepare(disk)
      let count = 0
      disk.fault = () => (++count === at ? 'crash' : undefined)
      const code = await codeOf(life(disk))
      expect([undefined, 'ERR_STORAGE_FAILED']).toContain(code)
      if (code === undefined) return at - 1
      disk.restart(seededRandom(at))
      disk.fault = () => undefined
      await check(disk, at)
    }
  }
  const small = pairsOf(3, 30, 40)

  it('has the old ones, or a whole new one as well, at any write or sync of taking and pruning', async () => {
    let found = 0
    const old: StoredSnapshot[] = []
    const operations = await atEachOperation(
      async (disk) => {
        const store = await openMemorySnapshots(disk)
        old.length = 0
        for (const index of [1, 2]) old.push(await store.write(headOf(index), from(small)))
      },
      async (disk) => {
        const store = await openMemorySnapshots(disk)
        await store.write(headOf(3), from(large))
        await store.prune()
      },
      async (disk) => {
        const store = await openMemorySnapshots(disk)
        expect(store.damaged).toEqual([])
        const indexes = store.list().map(({ manifest }) => manifest.index)
        expect(['2,1', '3,2,1', '3,2']).toContain(indexes.join())
        for (const { digest } of store.list()) await store.verify(digest)
        found += indexes[0] === 3 ? 1 : 0
        await store.write(headOf(3), from(large))
        await store.prune()
        expect(disk.paths()).toHaveLength(4)
      },
    )
    expect(operations).toBeGreaterThan(10)
    expect(found).toBeGreaterThan(2)
    expect(found).toBeLessThan(operations)
  })

  it('never takes a chunk for good that the disk lost, at any write or sync of fetching', async () => {
    const source = await openMemorySnapshots()
    const snapshot = await source.write(headOf(9), from(large))
    let resumed = 0
    await atEachOperation(
      async () => {},
      async (disk) => {
        await fetchAll(source, snapshot, await openMemorySnapshots(disk))
      },
      async (disk) => {
        const store = await openMemorySnapshots(disk)
        if (store.list().length === 0) {
          const missing = (await store.resume())?.missing()
          resumed += missing !== undefined && missing.length < 3 ? 1 : 0
          await fetchAll(source, snapshot, store)
        }
        await store.verify(snapshot.digest)
        expect(disk.paths()).toHaveLength(2)
      },
    )
    expect(resumed).toBeGreaterThan(0)
  })
})

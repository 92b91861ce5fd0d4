import { createHash } from 'node:crypto'
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { utf8 } from '@cipherlog/core'
import { formatCheckpoint, formatNote, tilePath } from '@cipherlog/merkle/verify'
import { openDataDirectory } from '../data-directory.ts'
import { createLevelStateStore } from '../state-store/level-state-store.ts'
import { makeLeaves } from '../trail/leaves.fixture.ts'
import { openFileTrail } from '../trail/open-trail.ts'
import { codeOf, entries, identity, peer } from '../wal/compliance.fixture.ts'
import { createFileWal } from '../wal/open-wal.ts'
import { segmentNames } from '../wal/segment.ts'
import { fsck } from './fsck.ts'
import { type FsckReport } from './report.ts'

const treeSize = 600
const published = 520
const wal = path.join('wal', segmentNames(0).wal)
const refs = path.join('wal', segmentNames(0).refs)

let root = ''
let good = ''
let copies = 0
beforeAll(async () => {
  root = await mkdtemp(path.join(tmpdir(), 'cipherlog-fsck-test-'))
  good = path.join(root, 'good')
  const directory = await openDataDirectory(good, identity)
  const log = await createFileWal(directory.wal, { identity, segmentBytes: 4096 })
  await log.open()
  for (let index = 1; index <= 40; index++) {
    await log.append({ ...entries(2, index, index), hardState: { term: 2, votedFor: peer, commit: index - 1 } })
  }
  await log.close()
  const state = await createLevelStateStore(directory.state)
  for (let number = 0; number < 500; number++) state.put(utf8(`key ${number}`), new Uint8Array(1000).fill(number))
  await state.persist(state.checkpoint())
  await state.close()
  const trail = await openFileTrail(directory.trail, 0)
  const { leaves, rootAt } = makeLeaves(treeSize)
  for (const leaf of leaves.slice(0, published)) trail.append(leaf)
  const checkpoint = formatCheckpoint({ origin: 'test/0', size: published, rootHash: rootAt(published) })
  const signature = { name: 'test', keyId: '00112233', signature: new Uint8Array(64) }
  await trail.publish({ checkpoint: formatNote(checkpoint, [signature]), size: published })
  for (const leaf of leaves.slice(published)) trail.append(leaf)
  await trail.flush({ sync: true })
  await trail.close()
  await directory.close()
})
afterAll(() => rm(root, { recursive: true }))

/** SHA-256 of every file, but for those of the lock. */
async function contentOf(directory: string): Promise<Map<string, string>> {
  const out = new Map<string, string>()
  for (const file of await readdir(directory, { recursive: true, withFileTypes: true })) {
    const name = path.join(path.relative(directory, file.parentPath), file.name)
    if (!file.isFile() || name.startsWith('lock')) continue
    out.set(
      name,
      createHash('sha256')
        .update(await readFile(path.join(directory, name)))
        .digest('hex'),
    )
  }
  return out
}

/** The report on a copy of the good directory after `damage`. Fails if checking changed a file. */
async function check(damage: (directory: string) => Promise<void>): Promise<FsckReport> {
  const directory = path.join(root, `copy-${++copies}`)
  await cp(good, directory, { recursive: true })
  await damage(directory)
  const before = await contentOf(directory)
  const report = await fsck(directory, { scratch: root })
  expect(await contentOf(directory)).toEqual(before)
  return report
}

async function flip(file: string, at: number): Promise<void> {
  const bytes = new Uint8Array(await readFile(file))
  await writeFile(file, bytes.with(at, bytes.at(at)! ^ 4))
}

describe('fsck()', () => {
  it('finds nothing in a good directory, says what is there, tells how far it is', async () => {
    const progress: string[] = []
    const report = await fsck(good, {
      scratch: root,
      onProgress: ({ store, done, of }) => progress.push(`${store} ${done}/${of}`),
    })
    expect(report.problems).toEqual([])
    expect(report).toMatchObject({
      identity,
      wal: { groups: [{ group: '00'.repeat(16), firstIndex: 1, lastIndex: 40, term: 2, holes: [], doubt: undefined }] },
      state: { pairs: 500 },
      trail: { trailFrom: 0, treeSize, publishedSize: published },
    })
    const { segments } = report.wal!
    expect(segments).toBeGreaterThan(2)
    expect(progress.filter((one) => one.startsWith('wal'))).toEqual(
      Array.from({ length: segments }, (_, number) => `wal ${number + 1}/${segments}`),
    )
    expect([progress.includes('state 500/500'), progress.at(-1)]).toEqual([true, 'trail 3/3'])
  })

  it('tells what the next start mends from what peers must give', async () => {
    const mended = await check((directory) => flip(path.join(directory, refs), 540))
    expect(mended.problems).toMatchObject([{ store: 'wal', path: segmentNames(0).refs, remedy: 'start' }])
    const header = await check((directory) => flip(path.join(directory, wal), 540))
    expect(header.problems).toMatchObject([{ store: 'wal', offset: 512, remedy: 'start' }])
    const hole = await check((directory) => flip(path.join(directory, wal), 512 + 127 + 101))
    expect(hole.problems).toMatchObject([
      { store: 'wal', path: segmentNames(0).wal, offset: 512 + 127, remedy: 'peers' },
    ])
    expect(hole.wal!.groups).toMatchObject([{ holes: [1] }])
    const doubt = await check(async (directory) => {
      await flip(path.join(directory, wal), 512 + 127 + 20)
      await flip(path.join(directory, refs), 512 + 100 + 20)
    })
    expect(doubt.problems).toMatchObject([{ offset: 512 + 127, remedy: 'peers' }])
    expect(doubt.wal!.groups[0]!.doubt).toMatchObject({ reason: 'headersLost', fromIndex: 1 })
    const beyond = await check(async (directory) => {
      for (const file of [wal, refs]) await flip(path.join(directory, file), 9)
    })
    expect(beyond).toMatchObject({ wal: undefined, problems: [{ store: 'wal', remedy: 'replace' }] })
  })

  it('compares every payload with its SHA-256, not only with its CRC-32', async () => {
    const { problems } = await check(async (directory) => {
      const file = path.join(directory, wal)
      const bytes = new Uint8Array(await readFile(file))
      // Payload and CRC-32 of entry 2 over those of entry 1: a misdirected write.
      bytes.copyWithin(512 + 127 + 100, 512 + 2 * 127 + 107 + 100, 512 + 2 * 127 + 107 + 107)
      await writeFile(file, bytes)
    })
    expect(problems).toMatchObject([{ store: 'wal', offset: 512 + 127, remedy: 'peers' }])
  })

  it('notices a state store that cannot be opened or read', async () => {
    const { problems, state } = await check(async (directory) => {
      const database = path.join(directory, 'state', '0')
      for (const name of await readdir(database)) {
        if (name.startsWith('MANIFEST')) await writeFile(path.join(database, name), 'nothing')
      }
    })
    expect(state).toBeUndefined()
    expect(problems).toMatchObject([{ store: 'state', remedy: 'replace' }])
  })

  it.each([
    ['a leaf record', 'tile/entries/000', 5, ['tile/0/000', 'tile/bundle/000']],
    ['a hash of a full tile', tilePath(0, 1), 40, [tilePath(0, 1), tilePath(0, 1)]],
    ['a hash of the level above', tilePath(1, 0, 2), 0, [tilePath(0, 0), 'checkpoint']],
    ['the table of a pack', 'tile/bundle/001', 8, ['tile/bundle/001']],
    ['signed bytes', 'tile/bundle/001', 2060, ['tile/bundle/001']],
    ['a body', 'tile/body/002', -3, ['tile/bundle/002']],
    ['the root in the checkpoint', 'checkpoint', 14, ['checkpoint']],
  ])('finds damage to %s', async (_what, file, at, expected) => {
    const { problems } = await check((directory) => flip(path.join(directory, 'trail', file), at))
    expect(problems.map((one) => one.path).sort()).toEqual([...expected].sort())
    for (const one of problems) expect(one).toMatchObject({ store: 'trail', remedy: 'replace' })
  })

  it('finds a file that is missing or cut off', async () => {
    for (const [file, expected] of [
      ['tile/entries/001', ['tile/entries/001']],
      ['tile/body/000', ['tile/body/000']],
    ] as const) {
      const { problems } = await check((directory) => rm(path.join(directory, 'trail', file)))
      expect(problems.map((one) => one.path)).toEqual(expected)
    }
    const { problems } = await check((directory) => writeFile(path.join(directory, 'trail', tilePath(0, 0)), 'short'))
    expect(problems.map((one) => one.path)).toContain(tilePath(0, 0))
  })

  it("refuses a directory that a node has open, or that is nobody's", async () => {
    const directory = path.join(root, 'open')
    const held = await openDataDirectory(directory, identity)
    expect(await codeOf(fsck(directory))).toBe('ERR_DATA_DIR_LOCKED')
    await held.close()
    expect((await fsck(directory)).problems).toEqual([])
    expect(await codeOf(fsck(path.join(root, 'none')))).toBe('ERR_DATA_DIR_FORMAT')
    expect((await readdir(root)).includes('none')).toBe(false)
  })
})

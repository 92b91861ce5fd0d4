import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { fileMemory } from './node/file-memory.ts'
import { History, inMemory, isBefore, type ClientMemory } from './history.ts'

const origin = 'test.example/0011223344556677/00000000000000000000000000000000/0'
const key = new Uint8Array(33).fill(3)
const head = {
  number: 4,
  digest: new Uint8Array(32).fill(1),
  treeSize: 17,
  rootHash: new Uint8Array(32).fill(2),
  checkpoint: 'a note\n',
}

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cipherlog-memory-'))
})
afterAll(() => rm(folder, { recursive: true }))

const memories: readonly [string, () => { memory: ClientMemory; again: () => ClientMemory }][] = [
  [
    'inMemory()',
    () => {
      const memory = inMemory()
      return { memory, again: () => memory }
    },
  ],
  [
    'fileMemory()',
    () => {
      const path = join(folder, `memory-${Math.random()}`)
      return { memory: fileMemory(path), again: () => fileMemory(path) }
    },
  ],
]

describe.each(memories)('%s', (_name, create) => {
  test('gives back what was seen, per origin', async () => {
    const { memory, again } = create()
    const history = await History.load(origin, memory)
    expect(history.head).toBeUndefined()
    await history.setHead(head)
    await history.setSession(7)
    history.note('orders', key, { leaf: 12, command: 1 })
    await history.flush()
    const other = await History.load('another.example/x', memory)
    await other.setSession(1)
    const loaded = await History.load(origin, again())
    expect(loaded.head).toEqual(head)
    expect(loaded.session).toBe(7)
    expect(loaded.position('orders', key)).toMatchObject({ leaf: 12, command: 1 })
    expect(loaded.position('costs', key)).toBeUndefined()
    expect((await History.load('another.example/x', again())).session).toBe(1)
  })

  test('what it holds is never silently forgotten', async () => {
    const { memory } = create()
    await memory.save(origin, new Uint8Array([1, 2, 3]))
    await expect(History.load(origin, memory)).rejects.toMatchObject({ code: expect.stringMatching(/^ERR_DECODE_/) })
  })
})

describe('History', () => {
  test('positions, sizes and session numbers only grow', async () => {
    const history = await History.load(origin, inMemory())
    await history.setHead(head)
    await history.setSession(7)
    await history.setSession(3)
    expect(history.session).toBe(7)
    history.note('orders', key, { leaf: 12, command: 1 })
    history.note('orders', key, { leaf: 12, command: 0 })
    expect(history.position('orders', key)).toMatchObject({ leaf: 12, command: 1 })
    history.setCheckpoint({ treeSize: 16, rootHash: head.rootHash, checkpoint: 'older\n' })
    expect(history.head!.treeSize).toBe(17)
    history.setCheckpoint({ treeSize: 18, rootHash: head.rootHash, checkpoint: 'newer\n' })
    expect(history.head).toMatchObject({ treeSize: 18, number: 4, checkpoint: 'newer\n' })
  })

  test('keeps 65,536 keys and drops the one that was not used for longest', async () => {
    const history = await History.load(origin, inMemory())
    const keyOf = (n: number) => new Uint8Array(new Uint32Array([n]).buffer)
    for (let n = 0; n < 65_536; n++) history.note('orders', keyOf(n), { leaf: n, command: 0 })
    history.note('orders', keyOf(0), { leaf: 70_000, command: 0 })
    history.note('orders', keyOf(65_536), { leaf: 70_001, command: 0 })
    expect(history.position('orders', keyOf(0))).toBeDefined()
    expect(history.position('orders', keyOf(1))).toBeUndefined()
    expect(history.position('orders', keyOf(2))).toBeDefined()
  })

  test('a failed save is heard of, and the next one keeps everything', async () => {
    const memory = inMemory()
    let failures = 1
    const history = await History.load(origin, {
      load: (name) => memory.load(name),
      save: (name, bytes) => (failures-- > 0 ? Promise.reject(new Error('disk full')) : memory.save(name, bytes)),
    })
    await expect(history.setSession(5)).rejects.toThrow('disk full')
    await history.setSession(6)
    expect((await History.load(origin, memory)).session).toBe(6)
  })

  test('isBefore() compares leaf, then command', () => {
    expect(isBefore({ leaf: 1, command: 9 }, { leaf: 2, command: 0 })).toBe(true)
    expect(isBefore({ leaf: 2, command: 0 }, { leaf: 2, command: 1 })).toBe(true)
    expect(isBefore({ leaf: 2, command: 1 }, { leaf: 2, command: 1 })).toBe(false)
    expect(isBefore({ leaf: 3, command: 0 }, { leaf: 2, command: 1 })).toBe(false)
  })
})

describe('fileMemory()', () => {
  test('is readable by its owner alone and leaves nothing beside it', async () => {
    const path = join(folder, 'owner')
    await fileMemory(path).save(origin, new Uint8Array([1]))
    expect((await stat(path)).mode & 0o777).toBe(0o600)
    expect((await readdir(folder)).filter((name) => name.startsWith('owner'))).toEqual(['owner'])
  })

  test('saves in the order in which they were asked for', async () => {
    const path = join(folder, 'order')
    const memory = fileMemory(path)
    await Promise.all([1, 2, 3, 4].map((n) => memory.save(origin, new Uint8Array([n]))))
    expect(await fileMemory(path).load(origin)).toEqual(new Uint8Array([4]))
  })

  test('a damaged file is an error, not a fresh start', async () => {
    const path = join(folder, 'damaged')
    await writeFile(path, new Uint8Array([0xff, 0x00]))
    await expect(fileMemory(path).load(origin)).rejects.toMatchObject({ code: expect.stringMatching(/^ERR_DECODE_/) })
  })
})

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { utf8, utf8ToString } from '@cipherlog/core'
import { seededRandom } from '../random.fixture.ts'
import { type Disk, replaceFile } from './disk.ts'
import { createDirectory, createFileDisk } from './file-disk.ts'
import { createMemoryDisk, type MemoryDisk } from './memory-disk.ts'

async function write(disk: Disk, file: string, text: string, sync = true): Promise<void> {
  const opened = await disk.open(file)
  await opened.write(utf8(text), 0)
  if (sync) await opened.datasync()
  await opened.close()
}

async function read(disk: Disk, file: string): Promise<string | undefined> {
  const bytes = await disk.readFile(file)
  return bytes === undefined ? undefined : utf8ToString(bytes)
}

function compliance(name: string, make: () => Promise<{ disk: Disk; clear: () => Promise<void> }>): void {
  describe(`${name}: compliance`, () => {
    let disk: Disk
    let clear: () => Promise<void>
    beforeEach(async () => {
      ;({ disk, clear } = await make())
    })
    afterEach(() => clear())

    it.each([false, true])('reads and writes at positions, durable: %s', async (durable) => {
      const file = await disk.open('f', { durable })
      await file.write(utf8('world'), 7)
      await file.write(utf8('hello'), 0)
      expect(await file.size()).toBe(12)
      expect(utf8ToString(await file.read(0, 100))).toBe('hello\0\0world')
      expect(utf8ToString(await file.read(7, 3))).toBe('wor')
      expect((await file.read(12, 5)).length).toBe(0)
      await file.truncate(5)
      await file.truncate(8)
      await file.datasync()
      expect(utf8ToString(await file.read(0, 100))).toBe('hello\0\0\0')
      await file.close()
      const again = await disk.open('f')
      expect(await again.size()).toBe(8)
      await again.close()
    })

    it('lists, replaces and removes names', async () => {
      await disk.makeDirectory('d')
      await disk.makeDirectory('d')
      await write(disk, 'd/a', 'first')
      await replaceFile(disk, 'd/a', utf8('2nd'))
      await write(disk, 'd/b', 'b')
      await disk.syncDirectory('d')
      expect(await read(disk, 'd/a')).toBe('2nd')
      expect((await disk.list('')).map((entry) => [entry.name, entry.isDirectory])).toEqual([['d', true]])
      expect((await disk.list('d')).map((entry) => entry.name).sort()).toEqual(['a', 'b'])
      await expect(disk.removeDirectory('d')).rejects.toMatchObject({ code: 'ENOTEMPTY' })
      for (const one of ['d/a', 'd/b', 'd/b']) await disk.remove(one)
      for (let twice = 0; twice < 2; twice++) await disk.removeDirectory('d')
      expect(await disk.list('d')).toEqual([])
      expect(await disk.readFile('d/a')).toBeUndefined()
      await expect(disk.open('d/a')).rejects.toMatchObject({ code: 'ENOENT' })
      await expect(disk.rename('d/a', 'd/b')).rejects.toMatchObject({ code: 'ENOENT' })
    })
  })
}

compliance('createFileDisk()', async () => {
  const root = await mkdtemp(path.join(tmpdir(), 'cipherlog-disk-'))
  await createDirectory(path.join(root, 'x', 'y'))
  return { disk: createFileDisk(path.join(root, 'x', 'y')), clear: () => rm(root, { recursive: true }) }
})

compliance('createMemoryDisk()', async () => ({ disk: createMemoryDisk(), clear: async () => {} }))

describe('createMemoryDisk() at a crash', () => {
  /** Every outcome that `work` can have, over many seeds. */
  async function outcomes(
    work: (disk: MemoryDisk) => Promise<void>,
    look: (disk: MemoryDisk) => Promise<string | undefined>,
  ): Promise<Set<string | undefined>> {
    const found = new Set<string | undefined>()
    for (let seed = 0; seed < 200; seed++) {
      const disk = createMemoryDisk()
      await work(disk)
      disk.crash()
      await expect(disk.list('')).rejects.toMatchObject({ code: 'ECRASH' })
      disk.restart(seededRandom(seed))
      found.add(await look(disk))
    }
    return found
  }

  it('keeps what was synced, name and bytes', async () => {
    const found = await outcomes(
      async (disk) => {
        await write(disk, 'f', 'synced')
        await disk.syncDirectory('')
      },
      (disk) => read(disk, 'f'),
    )
    expect([...found]).toEqual(['synced'])
  })

  it('keeps, loses or tears bytes that were not synced, and never touches others', async () => {
    const found = await outcomes(
      async (disk) => {
        await write(disk, 'f', 'old')
        await disk.syncDirectory('')
        const file = await disk.open('f')
        await file.write(utf8('n'.repeat(300)), 3)
      },
      (disk) => read(disk, 'f'),
    )
    expect(found).toContain('old')
    expect(found).toContain(`old${'n'.repeat(300)}`)
    expect(found.size).toBeGreaterThan(20)
    for (const text of found) expect(text).toMatch(/^old[n\0]*$/)
  })

  it('loses a name whose directory was not synced, and keeps a rename whole', async () => {
    const created = await outcomes(
      (disk) => write(disk, 'f', 'x'),
      (disk) => read(disk, 'f'),
    )
    expect(created).toEqual(new Set(['x', undefined]))
    const renamed = await outcomes(
      async (disk) => {
        await write(disk, 'f', 'old')
        await write(disk, 'g', 'new')
        await disk.syncDirectory('')
        await disk.rename('g', 'f')
      },
      async (disk) => `${await read(disk, 'f')} ${disk.paths().join()}`,
    )
    expect(renamed).toEqual(new Set(['old f,g', 'new f']))
  })

  it('keeps all or nothing of what was not synced, if asked to', async () => {
    for (const [unsynced, expected] of [
      ['lost', { text: 'old', paths: ['f', 'h'] }],
      ['kept', { text: 'new', paths: ['f', 'g'] }],
    ] as const) {
      const disk = createMemoryDisk()
      for (const file of ['f', 'h']) await write(disk, file, 'old')
      await disk.syncDirectory('')
      await write(disk, 'f', 'new', false)
      await disk.rename('h', 'g')
      disk.crash()
      disk.restart(unsynced)
      expect({ text: await read(disk, 'f'), paths: disk.paths() }).toEqual(expected)
    }
  })

  it('never makes durable what a failed sync was to write, though it stays visible', async () => {
    const disk = createMemoryDisk()
    await write(disk, 'f', 'old')
    await disk.syncDirectory('')
    const file = await disk.open('f')
    await file.write(utf8('new'), 0)
    disk.fault = ({ kind }) => (kind === 'datasync' ? 'fail' : undefined)
    await expect(file.datasync()).rejects.toMatchObject({ code: 'EIO' })
    disk.fault = () => undefined
    await file.datasync()
    expect(await read(disk, 'f')).toBe('new')
    disk.crash()
    disk.restart(seededRandom(1))
    expect(await read(disk, 'f')).toBe('old')
  })
})

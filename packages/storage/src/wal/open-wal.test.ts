import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createMemoryDisk } from '../disk/memory-disk.ts'
import { walCompliance } from './compliance.fixture.ts'
import { createFileWal, createMemoryWal } from './open-wal.ts'

walCompliance('createFileWal()', async () => {
  const directory = await mkdtemp(path.join(tmpdir(), 'cipherlog-wal-'))
  const wal = path.join(directory, 'wal')
  await mkdir(wal)
  return {
    // Without lengths set ahead, so that what the files hold is what was written.
    open: (options) => createFileWal(wal, { preallocate: false, ...options }),
    readFile: async (name) => new Uint8Array(await readFile(path.join(wal, name))),
    writeFile: (name, bytes) => writeFile(path.join(wal, name), bytes),
    clear: () => rm(directory, { recursive: true }),
  }
})

walCompliance('createMemoryWal()', async () => {
  const disk = createMemoryDisk()
  return {
    open: async (options) => createMemoryWal(options, disk),
    async readFile(name) {
      const bytes = await disk.readFile(name)
      if (bytes === undefined) throw new Error(`there is no ${name}`)
      return bytes
    },
    async writeFile(name, bytes) {
      await (await disk.open(name)).close()
      disk.damage(name, () => bytes)
    },
    clear: async () => {},
  }
})

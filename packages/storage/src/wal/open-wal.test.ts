import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createMemoryDisk } from '../disk/memory-disk.ts'
import { walCompliance } from './compliance.fixture.ts'
import { createFileWal, createMemoryWal } from './open-wal.ts'

walCompliance('createFileWal()', async () => {
  const directory = await mkdtemp(path.join(tmpdir(), 'cipherlog-wal-'))
  return {
    open: (options) => createFileWal(path.join(directory, 'wal'), options),
    clear: () => rm(directory, { recursive: true }),
  }
})

walCompliance('createMemoryWal()', async () => {
  const disk = createMemoryDisk()
  return { open: async (options) => createMemoryWal(options, disk), clear: async () => {} }
})

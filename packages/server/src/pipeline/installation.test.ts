import { describe, expect, it } from 'vitest'
import { createMemoryDisk, createMemoryWal } from '@cipherlog/storage'
import { refuseDoubt } from './installation.ts'

const group = new Uint8Array(16)

describe('refuseDoubt()', () => {
  it('lets a whole log pass, and refuses one whose last record is gone from both files', async () => {
    const disk = createMemoryDisk()
    const open = async () => {
      const wal = createMemoryWal({ identity: { cluster: new Uint8Array(32), peerId: new Uint8Array(16) } }, disk)
      return { wal, contents: await wal.open() }
    }
    const { wal, contents } = await open()
    refuseDoubt(contents.group(group))
    const hardState = { term: 1, votedFor: undefined, commit: 0 }
    await wal.append({ group, hardState, entries: [], fencingTerm: 1 })
    await wal.close()
    for (const path of disk.paths()) disk.damage(path, (bytes) => bytes.with(530, bytes[530]! ^ 1))
    const damaged = (await open()).contents.group(group)
    expect(() => refuseDoubt(damaged)).toThrow(
      expect.objectContaining({
        code: 'ERR_WAL_DOUBT',
        details: { reason: 'tailUnproven', fromIndex: 1, termUnknown: true },
      }),
    )
  })
})

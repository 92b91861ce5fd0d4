import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, rm, symlink, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { utf8 } from '@cipherlog/core'
import { trailDirectory } from './node.ts'

const root = await mkdtemp(join(tmpdir(), 'cipherlog-audit-'))
afterAll(() => rm(root, { recursive: true, force: true }))

let directory: string
beforeEach(async () => {
  directory = await mkdtemp(join(root, 'trail-'))
  await mkdir(join(directory, 'tile/0'), { recursive: true })
  await writeFile(join(directory, 'checkpoint'), 'a note')
  await writeFile(join(directory, 'tile/0/000'), new Uint8Array(8192))
})

const listed = async () => (await trailDirectory(directory).list()).toSorted((a, b) => (a.path < b.path ? -1 : 1))
const unreadable = (says: RegExp) =>
  expect.objectContaining({ code: 'ERR_AUDIT_SOURCE', message: expect.stringMatching(says) as string })

describe('trailDirectory()', () => {
  test('lists files with their sizes, and reads the range asked for', async () => {
    expect(await listed()).toEqual([
      { path: 'checkpoint', bytes: 6 },
      { path: 'tile/0/000', bytes: 8192 },
    ])
    const bytes = await trailDirectory(directory).read('checkpoint', 2, 4)
    expect(bytes).toEqual(utf8('note'))
    expect(bytes.constructor).toBe(Uint8Array)
    expect(await trailDirectory(directory).read('checkpoint', 6, 0)).toHaveLength(0)
  })

  test('follows no link, out of the trail or in circles, and names it instead', async () => {
    await symlink('/dev/zero', join(directory, 'policy-chain'))
    await symlink(directory, join(directory, 'tile/again'))
    await symlink('nowhere', join(directory, 'tile/0/001'))
    expect(await listed()).toEqual([
      { path: 'checkpoint', bytes: 6 },
      { path: 'policy-chain', bytes: undefined },
      { path: 'tile/0/000', bytes: 8192 },
      { path: 'tile/0/001', bytes: undefined },
      { path: 'tile/again', bytes: undefined },
    ])
    await expect(trailDirectory(directory).read('policy-chain', 0, 8)).rejects.toThrow(unreadable(/ELOOP/))
  })

  test('a pipe in a file’s place is named, and reading it does not hang', async () => {
    execFileSync('mkfifo', [join(directory, 'policy-chain')])
    expect(await listed()).toContainEqual({ path: 'policy-chain', bytes: undefined })
    await expect(trailDirectory(directory).read('policy-chain', 0, 8)).rejects.toThrow(unreadable(/no plain file/))
  })

  test('a folder named like a tile is no file; what is in it is listed', async () => {
    await mkdir(join(directory, 'tile/0/001'))
    await writeFile(join(directory, 'tile/0/001/000'), 'x')
    expect((await listed()).map(({ path }) => path)).toEqual(['checkpoint', 'tile/0/000', 'tile/0/001/000'])
    await expect(trailDirectory(directory).read('tile/0/001', 0, 8)).rejects.toThrow(unreadable(/no plain file/))
  })

  test('what vanished or shrank since it was listed is a typed error that names it', async () => {
    await truncate(join(directory, 'checkpoint'), 3)
    await expect(trailDirectory(directory).read('checkpoint', 0, 6)).rejects.toThrow(
      unreadable(/checkpoint became shorter/),
    )
    await expect(trailDirectory(directory).read('tile/0/009', 0, 6)).rejects.toThrow(
      unreadable(/tile\/0\/009 .*ENOENT/),
    )
  })

  test('a folder that is not there, or is none, is no trail', async () => {
    await expect(trailDirectory(join(directory, 'none')).list()).rejects.toThrow(unreadable(/none .*ENOENT/))
    await expect(trailDirectory(join(directory, 'checkpoint')).list()).rejects.toThrow(unreadable(/ENOTDIR/))
  })
})

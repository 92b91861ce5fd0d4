import { spawnSync } from 'node:child_process'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { withLock } from './lock.ts'

let directory: string
beforeAll(async () => (directory = await mkdtemp(join(tmpdir(), 'cipherlog-lock-'))))
afterAll(() => rm(directory, { recursive: true }))

test('withLock() lets one in at a time, and leaves nothing behind', async () => {
  const path = join(directory, 'a')
  let [inside, most] = [0, 0]
  await Promise.all(
    Array.from({ length: 5 }, () =>
      withLock(path, async () => {
        most = Math.max(most, ++inside)
        await sleep(5)
        inside--
      }),
    ),
  )
  expect(most).toBe(1)
  expect(await readdir(directory)).toEqual([])
})

test('withLock() lets go when the action throws', async () => {
  const path = join(directory, 'b')
  await expect(withLock(path, () => Promise.reject(new Error('inside')))).rejects.toThrow('inside')
  expect(await withLock(path, () => Promise.resolve('again'))).toBe('again')
})

test('withLock() takes over from a process that is gone', async () => {
  const path = join(directory, 'c')
  await writeFile(path, `${spawnSync('true').pid}\n`)
  expect(await withLock(path, () => Promise.resolve('mine'))).toBe('mine')
})

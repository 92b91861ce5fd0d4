import { mkdtemp, readdir, readFile, rm, stat, unlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { errorCode } from '@cipherlog/core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openSignedHead } from './signed-head.ts'

let folder: string
let file: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cipherlog-head-'))
  file = join(folder, 'signed-head')
})
afterEach(() => rm(folder, { recursive: true }))

const root = new Uint8Array(32).fill(7)
const codeOf = (promise: Promise<unknown>): Promise<string | undefined> =>
  promise.then(
    () => undefined,
    (error: unknown) => errorCode(error),
  )

describe('openSignedHead()', () => {
  it('remembers the last size and root across restarts', async () => {
    const head = await openSignedHead(file, { isNew: true })
    expect(head.read()).toBeUndefined()
    await head.write(2, new Uint8Array(32).fill(1))
    await head.write(2 ** 40 + 5, root)
    expect(head.read()).toEqual({ size: 2 ** 40 + 5, rootHash: root })
    expect((await openSignedHead(file, { isNew: false })).read()).toEqual({ size: 2 ** 40 + 5, rootHash: root })
    expect((await openSignedHead(file, { isNew: true })).read()).toEqual({ size: 2 ** 40 + 5, rootHash: root })
    expect(await readdir(folder)).toEqual(['signed-head'])
    expect((await stat(file)).mode & 0o777).toBe(0o600)
  })

  it('is 72 bytes: u64 size, root, their SHA-256', async () => {
    const head = await openSignedHead(file, { isNew: true })
    await head.write(258, root)
    const bytes = await readFile(file)
    expect(bytes).toHaveLength(72)
    expect([...bytes.subarray(0, 9)]).toEqual([0, 0, 0, 0, 0, 0, 1, 2, 7])
  })

  it('keeps what it has written, whatever the caller does with the array', async () => {
    const head = await openSignedHead(file, { isNew: true })
    const mine = root.slice()
    await head.write(2, mine)
    mine.fill(0)
    expect(head.read()!.rootHash).toEqual(root)
  })

  it('is there before the first signature, so that losing it is noticed', async () => {
    await openSignedHead(file, { isNew: true })
    expect((await openSignedHead(file, { isNew: false })).read()).toBeUndefined()
    await unlink(file)
    expect(await codeOf(openSignedHead(file, { isNew: false }))).toBe('ERR_SIGNED_HEAD')
  })

  it('refuses every single flipped bit, a cut, an appended byte and an empty file', async () => {
    const head = await openSignedHead(file, { isNew: true })
    await head.write(300, root)
    const good = new Uint8Array(await readFile(file))
    for (let bit = 0; bit < good.length * 8; bit += 5) {
      const bad = good.slice()
      bad[bit >> 3]! ^= 1 << (bit & 7)
      await writeFile(file, bad)
      expect(await codeOf(openSignedHead(file, { isNew: true })), `bit ${bit}`).toBe('ERR_SIGNED_HEAD')
    }
    for (const bad of [good.subarray(0, 71), new Uint8Array([...good, 0]), new Uint8Array(0)]) {
      await writeFile(file, bad)
      expect(await codeOf(openSignedHead(file, { isNew: true }))).toBe('ERR_SIGNED_HEAD')
    }
    await writeFile(file, good)
    expect((await openSignedHead(file, { isNew: false })).read()?.size).toBe(300)
  })

  it('keeps the old head when a crash leaves the next one half written', async () => {
    const head = await openSignedHead(file, { isNew: true })
    await head.write(2, root)
    await writeFile(`${file}.next`, new Uint8Array(10))
    const again = await openSignedHead(file, { isNew: false })
    expect(again.read()?.size).toBe(2)
    await again.write(5, root)
    expect((await openSignedHead(file, { isNew: false })).read()?.size).toBe(5)
  })

  it('fails, and remembers nothing new, when the disk does', async () => {
    const head = await openSignedHead(file, { isNew: true })
    await head.write(2, root)
    await rm(folder, { recursive: true })
    await expect(head.write(5, root)).rejects.toMatchObject({
      code: 'ERR_STORAGE_FAILED',
      message: expect.stringContaining('check its disk'),
    })
    expect(head.read()?.size).toBe(2)
    folder = await mkdtemp(join(tmpdir(), 'cipherlog-head-'))
  })
})

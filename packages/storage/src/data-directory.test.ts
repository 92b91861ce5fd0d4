import { spawn } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openDataDirectory } from './data-directory.ts'
import { codeOf } from './wal/compliance.fixture.ts'

const identity = {
  cluster: new Uint8Array(32).fill(1),
  peerId: new Uint8Array(16).fill(2),
}

let root = ''
let directory = ''
beforeEach(async () => {
  root = await mkdtemp(path.join(tmpdir(), 'cipherlog-data-'))
  directory = path.join(root, 'a', 'b')
})
afterEach(() => rm(root, { recursive: true }))

describe('openDataDirectory()', () => {
  it('is new once, and opens again for the same replica', async () => {
    const first = await openDataDirectory(directory, identity)
    expect(first).toMatchObject({ isNew: true, wal: path.join(directory, 'wal'), trail: path.join(directory, 'trail') })
    await first.close()
    const second = await openDataDirectory(directory, identity)
    expect(second.isNew).toBe(false)
    await second.close()
  })

  it('refuses a second opener in this process, until the first lets go', async () => {
    const first = await openDataDirectory(directory, identity)
    expect(await codeOf(openDataDirectory(directory, identity))).toBe('ERR_DATA_DIR_LOCKED')
    await first.close()
    await (await openDataDirectory(directory, identity)).close()
  })

  it('refuses a directory that another process has open, and takes it over once that was killed', async () => {
    const script = `
      import { openDataDirectory } from ${JSON.stringify(new URL('./data-directory.ts', import.meta.url).href)}
      const fill = (length, byte) => new Uint8Array(length).fill(byte)
      const identity = { cluster: fill(32, 1), peerId: fill(16, 2) }
      await openDataDirectory(${JSON.stringify(directory)}, identity)
      console.log('open')
      setInterval(() => {}, 1000)`
    const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    try {
      await new Promise((resolve, reject) => {
        child.stdout.once('data', resolve)
        child.once('exit', reject)
      })
      expect(await codeOf(openDataDirectory(directory, identity))).toBe('ERR_DATA_DIR_LOCKED')
    } finally {
      const gone = new Promise((resolve) => child.once('exit', resolve))
      child.kill('SIGKILL')
      await gone
    }
    await (await openDataDirectory(directory, identity)).close()
  })

  it('refuses the directory of another cluster or replica, and leaves it alone', async () => {
    await (await openDataDirectory(directory, identity)).close()
    const before = await readFile(path.join(directory, 'identity.json'), 'utf8')
    for (const [field, length] of [
      ['cluster', 32],
      ['peerId', 16],
    ] as const) {
      const other = { ...identity, [field]: new Uint8Array(length).fill(9) }
      await expect(openDataDirectory(directory, other)).rejects.toMatchObject({
        code: 'ERR_DATA_DIR_FOREIGN',
        details: { field },
      })
    }
    expect(await readFile(path.join(directory, 'identity.json'), 'utf8')).toBe(before)
    await (await openDataDirectory(directory, identity)).close()
  })

  it('refuses data without an owner, and an identity in any other spelling', async () => {
    await (await openDataDirectory(directory, identity)).close()
    const file = path.join(directory, 'identity.json')
    const good = await readFile(file, 'utf8')
    for (const bad of ['', '{}', `${good} `, good.replace('"format": 1', '"format": 2'), good.toUpperCase()]) {
      await writeFile(file, bad)
      expect(await codeOf(openDataDirectory(directory, identity))).toBe('ERR_DATA_DIR_FORMAT')
    }
    await rm(file)
    await mkdir(path.join(directory, 'wal'))
    expect(await codeOf(openDataDirectory(directory, identity))).toBe('ERR_DATA_DIR_FORMAT')
  })
})

import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { errorCode, toHex } from '@cipherlog/core'
import { publicKeyOf } from '@cipherlog/crypto/signature'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { cosignerMemberOf, generateNodeKeys, readNodeKeys, writeNodeKeys } from './keys.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cipherlog-keys-'))
})
afterEach(() => rm(folder, { recursive: true }))

const codeOf = (promise: Promise<unknown>): Promise<string | undefined> =>
  promise.then(
    () => undefined,
    (error: unknown) => errorCode(error),
  )

describe('node keys', () => {
  it('come back as they were written, in a file that only its user can read', async () => {
    const file = join(folder, 'node.keys')
    const keys = generateNodeKeys()
    await writeNodeKeys(file, keys)
    expect(await readNodeKeys(file)).toEqual(keys)
    expect((await stat(file)).mode & 0o777).toBe(0o600)
    // Not views into Node's pool, whose neighbours would be kept and seen.
    expect((await readNodeKeys(file)).log.constructor).toBe(Uint8Array)
  })

  it('of the next incarnation share the node and nothing else', () => {
    const lost = generateNodeKeys()
    const next = generateNodeKeys(undefined, { replaces: lost.peerId })
    expect(next.peerId.slice(0, 12)).toEqual(lost.peerId.slice(0, 12))
    expect([toHex(lost.peerId).slice(24), toHex(next.peerId).slice(24)]).toEqual(['00000000', '00000001'])
    for (const kind of ['tls', 'log', 'cosigner', 'answer'] as const) expect(next[kind]).not.toEqual(lost[kind])
  })

  it('are never overwritten', async () => {
    const file = join(folder, 'node.keys')
    await writeNodeKeys(file, generateNodeKeys())
    const before = await readFile(file)
    expect(await codeOf(writeNodeKeys(file, generateNodeKeys()))).toBe('ERR_KEYS_FILE')
    expect(await readFile(file)).toEqual(before)
  })

  it('are refused when missing, cut off or followed by anything', async () => {
    const file = join(folder, 'node.keys')
    expect(await codeOf(readNodeKeys(file))).toBe('ERR_KEYS_FILE')
    await writeNodeKeys(file, generateNodeKeys())
    const good = new Uint8Array(await readFile(file))
    for (const bad of [good.subarray(0, -1), new Uint8Array([...good, 0]), new Uint8Array(0), new Uint8Array(5000)]) {
      await writeFile(file, bad)
      expect(await codeOf(readNodeKeys(file))).toMatch(/^ERR_DECODE/)
    }
  })

  it('have a fresh peer id of incarnation 0, and a key of its own for each purpose', () => {
    const [a, b] = [generateNodeKeys(), generateNodeKeys()]
    expect([...a.peerId.subarray(12)]).toEqual([0, 0, 0, 0])
    expect(toHex(a.peerId)).not.toBe(toHex(b.peerId))
    const member = cosignerMemberOf(a)
    expect(member).toEqual({
      peerId: a.peerId,
      tlsKey: publicKeyOf(a.tls),
      logKey: publicKeyOf(a.log),
      cosignerKey: publicKeyOf(a.cosigner),
      answerKey: publicKeyOf(a.answer),
    })
    expect(new Set([member.tlsKey, member.logKey, member.cosignerKey, member.answerKey].map(toHex)).size).toBe(4)
  })
})

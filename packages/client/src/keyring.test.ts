import { mkdtemp, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { systemRandom } from '@cipherlog/core'
import { type KeyringEntry } from '@cipherlog/format'
import { Keyring, keyringEntriesMax } from './keyring.ts'
import { createKeyringFile, openKeyringFile } from './node/keyring-file.ts'

const filled = (length: number, byte: number) => new Uint8Array(length).fill(byte)
const cluster = filled(32, 1)
const elsewhere = filled(32, 2)
const client = (id: number, at = cluster): KeyringEntry => ({
  type: 'client',
  cluster: at,
  client: filled(16, id),
  secretKey: filled(32, id),
})
const keyVersion = (keyEpoch: number, secret: number): KeyringEntry => ({
  type: 'keyVersion',
  cluster,
  keyset: filled(16, 7),
  keyEpoch,
  suite: 1,
  secret: filled(32, secret),
})

describe('Keyring', () => {
  test('a second secret for the same purpose replaces the first', () => {
    const keyring = new Keyring([keyVersion(1, 10), keyVersion(2, 20)])
    keyring.add(keyVersion(1, 11))
    expect(keyring.entries).toHaveLength(2)
    expect(keyring.keyVersion(cluster, filled(16, 7), 1)).toEqual(filled(32, 11))
    expect(keyring.keyVersion(cluster, filled(16, 7), 3)).toBeUndefined()
    expect(keyring.keyVersion(elsewhere, filled(16, 7), 1)).toBeUndefined()
  })

  test('an identity is chosen only if there is no choice', () => {
    const keyring = new Keyring([client(3), client(4, elsewhere)])
    expect(keyring.identity(cluster)).toEqual({ client: filled(16, 3), secretKey: filled(32, 3) })
    keyring.add(client(5))
    expect(keyring.identity(cluster)).toBeUndefined()
    expect(keyring.identity(cluster, filled(16, 5))).toMatchObject({ secretKey: filled(32, 5) })
    expect(keyring.identity(filled(32, 9))).toBeUndefined()
  })

  test('the newest name key counts, operators come by index', () => {
    const keyring = new Keyring()
    keyring.addNameKey(cluster, systemRandom)
    expect(keyring.addNameKey(cluster, systemRandom).version).toBe(2)
    expect(keyring.nameKey(cluster)!.version).toBe(2)
    for (const index of [2, 0, 1]) keyring.add({ type: 'operator', cluster, index, secretKey: filled(32, index) })
    expect(keyring.operators(cluster).map(({ index }) => index)).toEqual([0, 1, 2])
  })

  test('a full keyring makes room by the oldest content key, and never by anything else', () => {
    const contentKey = (n: number): KeyringEntry => ({
      type: 'contentKey',
      cluster,
      keyset: filled(16, 7),
      keyEpoch: 1,
      envelope: new Uint8Array(new Uint32Array(8).fill(n).buffer),
      key: filled(32, 1),
    })
    const keyring = new Keyring([client(3), ...Array.from({ length: keyringEntriesMax - 1 }, (_, n) => contentKey(n))])
    keyring.add(client(4))
    expect(keyring.entries).toHaveLength(keyringEntriesMax)
    expect(keyring.contentKey(cluster, new Uint8Array(new Uint32Array(8).fill(0).buffer))).toBeUndefined()
    expect(keyring.contentKey(cluster, new Uint8Array(new Uint32Array(8).fill(1).buffer))).toBeDefined()
    const full = new Keyring(Array.from({ length: keyringEntriesMax }, (_, n) => keyVersion(n + 1, 1)))
    expect(() => full.add(client(1))).toThrow(RangeError)
  })

  test('fromBytes() gives back what toBytes() wrote', () => {
    const keyring = new Keyring([client(3), keyVersion(1, 10)], { label: 'ada' })
    const again = Keyring.fromBytes(keyring.toBytes())
    expect(again.label).toBe('ada')
    expect(again.entries).toEqual(keyring.entries)
  })
})

describe('keyring files', () => {
  const options = { passphrase: 'correct horse', logN: 14 }
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'cipherlog-keyring-'))
  })
  afterAll(() => rm(folder, { recursive: true }))

  test('a keyring outlives its process, sealed, for its owner alone', async () => {
    const path = join(folder, 'ada.keyring')
    const keyring = await createKeyringFile(path, { ...options, label: 'ada' })
    keyring.add(client(0x5a))
    await keyring.save()
    expect((await stat(path)).mode & 0o777).toBe(0o600)
    expect((await readFile(path)).includes(Buffer.alloc(16, 0x5a))).toBe(false)
    const opened = await openKeyringFile(path, options)
    expect(opened.entries).toEqual(keyring.entries)
    opened.add(client(0x5b))
    await opened.save()
    expect((await openKeyringFile(path, options)).entries).toHaveLength(2)
  })

  test('another passphrase, no file, or a file that is there already are told apart', async () => {
    const path = join(folder, 'bob.keyring')
    await createKeyringFile(path, options)
    await expect(openKeyringFile(path, { ...options, passphrase: 'wrong' })).rejects.toMatchObject({
      code: 'ERR_PASSPHRASE',
    })
    await expect(openKeyringFile(join(folder, 'none'), options)).rejects.toMatchObject({ code: 'ERR_KEYRING_FILE' })
    await expect(createKeyringFile(path, options)).rejects.toMatchObject({ code: 'ERR_KEYRING_FILE' })
  })
})

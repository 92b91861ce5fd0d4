import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { formatProfile, readProfile } from './profile.ts'

let directory: string
beforeAll(async () => (directory = await mkdtemp(join(tmpdir(), 'cipherlog-profile-'))))
afterAll(() => rm(directory, { recursive: true }))

const write = (text: string) => writeFile(join(directory, 'cipherlog.toml'), text)
const good = `name = "example.test/dev"
endpoints = [ "https://127.0.0.1:7101" ]
trust_policy = "trust-policy.cbor"
keyring = "me.keyring"
memory = "me.memory"
client = "00112233445566778899aabbccddeeff"
`

describe('readProfile()', () => {
  test('reads back what was formatted, with paths beside the file', async () => {
    await write(good)
    const profile = await readProfile(directory)
    expect(profile.keyringFile).toBe(join(directory, 'me.keyring'))
    expect(formatProfile(profile)).toBe(good)
  })

  test('says how to make a cluster where there is none', async () => {
    await expect(readProfile(join(directory, 'nowhere'))).rejects.toThrow(/cipherlog init/)
  })

  test.each([
    ['an unknown key', `${good}keyrng = "x"\n`],
    ['a missing key', good.replace(/client.*\n/, '')],
    ['an endpoint without TLS', good.replace('https:', 'http:')],
    ['an upper-case id', good.replace('aabb', 'AABB')],
    ['no TOML', 'name ='],
  ])('refuses %s, naming the file', async (_what, text) => {
    await write(text)
    const error = await readProfile(directory).catch((caught: unknown) => caught)
    expect(error).toMatchObject({ code: 'ERR_DIRECTORY' })
    expect((error as Error).message).toContain('cipherlog.toml')
  })
})

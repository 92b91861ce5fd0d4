import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openKeyringFile } from '@cipherlog/client'
import { toHex } from '@cipherlog/core'
import { openGenesis } from '@cipherlog/registry'
import { loadConfig } from '@cipherlog/server'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createCluster } from './create-cluster.ts'
import { listNodes } from './layout.ts'
import { type Profile } from './profile.ts'
import { readTrustPolicy } from './trust-policy.ts'

let root: string
let profile: Profile
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'cipherlog-cluster-'))
  profile = await createCluster(join(root, 'three'), { name: 'example.test/three', nodes: 3, passphrase: 'p' })
})
afterAll(() => rm(root, { recursive: true }))

describe('createCluster()', () => {
  test('makes a genesis that the trust policy pins, with development circuits', async () => {
    const { genesis, cluster } = openGenesis(await readFile(join(profile.directory, 'genesis.cbor')))
    expect((await readTrustPolicy(profile.trustPolicyFile)).cluster).toEqual(cluster)
    expect(genesis.cosigners).toMatchObject({ quorum: 2, members: { length: 3 } })
    expect(genesis.circuits.map(({ id }) => id)).toEqual(['sealed-amount-16', 'sealed-amount-32'])
  })

  test('makes nodes that a real node would start from, each knowing the others', async () => {
    const nodes = await listNodes(profile.directory)
    const configs = await Promise.all(
      nodes.map(async ({ configFile }) => (await loadConfig({ file: configFile, env: {}, flags: {} })).config),
    )
    expect(configs.map(({ peers }) => peers.length)).toEqual([2, 2, 2])
    expect(configs.map(({ listen }) => `https://127.0.0.1:${listen.api.port}`)).toEqual(profile.endpoints)
    expect((await stat(nodes[0]!.keysFile)).mode & 0o777).toBe(0o600)
  })

  test('keeps operator, client, reader and name key under the passphrase only', async () => {
    const keyring = await openKeyringFile(profile.keyringFile, { passphrase: 'p' })
    expect(keyring.entries.map(({ type }) => type).sort()).toEqual(['client', 'nameKey', 'operator', 'reader'])
    const { cluster } = await readTrustPolicy(profile.trustPolicyFile)
    expect(toHex(keyring.identity(cluster)!.client)).toBe(toHex(profile.client))
    await expect(openKeyringFile(profile.keyringFile, { passphrase: 'q' })).rejects.toMatchObject({
      code: 'ERR_PASSPHRASE',
    })
  })

  test('refuses a folder that is not empty, and leaves nothing half-made beside it', async () => {
    const directory = join(root, 'taken')
    await mkdir(directory)
    await writeFile(join(directory, 'notes'), 'mine')
    const options = { name: 'example.test/x', nodes: 1, passphrase: 'p' }
    await expect(createCluster(directory, options)).rejects.toMatchObject({ code: 'ERR_DIRECTORY' })
    await expect(createCluster(join(root, 'bad'), { ...options, name: 'No Name' })).rejects.toThrow()
    expect((await readdir(root)).sort()).toEqual(['taken', 'three'])
  })

  test('takes no development circuit into production', async () => {
    const production = { name: 'example.test/p', nodes: 1, passphrase: 'p', mode: 'production' } as const
    const { directory } = await createCluster(join(root, 'production'), production)
    expect(openGenesis(await readFile(join(directory, 'genesis.cbor'))).genesis.circuits).toEqual([])
    await rm(directory, { recursive: true })
  })
})

import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, expect, test } from 'vitest'
import { group0 } from '@cipherlog/format'
import { encodeTrustPolicy } from '@cipherlog/registry'
import { TestCluster } from '../../../packages/machine/src/cluster.fixture.ts'
import { LedgerDriver } from '../../../packages/machine/src/ledger-driver.fixture.ts'
import { firstReplicas, noteOf, plainLeaf, storeTrail } from './rich-trail.ts'

const root = join(import.meta.dirname, '../../..')
const folder = await mkdtemp(join(tmpdir(), 'cipherlog-audit-readme-'))
afterAll(() => rm(folder, { recursive: true, force: true }))

test('the example of the README audits a copied trail, with no server running', async () => {
  const cluster = await TestCluster.build()
  const { ledger, leaves, closed } = await LedgerDriver.start(cluster)
  const { size, rootHash } = closed.at(-1)!
  const checkpoint = noteOf(ledger.origin, { treeSize: size, rootHash }, { cosigners: firstReplicas })
  const policyChain = ledger.registry.policyChain(() => undefined)
  const policyFile = join(folder, 'trust-policy')
  const policy = {
    version: 1,
    cluster: cluster.id,
    group: group0,
    generation: 0,
    witnesses: [],
    witnessesRequired: 0,
  } as const
  await writeFile(policyFile, encodeTrustPolicy({ ...policy, witnesses: [] }))
  const trail = join(folder, 'trail')
  for (const [path, bytes] of await storeTrail(leaves.map(plainLeaf), [{ size, checkpoint, policyChain }])) {
    await mkdir(dirname(join(trail, path)), { recursive: true })
    await writeFile(join(trail, path), bytes)
  }
  const readme = await readFile(join(root, 'packages/audit/README.md'), 'utf8')
  const [, example] = /```ts\n(.*?)```/s.exec(readme)!
  const run = async (): Promise<string[]> => {
    const args = ['--input-type=module-typescript', '-e', example!, policyFile, trail]
    return (await promisify(execFile)(process.execPath, args, { cwd: root })).stdout.trimEnd().split('\n')
  }
  expect(await run()).toEqual([`files: ${size} leaves`, `replay: ${size} leaves`, 'valid and complete'])
  const tile = join(trail, 'tile/0/000.p', String(size))
  const bytes = new Uint8Array(await readFile(tile))
  bytes[40]! ^= 1
  await writeFile(tile, bytes)
  const lines = await run()
  expect(lines).toContainEqual(expect.stringMatching(/^ERR_AUDIT_LEAF leaf 1: .*tile\/0\/000\.p\/\d+ was changed/))
  expect(lines.at(-1)).toMatch(/^NOT VALID/)
})

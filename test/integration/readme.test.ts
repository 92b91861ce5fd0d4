/** What the README shows is what runs: its example against a real cluster of processes. */
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { suites } from '@cipherlog/format'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createKv, passphrase, startProcesses, type ProcessCluster } from './processes.ts'

const root = new URL('../../', import.meta.url)
const example = new URL('examples/first-steps.ts', root)

let cluster: ProcessCluster
beforeAll(async () => {
  cluster = await startProcesses()
})
afterAll(async () => cluster.close())

test('the README shows examples/first-steps.ts, word for word', async () => {
  const readme = await readFile(new URL('README.md', root), 'utf8')
  const shown = /<!-- first-steps -->\n```ts\n([\s\S]*?)```\n<!-- \/first-steps -->/.exec(readme)?.[1]
  expect(shown).toBe(await readFile(example, 'utf8'))
  expect(shown!.split('\n').filter((line) => line !== '').length).toBeLessThanOrEqual(22)
})

test('the example does what it says', async () => {
  await createKv(cluster, 'orders')
  const { keyset } = await cluster.operator.createKeyset({ suite: suites.elgamalBjj, readers: [cluster.log.keyring] })
  await cluster.operator.createNamespace({
    name: 'revenue',
    machine: 'counter',
    suite: suites.elgamalBjj,
    keyset,
    circuit: 'sealed-amount-32',
  })
  const { stdout } = await promisify(execFile)(process.execPath, [fileURLToPath(example)], {
    env: {
      ...process.env,
      CIPHERLOG_DIR: cluster.directory,
      CIPHERLOG_PASSPHRASE: passphrase,
      ENDPOINT: cluster.profile.endpoints[0],
    },
  })
  expect(stdout).toMatch(/^applied at test\.example\//)
  expect(stdout).toContain('proven at test.example/')
  expect(stdout).toContain('total: 1999')
  expect(stdout).toContain('revenue 1999n')
})

import { readFile } from 'node:fs/promises'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { systemRandom } from '@cipherlog/core'
import { type TrustPolicy } from '@cipherlog/format'
import { verifyReceipt } from '@cipherlog/registry'
import { startTestCluster, type TestCluster } from '@cipherlog/testkit/cluster'
import { Cipherlog, Keyring } from './index.ts'
import { Operator } from './operator/index.ts'

let cluster: TestCluster
const keyring = new Keyring()

beforeAll(async () => {
  cluster = await startTestCluster()
  const { endpoints, trustPolicy } = cluster
  keyring.addNameKey(trustPolicy.cluster, systemRandom)
  const log = await Cipherlog.connect({ endpoints, trustPolicy })
  const operator = new Operator(log, { signers: [cluster.operator] })
  const { keyset } = await operator.createKeyset({ suite: 1, readers: [keyring] })
  await operator.createNamespace({ name: 'orders', machine: 'kv', suite: 1, keyset })
  await operator.createNamespace({ name: 'audit', machine: 'log', suite: 1, keyset })
  await operator.addClient({ grants: [{ namespaces: '*', operations: ['put', 'append', 'envelope'] }], keyring })
  await log.close()
})
afterAll(() => cluster.stop())

async function example(endpoints: readonly string[], trustPolicy: TrustPolicy, keyring: Keyring): Promise<void> {
  // README begins
  const log = await Cipherlog.connect({ endpoints, trustPolicy, keyring })

  const done = await log.kv('orders').put('order-42', { total: 1999 })
  console.log(done.position) // origin#leaf.command
  const receipt = await done.receipt() // published, and verified against the trust policy
  verifyReceipt({ receipt: receipt.bytes, bundle: receipt.bundle, command: done.command, trustPolicy }) // offline, for ever

  const order = await log.kv('orders').get('order-42') // proven written, then opened here
  console.log(order?.value, order?.position, order?.newest)

  await log.log('audit').append({ order: 'order-42', what: 'shipped' })
  for await (const entry of log.watch({ namespace: 'audit' })) {
    console.log(entry.position, entry.verdictName, entry.value)
    break
  }
  await log.close()
  // README ends
}

test('the example of the README does what it says', async () => {
  const printed = vi.spyOn(console, 'log').mockImplementation(() => undefined)
  await example(cluster.endpoints, cluster.trustPolicy, keyring)
  const [[position], order, entry] = printed.mock.calls as [[string], unknown[], unknown[]]
  printed.mockRestore()
  expect(position).toMatch(/^test\.example\/cluster\/[0-9a-f]{16}\/0{32}\/0#\d+\.1$/)
  expect(order).toEqual([{ total: 1999 }, position, 'claimed'])
  expect(entry.slice(1)).toEqual(['applied', { order: 'order-42', what: 'shipped' }])
})

test('the README shows that example, word for word', async () => {
  const source = await readFile(new URL('./readme.test.ts', import.meta.url), 'utf8')
  const readme = await readFile(new URL('../README.md', import.meta.url), 'utf8')
  const [, code] = /\/\/ README begins\n([^]*?) {2}\/\/ README ends/.exec(source)!
  expect(readme).toContain('```ts\n' + code!.replaceAll(/^ {2}/gm, '') + '```')
})

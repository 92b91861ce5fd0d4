/** A test log with an operator, a keyring that holds everything, a client and namespaces. */
import { systemRandom } from '@cipherlog/core'
import { suites, type Grant } from '@cipherlog/format'
import { type Cipherlog, type ConnectOptions } from './cipherlog.ts'
import { type Identity } from './identity.ts'
import { Keyring } from './keyring.ts'
import { Operator } from './operator/operator.ts'
import { TestLog, type TestGenesis } from './test-log.fixture.ts'

export const everything: Grant = { namespaces: '*', operations: ['put', 'delete', 'append', 'add', 'envelope'] }

export interface TestWorld {
  readonly testLog: TestLog
  readonly operator: Operator
  readonly keyring: Keyring
  readonly identity: Identity
  /** Keyset of `orders` (kv) and `audit` (log). */
  readonly keyset: Uint8Array
  connect(options?: Partial<ConnectOptions>): Promise<Cipherlog>
}

export async function testWorld(genesis?: TestGenesis): Promise<TestWorld> {
  const testLog = await TestLog.create(genesis)
  const keyring = new Keyring()
  keyring.addNameKey(testLog.trustPolicy.cluster, systemRandom)
  const setup = await testLog.connect({ keyring })
  const operator = new Operator(setup, { signers: [testLog.genesis.operator] })
  const { client, secretKey } = await operator.addClient({ grants: [everything], keyring })
  const suite = suites.hpkeXwing
  const { keyset } = await operator.createKeyset({ suite, readers: [keyring] })
  await operator.createNamespace({ name: 'orders', machine: 'kv', suite, keyset })
  await operator.createNamespace({ name: 'audit', machine: 'log', suite, keyset })
  testLog.calls.length = 0
  const connect = (options: Partial<ConnectOptions> = {}) => testLog.connect({ keyring, ...options })
  return { testLog, operator, keyring, identity: { client, secretKey }, keyset, connect }
}

import { suites, type KeyOperation, type NamespaceDefinition } from '@cipherlog/format'
import { describe, expect, test } from 'vitest'
import {
  addClient,
  codeOf,
  createKeyset,
  elgamalVersion,
  ExampleCluster,
  idOf,
  memberKeysVersion,
  opaqueKey,
  signedEvent,
} from './example-cluster.fixture.ts'

const bfv = (keyset: string, suite: 3 | 4 | 5) =>
  createKeyset(keyset, suite, { publicKey: opaqueKey(keyset, { 3: 32_881, 4: 196_721, 5: 655_473 }[suite]) }, ['ada'])

/** One keyset of each kind; BFV keysets cost a megabyte, so there is one cluster for all tests. */
const example = new ExampleCluster()
example.apply(createKeyset('orders', suites.hpkeXwing, memberKeysVersion('orders 1', [0]), ['ada']))
example.apply(createKeyset('sums', suites.elgamalBjj, elgamalVersion('sums', 1), ['ada']))
example.apply(bfv('small', suites.bfv2048))
example.apply(bfv('middle', suites.bfv4096))
example.apply(bfv('large', suites.bfv8192))

const refusal = (operation: KeyOperation, { registry, logTime } = example) =>
  codeOf(() => registry.check(signedEvent(registry, operation), { logTime, knowsSeen: () => true }))
const namespace = (
  machine: string,
  suite: number,
  keyset: string,
  more: Partial<NamespaceDefinition> = {},
): Extract<KeyOperation, { type: 'createNamespace' }> => ({
  type: 'createNamespace',
  name: 'new',
  machine,
  suite,
  keyset: idOf(keyset),
  readPolicy: 2,
  ...more,
})
const circuit = 'sealed-amount-32'
const vector = (length: number, maxAbs: number, maxCount: number) => ({ vector: { length, maxAbs, maxCount } })

describe('createNamespace', () => {
  test.each<[string, KeyOperation]>([
    ['log', namespace('log', 1, 'orders')],
    ['kv', namespace('kv', 1, 'orders')],
    ['counter', namespace('counter', 2, 'sums', { circuit })],
    ['tally', namespace('tally', 2, 'sums', { circuit })],
    // 268369921 / 1024 = 262080.0; the largest product is 262080.
    ['vector at the bound of bfv-2048', namespace('vector', 3, 'small', vector(2048, 4095, 64))],
    ['vector of bfv-4096', namespace('vector', 4, 'middle', vector(4096, 1000, 4194))],
    ['vector of bfv-8192', namespace('vector', 5, 'large', vector(8192, 1, 4_193_824))],
  ])('is accepted: %s', (_, operation) => {
    expect(refusal(operation)).toBeUndefined()
  })

  test.each<[string, KeyOperation, string]>([
    ['an unknown keyset', namespace('kv', 1, 'nothing'), 'ERR_REGISTRY_UNKNOWN'],
    ['a keyset of another suite', namespace('kv', 1, 'sums'), 'ERR_REGISTRY_NAMESPACE'],
    ['an unknown machine', namespace('queue', 1, 'orders'), 'ERR_REGISTRY_NAMESPACE'],
    ['a machine of another suite', namespace('counter', 1, 'orders'), 'ERR_REGISTRY_NAMESPACE'],
    ['kv on BFV', namespace('kv', 4, 'middle', vector(1, 1, 1)), 'ERR_REGISTRY_NAMESPACE'],
    ['amounts without a circuit', namespace('counter', 2, 'sums'), 'ERR_REGISTRY_NAMESPACE'],
    [
      'a circuit that the genesis does not list',
      namespace('counter', 2, 'sums', { circuit: 'sealed-amount-64' }),
      'ERR_REGISTRY_UNKNOWN',
    ],
    ['kv with a circuit', namespace('kv', 1, 'orders', { circuit }), 'ERR_REGISTRY_NAMESPACE'],
    [
      'vector with a circuit',
      namespace('vector', 3, 'small', { circuit, ...vector(1, 1, 1) }),
      'ERR_REGISTRY_NAMESPACE',
    ],
    ['kv with vector limits', namespace('kv', 1, 'orders', vector(1, 1, 1)), 'ERR_REGISTRY_NAMESPACE'],
    ['vector without limits', namespace('vector', 4, 'middle'), 'ERR_REGISTRY_NAMESPACE'],
    ['more slots than bfv-2048 has', namespace('vector', 3, 'small', vector(2049, 1, 1)), 'ERR_REGISTRY_NAMESPACE'],
    ['one contribution too many for t', namespace('vector', 3, 'small', vector(1, 4095, 65)), 'ERR_REGISTRY_NAMESPACE'],
    [
      'bfv-8192 one past its bound',
      namespace('vector', 5, 'large', vector(8192, 1, 4_193_825)),
      'ERR_REGISTRY_NAMESPACE',
    ],
    [
      'bounds whose product is above 2^53',
      namespace('vector', 5, 'large', vector(1, 0x7fffffff, 0x7fffffff)),
      'ERR_REGISTRY_NAMESPACE',
    ],
  ])('is refused: %s', (_, operation, code) => {
    expect(refusal(operation)).toBe(code)
  })

  test('the bound on vectors is exact: t ≥ 2^10 × maxCount × maxAbs', () => {
    for (const [maxAbs, maxCount] of [
      [1, 262_080],
      [3, 87_360],
      [7, 37_440],
      [1000, 262],
      [4095, 64],
      [262_080, 1],
    ] as const) {
      const holds = (count: number) => 268_369_921n >= 1024n * BigInt(maxAbs) * BigInt(count)
      expect(holds(maxCount) && !holds(maxCount + 1)).toBe(true)
      expect(refusal(namespace('vector', 3, 'small', vector(1, maxAbs, maxCount)))).toBeUndefined()
      expect(refusal(namespace('vector', 3, 'small', vector(1, maxAbs, maxCount + 1)))).toBe('ERR_REGISTRY_NAMESPACE')
    }
  })

  test('names are never reused', () => {
    const own = new ExampleCluster()
    own.apply(createKeyset('orders', suites.hpkeXwing, memberKeysVersion('orders 1', [0]), ['ada']))
    own.apply(namespace('kv', 1, 'orders'))
    expect(refusal(namespace('log', 1, 'orders'), own)).toBe('ERR_REGISTRY_ID_USED')
    expect(own.registry.namespace('new')).toMatchObject({ machine: 'kv', suite: 1, readPolicy: 2 })
    expect(own.registry.namespace('new')).not.toHaveProperty('type')
    expect(own.registry.namespaces()).toHaveLength(1)
    expect(own.registry.namespace('old')).toBeUndefined()
  })
})

describe('a BFV keyset is never shared by namespaces with different writers', () => {
  const operations = ['add']
  const latency = (name: string, keyset = 'small') => namespace('vector', 3, keyset, { name, ...vector(8, 100, 100) })
  const cluster = (...events: KeyOperation[]) => {
    const own = new ExampleCluster()
    for (const event of [bfv('small', suites.bfv2048), ...events]) own.apply(event)
    return own
  }

  test('a second namespace is refused while a client may use only one of the two', () => {
    const own = cluster(latency('latency/eu'), addClient('wanda', [{ namespaces: 'latency/eu', operations }]))
    expect(refusal(latency('latency/us'), own)).toBe('ERR_REGISTRY_WRITERS')
    own.apply({ type: 'setGrants', client: idOf('wanda'), grants: [{ namespaces: 'latency/*', operations }] })
    expect(refusal(latency('latency/us'), own)).toBeUndefined()
    expect(refusal(latency('size'), own)).toBe('ERR_REGISTRY_WRITERS')
  })

  test('a revoked client does not count', () => {
    const own = cluster(latency('latency/eu'), addClient('wanda', [{ namespaces: 'latency/eu', operations }]))
    own.apply({ type: 'revokeClient', client: idOf('wanda'), reason: 'left' })
    expect(refusal(latency('latency/us'), own)).toBeUndefined()
  })

  test('a grant for one of two namespaces is refused, for both it is accepted', () => {
    const own = cluster(latency('latency/eu'), latency('latency/us'), addClient('walter'))
    const one = [{ namespaces: 'latency/eu', operations }]
    const both = [{ namespaces: 'latency/*', operations }]
    expect(refusal(addClient('wanda', one), own)).toBe('ERR_REGISTRY_WRITERS')
    expect(refusal(addClient('wanda', both), own)).toBeUndefined()
    expect(refusal({ type: 'setGrants', client: idOf('walter'), grants: one }, own)).toBe('ERR_REGISTRY_WRITERS')
    expect(refusal({ type: 'setGrants', client: idOf('walter'), grants: both }, own)).toBeUndefined()
  })

  test('other suites share keysets freely', () => {
    const own = new ExampleCluster()
    own.apply(createKeyset('orders', suites.hpkeXwing, memberKeysVersion('orders 1', [0]), ['ada']))
    own.apply(namespace('kv', 1, 'orders', { name: 'a' }))
    own.apply(addClient('wanda', [{ namespaces: 'a', operations }]))
    expect(refusal(namespace('kv', 1, 'orders', { name: 'b' }), own)).toBeUndefined()
  })
})

import { type Grant } from '@cipherlog/format'
import { expect, test } from 'vitest'
import { addClient, createdAt, ExampleCluster, idOf } from './example-cluster.fixture.ts'
import { covers } from './grants.ts'

test.each([
  ['*', 'orders', true],
  ['*', 'orders/eu', true],
  ['orders', 'orders', true],
  ['orders', 'orders/eu', false],
  ['orders', 'orders2', false],
  ['orders/*', 'orders/eu', true],
  ['orders/*', 'orders/eu/west', true],
  ['orders/*', 'orders', false],
  ['orders/*', 'orders2/eu', false],
])('covers(%s, %s) is %s', (pattern, namespace, expected) => {
  expect(covers(pattern, namespace)).toBe(expected)
})

test('grantFor() finds the first grant in time, of a client that is not revoked', () => {
  const example = new ExampleCluster()
  const early: Grant = { namespaces: 'orders', operations: ['put'], notAfter: createdAt + 100, proofsPerMinute: 1 }
  const late: Grant = { namespaces: '*', operations: ['put', 'get'] }
  example.apply(addClient('wanda', [early, late]))
  const { registry } = example
  const find = (namespace: string, operation: string, logTime: number) =>
    registry.grantFor(idOf('wanda'), namespace, operation, logTime)
  expect(find('orders', 'put', createdAt + 100)).toEqual(early)
  expect(find('orders', 'put', createdAt + 101)).toEqual(late)
  expect(find('prices', 'get', createdAt)).toEqual(late)
  expect(find('prices', 'delete', createdAt)).toBeUndefined()
  expect(registry.grantFor(idOf('walter'), 'orders', 'put', createdAt)).toBeUndefined()

  example.apply({ type: 'setGrants', client: idOf('wanda'), grants: [early] })
  expect(find('orders', 'put', createdAt + 101)).toBeUndefined()
  example.apply({ type: 'revokeClient', client: idOf('wanda'), reason: 'left' })
  expect(find('orders', 'put', createdAt)).toBeUndefined()
})

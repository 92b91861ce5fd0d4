import { type KeyOperation } from '@cipherlog/format'
import { describe, expect, test } from 'vitest'
import { possessionOf } from './claims.ts'
import { roles, suites } from '@cipherlog/format'
import {
  addClient,
  cluster,
  codeOf,
  createKeyset,
  ExampleCluster,
  idOf,
  keyOf,
  memberKeysVersion,
  seedOf,
  signedEvent,
} from './example-cluster.fixture.ts'

const example = new ExampleCluster()
example.apply(addClient('wanda'))
example.apply(addClient('gone'))
example.apply({ type: 'revokeClient', client: idOf('gone'), reason: 'left' })
example.apply(createKeyset('orders', suites.hpkeXwing, memberKeysVersion('orders 1', [0, 1])))

const refusal = (operation: KeyOperation) =>
  codeOf(() =>
    example.registry.check(signedEvent(example.registry, operation), {
      logTime: example.logTime,
      knowsSeen: () => true,
    }),
  )
/** Client `walter` with the key that belongs to another name. */
const withKeyOf = (holder: string) => ({
  ...addClient('walter'),
  publicKey: keyOf(holder),
  possession: possessionOf(seedOf(holder), roles.client, cluster),
})

describe('addClient', () => {
  test('is accepted with a fresh id and key', () => {
    expect(refusal(addClient('walter'))).toBeUndefined()
  })

  test.each([
    ['an id in use', { ...addClient('walter'), client: idOf('wanda') }, 'ERR_REGISTRY_ID_USED'],
    ['an id of a revoked client', { ...addClient('walter'), client: idOf('gone') }, 'ERR_REGISTRY_ID_USED'],
    ['the key of another client', withKeyOf('wanda'), 'ERR_REGISTRY_KEY_USED'],
    ['the key of a revoked client', withKeyOf('gone'), 'ERR_REGISTRY_KEY_USED'],
    ['the key of an operator', withKeyOf('olga'), 'ERR_REGISTRY_KEY_USED'],
    ['the key of a reader', withKeyOf('ada'), 'ERR_REGISTRY_KEY_USED'],
    ['the log key of a replica', withKeyOf('r1 log'), 'ERR_REGISTRY_KEY_USED'],
    [
      'a key off the curve',
      { ...addClient('walter'), publicKey: new Uint8Array(32).fill(2) },
      'ERR_REGISTRY_PUBLIC_KEY',
    ],
    [
      'the possession of another key',
      { ...addClient('walter'), possession: addClient('wanda').possession },
      'ERR_REGISTRY_POSSESSION',
    ],
  ])('is refused with %s', (_, operation, code) => {
    expect(refusal(operation)).toBe(code)
  })
})

describe('setGrants and revokeClient', () => {
  test.each([
    [
      'setGrants of an unknown client',
      { type: 'setGrants', client: idOf('nobody'), grants: [] },
      'ERR_REGISTRY_UNKNOWN',
    ],
    ['setGrants of a revoked client', { type: 'setGrants', client: idOf('gone'), grants: [] }, 'ERR_REGISTRY_REVOKED'],
    [
      'revokeClient of an unknown client',
      { type: 'revokeClient', client: idOf('nobody'), reason: '' },
      'ERR_REGISTRY_UNKNOWN',
    ],
    [
      'revokeClient of a revoked client',
      { type: 'revokeClient', client: idOf('gone'), reason: '' },
      'ERR_REGISTRY_REVOKED',
    ],
    ['setGrants of a live client', { type: 'setGrants', client: idOf('wanda'), grants: [] }, undefined],
    ['revokeClient of a live client', { type: 'revokeClient', client: idOf('wanda'), reason: '' }, undefined],
  ] as [string, KeyOperation, string | undefined][])('%s: %s', (_, operation, code) => {
    expect(refusal(operation)).toBe(code)
  })
})

import { concatBytes } from '@cipherlog/core'
import { suites, type KeyOperation, type KeyVersion } from '@cipherlog/format'
import { describe, expect, test } from 'vitest'
import {
  activate,
  addKeyVersion,
  codeOf,
  createKeyset,
  elgamalVersion,
  ExampleCluster,
  idOf,
  keyOf,
  memberKeysVersion,
  memberOf,
  opaqueKey,
  shareFor,
  signedEvent,
} from './example-cluster.fixture.ts'

const refusal = (operation: KeyOperation, { registry, logTime } = new ExampleCluster()) =>
  codeOf(() => registry.check(signedEvent(registry, operation), { logTime, knowsSeen: () => true }))
const after = (...operations: KeyOperation[]) => {
  const example = new ExampleCluster()
  for (const operation of operations) example.apply(operation)
  return example
}

const first = memberKeysVersion('orders 1', [0, 1])
const second = memberKeysVersion('orders 2', [0, 1])
const orders = createKeyset('orders', suites.hpkeXwing, first)

describe('createKeyset', () => {
  const bfvKey = (suite: 3 | 4 | 5): Uint8Array =>
    opaqueKey(`bfv ${suite}`, { 3: 32_881, 4: 196_721, 5: 655_473 }[suite])
  const shares = [0, 1].map(shareFor)

  test.each<[string, KeyOperation]>([
    ['hpke-xwing', orders],
    ['elgamal-bjj', createKeyset('sums', suites.elgamalBjj, { ...elgamalVersion('sums', 1), shares })],
    ['elgamal-bjj for an only member', createKeyset('sums', suites.elgamalBjj, elgamalVersion('sums', 1), ['ada'])],
    ['bfv-2048', createKeyset('v', suites.bfv2048, { publicKey: bfvKey(3), shares })],
    ['bfv-4096', createKeyset('v', suites.bfv4096, { publicKey: bfvKey(4), shares })],
    ['bfv-8192', createKeyset('v', suites.bfv8192, { publicKey: bfvKey(5), shares })],
    ['bfv-2048 for an only member', createKeyset('v', suites.bfv2048, { publicKey: bfvKey(3) }, ['ada'])],
  ])('is accepted: %s', (_, operation) => {
    expect(refusal(operation)).toBeUndefined()
  })

  const elgamal = elgamalVersion('sums', 1)
  const flipped = elgamal.possession!.slice()
  flipped[95]! ^= 1
  const orderTwo = concatBytes(
    new Uint8Array(32),
    // (0, r − 1): on the curve, of order 2.
    Uint8Array.from(
      '30644e72e131a029b85045b68181585d2833e84879b9709143e1f593f0000000'
        .match(/../g)!
        .map((pair) => parseInt(pair, 16)),
    ),
  )
  const shared = (version: KeyVersion) => createKeyset('sums', suites.elgamalBjj, { shares, ...version })

  test.each<[string, KeyOperation, string]>([
    ['a member listed twice', createKeyset('k', 1, first, ['ada', 'ada']), 'ERR_REGISTRY_KEY_USED'],
    ['an operator as member', createKeyset('k', 1, first, ['ada', 'olga']), 'ERR_REGISTRY_KEY_USED'],
    [
      'two members with one X-Wing key',
      { ...orders, members: [memberOf('ada'), { ...memberOf('bob'), kemKey: memberOf('ada').kemKey }] },
      'ERR_REGISTRY_KEY_USED',
    ],
    [
      'a member key off the curve',
      { ...orders, members: [memberOf('ada'), { ...memberOf('bob'), signingKey: new Uint8Array(32).fill(2) }] },
      'ERR_REGISTRY_PUBLIC_KEY',
    ],
    [
      'a member without possession',
      { ...orders, members: [memberOf('ada'), { ...memberOf('bob'), possession: memberOf('ada').possession }] },
      'ERR_REGISTRY_POSSESSION',
    ],
    ['readyMin above the members', { ...orders, readyMin: 3 }, 'ERR_REGISTRY_READY'],
    [
      'hpke-xwing with a public key',
      { ...orders, version: { ...first, publicKey: new Uint8Array(64) } },
      'ERR_REGISTRY_KEY_VERSION',
    ],
    ['hpke-xwing with shares', { ...orders, version: { ...first, shares } }, 'ERR_REGISTRY_KEY_VERSION'],
    ['hpke-xwing without keys', { ...orders, version: {} }, 'ERR_REGISTRY_KEY_VERSION'],
    [
      'a key for a member beyond the list',
      { ...orders, version: memberKeysVersion('k', [0, 2]) },
      'ERR_REGISTRY_KEY_VERSION',
    ],
    [
      'two keys for one member',
      {
        ...orders,
        version: {
          memberKeys: [...memberKeysVersion('a', [0]).memberKeys!, ...memberKeysVersion('b', [0]).memberKeys!],
        },
      },
      'ERR_REGISTRY_KEY_VERSION',
    ],
    [
      'a first version that leaves a member out',
      { ...orders, version: memberKeysVersion('k', [1]) },
      'ERR_REGISTRY_KEY_VERSION',
    ],
    [
      'one key for two members',
      { ...orders, version: { memberKeys: [0, 1].map((member) => ({ member, key: opaqueKey('same', 1216) })) } },
      'ERR_REGISTRY_KEY_USED',
    ],
    ['elgamal-bjj without shares for several members', shared({ ...elgamal, shares: [] }), 'ERR_REGISTRY_KEY_VERSION'],
    ['elgamal-bjj with a share missing', shared({ ...elgamal, shares: [shareFor(0)] }), 'ERR_REGISTRY_KEY_VERSION'],
    [
      'elgamal-bjj with a share twice',
      shared({ ...elgamal, shares: [shareFor(0), shareFor(0)] }),
      'ERR_REGISTRY_KEY_VERSION',
    ],
    ['elgamal-bjj with a long key', shared({ ...elgamal, publicKey: new Uint8Array(65) }), 'ERR_REGISTRY_KEY_VERSION'],
    ['elgamal-bjj with member keys', shared({ ...elgamal, ...first }), 'ERR_REGISTRY_KEY_VERSION'],
    ['elgamal-bjj without possession', shared({ publicKey: elgamal.publicKey }), 'ERR_REGISTRY_POSSESSION'],
    ['elgamal-bjj with a bad possession', shared({ ...elgamal, possession: flipped }), 'ERR_REGISTRY_POSSESSION'],
    [
      'elgamal-bjj with the possession of another keyset',
      shared(elgamalVersion('other', 1)),
      'ERR_REGISTRY_POSSESSION',
    ],
    ['elgamal-bjj with the possession of another epoch', shared(elgamalVersion('sums', 2)), 'ERR_REGISTRY_POSSESSION'],
    ['elgamal-bjj with a key of order 2', shared({ ...elgamal, publicKey: orderTwo }), 'ERR_REGISTRY_POSSESSION'],
    [
      'bfv-2048 one byte short',
      createKeyset('v', 3, { publicKey: bfvKey(3).slice(1), shares }),
      'ERR_REGISTRY_KEY_VERSION',
    ],
    [
      'bfv-2048 with the key of bfv-4096',
      createKeyset('v', 3, { publicKey: bfvKey(4), shares }),
      'ERR_REGISTRY_KEY_VERSION',
    ],
    [
      'bfv-2048 with a proof of possession',
      createKeyset('v', 3, { publicKey: bfvKey(3), possession: flipped, shares }),
      'ERR_REGISTRY_KEY_VERSION',
    ],
  ])('is refused: %s', (_, operation, code) => {
    expect(refusal(operation)).toBe(code)
  })

  test('is refused under an id in use, and with keys of another keyset', () => {
    const example = after(orders)
    expect(refusal({ ...orders, version: second }, example)).toBe('ERR_REGISTRY_ID_USED')
    expect(refusal(createKeyset('other', suites.hpkeXwing, first), example)).toBe('ERR_REGISTRY_KEY_USED')
    expect(refusal(createKeyset('other', suites.hpkeXwing, second), example)).toBeUndefined()
  })
})

describe('addKeyVersion', () => {
  const withoutBob = memberKeysVersion('orders 2', [0])

  test('is accepted for the next epoch, endorsed by a reader of the current version', () => {
    expect(refusal(addKeyVersion('orders', 2, second), after(orders))).toBeUndefined()
    expect(refusal(addKeyVersion('orders', 2, second, [1, 'bob']), after(orders))).toBeUndefined()
  })

  const twice = { ...orders, readyMin: 2 }
  test.each<[string, KeyOperation[], KeyOperation, string]>([
    ['of an unknown keyset', [], addKeyVersion('orders', 2, second), 'ERR_REGISTRY_UNKNOWN'],
    ['that skips an epoch', [orders], addKeyVersion('orders', 3, second), 'ERR_REGISTRY_EPOCH'],
    [
      'of an epoch in use',
      [orders, addKeyVersion('orders', 2, second)],
      addKeyVersion('orders', 2, memberKeysVersion('3', [0, 1])),
      'ERR_REGISTRY_EPOCH',
    ],
    ['with the keys of an earlier one', [orders], addKeyVersion('orders', 2, first), 'ERR_REGISTRY_KEY_USED'],
    [
      'with one key of an earlier one',
      [orders],
      addKeyVersion('orders', 2, { memberKeys: [first.memberKeys![0]!, second.memberKeys![1]!] }),
      'ERR_REGISTRY_KEY_USED',
    ],
    [
      'that too few members could activate',
      [twice],
      addKeyVersion('orders', 2, withoutBob),
      'ERR_REGISTRY_KEY_VERSION',
    ],
    ['endorsed by a stranger', [orders], addKeyVersion('orders', 2, second, [0, 'eve']), 'ERR_REGISTRY_ENDORSEMENT'],
    [
      'endorsed under a member that does not exist',
      [orders],
      addKeyVersion('orders', 2, second, [2, 'ada']),
      'ERR_REGISTRY_ENDORSEMENT',
    ],
    [
      'whose endorsement is for another version',
      [orders],
      { ...addKeyVersion('orders', 2, second), version: memberKeysVersion('eve', [0, 1]) },
      'ERR_REGISTRY_ENDORSEMENT',
    ],
    [
      'whose endorsement is for another epoch',
      [orders],
      { ...addKeyVersion('orders', 2, second), endorsement: addKeyVersion('orders', 3, second).endorsement },
      'ERR_REGISTRY_ENDORSEMENT',
    ],
    [
      'endorsed by a ready signature',
      [orders],
      { ...addKeyVersion('orders', 2, second), endorsement: activate('orders', 2, second).ready[0]! },
      'ERR_REGISTRY_ENDORSEMENT',
    ],
  ])('is refused: a version %s', (_, before, operation, code) => {
    expect(refusal(operation, after(...before))).toBe(code)
  })

  test('the endorser is a reader of the version in use, not of a pending or an older one', () => {
    const bobOut = [orders, activate('orders', 1, first), addKeyVersion('orders', 2, withoutBob)]
    const third = memberKeysVersion('orders 3', [0, 1])
    expect(refusal(addKeyVersion('orders', 3, third, [1, 'bob']), after(...bobOut))).toBeUndefined()
    const activated = after(...bobOut, activate('orders', 2, withoutBob))
    expect(refusal(addKeyVersion('orders', 3, third, [1, 'bob']), activated)).toBe('ERR_REGISTRY_ENDORSEMENT')
    expect(refusal(addKeyVersion('orders', 3, third), activated)).toBeUndefined()
    activated.apply({ type: 'compromiseKeyVersion', keyset: idOf('orders'), keyEpoch: 2, reason: 'lost laptop' })
    expect(refusal(addKeyVersion('orders', 3, third, [1, 'bob']), activated)).toBe('ERR_REGISTRY_ENDORSEMENT')
  })

  test('shares are no part of what is endorsed: each member checks its own', () => {
    const sums = createKeyset('sums', suites.elgamalBjj, { ...elgamalVersion('sums', 1), shares: [0, 1].map(shareFor) })
    const next = elgamalVersion('sums', 2, 2)
    const endorsed = addKeyVersion('sums', 2, next)
    expect(refusal({ ...endorsed, version: { ...next, shares: [shareFor(1)] } }, after(sums))).toBeUndefined()
    expect(refusal(endorsed, after(sums))).toBe('ERR_REGISTRY_KEY_VERSION')
  })
})

describe('activateKeyVersion and compromiseKeyVersion', () => {
  const rotated = [orders, activate('orders', 1, first), addKeyVersion('orders', 2, second)]
  const compromise = (keyEpoch: number): KeyOperation => ({
    type: 'compromiseKeyVersion',
    keyset: idOf('orders'),
    keyEpoch,
    reason: 'lost laptop',
  })
  const both: KeyOperation = { ...orders, readyMin: 2 }

  test.each<[string, KeyOperation[], KeyOperation, string | undefined]>([
    ['a pending version, ready', [orders], activate('orders', 1, first), undefined],
    ['its successor', rotated, activate('orders', 2, second), undefined],
    [
      'with both ready',
      [both],
      activate('orders', 1, first, 0, [
        [1, 'bob'],
        [0, 'ada'],
      ]),
      undefined,
    ],
    ['with one of two ready', [both], activate('orders', 1, first, 0, [[0, 'ada']]), 'ERR_REGISTRY_READY'],
    [
      'with one ready twice',
      [both],
      activate('orders', 1, first, 0, [
        [0, 'ada'],
        [0, 'ada'],
      ]),
      'ERR_REGISTRY_READY',
    ],
    [
      'with more than enough, one repeated',
      [orders],
      activate('orders', 1, first, 0, [
        [0, 'ada'],
        [0, 'ada'],
      ]),
      'ERR_REGISTRY_READY',
    ],
    ['with a stranger ready', [orders], activate('orders', 1, first, 0, [[0, 'eve']]), 'ERR_REGISTRY_READY'],
    ['with one under the wrong index', [orders], activate('orders', 1, first, 0, [[1, 'ada']]), 'ERR_REGISTRY_READY'],
    ['with another version ready', [orders], activate('orders', 1, second), 'ERR_REGISTRY_READY'],
    [
      'with an endorsement for ready',
      [orders],
      { ...activate('orders', 1, first), ready: [addKeyVersion('orders', 1, first).endorsement] },
      'ERR_REGISTRY_READY',
    ],
    ['an unknown keyset', [], activate('orders', 1, first), 'ERR_REGISTRY_UNKNOWN'],
    ['an unknown version', [orders], activate('orders', 2, second), 'ERR_REGISTRY_UNKNOWN'],
    [
      'an active version',
      [orders, activate('orders', 1, first)],
      activate('orders', 1, first),
      'ERR_REGISTRY_KEY_STATE',
    ],
    [
      'a replaced version',
      [...rotated, activate('orders', 2, second)],
      activate('orders', 1, first),
      'ERR_REGISTRY_KEY_STATE',
    ],
    ['a compromised version', [orders, compromise(1)], activate('orders', 1, first), 'ERR_REGISTRY_KEY_STATE'],
    [
      'a pending version below an active one',
      [orders, addKeyVersion('orders', 2, second), activate('orders', 2, second)],
      activate('orders', 1, first),
      'ERR_REGISTRY_KEY_STATE',
    ],
    ['(compromise) a live version', [orders], compromise(1), undefined],
    ['(compromise) an unknown version', [orders], compromise(2), 'ERR_REGISTRY_UNKNOWN'],
    ['(compromise) a compromised version', [orders, compromise(1)], compromise(1), 'ERR_REGISTRY_KEY_STATE'],
  ])('%s: %s', (_, before, operation, code) => {
    expect(refusal(operation, after(...before))).toBe(code)
  })

  test('a member that was left out of a version is not asked whether it is ready', () => {
    const withoutBob = memberKeysVersion('orders 2', [0])
    const example = after(orders, addKeyVersion('orders', 2, withoutBob))
    expect(refusal(activate('orders', 2, withoutBob, 0, [[1, 'bob']]), example)).toBe('ERR_REGISTRY_READY')
    expect(refusal(activate('orders', 2, withoutBob), example)).toBeUndefined()
  })
})

test('keyset() shows members, versions and label', () => {
  const { registry } = after({ ...orders, label: 'Orders' })
  expect(registry.keyset(idOf('orders'))).toMatchObject({
    suite: suites.hpkeXwing,
    label: 'Orders',
    readyMin: 1,
    members: [{ signingKey: keyOf('ada') }, { signingKey: keyOf('bob') }],
  })
  expect(registry.keyset(idOf('orders'))?.versions.get(1)?.version).toEqual(first)
  expect(registry.keysets()).toHaveLength(1)
})

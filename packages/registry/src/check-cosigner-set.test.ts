import { roles, type KeyOperation } from '@cipherlog/format'
import { describe, expect, test } from 'vitest'
import { possessionOf } from './claims.ts'
import {
  cluster,
  codeOf,
  cosignerSetEvent,
  cosignerSetOf,
  ExampleCluster,
  idOf,
  keyOf,
  seedOf,
  signedEvent,
} from './example-cluster.fixture.ts'

const refusal = (operation: KeyOperation, { registry, logTime } = new ExampleCluster(), transitionPending = false) =>
  codeOf(() => registry.check(signedEvent(registry, operation), { logTime, knowsSeen: () => true, transitionPending }))
const four = cosignerSetEvent(['r1', 'r2', 'r3', 'r4'])
const change = (index: number, changes: Partial<(typeof four.set.members)[number]>): KeyOperation => ({
  ...four,
  set: {
    ...four.set,
    members: four.set.members.map((member, i) => (i === index ? { ...member, ...changes } : member)),
  },
})

describe('cosignerSet', () => {
  test.each<[string, KeyOperation]>([
    ['a fourth replica', four],
    ['an exchanged replica', cosignerSetEvent(['r1', 'r2', 'r4'])],
    ['a strict quorum', cosignerSetEvent(['r1', 'r2', 'r3', 'r4'], 4)],
    ['seven new replicas: ten keys with the old three', cosignerSetEvent(['a', 'b', 'c', 'd', 'e', 'f', 'g'])],
    ['a new key for a replica', { ...cosignerSetEvent(['r1', 'r2', 'r3']), ...newKey() }],
  ])('is accepted: %s', (_, operation) => {
    expect(refusal(operation)).toBeUndefined()
  })

  test.each<[string, KeyOperation, string]>([
    ['a quorum below a majority', cosignerSetEvent(['r1', 'r2', 'r3', 'r4'], 2), 'ERR_REGISTRY_COSIGNERS'],
    ['a quorum above the members', cosignerSetEvent(['r1', 'r2', 'r3', 'r4'], 5), 'ERR_REGISTRY_COSIGNERS'],
    ['one peer id twice', change(1, { peerId: idOf('r1') }), 'ERR_REGISTRY_COSIGNERS'],
    ['one cosigner key for two replicas', change(3, { cosignerKey: keyOf('r1 cosigner') }), 'ERR_REGISTRY_KEY_USED'],
    ['one key as log and TLS key', change(3, { logKey: keyOf('r4 tls') }), 'ERR_REGISTRY_KEY_USED'],
    ['a replica of another incarnation with old keys', change(0, { peerId: idOf('r9') }), 'ERR_REGISTRY_KEY_USED'],
    [
      'a log key that was a cosigner key',
      change(0, { logKey: keyOf('r1 cosigner'), cosignerKey: keyOf('x') }),
      'ERR_REGISTRY_KEY_USED',
    ],
    ['an operator key', change(3, { answerKey: keyOf('olga') }), 'ERR_REGISTRY_KEY_USED'],
    ['a key off the curve', change(3, { tlsKey: new Uint8Array(32).fill(2) }), 'ERR_REGISTRY_PUBLIC_KEY'],
    ['no possessions', { ...four, possessions: [] }, 'ERR_REGISTRY_POSSESSION'],
    [
      'a possession twice',
      { ...four, possessions: [0, 1, 2, 2].map((i) => four.possessions[i]!) },
      'ERR_REGISTRY_POSSESSION',
    ],
    [
      'a possession of the wrong replica',
      { ...four, possessions: four.possessions.map(([i], j) => [i, four.possessions[(j + 1) % 4]![1]]) },
      'ERR_REGISTRY_POSSESSION',
    ],
    [
      'a possession for another role',
      {
        ...four,
        possessions: four.possessions.map(([i, signature]) => [
          i,
          i === 3 ? possessionOf(seedOf('r4 answer'), roles.client, cluster) : signature,
        ]),
      },
      'ERR_REGISTRY_POSSESSION',
    ],
  ])('is refused: %s', (_, operation, code) => {
    expect(refusal(operation)).toBe(code)
  })

  test('is refused if old and new set together have more than 10 cosigner keys', () => {
    const example = new ExampleCluster()
    example.apply(four)
    example.closeBatch()
    expect(refusal(cosignerSetEvent(['a', 'b', 'c', 'd', 'e', 'f', 'g']), example)).toBe('ERR_REGISTRY_COSIGNERS')
    expect(refusal(cosignerSetEvent(['r1', 'b', 'c', 'd', 'e', 'f', 'g']), example)).toBeUndefined()
  })

  test('is refused until the batch record of the last transition is written', () => {
    const example = new ExampleCluster()
    example.apply(four)
    expect(refusal(cosignerSetEvent(['r1', 'r2', 'r4']), example)).toBe('ERR_REGISTRY_TRANSITION')
    example.closeBatch()
    expect(refusal(cosignerSetEvent(['r1', 'r2', 'r4']), example)).toBeUndefined()
    expect(refusal(cosignerSetEvent(['r1', 'r2', 'r4']), example, true)).toBe('ERR_REGISTRY_TRANSITION')
  })

  test('a key of a replica that left is never anything else, yet the replica may come back', () => {
    const example = new ExampleCluster()
    example.apply(four)
    example.closeBatch()
    example.apply(cosignerSetEvent(['r1', 'r2', 'r3']))
    example.closeBatch()
    expect(refusal(change(3, { peerId: idOf('r5') }), example)).toBe('ERR_REGISTRY_KEY_USED')
    expect(refusal(four, example)).toBeUndefined()
  })
})

describe('setsFor()', () => {
  const [old, young] = [cosignerSetOf(['r1', 'r2', 'r3']), four.set]

  test('one set, then both up to the transition size, then the new one', () => {
    const example = new ExampleCluster()
    example.apply(four)
    const leaf = example.registry.cosignerSets[1]!.eventLeaf
    expect(leaf).toBe(2)
    expect(example.registry.setsFor(leaf)).toEqual([old])
    // Pending: whatever size comes next is the transition size.
    expect(example.registry.transitionPending).toBe(true)
    expect(example.registry.setsFor(leaf + 2)).toEqual([old, young])
    const size = example.closeBatch()
    expect(size).toBe(4)
    expect(example.registry.transitionPending).toBe(false)
    expect(example.registry.setsFor(2)).toEqual([old])
    expect(example.registry.setsFor(size)).toEqual([old, young])
    expect(example.registry.setsFor(size + 1)).toEqual([young])
  })

  test('noteTransition() takes one size, within a batch of the event', () => {
    const { registry } = new ExampleCluster()
    expect(codeOf(() => registry.noteTransition(4))).toBe('ERR_INVARIANT')
    const example = new ExampleCluster()
    example.apply(four)
    for (const size of [2, 3, 259]) expect(codeOf(() => example.registry.noteTransition(size))).toBe('ERR_INVARIANT')
    example.registry.noteTransition(258)
    expect(codeOf(() => example.registry.noteTransition(258))).toBe('ERR_INVARIANT')
    expect(example.registry.setsFor(258)).toHaveLength(2)
  })
})

function newKey() {
  const event = cosignerSetEvent(['r1', 'r2', 'r3'])
  const members = event.set.members.map((member, i) => (i === 0 ? { ...member, logKey: keyOf('r1 log 2') } : member))
  return { set: { ...event.set, members } }
}

import { concatBytes, encode } from '@cipherlog/core'
import { generateSigningKey } from '@cipherlog/crypto/signature'
import { keyOperation, roles, signedKeyEvent, suites, type KeyOperation } from '@cipherlog/format'
import { describe, expect, test } from 'vitest'
import { possessionOf } from './claims.ts'
import {
  addClient,
  addKeyVersion,
  activate,
  cluster,
  codeOf,
  cosignerSetEvent,
  createdAt,
  createKeyset,
  ExampleCluster,
  genesisOf,
  genesisSecrets,
  idOf,
  memberKeysVersion,
  operatorNames,
  seedOf,
  signedEvent,
  signedGenesis,
} from './example-cluster.fixture.ts'
import { signGenesis } from './genesis.ts'
import {
  assembleKeyEvent,
  buildKeyEvent,
  decodeKeyEvent,
  operatorSignature,
  positionAfter,
  signKeyEvent,
} from './key-event.ts'
import { type CheckContext, Registry } from './registry.ts'

const at: CheckContext = { logTime: createdAt + 10, knowsSeen: () => true, transitionPending: false }
const operation: KeyOperation = addClient('wanda')

const fresh = () => Registry.fromGenesis(signedGenesis)
const refusal = (signed: Uint8Array, context = at, registry = fresh()) => codeOf(() => registry.check(signed, context))

describe('a registry at genesis', () => {
  test('has the genesis as head, its operators and its cosigner set', () => {
    const registry = fresh()
    expect(registry.head).toEqual({ number: 0, digest: cluster })
    expect(registry.operatorSetVersion).toBe(0)
    expect(registry.operators.threshold).toBe(2)
    expect(registry.cosignerSets).toHaveLength(1)
    expect(registry.event(0)).toEqual({
      signed: signedGenesis,
      digest: cluster,
      generation: 0,
      leafIndex: 0,
      logTime: createdAt,
    })
    expect(registry.circuit('sealed-amount-32')?.id).toBe('sealed-amount-32')
    expect(registry.circuit('other')).toBeUndefined()
  })
})

describe('check() and apply()', () => {
  test('take an event that k operators signed; the head moves to it', () => {
    const registry = fresh()
    const signed = signedEvent(registry, operation)
    const checked = registry.check(signed, at)
    expect(checked.kind).toBe('new')
    if (checked.kind !== 'new') return
    expect(registry.head.number).toBe(0)
    expect(registry.client(idOf('wanda'))).toBeUndefined()
    registry.apply(checked, { leafIndex: 2, logTime: at.logTime })
    expect(registry.head).toEqual({ number: 1, digest: checked.digest })
    expect(registry.client(idOf('wanda'))?.publicKey).toEqual(addClient('wanda').publicKey)
    expect(registry.event(1)).toEqual({
      signed,
      digest: checked.digest,
      generation: 0,
      leafIndex: 2,
      logTime: at.logTime,
    })
    expect(registry.event(2)).toBeUndefined()
  })

  test('a chain can be signed in one sitting', () => {
    const registry = fresh()
    const first = buildKeyEvent({ after: registry, operation, seen: seen(), notAfter: at.logTime })
    const second = buildKeyEvent({
      after: positionAfter(first),
      operation: addClient('walter'),
      seen: seen(),
      notAfter: at.logTime,
    })
    const signers = [1, 2].map((index) => ({ index, secretKey: seedOf(operatorNames[index]!) }))
    for (const [i, bytes] of [first, second].entries()) {
      const checked = registry.check(signKeyEvent(bytes, signers), at)
      if (checked.kind === 'duplicate') throw new Error('no event is a duplicate here')
      registry.apply(checked, { leafIndex: 2 + i, logTime: at.logTime })
    }
    expect(registry.head.number).toBe(2)
    expect(registry.clients()).toHaveLength(2)
  })

  test('the same bytes are a duplicate, whoever signed and however late', () => {
    const { registry, signedEvents } = clusterWith(operation, addClient('walter'))
    const { eventBytes } = decodeKeyEvent(signedEvents[1]!)
    const otherSigners = signKeyEvent(
      eventBytes,
      [1, 2].map((index) => ({ index, secretKey: seedOf(operatorNames[index]!) })),
    )
    const garbage = assembleKeyEvent(eventBytes, [[1, 9, new Uint8Array(64)]])
    for (const signed of [signedEvents[1]!, otherSigners, garbage]) {
      const late = { ...at, logTime: createdAt + 1e12, knowsSeen: () => false }
      expect(registry.check(signed, late)).toEqual({ kind: 'duplicate', number: 1 })
    }
  })

  test('a checked event is applied at the head it was checked at, and nowhere else', () => {
    const registry = fresh()
    const racing = ['wanda', 'walter'].map((client) => registry.check(signedEvent(registry, addClient(client)), at))
    if (racing[0]!.kind === 'duplicate' || racing[1]!.kind === 'duplicate') throw new Error('both are new')
    registry.apply(racing[0]!, { leafIndex: 2, logTime: at.logTime })
    const other = racing[1]!
    expect(codeOf(() => registry.apply(other, { leafIndex: 3, logTime: at.logTime }))).toBe('ERR_INVARIANT')
    expect(registry.clients()).toHaveLength(1)
  })

  test('places must go forward', () => {
    const { registry } = clusterWith(operation)
    const checked = registry.check(signedEvent(registry, addClient('walter')), at)
    if (checked.kind === 'duplicate') throw new Error('it is new')
    const { leafIndex, logTime } = registry.event(1)!
    expect(codeOf(() => registry.apply(checked, { leafIndex, logTime }))).toBe('ERR_INVARIANT')
    expect(codeOf(() => registry.apply(checked, { leafIndex: leafIndex + 1, logTime: logTime - 1 }))).toBe(
      'ERR_INVARIANT',
    )
    expect(registry.head.number).toBe(1)
  })

  test('copy what they are given', () => {
    const registry = fresh()
    const signed = signedEvent(registry, operation)
    const handed = Buffer.from(signed)
    const checked = registry.check(handed, at)
    if (checked.kind === 'duplicate') throw new Error('it is new')
    handed.fill(0)
    registry.apply(checked, { leafIndex: 2, logTime: at.logTime })
    expect(registry.event(1)!.signed).toEqual(signed)
    expect(registry.event(1)!.signed.constructor).toBe(Uint8Array)
  })
})

describe('check() refuses', () => {
  const good = signedEvent(fresh(), operation)
  const { eventBytes } = decodeKeyEvent(good)
  const sign = (index: number) => operatorSignature(eventBytes, { index, secretKey: seedOf(operatorNames[index]!) })
  const stranger = generateSigningKey({ bytes: (length) => new Uint8Array(length).fill(5) })

  test.each([
    ['empty', new Uint8Array(0)],
    ['truncated', good.slice(0, -1)],
    ['trailing-byte', concatBytes(good, Uint8Array.of(0))],
    ['over-the-limit', new Uint8Array(1_048_576 + 4097)],
    ['event-bytes-that-are-none', encode(signedKeyEvent, [Uint8Array.of(0), [sign(0)]])],
    ['unknown-operation', encode(signedKeyEvent, [unknownOperation(eventBytes), [sign(0), sign(1)]])],
  ])('%s as undecodable', (_, signed) => {
    expect(refusal(signed)).toBe('ERR_REGISTRY_UNDECODABLE')
  })

  test('an event of another cluster', () => {
    const other = Registry.fromGenesis(signGenesis(genesisOf({ createdAt: createdAt + 1 }), genesisSecrets()))
    expect(refusal(signedEvent(other, operation))).toBe('ERR_REGISTRY_CLUSTER')
  })

  test('a number that is not the next: behind, ahead, or taken by a racing event', () => {
    const { registry } = clusterWith(operation)
    expect(refusal(signedEvent(fresh(), addClient('walter')), at, registry)).toBe('ERR_REGISTRY_NUMBER')
    const ahead = { ...fresh(), cluster, operatorSetVersion: 0, head: { number: 1, digest: cluster } }
    expect(refusal(signedEvent(ahead, operation))).toBe('ERR_REGISTRY_NUMBER')
  })

  test('an event that follows another event', () => {
    const other = { cluster, operatorSetVersion: 0, head: { number: 0, digest: new Uint8Array(32) } }
    expect(refusal(signedEvent(other, operation))).toBe('ERR_REGISTRY_PREVIOUS')
  })

  test('an event signed for another operator set', () => {
    const { head } = fresh()
    expect(refusal(signedEvent({ cluster, operatorSetVersion: 1, head }, operation))).toBe('ERR_REGISTRY_OPERATOR_SET')
  })

  test('an event after its notAfter, which itself is still in time', () => {
    const signed = signedEvent(fresh(), operation, { notAfter: at.logTime })
    expect(refusal(signed)).toBeUndefined()
    expect(refusal(signed, { ...at, logTime: at.logTime + 1 })).toBe('ERR_REGISTRY_EXPIRED')
  })

  test('a checkpoint that the log does not know', () => {
    const rootHash = new Uint8Array(32).fill(9)
    const signed = signedEvent(fresh(), operation, { seen: { treeSize: 2, rootHash } })
    const knowsSeen: CheckContext['knowsSeen'] = (named) => named.treeSize === 2 && named.rootHash[0] === 8
    expect(refusal(signed, { ...at, knowsSeen })).toBe('ERR_REGISTRY_SEEN')
    expect(
      refusal(signed, { ...at, knowsSeen: (named) => named.treeSize === 2 && named.rootHash[0] === 9 }),
    ).toBeUndefined()
  })

  test.each([
    ['one-of-two', [sign(0)]],
    ['one-operator-twice', [sign(0), sign(0)]],
    ['one-of-three-twice', [sign(0), sign(1), sign(1)]],
    ['bad-third-signature', [sign(0), sign(1), [1, 2, new Uint8Array(64)]]],
    ['signature-under-another-index', [sign(0), [1, 2, sign(1)[2]]]],
    ['index-beyond-the-operators', [sign(0), [1, 3, sign(1)[2]]]],
    ['recovery-role', [sign(0), [2, 1, sign(1)[2]]]],
    ['stranger', [sign(0), [1, 1, operatorSignature(eventBytes, { index: 1, secretKey: stranger.secretKey })[2]]]],
  ] as [string, ReturnType<typeof sign>[]][])('signatures: %s', (_, signatures) => {
    expect(refusal(assembleKeyEvent(eventBytes, signatures))).toBe('ERR_REGISTRY_SIGNATURES')
  })

  test('signatures over other bytes: every bit of the event counts', () => {
    for (let bit = 0; bit < eventBytes.length * 8; bit += 97) {
      const changed = eventBytes.slice()
      changed[bit >> 3]! ^= 1 << (bit & 7)
      expect(refusal(assembleKeyEvent(changed, [sign(0), sign(1)]))).toMatch(/^ERR_REGISTRY_/)
    }
  })

  test('any subset of operators that is large enough is accepted, in any order', () => {
    for (const signers of [
      [0, 1],
      [2, 0],
      [1, 2],
      [2, 1, 0],
    ]) {
      expect(refusal(assembleKeyEvent(eventBytes, signers.map(sign)))).toBeUndefined()
    }
  })
})

describe('a client that folds without places', () => {
  const version = memberKeysVersion('orders 1', [0, 1])
  const second = memberKeysVersion('orders 2', [0, 1])
  const events = clusterWith(
    createKeyset('orders', suites.hpkeXwing, version),
    activate('orders', 1, version),
    addKeyVersion('orders', 2, second),
    activate('orders', 2, second, 60_000),
    addClient('wanda'),
    { type: 'revokeClient', client: idOf('wanda'), reason: 'left' },
  ).signedEvents.slice(1)

  const fold = () => {
    const registry = fresh()
    for (const signed of events) {
      const checked = registry.checkUnplaced(signed)
      if (checked.kind === 'duplicate') throw new Error('no event is a duplicate here')
      registry.applyUnplaced(checked)
    }
    return registry
  }

  test('comes to the same head and keys as a replica', () => {
    const registry = fold()
    const replica = clusterWithEvents(events)
    expect(registry.head).toEqual(replica.head)
    expect(registry.activeEpoch(idOf('orders'))).toBe(2)
    expect(registry.eventDigest(3)).toEqual(replica.event(3)!.digest)
    expect(registry.event(3)).toBeUndefined()
  })

  test('counts grace as over, since it ends at a log time that it does not know', () => {
    const registry = fold()
    expect(registry.keyState(idOf('orders'), 1, createdAt)).toBe('decrypt-only')
    expect(clusterWithEvents(events).keyState(idOf('orders'), 1, createdAt + 20)).toBe('grace')
  })

  test('knows who is revoked, not at which leaf', () => {
    expect(fold().client(idOf('wanda'))?.revoked).toEqual({ number: 6, leafIndex: undefined, reason: 'left' })
    expect(clusterWithEvents(events).client(idOf('wanda'))?.revoked).toEqual({
      number: 6,
      leafIndex: 7,
      reason: 'left',
    })
  })

  test('still checks chain, signatures and operation', () => {
    expect(codeOf(() => fresh().checkUnplaced(events[1]!))).toBe('ERR_REGISTRY_NUMBER')
    const one = signedEvent(fresh(), operation, { operators: [0] })
    expect(codeOf(() => fresh().checkUnplaced(one))).toBe('ERR_REGISTRY_SIGNATURES')
    const unknown = signedEvent(fresh(), { type: 'revokeClient', client: idOf('nobody'), reason: '' })
    expect(codeOf(() => fresh().checkUnplaced(unknown))).toBe('ERR_REGISTRY_UNKNOWN')
  })

  test('must say at which leaf a cosigner set took effect', () => {
    const registry = fresh()
    const checked = registry.checkUnplaced(signedEvent(registry, cosignerSetEvent(['r1', 'r2', 'r3', 'r4'])))
    if (checked.kind === 'duplicate') throw new Error('it is new')
    expect(() => registry.applyUnplaced(checked)).toThrow(TypeError)
    expect(registry.head.number).toBe(0)
    registry.applyUnplaced(checked, 2)
    expect(registry.cosignerSets[1]?.eventLeaf).toBe(2)
  })
})

test('possession is bound to role and cluster', () => {
  const asReader = { ...addClient('wanda'), possession: possessionOf(seedOf('wanda'), roles.reader, cluster) }
  const elsewhere = {
    ...addClient('wanda'),
    possession: possessionOf(seedOf('wanda'), roles.client, new Uint8Array(32)),
  }
  for (const bad of [asReader, elsewhere]) expect(refusal(signedEvent(fresh(), bad))).toBe('ERR_REGISTRY_POSSESSION')
})

function seen() {
  return { treeSize: 2, rootHash: new Uint8Array(32) }
}

function clusterWith(...operations: KeyOperation[]): ExampleCluster {
  const example = new ExampleCluster()
  for (const next of operations) example.apply(next)
  return example
}

function clusterWithEvents(events: readonly Uint8Array[]): Registry {
  const registry = fresh()
  for (const [i, signed] of events.entries()) {
    const checked = registry.check(signed, at)
    if (checked.kind === 'duplicate') throw new Error('no event is a duplicate here')
    registry.apply(checked, { leafIndex: 2 + i, logTime: at.logTime })
  }
  return registry
}

/** The operation's tag is the last [tag, record]: a tag that nobody knows takes its place. */
function unknownOperation(eventBytes: Uint8Array): Uint8Array {
  const changed = eventBytes.slice()
  const at = eventBytes.length - encode(keyOperation, operation).length
  expect(changed[at]).toBe(0x82)
  changed[at + 1] = 23
  return changed
}

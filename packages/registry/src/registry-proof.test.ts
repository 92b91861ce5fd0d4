import { CipherlogError, decode, encode } from '@cipherlog/core'
import {
  batchRecord as batchRecordCodec,
  policyChain as policyChainCodec,
  suites,
  type BatchRecord,
  type KeyOperation,
} from '@cipherlog/format'
import { describe, expect, test } from 'vitest'
import {
  activate,
  addClient,
  addKeyVersion,
  consistencyPath,
  cosignerSetEvent,
  cosignerSetOf,
  createKeyset,
  ExampleCluster,
  genesisOf,
  genesisSecrets,
  idOf,
  memberKeysVersion,
  rootOf,
  seedOf,
  signedEvent,
  signedGenesis,
  trustPolicyOf,
} from './example-cluster.fixture.ts'
import { signGenesis } from './genesis.ts'
import { decodeKeyEvent, signKeyEvent } from './key-event.ts'
import { type RegistryProof, type UnprovenReason, verifyRegistryProof } from './registry-proof.ts'

const replicas = ['r1', 'r2', 'r3']
const maxAge = 60_000
const version = memberKeysVersion('orders 1', [0, 1])
const orders: KeyOperation[] = [createKeyset('orders', suites.hpkeXwing, version), activate('orders', 1, version)]
const compromise: KeyOperation = { type: 'compromiseKeyVersion', keyset: idOf('orders'), keyEpoch: 1, reason: 'lost' }

/** A cluster after these operations, each batch closed. */
const after = (...operations: KeyOperation[]) => {
  const example = new ExampleCluster()
  for (const operation of operations) example.apply(operation)
  example.closeBatch()
  return example
}

/** What an honest replica hands out for the newest size. */
const proofOf = (example: ExampleCluster, changes: Partial<RegistryProof> = {}, note = {}): RegistryProof => {
  const size = example.leaves.length
  return {
    events: example.signedEvents,
    checkpoint: example.note(size, { replicas, ...note }),
    policyChain: example.policyChain(),
    batchRecord: example.leaves[size - 1]!,
    inclusionProof: example.inclusionProof(size - 1),
    trustPolicy: trustPolicyOf(),
    now: example.logTime,
    registryMaxAgeMs: maxAge,
    ...changes,
  }
}

/** `reason`, or the code of another error; undefined if the proof holds. */
const reasonOf = (proof: RegistryProof): UnprovenReason | string | undefined => {
  try {
    verifyRegistryProof(proof)
  } catch (error) {
    if (!(error instanceof CipherlogError)) throw error
    return error.code === 'ERR_KEY_UNPROVEN' ? (error.details.reason as UnprovenReason) : error.code
  }
  return undefined
}

const example = after(addClient('wanda'), ...orders)
const good = proofOf(example)

describe('verifyRegistryProof()', () => {
  test('folds the registry up to the head and says what to remember', () => {
    const proven = verifyRegistryProof(good)
    expect(proven.registry.head).toEqual(example.registry.head)
    expect(proven.registry.activeEpoch(idOf('orders'))).toBe(1)
    expect(proven.batchRecord.logTime).toBe(example.logTime)
    expect(proven.laterEvents).toEqual({ number: 3, revokedClients: [], compromisedVersions: [] })
    expect(proven.remember).toEqual({
      ...example.registry.head,
      treeSize: example.leaves.length,
      rootHash: rootOf(example.leaves),
    })
    expect(reasonOf({ ...good, remembered: proven.remember })).toBeUndefined()
  })

  test('proves the registry at genesis', () => {
    expect(verifyRegistryProof(proofOf(new ExampleCluster())).registry.head.number).toBe(0)
  })

  test('events that came after the head can only stop: revoked clients and compromised versions are told, not applied', () => {
    const ahead = after(addClient('wanda'), ...orders)
    const proof = proofOf(ahead)
    ahead.apply({ type: 'revokeClient', client: idOf('wanda'), reason: 'left' })
    ahead.apply(compromise)
    ahead.apply(addClient('walter'))
    const proven = verifyRegistryProof({ ...proof, events: ahead.signedEvents })
    expect(proven.laterEvents).toEqual({
      number: 6,
      revokedClients: [idOf('wanda')],
      compromisedVersions: [{ keyset: idOf('orders'), keyEpoch: 1 }],
    })
    expect(proven.registry.head.number).toBe(3)
    expect(proven.registry.activeEpoch(idOf('orders'))).toBe(1)
    expect(proven.registry.client(idOf('walter'))).toBeUndefined()
  })

  test('a later event that operators did not sign, or that skips one, is no event', () => {
    const unsigned = signedEvent(example.registry, addClient('walter'), { operators: [0] })
    expect(reasonOf({ ...good, events: [...good.events, unsigned] })).toBe('events')
    const ahead = after(addClient('wanda'), ...orders, addClient('walter'), addClient('willa'))
    expect(reasonOf({ ...good, events: ahead.signedEvents.toSpliced(4, 1) })).toBe('events')
    expect(reasonOf({ ...good, events: [...good.events, good.events[3]!] })).toBe('events')
  })
})

describe('age', () => {
  const seconds = 1_700_000_000
  const at = (timeSeconds: number, now: number) => reasonOf(proofOf(example, { now }, { timeSeconds }))

  test('the q-th newest cosignature is at most registryMaxAgeMs behind the clock', () => {
    expect(at(seconds, seconds * 1000 + maxAge)).toBeUndefined()
    expect(at(seconds, seconds * 1000 + maxAge + 1)).toBe('stale')
  })

  test('times further ahead than that do not count', () => {
    expect(at(seconds, seconds * 1000 - maxAge)).toBeUndefined()
    expect(at(seconds, seconds * 1000 - maxAge - 1)).toBe('stale')
  })

  test('one replica with a wrong clock neither makes an old checkpoint fresh nor a fresh one old', () => {
    const mixed = (times: readonly number[]) => {
      const notes = times.map((timeSeconds, i) =>
        example.note(example.leaves.length, { replicas: [replicas[i]!], logs: ['r1'], timeSeconds }),
      )
      const lines = notes.map((note) => note.trimEnd().split('\n'))
      return reasonOf({
        ...good,
        now: seconds * 1000,
        checkpoint: [...lines[0]!, ...lines.slice(1).map((note) => note.at(-1)!), ''].join('\n'),
      })
    }
    const [past, future] = [seconds - 3600, seconds + 3600]
    expect(mixed([past, past, seconds])).toBe('stale')
    expect(mixed([future, past, seconds])).toBe('stale')
    expect(mixed([past, seconds, seconds])).toBeUndefined()
    expect(mixed([future, seconds, seconds])).toBeUndefined()
  })
})

describe('attacks', () => {
  test('old registry: an old checkpoint is stale', () => {
    expect(reasonOf({ ...good, now: good.now + 2 * maxAge })).toBe('stale')
  })

  test('old registry: an old batch record inside a fresh tree is not its last leaf', () => {
    const later = after(addClient('wanda'), ...orders)
    const oldSize = later.leaves.length
    later.apply(compromise)
    later.closeBatch()
    const batchRecord = later.leaves[oldSize - 1]!
    const inclusionProof = later.inclusionProof(oldSize - 1)
    const events = later.signedEvents.slice(0, 4)
    expect(reasonOf(proofOf(later, { batchRecord, inclusionProof, events }))).toBe('batch-record')
    expect(reasonOf(proofOf(later))).toBeUndefined()
  })

  test('old registry: not below what was remembered', () => {
    const later = after(addClient('wanda'), ...orders, compromise)
    const { remember } = verifyRegistryProof(proofOf(later))
    expect(reasonOf({ ...good, remembered: remember })).toBe('went-back')
    // Same number of events, smaller tree.
    const longer = after(addClient('wanda'), ...orders)
    longer.addLeaf(3, Uint8Array.of(1), [0])
    longer.closeBatch()
    expect(reasonOf({ ...good, remembered: verifyRegistryProof(proofOf(longer)).remember })).toBe('went-back')
    const start = { treeSize: example.leaves.length + 1, rootHash: new Uint8Array(32) }
    expect(reasonOf({ ...good, trustPolicy: trustPolicyOf({ start }) })).toBe('went-back')
  })

  test('shortened registry: fewer events than the head counts', () => {
    expect(reasonOf({ ...good, events: good.events.slice(0, -1) })).toBe('shortened')
    expect(reasonOf({ ...good, events: [] })).toBe('shortened')
  })

  test('another genesis, or none, before the events', () => {
    const other = signGenesis(genesisOf({ createdAt: 1 }), genesisSecrets())
    expect(reasonOf({ ...good, events: good.events.with(0, other) })).toBe('events')
    expect(reasonOf({ ...good, events: good.events.with(0, new Uint8Array(0)) })).toBe('events')
  })

  test('shortened registry: an event left out in the middle breaks the chain', () => {
    const events = good.events.toSpliced(2, 1)
    expect(reasonOf({ ...good, events: [...events, events.at(-1)!] })).toBe('events')
  })

  test('substituted key: a version that was not endorsed, or a chain that operators signed beside the log', () => {
    const eve = memberKeysVersion('eve', [0, 1])
    const unendorsed = signedEvent(example.registry, addKeyVersion('orders', 2, eve, [0, 'eve']))
    expect(reasonOf({ ...good, events: [...good.events.slice(0, 3), unendorsed] })).toBe('events')
    const substituted = after(
      addClient('wanda'),
      createKeyset('orders', suites.hpkeXwing, eve),
      activate('orders', 1, eve),
    )
    expect(reasonOf({ ...good, events: substituted.signedEvents })).toBe('head')
  })

  test('substituted key: bytes changed in a signed event', () => {
    const signed = good.events[2]!.slice()
    signed[signed.length >> 1]! ^= 1
    expect(reasonOf({ ...good, events: good.events.with(2, signed) })).toBe('events')
  })

  test('the same event signed by other operators is the same event', () => {
    const { eventBytes } = decodeKeyEvent(good.events[1]!)
    const resigned = signKeyEvent(
      eventBytes,
      ['olga', 'otto', 'ole'].map((operator, index) => ({ index, secretKey: seedOf(operator) })),
    )
    expect(reasonOf({ ...good, events: good.events.with(1, resigned) })).toBeUndefined()
  })

  test('forged batch record, head or proof', () => {
    const record = decode(batchRecordCodec, good.batchRecord)
    const forged = (changes: Partial<BatchRecord>) => encode(batchRecordCodec, { ...record, ...changes })
    expect(
      reasonOf({ ...good, batchRecord: forged({ registryHead: { number: 0, digest: record.registryHead.digest } }) }),
    ).toBe('batch-record')
    expect(reasonOf({ ...good, inclusionProof: [] })).toBe('batch-record')
    expect(reasonOf({ ...good, batchRecord: example.leaves[2]!, inclusionProof: example.inclusionProof(2) })).toBe(
      'batch-record',
    )
  })

  test('a lying quorum: last leaf that is no batch record, closes another batch, or is of rules we do not know', () => {
    const endingIn = (leaf: Uint8Array) => {
      const lying = after(addClient('wanda'), ...orders)
      lying.leaves[lying.leaves.length - 1] = leaf
      return reasonOf(proofOf(lying))
    }
    const record = decode(batchRecordCodec, good.batchRecord)
    expect(endingIn(example.leaves[2]!)).toBe('batch-record')
    expect(endingIn(encode(batchRecordCodec, { ...record, firstLeaf: record.firstLeaf + 1 }))).toBe('batch-record')
    expect(endingIn(encode(batchRecordCodec, { ...record, group: new Uint8Array(16).fill(1) }))).toBe('batch-record')
    expect(endingIn(encode(batchRecordCodec, { ...record, rulesVersion: 2 }))).toBe('rules')
    expect(endingIn(good.batchRecord)).toBeUndefined()
  })

  test('a checkpoint or policy chain that does not hold', () => {
    expect(reasonOf(proofOf(example, {}, { replicas: ['r1'] }))).toBe('checkpoint')
    expect(reasonOf({ ...good, policyChain: new Uint8Array(0) })).toBe('checkpoint')
    expect(reasonOf({ ...good, trustPolicy: trustPolicyOf({ cluster: new Uint8Array(32) }) })).toBe('checkpoint')
    expect(reasonOf({ ...good, trustPolicy: trustPolicyOf({ witnesses: [], witnessesRequired: 1 }) })).toBe(
      'checkpoint',
    )
  })

  test('a fork is its own error, with both sides', () => {
    const { remember } = verifyRegistryProof(good)
    const fork = proofOf(after(addClient('walter'), ...orders), { remembered: remember })
    expect(reasonOf(fork)).toBe('ERR_VERIFY_SPLIT_VIEW')
    const otherRoot = { ...remember, rootHash: new Uint8Array(32) }
    expect(reasonOf({ ...good, remembered: otherRoot })).toBe('ERR_VERIFY_SPLIT_VIEW')
    const start = { treeSize: remember.treeSize, rootHash: new Uint8Array(32) }
    expect(reasonOf({ ...good, trustPolicy: trustPolicyOf({ start }) })).toBe('ERR_VERIFY_SPLIT_VIEW')
  })

  test('a tree that does not extend the remembered one', () => {
    const { remember } = verifyRegistryProof(good)
    const later = after(addClient('wanda'), ...orders)
    later.addLeaf(3, Uint8Array.of(1), [0])
    later.closeBatch()
    const consistencyProof = consistencyPath(later.leaves, remember.treeSize)
    expect(reasonOf(proofOf(later, { remembered: remember, consistencyProof }))).toBeUndefined()
    expect(reasonOf(proofOf(later, { remembered: remember, consistencyProof: consistencyProof.slice(1) }))).toBe(
      'consistency',
    )
    const forked = { ...remember, rootHash: new Uint8Array(32) }
    expect(reasonOf(proofOf(later, { remembered: forked, consistencyProof }))).toBe('consistency')
  })
})

describe('after a change of cosigners', () => {
  const young = ['r3', 'r4', 'r5']
  const changed = new ExampleCluster()
  changed.apply(addClient('wanda'))
  changed.apply(cosignerSetEvent(young))
  const transition = changed.closeBatch()
  const both = { replicas: ['r1', 'r2', 'r4', 'r5'], logs: ['r1', 'r4'] }
  changed.notes.set(transition, changed.note(transition, both))
  const atTransition = proofOf(changed, {}, both)
  changed.apply(addClient('walter'))
  changed.closeBatch()
  const byNew = proofOf(changed, {}, { replicas: ['r4', 'r5'] })
  const emptyChain = encode(policyChainCodec, [signedGenesis, []])

  test('the registry is proven by the new set, at the transition size by both', () => {
    const { registry } = verifyRegistryProof(byNew)
    expect(registry.cosignerSets.map(({ set }) => set)).toEqual([cosignerSetOf(replicas), cosignerSetOf(young)])
    expect(registry.setsFor(1000)).toEqual([cosignerSetOf(young)])
    expect(reasonOf(atTransition)).toBeUndefined()
  })

  test('at the transition size both sets must be fresh', () => {
    const { now } = atTransition
    expect(reasonOf({ ...atTransition, now: now + maxAge + 1000 })).toBe('stale')
  })

  test('attack: the event left out of the policy chain, the old set signing on', () => {
    const byOld = proofOf(changed, { policyChain: emptyChain }, { replicas: ['r1', 'r2'] })
    expect(reasonOf(byOld)).toBe('policy-chain')
  })

  test('attack: its leaf raised above the checkpoint, the old set signing on', () => {
    const [, [link]] = decode(policyChainCodec, byNew.policyChain)
    const size = changed.leaves.length
    // The old set has signed a later "transition" with the new one: r3 is in both, r1 and r4 are corrupted.
    const note = changed.note(size + 3, { replicas: ['r1', 'r3', 'r4'], logs: ['r3'], rootHash: new Uint8Array(32) })
    const raised = { ...link!, leafIndex: size + 1, transitionCheckpoint: note }
    const policyChain = encode(policyChainCodec, [signedGenesis, [raised]])
    expect(reasonOf(proofOf(changed, { policyChain }, { replicas: ['r1', 'r3'] }))).toBe('policy-chain')
  })

  test('attack: another set under the event’s number', () => {
    const other = new ExampleCluster()
    other.apply(addClient('wanda'))
    other.apply(cosignerSetEvent(['r3', 'r4', 'r6']))
    const size = other.closeBatch()
    other.notes.set(size, other.note(size, { replicas: ['r1', 'r2', 'r4', 'r6'], logs: ['r1', 'r4'] }))
    const policyChain = other.policyChain()
    expect(reasonOf(proofOf(changed, { policyChain }, { replicas: ['r3', 'r4', 'r6'] }))).toBe('policy-chain')
  })

  test('attack: a set in the policy chain that the events do not have', () => {
    const plain = after(addClient('wanda'), addClient('walter'))
    plain.apply(addClient('willa'))
    plain.closeBatch()
    expect(reasonOf(proofOf(plain, { policyChain: byNew.policyChain }, { replicas: ['r3', 'r4', 'r5'] }))).toBe(
      'policy-chain',
    )
  })

  test('an older checkpoint is still proven under a policy chain that goes further', () => {
    const early = new ExampleCluster()
    early.apply(addClient('wanda'))
    const size = early.closeBatch()
    const proof = proofOf(early)
    early.apply(cosignerSetEvent(young))
    const next = early.closeBatch()
    early.notes.set(next, early.note(next, both))
    expect(reasonOf({ ...proof, policyChain: early.policyChain(), events: early.signedEvents })).toBeUndefined()
    expect(size).toBeLessThan(next)
  })
})

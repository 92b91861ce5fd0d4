import { decode, encode } from '@cipherlog/core'
import {
  commandBundle,
  formatVersion,
  group0,
  leafRecord as leafRecordCodec,
  policyChain as policyChainCodec,
  signedCommandBundle,
  type CommandHead,
} from '@cipherlog/format'
import { describe, expect, test } from 'vitest'
import {
  cluster,
  codeOf,
  cosignerSetEvent,
  ExampleCluster,
  idOf,
  origin,
  signedGenesis,
  trustPolicyOf,
} from './example-cluster.fixture.ts'
import { encodeReceipt, verifyReceipt } from './receipt.ts'

const head = (id: string): CommandHead => ({
  namespace: 'orders',
  op: 'put',
  keyset: idOf('orders'),
  keyEpoch: 1,
  suite: 1,
  commandId: idOf(id),
})
const bundleOf = (...heads: CommandHead[]) =>
  encode(signedCommandBundle, [
    encode(commandBundle, {
      version: formatVersion,
      cluster,
      group: group0,
      generation: 0,
      registry: 0,
      client: idOf('wanda'),
      session: 1,
      firstSequence: 1,
      auth: 1,
      heads,
    }),
    new Uint8Array(64),
  ])

const replicas = ['r1', 'r2']
const bundle = bundleOf(head('first'), head('second'))
const example = new ExampleCluster()
const leafIndex = example.addLeaf(3, bundle, [0, 3])
const size = example.closeBatch()
const parts = {
  leafRecord: example.leaves[leafIndex]!,
  leafIndex,
  inclusionProof: example.inclusionProof(leafIndex),
  checkpoint: example.note(size, { replicas }),
  policyChain: example.policyChain(),
}
const receipt = encodeReceipt(parts)
const trustPolicy = trustPolicyOf()
const refusal = (changes: Partial<typeof parts>, more: { bundle?: Uint8Array; command?: number } = {}) =>
  codeOf(() => verifyReceipt({ receipt: encodeReceipt({ ...parts, ...changes }), trustPolicy, ...more }))

describe('verifyReceipt()', () => {
  test('gives the position and the leaf under a checkpoint that counts', () => {
    const verified = verifyReceipt({ receipt, trustPolicy })
    expect(verified.position).toBe(`${origin}#${leafIndex}`)
    expect(verified.leafRecord.verdicts).toEqual([0, 3])
    expect(verified.checkpoint.size).toBe(size)
    expect(verified).not.toHaveProperty('verdict')
  })

  test('gives verdict and head of a command', () => {
    const verified = verifyReceipt({ receipt, trustPolicy, bundle, command: 1 })
    expect(verified).toMatchObject({ position: `${origin}#${leafIndex}.1`, verdict: 3, head: head('second') })
    expect(verifyReceipt({ receipt, trustPolicy, command: 0 })).toMatchObject({ verdict: 0 })
  })

  test('refuses a bundle that the leaf is not about', () => {
    expect(refusal({}, { bundle: bundleOf(head('other')) })).toBe('ERR_VERIFY_BUNDLE')
    expect(refusal({}, { bundle: new Uint8Array(0) })).toBe('ERR_VERIFY_BUNDLE')
  })

  test('refuses a command that the leaf does not have', () => {
    for (const command of [2, -1, 0.5]) expect(refusal({}, { command })).toBe('ERR_VERIFY_LEAF')
  })

  test('refuses a leaf with another number of verdicts than its bundle has commands', () => {
    const lying = new ExampleCluster()
    const index = lying.addLeaf(3, bundle, [0])
    const lyingSize = lying.closeBatch()
    const lie = {
      leafRecord: lying.leaves[index]!,
      inclusionProof: lying.inclusionProof(index),
      checkpoint: lying.note(lyingSize, { replicas }),
    }
    expect(refusal(lie)).toBeUndefined()
    expect(refusal(lie, { bundle })).toBe('ERR_VERIFY_LEAF')
  })

  test('refuses a leaf of another group', () => {
    const lying = new ExampleCluster()
    lying.leaves.push(
      encode(leafRecordCodec, { ...decode(leafRecordCodec, parts.leafRecord), group: new Uint8Array(16).fill(1) }),
    )
    const lyingSize = lying.closeBatch()
    const inclusionProof = lying.inclusionProof(2)
    const checkpoint = lying.note(lyingSize, { replicas })
    expect(refusal({ leafRecord: lying.leaves[2]!, inclusionProof, checkpoint })).toBe('ERR_VERIFY_LEAF')
  })

  const otherVerdict = encode(leafRecordCodec, { ...decode(leafRecordCodec, parts.leafRecord), verdicts: [0, 0] })
  const proof = parts.inclusionProof
  test.each<[string, Partial<typeof parts>, string]>([
    ['other-verdict', { leafRecord: otherVerdict }, 'ERR_VERIFY_INCLUSION'],
    ['other-index', { leafIndex: leafIndex - 1 }, 'ERR_VERIFY_INCLUSION'],
    ['index-beyond-the-tree', { leafIndex: size }, 'ERR_VERIFY_INCLUSION'],
    ['one-hash-too-many', { inclusionProof: [...proof, new Uint8Array(32)] }, 'ERR_VERIFY_INCLUSION'],
    ['one-hash-too-few', { inclusionProof: proof.slice(1) }, 'ERR_VERIFY_INCLUSION'],
    ['checkpoint-of-another-size', { checkpoint: example.note(2, { replicas }) }, 'ERR_VERIFY_INCLUSION'],
    ['checkpoint-without-quorum', { checkpoint: example.note(size, { replicas: ['r1'] }) }, 'ERR_POLICY_QUORUM'],
    [
      'checkpoint-by-strangers',
      { checkpoint: example.note(size, { replicas: ['x', 'y'] }) },
      'ERR_VERIFY_NOTE_UNSIGNED',
    ],
    ['empty-policy-chain', { policyChain: Uint8Array.of(0x80) }, 'ERR_DECODE_LIMIT'],
  ])('refuses %s', (_, changes, code) => {
    expect(refusal(changes)).toBe(code)
  })

  test('refuses what is no receipt, and takes a Buffer', () => {
    expect(codeOf(() => verifyReceipt({ receipt: receipt.slice(1), trustPolicy }))).toMatch(/^ERR_DECODE_/)
    expect(codeOf(() => verifyReceipt({ receipt: new Uint8Array(5_000_000), trustPolicy }))).toBe('ERR_DECODE_LIMIT')
    expect(verifyReceipt({ receipt: Buffer.from(receipt), trustPolicy, bundle: Buffer.from(bundle) }).leafIndex).toBe(
      leafIndex,
    )
  })

  test('a receipt under a later cosigner set fails without the set’s event, and with its leaf raised', () => {
    const later = new ExampleCluster()
    const young = ['r3', 'r4', 'r5']
    later.apply(cosignerSetEvent(young))
    const transition = later.closeBatch()
    later.notes.set(transition, later.note(transition, { replicas: ['r1', 'r2', 'r4', 'r5'], logs: ['r1', 'r4'] }))
    const index = later.addLeaf(3, bundle, [0, 0])
    const end = later.closeBatch()
    const good = {
      leafRecord: later.leaves[index]!,
      leafIndex: index,
      inclusionProof: later.inclusionProof(index),
      checkpoint: later.note(end, { replicas: ['r4', 'r5'] }),
      policyChain: later.policyChain(),
    }
    expect(refusal(good)).toBeUndefined()
    const [, [link]] = decode(policyChainCodec, good.policyChain)
    const chain = (links: (typeof link)[]) => encode(policyChainCodec, [signedGenesis, links.map((one) => one!)])
    expect(refusal({ ...good, policyChain: chain([]) })).toBe('ERR_VERIFY_NOTE_UNSIGNED')
    const raised = { ...link!, leafIndex: end }
    expect(refusal({ ...good, policyChain: chain([raised]) })).toBe('ERR_VERIFY_POLICY_CHAIN')
    // The old set signs a fork at the later size: with the leaf raised it would count, so the chain is refused.
    const fork = later.note(end, { replicas: ['r1', 'r2'] })
    expect(refusal({ ...good, checkpoint: fork })).toBe('ERR_VERIFY_NOTE_UNSIGNED')
    expect(refusal({ ...good, checkpoint: fork, policyChain: chain([raised]) })).toBe('ERR_VERIFY_POLICY_CHAIN')
  })
})

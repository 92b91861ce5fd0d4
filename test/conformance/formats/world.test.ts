/** The golden vectors are not only well-formed: their signatures, proofs and checkpoints verify. */
import { decode, encode, fromHex } from '@cipherlog/core'
import { labels } from '@cipherlog/crypto/hash'
import { verifyLabelled } from '@cipherlog/crypto/signature'
import {
  group0,
  policyChain,
  signedApplied,
  signedCommandBundle,
  signedKeyEvent,
  signedSessionOpening,
  verdicts,
  type TrustPolicy,
} from '@cipherlog/format'
import { openGenesis, openPolicyChain, verifyReceipt } from '@cipherlog/registry'
import { expect, it } from 'vitest'
import { goldenFile } from './golden.ts'
import * as world from './world.ts'

const vectors = new Map(goldenFile().vectors.map(({ name, hex }) => [name, fromHex(hex)]))
const vector = (name: string) => vectors.get(name)!
const trustPolicy: TrustPolicy = {
  version: 1,
  cluster: world.cluster,
  group: group0,
  generation: 0,
  witnesses: [],
  witnessesRequired: 0,
}

it('the genesis opens: every key has proven possession', () => {
  expect(openGenesis(vector('genesis/signedGenesis')).cluster).toEqual(world.cluster)
})

it.each([
  ['session-opening/signedSessionOpening', signedSessionOpening, labels.openSession, world.clientKey.publicKey],
  ['command-bundle/signedCommandBundle', signedCommandBundle, labels.bundle, world.clientKey.publicKey],
  ['applied/signedApplied', signedApplied, labels.applied, world.replicas[0].answer.publicKey],
] as const)('%s is signed', (name, codec, label, publicKey) => {
  const [bytes, signature] = decode(codec, vector(name))
  expect(verifyLabelled(publicKey, label, bytes, signature)).toBe(true)
})

it('the key event is signed by two operators', () => {
  const [bytes, signatures] = decode(signedKeyEvent, vector('key-event/signedKeyEvent'))
  const verified = signatures.map(([, index, signature]) =>
    verifyLabelled(world.operators[index]!.publicKey, labels.keyEvent, bytes, signature),
  )
  expect(verified).toEqual([true, true])
})

it('the receipt verifies, with the bundle and its second command', () => {
  const receipt = verifyReceipt({
    receipt: vector('receipt/receipt'),
    trustPolicy,
    bundle: vector('command-bundle/signedCommandBundle'),
    command: 1,
  })
  expect(receipt.position).toBe(`${world.origin}#${world.bundleLeafIndex}.1`)
  expect(receipt.verdict).toBe(verdicts.applied)
  expect(receipt.head).toEqual(world.putHead)
})

it('the policy chain opens, and the checkpoint of the transition size counts under both sets', () => {
  const view = openPolicyChain(vector('policy-chain/policyChain'), trustPolicy)
  expect(view.cosignerSets.length).toBe(2)
  expect(view.verifyCheckpoint(world.transitionCheckpoint).size).toBe(world.replaceReplica.leafIndex + 2)
  const withoutEvent = openPolicyChain(encode(policyChain, [world.signedGenesisBytes, []]), trustPolicy)
  expect(withoutEvent.cosignerSets.length).toBe(1)
})

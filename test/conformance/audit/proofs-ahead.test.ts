import { expect, test } from 'vitest'
import { auditTrail, trailFiles } from '@cipherlog/audit'
import { labelledHash, labels, sha256 } from '@cipherlog/crypto/hash'
import { contextBytes, group0 } from '@cipherlog/format'
import { circuits, createInlineVerifier, type ProofVerifier } from '@cipherlog/proof'
import { createTrapdoorKey } from '@cipherlog/proof/trapdoor'
import {
  amount,
  keyEvent,
  opaque,
  TestCluster,
  Writer,
  type Command,
} from '../../../packages/machine/src/cluster.fixture.ts'
import { LedgerDriver } from '../../../packages/machine/src/ledger-driver.fixture.ts'
import { firstReplicas, noteOf, plainLeaf, storeTrail } from './rich-trail.ts'

/** How many checks each call brought. */
function counting(verifier: ProofVerifier): ProofVerifier & { readonly calls: number[] } {
  const calls: number[] = []
  return {
    calls,
    verify(checks, options) {
      calls.push(checks.length)
      return verifier.verify(checks, options)
    },
    close: () => verifier.close(),
  }
}

test('proofs of many bundles are verified in one call, and wrong guesses change no verdict', async () => {
  const trapdoor = createTrapdoorKey(opaque('trapdoor', 32))
  const cluster = await TestCluster.build({ verificationKey: trapdoor.verificationKey })
  const driver = await LedgerDriver.start(cluster)
  const alice = new Writer(cluster)
  const ciphertext = amount(cluster, 3n)
  const proven = (): Command => {
    const { head } = alice.add('total', ciphertext)
    const context = labelledHash(labels.context, contextBytes(cluster.id, alice.id, head))
    const { publicKey } = cluster.elgamal
    const proof = trapdoor.prove(circuits['sealed-amount-32'].statement({ ciphertext, publicKey, context }), context)
    return { head: { ...head, proof: { sha256: sha256(proof), bytes: proof.length } }, bodies: { ciphertext, proof } }
  }
  await driver.apply(alice.open())
  for (let i = 0; i < 6; i++) await driver.apply(alice.bundle([proven()]))
  const bad = opaque('bad', 128).fill(0xff, 0, 1)
  await driver.apply(alice.bundle([alice.add('total', ciphertext, bad), proven()]))
  // From here on the guesses are wrong: the client may not add, and the key belongs to another suite.
  await driver.apply(alice.bundle([alice.add('total', new Uint8Array(128).fill(9)), proven()]))
  await driver.apply(
    alice.bundle([
      alice.add('total', ciphertext, undefined, { keyset: cluster.genesis.operators.keys[0]!.slice(0, 16) }),
    ]),
  )
  await driver.apply(keyEvent(cluster.event({ type: 'revokeClient', client: alice.id, reason: 'left' })))
  await driver.apply(alice.bundle([proven(), proven()]))
  const { size, rootHash } = (await driver.mark())!

  const { origin, registry } = driver.ledger
  const checkpoint = noteOf(origin, { treeSize: size, rootHash }, { cosigners: firstReplicas })
  const policyChain = registry.policyChain(() => undefined)
  const files = await storeTrail(driver.leaves.map(plainLeaf), [{ size, checkpoint, policyChain }])
  const verifier = counting(createInlineVerifier())
  const trustPolicy = {
    version: 1,
    cluster: cluster.id,
    group: group0,
    generation: 0,
    witnesses: [],
    witnessesRequired: 0,
  } as const
  const report = await auditTrail(trailFiles(files), { trustPolicy: { ...trustPolicy, witnesses: [] }, verifier })
  expect(report.problems).toEqual([])
  expect(report).toMatchObject({
    valid: true,
    complete: true,
    verdicts: { applied: 7, proof: 1, notVerified: 1, gate: 1, command: 1, revoked: 2 },
  })
  // Six, then the bad one and its neighbour, and the two of the revoked client; of the leaf with the gate's, its good one
  // waits for its own turn.
  expect(verifier.calls).toEqual([10, 1])
  expect(report.proofsChecked).toBe(9)
})

import { labelledHash, labels } from '@cipherlog/crypto/hash'
import { contextBytes, verdicts } from '@cipherlog/format'
import { cachedVerifier, createInlineVerifier, decodeProof, encodeProof, sealedAmountStatement } from '@cipherlog/proof'
import { createTrapdoorKey } from '@cipherlog/proof/trapdoor'
import { expect, test } from 'vitest'
import { amount, seedOf, TestCluster, Writer, type Command } from './cluster.fixture.ts'
import { firstDifference, LedgerDriver, replayLeaves } from './ledger-driver.fixture.ts'
import { type NeededProof, type Proposal } from './entry.ts'

/** Proofs simulated with the trapdoor of a test key verify like those of the circuit, in milliseconds. */
const key = createTrapdoorKey(seedOf('trapdoor'))
const cluster = await TestCluster.build({ verificationKey: key.verificationKey })

/** A command with a proof of the statement that a verifier will build for it. */
function proven(writer: Writer, ciphertext: Uint8Array): Command {
  const { head } = writer.add('total', ciphertext)
  const statement = sealedAmountStatement({
    ciphertext,
    publicKey: cluster.elgamal.publicKey,
    context: labelledHash(labels.context, contextBytes(cluster.id, writer.id, head)),
  })
  return withProof(writer, { head, bodies: { ciphertext } }, key.prove(statement, seedOf('proof')))
}

function withProof(writer: Writer, { head, bodies }: Command, proof: Uint8Array): Command {
  const { head: withRefs } = writer.command(head, { ciphertext: bodies.ciphertext, proof })
  return { head: { ...withRefs, commandId: head.commandId }, bodies: { ciphertext: bodies.ciphertext, proof } }
}

async function started() {
  const driver = await LedgerDriver.start(cluster)
  const alice = new Writer(cluster)
  const bob = new Writer(cluster, 'bob')
  await driver.apply(alice.open())
  await driver.apply(bob.open())
  return { driver, alice, bob }
}

/** What must be verified before a proposal may be applied. */
function proofsOf(driver: LedgerDriver, proposal: Proposal): readonly NeededProof[] {
  const plan = driver.ledger.plan(proposal)
  if (plan.outcome !== 'accepted') throw new Error(plan.outcome)
  return plan.proofs
}

test('a proof holds for its ciphertext, key and command, and for nothing else', async () => {
  const { driver, alice, bob } = await started()
  const verifier = createInlineVerifier()
  const good = proven(alice, amount(cluster, 1n))
  const { a, b, c } = decodeProof(good.bodies.proof!)
  const order = 21888242871839275222246405745257275088696311157297823662689037894645226208583n
  const negated = encodeProof({ a: { x: a.x, y: order - a.y }, b, c })
  const bundles = {
    good: alice.bundle([good]),
    'under another command id': alice.bundle([alice.add('total', good.bodies.ciphertext, good.bodies.proof)]),
    'of another ciphertext': alice.bundle([alice.add('total', amount(cluster, 2n), good.bodies.proof)]),
    'with A negated': alice.bundle([withProof(alice, good, negated)]),
    'that is no proof': alice.bundle([withProof(alice, good, new Uint8Array(128))]),
  }
  for (const [name, bundle] of Object.entries(bundles)) {
    const answers = await verifier.verify(proofsOf(driver, bundle))
    const verdict = await driver.apply(bundle, () => [...answers])
    expect([name, verdict]).toEqual([name, [name === 'good' ? verdicts.applied : verdicts.proof]])
  }
  // Another client cannot send a proven command as its own: the context names the writer.
  const stolen = bob.bundle([good])
  const answers = await verifier.verify(proofsOf(driver, stolen))
  expect(await driver.apply(stolen, () => [...answers])).toEqual([verdicts.proof])
})

test('the verdicts are the same however the proofs are batched, cached or replayed', async () => {
  const { driver, alice } = await started()
  const [one, two] = [proven(alice, amount(cluster, 1n)), proven(alice, amount(cluster, 2n))]
  const bad = alice.add('total', amount(cluster, 1n), two.bodies.proof)
  const bundle = alice.bundle([one, bad, two, alice.add('total', amount(cluster, 2n), one.bodies.proof)])
  const proofs = proofsOf(driver, bundle)
  expect(proofs.map(({ command }) => command)).toEqual([0, 1, 2, 3])

  const verifier = createInlineVerifier()
  const oneByOne = async (checks: readonly NeededProof[]) =>
    (await Promise.all(checks.map(async (check) => verifier.verify([check])))).flat()
  const cached = cachedVerifier(verifier, 16)
  const answers = [
    await verifier.verify(proofs),
    await oneByOne(proofs),
    await cached.verify(proofs),
    await cached.verify(proofs),
  ]
  for (const answer of answers) expect(answer).toEqual([true, false, true, false])

  const expected = [verdicts.applied, verdicts.proof, verdicts.notVerified, verdicts.notVerified]
  expect(await driver.apply(bundle, () => [...answers[0]!])).toEqual(expected)
  await driver.mark()
  const records = driver.leaves.map(({ record }) => record)
  for (const answer of answers) {
    expect(
      firstDifference(await replayLeaves(driver.leaves, (checks) => answer.slice(0, checks.length)), records),
    ).toBe(undefined)
  }
})

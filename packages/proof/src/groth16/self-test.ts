/** Known answers that an engine must give before it is trusted: good, bad and off-subgroup. */
import { errorCode, fromHex, InvariantViolation, invariant } from '@cipherlog/core'
import { decodeSignals } from './encoding.ts'
import { batchWeights, verificationKeyDigest, type Groth16Engine } from './engine.ts'
import { selfTestVectors } from './self-test-vectors.ts'

/** @throws {@link InvariantViolation} on any other answer than the known ones. */
export function selfTest<Key, Proof>(engine: Groth16Engine<Key, Proof>): void {
  const keyBytes = fromHex(selfTestVectors.verificationKey)
  const good = { statement: fromHex(selfTestVectors.statement), proof: fromHex(selfTestVectors.proof) }
  const bad = { statement: fromHex(selfTestVectors.otherStatement), proof: good.proof }
  const key = engine.decodeKey(keyBytes)
  const holds = (items: (typeof good)[]) =>
    engine.holds(
      key,
      items.map((item) => ({ proof: engine.decodeProof(item.proof), signals: decodeSignals(item.statement, 1) })),
      batchWeights(verificationKeyDigest(keyBytes), items),
    )
  invariant(holds([good]), 'The self-test of proof verification failed: a good proof is refused.')
  invariant(holds([good, good]), 'The self-test of proof verification failed: a good batch is refused.')
  invariant(!holds([bad]), 'The self-test of proof verification failed: a bad proof is accepted.')
  invariant(!holds([good, bad]), 'The self-test of proof verification failed: a bad batch is accepted.')
  let refusal: string | undefined
  try {
    engine.decodeProof(fromHex(selfTestVectors.offSubgroupProof))
  } catch (error) {
    refusal = errorCode(error)
  }
  if (refusal !== 'ERR_PROOF_SUBGROUP') {
    throw new InvariantViolation('The self-test of proof verification failed: a point off the subgroup is accepted.')
  }
}

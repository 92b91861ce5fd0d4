/**
 * Adds BFV ciphertexts. It computes on what it cannot read: only SEAL's evaluator is used here, no key.
 *
 * Adding cannot fail (DESIGN §6, "Cells"): the build `node-seal/allows` takes a transparent result as an ordinary
 * one, all input has passed the gate, and every sum goes into a fresh ciphertext, since after a failed in-place
 * addition SEAL's accumulator is changed. Anything thrown nevertheless is an {@link InvariantViolation}: out of
 * memory on one replica must stop it, not become a verdict. Equal input gives equal bytes on every machine.
 */
import { invariant, InvariantViolation, plainBytes } from '@cipherlog/core'
import initializeSeal, { type MainModule } from 'node-seal/allows'
import { createSealContext, sealErrorText } from './context.ts'
import { inspectBfvCiphertext, inspectBfvSum } from './gate.ts'
import { type BfvSuiteNumber, bfvSuites } from './suites.ts'

export interface BfvEvaluator {
  readonly suite: BfvSuiteNumber
  /**
   * sum + ciphertext, or the ciphertext alone if there is no sum yet: canonical bytes of the suite's exact size, fresh.
   * @throws {@link VerificationError} `ERR_GATE_*` if an argument did not pass the gate before;
   * {@link InvariantViolation} if SEAL fails. Either must stop the node.
   */
  add(sum: Uint8Array | undefined, ciphertext: Uint8Array): Uint8Array
}

/** One wasm instance per thread: objects cannot cross instances, and its heap never shrinks. */
let instance: Promise<MainModule> | undefined
const evaluators = new Map<BfvSuiteNumber, Promise<BfvEvaluator>>()

/** The thread's evaluator for a suite; made once (some 20 ms) and kept. */
export function loadBfvEvaluator(suite: BfvSuiteNumber): Promise<BfvEvaluator> {
  let evaluator = evaluators.get(suite)
  if (evaluator === undefined) {
    instance ??= initializeSeal()
    evaluator = instance.then((seal) => createEvaluator(seal, suite))
    evaluators.set(suite, evaluator)
  }
  return evaluator
}

function createEvaluator(seal: MainModule, suite: BfvSuiteNumber): BfvEvaluator {
  const { name, ciphertextBytes } = bfvSuites[suite]
  const context = createSealContext(seal, bfvSuites[suite])
  const evaluator = new seal.Evaluator(context)
  return {
    suite,
    add(sum, ciphertext) {
      inspectBfvCiphertext(suite, ciphertext)
      if (sum === undefined) return new Uint8Array(ciphertext)
      inspectBfvSum(suite, sum)
      const left = new seal.Ciphertext()
      const right = new seal.Ciphertext()
      const result = new seal.Ciphertext()
      try {
        left.loadFromArray(context, plainBytes(sum))
        right.loadFromArray(context, plainBytes(ciphertext))
        evaluator.add(left, right, result)
        const saved = new Uint8Array(result.saveToArray(seal.ComprModeType.none) as Uint8Array)
        invariant(saved.length === ciphertextBytes, `a sum under ${name} has ${saved.length} bytes`)
        return saved
      } catch (thrown) {
        if (thrown instanceof InvariantViolation) throw thrown
        throw new InvariantViolation(`Adding under ${name} failed; restart the node.`, { seal: sealErrorText(thrown) })
      } finally {
        left.delete()
        right.delete()
        result.delete()
      }
    },
  }
}

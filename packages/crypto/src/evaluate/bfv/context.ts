/** What evaluator and client need of SEAL alike: a context for a suite, and its errors as Errors. */
import { invariant } from '@cipherlog/core'
import { type MainModule, type SEALContext } from 'node-seal/allows'
import { type BfvSuite } from './suites.ts'

/** A SEAL context with the suite's parameters at 128-bit security; the caller deletes it. */
export function createSealContext(seal: MainModule, suite: BfvSuite): SEALContext {
  const primes = suite.moduli.map((modulus) => new seal.Modulus(modulus))
  const coeffModulus = seal.vecFromArrayModulus(primes)
  const plainModulus = new seal.Modulus(BigInt(suite.t))
  const parameters = new seal.EncryptionParameters(seal.SchemeType.bfv)
  try {
    parameters.setPolyModulusDegree(suite.n)
    parameters.setCoeffModulus(coeffModulus)
    parameters.setPlainModulus(plainModulus)
    const context = new seal.SEALContext(parameters, true, seal.SecLevelType.tc128)
    invariant(context.parametersSet(), `SEAL refuses the parameters of ${suite.name}`)
    return context
  } finally {
    for (const handle of [...primes, coeffModulus, plainModulus, parameters]) handle.delete()
  }
}

/**
 * The text of anything SEAL throws: C++ exceptions arrive as `WebAssembly.Exception`, which is no Error and whose
 * message is an array [type, text].
 */
export function sealErrorText(thrown: unknown): string {
  if (thrown !== null && typeof thrown === 'object' && 'message' in thrown) {
    return Array.isArray(thrown.message) ? thrown.message.join(': ') : String(thrown.message)
  }
  return String(thrown)
}

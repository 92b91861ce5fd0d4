/** What is wrong with a leaf, on its way into the report: never a fault of this machine. */
import { CipherlogError, InvariantViolation } from '@cipherlog/core'

export class LeafProblem extends CipherlogError {
  override readonly name = 'LeafProblem'

  constructor(message: string, code = 'ERR_AUDIT_REPLAY', cause?: unknown) {
    super(code, message, { cause })
  }
}

/**
 * Runs a check of the log's rules; what they refuse is a {@link LeafProblem} under the rule's own code. A broken
 * invariant is our own fault and stays what it is.
 */
export async function byTheRules<T>(check: () => T | Promise<T>): Promise<T> {
  try {
    return await check()
  } catch (error) {
    if (!(error instanceof CipherlogError) || error instanceof InvariantViolation || error instanceof LeafProblem) {
      throw error
    }
    throw new LeafProblem(`The log's rules do not allow this leaf here: ${error.message}`, error.code, error)
  }
}

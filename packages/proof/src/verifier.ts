/**
 * Checking proofs: one interface, for worker threads (mcl, `@cipherlog/proof/worker`) and for the calling thread
 * (noble, browsers and auditors).
 *
 * Invariant: an answer is a pure function of the check's bytes and {@link verifierVersion}; in which batches the
 * checks of a call are verified never changes it.
 */
import { CipherlogError } from '@cipherlog/core'
import { groupByKey, inOrder } from './grouping.ts'
import { nobleEngine } from './groth16/noble.ts'
import { checkEach } from './groth16/search.ts'

/** Raised whenever a release could answer otherwise than an earlier one; part of every cache's key. */
export const verifierVersion = 1

/** One proof of one statement under one key. */
export interface ProofCheck {
  /** Compressed, 288 bytes for one public signal; from the registry, never from a message. */
  readonly verificationKey: Uint8Array
  /** Public signals, 32 bytes big-endian each, below r; built by the verifier. */
  readonly statement: Uint8Array
  /** Hostile bytes; 128 of them if it is a proof. */
  readonly proof: Uint8Array
}

export interface VerifyOptions {
  /** Answer only up to and including the first check that fails: what admission needs, at the cost of one search. */
  readonly stopAtFirstFailure?: boolean
}

export interface ProofVerifier {
  /**
   * One boolean for each check, in order: does the proof hold? Proof bytes that do not decode are false.
   * Rejects with a `DecodeError` `ERR_PROOF_*` if a key or statement is malformed, and with anything else only
   * for a fault of this machine, which is no verdict.
   */
  verify(checks: readonly ProofCheck[], options?: VerifyOptions): Promise<readonly boolean[]>
  /** Releases threads. Pending and later calls reject with `ERR_PROOF_CLOSED`. */
  close(): Promise<void>
}

/** A verifier in the calling thread, on noble; runs anywhere, and blocks for 24 to 45 ms a proof, 8 ms in batches. */
export function createInlineVerifier(): ProofVerifier {
  let closed = false
  return {
    async verify(checks, options = {}) {
      if (closed) throw closedError()
      const stopAtFirstFailure = options.stopAtFirstFailure ?? false
      const groups = groupByKey(checks, checks.length)
      const answers = groups.map((group) =>
        checkEach(nobleEngine, group.verificationKey, group.items, { stopAtFirstFailure, confirmFailure: () => {} }),
      )
      return inOrder(checks.length, groups, answers, stopAtFirstFailure)
    },
    close() {
      closed = true
      return Promise.resolve()
    },
  }
}

export function closedError(): CipherlogError {
  return new CipherlogError('ERR_PROOF_CLOSED', 'The proof verifier is closed; create another one.')
}

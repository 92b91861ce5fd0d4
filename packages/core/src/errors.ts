/**
 * The error family. Codes are stable and documented in docs/ERRORS.md; texts are free and say what to do.
 *
 * Wrong arguments of a local caller are plain `TypeError` or `RangeError`. Everything that depends on input
 * from outside is a {@link CipherlogError}. A broken invariant stops the node ({@link InvariantViolation}).
 */

export interface ErrorOptionsWithDetails {
  readonly cause?: unknown
  /** Structured facts for programs and logs: never secrets, never plaintext. */
  readonly details?: Readonly<Record<string, unknown>>
}

/** Base class: a stable `code`, a sentence that says what to do, structured `details`. */
export class CipherlogError extends Error {
  override readonly name: string = 'CipherlogError'
  readonly code: string
  readonly details: Readonly<Record<string, unknown>>

  constructor(code: string, message: string, options: ErrorOptionsWithDetails = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.details = options.details ?? {}
  }
}

/** Bytes that are not a valid encoding of what they claim to be (`ERR_DECODE_*`). */
export class DecodeError extends CipherlogError {
  override readonly name = 'DecodeError'
}

/** Something signed, hashed or proven that does not check out (`ERR_VERIFY_*`): invalid, whoever it is from. */
export class VerificationError extends CipherlogError {
  override readonly name = 'VerificationError'
}

/** Valid, but not what this party agreed to accept: other origin, too few cosigners, too old (`ERR_POLICY_*`, `ERR_KEY_UNPROVEN`). */
export class PolicyError extends CipherlogError {
  override readonly name = 'PolicyError'
}

/** A proposal that has no effect on the log and leaves no leaf: fix it or go elsewhere, then send again. */
export class RefusedError extends CipherlogError {
  override readonly name = 'RefusedError'
}

/** This replica does not lead; `details.leaderId` names who may (hex), if known. */
export class NotLeaderError extends CipherlogError {
  override readonly name = 'NotLeaderError'
  constructor(leaderId: string | undefined) {
    super('ERR_NOT_LEADER', 'This replica does not lead its group; send the proposal to the leader.', {
      details: leaderId === undefined ? {} : { leaderId },
    })
  }
}

/** Sent, but no answer: it may have been appended. Resend the same bytes; the session answers exactly once. */
export class ProposalOutcomeUnknownError extends CipherlogError {
  override readonly name = 'ProposalOutcomeUnknownError'
  constructor(
    message = 'No answer came; the proposal may have been appended. Resend the same bytes to learn its outcome.',
  ) {
    super('ERR_OUTCOME_UNKNOWN', message)
  }
}

/** A statement the code relies on turned out false. The node must stop: a stopped node is repairable, a forked log is not. */
export class InvariantViolation extends CipherlogError {
  override readonly name = 'InvariantViolation'
  constructor(message: string, details: Readonly<Record<string, unknown>> = {}) {
    super('ERR_INVARIANT', message, { details })
  }
}

/** Throws {@link InvariantViolation} unless `condition` holds. Stays on in production. */
export function invariant(
  condition: boolean,
  message: string,
  details?: Readonly<Record<string, unknown>>,
): asserts condition {
  if (!condition) throw new InvariantViolation(message, details)
}

/** The `code` of a {@link CipherlogError}, else undefined. */
export function errorCode(error: unknown): string | undefined {
  return error instanceof CipherlogError ? error.code : undefined
}

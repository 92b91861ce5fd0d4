/**
 * Exit codes of `cipherlog`, after sysexits(3) where one fits. Scripts decide by them, so they are part of the
 * interface: README.md has the table.
 */
import { CipherlogError, errorCode } from '@cipherlog/core'

export const exitCodes = {
  done: 0,
  /** Something does not verify, or the cluster refused it; nothing was written. */
  refused: 1,
  /** The command line is wrong. */
  usage: 2,
  /** The command stands on the log and was rejected by verdict. */
  rejected: 3,
  /** No answer, or not yet: the same command may succeed later. */
  unavailable: 69,
  /** A fault of this software. */
  internal: 70,
  /** A file, passphrase, port or setting of this machine is wrong. */
  config: 78,
} as const

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes]

/** A command line that makes no sense (`ERR_USAGE`). */
export class UsageError extends CipherlogError {
  override readonly name = 'UsageError'
  constructor(message: string) {
    super('ERR_USAGE', message)
  }
}

const unavailable: ReadonlySet<string> = new Set([
  ...['ERR_UNAVAILABLE', 'ERR_BUSY', 'ERR_OUTCOME_UNKNOWN', 'ERR_NOT_LEADER', 'ERR_TIMEOUT', 'ERR_CANCELED'],
  ...['ERR_NOT_PUBLISHED', 'ERR_REPLICA_BEHIND', 'ERR_NODE_START', 'ERR_NODE_STOPPED', 'ERR_LOCKED'],
])

const config: ReadonlySet<string> = new Set([
  ...['ERR_CONFIG', 'ERR_DIRECTORY', 'ERR_FILE', 'ERR_LISTEN_ADDRESS_IN_USE', 'ERR_PROOF_ARTIFACT', 'ERR_KEYS_FILE'],
  ...['ERR_PASSPHRASE', 'ERR_ALREADY_RUNNING', 'ERR_KEY_MISSING', 'ERR_IDENTITY_MISSING'],
])

/** The exit code for whatever a command threw. */
export function exitCodeOf(error: unknown): ExitCode {
  const code = errorCode(error)
  if (code === undefined || code === 'ERR_INTERNAL' || code === 'ERR_INVARIANT') return exitCodes.internal
  if (code === 'ERR_USAGE') return exitCodes.usage
  if (code.startsWith('ERR_REJECTED_')) return exitCodes.rejected
  if (unavailable.has(code)) return exitCodes.unavailable
  if (config.has(code) || code.startsWith('ERR_KEYRING')) return exitCodes.config
  return exitCodes.refused
}

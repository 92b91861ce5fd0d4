/**
 * Errors of the SDK's own, beside the family in `@cipherlog/core`. A rejection is an outcome on the log; everything
 * else here means that nothing was sent, or that what came back is not believed.
 */
import { CipherlogError } from '@cipherlog/core'
import { verdictName, type Verdict } from '@cipherlog/format'

/**
 * The command stands on the log and changed nothing, for ever: `ERR_REJECTED_<VERDICT>`, such as
 * `ERR_REJECTED_REVOKED`. Sending it again would be a new command.
 */
export class RejectedError extends CipherlogError {
  override readonly name = 'RejectedError'
  readonly verdict: Verdict
  /** `origin#leaf.command`; of a session opening `origin#leaf`. */
  readonly position: string

  constructor(verdict: Verdict, position: string) {
    const name = verdictName(verdict)
    super(
      `ERR_REJECTED_${name.replace(/([A-Z])|-/g, '_$1').toUpperCase()}`,
      `The log holds the command at ${position}, rejected (${name}): it changed nothing. ${advice[name] ?? ''}`.trim(),
      { details: { verdict, position } },
    )
    this.verdict = verdict
    this.position = position
  }
}

const advice: Readonly<Record<string, string>> = {
  notAfter: 'It came too late; propose it anew.',
  revoked: 'The client is revoked; have an operator add a new one.',
  grant: 'No grant allows it; ask an operator for one.',
  epoch: 'Its key version no longer takes writes; the next seal uses the newer one.',
  envelope: 'Its key envelope is not on the log; the next seal makes a new one.',
  seen: 'The log does not know the checkpoint that this client has verified; compare checkpoints before going on.',
  proof: 'Its proof does not hold.',
  notVerified: 'An earlier proof of the same bundle does not hold.',
  rotationDue: 'The key version has taken its largest number of contributions; rotate it.',
  suspended: 'The cell is suspended after a failed opening; ask its readers.',
  limit: 'A limit or quota is used up; wait, or ask an operator for more.',
  atomic: 'Another command of its atomic bundle failed.',
  command: 'The namespace does not take such a command; check operation and arguments.',
}

/** A secret that this keyring does not hold. */
export function keyMissing(what: string, details: Readonly<Record<string, unknown>> = {}): CipherlogError {
  return new CipherlogError('ERR_KEY_MISSING', `The keyring does not hold ${what}; add it, or use another keyring.`, {
    details,
  })
}

/** What the core refuses from outside. Broken promises of its own are `InvariantViolation`s. */
import { CipherlogError } from '@cipherlog/core'

/** A message no correct replica sends (`ERR_RAFT_MESSAGE`). Nothing has changed: close the connection it came by. */
export class RaftMessageError extends CipherlogError {
  override readonly name = 'RaftMessageError'
  constructor(message: { readonly type: string; readonly from: string; readonly term: number }, what: string) {
    super('ERR_RAFT_MESSAGE', `A ${message.type} message ${what}; drop it and check the version of its sender.`, {
      details: { from: message.from, term: message.term },
    })
  }
}

/** Persisted state that no run of this core can have left behind (`ERR_RAFT_STATE`). Do not vote; repair from a peer. */
export class RaftStateError extends CipherlogError {
  override readonly name = 'RaftStateError'
  constructor(what: string, details: Readonly<Record<string, unknown>>) {
    super('ERR_RAFT_STATE', `The state read from disk ${what}; do not start from it, repair the log from a peer.`, {
      details,
    })
  }
}

/**
 * Admission: what a leader checks before it appends, so that a refusal costs no log space. Everything is decided
 * again when it is applied; this only keeps out what would be refused or rejected for its proofs or gates.
 */
import { CipherlogError, encode, RefusedError } from '@cipherlog/core'
import { logEntry } from '@cipherlog/format'
import { type Ledger, type Proposal, type StoredAnswer } from '@cipherlog/machine'
import { type ProofVerifier } from '@cipherlog/proof'

export type Admitted =
  | { readonly outcome: 'duplicate'; readonly answer: StoredAnswer }
  | { readonly outcome: 'admitted'; readonly payload: Uint8Array }

/**
 * @throws RefusedError and DecodeError as the ledger refuses; `ERR_GATE` and `ERR_PROOF` naming the command.
 */
export async function admit(ledger: Ledger, verifier: ProofVerifier, proposal: Proposal): Promise<Admitted> {
  const plan = ledger.plan(proposal)
  if (plan.outcome === 'refused') throw plan.error
  if (plan.outcome === 'duplicate') return plan
  const { inadmissible } = plan.effect
  if (inadmissible !== undefined) {
    throw new RefusedError(
      'ERR_GATE',
      `Command ${inadmissible.command} carries a malformed ciphertext: ${inadmissible.error.message}`,
      { cause: inadmissible.error, details: { command: inadmissible.command, reason: inadmissible.error.code } },
    )
  }
  const firstBad = (await verifier.verify(plan.proofs)).indexOf(false)
  if (firstBad !== -1) {
    const { command } = plan.proofs[firstBad]!
    throw new RefusedError(
      'ERR_PROOF',
      `The proof of command ${command} does not hold; prove it anew for exactly this ciphertext, key and command.`,
      { details: { command } },
    )
  }
  return { outcome: 'admitted', payload: encode(logEntry, [proposal.signed, proposal.body]) }
}

/** Refuses new work while too much is under way; the writer should wait and resend the same bytes. */
export function refuseIfBusy(pending: number, pendingMax: number): void {
  if (pending < pendingMax) return
  throw new CipherlogError(
    'ERR_BUSY',
    'The leader has more work than it can apply soon; wait and send the same bytes again.',
    {
      details: { retryAfterMs: 50 },
    },
  )
}

/**
 * Admission: what a leader checks before it appends, so that a refusal costs no log space. Everything is decided
 * again when it is applied; this only keeps out what would be refused or rejected for its proofs or gates.
 */
import { encode, equalBytes, RefusedError } from '@cipherlog/core'
import { entryKinds, logEntry } from '@cipherlog/format'
import { type Admission, type Ledger, type Proposal, type StoredAnswer } from '@cipherlog/machine'
import { type ProofVerifier } from '@cipherlog/proof'

export type Admitted =
  | { readonly outcome: 'duplicate'; readonly answer: StoredAnswer }
  | { readonly outcome: 'admitted'; readonly payload: Uint8Array }

/** Takes on work for an authenticated owner. @throws RefusedError `ERR_BUSY` */
export type Reserve = (work: Pick<Admission, 'owner' | 'costMs'>) => void

/** What admission asks about the cluster and this replica. */
export interface AdmissionContext {
  /** The newest rules that every voter has said it knows. */
  readonly votersSupport: () => number
  /** The entry before which this replica has paused; undefined while it applies. */
  readonly pausedAt: () => number | undefined
  /** SHA-256 of the signed array in a committed entry; undefined if there is no such entry, or it holds none. */
  readonly digestAt: (index: number) => Promise<Uint8Array | undefined>
}

/**
 * @param reserve - called once the signature has been checked and before anything expensive is.
 * @throws RefusedError and DecodeError as the ledger refuses; `ERR_GATE`, `ERR_PROOF` and `ERR_PROOF_UNCHECKED` naming
 * the command; `ERR_RULES_UNSUPPORTED`; `ERR_QUARANTINE_*`; `ERR_BUSY`. Anything else is a fault of this replica.
 */
export async function admit(
  ledger: Ledger,
  verifier: ProofVerifier,
  proposal: Proposal,
  reserve: Reserve,
  context: AdmissionContext,
): Promise<Admitted> {
  const plan = ledger.plan(proposal)
  if (plan.outcome === 'refused') throw plan.error
  if (plan.outcome === 'duplicate') return plan
  const { admission } = plan
  reserve(admission)
  checkRules(admission, context)
  if (proposal.kind === entryKinds.quarantine) await checkQuarantine(ledger, proposal, context)
  const { inadmissible } = admission
  if (inadmissible !== undefined) throw inadmissibleError(inadmissible)
  const proofs = [...plan.proofs, ...admission.proofsOfRejected]
  const firstBad = (await verifier.verify(proofs, { stopAtFirstFailure: true })).indexOf(false)
  if (firstBad !== -1) {
    const { command } = proofs[firstBad]!
    throw new RefusedError(
      'ERR_PROOF',
      `The proof of command ${command} does not hold; prove it anew for exactly this ciphertext, key and command.`,
      { details: { command } },
    )
  }
  return { outcome: 'admitted', payload: encode(logEntry, [proposal.signed, proposal.body]) }
}

function inadmissibleError({ command, error }: NonNullable<Admission['inadmissible']>): RefusedError {
  if (error instanceof RefusedError) return error
  return new RefusedError('ERR_GATE', `Command ${command} carries a malformed ciphertext: ${error.message}`, {
    cause: error,
    details: { command, reason: error.code },
  })
}

/** A voter that does not know the rules would stop at the event. */
function checkRules({ rulesVersion }: Admission, { votersSupport }: AdmissionContext): void {
  if (rulesVersion === undefined || rulesVersion <= votersSupport()) return
  throw new RefusedError(
    'ERR_RULES_UNSUPPORTED',
    `Not every voter has said that it knows rules ${rulesVersion}, all know ${votersSupport()}; upgrade every replica first.`,
    { details: { rulesVersion, votersSupport: votersSupport() } },
  )
}

/**
 * An entry can be set aside as long as its replicas stand before it: this leader must have paused, and its log must
 * hold the very entry. A replica that had applied it would have to go back.
 */
async function checkQuarantine(
  ledger: Ledger,
  { signed }: Proposal,
  { pausedAt, digestAt }: AdmissionContext,
): Promise<void> {
  const { index, digest } = ledger.openQuarantine(signed)
  if (pausedAt() === undefined) {
    throw new RefusedError(
      'ERR_QUARANTINE_NOT_PAUSED',
      'The leader applies its log and has not paused before any entry; let one that has paused lead, or mend the others.',
      { details: { index } },
    )
  }
  const found = await digestAt(index)
  if (found === undefined || !equalBytes(found, digest)) {
    throw new RefusedError(
      'ERR_QUARANTINE_ENTRY',
      `Log index ${index} holds no entry of that digest; take both from the status of a replica that has paused.`,
      { details: { index } },
    )
  }
}

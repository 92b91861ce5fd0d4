/**
 * Admission: what a leader checks before it appends, so that a refusal costs no log space. Everything is decided
 * again when it is applied; this only keeps out what would be refused or rejected for its proofs or gates.
 */
import { decode, encode, RefusedError, toHex } from '@cipherlog/core'
import {
  commandBundle,
  entryKinds,
  logEntry,
  sessionOpening,
  signedCommandBundle,
  signedSessionOpening,
} from '@cipherlog/format'
import { type Ledger, type Proposal, type StateMachine, type StoredAnswer } from '@cipherlog/machine'
import { type ProofVerifier } from '@cipherlog/proof'

export type Admitted =
  | { readonly outcome: 'duplicate'; readonly answer: StoredAnswer }
  | { readonly outcome: 'admitted'; readonly payload: Uint8Array }

/** Takes on work for an authenticated owner. @throws RefusedError `ERR_BUSY` */
export type Reserve = (proposal: Proposal) => void

/**
 * @param reserve - called once the signature has been checked and before anything expensive is.
 * @throws RefusedError and DecodeError as the ledger refuses; `ERR_GATE` and `ERR_PROOF` naming the command;
 * `ERR_BUSY`. Anything else is a fault of this replica.
 */
export async function admit(
  ledger: Ledger,
  verifier: ProofVerifier,
  proposal: Proposal,
  reserve: Reserve,
): Promise<Admitted> {
  const plan = ledger.plan(proposal)
  if (plan.outcome === 'refused') throw plan.error
  if (plan.outcome === 'duplicate') return plan
  reserve(proposal)
  const { inadmissible } = plan.effect
  if (inadmissible !== undefined) {
    throw new RefusedError(
      'ERR_GATE',
      `Command ${inadmissible.command} carries a malformed ciphertext: ${inadmissible.error.message}`,
      { cause: inadmissible.error, details: { command: inadmissible.command, reason: inadmissible.error.code } },
    )
  }
  const firstBad = (await verifier.verify(plan.proofs, { stopAtFirstFailure: true })).indexOf(false)
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

/** Decoding, a signature, sessions, the leaf: what every entry costs, in ms. */
const entryCostMs = 0.3
/** A command that no machine looks at: an envelope, or one that will be rejected. */
const commandCostMs = 0.02

/** Who proposes, and how many ms applying is expected to take. The proposal must have been accepted. */
export function workOf(
  proposal: Proposal,
  ledger: Ledger,
  machines: ReadonlyMap<string, StateMachine>,
): { readonly owner: string; readonly costMs: number } {
  switch (proposal.kind) {
    case entryKinds.sessionOpening: {
      const [opening] = decode(signedSessionOpening, proposal.signed)
      return { owner: toHex(decode(sessionOpening, opening).client), costMs: entryCostMs }
    }
    case entryKinds.commandBundle: {
      const [bytes] = decode(signedCommandBundle, proposal.signed)
      const { client, heads } = decode(commandBundle, bytes)
      const costMs = heads.reduce((sum, head) => {
        const namespace = ledger.registry.namespace(head.namespace)
        const machine = namespace === undefined ? undefined : machines.get(namespace.machine)
        const counts = machine?.operations.includes(head.op) === true && machine.accepts(head, namespace!)
        return sum + (counts ? machine.costOf(head) : commandCostMs)
      }, entryCostMs)
      return { owner: toHex(client), costMs }
    }
    default:
      return { owner: 'operators', costMs: entryCostMs }
  }
}

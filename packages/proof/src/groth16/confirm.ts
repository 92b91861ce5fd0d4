/**
 * A second opinion before a proof is called bad: no verdict may rest on one library's fault (mcl started twice in
 * a thread answers false to everything).
 */
import { DecodeError, InvariantViolation, toHex } from '@cipherlog/core'
import { type BatchItem } from './engine.ts'
import { verifyGroth16BatchNoble } from './noble.ts'

/** @throws {@link InvariantViolation}, which stops the node, if noble accepts what another engine refused. */
export function confirmFailureWithNoble(verificationKey: Uint8Array, item: BatchItem): void {
  if (!holds(verificationKey, item)) return
  throw new InvariantViolation('A proof that noble accepts was refused; the verifier can no longer be trusted.', {
    statement: toHex(item.statement),
    proof: toHex(item.proof),
  })
}

function holds(verificationKey: Uint8Array, item: BatchItem): boolean {
  try {
    return verifyGroth16BatchNoble(verificationKey, [item])
  } catch (error) {
    if (error instanceof DecodeError) return false
    throw error
  }
}

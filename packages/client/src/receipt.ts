/** Receipts: from a replica's word to a proof that holds for ever (DESIGN §5 "Receipt"). */
import { decode, VerificationError } from '@cipherlog/core'
import { receipt as receiptCodec, type TrustPolicy, type Verdict } from '@cipherlog/format'
import { parseTlogProof } from '@cipherlog/merkle/verify'
import { receiptBytesMax, verifyReceipt, type VerifiedReceipt } from '@cipherlog/registry'
import { type CommandOutcome } from './bundles.ts'
import { type RegistryView } from './registry-view.ts'
import { type Replicas } from './replicas.ts'

/** What is kept: `verifyReceipt({ receipt: bytes, trustPolicy, bundle, command })` holds for ever, offline. */
export interface Receipt extends VerifiedReceipt {
  /** The receipt, docs/formats/receipt.md. */
  readonly bytes: Uint8Array
  /** The signed bundle that the command was in. */
  readonly bundle: Uint8Array
  readonly verdict: Verdict
}

export interface ReceiptContext {
  readonly replicas: Replicas
  readonly view: RegistryView
  readonly trustPolicy: TrustPolicy
}

/** How long one replica waits for the quorum; other replicas are asked after that. */
const waitMs = 10_000

/**
 * Waits for the checkpoint that covers a command and verifies its receipt: inclusion, quorum, the bundle, the
 * position and verdict that the replica had signed, and that the checkpoint is one with all seen before.
 * @throws VerificationError `ERR_VERIFY_ANSWER` if the log says otherwise than the replica did, with both as evidence.
 */
export function fetchReceipt(context: ReceiptContext, outcome: CommandOutcome): Promise<Receipt> {
  const { replicas, view, trustPolicy } = context
  const { leaf, command, verdict, signed, signedAnswer } = outcome
  return replicas.read(async (connection) => {
    const bytes = await connection.receipt(leaf, waitMs)
    const verified = verifyReceipt({ receipt: bytes, trustPolicy, bundle: signed, command })
    if (verified.leafIndex !== leaf || verified.verdict !== verdict) {
      throw new VerificationError(
        'ERR_VERIFY_ANSWER',
        `The log has the command at ${verified.position} otherwise than a replica signed; keep answer and receipt.`,
        { details: { answer: signedAnswer, receipt: bytes } },
      )
    }
    const { tlogProof } = decode(receiptCodec, bytes, receiptBytesMax)
    await view.accept(connection, parseTlogProof(tlogProof).checkpoint)
    return { ...verified, verdict, bytes, bundle: signed }
  })
}

/**
 * k of n operators' signatures, as they stand beside key events, quarantines and group starts.
 *
 * Invariant: every signature is by a distinct operator and good, so that a leaf holds nothing unexplained.
 */
import { type Label } from '@cipherlog/crypto/hash'
import { signLabelled, verifyLabelled } from '@cipherlog/crypto/signature'
import { roles, type KeyQuorum, type SignedKeyEvent } from '@cipherlog/format'
import { refuse } from './refusal.ts'

export interface OperatorSigner {
  /** Index among the operators. */
  readonly index: number
  /** 32-byte seed. */
  readonly secretKey: Uint8Array
}

/** [role, index, signature]. */
export type OperatorSignature = SignedKeyEvent[1][number]

/** One operator's signature with its place. */
export function signAsOperator(
  label: Label,
  bytes: Uint8Array,
  { index, secretKey }: OperatorSigner,
): OperatorSignature {
  return [roles.operator, index, signLabelled(secretKey, label, bytes)]
}

/**
 * Checks that k distinct operators signed `bytes`, and nobody else.
 * @param what - `key event`, `quarantine`: for the message.
 * @throws {@link RefusedError} `ERR_REGISTRY_SIGNATURES`.
 */
export function checkSignedByOperators(
  what: string,
  label: Label,
  bytes: Uint8Array,
  signatures: readonly OperatorSignature[],
  operators: KeyQuorum,
): void {
  const signed = new Set<number>()
  for (const [role, index, signature] of signatures) {
    const key = operators.keys[index]
    if (role !== roles.operator || key === undefined) {
      refuse('ERR_REGISTRY_SIGNATURES', `Signer ${index} of role ${role} is no operator; leave the signature out.`)
    }
    if (signed.has(index)) {
      refuse('ERR_REGISTRY_SIGNATURES', `Operator ${index} has signed twice; keep one of the signatures.`)
    }
    if (!verifyLabelled(key, label, bytes, signature)) {
      refuse(
        'ERR_REGISTRY_SIGNATURES',
        `The signature of operator ${index} does not verify; have the ${what} signed again.`,
      )
    }
    signed.add(index)
  }
  if (signed.size < operators.threshold) {
    refuse(
      'ERR_REGISTRY_SIGNATURES',
      `${signed.size} operators have signed, ${operators.threshold} must; collect more signatures over the same bytes.`,
    )
  }
}

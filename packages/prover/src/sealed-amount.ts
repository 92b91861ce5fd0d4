// SPDX-License-Identifier: GPL-3.0-or-later
/** What the prover of `sealed-amount` must know, and how it becomes the circuit's input. */
import { CipherlogError, bytesToBigint } from '@cipherlog/core'
import { circuits, type Circuit } from '@cipherlog/proof'

/** Everything about one sealed amount. `amount` and `randomness` are secret and leave this process only as a proof. */
export interface SealedAmountWitness {
  /** The range that is proven: the amount is below 2^bits. */
  readonly bits: 16 | 32
  readonly amount: bigint
  /** r of the encryption, in [1, 2^250). */
  readonly randomness: bigint
  /** 64 bytes x ‖ y; checked when it was registered. */
  readonly publicKey: Uint8Array
  /** 128 bytes: the encryption of `amount` under `publicKey` with `randomness`. */
  readonly ciphertext: Uint8Array
  /** The command's context H, 32 bytes. */
  readonly context: Uint8Array
  /** The key that the cluster accepts, from its registry; a proof under another one would be refused there. */
  readonly verificationKey?: Uint8Array | undefined
}

export type ProveStage = 'queued' | 'witness' | 'proving' | 'checked'

export interface ProveOptions {
  readonly onProgress?: ((stage: ProveStage) => void) | undefined
  /** Gives up: a queued proof is forgotten, a running one ends with its thread. */
  readonly signal?: AbortSignal | undefined
}

export type CircuitInput = Readonly<Record<string, bigint | readonly bigint[]>>

/**
 * Checks a witness and turns it into the circuit's input and the statement (32 bytes) that its proof must have.
 * @throws RangeError if the amount or the randomness is out of range or a length is wrong.
 * @throws {@link DecodeError} `ERR_ELGAMAL_*` if the ciphertext or key is malformed.
 */
export function sealedAmountInput(witness: SealedAmountWitness): {
  circuit: Circuit
  input: CircuitInput
  statement: Uint8Array
} {
  const circuit = witness.bits === 16 ? circuits['sealed-amount-16'] : circuits['sealed-amount-32']
  const { amount, randomness, publicKey, context } = witness
  if (amount < 0n || amount >= 1n << BigInt(circuit.rangeBits))
    throw new RangeError(`an amount of ${circuit.id} is 0 to 2^${circuit.rangeBits} - 1`)
  if (randomness < 1n || randomness >= 1n << 250n) throw new RangeError('the randomness is 1 to 2^250 - 1')
  const statement = circuit.statement(witness)
  const pk = [bytesToBigint(publicKey.subarray(0, 32)), bytesToBigint(publicKey.subarray(32, 64))]
  const ctx = bytesToBigint(context.subarray(0, 31))
  return { circuit, input: { amount, r: randomness, pk, ctx }, statement }
}

export function mismatchError(): CipherlogError {
  return new CipherlogError(
    'ERR_PROVE_MISMATCH',
    'The ciphertext is not the encryption of this amount with this randomness under this key; seal again, then prove.',
  )
}

/**
 * The circuits this software knows: what each one's single public signal is made from, and what it proves.
 * Which of them a cluster accepts, and under which verification keys, stands in its genesis and operator events.
 */
import { sealedAmountStatement, type SealedAmountInputs } from './statements/sealed-amount.ts'

/** Proves that an ElGamal ciphertext holds an amount in [0, 2^rangeBits). */
export interface Circuit {
  readonly id: CircuitId
  /** Amounts are in [0, 2^rangeBits). */
  readonly rangeBits: 16 | 32
  readonly publicSignals: 1
  /** The statement, 32 bytes, that a verifier builds itself from canonical bytes. */
  readonly statement: (inputs: SealedAmountInputs) => Uint8Array
}

export type CircuitId = 'sealed-amount-16' | 'sealed-amount-32'

/** By id. */
export const circuits: Readonly<Record<CircuitId, Circuit>> = Object.freeze({
  'sealed-amount-16': sealedAmount(16),
  'sealed-amount-32': sealedAmount(32),
})

/** The circuit of that id, or undefined if this software does not know it. */
export function findCircuit(id: string): Circuit | undefined {
  return Object.hasOwn(circuits, id) ? circuits[id as CircuitId] : undefined
}

function sealedAmount(rangeBits: 16 | 32): Circuit {
  return Object.freeze({
    id: `sealed-amount-${rangeBits}`,
    rangeBits,
    publicSignals: 1,
    statement: sealedAmountStatement,
  } as const)
}

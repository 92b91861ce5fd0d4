/**
 * Poseidon (https://eprint.iacr.org/2019/458) as circomlib instantiates it: over the scalar field of BN254,
 * S-box x⁵, 8 full rounds, width t = number of inputs + 1, initial state 0, output = first element.
 *
 * Constants come from the paper's Grain generator, made once per width (10 to 40 ms) on first use.
 * Invariant: inputs are canonical field elements; noble would silently reduce larger ones.
 */
import { Field } from '@noble/curves/abstract/modular.js'
import { grainGenConstants, poseidon as poseidonPermutation, type PoseidonFn } from '@noble/curves/abstract/poseidon.js'

/** r, the order of BN254's groups and of the field that circuits and Baby Jubjub coordinates live in. */
export const bn254ScalarOrder = 21888242871839275222246405745257275088548364400416034343698204186575808495617n

const field = Field(bn254ScalarOrder)
const fullRounds = 8
/** Partial rounds for t = 2 … 17, circomlib's table (the paper's, for 128-bit security). */
const partialRounds = [56, 57, 56, 60, 60, 63, 64, 63, 60, 66, 60, 65, 70, 60, 64, 68]
/** Most inputs that one call takes. */
const inputsMax = partialRounds.length

const permutations = new Map<number, PoseidonFn>()

function permutationFor(inputCount: number): PoseidonFn {
  let permutation = permutations.get(inputCount)
  if (permutation === undefined) {
    const options = {
      Fp: field,
      t: inputCount + 1,
      roundsFull: fullRounds,
      roundsPartial: partialRounds[inputCount - 1]!,
      sboxPower: 5,
    }
    permutation = poseidonPermutation({ ...options, ...grainGenConstants(options) })
    permutations.set(inputCount, permutation)
  }
  return permutation
}

/**
 * circomlib's `Poseidon(n)` of 1 to 16 field elements.
 * @throws RangeError on another number of inputs or an input outside 0 … r−1 ({@link bn254ScalarOrder}).
 */
export function poseidon(inputs: readonly bigint[]): bigint {
  if (inputs.length < 1 || inputs.length > inputsMax)
    throw new RangeError(`Poseidon takes 1 to ${inputsMax} inputs, not ${inputs.length}`)
  for (const input of inputs)
    if (input < 0n || input >= bn254ScalarOrder)
      throw new RangeError('a Poseidon input is not a canonical field element')
  return permutationFor(inputs.length)([0n, ...inputs])[0]!
}

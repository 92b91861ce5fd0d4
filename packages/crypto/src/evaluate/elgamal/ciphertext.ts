/**
 * ElGamal ciphertexts: c1 = r·G, c2 = m·G + r·PK; 128 bytes c1.x ‖ c1.y ‖ c2.x ‖ c2.y (DESIGN §5, "Proof bytes").
 *
 * Invariant: a sum of canonical ciphertexts is canonical bytes again, whatever its value: a cell may become the
 * identity (a writer adds r, then L − r), so nothing on the way of a sum refuses that.
 */
import { normalizeZ } from '@noble/curves/abstract/curve.js'
import { babyjubjub } from '@noble/curves/misc.js'
import { concatBytes, DecodeError } from '@cipherlog/core'
import { type AffinePoint, decodeElgamalPoint, elgamalPointBytes, encodeElgamalPoint, isIdentity } from './point.ts'

const { Point } = babyjubjub

export interface ElgamalCiphertext {
  readonly c1: AffinePoint
  readonly c2: AffinePoint
}

/** Bytes of an encoded ciphertext. */
export const elgamalCiphertextBytes = 2 * elgamalPointBytes

const identity: AffinePoint = Object.freeze({ x: 0n, y: 1n })

/** Two identities, 128 bytes: what a cell starts as. Shared; do not write to it. */
export const elgamalIdentity: Uint8Array = encodeElgamalCiphertext({ c1: identity, c2: identity })

/**
 * Decodes attacker-controlled bytes. That the points are in the subgroup follows from the proof of a contribution.
 * @param options.allowIdentity - false for a contribution, whose c1 must not be the identity; true for a cell.
 * @throws {@link DecodeError} `ERR_ELGAMAL_LENGTH`, `ERR_ELGAMAL_RANGE`, `ERR_ELGAMAL_CURVE`, `ERR_ELGAMAL_IDENTITY`.
 */
export function decodeElgamalCiphertext(
  bytes: Uint8Array,
  options: { readonly allowIdentity: boolean },
): ElgamalCiphertext {
  if (bytes.length !== elgamalCiphertextBytes) {
    throw new DecodeError('ERR_ELGAMAL_LENGTH', `An ElGamal ciphertext is 128 bytes, not ${bytes.length}.`)
  }
  const c1 = decodeElgamalPoint(bytes, 0)
  const c2 = decodeElgamalPoint(bytes, elgamalPointBytes)
  if (!options.allowIdentity && isIdentity(c1)) {
    throw new DecodeError(
      'ERR_ELGAMAL_IDENTITY',
      'c1 is the identity, which shows the amount; encrypt with a random r.',
    )
  }
  return { c1, c2 }
}

/** c1.x ‖ c1.y ‖ c2.x ‖ c2.y, 128 bytes. */
export function encodeElgamalCiphertext(ciphertext: ElgamalCiphertext): Uint8Array {
  return concatBytes(encodeElgamalPoint(ciphertext.c1), encodeElgamalPoint(ciphertext.c2))
}

/**
 * The sum of two ciphertexts, which opens to the sum of their amounts; canonical bytes, fresh. Two point additions
 * and one inversion for both.
 * @throws {@link DecodeError} as {@link decodeElgamalCiphertext}; identities are allowed.
 */
export function addElgamal(a: Uint8Array, b: Uint8Array): Uint8Array {
  const left = decodeElgamalCiphertext(a, { allowIdentity: true })
  const right = decodeElgamalCiphertext(b, { allowIdentity: true })
  const [c1, c2] = normalizeZ(Point, [
    Point.fromAffine(left.c1).add(Point.fromAffine(right.c1)),
    Point.fromAffine(left.c2).add(Point.fromAffine(right.c2)),
  ])
  return encodeElgamalCiphertext({ c1: c1!.toAffine(), c2: c2!.toAffine() })
}

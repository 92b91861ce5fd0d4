/**
 * Points of Baby Jubjub (EIP-2494) in circomlib's form: a·x² + y² = 1 + d·x²·y² over the scalar field of BN254
 * with a = 168700, d = 168696, and Base8 as generator G of the subgroup of prime order L; cofactor 8.
 *
 * A point is 64 bytes x ‖ y, each 32 bytes big-endian and < r. Invariant: one point, one encoding; so ranges are
 * compared here, before any library that would reduce a larger number. (0, 1) is the identity and on the curve.
 */
import { babyjubjub } from '@noble/curves/misc.js'
import { DecodeError } from '@cipherlog/core'
import { bn254ScalarOrder } from '../../hash/poseidon.ts'

export interface AffinePoint {
  readonly x: bigint
  readonly y: bigint
}

/** Bytes of an encoded point. */
export const elgamalPointBytes = 64

/** L, the prime order of the subgroup that G generates. */
export const babyJubjubOrder = 2736030358979909402780800718157159386076813972158567259200215660948447373041n

const a = 168700n
const d = 168696n

/**
 * The point at byte `at`, which is attacker-controlled. It may be the identity or outside the subgroup.
 * @throws {@link DecodeError} `ERR_ELGAMAL_LENGTH`, `ERR_ELGAMAL_RANGE` (a coordinate ≥ r) or `ERR_ELGAMAL_CURVE`.
 */
export function decodeElgamalPoint(bytes: Uint8Array, at = 0): AffinePoint {
  if (bytes.length - at < elgamalPointBytes) {
    throw new DecodeError('ERR_ELGAMAL_LENGTH', 'A Baby Jubjub point is 64 bytes x ‖ y; send both coordinates.')
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, elgamalPointBytes)
  const x = getCoordinate(view, 0)
  const y = getCoordinate(view, 32)
  if (x >= bn254ScalarOrder || y >= bn254ScalarOrder) {
    throw new DecodeError('ERR_ELGAMAL_RANGE', 'A coordinate is not below the field order; reduce it before encoding.')
  }
  const x2 = (x * x) % bn254ScalarOrder
  const y2 = (y * y) % bn254ScalarOrder
  if ((a * x2 + y2 - 1n - d * ((x2 * y2) % bn254ScalarOrder)) % bn254ScalarOrder !== 0n) {
    throw new DecodeError('ERR_ELGAMAL_CURVE', 'The point is not on Baby Jubjub (a = 168700, d = 168696).')
  }
  return { x, y }
}

/** x ‖ y, 64 bytes. */
export function encodeElgamalPoint(point: AffinePoint): Uint8Array {
  const out = new Uint8Array(elgamalPointBytes)
  const view = new DataView(out.buffer)
  setCoordinate(view, 0, point.x)
  setCoordinate(view, 32, point.y)
  return out
}

/**
 * Checks a public key at registration; about a millisecond.
 * @param bytes - 64 bytes x ‖ y.
 * @returns the decoded point.
 * @throws {@link DecodeError} as {@link decodeElgamalPoint}, also on other lengths, `ERR_ELGAMAL_IDENTITY`, or
 * `ERR_ELGAMAL_SUBGROUP` if its order is not L.
 */
export function checkElgamalPublicKey(bytes: Uint8Array): AffinePoint {
  if (bytes.length !== elgamalPointBytes) {
    throw new DecodeError('ERR_ELGAMAL_LENGTH', `An ElGamal public key is 64 bytes, not ${bytes.length}.`)
  }
  const point = decodeElgamalPoint(bytes)
  if (isIdentity(point)) {
    throw new DecodeError(
      'ERR_ELGAMAL_IDENTITY',
      'The public key is the identity; generate a key with a nonzero scalar.',
    )
  }
  if (!babyjubjub.Point.fromAffine(point).isTorsionFree()) {
    throw new DecodeError('ERR_ELGAMAL_SUBGROUP', 'The public key is outside the prime-order subgroup; it is not sk·G.')
  }
  return point
}

/** Whether the point is (0, 1). */
export function isIdentity(point: AffinePoint): boolean {
  return point.x === 0n && point.y === 1n
}

/** 32 big-endian bytes: four reads are several times faster than going through a hex string. */
function getCoordinate(view: DataView, at: number): bigint {
  return (
    (view.getBigUint64(at) << 192n) |
    (view.getBigUint64(at + 8) << 128n) |
    (view.getBigUint64(at + 16) << 64n) |
    view.getBigUint64(at + 24)
  )
}

function setCoordinate(view: DataView, at: number, value: bigint): void {
  view.setBigUint64(at, value >> 192n)
  view.setBigUint64(at + 8, (value >> 128n) & 0xffff_ffff_ffff_ffffn)
  view.setBigUint64(at + 16, (value >> 64n) & 0xffff_ffff_ffff_ffffn)
  view.setBigUint64(at + 24, value & 0xffff_ffff_ffff_ffffn)
}

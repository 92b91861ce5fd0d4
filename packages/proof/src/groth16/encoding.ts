/**
 * The bytes of Groth16 proofs and verification keys over BN254 (README.md, "Bytes"): points in
 * gnark-crypto's compressed form (https://github.com/Consensys/gnark-crypto, ecc/bn254/marshal.go), each
 * coordinate 32 bytes big-endian.
 *
 *     G1   x, 32 bytes              G2   x.c1 ‖ x.c0, 64 bytes
 *     the two top bits: 10 if y ≤ (p−1)/2, 11 if larger; of an Fp2 element c1 decides, c0 if c1 = 0
 *     proof             A (G1) ‖ B (G2) ‖ C (G1)                                     128 bytes
 *     verification key  alpha (G1) ‖ beta (G2) ‖ gamma (G2) ‖ delta (G2) ‖ IC[0..n]  224 + 32·(n + 1) bytes
 *
 * Invariant: every accepted encoding is the only one of its points, and no point is the identity. A proof is
 * nevertheless malleable, (−A, −B, C) holds too: never tell proofs apart by their bytes.
 */
import { bytesToBigint, bigintToBytes, DecodeError } from '@cipherlog/core'
import { bn254ScalarOrder } from '@cipherlog/crypto/hash'
import { bn254 } from '@noble/curves/bn254.js'

/** Length of a proof in bytes. */
export const proofBytes = 128
/** Length in bytes of a public signal: a scalar, big-endian, below r. */
export const signalBytes = 32
/** Most public signals that a verification key may have: ours have one. */
export const publicSignalsMax = 16

/** p, the order of the field of G1's coordinates. */
export const baseFieldOrder: bigint = bn254.fields.Fp.ORDER
const halfOrder = (baseFieldOrder - 1n) / 2n

/** An element c0 + c1·u of Fp2, as circom and noble write it. */
export interface Fp2 {
  readonly c0: bigint
  readonly c1: bigint
}
export interface G1Affine {
  readonly x: bigint
  readonly y: bigint
}
export interface G2Affine {
  readonly x: Fp2
  readonly y: Fp2
}
export interface Groth16Proof {
  readonly a: G1Affine
  readonly b: G2Affine
  readonly c: G1Affine
}
export interface VerificationKey {
  readonly alpha: G1Affine
  readonly beta: G2Affine
  readonly gamma: G2Affine
  readonly delta: G2Affine
  /** One more than there are public signals. */
  readonly ic: readonly G1Affine[]
}

/** A point as it stands in the bytes: checked to be canonical, not yet to be on the curve. */
export interface CompressedG1 {
  readonly x: bigint
  readonly largerY: boolean
}
export interface CompressedG2 {
  readonly x: Fp2
  readonly largerY: boolean
}

/** What a proof's or key's bytes are cut into, for a library that lifts points by itself. */
export interface CompressedProof {
  readonly a: CompressedG1
  readonly b: CompressedG2
  readonly c: CompressedG1
}
export interface CompressedKey {
  readonly alpha: CompressedG1
  readonly beta: CompressedG2
  readonly gamma: CompressedG2
  readonly delta: CompressedG2
  readonly ic: readonly CompressedG1[]
}

/**
 * Cuts proof bytes into compressed points.
 * @throws {@link DecodeError} `ERR_PROOF_LENGTH` unless 128 bytes, `ERR_PROOF_FLAGS` on top bits 00 or 01
 * (uncompressed, infinity), `ERR_PROOF_COORDINATE` on one not below p.
 */
export function cutProof(bytes: Uint8Array): CompressedProof {
  if (bytes.length !== proofBytes) {
    throw new DecodeError('ERR_PROOF_LENGTH', `A proof has ${proofBytes} bytes, not ${bytes.length}; send it whole.`)
  }
  return { a: cutG1(bytes, 0, 'A'), b: cutG2(bytes, 32, 'B'), c: cutG1(bytes, 96, 'C') }
}

/** Cuts the bytes of a verification key into compressed points. @throws {@link DecodeError} as {@link cutProof}. */
export function cutVerificationKey(bytes: Uint8Array): CompressedKey {
  const icCount = (bytes.length - 224) / 32
  if (!Number.isInteger(icCount) || icCount < 1 || icCount > publicSignalsMax + 1) {
    throw new DecodeError(
      'ERR_PROOF_LENGTH',
      `A verification key has 256 + 32 bytes for each of at most ${publicSignalsMax} public signals, not ${bytes.length}.`,
    )
  }
  return {
    alpha: cutG1(bytes, 0, 'alpha'),
    beta: cutG2(bytes, 32, 'beta'),
    gamma: cutG2(bytes, 96, 'gamma'),
    delta: cutG2(bytes, 160, 'delta'),
    ic: Array.from({ length: icCount }, (_, i) => cutG1(bytes, 224 + 32 * i, `IC[${i}]`)),
  }
}

/**
 * The public signals of a proof: `count` scalars, 32 bytes big-endian each.
 * @throws {@link DecodeError} `ERR_PROOF_STATEMENT` on another length or a signal not below r.
 */
export function decodeSignals(bytes: Uint8Array, count: number): bigint[] {
  if (bytes.length !== signalBytes * count) {
    throw new DecodeError(
      'ERR_PROOF_STATEMENT',
      `This key's statements have ${signalBytes * count} bytes, not ${bytes.length}; build the statement for this circuit.`,
    )
  }
  return Array.from({ length: count }, (_, i) => {
    const signal = bytesToBigint(bytes.subarray(signalBytes * i, signalBytes * (i + 1)))
    if (signal >= bn254ScalarOrder) {
      throw new DecodeError(
        'ERR_PROOF_STATEMENT',
        `Public signal ${i} is not below the scalar field's order; reduce it.`,
      )
    }
    return signal
  })
}

/** @throws {@link DecodeError} as {@link cutProof}; `ERR_PROOF_POINT` off the curve, `ERR_PROOF_SUBGROUP` outside the subgroup. */
export function decodeProof(bytes: Uint8Array): Groth16Proof {
  const { a, b, c } = cutProof(bytes)
  return { a: liftG1(a, 'A'), b: liftG2(b, 'B'), c: liftG1(c, 'C') }
}

/** The 128 bytes of a proof. @throws {@link DecodeError} as {@link decodeProof} if a point is none that it would accept. */
export function encodeProof(proof: Groth16Proof): Uint8Array {
  const out = new Uint8Array(proofBytes)
  writeG1(out, 0, proof.a, 'A')
  writeG2(out, 32, proof.b, 'B')
  writeG1(out, 96, proof.c, 'C')
  return out
}

/** @throws {@link DecodeError} as {@link decodeProof}. */
export function decodeVerificationKey(bytes: Uint8Array): VerificationKey {
  const key = cutVerificationKey(bytes)
  return {
    alpha: liftG1(key.alpha, 'alpha'),
    beta: liftG2(key.beta, 'beta'),
    gamma: liftG2(key.gamma, 'gamma'),
    delta: liftG2(key.delta, 'delta'),
    ic: key.ic.map((point, i) => liftG1(point, `IC[${i}]`)),
  }
}

/** 224 + 32·IC bytes, 288 for one public signal. @throws {@link DecodeError} as {@link encodeProof}. */
export function encodeVerificationKey(key: VerificationKey): Uint8Array {
  if (key.ic.length < 1 || key.ic.length > publicSignalsMax + 1) {
    throw new DecodeError('ERR_PROOF_LENGTH', `A verification key has at most ${publicSignalsMax} public signals.`)
  }
  const out = new Uint8Array(224 + 32 * key.ic.length)
  writeG1(out, 0, key.alpha, 'alpha')
  writeG2(out, 32, key.beta, 'beta')
  writeG2(out, 96, key.gamma, 'gamma')
  writeG2(out, 160, key.delta, 'delta')
  key.ic.forEach((point, i) => writeG1(out, 224 + 32 * i, point, `IC[${i}]`))
  return out
}

function cutG1(bytes: Uint8Array, at: number, what: string): CompressedG1 {
  return { x: coordinate(bytes, at, true, what), largerY: largerYOf(bytes[at]!, what) }
}

function cutG2(bytes: Uint8Array, at: number, what: string): CompressedG2 {
  return {
    x: { c1: coordinate(bytes, at, true, what), c0: coordinate(bytes, at + 32, false, what) },
    largerY: largerYOf(bytes[at]!, what),
  }
}

function largerYOf(first: number, what: string): boolean {
  if (first >> 6 === 2) return false
  if (first >> 6 === 3) return true
  throw new DecodeError(
    'ERR_PROOF_FLAGS',
    `${what} is infinity or not compressed; send the compressed form of a point.`,
  )
}

/** 32 bytes big-endian, below p, without the flag bits that a point's first coordinate carries. */
function coordinate(bytes: Uint8Array, at: number, hasFlags: boolean, what: string): bigint {
  const word = bytesToBigint(bytes.subarray(at, at + 32))
  const value = hasFlags ? BigInt.asUintN(254, word) : word
  if (value >= baseFieldOrder) {
    throw new DecodeError('ERR_PROOF_COORDINATE', `A coordinate of ${what} is not below the field's order; reduce it.`)
  }
  return value
}

function isLarger(y: Fp2 | bigint): boolean {
  if (typeof y === 'bigint') return y > halfOrder
  return y.c1 === 0n ? y.c0 > halfOrder : y.c1 > halfOrder
}

/** The one of y and −y that the flag names; `ERR_PROOF_POINT` if `ySquared` has no root. */
function rootOf<T extends Fp2 | bigint>(
  field: { sqrt(value: T): T; neg(value: T): T },
  ySquared: T,
  largerY: boolean,
  what: string,
): T {
  let y: T
  try {
    y = field.sqrt(ySquared)
  } catch (cause) {
    throw new DecodeError('ERR_PROOF_POINT', `${what} is not on the curve; send a proof made for BN254.`, { cause })
  }
  return isLarger(y) === largerY ? y : field.neg(y)
}

function liftG1({ x, largerY }: CompressedG1, what: string): G1Affine {
  const { Fp } = bn254.fields
  return { x, y: rootOf(Fp, Fp.add(Fp.mul(Fp.sqr(x), x), bn254.G1.Point.CURVE().b), largerY, what) }
}

function liftG2({ x, largerY }: CompressedG2, what: string): G2Affine {
  const { Fp2 } = bn254.fields
  const point = { x, y: rootOf(Fp2, Fp2.add(Fp2.mul(Fp2.sqr(x), x), bn254.G2.Point.CURVE().b), largerY, what) }
  return checkG2(point, what)
}

/** G1 has cofactor 1, so the curve is the subgroup; the twist of G2 has a large cofactor. */
function checkG2(point: G2Affine, what: string): G2Affine {
  if (!bn254.G2.Point.fromAffine(point).isTorsionFree()) {
    throw new DecodeError(
      'ERR_PROOF_SUBGROUP',
      `${what} is outside the prime-order subgroup; send a proof made for BN254.`,
    )
  }
  return point
}

function checkCoordinates(what: string, ...values: readonly bigint[]): void {
  for (const value of values) {
    if (value < 0n || value >= baseFieldOrder) {
      throw new DecodeError(
        'ERR_PROOF_COORDINATE',
        `A coordinate of ${what} is not below the field's order; reduce it.`,
      )
    }
  }
}

function writeG1(out: Uint8Array, at: number, point: G1Affine, what: string): void {
  checkCoordinates(what, point.x, point.y)
  const largerY = isLarger(point.y)
  if (liftG1({ x: point.x, largerY }, what).y !== point.y) {
    throw new DecodeError('ERR_PROOF_POINT', `${what} is not on the curve; send a proof made for BN254.`)
  }
  out.set(bigintToBytes(point.x, 32), at)
  out[at]! |= largerY ? 0xc0 : 0x80
}

function writeG2(out: Uint8Array, at: number, point: G2Affine, what: string): void {
  checkCoordinates(what, point.x.c0, point.x.c1, point.y.c0, point.y.c1)
  const largerY = isLarger(point.y)
  if (!bn254.fields.Fp2.eql(liftG2({ x: point.x, largerY }, what).y, point.y)) {
    throw new DecodeError('ERR_PROOF_POINT', `${what} is not on the curve; send a proof made for BN254.`)
  }
  out.set(bigintToBytes(point.x.c1, 32), at)
  out.set(bigintToBytes(point.x.c0, 32), at + 32)
  out[at]! |= largerY ? 0xc0 : 0x80
}

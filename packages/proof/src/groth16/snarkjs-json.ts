/**
 * Proofs and verification keys as snarkjs writes them in JSON: decimal strings, projective with z = 1, Fp2 as
 * [c0, c1]. snarkjs itself is not needed here. The objects are treated as hostile.
 */
import { DecodeError } from '@cipherlog/core'
import {
  encodeProof,
  encodeVerificationKey,
  publicSignalsMax,
  type Fp2,
  type G1Affine,
  type G2Affine,
} from './encoding.ts'

/**
 * The 128 bytes of a snarkjs proof object.
 * @throws {@link DecodeError} `ERR_PROOF_JSON` on another shape, else as `encodeProof`.
 */
export function proofFromSnarkjs(json: unknown): Uint8Array {
  const proof = groth16Object(json)
  return encodeProof({ a: g1(proof['pi_a']), b: g2(proof['pi_b']), c: g1(proof['pi_c']) })
}

/**
 * The bytes of a snarkjs verification key object.
 * @throws {@link DecodeError} `ERR_PROOF_JSON` on another shape, else as `encodeVerificationKey`.
 */
export function verificationKeyFromSnarkjs(json: unknown): Uint8Array {
  const key = groth16Object(json)
  const ic = key['IC']
  if (!Array.isArray(ic) || ic.length > publicSignalsMax + 1 || ic.length !== Number(key['nPublic']) + 1) throw bad()
  return encodeVerificationKey({
    alpha: g1(key['vk_alpha_1']),
    beta: g2(key['vk_beta_2']),
    gamma: g2(key['vk_gamma_2']),
    delta: g2(key['vk_delta_2']),
    ic: ic.map(g1),
  })
}

function bad(): DecodeError {
  return new DecodeError('ERR_PROOF_JSON', 'This is not what snarkjs writes for Groth16 over bn128; export it again.')
}

function groth16Object(json: unknown): Record<string, unknown> {
  if (typeof json !== 'object' || json === null) throw bad()
  const object = json as Record<string, unknown>
  if (object['protocol'] !== 'groth16' || object['curve'] !== 'bn128') throw bad()
  return object
}

function list(value: unknown, length: number): readonly unknown[] {
  if (!Array.isArray(value) || value.length !== length) throw bad()
  return value as readonly unknown[]
}

function field(value: unknown): bigint {
  if (typeof value !== 'string' || value.length > 78 || !/^(0|[1-9][0-9]*)$/.test(value)) throw bad()
  return BigInt(value)
}

function fp2(value: unknown): Fp2 {
  const [c0, c1] = list(value, 2)
  return { c0: field(c0), c1: field(c1) }
}

function g1(value: unknown): G1Affine {
  const [x, y, z] = list(value, 3)
  if (field(z) !== 1n) throw bad()
  return { x: field(x), y: field(y) }
}

function g2(value: unknown): G2Affine {
  const [x, y, z] = list(value, 3)
  const one = fp2(z)
  if (one.c0 !== 1n || one.c1 !== 0n) throw bad()
  return { x: fp2(x), y: fp2(y) }
}

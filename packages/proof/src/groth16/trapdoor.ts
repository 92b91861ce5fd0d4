/**
 * A verification key whose trapdoor is known, and proofs simulated with it: the zero-knowledge simulator of
 * Groth16 (https://eprint.iacr.org/2016/260, §3.2), which needs no circuit and no witness. Such proofs verify
 * like any other under such a key, and take milliseconds from a seed: for tests and the cluster simulator.
 *
 * A key from here proves nothing. A genesis of mode `production` never lists it, because it is in no manifest.
 */
import { bytesToBigint, concatBytes, writeU32 } from '@cipherlog/core'
import { bn254ScalarOrder, sha256 } from '@cipherlog/crypto/hash'
import { bn254 } from '@noble/curves/bn254.js'
import {
  decodeSignals,
  encodeProof,
  encodeVerificationKey,
  signalBytes,
  type G1Affine,
  type G2Affine,
} from './encoding.ts'

export interface TrapdoorKey {
  /** Compressed, 256 + 32·n bytes. */
  readonly verificationKey: Uint8Array
  /** A valid proof (128 bytes) of any statement; the same seed gives the same bytes. */
  prove(statement: Uint8Array, seed: Uint8Array): Uint8Array
}

const { Fr } = bn254.fields

/** A key for `signalCount` public signals, and its trapdoor, both derived from `seed`. */
export function createTrapdoorKey(seed: Uint8Array, signalCount = 1): TrapdoorKey {
  const [alpha, beta, gamma, delta] = scalars(seed, 4) as [bigint, bigint, bigint, bigint]
  const ic = scalars(concatBytes(seed, Uint8Array.of(1)), signalCount + 1)
  const verificationKey = encodeVerificationKey({
    alpha: g1(alpha),
    beta: g2(beta),
    gamma: g2(gamma),
    delta: g2(delta),
    // IC[j] = ic[j]/gamma · G, so that gamma cancels below.
    ic: ic.map((scalar) => g1(Fr.div(scalar, gamma))),
  })
  return {
    verificationKey,
    prove(statement, proofSeed) {
      const [a, b] = scalars(concatBytes(seed, proofSeed, statement), 2) as [bigint, bigint]
      const signals = decodeSignals(statement, statement.length / signalBytes)
      const icSum = [1n, ...signals].reduce((sum, signal, j) => Fr.add(sum, Fr.mul(signal, ic[j]!)), 0n)
      // a·b = alpha·beta + icSum + c·delta
      const c = Fr.div(Fr.sub(Fr.sub(Fr.mul(a, b), Fr.mul(alpha, beta)), icSum), delta)
      return encodeProof({ a: g1(a), b: g2(b), c: g1(c) })
    },
  }
}

/** `count` non-zero scalars hashed from `seed`. */
function scalars(seed: Uint8Array, count: number): bigint[] {
  return Array.from({ length: count }, (_, i) => {
    const number = new Uint8Array(4)
    writeU32(number, 0, i)
    return (bytesToBigint(sha256(concatBytes(seed, number))) % (bn254ScalarOrder - 1n)) + 1n
  })
}

function g1(scalar: bigint): G1Affine {
  return bn254.G1.Point.BASE.multiply(scalar).toAffine()
}

function g2(scalar: bigint): G2Affine {
  return bn254.G2.Point.BASE.multiply(scalar).toAffine()
}

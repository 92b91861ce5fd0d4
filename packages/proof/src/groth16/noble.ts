/**
 * Groth16 (https://eprint.iacr.org/2016/260) on noble's BN254: the slow, readable twin of the mcl engine, and
 * the one that runs in a browser. About 24 to 45 ms for one proof, 8 ms each in a batch of 32.
 */
import { concatBytes, DecodeError } from '@cipherlog/core'
import { type WeierstrassPoint } from '@noble/curves/abstract/weierstrass.js'
import { bn254 } from '@noble/curves/bn254.js'
import {
  decodeProof,
  decodeSignals,
  decodeVerificationKey,
  signalBytes,
  type G1Affine,
  type G2Affine,
  type Groth16Proof,
  type VerificationKey,
} from './encoding.ts'
import { batchWeights, icScalars, verificationKeyDigest, type BatchItem, type Groth16Engine } from './engine.ts'

const G1 = bn254.G1.Point
const G2 = bn254.G2.Point
type G1Point = WeierstrassPoint<bigint>

export const nobleEngine: Groth16Engine<VerificationKey, Groth16Proof> = {
  decodeKey: decodeVerificationKey,
  decodeProof,
  signalCount: (key) => key.ic.length - 1,
  holds(key, checks, weights) {
    const pairs: Parameters<typeof bn254.pairingBatch>[0] = []
    // A sum may be the identity, whose pairing is 1; noble refuses to be handed it.
    const pair = (g1: G1Point, g2: G2Affine) => {
      if (!g1.is0()) pairs.push({ g1, g2: G2.fromAffine(g2) })
    }
    const scalars = icScalars(checks, weights)
    let cSum = G1.ZERO
    checks.forEach(({ proof }, i) => {
      pair(times(proof.a, weights[i]!), proof.b)
      cSum = cSum.add(times(proof.c, weights[i]!))
    })
    const icSum = key.ic.reduce<G1Point>((sum, point, j) => sum.add(times(point, scalars[j]!)), G1.ZERO)
    pair(times(key.alpha, scalars[0]!).negate(), key.beta)
    pair(icSum.negate(), key.gamma)
    pair(cSum.negate(), key.delta)
    const { Fp12 } = bn254.fields
    return Fp12.eql(bn254.pairingBatch(pairs), Fp12.ONE)
  },
}

/** Public values only, so not constant time. */
function times(point: G1Affine, scalar: bigint): G1Point {
  return G1.fromAffine(point).multiplyUnsafe(scalar)
}

/**
 * Whether `proof` proves the public signals under a verification key.
 * @param verificationKey - compressed, 256 + 32·n bytes.
 * @param signals - n public signals, 32 bytes big-endian each, below r.
 * @param proof - 128 bytes.
 * @throws {@link DecodeError} `ERR_PROOF_*` if any of them is not a valid encoding.
 */
export function verifyGroth16Noble(
  verificationKey: Uint8Array,
  signals: readonly Uint8Array[],
  proof: Uint8Array,
): boolean {
  if (signals.some((signal) => signal.length !== signalBytes)) {
    throw new DecodeError('ERR_PROOF_STATEMENT', `A public signal has ${signalBytes} bytes, big-endian; pad it.`)
  }
  return verifyGroth16BatchNoble(verificationKey, [{ statement: concatBytes(...signals), proof }])
}

/**
 * Whether all proofs of a batch of 1 to 256 hold.
 * @throws {@link DecodeError} `ERR_PROOF_*` if the key, a statement or a proof is not a valid encoding.
 */
export function verifyGroth16BatchNoble(verificationKey: Uint8Array, items: readonly BatchItem[]): boolean {
  const key = decodeVerificationKey(verificationKey)
  const checks = items.map((item) => ({
    proof: decodeProof(item.proof),
    signals: decodeSignals(item.statement, key.ic.length - 1),
  }))
  return nobleEngine.holds(key, checks, batchWeights(verificationKeyDigest(verificationKey), items))
}

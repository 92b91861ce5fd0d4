/**
 * Proof of possession of an ElGamal key: Schnorr, made non-interactive (DESIGN §7). 96 bytes T ‖ z with
 * T = k·G (x ‖ y, 64 bytes), e = SHA-256(label ‖ 00 ‖ CBOR[cluster, keyset, keyEpoch, PK, T]) mod L and
 * z = k + e·sk mod L (32 bytes big-endian). The whole statement is hashed, so a proof serves one key version.
 */
import { babyjubjub } from '@noble/curves/misc.js'
import { bytesToBigint, CborWriter, CipherlogError, equalBytes, majorType } from '@cipherlog/core'
import { labelledHash, labels } from '../../hash/index.ts'
import { babyJubjubOrder, checkElgamalPublicKey, elgamalPointBytes, encodeElgamalPoint } from './point.ts'

const { Point } = babyjubjub

export interface ElgamalPopStatement {
  /** 32 bytes. */
  readonly cluster: Uint8Array
  /** 16 bytes. */
  readonly keyset: Uint8Array
  readonly keyEpoch: number
  /** 64 bytes x ‖ y. */
  readonly publicKey: Uint8Array
}

/** Bytes of a proof of possession. */
export const elgamalPopBytes = elgamalPointBytes + 32

/** e, the challenge for commitment T (64 bytes). */
export function elgamalPopChallenge(statement: ElgamalPopStatement, commitment: Uint8Array): bigint {
  const writer = new CborWriter()
  writer.head(majorType.array, 5)
  writer.bytes(statement.cluster)
  writer.bytes(statement.keyset)
  writer.uint(statement.keyEpoch)
  writer.bytes(statement.publicKey)
  writer.bytes(commitment)
  return bytesToBigint(labelledHash(labels.elgamalPop, writer.finish())) % babyJubjubOrder
}

/**
 * Whether `pop` proves knowledge of the secret of `publicKey`, which is checked too (canonical, subgroup, not the
 * identity): PK plus a point of order 2 would pass the equation alone every second time. False on malformed bytes.
 */
export function verifyElgamalPop(statement: ElgamalPopStatement, pop: Uint8Array): boolean {
  if (pop.length !== elgamalPopBytes) return false
  let publicKey
  try {
    publicKey = checkElgamalPublicKey(statement.publicKey)
  } catch (error) {
    if (error instanceof CipherlogError) return false
    throw error
  }
  const commitment = pop.subarray(0, elgamalPointBytes)
  const z = bytesToBigint(pop.subarray(elgamalPointBytes))
  if (z >= babyJubjubOrder) return false
  const e = elgamalPopChallenge(statement, commitment)
  // T is compared as bytes with z·G − e·PK, so a T that is not canonical or not on the curve cannot pass.
  const expected = Point.BASE.multiplyUnsafe(z).subtract(Point.fromAffine(publicKey).multiplyUnsafe(e))
  return equalBytes(encodeElgamalPoint(expected.toAffine()), commitment)
}

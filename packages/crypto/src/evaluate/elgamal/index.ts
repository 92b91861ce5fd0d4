/** Exponential ElGamal on Baby Jubjub without any secret: what servers and auditors need (suite 2, DESIGN §6). */
export {
  addElgamal,
  decodeElgamalCiphertext,
  type ElgamalCiphertext,
  elgamalCiphertextBytes,
  elgamalIdentity,
  encodeElgamalCiphertext,
} from './ciphertext.ts'
export {
  type AffinePoint,
  babyJubjubOrder,
  checkElgamalPublicKey,
  decodeElgamalPoint,
  elgamalPointBytes,
  encodeElgamalPoint,
} from './point.ts'
export { elgamalPopBytes, elgamalPopChallenge, type ElgamalPopStatement, verifyElgamalPop } from './possession.ts'

/** Ed25519 under one cofactorless rule (DESIGN §5, "Signatures"), the same verdicts in Node and browsers. */
export {
  checkPublicKey,
  generateSigningKey,
  publicKeyOf,
  sign,
  signLabelled,
  verify,
  verifyLabelled,
  type SigningKeyPair,
} from './signature.ts'

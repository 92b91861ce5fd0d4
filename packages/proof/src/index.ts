/** Groth16 checks, the statements they are about, and the registry of circuits. Runs in Node and in browsers. */
export { circuits, findCircuit, type Circuit, type CircuitId } from './circuits.ts'
export { sealedAmountStatement, type SealedAmountInputs } from './statements/sealed-amount.ts'
export {
  createInlineVerifier,
  verifierVersion,
  type ProofCheck,
  type ProofVerifier,
  type VerifyOptions,
} from './verifier.ts'
export { cachedVerifier } from './cached-verifier.ts'
export { verifyGroth16BatchNoble, verifyGroth16Noble } from './groth16/noble.ts'
export { batchProofsMax, batchWeights, verificationKeyDigest, type BatchItem } from './groth16/engine.ts'
export {
  decodeProof,
  decodeVerificationKey,
  encodeProof,
  encodeVerificationKey,
  proofBytes,
  type Fp2,
  type G1Affine,
  type G2Affine,
  type Groth16Proof,
  type VerificationKey,
} from './groth16/encoding.ts'
export { proofFromSnarkjs, verificationKeyFromSnarkjs } from './groth16/snarkjs-json.ts'
export { parseCircuitManifest, type CircuitManifest, type ManifestCircuit, type ManifestFile } from './manifest.ts'

/** Proofs, notes, checkpoints, cosignatures and trail paths: pure, for Node and browsers alike. */
export { verifyTlogProof, parseTlogProof, formatTlogProof, type TlogProof } from './tlog-proof.ts'
export { proofExtraBytesMax, proofHashesMax, tlogProofBytesMax } from './tlog-proof.ts'
export { openCheckpoint, type CheckpointKeys, type Cosignature, type OpenedCheckpoint } from './open-checkpoint.ts'
export { rootFromInclusionProof, verifyInclusion, type InclusionProof } from './inclusion-proof.ts'
export { verifyConsistency, type ConsistencyProof } from './consistency-proof.ts'
export { formatCheckpoint, parseCheckpoint, type Checkpoint } from './checkpoint.ts'
export { openNote, verifyNoteSignature, type OpenedNote, type VerifiedSignature } from './open-note.ts'
export {
  formatNote,
  formatSignatureLine,
  noteBytesMax,
  noteSignaturesMax,
  parseNote,
  parseSignatureLine,
  type Note,
  type NoteSignature,
} from './note.ts'
export { cosignatureMessage, formatTimedSignature, verifyCosignature } from './cosignature.ts'
export { cosignatureKeyType, ed25519KeyType, formatVkey, keyId, parseVkey, type VerifierKey } from './verifier-key.ts'
export { clusterNameBytesMax, cosignerName, isClusterName, origin } from './names.ts'
export { emptyRoot, hashBytes, leafHash, nodeHash } from './hashing.ts'
export {
  bodyPath,
  bundlePath,
  entriesPath,
  parseTilePath,
  tileLevelMax,
  tilePath,
  tileWidthMax,
  type TilePath,
} from './tile-path.ts'
export { entryBytesMax, formatEntryBundle, parseEntryBundle } from './entry-bundle.ts'

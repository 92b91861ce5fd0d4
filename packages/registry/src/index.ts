/** Who may sign, seal, read and cosign; and whose word counts for a checkpoint, a receipt, a registry. */
export {
  Registry,
  type CheckContext,
  type CheckedKeyEvent,
  type DuplicateKeyEvent,
  type LogPlace,
  type PlacedKeyEvent,
} from './registry.ts'
export {
  verifyRegistryProof,
  type LaterEvents,
  type ProvenRegistry,
  type RegistryProof,
  type RememberedRegistry,
  type UnprovenReason,
} from './registry-proof.ts'
export { encodeReceipt, receiptBytesMax, verifyReceipt, type VerifiedReceipt } from './receipt.ts'
export { openPolicyChain, policyChainBytesMax, PolicyView, type PolicySet } from './policy.ts'
export {
  noteKeysOf,
  verifyCheckpoint,
  type CheckpointDemand,
  type SetCosignatures,
  type VerifiedCheckpoint,
} from './checkpoint-policy.ts'
export { decodeTrustPolicy, encodeTrustPolicy, trustPolicyBytesMax } from './trust-policy.ts'
export {
  assembleGenesis,
  clusterOf,
  clusterOfSigned,
  openGenesis,
  signGenesis,
  type OpenedGenesis,
  type Possession,
} from './genesis.ts'
export {
  assembleKeyEvent,
  buildKeyEvent,
  decodeKeyEvent,
  operatorSignature,
  positionAfter,
  signedKeyEventBytesMax,
  signKeyEvent,
  type ChainPosition,
  type OpenedKeyEvent,
} from './key-event.ts'
export { type OperatorSignature, type OperatorSigner } from './operator-signatures.ts'
export {
  assembleQuarantine,
  buildQuarantine,
  openQuarantine,
  quarantineSignature,
  signQuarantine,
  type QuarantineContext,
} from './quarantine.ts'
export { applicationMachinesSince, rulesVersionMax, unknownRules } from './rules.ts'
export {
  assembleGroupStart,
  buildGroupStart,
  groupStartSignature,
  openGroupStart,
  signGroupStart,
  type ContinuedLog,
  type OpenedGroupStart,
} from './group-start.ts'
export { endorseSignature, keyVersionDigest, possessionOf, readySignature, type KeyVersionClaim } from './claims.ts'
export { type ClientEntry } from './registry-state.ts'
export { keyStateAt, readersOf, type Ending, type KeysetEntry, type KeyVersionEntry } from './key-versions.ts'
export { majorityOf, transitionCosignersMax, type CosignerSetEntry } from './cosigner-sets.ts'
export { vectorMargin } from './check-namespace.ts'
export { covers } from './grants.ts'
export { type RegistryRefusalCode } from './refusal.ts'

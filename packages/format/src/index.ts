/** Every byte layout that is signed, hashed, stored or sent: one file and one page of docs/formats each. */
export {
  clusterId,
  cosignerMember,
  cosignerSet,
  cosignersMax,
  digest,
  formatVersion,
  group0,
  groupId,
  id16,
  keyQuorum,
  namespaceName,
  operationName,
  peerId,
  publicKey,
  seen,
  signature,
  timeMs,
  xwingPublicKey,
  type CosignerMember,
  type CosignerSet,
  type KeyQuorum,
  type Seen,
} from './common.ts'
export {
  entryKinds,
  keyStates,
  leafKinds,
  roles,
  suiteNames,
  suites,
  verdictName,
  verdicts,
  type EntryKind,
  type KeyState,
  type LeafKind,
  type Role,
  type Suite,
  type Verdict,
} from './numbers.ts'
export {
  circuit,
  clusterName,
  genesis,
  limits,
  modes,
  possession,
  possessionClaim,
  roleSignature,
  signedGenesis,
  type Circuit,
  type Genesis,
  type Limits,
  type SignedGenesis,
} from './genesis.ts'
export {
  applicationMachine,
  grant,
  keyEvent,
  keyEventBytesMax,
  keyOperation,
  keysetMember,
  keyVersion,
  keyVersionClaim,
  memberSignature,
  namespaceDefinition,
  namespacePattern,
  readPolicies,
  signedKeyEvent,
  vectorLimits,
  type ApplicationMachine,
  type Grant,
  type KeyEvent,
  type KeyOperation,
  type KeysetMember,
  type KeyVersion,
  type NamespaceDefinition,
  type SignedKeyEvent,
} from './key-event.ts'
export { commitInput, keyEnvelope, wrap, wrapInfo, wraps, type KeyEnvelope, type Wrap } from './key-envelope.ts'
export { sessionOpening, signedSessionOpening, type SessionOpening } from './session-opening.ts'
export {
  bodiesBytesMax,
  bundleBytesMax,
  commandBundle,
  commandContext,
  commandHead,
  commandsPerBundleMax,
  contextBytes,
  joinBodies,
  joinTrailBodies,
  keyBytesMax,
  signedCommandBundle,
  splitBodies,
  type BodyRef,
  type CommandBodies,
  type CommandBundle,
  type CommandHead,
} from './command-bundle.ts'
export { logEntry, logEntryBytesMax, mark, markReasons, type LogEntry } from './log-entry.ts'
export {
  confChangeTypes,
  confState,
  confTransitions,
  decodeMembershipChange,
  encodeMembershipChange,
  fromStoredConfState,
  memberAddress,
  membershipChange,
  membershipChangeBytesMax,
  membershipPeersMax,
  toStoredConfState,
  type MemberAddress,
  type MembershipChange,
  type NamedAddress,
  type StoredConfState,
} from './membership.ts'
export {
  decodeSnapshotManifest,
  encodeSnapshotManifest,
  isSnapshotEdge,
  signedLeafBytesMax,
  snapshotChunkBytes,
  snapshotChunkLength,
  snapshotEdgeKeys,
  snapshotLeaf,
  snapshotManifest,
  snapshotManifestBytesMax,
  sortedConfState,
  trailFromOf,
  type OpenedSnapshotManifest,
  type SnapshotLeaf,
  type SnapshotManifest,
} from './snapshot.ts'
export { encodeSnapshotPair, SnapshotPairReader, snapshotValueBytesMax, type SnapshotPair } from './snapshot-pairs.ts'
export { leafRecord, leafRecordBytesMax, type LeafRecord } from './leaf-record.ts'
export { applyNote, stoppedEntry, type ApplyNote, type StoppedEntry } from './apply-note.ts'
export {
  backedUpEnvelope,
  backedUpEnvelopes,
  backedUpEnvelopesBytesMax,
  envelopesPerFile,
  type BackedUpEnvelope,
} from './backup.ts'
export { quarantine, signedQuarantine, type Quarantine, type SignedQuarantine } from './quarantine.ts'
export {
  groupStart,
  groupStartBytesMax,
  signedGroupStart,
  type GroupStart,
  type SignedGroupStart,
} from './group-start.ts'
export { batchRecord, registryHead, stateRootAlgorithm, type BatchRecord, type RegistryHead } from './batch-record.ts'
export {
  cellDigestInput,
  cellProof,
  chainInput,
  sliceDigestInput,
  storedCell,
  storedSlice,
  tombstoneInput,
  type CellProof,
  type StoredCell,
  type StoredSlice,
} from './cell.ts'
export { applied, signedApplied, type Applied } from './applied.ts'
export { trustPolicy, type TrustPolicy } from './trust-policy.ts'
export { policyChain, policyChainLink, type PolicyChain, type PolicyChainLink } from './policy-chain.ts'
export { receipt, type Receipt } from './receipt.ts'
export { keyringContent, keyringEntry, type KeyringContent, type KeyringEntry } from './keyring.ts'
export { nodeKeys, type NodeKeys } from './node-keys.ts'
export { blindNameInput, messageKeyInput, saltInput, sealedValueBytesMin } from './value.ts'
export {
  storedClientSessions,
  storedEnvelope,
  storedGenesis,
  storedGroupStart,
  storedKeyEvent,
  storedLedger,
  storedQuarantine,
  storedQuota,
  storedSeen,
  storedSession,
  storedValue,
  type StoredEnvelope,
  type StoredGroupStart,
  type StoredLedger,
  type StoredSession,
  type StoredValue,
} from './state.ts'

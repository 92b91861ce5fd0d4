/** One fixed value of every exported codec with a layout, and of every case of a choice: input of the golden vectors. */
import { encode, utf8, type Codec } from '@cipherlog/core'
import { labels, sha256, type Label } from '@cipherlog/crypto/hash'
import { publicKeyOf, signLabelled } from '@cipherlog/crypto/signature'
import * as format from '@cipherlog/format'
import * as batch from '@cipherlog/format/batch-record'
import * as cell from '@cipherlog/format/cell'
import * as bundle from '@cipherlog/format/command-bundle'
import * as state from '@cipherlog/format/state'
import { snapshotLeaf, snapshotManifest } from '@cipherlog/format/snapshot'
import { hardState } from '@cipherlog/format/hard-state'
import { confState, memberAddress, membershipChange } from '@cipherlog/format/membership'
import { entryName, entryRef, peerHeader, snapshotMeta } from '@cipherlog/format/peer-frame'
import { entryOf } from './catalog.ts'
import * as world from './world.ts'

/** A value of an exported codec; `id` is the catalogue's, with the case or variant after it where there are several. */
export interface Sample {
  readonly id: string
  readonly codec: Codec<unknown>
  readonly value: unknown
}

function sample<T>(codec: Codec<T>, value: NoInfer<T>, variant?: string): Sample {
  const entry = entryOf(codec)
  if (entry === undefined) throw new TypeError(`a sample of a codec that packages/format does not export`)
  return { id: variant === undefined ? entry.id : `${entry.id}/${variant}`, codec: codec, value }
}

/** A sample of one case of a choice, named after it. */
function caseOf<T extends { readonly type: string }>(codec: Codec<T>, value: NoInfer<T>): Sample {
  return sample(codec, value, value.type)
}

/** A value made from the shape alone, for records that hold only counters, ids and flags. */
function plainValueOf({ shape }: Codec<unknown>, name: string): unknown {
  switch (shape.kind) {
    case 'uint':
      return Math.min(shape.max, Math.max(shape.min, name.length * 25))
    case 'bytes':
      return world.derived(name, Math.max(shape.min, Math.min(shape.max, 32)))
    case 'text':
      if (shape.pattern !== undefined) throw new TypeError(`${name}: write a sample by hand`)
      return name
    case 'boolean':
      return true
    case 'constant':
      return shape.value
    case 'enumeration':
      return Object.values(shape.values)[0]
    case 'array':
      return Array.from({ length: Math.max(shape.min, 1) }, () => plainValueOf(shape.item, name))
    case 'tuple':
      return shape.items.map((item) => plainValueOf(item, name))
    case 'record':
      return Object.fromEntries(shape.fields.map((field) => [field.name, plainValueOf(field.codec, field.name)]))
    case 'choice':
      throw new TypeError(`${name}: write a sample by hand`)
  }
}

/** Samples of every case of a choice between plain records. */
function plainCasesOf(codec: Codec<unknown>): Sample[] {
  if (codec.shape.kind !== 'choice') throw new TypeError('not a choice')
  return codec.shape.cases.map(({ name, codec: chosen }) => {
    const value = { type: name, ...(plainValueOf(chosen, name) as object) }
    return sample(codec, value, name)
  })
}

const { derived, cluster, clientId, keysetId, createdAt } = world

const readerSecret = derived('key reader', 32)
const readerKey = { secretKey: readerSecret, publicKey: publicKeyOf(readerSecret) }
const member: format.KeysetMember = {
  signingKey: readerKey.publicKey,
  possession: world.possessionOf(format.roles.reader, readerKey),
  kemKey: world.readerKemKey,
}
const xwingVersion: format.KeyVersion = {
  memberKeys: [{ member: 0, key: derived('reader X-Wing key, epoch 1', 1216) }],
}
const nextXwingVersion: format.KeyVersion = {
  memberKeys: [{ member: 0, key: derived('reader X-Wing key, epoch 2', 1216) }],
}
const elgamalVersion: format.KeyVersion = {
  publicKey: derived('elgamal public key', 64),
  possession: derived('elgamal proof of possession', 96),
  shares: [{ member: 0, enc: derived('share enc', 1120), ciphertext: derived('share', 48) }],
}
const claimOf = (keyEpoch: number, version: format.KeyVersion) =>
  encode(format.keyVersionClaim, [cluster, keysetId, keyEpoch, sha256(encode(format.keyVersion, version))])

const slice: format.StoredSlice = {
  keyEpoch: 1,
  count: 3,
  sum: derived('elgamal sum', 128),
  chain: derived('chain 3', 32),
  bound: 0,
}
const storedCell: format.StoredCell = {
  number: 2,
  namespace: 'revenue',
  key: new Uint8Array(0),
  slices: [slice, { ...slice, keyEpoch: 2, count: 1, chain: derived('chain 1', 32) }],
}
const sliceInput = (one: format.StoredSlice): [number, number, Uint8Array, Uint8Array, number] => [
  one.keyEpoch,
  one.count,
  sha256(one.sum),
  one.chain,
  one.bound,
]

const memberAddressValue: format.MemberAddress = {
  peerId: derived('new replica', 16),
  peers: '10.0.0.4:7444',
  api: 'https://10.0.0.4:7443',
}
const confStateValue: format.StoredConfState = {
  voters: [world.replicas[0].peerId],
  learners: [memberAddressValue.peerId],
  votersOutgoing: [],
  learnersNext: [],
  autoLeave: false,
}

const signedPut = sha256(world.signedBundleBytes)
const appliedValue: format.Applied = {
  version: 1,
  origin: world.origin,
  leaf: world.bundleLeafIndex,
  digest: signedPut,
  verdicts: [format.verdicts.applied, format.verdicts.applied],
}
const appliedBytes = encode(format.applied, appliedValue)

const link: format.PolicyChainLink = {
  event: encode(format.signedKeyEvent, world.replaceReplica.signed),
  origin: world.origin,
  leafIndex: world.replaceReplica.leafIndex,
  transitionCheckpoint: world.transitionCheckpoint,
}

const operatorSignatures = (label: Label, bytes: Uint8Array): [number, number, Uint8Array][] =>
  [0, 1].map((i) => [format.roles.operator, i, signLabelled(world.operators[i]!.secretKey, label, bytes)])

const stoppedEntry: format.StoppedEntry = { index: 1_042, digest: derived('payload', 32), stops: 2, software: '0.1.0' }

const quarantineValue: format.Quarantine = {
  version: 1,
  cluster,
  group: format.group0,
  generation: 0,
  index: 7,
  digest: signedPut,
  operatorSetVersion: 0,
}
const quarantineBytes = encode(format.quarantine, quarantineValue)

const groupStartValue: format.GroupStart = {
  version: 1,
  cluster,
  group: format.group0,
  generation: 1,
  oldOrigin: world.origin,
  end: world.seenAfterBundle,
  registryHead: world.bundleBatch.registryHead,
  operatorSetVersion: 0,
  cosigners: { members: [world.memberOf(world.replicas[4])], quorum: 1 },
  possessions: [[0, world.possessionOf(format.roles.answer, world.replicas[4].answer)]],
  startedAt: createdAt + 3_600_000,
}
const groupStartBytes = encode(format.groupStart, groupStartValue)
const signedGroupStartBytes = encode(format.signedGroupStart, [
  groupStartBytes,
  operatorSignatures(labels.groupStart, groupStartBytes),
])
const groupStartLink: format.PolicyChainLink = {
  event: signedGroupStartBytes,
  origin: world.origin.replace(/0$/, '1'),
  leafIndex: 0,
}

const keyringEntries: { readonly [T in format.KeyringEntry['type']]: format.KeyringEntry & { readonly type: T } } = {
  client: { type: 'client', cluster, client: clientId, secretKey: world.clientKey.secretKey },
  operator: { type: 'operator', cluster, index: 0, secretKey: world.operators[0]!.secretKey },
  reader: { type: 'reader', cluster, signingKey: readerKey.secretKey, kemKey: derived('reader X-Wing seed', 32) },
  nameKey: { type: 'nameKey', cluster, version: 1, key: derived('name key', 32) },
  keyVersion: {
    type: 'keyVersion',
    cluster,
    keyset: keysetId,
    keyEpoch: 1,
    suite: format.suites.hpkeXwing,
    secret: derived('reader X-Wing seed, epoch 1', 32),
  },
  contentKey: {
    type: 'contentKey',
    cluster,
    keyset: keysetId,
    keyEpoch: 1,
    envelope: world.envelopeId,
    key: world.contentKey,
  },
}

const application: format.ApplicationMachine = { version: 1, code: derived('application code', 32) }
const namespaceDefinition: format.NamespaceDefinition = {
  name: 'revenue',
  machine: 'counter',
  suite: format.suites.elgamalBjj,
  keyset: keysetId,
  readPolicy: format.readPolicies.granted,
  circuit: 'sealed-amount-32',
}

export const samples: readonly Sample[] = [
  sample(format.seen, world.seenAfterBundle),
  sample(format.cosignerMember, world.genesisValue.cosigners.members[0]!),
  sample(format.cosignerSet, world.genesisValue.cosigners),
  sample(format.keyQuorum, world.genesisValue.operators),

  sample(format.limits, world.genesisValue.limits),
  sample(format.circuit, { ...world.genesisValue.circuits[0]!, ceremony: derived('ceremony transcript', 32) }),
  sample(format.genesis, world.genesisValue),
  sample(format.roleSignature, world.addClient.signed[1][0]!),
  sample(format.possession, world.signedGenesisValue[1][0]!),
  sample(format.signedGenesis, world.signedGenesisValue),
  sample(format.possessionClaim, [cluster, format.roles.client, world.clientKey.publicKey]),

  sample(format.grant, {
    namespaces: 'orders/*',
    operations: ['add', 'envelope'],
    proofsPerMinute: 600,
    bytesPerMinute: 1_048_576,
    notAfter: createdAt + 31_536_000_000,
  }),
  sample(format.keysetMember, member),
  sample(format.keyVersion, xwingVersion, 'hpke-xwing'),
  sample(format.keyVersion, elgamalVersion, 'elgamal-bjj'),
  sample(format.memberSignature, [0, signLabelled(readerSecret, labels.ready, claimOf(1, xwingVersion))]),
  sample(format.vectorLimits, { length: 64, maxAbs: 1_000, maxCount: 4_000 }),
  sample(format.namespaceDefinition, namespaceDefinition, 'counter'),
  sample(
    format.namespaceDefinition,
    {
      name: 'latency',
      machine: 'vector',
      suite: format.suites.bfv4096,
      keyset: keysetId,
      readPolicy: format.readPolicies.public,
      vector: { length: 64, maxAbs: 1_000, maxCount: 4_000 },
    },
    'vector',
  ),
  caseOf(format.keyOperation, world.addClient.value.operation),
  caseOf(format.keyOperation, {
    type: 'setGrants',
    client: clientId,
    grants: [{ namespaces: '*', operations: ['put'] }],
  }),
  caseOf(format.keyOperation, { type: 'revokeClient', client: clientId, reason: 'decommissioned' }),
  caseOf(format.keyOperation, {
    type: 'createKeyset',
    keyset: keysetId,
    suite: format.suites.hpkeXwing,
    members: [member],
    readyMin: 1,
    version: xwingVersion,
    label: 'orders',
  }),
  caseOf(format.keyOperation, {
    type: 'addKeyVersion',
    keyset: keysetId,
    keyEpoch: 2,
    version: nextXwingVersion,
    endorsement: [0, signLabelled(readerSecret, labels.endorse, claimOf(2, nextXwingVersion))],
  }),
  caseOf(format.keyOperation, {
    type: 'activateKeyVersion',
    keyset: keysetId,
    keyEpoch: 1,
    ready: [[0, signLabelled(readerSecret, labels.ready, claimOf(1, xwingVersion))]],
    graceMs: 0,
  }),
  caseOf(format.keyOperation, {
    type: 'compromiseKeyVersion',
    keyset: keysetId,
    keyEpoch: 1,
    reason: 'laptop stolen',
  }),
  caseOf(format.keyOperation, { type: 'createNamespace', ...namespaceDefinition }),
  sample(
    format.namespaceDefinition,
    {
      name: 'auctions',
      machine: 'sealed-bids',
      suite: format.suites.hpkeXwing,
      keyset: keysetId,
      readPolicy: format.readPolicies.public,
      application,
    },
    'application',
  ),
  sample(format.applicationMachine, application),
  caseOf(format.keyOperation, world.cosignerSetOperation),
  caseOf(format.keyOperation, { type: 'setRules', rulesVersion: 2, circuits: [world.genesisValue.circuits[0]!] }),
  sample(format.keyEvent, world.addClient.value),
  sample(format.signedKeyEvent, world.addClient.signed),
  sample(format.keyVersionClaim, [cluster, keysetId, 1, sha256(encode(format.keyVersion, xwingVersion))]),

  sample(format.keyEnvelope, world.envelopeValue),
  sample(format.wrap, world.wrapValue),
  sample(format.wraps, [world.wrapValue]),
  sample(format.wrapInfo, [utf8(labels.envelopeInfo), world.envelopeId, 1, world.wrapValue.readerKeyId]),
  sample(format.commitInput, world.commitInputValue),

  sample(format.sessionOpening, world.openingValue),
  sample(format.signedSessionOpening, world.signedOpeningValue),

  sample(bundle.bodyRef, world.putHead.ciphertext!),
  sample(format.commandHead, world.putHead),
  sample(format.commandBundle, world.bundleValue),
  sample(format.signedCommandBundle, world.signedBundleValue),
  sample(format.commandContext, {
    cluster,
    client: clientId,
    namespace: world.putHead.namespace,
    op: world.putHead.op,
    key: world.putHead.key,
    keyset: keysetId,
    keyEpoch: 1,
    suite: format.suites.hpkeXwing,
    envelope: world.envelopeId,
    commandId: world.putHead.commandId,
  }),

  sample(format.logEntry, [encode(format.signedSessionOpening, world.signedOpeningValue), new Uint8Array(0)]),
  sample(format.mark, { reason: format.markReasons.receipt }),
  sample(memberAddress, memberAddressValue),
  sample(membershipChange, {
    transition: format.confTransitions.auto,
    changes: [
      { type: format.confChangeTypes.remove, peerId: world.replicas[0].peerId },
      { type: format.confChangeTypes.addVoter, peerId: memberAddressValue.peerId },
    ],
    addresses: [memberAddressValue],
  }),
  sample(membershipChange, { transition: format.confTransitions.jointExplicit, changes: [] }, 'leave-joint'),
  sample(confState, confStateValue),
  sample(format.leafRecord, world.genesisLeaf, 'genesis'),
  sample(format.leafRecord, world.openingLeaf, 'session-opening'),
  sample(format.leafRecord, world.bundleLeaf, 'command-bundle'),
  sample(batch.registryHead, world.bundleBatch.registryHead),
  sample(batch.batchRecord, world.bundleBatch, 'without-cells'),
  sample(batch.batchRecord, world.batchWithStateRoot, 'with-state-root'),

  sample(snapshotManifest, {
    version: 1,
    cluster,
    group: format.group0,
    generation: 0,
    index: world.bundleBatch.logIndex,
    term: 7,
    time: world.bundleBatch.logTime,
    confState: format.sortedConfState(confStateValue),
    treeSize: world.seenAfterBundle.treeSize,
    rootHash: world.seenAfterBundle.rootHash,
    batchRecord: encode(batch.batchRecord, world.bundleBatch),
    pairs: 12_345,
    bytes: format.snapshotChunkBytes + 23_456,
    chunks: [derived('chunk 0', 32), derived('chunk 1', 32)],
  }),
  sample(snapshotLeaf, {
    entry: encode(format.leafRecord, world.bundleLeaf),
    signed: world.signedBundleBytes,
    body: world.ciphertextBody,
  }),

  sample(cell.sliceDigestInput, sliceInput(slice)),
  sample(cell.cellDigestInput, [
    storedCell.number,
    storedCell.namespace,
    storedCell.key,
    storedCell.slices.map(sliceInput),
  ]),
  sample(cell.tombstoneInput, [2]),
  sample(cell.chainInput, [derived('chain 2', 32), 6, 1, 1, world.putHead.ciphertext!.sha256]),
  sample(cell.storedSlice, slice),
  sample(cell.storedCell, storedCell),
  sample(cell.cellProof, {
    cell: storedCell,
    cellCount: 4,
    path: [derived('sibling 0', 32), derived('sibling 1', 32)],
  }),

  sample(format.quarantine, quarantineValue),
  sample(format.signedQuarantine, [quarantineBytes, operatorSignatures(labels.quarantine, quarantineBytes)]),
  sample(format.groupStart, groupStartValue),
  sample(format.signedGroupStart, [groupStartBytes, operatorSignatures(labels.groupStart, groupStartBytes)]),
  sample(format.backedUpEnvelope, { id: world.envelopeId, wraps: world.wrapsBody }),
  sample(format.backedUpEnvelopes, [{ id: world.envelopeId, wraps: world.wrapsBody }]),
  sample(format.stoppedEntry, stoppedEntry),
  sample(format.applyNote, { version: 1, from: 1_040, ended: false, entry: stoppedEntry }),

  sample(format.applied, appliedValue),
  sample(format.signedApplied, [
    appliedBytes,
    signLabelled(world.replicas[0].answer.secretKey, labels.applied, appliedBytes),
  ]),
  sample(format.trustPolicy, {
    version: 1,
    cluster,
    group: format.group0,
    generation: 0,
    witnesses: [world.witnessVkey],
    witnessesRequired: 1,
    start: world.seenAfterBundle,
  }),
  sample(format.policyChainLink, link, 'cosigner-set'),
  sample(format.policyChainLink, groupStartLink, 'group-start'),
  sample(format.policyChain, [world.signedGenesisBytes, [link]]),
  sample(format.receipt, {
    version: 1,
    leafRecord: encode(format.leafRecord, world.bundleLeaf),
    tlogProof: world.bundleTlogProof,
    policyChain: encode(format.policyChain, [world.signedGenesisBytes, []]),
  }),

  ...Object.values(keyringEntries).map((entry) => caseOf(format.keyringEntry, entry)),
  sample(format.keyringContent, { version: 1, entries: Object.values(keyringEntries), label: 'order service' }),
  sample(format.nodeKeys, {
    version: 1,
    peerId: world.replicas[0].peerId,
    tls: world.replicas[0].tls.secretKey,
    log: world.replicas[0].log.secretKey,
    cosigner: world.replicas[0].cosigner.secretKey,
    answer: world.replicas[0].answer.secretKey,
  }),

  sample(format.saltInput, [derived('random for salt', 32), sha256(utf8('padded plaintext'))]),
  sample(format.messageKeyInput, [derived('salt', 32), derived('context', 32)]),
  sample(format.blindNameInput, [cluster, 'orders', 'order-42']),

  sample(hardState, { term: 7, votedFor: world.replicas[0].peerId, commit: 1_042 }, 'voted'),
  sample(hardState, { term: 8, commit: 1_042 }, 'not-voted'),

  sample(entryRef, {
    term: 7,
    index: 1_042,
    kind: format.entryKinds.commandBundle,
    time: createdAt + 5_000,
    bytes: 2_048,
    digest: derived('payload', 32),
  }),
  sample(entryName, { index: 1_042, term: 7, digest: derived('payload', 32) }),
  sample(snapshotMeta, {
    index: 1_042,
    term: 7,
    time: createdAt + 5_000,
    confState: confStateValue,
    digest: derived('manifest', 32),
  }),
  ...plainCasesOf(peerHeader),

  sample(state.storedSession, {
    number: 1,
    firstSequence: 1,
    lastSequence: 2,
    digest: signedPut,
    leaf: world.bundleLeafIndex,
    verdicts: [format.verdicts.applied, format.verdicts.applied],
  }),
  sample(state.storedClientSessions, { highWaterMark: 3, open: [1, 3] }),
  sample(state.storedValue, { leaf: world.bundleLeafIndex, command: 1, ciphertext: world.ciphertextBody }),
  sample(state.storedEnvelope, {
    envelope: world.envelopeValue,
    wraps: world.wrapsBody,
    leaf: world.bundleLeafIndex,
  }),
  sample(state.storedKeyEvent, {
    signed: encode(format.signedKeyEvent, world.addClient.signed),
    leafIndex: world.addClient.leafIndex,
    logTime: createdAt + 1_000,
  }),
  sample(state.storedQuarantine, {
    leaf: world.bundleLeafIndex,
    recorded: { leaf: 10, digest: sha256(quarantineBytes) },
  }),
  sample(state.storedGroupStart, { signed: signedGroupStartBytes, links: [link, groupStartLink] }),
  sample(state.storedSeen, { rootHash: world.seenAfterBundle.rootHash, logTime: createdAt + 5_000 }),
  sample(state.storedQuota, { client: clientId, minute: 29_454_240, proofs: 12, bytes: 65_536 }),
  sample(state.storedLedger, {
    rulesVersion: 1,
    appliedIndex: 6,
    logTime: createdAt + 6_000,
    treeSize: world.seenAfterBundle.treeSize,
    peaks: [world.seenAfterBundle.rootHash],
    tail: world.leafHashesAfterBundle,
    cellCount: 0,
    origin: world.origin,
  }),
  sample(state.storedGenesis, [world.signedGenesisBytes]),
]

/**
 * A small cluster made from fixed seeds: genesis, one added client, one replaced replica, one bundle, with real
 * signatures, hashes and checkpoints, so that the golden vectors can be verified and not only decoded.
 * Keys here are derived from their names and protect nothing.
 */
import { concatBytes, encode, toBase64, toHex, utf8, writeU64 } from '@cipherlog/core'
import { labelledHash, labelledMac, labels, sha256 } from '@cipherlog/crypto/hash'
import { publicKeyOf, sign, signLabelled } from '@cipherlog/crypto/signature'
import {
  batchRecord,
  commandBundle,
  commitInput,
  contextBytes,
  genesis,
  group0,
  keyEnvelope,
  keyEvent,
  leafKinds,
  leafRecord,
  modes,
  possessionClaim,
  roles,
  sessionOpening,
  signedCommandBundle,
  signedGenesis,
  signedKeyEvent,
  signedSessionOpening,
  suites,
  verdicts,
  wraps,
  type BatchRecord,
  type CommandBundle,
  type CommandHead,
  type CosignerMember,
  type CosignerSet,
  type Genesis,
  type KeyEnvelope,
  type KeyEvent,
  type KeyOperation,
  type LeafRecord,
  type Seen,
  type SessionOpening,
  type Wrap,
} from '@cipherlog/format'

/** `length` bytes that follow from `name`: SHA-256 in counter mode. */
export function derived(name: string, length: number): Uint8Array {
  const blocks = Array.from({ length: Math.ceil(length / 32) }, (_, i) => sha256(utf8(`cipherlog golden ${name} ${i}`)))
  return concatBytes(...blocks).slice(0, length)
}

/** An Ed25519 key made from its name. */
function signingKey(name: string) {
  const secretKey = derived(`key ${name}`, 32)
  return { secretKey, publicKey: publicKeyOf(secretKey) }
}

export const createdAt = Date.UTC(2026, 0, 1)
export const operators = [signingKey('operator 0'), signingKey('operator 1'), signingKey('operator 2')]
export const recovery = [signingKey('recovery 0')]
export const clientKey = signingKey('client')
export const clientId = derived('client id', 16)
export const keysetId = derived('keyset id', 16)

function replica(number: number) {
  const incarnation = Uint8Array.of(0, 0, 0, 1)
  return {
    peerId: concatBytes(derived(`peer ${number}`, 12), incarnation),
    tls: signingKey(`tls ${number}`),
    log: signingKey(`log ${number}`),
    cosigner: signingKey(`cosigner ${number}`),
    answer: signingKey(`answer ${number}`),
  }
}
type Replica = ReturnType<typeof replica>

export const replicas = [replica(0), replica(1), replica(2), replica(3), replica(4)] as const

export function memberOf({ peerId, tls, log, cosigner, answer }: Replica): CosignerMember {
  return {
    peerId,
    tlsKey: tls.publicKey,
    logKey: log.publicKey,
    cosignerKey: cosigner.publicKey,
    answerKey: answer.publicKey,
  }
}

const firstReplicas = [replicas[0], replicas[1], replicas[2]]
const laterReplicas = [replicas[0], replicas[1], replicas[3]]
const setOf = (members: readonly Replica[]): CosignerSet => ({ members: members.map(memberOf), quorum: 2 })

export const genesisValue: Genesis = {
  version: 1,
  createdAt,
  mode: modes.development,
  name: 'example.com/orders',
  rulesVersion: 1,
  limits: {
    sessionsPerClientMax: 16,
    bundleBytesMax: 1_048_576,
    bodiesBytesMax: 8_388_608,
    slicesPerCellMax: 16,
    maxClockErrorMs: 500,
    batchIntervalMs: 80,
    snapshotEveryLeaves: 50_000,
  },
  operators: { threshold: 2, keys: operators.map(({ publicKey }) => publicKey) },
  recovery: { keys: { threshold: 1, keys: recovery.map(({ publicKey }) => publicKey) }, delayMs: 604_800_000 },
  cosigners: setOf(firstReplicas),
  circuits: [
    {
      id: 'sealed-amount-32',
      r1cs: derived('r1cs', 32),
      verificationKey: derived('verification key', 288),
    },
  ],
}
const genesisBytes = encode(genesis, genesisValue)
export const cluster = sha256(genesisBytes)
export const origin = `${genesisValue.name}/${toHex(cluster).slice(0, 16)}/${toHex(group0)}/0`

/** Signature that proves possession of a key, under label `pop`. */
export function possessionOf(role: number, key: { secretKey: Uint8Array; publicKey: Uint8Array }): Uint8Array {
  return signLabelled(key.secretKey, labels.pop, encode(possessionClaim, [cluster, role, key.publicKey]))
}

export const signedGenesisValue: [Uint8Array, [number, number, Uint8Array][]] = [
  genesisBytes,
  [
    ...operators.map((key, i): [number, number, Uint8Array] => [roles.operator, i, possessionOf(roles.operator, key)]),
    ...recovery.map((key, i): [number, number, Uint8Array] => [roles.recovery, i, possessionOf(roles.recovery, key)]),
    ...firstReplicas.map(({ answer }, i): [number, number, Uint8Array] => [
      roles.answer,
      i,
      possessionOf(roles.answer, answer),
    ]),
  ],
]
export const signedGenesisBytes = encode(signedGenesis, signedGenesisValue)

/** RFC 6962 §2.1, as the RFC writes it. */
function merkleRoot(leaves: readonly Uint8Array[]): Uint8Array {
  if (leaves.length === 1) return sha256(concatBytes(Uint8Array.of(0), leaves[0]!))
  const k = 2 ** Math.ceil(Math.log2(leaves.length) - 1)
  return sha256(concatBytes(Uint8Array.of(1), merkleRoot(leaves.slice(0, k)), merkleRoot(leaves.slice(k))))
}

/** RFC 6962 §2.1.1. */
function inclusionPath(index: number, leaves: readonly Uint8Array[]): Uint8Array[] {
  if (leaves.length === 1) return []
  const k = 2 ** Math.ceil(Math.log2(leaves.length) - 1)
  const [left, right] = [leaves.slice(0, k), leaves.slice(k)]
  return index < k
    ? [...inclusionPath(index, left), merkleRoot(right)]
    : [...inclusionPath(index - k, right), merkleRoot(left)]
}

const tree: Uint8Array[] = []
let logIndex = 0
const logTimeAt = (index: number) => createdAt + index * 1_000
let registryHead = { number: 0, digest: cluster }

/** The tree as of now, as a signer names it. */
function treeSeen(): Seen {
  return { treeSize: tree.length, rootHash: merkleRoot(tree) }
}

/** Appends a leaf for a signed CBOR array and closes the batch. */
function appendLeaf(
  kind: LeafRecord['kind'],
  signed: Uint8Array,
  rest: Partial<LeafRecord> = {},
): [LeafRecord, BatchRecord] {
  const logTime = logTimeAt(logIndex)
  const leaf: LeafRecord = { kind, group: group0, logIndex, logTime, digest: sha256(signed), ...rest }
  const leafBytes = encode(leafRecord, leaf)
  const batch: BatchRecord = {
    kind: leafKinds.batchRecord,
    group: group0,
    logIndex: logIndex === 0 ? 0 : logIndex + 1,
    logTime,
    firstLeaf: tree.length,
    leafCount: 1,
    batchRoot: merkleRoot([leafBytes]),
    registryHead,
    rulesVersion: 1,
  }
  tree.push(leafBytes, encode(batchRecord, batch))
  logIndex += logIndex === 0 ? 1 : 2
  return [leaf, batch]
}

function keyId(name: string, type: number, publicKey: Uint8Array): Uint8Array {
  return sha256(concatBytes(utf8(`${name}\n`), Uint8Array.of(type), publicKey)).slice(0, 4)
}

/** The C2SP checkpoint of the tree as of now: log signatures (type 01) and cosignatures (type 04). */
function checkpointNow(logs: readonly Replica[], cosigners: readonly Replica[]): string {
  const { treeSize, rootHash } = treeSeen()
  const text = `${origin}\n${treeSize}\n${toBase64(rootHash)}\n`
  const seconds = new Uint8Array(8)
  writeU64(seconds, 0, logTimeAt(logIndex) / 1_000)
  const line = (name: string, ...payload: Uint8Array[]) => `— ${name} ${toBase64(concatBytes(...payload))}\n`
  const logLines = logs.map(({ log }) => line(origin, keyId(origin, 1, log.publicKey), sign(log.secretKey, utf8(text))))
  const cosignatureLines = cosigners.map(({ peerId, cosigner }) => {
    const name = `${genesisValue.name}/replica/${toHex(peerId)}`
    const message = utf8(`cosignature/v1\ntime ${logTimeAt(logIndex) / 1_000}\n${text}`)
    return line(name, keyId(name, 4, cosigner.publicKey), seconds, sign(cosigner.secretKey, message))
  })
  return `${text}\n${[...logLines, ...cosignatureLines].join('')}`
}

/** The C2SP tlog-proof of leaf `index` under a checkpoint of the tree as of now. */
function tlogProofNow(index: number, checkpoint: string): string {
  const path = inclusionPath(index, tree).map((hash) => `${toBase64(hash)}\n`)
  return `c2sp.org/tlog-proof@v1\nindex ${index}\n${path.join('')}\n${checkpoint}`
}

// Leaves 0 and 1: genesis and its batch record.
export const [genesisLeaf] = appendLeaf(leafKinds.genesis, signedGenesisBytes)

function signedEvent(value: KeyEvent): [Uint8Array, [number, number, Uint8Array][]] {
  const bytes = encode(keyEvent, value)
  const signatures = [0, 1].map((i): [number, number, Uint8Array] => [
    roles.operator,
    i,
    signLabelled(operators[i]!.secretKey, labels.keyEvent, bytes),
  ])
  return [bytes, signatures]
}

function appendEvent(operation: KeyOperation) {
  const value: KeyEvent = {
    version: 1,
    cluster,
    operatorSetVersion: 0,
    number: registryHead.number + 1,
    previous: registryHead.digest,
    notAfter: createdAt + 86_400_000,
    seen: treeSeen(),
    operation,
  }
  const signed = signedEvent(value)
  registryHead = { number: value.number, digest: sha256(signed[0]) }
  const leafIndex = tree.length
  appendLeaf(leafKinds.keyEvent, encode(signedKeyEvent, signed))
  return { value, signed, leafIndex }
}

// Leaves 2 and 3: a client is authorised.
export const addClient = appendEvent({
  type: 'addClient',
  client: clientId,
  publicKey: clientKey.publicKey,
  possession: possessionOf(roles.client, clientKey),
  grants: [
    { namespaces: 'orders', operations: ['put', 'delete', 'envelope'], proofsPerMinute: 600 },
    { namespaces: 'orders/*', operations: ['add'], bytesPerMinute: 1_048_576, notAfter: createdAt + 31_536_000_000 },
  ],
  label: 'order service',
})

// Leaves 4 and 5: a session is opened.
export const openingValue: SessionOpening = {
  version: 1,
  cluster,
  group: group0,
  generation: 0,
  client: clientId,
  number: 1,
  seen: treeSeen(),
  notAfter: createdAt + 3_600_000,
}
const openingBytes = encode(sessionOpening, openingValue)
export const signedOpeningValue: [Uint8Array, Uint8Array] = [
  openingBytes,
  signLabelled(clientKey.secretKey, labels.openSession, openingBytes),
]
export const [openingLeaf] = appendLeaf(leafKinds.sessionOpening, encode(signedSessionOpening, signedOpeningValue), {
  client: clientId,
  session: 1,
  firstSequence: 0,
  sequenceCount: 1,
  verdicts: [verdicts.applied],
})

// Leaves 6 and 7: a bundle of two commands, an envelope and a value sealed under it.
export const contentKey = derived('content key', 32)
const subject = utf8('customer-7')
export const commitInputValue: [Uint8Array, Uint8Array, Uint8Array, number, Uint8Array] = [
  cluster,
  clientId,
  keysetId,
  1,
  subject,
]
export const envelopeValue: KeyEnvelope = {
  cluster,
  client: clientId,
  keyset: keysetId,
  keyEpoch: 1,
  subject,
  commit: labelledMac(contentKey, labels.commit, encode(commitInput, commitInputValue)),
}
const envelopeBytes = encode(keyEnvelope, envelopeValue)
export const envelopeId = labelledHash(labels.envelopeId, envelopeBytes)
const bodyRefOf = (body: Uint8Array) => ({ sha256: sha256(body), bytes: body.length })
export const readerKemKey = derived('reader X-Wing key', 1216)
/** Sealed to the one reader; HPKE is randomised, so `enc` and `ciphertext` are stand-ins of the right length. */
export const wrapValue: Wrap = {
  wrapEpoch: 1,
  readerKeyId: labelledHash(labels.readerKey, readerKemKey),
  enc: derived('enc', 1120),
  ciphertext: derived('wrapped content key', 48),
}
export const wrapsBody = encode(wraps, [wrapValue])
export const ciphertextBody = derived('ciphertext', 304)

export const envelopeHead: CommandHead = {
  namespace: 'orders',
  op: 'envelope',
  keyset: keysetId,
  keyEpoch: 1,
  suite: suites.hpkeXwing,
  args: envelopeBytes,
  commandId: derived('command id 0', 16),
  wraps: bodyRefOf(wrapsBody),
}
export const putHead: CommandHead = {
  namespace: 'orders',
  op: 'put',
  key: concatBytes(Uint8Array.of(1), derived('blind name', 32)),
  keyset: keysetId,
  keyEpoch: 1,
  suite: suites.hpkeXwing,
  envelope: envelopeId,
  commandId: derived('command id 1', 16),
  ciphertext: bodyRefOf(ciphertextBody),
}
export const putContextBytes = contextBytes(cluster, clientId, putHead)

export const bundleValue: CommandBundle = {
  version: 1,
  cluster,
  group: group0,
  generation: 0,
  registry: registryHead.number,
  client: clientId,
  session: 1,
  firstSequence: 1,
  notAfter: createdAt + 60_000,
  atomic: true,
  auth: 1,
  heads: [envelopeHead, putHead],
}
const bundleBytes = encode(commandBundle, bundleValue)
export const signedBundleValue: [Uint8Array, Uint8Array] = [
  bundleBytes,
  signLabelled(clientKey.secretKey, labels.bundle, bundleBytes),
]
export const signedBundleBytes = encode(signedCommandBundle, signedBundleValue)
export const bundleLeafIndex = tree.length
export const [bundleLeaf, bundleBatch] = appendLeaf(leafKinds.commandBundle, signedBundleBytes, {
  client: clientId,
  session: 1,
  firstSequence: 1,
  sequenceCount: 2,
  epochs: [1, 1],
  verdicts: [verdicts.applied, verdicts.applied],
})
/** The batch record with a state root: RFC 6962 root over cell digests, algorithm 1. */
export const batchWithStateRoot: BatchRecord = { ...bundleBatch, stateRoot: [1, derived('state root', 32)] }
export const bundleTlogProof = tlogProofNow(bundleLeafIndex, checkpointNow([replicas[0]], [replicas[0], replicas[1]]))
export const seenAfterBundle = treeSeen()
/** Leaf hashes (RFC 6962) of the eight leaves up to here. */
export const leafHashesAfterBundle = tree.map((leaf) => merkleRoot([leaf]))

/** The vkey of an outside witness (C2SP signed-note, tlog-cosignature). */
const witness = signingKey('outside witness')
const witnessName = 'witness.example.org/w1'
export const witnessVkey = `${witnessName}+${toHex(keyId(witnessName, 4, witness.publicKey))}+${toBase64(concatBytes(Uint8Array.of(4), witness.publicKey))}`

// Leaves 8 and 9: replica 2 is replaced by replica 3; size 10 is the transition size, signed under both sets.
export const cosignerSetOperation: KeyOperation & { type: 'cosignerSet' } = {
  type: 'cosignerSet',
  set: setOf(laterReplicas),
  possessions: laterReplicas.map(({ answer }, i): [number, Uint8Array] => [i, possessionOf(roles.answer, answer)]),
}
export const replaceReplica = appendEvent(cosignerSetOperation)
export const transitionCheckpoint = checkpointNow([replicas[0]], [replicas[0], replicas[1]])

/**
 * Key events: one chain per cluster that says who may sign, seal, read and cosign. Event 0 is the genesis.
 *
 * An event travels as CBOR [event bytes, [[role, index, signature] …]] with k distinct operator signatures
 * (label `key-event`) over the same bytes. `previous` = SHA-256 of the previous event's bytes without
 * signatures (`cluster` for the first). A chain can be signed in one sitting; racing events fail cleanly.
 */
import { array, bytes, choice, constant, record, text, tuple, uint, type TypeOf } from '@cipherlog/core'
import {
  circuitId,
  clusterId,
  cosignerSet,
  digest,
  formatVersion,
  id16,
  namespaceName,
  operationName,
  publicKey,
  seen,
  signature,
  timeMs,
  xwingPublicKey,
} from './common.ts'
import { circuit, roleSignature } from './genesis.ts'

/** `orders`, `orders/*` (everything below) or `*`. */
export const namespacePattern = text(128, /^(\*|[a-z0-9][a-z0-9._-]*(\/[a-z0-9][a-z0-9._-]*)*(\/\*)?)$/)

/** What a client may do; times and rates are in log time. */
export const grant = record(
  'grant',
  { namespaces: [1, namespacePattern], operations: [2, array(operationName, 16, 1)] },
  { proofsPerMinute: [3, uint(1_000_000)], bytesPerMinute: [4, uint()], notAfter: [5, timeMs] },
)
export type Grant = TypeOf<typeof grant>

/** A reader: a member of a keyset. `kemKey` receives shares of secrets of later versions. */
export const keysetMember = record('keyset-member', {
  signingKey: [1, publicKey],
  possession: [2, signature],
  kemKey: [3, xwingPublicKey],
})
export type KeysetMember = TypeOf<typeof keysetMember>

export const membersMax = 64

/**
 * The public part of a key version. Suite 1: `memberKeys`, an X-Wing key of each member that may read. Other
 * suites: `publicKey` (ElGamal 64 bytes with `possession`, BFV a SEAL public key), its secret sealed to each
 * member in `shares`.
 */
export const keyVersion = record(
  'key-version',
  {},
  {
    memberKeys: [
      1,
      array(record('member-key', { member: [1, uint(membersMax - 1)], key: [2, xwingPublicKey] }), membersMax, 1),
    ],
    publicKey: [2, bytes(64, 700_000)],
    possession: [3, bytes(96)],
    shares: [
      4,
      array(
        record('key-share', {
          member: [1, uint(membersMax - 1)],
          enc: [2, bytes(1120)],
          ciphertext: [3, bytes(17, 700_000)],
        }),
        membersMax,
      ),
    ],
  },
)
export type KeyVersion = TypeOf<typeof keyVersion>

/** [index of the member, signature]. */
export const memberSignature = tuple(uint(membersMax - 1), signature)

/** Bounds of a vector namespace, declared by its writers (DESIGN §6 "BFV trusts its writers"). */
export const vectorLimits = record('vector-limits', {
  length: [1, uint(8192, 1)],
  maxAbs: [2, uint(0x7fff_ffff, 1)],
  maxCount: [3, uint(0x7fff_ffff, 1)],
})

/** Who may fetch ciphertext from a replica. */
export const readPolicies = { public: 1, granted: 2 } as const

/** An application's own state machine, which every replica and auditor must run as the very same code. */
export const applicationMachine = record('application-machine', {
  version: [1, uint(0xffff_ffff, 1)],
  /** SHA-256 by which the application names its code: of its module as published, say. */
  code: [2, digest],
})
export type ApplicationMachine = TypeOf<typeof applicationMachine>

/** A namespace fixes state machine, suite, keyset, circuit and bounds. */
export const namespaceDefinition = record(
  'namespace-definition',
  {
    name: [1, namespaceName],
    machine: [2, text(32, /^[a-z][a-z0-9-]*$/)],
    suite: [3, uint(5, 1)],
    keyset: [4, id16],
    readPolicy: [5, uint(2, 1)],
  },
  {
    circuit: [6, circuitId],
    vector: [7, vectorLimits],
    /** Rules 2: `machine` is the application's own; absent, it is a built-in one. */
    application: [8, applicationMachine],
  },
)
export type NamespaceDefinition = TypeOf<typeof namespaceDefinition>

const reason = text(256)

/** Ids, numbers and epochs are never reused. */
export const keyOperation = choice('key-operation', {
  addClient: [
    1,
    record(
      'add-client',
      { client: [1, id16], publicKey: [2, publicKey], possession: [3, signature], grants: [4, array(grant, 64)] },
      { label: [5, text(64)] },
    ),
  ],
  setGrants: [2, record('set-grants', { client: [1, id16], grants: [2, array(grant, 64)] })],
  revokeClient: [3, record('revoke-client', { client: [1, id16], reason: [2, reason] })],
  createKeyset: [
    4,
    record(
      'create-keyset',
      {
        keyset: [1, id16],
        suite: [2, uint(5, 1)],
        members: [3, array(keysetMember, membersMax, 1)],
        readyMin: [4, uint(membersMax, 1)],
        version: [5, keyVersion],
      },
      { label: [6, text(64)] },
    ),
  ],
  addKeyVersion: [
    5,
    record('add-key-version', {
      keyset: [1, id16],
      keyEpoch: [2, uint(0xffff_ffff, 2)],
      version: [3, keyVersion],
      endorsement: [4, memberSignature],
    }),
  ],
  activateKeyVersion: [
    6,
    record('activate-key-version', {
      keyset: [1, id16],
      keyEpoch: [2, uint(0xffff_ffff, 1)],
      ready: [3, array(memberSignature, membersMax, 1)],
      graceMs: [4, uint(31_536_000_000)],
    }),
  ],
  compromiseKeyVersion: [
    7,
    record('compromise-key-version', { keyset: [1, id16], keyEpoch: [2, uint(0xffff_ffff, 1)], reason: [3, reason] }),
  ],
  createNamespace: [8, namespaceDefinition],
  cosignerSet: [
    9,
    record('cosigner-set-event', { set: [1, cosignerSet], possessions: [2, array(tuple(uint(6), signature), 7)] }),
  ],
  /** Rules never go back; `circuits` are accepted beside those before. The same number takes circuits only. */
  setRules: [10, record('set-rules', { rulesVersion: [1, uint(0xffff, 1)] }, { circuits: [2, array(circuit, 64, 1)] })],
})
export type KeyOperation = TypeOf<typeof keyOperation>

export const keyEvent = record('key-event', {
  version: [0, constant(formatVersion)],
  cluster: [1, clusterId],
  operatorSetVersion: [2, uint()],
  number: [3, uint(Number.MAX_SAFE_INTEGER, 1)],
  previous: [4, digest],
  notAfter: [5, timeMs],
  seen: [6, seen],
  operation: [7, keyOperation],
})
export type KeyEvent = TypeOf<typeof keyEvent>

/** Key events hold public keys and shares of secrets; 1 MiB holds a BFV key for several readers. */
export const keyEventBytesMax = 1_048_576

export const signedKeyEvent = tuple(bytes(1, keyEventBytesMax), array(roleSignature, 16, 1))
export type SignedKeyEvent = TypeOf<typeof signedKeyEvent>

/** What `ready` and `endorse` signatures cover: CBOR [cluster, keyset, epoch, SHA-256 of the version's public part]. */
export const keyVersionClaim = tuple(clusterId, id16, uint(0xffff_ffff, 1), digest)

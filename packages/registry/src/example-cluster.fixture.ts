/** A small cluster with real keys and a real tree, held in memory: what the tests of this package run against. */
import { bigintToBytes, concatBytes, encode, equalBytes, errorCode, toHex, utf8 } from '@cipherlog/core'
import { addElgamal, babyJubjubOrder, elgamalPopChallenge } from '@cipherlog/crypto/evaluate/elgamal'
import { sha256 } from '@cipherlog/crypto/hash'
import { publicKeyOf, sign } from '@cipherlog/crypto/signature'
import {
  batchRecord as batchRecordCodec,
  formatVersion,
  group0,
  leafKinds,
  leafRecord as leafRecordCodec,
  modes,
  roles,
  type Circuit,
  type CosignerSet,
  type Genesis,
  type Grant,
  type KeyOperation,
  type KeysetMember,
  type KeyVersion,
  type Suite,
  type TrustPolicy,
} from '@cipherlog/format'
import {
  cosignatureKeyType,
  cosignatureMessage,
  cosignerName,
  ed25519KeyType,
  formatCheckpoint,
  formatNote,
  formatTimedSignature,
  formatVkey,
  keyId,
  leafHash,
  nodeHash,
  type NoteSignature,
  origin as originOf,
  type VerifierKey,
} from '@cipherlog/merkle/verify'
import { endorseSignature, possessionOf, readySignature } from './claims.ts'
import { clusterOf, signGenesis } from './genesis.ts'
import { buildKeyEvent, type ChainPosition, signKeyEvent } from './key-event.ts'
import { Registry } from './registry.ts'

/** The seed that belongs to a name: the same in every test. */
export const seedOf = (name: string): Uint8Array => sha256(utf8(name))
export const keyOf = (name: string): Uint8Array => publicKeyOf(seedOf(name))
/** 16 bytes that belong to a name. */
export const idOf = (name: string): Uint8Array => sha256(utf8(`id ${name}`)).slice(0, 16)
/** Bytes in the place of a public key that only its members could check. */
export const opaqueKey = (name: string, length: number): Uint8Array => {
  const out = new Uint8Array(length)
  for (let at = 0; at < length; at += 32) out.set(sha256(utf8(`${name} ${at}`)).slice(0, length - at), at)
  return out
}

export const createdAt = 1_700_000_000_000
export const name = 'example.com/ledger'
export const operatorNames = ['olga', 'otto', 'ole']
const recoveryNames = ['rita', 'rolf']

export const cosignerSetOf = (
  replicas: readonly string[],
  quorum = Math.floor(replicas.length / 2) + 1,
): CosignerSet => ({
  members: replicas.map((replica) => ({
    peerId: idOf(replica),
    tlsKey: keyOf(`${replica} tls`),
    logKey: keyOf(`${replica} log`),
    cosignerKey: keyOf(`${replica} cosigner`),
    answerKey: keyOf(`${replica} answer`),
  })),
  quorum,
})

export const circuitOf = (id: string, ceremony = true): Circuit => ({
  id,
  r1cs: sha256(utf8(id)),
  verificationKey: opaqueKey(`vk ${id}`, 288),
  ...(ceremony ? { ceremony: sha256(utf8(`ceremony ${id}`)) } : {}),
})

export const genesisOf = (changes: Partial<Genesis> = {}): Genesis => ({
  version: formatVersion,
  createdAt,
  mode: modes.production,
  name,
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
  operators: { threshold: 2, keys: operatorNames.map(keyOf) },
  recovery: { keys: { threshold: 1, keys: recoveryNames.map(keyOf) }, delayMs: 86_400_000 },
  cosigners: cosignerSetOf(['r1', 'r2', 'r3']),
  circuits: [circuitOf('sealed-amount-32')],
  ...changes,
})

/** Every secret that a genesis of these replicas needs. */
export const genesisSecrets = (replicas: readonly string[] = ['r1', 'r2', 'r3']): Uint8Array[] =>
  [...operatorNames, ...recoveryNames, ...replicas.map((replica) => `${replica} answer`)].map(seedOf)

export const genesis = genesisOf()
export const signedGenesis = signGenesis(genesis, genesisSecrets())
export const cluster = clusterOf(genesis)
export const origin = originOf({ name, cluster, group: group0, generation: 0 })

export const trustPolicyOf = (changes: Partial<TrustPolicy> = {}): TrustPolicy => ({
  version: formatVersion,
  cluster,
  group: group0,
  generation: 0,
  witnesses: [],
  witnessesRequired: 0,
  ...changes,
})

/** The vkey of an outside witness. */
export const witnessVkey = (witness: string): string => formatVkey(witnessKeyOf(witness))
const witnessKeyOf = (witness: string): VerifierKey => ({
  name: `${witness.replaceAll(' ', '-')}.example`,
  type: cosignatureKeyType,
  publicKey: keyOf(witness),
})

export const addClient = (client: string, grants: Grant[] = []): Extract<KeyOperation, { type: 'addClient' }> => ({
  type: 'addClient',
  client: idOf(client),
  publicKey: keyOf(client),
  possession: possessionOf(seedOf(client), roles.client, cluster),
  grants,
})

export const memberOf = (reader: string): KeysetMember => ({
  signingKey: keyOf(reader),
  possession: possessionOf(seedOf(reader), roles.reader, cluster),
  kemKey: opaqueKey(`${reader} kem`, 1216),
})

/** An hpke-xwing version with a fresh key for each of the members. */
export const memberKeysVersion = (what: string, members: readonly number[]): KeyVersion => ({
  memberKeys: members.map((member) => ({ member, key: opaqueKey(`${what} ${member}`, 1216) })),
})

export const shareFor = (member: number) => ({ member, enc: new Uint8Array(1120), ciphertext: new Uint8Array(48) })

/** An ElGamal version with secret key 1 or 2, so that no scalar multiplication is needed: PK = G or 2G, T = G. */
export const elgamalVersion = (keyset: string, keyEpoch: number, secretKey: 1 | 2 = 1): KeyVersion => {
  const generator = concatBytes(
    bigintToBytes(5299619240641551281634865583518297030282874472190772894086521144482721001553n, 32),
    bigintToBytes(16950150798460657717958625567821834550301663161624707787222815936182638968203n, 32),
  )
  const pair = concatBytes(generator, generator)
  const publicKey = secretKey === 1 ? generator : addElgamal(pair, pair).slice(0, 64)
  const challenge = elgamalPopChallenge({ cluster, keyset: idOf(keyset), keyEpoch, publicKey }, generator)
  const z = (1n + challenge * BigInt(secretKey)) % babyJubjubOrder
  return { publicKey, possession: concatBytes(generator, bigintToBytes(z, 32)) }
}

export const createKeyset = (
  keyset: string,
  suite: Suite,
  version: KeyVersion,
  readers: readonly string[] = ['ada', 'bob'],
  readyMin = 1,
): Extract<KeyOperation, { type: 'createKeyset' }> => ({
  type: 'createKeyset',
  keyset: idOf(keyset),
  suite,
  members: readers.map(memberOf),
  readyMin,
  version,
})

export const addKeyVersion = (
  keyset: string,
  keyEpoch: number,
  version: KeyVersion,
  endorser: readonly [index: number, reader: string] = [0, 'ada'],
): Extract<KeyOperation, { type: 'addKeyVersion' }> => ({
  type: 'addKeyVersion',
  keyset: idOf(keyset),
  keyEpoch,
  version,
  endorsement: [
    endorser[0],
    endorseSignature(seedOf(endorser[1]), { cluster, keyset: idOf(keyset), keyEpoch, version }),
  ],
})

export const activate = (
  keyset: string,
  keyEpoch: number,
  version: KeyVersion,
  graceMs = 0,
  ready: readonly (readonly [index: number, reader: string])[] = [[0, 'ada']],
): Extract<KeyOperation, { type: 'activateKeyVersion' }> => ({
  type: 'activateKeyVersion',
  keyset: idOf(keyset),
  keyEpoch,
  graceMs,
  ready: ready.map(([index, reader]) => [
    index,
    readySignature(seedOf(reader), { cluster, keyset: idOf(keyset), keyEpoch, version }),
  ]),
})

export const cosignerSetEvent = (
  replicas: readonly string[],
  quorum?: number,
): Extract<KeyOperation, { type: 'cosignerSet' }> => ({
  type: 'cosignerSet',
  set: cosignerSetOf(replicas, quorum),
  possessions: replicas.map((replica, i) => [i, possessionOf(seedOf(`${replica} answer`), roles.answer, cluster)]),
})

/** Signs an operation as the next event, by the first two operators unless said otherwise. */
export const signedEvent = (
  after: ChainPosition,
  operation: KeyOperation,
  options: { notAfter?: number; seen?: { treeSize: number; rootHash: Uint8Array }; operators?: readonly number[] } = {},
): Uint8Array => {
  const { notAfter = createdAt + 3_600_000, seen = { treeSize: 2, rootHash: new Uint8Array(32) } } = options
  return signKeyEvent(
    buildKeyEvent({ after, operation, seen, notAfter }),
    (options.operators ?? [0, 1]).map((index) => ({ index, secretKey: seedOf(operatorNames[index]!) })),
  )
}

export interface NoteOptions {
  readonly replicas: readonly string[]
  /** Replicas whose log key signs; the first of `replicas` by default. */
  readonly logs?: readonly string[]
  readonly witnesses?: readonly string[]
  readonly timeSeconds?: number
  readonly rootHash?: Uint8Array
  readonly origin?: string
}

/** Registry, leaves and log time of a cluster that only ever does what an honest one does. */
export class ExampleCluster {
  readonly registry = Registry.fromGenesis(signedGenesis)
  readonly signedEvents: Uint8Array[] = [signedGenesis]
  readonly leaves: Uint8Array[] = []
  readonly notes = new Map<number, string>()
  logTime = createdAt
  #firstLeaf = 0

  constructor() {
    this.addLeaf(leafKinds.genesis, signedGenesis)
    this.closeBatch()
  }

  addLeaf(kind: 0 | 1 | 2 | 3, signed: Uint8Array, verdicts?: number[]): number {
    const { logTime } = this
    const record = { kind, group: group0, logIndex: this.leaves.length, logTime, digest: sha256(signed) }
    this.leaves.push(encode(leafRecordCodec, verdicts === undefined ? record : { ...record, verdicts }))
    return this.leaves.length - 1
  }

  /** Applies an operation as the next event; one millisecond passes. */
  apply(operation: KeyOperation): Uint8Array {
    this.logTime += 1
    const signed = signedEvent(this.registry, operation)
    const checked = this.registry.check(signed, { logTime: this.logTime, knowsSeen: () => true })
    if (checked.kind === 'duplicate') throw new Error('the example repeats an event')
    this.registry.apply(checked, { leafIndex: this.addLeaf(leafKinds.keyEvent, signed), logTime: this.logTime })
    this.signedEvents.push(signed)
    return signed
  }

  /** Writes the batch record; returns the tree size. */
  closeBatch(): number {
    const leafCount = this.leaves.length - this.#firstLeaf
    this.leaves.push(
      encode(batchRecordCodec, {
        kind: leafKinds.batchRecord,
        group: group0,
        logIndex: this.leaves.length,
        logTime: this.logTime,
        firstLeaf: this.#firstLeaf,
        leafCount,
        batchRoot: rootOf(this.leaves.slice(this.#firstLeaf)),
        registryHead: this.registry.head,
        rulesVersion: 1,
      }),
    )
    this.#firstLeaf = this.leaves.length
    if (this.registry.transitionPending) this.registry.noteTransition(this.leaves.length)
    return this.leaves.length
  }

  /** A checkpoint note of the first `size` leaves. */
  note(size: number, options: NoteOptions): string {
    const {
      replicas,
      logs = replicas.slice(0, 1),
      witnesses = [],
      timeSeconds = Math.floor(this.logTime / 1000),
    } = options
    const noteOrigin = options.origin ?? origin
    const rootHash = options.rootHash ?? rootOf(this.leaves.slice(0, size))
    const text = formatCheckpoint({ origin: noteOrigin, size, rootHash })
    const cosigners = [
      ...replicas.map((replica) => ({ seed: seedOf(`${replica} cosigner`), key: cosignerKeyOf(replica) })),
      ...witnesses.map((witness) => ({ seed: seedOf(witness), key: witnessKeyOf(witness) })),
    ]
    return formatNote(text, [
      ...logs.map((replica): NoteSignature => {
        const seed = seedOf(`${replica} log`)
        const key: VerifierKey = { name: noteOrigin, type: ed25519KeyType, publicKey: publicKeyOf(seed) }
        return { name: key.name, keyId: keyId(key), signature: sign(seed, utf8(text)) }
      }),
      ...cosigners.map(({ seed, key }): NoteSignature => {
        const signature = sign(seed, cosignatureMessage(text, timeSeconds))
        return { name: key.name, keyId: keyId(key), signature: formatTimedSignature(timeSeconds, signature) }
      }),
    ])
  }

  /** The policy chain; transition notes must stand in `notes`. */
  policyChain(): Uint8Array {
    return this.registry.policyChain((size) => this.notes.get(size))
  }

  inclusionProof(leafIndex: number, size = this.leaves.length): Uint8Array[] {
    return auditPath(this.leaves.slice(0, size).map(leafHash), leafIndex)
  }
}

function cosignerKeyOf(replica: string): VerifierKey {
  const publicKey = keyOf(`${replica} cosigner`)
  return { name: cosignerName(name, toHex(idOf(replica))), type: cosignatureKeyType, publicKey }
}

/** RFC 6962 §2.1, as it is written. */
export function rootOf(leaves: readonly Uint8Array[]): Uint8Array {
  return treeHash(leaves.map(leafHash))
}

function treeHash(hashes: readonly Uint8Array[]): Uint8Array {
  if (hashes.length === 1) return hashes[0]!
  const k = splitAt(hashes.length)
  return nodeHash(treeHash(hashes.slice(0, k)), treeHash(hashes.slice(k)))
}

/** RFC 6962 §2.1.1. */
function auditPath(hashes: readonly Uint8Array[], index: number): Uint8Array[] {
  if (hashes.length === 1) return []
  const k = splitAt(hashes.length)
  return index < k
    ? [...auditPath(hashes.slice(0, k), index), treeHash(hashes.slice(k))]
    : [...auditPath(hashes.slice(k), index - k), treeHash(hashes.slice(0, k))]
}

/** RFC 6962 §2.1.2 for a tree of `size1` leaves inside this one. */
export function consistencyPath(leaves: readonly Uint8Array[], size1: number): Uint8Array[] {
  const subproof = (m: number, hashes: readonly Uint8Array[], complete: boolean): Uint8Array[] => {
    if (m === hashes.length) return complete ? [] : [treeHash(hashes)]
    const k = splitAt(hashes.length)
    return m <= k
      ? [...subproof(m, hashes.slice(0, k), complete), treeHash(hashes.slice(k))]
      : [...subproof(m - k, hashes.slice(k), false), treeHash(hashes.slice(0, k))]
  }
  return subproof(size1, leaves.map(leafHash), true)
}

function splitAt(n: number): number {
  let k = 1
  while (k * 2 < n) k *= 2
  return k
}

/** Replaces the first occurrence of some bytes inside others: how an attacker edits what is not signed. */
export function replaceBytes(whole: Uint8Array, old: Uint8Array, replacement: Uint8Array): Uint8Array {
  for (let at = 0; at + old.length <= whole.length; at++) {
    if (equalBytes(whole.subarray(at, at + old.length), old)) {
      return concatBytes(whole.subarray(0, at), replacement, whole.subarray(at + old.length))
    }
  }
  throw new Error('the bytes do not occur')
}

/** The `code` of what an action throws; undefined if it throws nothing. */
export function codeOf(action: () => unknown): string | undefined {
  try {
    action()
  } catch (error) {
    const code = errorCode(error)
    if (code === undefined) throw error
    return code
  }
  return undefined
}

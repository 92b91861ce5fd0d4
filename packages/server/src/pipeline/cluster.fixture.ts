/**
 * A cluster on paper for the pipeline's tests: a genesis with real keys, key events that set up clients, keysets and
 * namespaces, and writers that sign what real clients sign. Sealed values are bytes of the right size only.
 */
import { decode, encode, readU32, utf8, writeU32, type Random } from '@cipherlog/core'
import { labelledHash, labels, sha256 } from '@cipherlog/crypto/hash'
import { elgamalPop, encryptElgamal, generateElgamalKey } from '@cipherlog/crypto/seal'
import { publicKeyOf, signLabelled } from '@cipherlog/crypto/signature'
import {
  applied,
  commandBundle,
  contextBytes,
  entryKinds,
  formatVersion,
  group0,
  joinBodies,
  keyEnvelope,
  modes,
  readPolicies,
  roles,
  sessionOpening,
  signedApplied,
  signedCommandBundle,
  signedSessionOpening,
  suites,
  wraps as wrapsCodec,
  type Applied,
  type CommandBodies,
  type CommandHead,
  type CosignerSet,
  type Genesis,
  type Grant,
  type KeyOperation,
  type NodeKeys,
  type Seen,
} from '@cipherlog/format'
import { createMemoryState, Ledger, type LedgerOptions, type Proposal, type StateMachine } from '@cipherlog/machine'
import { rootOfBatch } from '@cipherlog/merkle/batch'
import { sealedAmountStatement } from '@cipherlog/proof'
import { createTrapdoorKey } from '@cipherlog/proof/trapdoor'
import {
  buildKeyEvent,
  buildQuarantine,
  clusterOf,
  positionAfter,
  possessionOf,
  readySignature,
  signGenesis,
  signKeyEvent,
  signQuarantine,
  type ChainPosition,
} from '@cipherlog/registry'

export const createdAt = 472_223 * 3_600_000

export const seedOf = (name: string): Uint8Array => sha256(utf8(`seed ${name}`))
const keyOf = (name: string): Uint8Array => publicKeyOf(seedOf(name))
export const idOf = (name: string): Uint8Array => sha256(utf8(`id ${name}`)).slice(0, 16)

/** `length` bytes that belong to a name. */
export function opaque(name: string, length: number): Uint8Array {
  const out = new Uint8Array(length)
  for (let at = 0; at < length; at += 32) out.set(sha256(utf8(`${name} ${at}`)).subarray(0, length - at), at)
  return out
}

function seededRandom(name: string): Random {
  const counter = new Uint8Array(36)
  counter.set(sha256(utf8(name)))
  return {
    bytes(length) {
      writeU32(counter, 32, readU32(counter, 32) + 1)
      return opaque(sha256(counter).join(), length)
    },
  }
}

export function nodeKeysOf(replica: string): NodeKeys {
  return {
    version: formatVersion,
    peerId: idOf(replica),
    tls: seedOf(`${replica} tls`),
    log: seedOf(`${replica} log`),
    cosigner: seedOf(`${replica} cosigner`),
    answer: seedOf(`${replica} answer`),
  }
}

export function cosignerSetOf(replicas: readonly string[], quorum = Math.floor(replicas.length / 2) + 1): CosignerSet {
  return {
    members: replicas.map((replica) => ({
      peerId: idOf(replica),
      tlsKey: keyOf(`${replica} tls`),
      logKey: keyOf(`${replica} log`),
      cosignerKey: keyOf(`${replica} cosigner`),
      answerKey: keyOf(`${replica} answer`),
    })),
    quorum,
  }
}

/** No test of the pipeline has vectors. */
export const ledgerOptions: LedgerOptions = {
  evaluator: { add: () => Promise.reject(new Error('there are no vectors here')) },
  rootOfBatch,
}

const circuit = 'sealed-amount-32'
/** A key whose trapdoor makes valid proofs of anything. */
const trapdoor = createTrapdoorKey(utf8('pipeline'))

export class TestCluster {
  readonly replicas: readonly string[]
  readonly genesis: Genesis
  readonly signedGenesis: Uint8Array
  readonly id: Uint8Array
  /** The checkpoint of size 2. */
  readonly seen: Seen
  /** The key events that set the cluster up, in order. */
  readonly setup: readonly Proposal[]
  readonly elgamal = generateElgamalKey(seededRandom('elgamal key'))
  #position: ChainPosition

  private constructor(
    replicas: readonly string[],
    genesis: Genesis,
    signedGenesis: Uint8Array,
    seen: Seen,
    setUp: 'all' | 'values',
  ) {
    this.replicas = replicas
    this.genesis = genesis
    this.signedGenesis = signedGenesis
    this.id = clusterOf(genesis)
    this.seen = seen
    this.#position = { cluster: this.id, operatorSetVersion: 0, head: { number: 0, digest: this.id } }
    this.setup = this.#setUp(setUp).map((operation) => this.event(operation))
  }

  /** @param setUp - `values`: one client and a namespace of values, which costs less. */
  static async build(
    replicas: readonly string[] = ['r1', 'r2', 'r3'],
    setUp: 'all' | 'values' = 'all',
    rulesVersion = 1,
  ): Promise<TestCluster> {
    const genesis: Genesis = {
      version: formatVersion,
      createdAt,
      mode: modes.development,
      name: 'example.com/ledger',
      rulesVersion,
      limits: {
        sessionsPerClientMax: 16,
        bundleBytesMax: 1_048_576,
        bodiesBytesMax: 524_288,
        slicesPerCellMax: 2,
        maxClockErrorMs: 500,
        batchIntervalMs: 20,
        snapshotEveryLeaves: 50_000,
      },
      operators: { threshold: 1, keys: [keyOf('olga')] },
      cosigners: cosignerSetOf(replicas),
      circuits: [{ id: circuit, r1cs: opaque('r1cs', 32), verificationKey: trapdoor.verificationKey }],
    }
    const signedGenesis = signGenesis(genesis, [
      seedOf('olga'),
      ...replicas.map((replica) => seedOf(`${replica} answer`)),
    ])
    const { closed } = await Ledger.create(createMemoryState(), signedGenesis, ledgerOptions)
    return new TestCluster(
      replicas,
      genesis,
      signedGenesis,
      { treeSize: closed.size, rootHash: closed.rootHash },
      setUp,
    )
  }

  /** The next key event of the chain. */
  event(operation: KeyOperation): Proposal {
    const bytes = buildKeyEvent({
      after: this.#position,
      operation,
      seen: this.seen,
      notAfter: createdAt + 1_000_000_000,
    })
    this.#position = positionAfter(bytes)
    const signed = signKeyEvent(bytes, [{ index: 0, secretKey: seedOf('olga') }])
    return { kind: entryKinds.keyEvent, signed, body: new Uint8Array(0) }
  }

  /** Sets an entry aside, signed by the operator. */
  quarantine(index: number, digest: Uint8Array): Proposal {
    const log = { cluster: this.id, group: group0, generation: 0, operatorSetVersion: 0 }
    const signed = signQuarantine(buildQuarantine(log, { index, digest }), [{ index: 0, secretKey: seedOf('olga') }])
    return { kind: entryKinds.quarantine, signed, body: new Uint8Array(0) }
  }

  /** A namespace of an application's own machine. */
  applicationNamespace(name: string, { name: machine, version, code }: StateMachine): KeyOperation {
    return {
      type: 'createNamespace',
      name,
      machine,
      suite: suites.hpkeXwing,
      keyset: idOf('records'),
      readPolicy: readPolicies.public,
      application: { version, code: code! },
    }
  }

  cosignerSet(replicas: readonly string[]): KeyOperation {
    return {
      type: 'cosignerSet',
      set: cosignerSetOf(replicas),
      possessions: replicas.map((replica, i) => [i, possessionOf(seedOf(`${replica} answer`), roles.answer, this.id)]),
    }
  }

  addClient(name: string, grants: Grant[]): KeyOperation {
    const possession = possessionOf(seedOf(name), roles.client, this.id)
    return { type: 'addClient', client: idOf(name), publicKey: keyOf(name), possession, grants }
  }

  #setUp(setUp: 'all' | 'values'): KeyOperation[] {
    const member = (keyset: string) => ({
      signingKey: keyOf('ada'),
      possession: possessionOf(seedOf('ada'), roles.reader, this.id),
      kemKey: opaque(`kem ${keyset}`, 1216),
    })
    const records = { memberKeys: [{ member: 0, key: opaque('records 1', 1216) }] }
    const amounts = {
      publicKey: this.elgamal.publicKey,
      possession: elgamalPop({
        secretKey: this.elgamal.secretKey,
        cluster: this.id,
        keyset: idOf('amounts'),
        keyEpoch: 1,
        random: seededRandom('pop'),
      }),
    }
    const keyset = (name: string, suite: number, version: typeof records | typeof amounts): KeyOperation[] => [
      { type: 'createKeyset', keyset: idOf(name), suite, members: [member(name)], readyMin: 1, version },
      {
        type: 'activateKeyVersion',
        keyset: idOf(name),
        keyEpoch: 1,
        graceMs: 0,
        ready: [[0, readySignature(seedOf('ada'), { cluster: this.id, keyset: idOf(name), keyEpoch: 1, version })]],
      },
    ]
    const namespace = (name: string, machine: string, keysetName = 'records', readPolicy = 1) =>
      ({
        type: 'createNamespace',
        name,
        machine,
        suite: keysetName === 'records' ? suites.hpkeXwing : suites.elgamalBjj,
        keyset: idOf(keysetName),
        readPolicy,
      }) as const
    const operations = ['envelope', 'append', 'put', 'delete', 'add']
    const values = [...keyset('records', suites.hpkeXwing, records), namespace('orders', 'kv')]
    if (setUp === 'values') return [...values, this.addClient('alice', [{ namespaces: '*', operations }])]
    return [
      ...values,
      ...keyset('amounts', suites.elgamalBjj, amounts),
      namespace('events', 'log'),
      { ...namespace('revenue', 'counter', 'amounts'), circuit },
      this.addClient('alice', [{ namespaces: '*', operations }]),
      this.addClient('bob', [{ namespaces: '*', operations }]),
    ]
  }

  /** From here on not every namespace is public. */
  privateNamespace(): KeyOperation {
    return {
      type: 'createNamespace',
      name: 'secrets',
      machine: 'kv',
      suite: suites.hpkeXwing,
      keyset: idOf('records'),
      readPolicy: readPolicies.granted,
    }
  }
}

export interface Command {
  readonly head: CommandHead
  readonly bodies: CommandBodies
}

/** A client that counts its sequences. */
export class Writer {
  readonly #cluster: TestCluster
  readonly #name: string
  #session = 0
  #nextSequence = 1
  #commands = 0
  /** Id of the envelope that {@link setUp} writes. */
  #envelope = new Uint8Array(32)

  constructor(cluster: TestCluster, name = 'alice') {
    this.#cluster = cluster
    this.#name = name
  }

  /** Opens the next session. */
  open(): Proposal {
    this.#session++
    this.#nextSequence = 1
    const bytes = encode(sessionOpening, {
      version: formatVersion,
      cluster: this.#cluster.id,
      group: group0,
      generation: 0,
      client: idOf(this.#name),
      number: this.#session,
      seen: this.#cluster.seen,
      notAfter: createdAt + 1_000_000_000,
    })
    const signature = signLabelled(seedOf(this.#name), labels.openSession, bytes)
    return {
      kind: entryKinds.sessionOpening,
      signed: encode(signedSessionOpening, [bytes, signature]),
      body: new Uint8Array(0),
    }
  }

  /** The next bundle of the session. */
  bundle(...commands: readonly Command[]): Proposal {
    const bytes = encode(commandBundle, {
      version: formatVersion,
      cluster: this.#cluster.id,
      group: group0,
      generation: 0,
      registry: 0,
      client: idOf(this.#name),
      session: this.#session,
      firstSequence: this.#nextSequence,
      auth: 1,
      heads: commands.map(({ head }) => head),
    })
    this.#nextSequence += commands.length
    return {
      kind: entryKinds.commandBundle,
      signed: encode(signedCommandBundle, [bytes, signLabelled(seedOf(this.#name), labels.bundle, bytes)]),
      body: joinBodies(commands.map(({ bodies }) => bodies)),
    }
  }

  /** Leaves a gap: the bundle made next is refused until one with this sequence is applied. */
  skipSequence(): void {
    this.#nextSequence++
  }

  #command(head: Omit<CommandHead, 'commandId' | 'keyEpoch'>, bodies: CommandBodies): Command {
    const ref = (body: Uint8Array | undefined) =>
      body === undefined ? undefined : { sha256: sha256(body), bytes: body.length }
    return {
      head: {
        ...head,
        keyEpoch: 1,
        commandId: idOf(`${this.#name} command ${this.#commands++}`),
        ciphertext: ref(bodies.ciphertext),
        proof: ref(bodies.proof),
        wraps: ref(bodies.wraps),
      },
      bodies,
    }
  }

  /** The key envelope that puts and appends name; its bundle comes first. */
  envelope(): Command {
    const args = encode(keyEnvelope, {
      cluster: this.#cluster.id,
      client: idOf(this.#name),
      keyset: idOf('records'),
      keyEpoch: 1,
      commit: opaque('commit', 32),
    })
    this.#envelope = new Uint8Array(labelledHash(labels.envelopeId, args))
    const wraps = encode(wrapsCodec, [
      { wrapEpoch: 1, readerKeyId: opaque('reader', 32), enc: opaque('enc', 1120), ciphertext: opaque('wrap', 48) },
    ])
    const head = { namespace: 'orders', op: 'envelope', keyset: idOf('records'), suite: suites.hpkeXwing, args }
    return this.#command(head, { wraps })
  }

  get envelopeId(): Uint8Array {
    return this.#envelope
  }

  put(name: string, value = name, namespace = 'orders'): Command {
    const key = opaque(`key ${name}`, 33)
    const head = { namespace, op: 'put', key, keyset: idOf('records'), suite: suites.hpkeXwing }
    return this.#command({ ...head, envelope: this.#envelope }, { ciphertext: opaque(`value ${value}`, 80) })
  }

  /** Adds to a counter, proven; `forged` flips the last bit of the proof. */
  add(name: string, amount: bigint, forged = false): Command {
    const { publicKey } = this.#cluster.elgamal
    const { ciphertext } = encryptElgamal({ publicKey, amount, random: seededRandom(`amount ${amount}`) })
    const head = {
      namespace: 'revenue',
      op: 'add',
      key: opaque(`key ${name}`, 33),
      keyset: idOf('amounts'),
      suite: suites.elgamalBjj,
      circuit,
    }
    const { head: signedHead } = this.#command(head, { ciphertext, proof: new Uint8Array(128) })
    const context = labelledHash(labels.context, contextBytes(this.#cluster.id, idOf(this.#name), signedHead))
    const proof = trapdoor.prove(sealedAmountStatement({ ciphertext, publicKey, context }), utf8(name))
    // Another valid point: it decodes, and proves something else.
    const bytes = forged
      ? trapdoor.prove(sealedAmountStatement({ ciphertext, publicKey, context: sha256(context) }), utf8(name))
      : proof
    return {
      head: { ...signedHead, proof: { sha256: sha256(bytes), bytes: bytes.length } },
      bodies: { ciphertext, proof: bytes },
    }
  }
}

/** What an answer states. */
export function appliedOf(answer: { readonly applied: Uint8Array }): Applied {
  return decode(applied, decode(signedApplied, answer.applied)[0])
}

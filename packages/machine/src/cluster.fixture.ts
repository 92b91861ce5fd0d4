/**
 * A cluster on paper: a genesis with real keys, operators, clients, keysets of suites 1, 2 and (on demand) 4, and
 * namespaces of every machine; and writers that sign what real clients sign. The ledger of a test replays its log.
 *
 * Sealed values and wraps are bytes of the right size only: the ledger cannot tell, and nobody here opens them.
 */
import { encode, readU32, systemRandom, utf8, writeU32, type Random } from '@cipherlog/core'
import { labelledHash, labels, sha256 } from '@cipherlog/crypto/hash'
import { elgamalPop, encryptElgamal, generateElgamalKey, loadBfvClient, type BfvKeyPair } from '@cipherlog/crypto/seal'
import { publicKeyOf, signLabelled } from '@cipherlog/crypto/signature'
import {
  commandBundle,
  entryKinds,
  formatVersion,
  group0,
  joinBodies,
  keyEnvelope,
  modes,
  readPolicies,
  roles,
  sessionOpening,
  signedCommandBundle,
  signedSessionOpening,
  suites,
  wraps as wrapsCodec,
  type CommandBodies,
  type CommandBundle,
  type CommandHead,
  type CosignerSet,
  type Genesis,
  type Grant,
  type KeyOperation,
  type KeyVersion,
  type Limits,
  type Seen,
  type SessionOpening,
} from '@cipherlog/format'
import { rootOfBatch } from '@cipherlog/merkle/batch'
import {
  buildGroupStart,
  buildKeyEvent,
  buildQuarantine,
  clusterOf,
  endorseSignature,
  possessionOf,
  positionAfter,
  readySignature,
  signGenesis,
  signGroupStart,
  signKeyEvent,
  signQuarantine,
  type ChainPosition,
} from '@cipherlog/registry'
import { Ledger } from './ledger.ts'
import { createMemoryState } from './state.ts'
import { type Proposal } from './entry.ts'

/** The start of an hour and of a minute of log time. */
export const createdAt = 472_223 * 3_600_000
export const minuteMs = 60_000
export const hourMs = 3_600_000

/** The seed that belongs to a name, the key of that seed, and 16 bytes that belong to it. */
export const seedOf = (name: string): Uint8Array => sha256(utf8(`seed ${name}`))
export const keyOf = (name: string): Uint8Array => publicKeyOf(seedOf(name))
export const idOf = (name: string): Uint8Array => sha256(utf8(`id ${name}`)).slice(0, 16)

/** `length` bytes that belong to a name, in the place of what only its reader could check. */
export function opaque(name: string, length: number): Uint8Array {
  const out = new Uint8Array(length)
  for (let at = 0; at < length; at += 32) out.set(sha256(utf8(`${name} ${at}`)).subarray(0, length - at), at)
  return out
}

/** Randomness from a seed, so that two runs of a test make the same ciphertexts. Not for real keys. */
export function seededRandom(name: string): Random {
  const counter = new Uint8Array(36)
  counter.set(sha256(utf8(name)))
  return {
    bytes(length) {
      writeU32(counter, 32, readU32(counter, 32) + 1)
      return opaque(sha256(counter).join(), length)
    },
  }
}

const operators = ['olga', 'otto', 'ole']

export function cosignerSetOf(replicas: readonly string[]): CosignerSet {
  return {
    members: replicas.map((replica) => ({
      peerId: idOf(replica),
      tlsKey: keyOf(`${replica} tls`),
      logKey: keyOf(`${replica} log`),
      cosignerKey: keyOf(`${replica} cosigner`),
      answerKey: keyOf(`${replica} answer`),
    })),
    quorum: Math.floor(replicas.length / 2) + 1,
  }
}

/** How often and how much one slice of `latency` takes. */
export const vectorLimits = { length: 4, maxAbs: 1000, maxCount: 3 }

export interface ClusterOptions {
  readonly limits?: Partial<Limits>
  /** Default: 1. */
  readonly rulesVersion?: number
  /** Of the circuit `sealed-amount-32`; opaque bytes unless a test verifies proofs. */
  readonly verificationKey?: Uint8Array
  /** Adds a BFV keyset and the namespace `latency` (loads SEAL, half a second). */
  readonly vectors?: boolean
}

/** Everything fixed by the log's first minutes, and the secrets to go on from there. */
export class TestCluster {
  readonly genesis: Genesis
  readonly signedGenesis: Uint8Array
  /** SHA-256 of the genesis, 32 bytes. */
  readonly id: Uint8Array
  /** The checkpoint of size 2, which every signer may name. */
  readonly seen: Seen
  /** The key events that set the cluster up, in order. */
  readonly setup: readonly Uint8Array[]
  readonly elgamal = generateElgamalKey(seededRandom('elgamal key'))
  readonly bfvPublicKey: Uint8Array | undefined
  readonly bfvSecretKey: Uint8Array | undefined
  #position: ChainPosition

  private constructor(genesis: Genesis, seen: Seen, bfv: BfvKeyPair | undefined) {
    this.genesis = genesis
    this.id = clusterOf(genesis)
    this.signedGenesis = signedGenesisOf(genesis)
    this.seen = seen
    this.bfvPublicKey = bfv?.publicKey
    this.bfvSecretKey = bfv?.secretKey
    this.#position = { cluster: this.id, operatorSetVersion: 0, head: { number: 0, digest: this.id } }
    this.setup = this.#setUp().map((operation) => this.event(operation))
  }

  static async build(options: ClusterOptions = {}): Promise<TestCluster> {
    const genesis: Genesis = {
      version: formatVersion,
      createdAt,
      mode: modes.development,
      name: 'example.com/ledger',
      rulesVersion: options.rulesVersion ?? 1,
      limits: {
        sessionsPerClientMax: 3,
        bundleBytesMax: 1_048_576,
        bodiesBytesMax: 524_288,
        slicesPerCellMax: 2,
        maxClockErrorMs: 500,
        batchIntervalMs: 80,
        snapshotEveryLeaves: 50_000,
        ...options.limits,
      },
      operators: { threshold: 2, keys: operators.map(keyOf) },
      cosigners: cosignerSetOf(['r1', 'r2', 'r3']),
      circuits: [
        {
          id: 'sealed-amount-32',
          r1cs: opaque('r1cs', 32),
          verificationKey: options.verificationKey ?? opaque('verification key', 288),
        },
      ],
    }
    const noSums = { add: () => Promise.reject(new Error('a genesis has no vectors')) }
    const { closed } = await Ledger.create(createMemoryState(), signedGenesisOf(genesis), {
      evaluator: noSums,
      rootOfBatch,
    })
    const bfv = options.vectors === true ? (await loadBfvClient(suites.bfv4096)).generateKey() : undefined
    return new TestCluster(genesis, { treeSize: closed.size, rootHash: closed.rootHash }, bfv)
  }

  /** The next key event of the chain, signed by two operators. */
  event(
    operation: KeyOperation,
    options: {
      signers?: readonly number[]
      seen?: Seen
      notAfter?: number
      after?: ChainPosition
      keep?: boolean
    } = {},
  ): Uint8Array {
    const { after = this.#position, seen = this.seen, notAfter = createdAt + 1000 * hourMs } = options
    const bytes = buildKeyEvent({ after, operation, seen, notAfter })
    if (options.keep !== false) this.#position = positionAfter(bytes)
    const signers = options.signers ?? [0, 1]
    return signKeyEvent(
      bytes,
      signers.map((index) => ({ index, secretKey: seedOf(operators[index]!) })),
    )
  }

  /** Sets an entry aside, signed by two operators unless a test says otherwise. */
  quarantine(
    entry: { index: number; digest: Uint8Array },
    options: { signers?: readonly number[]; cluster?: Uint8Array; group?: Uint8Array; generation?: number } = {},
  ): Proposal {
    const { signers = [0, 1], cluster = this.id, group = group0, generation = 0 } = options
    const bytes = buildQuarantine({ cluster, group, generation, operatorSetVersion: 0 }, entry)
    const signed = signQuarantine(
      bytes,
      signers.map((index) => ({ index, secretKey: seedOf(operators[index]!) })),
    )
    return { kind: entryKinds.quarantine, signed, body: new Uint8Array(0) }
  }

  /** Lets a log go on as the next generation on these replicas, signed by two operators unless a test says otherwise. */
  groupStart(
    ledger: Ledger,
    end: Seen,
    replicas: readonly string[],
    changes: Partial<Parameters<typeof buildGroupStart>[0]> = {},
    signers: readonly number[] = [0, 1],
  ): Uint8Array {
    const { registry, group, generation, origin, logTime } = ledger
    const bytes = buildGroupStart({
      log: { cluster: this.id, group, generation, origin, operatorSetVersion: 0 },
      end,
      registryHead: registry.head,
      cosigners: cosignerSetOf(replicas),
      possessions: replicas.map((replica, i) => [i, possessionOf(seedOf(`${replica} answer`), roles.answer, this.id)]),
      startedAt: logTime + minuteMs,
      ...changes,
    })
    return signGroupStart(
      bytes,
      signers.map((index) => ({ index, secretKey: seedOf(operators[index]!) })),
    )
  }

  get position(): ChainPosition {
    return this.#position
  }

  addClient(name: string, grants: Grant[]): KeyOperation {
    const possession = possessionOf(seedOf(name), roles.client, this.id)
    return { type: 'addClient', client: idOf(name), publicKey: keyOf(name), possession, grants }
  }

  cosignerSet(replicas: readonly string[]): KeyOperation {
    return {
      type: 'cosignerSet',
      set: cosignerSetOf(replicas),
      possessions: replicas.map((replica, i) => [i, possessionOf(seedOf(`${replica} answer`), roles.answer, this.id)]),
    }
  }

  /** A version of an X-Wing keyset: one fresh key for its only member. */
  xwingVersion(keyset: string, keyEpoch: number): KeyVersion {
    return { memberKeys: [{ member: 0, key: opaque(`${keyset} ${keyEpoch}`, 1216) }] }
  }

  elgamalVersion(keyset: string, keyEpoch: number, keys = this.elgamal): KeyVersion {
    const possession = elgamalPop({
      secretKey: keys.secretKey,
      cluster: this.id,
      keyset: idOf(keyset),
      keyEpoch,
      random: seededRandom(`pop ${keyset} ${keyEpoch}`),
    })
    return { publicKey: keys.publicKey, possession }
  }

  createKeyset(keyset: string, suite: number, version: KeyVersion): KeyOperation {
    const member = {
      signingKey: keyOf('ada'),
      possession: possessionOf(seedOf('ada'), roles.reader, this.id),
      kemKey: opaque(`kem ${keyset}`, 1216),
    }
    return { type: 'createKeyset', keyset: idOf(keyset), suite, members: [member], readyMin: 1, version }
  }

  activate(keyset: string, keyEpoch: number, version: KeyVersion, graceMs = 0): KeyOperation {
    const claim = { cluster: this.id, keyset: idOf(keyset), keyEpoch, version }
    return {
      type: 'activateKeyVersion',
      keyset: idOf(keyset),
      keyEpoch,
      graceMs,
      ready: [[0, readySignature(seedOf('ada'), claim)]],
    }
  }

  addKeyVersion(keyset: string, keyEpoch: number, version: KeyVersion): KeyOperation {
    const claim = { cluster: this.id, keyset: idOf(keyset), keyEpoch, version }
    const endorsement: [number, Uint8Array] = [0, endorseSignature(seedOf('ada'), claim)]
    return { type: 'addKeyVersion', keyset: idOf(keyset), keyEpoch, version, endorsement }
  }

  #setUp(): KeyOperation[] {
    const records = this.xwingVersion('records', 1)
    const others = this.xwingVersion('others', 1)
    const amounts = this.elgamalVersion('amounts', 1)
    const namespace = (name: string, machine: string, suite: number, keyset: string) =>
      ({
        type: 'createNamespace',
        name,
        machine,
        suite,
        keyset: idOf(keyset),
        readPolicy: readPolicies.public,
      }) as const
    const circuit = 'sealed-amount-32'
    const operations = ['envelope', 'append', 'put', 'delete', 'add']
    const setup: KeyOperation[] = [
      this.createKeyset('records', suites.hpkeXwing, records),
      this.activate('records', 1, records),
      this.createKeyset('others', suites.hpkeXwing, others),
      this.activate('others', 1, others),
      this.createKeyset('amounts', suites.elgamalBjj, amounts),
      this.activate('amounts', 1, amounts),
      namespace('orders', 'kv', suites.hpkeXwing, 'records'),
      namespace('events', 'log', suites.hpkeXwing, 'records'),
      namespace('elsewhere', 'kv', suites.hpkeXwing, 'others'),
      { ...namespace('revenue', 'counter', suites.elgamalBjj, 'amounts'), circuit },
      { ...namespace('votes', 'tally', suites.elgamalBjj, 'amounts'), circuit },
      this.addClient('alice', [{ namespaces: '*', operations }]),
      this.addClient('bob', [
        { namespaces: 'orders', operations: ['put', 'envelope'], notAfter: createdAt + hourMs, bytesPerMinute: 4_000 },
        { namespaces: 'revenue', operations: ['add'], proofsPerMinute: 2 },
      ]),
    ]
    if (this.bfvPublicKey !== undefined) {
      const version = { publicKey: this.bfvPublicKey }
      setup.push(this.createKeyset('latencies', suites.bfv4096, version), this.activate('latencies', 1, version), {
        ...namespace('latency', 'vector', suites.bfv4096, 'latencies'),
        vector: vectorLimits,
      })
    }
    return setup
  }
}

function signedGenesisOf(genesis: Genesis): Uint8Array {
  const answers = genesis.cosigners.members.map((_, i) => `r${i + 1} answer`)
  return signGenesis(genesis, [...operators, ...answers].map(seedOf))
}

/** One command: what goes into the bundle and what travels beside it. */
export interface Command {
  readonly head: CommandHead
  readonly bodies: CommandBodies
}

/** A client that counts its sequences. */
export class Writer {
  readonly cluster: TestCluster
  readonly name: string
  /** The session in use and the next sequence; raised by {@link open} and {@link bundle}. */
  session = 0
  nextSequence = 1
  #commands = 0

  constructor(cluster: TestCluster, name = 'alice') {
    this.cluster = cluster
    this.name = name
  }

  get id(): Uint8Array {
    return idOf(this.name)
  }

  /** Opens the next session. */
  open(changes: Partial<SessionOpening> = {}, options: { signer?: string } = {}): Proposal {
    const opening: SessionOpening = {
      version: formatVersion,
      cluster: this.cluster.id,
      group: group0,
      generation: 0,
      client: this.id,
      number: this.session + 1,
      seen: this.cluster.seen,
      notAfter: createdAt + 1000 * hourMs,
      ...changes,
    }
    this.session = opening.number
    this.nextSequence = 1
    const bytes = encode(sessionOpening, opening)
    const signature = signLabelled(seedOf(options.signer ?? this.name), labels.openSession, bytes)
    return {
      kind: entryKinds.sessionOpening,
      signed: encode(signedSessionOpening, [bytes, signature]),
      body: new Uint8Array(0),
    }
  }

  /** The next bundle of the session. */
  bundle(commands: readonly Command[], changes: Partial<CommandBundle> = {}): Proposal {
    const bundle: CommandBundle = {
      version: formatVersion,
      cluster: this.cluster.id,
      group: group0,
      generation: 0,
      registry: 0,
      client: this.id,
      session: this.session,
      firstSequence: this.nextSequence,
      auth: 1,
      heads: commands.map(({ head }) => head),
      ...changes,
    }
    this.nextSequence = bundle.firstSequence + commands.length
    return signedBundle(bundle, commands, (bytes) => signLabelled(seedOf(this.name), labels.bundle, bytes))
  }

  /** A command of this client with its bodies' digests filled in. */
  command(head: Omit<CommandHead, 'commandId' | 'keyEpoch'> & { keyEpoch?: number }, bodies: CommandBodies): Command {
    const ref = (body: Uint8Array | undefined) =>
      body === undefined ? undefined : { sha256: sha256(body), bytes: body.length }
    return {
      head: {
        ...head,
        keyEpoch: head.keyEpoch ?? 1,
        commandId: idOf(`${this.name} command ${this.#commands++}`),
        ciphertext: ref(bodies.ciphertext),
        proof: ref(bodies.proof),
        wraps: ref(bodies.wraps),
      },
      bodies,
    }
  }

  /** An envelope with `count` wraps; its id is what later commands name. */
  envelope(
    options: {
      namespace?: string
      keyset?: string
      keyEpoch?: number
      of?: string
      subject?: string
      count?: number
    } = {},
  ): Command & { readonly id: Uint8Array } {
    const { namespace = 'orders', keyset = 'records', keyEpoch = 1, of = this.name, count = 1 } = options
    const args = encode(keyEnvelope, {
      cluster: this.cluster.id,
      client: idOf(of),
      keyset: idOf(keyset),
      keyEpoch,
      commit: opaque(`commit ${options.subject}`, 32),
      ...(options.subject === undefined ? {} : { subject: utf8(options.subject) }),
    })
    const wraps = encode(
      wrapsCodec,
      Array.from({ length: count }, (_, i) => ({
        wrapEpoch: keyEpoch,
        readerKeyId: opaque(`reader ${i}`, 32),
        enc: opaque(`enc ${i}`, 1120),
        ciphertext: opaque(`wrap ${i}`, 48),
      })),
    )
    const head = { namespace, op: 'envelope', keyset: idOf(keyset), keyEpoch, suite: suites.hpkeXwing, args }
    return { ...this.command(head, { wraps }), id: labelledHash(labels.envelopeId, args) }
  }

  put(
    name: string,
    envelope: Uint8Array | undefined,
    changes: Partial<CommandHead> = {},
    ciphertext = opaque(`value of ${name}`, 80),
  ): Command {
    const head = {
      namespace: 'orders',
      op: 'put',
      key: opaque(`key ${name}`, 33),
      keyset: idOf('records'),
      suite: suites.hpkeXwing,
      envelope,
      ...changes,
    }
    return this.command(head, { ciphertext })
  }

  append(envelope: Uint8Array | undefined, changes: Partial<CommandHead> = {}): Command {
    const head = { namespace: 'events', op: 'append', keyset: idOf('records'), suite: suites.hpkeXwing, envelope }
    return this.command({ ...head, ...changes }, { ciphertext: opaque('record', 64) })
  }

  /** Adds to a counter. The proof is opaque unless given: tests say how the verifier answers. */
  add(
    name: string,
    ciphertext = amount(this.cluster, 1n),
    proof = opaque('proof', 128),
    changes: Partial<CommandHead> = {},
  ): Command {
    const head = {
      namespace: 'revenue',
      op: 'add',
      key: opaque(`key ${name}`, 33),
      keyset: idOf('amounts'),
      suite: suites.elgamalBjj,
      circuit: 'sealed-amount-32',
      ...changes,
    }
    return this.command(head, { ciphertext, proof })
  }

  addVector(name: string, ciphertext: Uint8Array, changes: Partial<CommandHead> = {}): Command {
    const head = {
      namespace: 'latency',
      op: 'add',
      key: opaque(`key ${name}`, 33),
      keyset: idOf('latencies'),
      suite: suites.bfv4096,
      ...changes,
    }
    return this.command(head, { ciphertext })
  }
}

/** A bundle as it travels, whatever signs it. */
export function signedBundle(
  bundle: CommandBundle,
  commands: readonly Command[],
  sign: (bytes: Uint8Array) => Uint8Array,
): Proposal {
  const bytes = encode(commandBundle, bundle)
  return {
    kind: entryKinds.commandBundle,
    signed: encode(signedCommandBundle, [bytes, sign(bytes)]),
    body: joinBodies(commands.map(({ bodies }) => bodies)),
  }
}

export function keyEvent(signed: Uint8Array): Proposal {
  return { kind: entryKinds.keyEvent, signed, body: new Uint8Array(0) }
}

const amounts = new Map<bigint, Uint8Array>()
/** A real encryption of an amount under the cluster's key; the same bytes for the same amount. */
export function amount(cluster: TestCluster, value: bigint): Uint8Array {
  let ciphertext = amounts.get(value)
  if (ciphertext === undefined) {
    const { publicKey } = cluster.elgamal
    ciphertext = encryptElgamal({ publicKey, amount: value, random: seededRandom(`amount ${value}`) }).ciphertext
    amounts.set(value, ciphertext)
  }
  return ciphertext
}

/** A real encryption of a vector, with SEAL's own randomness. */
export async function vector(cluster: TestCluster, values: readonly number[]): Promise<Uint8Array> {
  const client = await loadBfvClient(suites.bfv4096)
  return client.encrypt({ publicKey: cluster.bfvPublicKey!, values })
}

/** For keys that no test needs again. */
export const freshElgamalKey = () => generateElgamalKey(systemRandom)

/**
 * The key operator: builds key events on the proven end of the chain, has them signed, proposes them and waits until
 * every client can prove them.
 *
 * Operators hold no decryption key. Where operators sit at different machines, `build` gives the bytes that each
 * signs with `operatorSignature`, and `propose` takes what `assembleKeyEvent` joins (both of `@cipherlog/registry`).
 */
import { CipherlogError, toHex } from '@cipherlog/core'
import { generateSigningKey } from '@cipherlog/crypto/signature'
import {
  entryKinds,
  group0,
  readPolicies,
  roles,
  type CosignerMember,
  type CosignerSet,
  type Grant,
  type KeyOperation,
  type NamespaceDefinition,
  type Suite,
} from '@cipherlog/format'
import {
  buildKeyEvent,
  buildQuarantine,
  decodeKeyEvent,
  endorseSignature,
  majorityOf,
  possessionOf,
  readersOf,
  readySignature,
  signKeyEvent,
  signQuarantine,
  type KeysetEntry,
  type OperatorSigner,
} from '@cipherlog/registry'
import { type Cipherlog } from '../cipherlog.ts'
import { deliver } from '../delivery.ts'
import { type Identity } from '../identity.ts'
import { type Keyring } from '../keyring.ts'
import { keyMissing } from '../errors.ts'
import { localReaders, makeKeyVersion, memberOf, readerOf, type LocalReader } from './reader-keys.ts'

/** An event is applied within this log time or refused. */
const eventMsMax = 600_000
/** Events built anew because another operator was faster. */
const attemptsMax = 3

/** An applied key event. */
export interface AppliedEvent {
  readonly number: number
  readonly leaf: number
  /** SHA-256 of the event without signatures. */
  readonly digest: Uint8Array
}

export interface OperatorOptions {
  /** Default: the operator keys of the log's keyring. */
  readonly signers?: readonly OperatorSigner[]
}

export class Operator {
  readonly #log: Cipherlog
  readonly #signers: readonly OperatorSigner[]

  /** @param log - connected; it needs no identity. */
  constructor(log: Cipherlog, options: OperatorOptions = {}) {
    this.#log = log
    this.#signers = options.signers ?? log.keyring.operators(log.cluster)
  }

  /** The bytes of the next key event: what operators sign. Proves the registry anew first. */
  async build(operation: KeyOperation): Promise<Uint8Array> {
    await this.#log.view.refresh()
    return this.#build(operation)
  }

  /** After the newest event that is proven. */
  async #build(operation: KeyOperation): Promise<Uint8Array> {
    const { view, clock } = this.#log
    const { registry, batchRecord } = await view.fresh()
    const { treeSize, rootHash } = view.history.head!
    return buildKeyEvent({
      after: registry,
      operation,
      seen: { treeSize, rootHash },
      notAfter: Math.max(clock.now(), batchRecord.logTime) + eventMsMax,
    })
  }

  /**
   * Proposes a signed event and waits until a published checkpoint covers it.
   * @throws RefusedError `ERR_REGISTRY_*`, before anything is sent where it shows in the proven registry.
   */
  async propose(signed: Uint8Array): Promise<AppliedEvent> {
    const { view, replicas, clock, proposeMsMax } = this.#log
    view.current.registry.checkUnplaced(signed)
    const { event, digest } = decodeKeyEvent(signed)
    const { leaf } = await deliver({ kind: entryKinds.keyEvent, signed, body: new Uint8Array(0), receipt: true }, 0, {
      replicas,
      view,
      clock,
      deadlineMs: proposeMsMax,
    })
    await view.past(leaf)
    return { number: event.number, leaf, digest }
  }

  /**
   * Builds, signs by as many operators as must, proposes and waits. Built again if another operator was faster.
   * @throws CipherlogError `ERR_KEY_MISSING` with too few operator keys; as {@link Operator.propose}.
   */
  async submit(operation: KeyOperation): Promise<AppliedEvent> {
    const signers = this.#enough()
    for (let attempt = 1; ; attempt++) {
      const signed = signKeyEvent(await this.#build(operation), signers)
      try {
        return await this.propose(signed)
      } catch (error) {
        const code = error instanceof CipherlogError ? error.code : undefined
        const overtaken = code === 'ERR_REGISTRY_NUMBER' || code === 'ERR_REGISTRY_PREVIOUS'
        if (!overtaken || attempt >= attemptsMax) throw error
        await this.#log.view.refresh()
      }
    }
  }

  /**
   * Adds a client with a fresh id and key.
   * @param options.keyring - takes the secret, and is saved, before the event is sent.
   */
  async addClient(options: {
    readonly grants: readonly Grant[]
    readonly label?: string
    readonly keyring?: Keyring
  }): Promise<Identity & { readonly event: AppliedEvent }> {
    const { random, cluster } = this.#log
    const client = random.bytes(16)
    const { secretKey, publicKey } = generateSigningKey(random)
    options.keyring?.add({ type: 'client', cluster, client, secretKey })
    await options.keyring?.save()
    const event = await this.submit({
      type: 'addClient',
      client,
      publicKey,
      possession: possessionOf(secretKey, roles.client, cluster),
      grants: [...options.grants],
      ...(options.label === undefined ? {} : { label: options.label }),
    })
    return { client, secretKey, event }
  }

  /** Replaces all grants of a client. */
  setGrants(client: Uint8Array, grants: readonly Grant[]): Promise<AppliedEvent> {
    return this.submit({ type: 'setGrants', client, grants: [...grants] })
  }

  /** Ends a client for ever: nothing it signs is applied after this event's leaf. */
  revokeClient(client: Uint8Array, reason: string): Promise<AppliedEvent> {
    return this.submit({ type: 'revokeClient', client, reason })
  }

  /**
   * Creates a keyset whose readers' keyrings are at hand, with its first version, and activates it.
   * @param options.readers - each takes its secrets, and is saved, before anything is sent.
   * @param options.readyMin - readers that must have checked a version before use; default 1.
   * @returns its id, 16 bytes.
   */
  async createKeyset(options: {
    readonly suite: Suite
    readonly readers: readonly Keyring[]
    readonly readyMin?: number
    readonly label?: string
  }): Promise<{ readonly keyset: Uint8Array; readonly event: AppliedEvent }> {
    const { random, cluster } = this.#log
    const { suite, readers: keyrings, readyMin = 1, label } = options
    const keyset = random.bytes(16)
    const members = await Promise.all(keyrings.map((keyring) => memberOf(keyring, cluster, random)))
    const readers = keyrings.map((keyring, member) => ({ keyring, member }))
    const version = await makeKeyVersion({ cluster, keyset, keyEpoch: 1, suite, members, readers, random })
    for (const keyring of keyrings) await keyring.save()
    await this.submit({
      type: 'createKeyset',
      keyset,
      suite,
      members,
      readyMin,
      version,
      ...(label === undefined ? {} : { label }),
    })
    return { keyset, event: await this.activateKeyVersion({ keyset, keyEpoch: 1, readers: keyrings, graceMs: 0 }) }
  }

  /**
   * Replaces the active version of a keyset: adds, endorses and activates the next one.
   *
   * Of an hpke-xwing keyset the new version can be read by `readers` only: leave one out and it reads nothing that is
   * written from now on.
   * @param options.graceMs - log time during which commands sealed under the old version are still applied.
   * @throws CipherlogError `ERR_KEY_MISSING` if no reader of the current version is at hand to endorse.
   */
  async rotateKey(options: {
    readonly keyset: Uint8Array
    readonly readers: readonly Keyring[]
    readonly graceMs: number
  }): Promise<{ readonly keyEpoch: number; readonly event: AppliedEvent }> {
    const { random, cluster } = this.#log
    const { keyset, readers: keyrings, graceMs } = options
    const entry = await this.#keyset(keyset)
    const keyEpoch = entry.versions.size + 1
    const readers = localReaders(keyrings, cluster, entry.members)
    const endorser = this.#endorserOf(entry, readers)
    const { suite, members } = entry
    const version = await makeKeyVersion({ cluster, keyset, keyEpoch, suite, members, readers, random })
    for (const keyring of keyrings) await keyring.save()
    const { signingKey } = readerOf(endorser.keyring, cluster, random)
    await this.submit({
      type: 'addKeyVersion',
      keyset,
      keyEpoch,
      version,
      endorsement: [endorser.member, endorseSignature(signingKey, { cluster, keyset, keyEpoch, version })],
    })
    return { keyEpoch, event: await this.activateKeyVersion({ keyset, keyEpoch, readers: keyrings, graceMs }) }
  }

  /** Activates a pending version with the ready signatures of those of `readers` that hold it. */
  async activateKeyVersion(options: {
    readonly keyset: Uint8Array
    readonly keyEpoch: number
    readonly readers: readonly Keyring[]
    readonly graceMs: number
  }): Promise<AppliedEvent> {
    const { random, cluster } = this.#log
    const { keyset, keyEpoch, graceMs } = options
    const entry = await this.#keyset(keyset)
    const version = entry.versions.get(keyEpoch)?.version
    if (version === undefined) {
      throw new CipherlogError('ERR_REGISTRY_UNKNOWN', `The keyset has no version ${keyEpoch}; add it first.`)
    }
    const holders = readersOf(entry.suite, version)
    const ready = localReaders(options.readers, cluster, entry.members)
      .filter(({ keyring, member }) => holders.includes(member) && keyring.keyVersion(cluster, keyset, keyEpoch))
      .map(({ keyring, member }): [number, Uint8Array] => [
        member,
        readySignature(readerOf(keyring, cluster, random).signingKey, { cluster, keyset, keyEpoch, version }),
      ])
    if (ready.length === 0) throw keyMissing(`version ${keyEpoch} of keyset ${toHex(keyset)}, of any reader`)
    return this.submit({ type: 'activateKeyVersion', keyset, keyEpoch, ready, graceMs })
  }

  /** Ends a version at once, without grace: commands sealed under it are rejected from this event's leaf on. */
  compromiseKeyVersion(keyset: Uint8Array, keyEpoch: number, reason: string): Promise<AppliedEvent> {
    return this.submit({ type: 'compromiseKeyVersion', keyset, keyEpoch, reason })
  }

  /** Creates a namespace, for ever. `readPolicy` defaults to public ciphertext. */
  createNamespace(
    definition: Omit<NamespaceDefinition, 'readPolicy'> & { readonly readPolicy?: number },
  ): Promise<AppliedEvent> {
    return this.submit({ type: 'createNamespace', readPolicy: readPolicies.public, ...definition })
  }

  /**
   * Replaces the cosigner set.
   * @param options.answerPossession - of members whose answer key is new to the log, as for a genesis; those of the
   * others are on the log.
   * @throws CipherlogError `ERR_REGISTRY_POSSESSION` if one is missing.
   */
  async cosignerSet(options: {
    readonly members: readonly CosignerMember[]
    readonly quorum?: number
    readonly answerPossession?: (claim: {
      readonly cluster: Uint8Array
      readonly member: CosignerMember
      readonly index: number
    }) => Uint8Array | Promise<Uint8Array>
  }): Promise<AppliedEvent> {
    const { members, quorum = majorityOf(members.length) } = options
    const { cluster, view } = this.#log
    const { registry } = await view.refresh()
    const answerPossession = options.answerPossession ?? (({ member }) => missingPossession(member))
    const set: CosignerSet = { members: [...members], quorum }
    const possessions = await Promise.all(
      members.map(async (member, index): Promise<[number, Uint8Array]> => [
        index,
        registry.answerPossession(member.answerKey) ?? (await answerPossession({ cluster, member, index })),
      ]),
    )
    return this.submit({ type: 'cosignerSet', set, possessions })
  }

  /**
   * Sets a log entry aside at which replicas stop: it is rejected everywhere, and they go on. Index and digest are what
   * the status of a paused replica says; nobody else vouches for them, so look at the entry first.
   * @throws CipherlogError `ERR_QUARANTINE_LATE` if a published checkpoint covers the entry already.
   * @throws RefusedError `ERR_QUARANTINE_*`.
   */
  async quarantine(entry: { readonly index: number; readonly digest: Uint8Array }): Promise<{ readonly leaf: number }> {
    const { view, replicas, clock, proposeMsMax } = this.#log
    const { registry, batchRecord } = await view.refresh()
    if (batchRecord.logIndex >= entry.index) {
      throw new CipherlogError(
        'ERR_QUARANTINE_LATE',
        `A published checkpoint covers log entry ${entry.index}, so it stands for ever; mend the replicas that stop at it.`,
        { details: { index: entry.index, coveredTo: batchRecord.logIndex } },
      )
    }
    const { cluster, operatorSetVersion, generation } = registry
    const bytes = buildQuarantine({ cluster, group: group0, generation, operatorSetVersion }, entry)
    const signed = signQuarantine(bytes, this.#enough())
    const proposal = { kind: entryKinds.quarantine, signed, body: new Uint8Array(0), receipt: true }
    const { leaf } = await deliver(proposal, 0, { replicas, view, clock, deadlineMs: proposeMsMax })
    return { leaf }
  }

  #enough(): readonly OperatorSigner[] {
    const { threshold } = this.#log.view.current.registry.operators
    if (this.#signers.length < threshold) {
      throw keyMissing(`${threshold} operator keys of this cluster (it has ${this.#signers.length})`)
    }
    return this.#signers.slice(0, threshold)
  }

  async #keyset(keyset: Uint8Array): Promise<KeysetEntry> {
    const { view } = this.#log
    const entry = view.current.registry.keyset(keyset) ?? (await view.refresh()).registry.keyset(keyset)
    if (entry === undefined) {
      throw new CipherlogError('ERR_REGISTRY_UNKNOWN', `There is no keyset ${toHex(keyset)}; create it first.`)
    }
    return entry
  }

  /** A reader of the version that the registry holds for current. */
  #endorserOf(entry: KeysetEntry, readers: readonly LocalReader[]): LocalReader {
    const activated = [...entry.versions.values()].filter(({ activatedBy }) => activatedBy !== undefined)
    const { version } = activated.at(-1) ?? entry.versions.get(entry.versions.size)!
    const holders = readersOf(entry.suite, version)
    const endorser = readers.find(({ member }) => holders.includes(member))
    if (endorser === undefined) throw keyMissing('the signing key of a reader of the current version')
    return endorser
  }
}

function missingPossession({ peerId }: CosignerMember): never {
  throw new CipherlogError(
    'ERR_REGISTRY_POSSESSION',
    `The replica ${toHex(peerId)} is new to the log; add the proof of possession that \`cipherlog-node member\` prints.`,
  )
}

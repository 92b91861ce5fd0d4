/**
 * The registry: the chain of key events, checked and folded (DESIGN §4, §7).
 *
 * `check` finds everything that can be wrong with an event before any state changes; `apply` then cannot fail.
 * A replica and an auditor know where each event stands in the log (`check`, `apply`). A client that folds a proven
 * chain does not (`checkUnplaced`, `applyUnplaced`): expiry and `seen` were for the replicas to check, and grace
 * periods, whose end depends on log time, count as over.
 *
 * Invariant: for events folded so far, head.number = their count, and head.digest = SHA-256 of the last one's bytes.
 */
import { encode, equalBytes, invariant, toHex } from '@cipherlog/core'
import {
  group0,
  policyChain as policyChainCodec,
  type Circuit,
  type CosignerSet,
  type Genesis,
  type Grant,
  type KeyQuorum,
  type KeyState,
  type NamespaceDefinition,
  type PolicyChainLink,
  type RegistryHead,
  type Seen,
} from '@cipherlog/format'
import { origin } from '@cipherlog/merkle/verify'
import { findAnswerPossession } from './answer-possession.ts'
import { checkOperation } from './check-operation.ts'
import { type CosignerSetEntry, isTransitionSize, setsFor } from './cosigner-sets.ts'
import { openGenesis, type OpenedGenesis } from './genesis.ts'
import { findGrant } from './grants.ts'
import { badStart, checkGroupStart, openGroupStart, type OpenedGroupStart } from './group-start.ts'
import {
  checkCluster,
  checkFollows,
  checkOperatorSignatures,
  decodeKeyEvent,
  type OpenedKeyEvent,
} from './key-event.ts'
import { activeVersion, type KeysetEntry, keyStateAt } from './key-versions.ts'
import { refuse } from './refusal.ts'
import {
  applyGroupStart,
  applyOperation,
  type ClientEntry,
  type MutableRegistryState,
  stateOfGenesis,
} from './registry-state.ts'

/** The log's state at the moment of the check. */
export interface CheckContext {
  /** Milliseconds. */
  readonly logTime: number
  /** Whether the state keeps this checkpoint. */
  readonly knowsSeen: (seen: Seen) => boolean
  /** Whether a cosigner set waits for its transition size; the registry's own knowledge counts as well. */
  readonly transitionPending?: boolean
}

/** An event that may be applied as the next. */
export interface CheckedKeyEvent extends OpenedKeyEvent {
  readonly kind: 'new'
}

/** The same bytes as event `number`, whoever signed: answered as that event was, without effect. */
export interface DuplicateKeyEvent {
  readonly kind: 'duplicate'
  readonly number: number
}

/** Where an event stands. */
export interface LogPlace {
  readonly leafIndex: number
  /** Milliseconds. */
  readonly logTime: number
}

/** An applied event with its place; number 0 is the genesis. */
export interface PlacedKeyEvent extends LogPlace {
  /** Whose leaf it is. */
  readonly generation: number
  /** The bytes of its leaf. */
  readonly signed: Uint8Array
  /** SHA-256 without signatures. */
  readonly digest: Uint8Array
}

type StoredEvent = Pick<PlacedKeyEvent, 'signed' | 'digest' | 'generation'> & Partial<LogPlace>

export class Registry {
  readonly cluster: Uint8Array
  readonly genesis: Genesis
  /** CBOR [genesis bytes, possessions]. */
  readonly signedGenesis: Uint8Array
  /** Number of the event that set the operators; no event of rules 1 changes them. */
  readonly operatorSetVersion = 0

  readonly #state: MutableRegistryState
  /** By number; 0 is the genesis. */
  readonly #events: StoredEvent[]
  /** Links of the policy chain up to the group start of this generation. */
  #earlierLinks: readonly PolicyChainLink[] = []
  #startedAt: number

  /** The registry right after a genesis that was opened before; {@link fromGenesis} opens one. */
  constructor({ genesis, cluster, signed }: OpenedGenesis) {
    this.cluster = cluster
    this.genesis = genesis
    this.signedGenesis = signed
    this.#state = stateOfGenesis(cluster, genesis)
    this.#startedAt = genesis.createdAt
    this.#events = [{ signed, digest: cluster, generation: 0, leafIndex: 0, logTime: genesis.createdAt }]
  }

  /**
   * The registry right after genesis. That the genesis is the pinned one is for the caller to compare (`cluster`).
   * @throws as {@link openGenesis}: {@link DecodeError}, {@link VerificationError} `ERR_VERIFY_GENESIS_*`,
   * {@link CipherlogError} `ERR_RULES_UNKNOWN`.
   */
  static fromGenesis(signedGenesis: Uint8Array): Registry {
    return new Registry(openGenesis(signedGenesis))
  }

  /** 0, or that of the newest group start. */
  get generation(): number {
    return this.#state.cosignerSets.at(-1)!.generation
  }

  /** When this generation's log began: creation of the cluster, or what its group start says; milliseconds. */
  get startedAt(): number {
    return this.#startedAt
  }

  /** Cosigner sets of this generation, in order: the first is whom its log began with. */
  get presentCosignerSets(): readonly CosignerSetEntry[] {
    return this.#state.cosignerSets.filter(({ generation }) => generation === this.generation)
  }

  /** The origin of group 0 in this generation. */
  get origin(): string {
    return origin({ name: this.genesis.name, cluster: this.cluster, group: group0, generation: this.generation })
  }

  /** Newest event: number and SHA-256 of its bytes without signatures; {0, cluster} at genesis. */
  get head(): RegistryHead {
    return { number: this.#events.length - 1, digest: this.#events.at(-1)!.digest }
  }

  get operators(): KeyQuorum {
    return this.genesis.operators
  }

  /**
   * Checks an event against this registry and the log's state; changes nothing.
   * @throws {@link RefusedError} `ERR_REGISTRY_*`: key events are refused, never rejected with a verdict.
   */
  check(signed: Uint8Array, at: CheckContext): CheckedKeyEvent | DuplicateKeyEvent {
    const opened = this.#open(signed)
    if (opened.kind === 'duplicate') return opened
    const { notAfter, seen, operation } = opened.event
    if (at.logTime > notAfter) {
      refuse('ERR_REGISTRY_EXPIRED', `The key event expired at log time ${notAfter}; sign it again with a later one.`)
    }
    if (!at.knowsSeen(seen)) {
      refuse(
        'ERR_REGISTRY_SEEN',
        `The log knows no such checkpoint of size ${seen.treeSize}; compare it with your own.`,
      )
    }
    if (operation.type === 'cosignerSet' && (this.transitionPending || at.transitionPending === true)) {
      refuse(
        'ERR_REGISTRY_TRANSITION',
        'The transition to the last cosigner set is not recorded yet; send it again soon.',
      )
    }
    checkOperation(this.#state, operation)
    return opened
  }

  /**
   * What {@link check} can tell without the log: chain, signatures and operation. For clients, whose chain is proven
   * by a batch record, so that replicas have checked the rest.
   * @throws {@link RefusedError} `ERR_REGISTRY_*`.
   */
  checkUnplaced(signed: Uint8Array): CheckedKeyEvent | DuplicateKeyEvent {
    const opened = this.#open(signed)
    if (opened.kind === 'new') checkOperation(this.#state, opened.event.operation)
    return opened
  }

  /** Applies an event that {@link check} has passed at this very head. */
  apply(checked: CheckedKeyEvent, at: LogPlace): void {
    const last = this.#events.at(-1)!
    invariant(
      last.leafIndex === undefined || last.generation < this.generation || at.leafIndex > last.leafIndex,
      'key events stand in order of their leaves',
    )
    invariant(last.logTime === undefined || at.logTime >= last.logTime, 'log time never goes back')
    const { signed, digest } = checked
    this.#apply(checked, { signed, digest, generation: this.generation, ...at })
  }

  /**
   * Applies an event that {@link checkUnplaced} has passed at this very head.
   * @param leafIndex - of a cosigner set's event, from the policy chain; other events need none.
   */
  applyUnplaced(checked: CheckedKeyEvent, leafIndex?: number): void {
    const stored = { signed: checked.signed, digest: checked.digest, generation: this.generation }
    this.#apply(checked, leafIndex === undefined ? stored : { ...stored, leafIndex })
  }

  /** An applied event with its place; undefined if there is none or it was folded without its place. */
  event(number: number): PlacedKeyEvent | undefined {
    const event = this.#events[number]
    if (event?.leafIndex === undefined || event.logTime === undefined) return undefined
    const { signed, digest, generation, leafIndex, logTime } = event
    return { signed, digest, generation, leafIndex, logTime }
  }

  /** SHA-256 of an applied event without signatures, placed or not; of event 0 `cluster`. */
  eventDigest(number: number): Uint8Array | undefined {
    return this.#events[number]?.digest
  }

  client(id: Uint8Array): ClientEntry | undefined {
    return this.#state.clients.get(toHex(id))
  }

  clients(): readonly ClientEntry[] {
    return [...this.#state.clients.values()]
  }

  /** The first grant of a live client for this, in time at `logTime`. */
  grantFor(client: Uint8Array, namespace: string, operation: string, logTime: number): Grant | undefined {
    const entry = this.client(client)
    if (entry === undefined || entry.revoked !== undefined) return undefined
    return findGrant(entry.grants, namespace, operation, logTime)
  }

  namespace(name: string): NamespaceDefinition | undefined {
    return this.#state.namespaces.get(name)
  }

  namespaces(): readonly NamespaceDefinition[] {
    return [...this.#state.namespaces.values()]
  }

  keyset(id: Uint8Array): KeysetEntry | undefined {
    return this.#state.keysets.get(toHex(id))
  }

  keysets(): readonly KeysetEntry[] {
    return [...this.#state.keysets.values()]
  }

  /** State of a key version at a log time; undefined if there is no such version. */
  keyState(keyset: Uint8Array, keyEpoch: number, logTime: number): KeyState | undefined {
    const entry = this.keyset(keyset)?.versions.get(keyEpoch)
    return entry === undefined ? undefined : keyStateAt(entry, logTime)
  }

  activeEpoch(keyset: Uint8Array): number | undefined {
    const entry = this.keyset(keyset)
    return entry === undefined ? undefined : activeVersion(entry)?.keyEpoch
  }

  /** May a command sealed under this epoch be applied at this log time? If it is active or in grace. */
  acceptsEpoch(keyset: Uint8Array, keyEpoch: number, logTime: number): boolean {
    const state = this.keyState(keyset, keyEpoch, logTime)
    return state === 'active' || state === 'grace'
  }

  /** Rules in force after the newest event. */
  get rulesVersion(): number {
    return this.#state.rulesVersion
  }

  /** Accepted circuits, of the genesis and of rules since. */
  get circuits(): readonly Circuit[] {
    return this.#state.circuits
  }

  circuit(id: string): Circuit | undefined {
    return this.#state.circuits.find((circuit) => circuit.id === id)
  }

  /** Proof of possession of an answer key that a cosigner set lists or listed; a later set may carry it again. */
  answerPossession(answerKey: Uint8Array): Uint8Array | undefined {
    return findAnswerPossession(answerKey, this.#state.cosignerSets, (number) => this.#events[number]!.signed)
  }

  /** In order, genesis first. */
  get cosignerSets(): readonly CosignerSetEntry[] {
    return this.#state.cosignerSets
  }

  /** Whether the newest cosigner set waits for the batch record that makes its transition size. */
  get transitionPending(): boolean {
    const newest = this.#state.cosignerSets.at(-1)!
    return !newest.first && newest.transitionSize === undefined
  }

  /** The first batch record after a cosigner set's event made this tree size. */
  noteTransition(size: number): void {
    const newest = this.#state.cosignerSets.at(-1)!
    invariant(this.transitionPending, 'a transition is recorded once', { size })
    invariant(isTransitionSize(size, newest.eventLeaf), 'the transition size ends the batch of the event', {
      size,
      eventLeaf: newest.eventLeaf,
    })
    this.#state.cosignerSets[this.#state.cosignerSets.length - 1] = { ...newest, transitionSize: size }
  }

  /** Whose quorum a checkpoint of this size needs: one set, or old and new up to the transition size. */
  setsFor(size: number): readonly CosignerSet[] {
    return setsFor(this.#state.cosignerSets, size)
  }

  /**
   * Checks a group start against this registry and the end of its log; changes nothing.
   * @param at - the newest batch record: size and root of its tree, and its log time.
   * @throws VerificationError `ERR_VERIFY_GROUP_START`; DecodeError.
   */
  checkGroupStart(signed: Uint8Array, at: { readonly end: Seen; readonly logTime: number }): OpenedGroupStart {
    const { cluster, generation, operatorSetVersion, operators } = this
    const opened = openGroupStart(signed)
    const { start } = opened
    checkGroupStart(opened, {
      cluster,
      generation,
      operatorSetVersion,
      operators,
      group: group0,
      origin: this.origin,
      keyUses: this.#state.keyUses,
    })
    if (start.end.treeSize !== at.end.treeSize || !equalBytes(start.end.rootHash, at.end.rootHash)) {
      throw badStart(`It continues a tree of ${start.end.treeSize} leaves, this one has ${at.end.treeSize}`)
    }
    if (start.registryHead.number !== this.head.number || !equalBytes(start.registryHead.digest, this.head.digest)) {
      throw badStart(`It follows key event ${start.registryHead.number}, the newest is ${this.head.number}`)
    }
    if (start.startedAt < at.logTime) throw badStart(`It starts before the old log's last time ${at.logTime}`)
    if (this.transitionPending) throw badStart('The transition to the last cosigner set is not recorded')
    return opened
  }

  /**
   * Begins the generation of a group start that was checked.
   * @param earlierLinks - of the policy chain, before the group start; needed only to publish the chain.
   */
  startGeneration({ start, signed }: OpenedGroupStart, earlierLinks: readonly PolicyChainLink[] = []): void {
    invariant(start.registryHead.number === this.head.number, 'a generation starts at the head that was checked')
    invariant(start.generation > this.generation, 'generations only rise')
    applyGroupStart(this.#state, start)
    this.#startedAt = start.startedAt
    this.#earlierLinks = [...earlierLinks, { event: signed, origin: this.origin, leafIndex: 0 }]
  }

  /**
   * The policy chain, encoded: the genesis, every group start, and every cosigner set whose transition checkpoint there
   * is. Until then nothing that the set governs is published.
   * @param transitionCheckpoint - the note of a transition size of this generation, with the quorums of both sets.
   */
  policyChain(transitionCheckpoint: (size: number) => string | undefined): Uint8Array {
    const links: PolicyChainLink[] = [...this.#earlierLinks]
    for (const { generation, first, eventNumber, eventLeaf, transitionSize } of this.#state.cosignerSets) {
      if (first || generation !== this.generation) continue
      const note = transitionSize === undefined ? undefined : transitionCheckpoint(transitionSize)
      if (note === undefined) break
      links.push({
        event: this.#events[eventNumber]!.signed,
        origin: this.origin,
        leafIndex: eventLeaf,
        transitionCheckpoint: note,
      })
    }
    return encode(policyChainCodec, [this.signedGenesis, links])
  }

  /** Form, place in the chain and signatures: what costs least comes first. */
  #open(signed: Uint8Array): CheckedKeyEvent | DuplicateKeyEvent {
    const opened = decodeKeyEvent(signed)
    const { event, digest } = opened
    checkCluster(event, this.cluster)
    const applied = this.#events[event.number]
    if (applied !== undefined && equalBytes(applied.digest, digest)) return { kind: 'duplicate', number: event.number }
    checkFollows(opened, this)
    checkOperatorSignatures(opened, this.operators)
    return { kind: 'new', ...opened }
  }

  #apply({ event }: CheckedKeyEvent, stored: StoredEvent): void {
    const { number, digest } = this.head
    invariant(event.number === number + 1 && equalBytes(event.previous, digest), 'an event is applied where checked', {
      number: event.number,
      head: number,
    })
    applyOperation(this.#state, event.operation, {
      number: event.number,
      leafIndex: stored.leafIndex,
      logTime: stored.logTime,
    })
    this.#events.push(stored)
  }
}

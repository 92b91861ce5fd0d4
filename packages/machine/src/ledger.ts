/**
 * The ledger: the replicated state as a pure function of the log. Replicas drive it with committed entries,
 * auditors with leaves of a trail; equal inputs give equal leaves, verdicts, batch records and roots.
 *
 * Use: `plan` a proposal in the present state, check the proofs it needs, `apply` it before anything else is
 * applied, and `close` the batch when a mark comes or `batchDue` says so.
 *
 * Invariants (asserted): log index and log time never fall; a batch holds 1 to 255 leaves and its record;
 * `treeSize` = leaves appended; the state store matches the tree whenever no batch is open.
 */
import {
  CipherlogError,
  decode,
  DecodeError,
  encode,
  equalBytes,
  invariant,
  RefusedError,
  toHex,
} from '@cipherlog/core'
import { labels, sha256 } from '@cipherlog/crypto/hash'
import { verifyLabelled } from '@cipherlog/crypto/signature'
import {
  batchRecord,
  entryKinds,
  group0,
  leafKinds,
  leafRecord,
  leafRecordBytesMax,
  sessionOpening,
  signedSessionOpening,
  stateRootAlgorithm,
  storedGenesis,
  storedGroupStart,
  storedKeyEvent,
  storedLedger,
  verdicts,
  type CellProof,
  type Circuit,
  type SnapshotManifest,
  type SnapshotPair,
  type StoredEnvelope,
} from '@cipherlog/format'
import { leafHash } from '@cipherlog/merkle/verify'
import { CompactRange } from '@cipherlog/merkle/tree'
import { findCircuit } from '@cipherlog/proof'
import { openQuarantine, Registry, rulesVersionMax, unknownRules } from '@cipherlog/registry'
import { Cells, type CellEvaluator } from './cells.ts'
import { envelope } from './envelopes.ts'
import {
  type Admission,
  type ClosedBatch,
  type EntryPlace,
  type Leaf,
  type LeafContent,
  type Plan,
  type Proposal,
} from './entry.ts'
import { endGeneration, linksOf, replayKeyEvents } from './generations.ts'
import { Machines } from './machines.ts'
import { entryCostMs, planBundle } from './plan-bundle.ts'
import { Quarantines, type NamedEntry } from './quarantines.ts'
import { SeenTable } from './seen-table.ts'
import { checkOpening, clientSessions, recordOpening, session } from './sessions.ts'
import { stateKeys } from './state-keys.ts'
import { decodeStored, type State } from './state.ts'
import { type StateMachine } from './state-machine.ts'

/** Leaves of one batch, its record not counted. */
export const batchLeavesMax = 255
export interface LedgerOptions {
  readonly evaluator: CellEvaluator
  /** RFC 6962 root of a batch's leaf hashes as a tree of their own. */
  readonly rootOfBatch: (leafHashes: readonly Uint8Array[]) => Uint8Array
  /** An application's own machines, beside the built-in ones, under names of their own. */
  readonly machines?: readonly StateMachine[]
}

/** The ledger's part of a snapshot; the log knows the rest: the entry's term, and who took part. */
export interface LedgerSnapshot extends Pick<
  SnapshotManifest,
  'cluster' | 'group' | 'generation' | 'index' | 'time' | 'treeSize' | 'rootHash' | 'batchRecord'
> {
  /** The state, in ascending order of key: the same on every replica. */
  readonly pairs: AsyncIterable<SnapshotPair>
}

/** Not refusals: on another replica the entry may well be applied. */
const stopsBefore: ReadonlySet<string> = new Set(['ERR_RULES_UNKNOWN', 'ERR_MACHINE_UNKNOWN', 'ERR_QUARANTINE_APPLIED'])

const operatorsWork: Admission = {
  owner: 'operators',
  costMs: entryCostMs,
  proofsOfRejected: [],
  inadmissible: undefined,
}

export class Ledger {
  readonly registry: Registry
  readonly group: Uint8Array = group0
  readonly generation: number
  readonly origin: string
  readonly #state: State
  readonly #cells: Cells
  readonly #seen: SeenTable
  readonly #options: LedgerOptions
  readonly #machines: Machines
  readonly #quarantines: Quarantines
  #tree: CompactRange
  /** Leaf hashes since the last multiple of 256. */
  #tail: Uint8Array[]
  /** Tiles that the open batch completed. */
  #completedTiles: { leafHashes: Uint8Array[]; hash: Uint8Array }[] = []
  /** Leaf hashes of the open batch. */
  #batch: Uint8Array[] = []
  #appliedIndex: number
  /** Log index of the last batch record. */
  #closedIndex: number
  #logTime: number
  /** Counts changes: a plan is good for one state only. */
  #version = 0
  #closing = false

  private constructor(
    parts: { registry: Registry; state: State; cells: Cells; seen: SeenTable; options: LedgerOptions },
    stored: { tree: CompactRange; tail: Uint8Array[]; appliedIndex: number; logTime: number },
  ) {
    this.registry = parts.registry
    this.#state = parts.state
    this.#cells = parts.cells
    this.#seen = parts.seen
    this.#options = parts.options
    this.#machines = new Machines(parts.options.machines ?? [])
    this.#quarantines = new Quarantines(parts.state)
    for (const namespace of parts.registry.namespaces()) this.#machines.require(namespace)
    this.#tree = stored.tree
    this.#tail = stored.tail
    this.#appliedIndex = stored.appliedIndex
    this.#closedIndex = stored.appliedIndex
    this.#logTime = stored.logTime
    this.generation = parts.registry.generation
    this.origin = parts.registry.origin
  }

  /**
   * A new ledger from its genesis: leaf 0 and the batch record that closes it at once (size 2).
   * @throws as `Registry.fromGenesis`; {@link CipherlogError} `ERR_RULES_UNKNOWN` if this software lacks a circuit
   * that the genesis lists.
   */
  static async create(
    state: State,
    signedGenesis: Uint8Array,
    options: LedgerOptions,
  ): Promise<{ ledger: Ledger; leaf: Leaf; closed: ClosedBatch }> {
    const registry = Registry.fromGenesis(signedGenesis)
    checkCircuits(registry.circuits)
    const place = { logIndex: 0, logTime: registry.genesis.createdAt }
    const ledger = new Ledger(
      { registry, state, cells: new Cells(options.evaluator), seen: new SeenTable(), options },
      { tree: new CompactRange(), tail: [], appliedIndex: 0, logTime: place.logTime },
    )
    state.put(stateKeys.genesis, encode(storedGenesis, [signedGenesis]))
    const digest = sha256(signedGenesis)
    const leaf = ledger.#append(leafKinds.genesis, {
      record: encode(leafRecord, { kind: leafKinds.genesis, group: ledger.group, ...place, digest }),
      signed: signedGenesis,
      trailBody: new Uint8Array(0),
      digest,
      verdicts: [],
    })
    const closed = await ledger.close(place)
    invariant(closed?.size === 2, 'Genesis did not close at size 2.')
    return { ledger, leaf, closed }
  }

  /** Whether a state store holds no ledger yet. */
  static isNew(state: Pick<State, 'get'>): boolean {
    return state.get(stateKeys.ledger) === undefined
  }

  /**
   * The ledger as it was at the last batch record, or undefined if the state store is empty.
   * @throws {@link CipherlogError} `ERR_RULES_UNKNOWN` if newer software wrote it or it needs an unknown circuit;
   * {@link InvariantViolation} if the state store is damaged.
   */
  static async open(state: State, options: LedgerOptions): Promise<Ledger | undefined> {
    const bytes = state.get(stateKeys.ledger)
    if (bytes === undefined) return undefined
    const stored = decodeStored(storedLedger, bytes)
    if (stored.rulesVersion > rulesVersionMax) {
      throw unknownRules(`The log follows rules ${stored.rulesVersion}`, stored.rulesVersion)
    }
    const genesisBytes = state.get(stateKeys.genesis)
    invariant(genesisBytes !== undefined, 'The state store lacks the genesis.')
    const [signedGenesis] = decodeStored(storedGenesis, genesisBytes)
    const registry = Registry.fromGenesis(signedGenesis)
    const seen = await SeenTable.open(state)
    await replayKeyEvents(state, registry)
    checkCircuits(registry.circuits)
    const cells = await Cells.open(state, options.evaluator)
    invariant(cells.cellCount === stored.cellCount, 'The state store lacks cells.', { stored: stored.cellCount })
    const tree = CompactRange.fromPeaks(stored.treeSize, stored.peaks)
    checkTail(tree, stored.tail)
    const ledger = new Ledger(
      { registry, state, cells, seen, options },
      { tree, tail: stored.tail, appliedIndex: stored.appliedIndex, logTime: stored.logTime },
    )
    invariant(ledger.origin === stored.origin, 'The state store belongs to another log.', { origin: stored.origin })
    return ledger
  }

  /**
   * Begins the next generation in a state that ends with a batch record of the one before, as a backup gives it: leaf 0
   * is the group start, closed at once (size 2). Sessions end, their highest numbers stay; nobody has seen a
   * checkpoint yet; all else goes on.
   * @param policyChain - of the older generations, which this one goes on to publish; its sets are those of the state.
   * @throws as {@link Ledger.open}; {@link VerificationError} `ERR_VERIFY_GROUP_START`, `ERR_VERIFY_POLICY_CHAIN`;
   * {@link PolicyError}, {@link DecodeError}. The state is unchanged then.
   */
  static async startGeneration(
    state: State,
    signedGroupStart: Uint8Array,
    policyChain: Uint8Array,
    options: LedgerOptions,
  ): Promise<{ ledger: Ledger; leaf: Leaf; closed: ClosedBatch }> {
    const old = await Ledger.open(state, options)
    invariant(old !== undefined, 'There is no state to go on from.')
    const { registry } = old
    const end = { treeSize: old.treeSize, rootHash: old.#tree.root() }
    const opened = registry.checkGroupStart(signedGroupStart, { end, logTime: old.logTime })
    const links = linksOf(policyChain, registry)
    await endGeneration(state)
    registry.startGeneration(opened, links)
    state.put(stateKeys.groupStart(opened.start.generation), encode(storedGroupStart, { signed: opened.signed, links }))
    const place = { logIndex: 0, logTime: opened.start.startedAt }
    const cells = await Cells.open(state, options.evaluator)
    const ledger = new Ledger(
      { registry, state, cells, seen: new SeenTable(), options },
      { tree: new CompactRange(), tail: [], appliedIndex: 0, logTime: place.logTime },
    )
    const digest = sha256(opened.signed)
    const leaf = ledger.#append(leafKinds.groupStart, {
      record: encode(leafRecord, { kind: leafKinds.groupStart, group: ledger.group, ...place, digest }),
      signed: opened.signed,
      trailBody: new Uint8Array(0),
      digest,
      verdicts: [],
    })
    const closed = await ledger.close(place)
    invariant(closed?.size === 2, 'A group start did not close at size 2.')
    return { ledger, leaf, closed }
  }

  get treeSize(): number {
    return this.#tree.size
  }
  get appliedIndex(): number {
    return this.#appliedIndex
  }
  get logTime(): number {
    return this.#logTime
  }
  /** Leaves since the last batch record. */
  get openLeaves(): number {
    return this.#batch.length
  }
  /** True when the batch is full: {@link close} must come next. */
  get batchDue(): boolean {
    return this.#batch.length >= batchLeavesMax
  }

  /**
   * Takes note of a quarantine that stands further on in the log. Whoever applies a log calls this for all of them
   * before the entries that they name have their turn.
   * @returns the entry that it sets aside; undefined if it will have no effect (nobody signed it, it names nothing
   * before it) or is known already.
   * @throws CipherlogError `ERR_QUARANTINE_APPLIED` if this ledger has applied that entry as usual.
   */
  lookAhead(signed: Uint8Array, logIndex: number): NamedEntry | undefined {
    let entry: NamedEntry
    try {
      entry = this.openQuarantine(signed)
    } catch (error) {
      if (error instanceof RefusedError || error instanceof DecodeError) return undefined
      throw error
    }
    if (entry.index >= logIndex || this.#quarantines.names(entry)) return undefined
    if (entry.index <= this.#appliedIndex) {
      this.#quarantines.reached(entry, true)
      return undefined
    }
    this.#quarantines.lookAhead(entry)
    return entry
  }

  /** Whether an entry that is not applied yet will be rejected as set aside. */
  isSetAside(entry: NamedEntry): boolean {
    return this.#quarantines.names(entry)
  }

  /** For an auditor who has not got the quarantine: takes an entry as set aside that a cosigned record calls so. */
  setAsideOnTrust(entry: NamedEntry): void {
    invariant(entry.index > this.#appliedIndex, 'An entry was set aside after it was applied.', { index: entry.index })
    this.#quarantines.lookAhead(entry)
  }

  /** The entry that a signed quarantine names. @throws RefusedError, DecodeError as it would be refused. */
  openQuarantine(signed: Uint8Array): NamedEntry {
    const { cluster, operatorSetVersion, operators } = this.registry
    const { index, digest } = openQuarantine(signed, {
      cluster,
      operatorSetVersion,
      operators,
      group: this.group,
      generation: this.generation,
    })
    return { index, digest }
  }

  /**
   * What would become of a proposal now. Looks at everything but the proofs; changes nothing. Without a place
   * (admission) the last log time stands in for the entry's own.
   * @throws CipherlogError `ERR_RULES_UNKNOWN`, `ERR_MACHINE_UNKNOWN` if this software cannot apply the entry, and
   * `ERR_QUARANTINE_APPLIED`: the node must stop before it. Without a place these are refusals.
   */
  plan(proposal: Proposal, place?: EntryPlace): Plan {
    const logTime = place?.logTime ?? this.#logTime
    invariant(logTime >= this.#logTime, 'Log time went back.', { logTime, logTimeBefore: this.#logTime })
    const quarantined =
      place !== undefined &&
      this.#quarantines.namesIndex(place.logIndex) &&
      this.#quarantines.names({ index: place.logIndex, digest: sha256(proposal.signed) })
    try {
      switch (proposal.kind) {
        case entryKinds.keyEvent:
          return this.#planKeyEvent(proposal, logTime, quarantined)
        case entryKinds.sessionOpening:
          return this.#planOpening(proposal, logTime, quarantined)
        case entryKinds.quarantine:
          return this.#planQuarantine(proposal, logTime, place)
        case entryKinds.commandBundle:
          return planBundle(
            {
              registry: this.registry,
              state: this.#state,
              cells: this.#cells,
              machines: this.#machines,
              quarantines: this.#quarantines,
              group: this.group,
              generation: this.generation,
              nextLeaf: this.#tree.size,
              version: this.#version,
            },
            proposal,
            { logTime, quarantined, admission: place === undefined },
          )
        default:
          throw new RefusedError('ERR_KIND', `Entries of kind ${proposal.kind} cannot be proposed.`)
      }
    } catch (error) {
      // What the state holds never throws these: see `decodeStored`.
      if (error instanceof RefusedError || error instanceof DecodeError) return { outcome: 'refused', error }
      if (place === undefined && error instanceof CipherlogError && stopsBefore.has(error.code)) {
        return { outcome: 'refused', error: new RefusedError(error.code, error.message, { details: error.details }) }
      }
      throw error
    }
  }

  #planKeyEvent(proposal: Proposal, logTime: number, quarantined: boolean): Plan {
    checkNoBody(proposal)
    const checked = this.registry.check(proposal.signed, {
      logTime,
      knowsSeen: (seen) => this.#seen.knows(seen),
    })
    if (checked.kind === 'duplicate') {
      const known = this.registry.event(checked.number)!
      if (known.generation < this.generation) {
        throw new RefusedError(
          'ERR_OTHER_GROUP',
          `The key event stands at leaf ${known.leafIndex} of generation ${known.generation}, which ended; it is in force.`,
          { details: { leaf: known.leafIndex, generation: known.generation } },
        )
      }
      return { outcome: 'duplicate', answer: { leaf: known.leafIndex, digest: sha256(known.signed), verdicts: [] } }
    }
    const { operation } = checked.event
    const digest = sha256(proposal.signed)
    const leafOf = (place: EntryPlace, verdictsOf?: number[]): LeafContent => ({
      record: encode(leafRecord, {
        kind: leafKinds.keyEvent,
        group: this.group,
        ...place,
        digest,
        verdicts: verdictsOf,
      }),
      signed: proposal.signed,
      trailBody: new Uint8Array(0),
      digest,
      verdicts: verdictsOf ?? [],
    })
    if (!quarantined && operation.type === 'setRules') checkCircuits(operation.circuits ?? [])
    if (!quarantined && operation.type === 'createNamespace') this.#machines.require(operation)
    return {
      outcome: 'accepted',
      proofs: [],
      admission: {
        ...operatorsWork,
        ...(operation.type === 'setRules' ? { rulesVersion: operation.rulesVersion } : {}),
      },
      effect: {
        plannedAt: this.#version,
        kind: proposal.kind,
        logTime,
        run: (_proofs, place) => {
          const leafIndex = this.#tree.size
          // The chain stays where it was: operators sign another event in its place.
          if (quarantined) {
            this.#quarantines.setAside({ index: place.logIndex, digest }, leafIndex)
            return leafOf(place, [verdicts.quarantined])
          }
          this.registry.apply(checked, { leafIndex, logTime: place.logTime })
          this.#state.put(
            stateKeys.keyEvent(checked.event.number),
            encode(storedKeyEvent, {
              signed: proposal.signed,
              leafIndex,
              logTime: place.logTime,
              ...(this.generation === 0 ? {} : { generation: this.generation }),
            }),
          )
          return { ...leafOf(place), keyEventNumber: checked.event.number }
        },
      },
    }
  }

  #planQuarantine(proposal: Proposal, logTime: number, place: EntryPlace | undefined): Plan {
    checkNoBody(proposal)
    const entry = this.openQuarantine(proposal.signed)
    if (place !== undefined && entry.index >= place.logIndex) {
      throw new RefusedError('ERR_QUARANTINE_ENTRY', `Entry ${entry.index} does not stand before its quarantine.`)
    }
    // What was applied since the last batch record, a restart applies again: that early, it can still be set aside.
    const answer = this.#quarantines.reached(entry, place !== undefined || entry.index <= this.#closedIndex)
    if (answer !== undefined) return { outcome: 'duplicate', answer }
    return {
      outcome: 'accepted',
      proofs: [],
      admission: operatorsWork,
      effect: {
        plannedAt: this.#version,
        kind: proposal.kind,
        logTime,
        run: (_proofs, at) => {
          const digest = sha256(proposal.signed)
          this.#quarantines.record(entry, { leaf: this.#tree.size, digest })
          return {
            record: encode(leafRecord, { kind: leafKinds.quarantine, group: this.group, ...at, digest }),
            signed: proposal.signed,
            trailBody: new Uint8Array(0),
            digest,
            verdicts: [],
          }
        },
      },
    }
  }

  #planOpening(proposal: Proposal, logTime: number, quarantined: boolean): Plan {
    checkNoBody(proposal)
    const [openingBytes, signature] = decode(signedSessionOpening, proposal.signed)
    const opening = decode(sessionOpening, openingBytes)
    if (!equalBytes(opening.cluster, this.registry.cluster)) {
      throw new RefusedError('ERR_OTHER_CLUSTER', 'The session is for another cluster; connect to the one it names.')
    }
    if (!equalBytes(opening.group, this.group) || opening.generation !== this.generation) {
      throw new RefusedError('ERR_OTHER_GROUP', 'The session is for another group or generation; open one for this.')
    }
    const client = this.registry.client(opening.client)
    if (client === undefined) {
      throw new RefusedError('ERR_CLIENT_UNKNOWN', 'The client is not registered; ask an operator to add it.')
    }
    if (!verifyLabelled(client.publicKey, labels.openSession, openingBytes, signature)) {
      throw new RefusedError('ERR_SIGNATURE', "The signature is not the client's; sign with the registered key.")
    }
    const digest = sha256(proposal.signed)
    const answer = checkOpening(this.#state, opening.client, opening.number, digest)
    if (answer !== undefined) return { outcome: 'duplicate', answer }
    const verdict = quarantined
      ? verdicts.quarantined
      : logTime > opening.notAfter
        ? verdicts.notAfter
        : client.revoked !== undefined
          ? verdicts.revoked
          : this.#seen.knows(opening.seen)
            ? verdicts.applied
            : verdicts.seen
    return {
      outcome: 'accepted',
      proofs: [],
      admission: { ...operatorsWork, owner: toHex(opening.client) },
      effect: {
        plannedAt: this.#version,
        kind: proposal.kind,
        logTime,
        run: (_proofs, place) => {
          if (quarantined) this.#quarantines.setAside({ index: place.logIndex, digest }, this.#tree.size)
          const stored = { leaf: this.#tree.size, digest, verdicts: [verdict] }
          recordOpening(
            this.#state,
            opening.client,
            opening.number,
            stored,
            verdict === verdicts.applied,
            this.registry.genesis.limits.sessionsPerClientMax,
          )
          return {
            record: encode(leafRecord, {
              kind: leafKinds.sessionOpening,
              group: this.group,
              ...place,
              digest,
              client: opening.client,
              session: opening.number,
              firstSequence: 0,
              sequenceCount: 1,
              verdicts: [verdict],
            }),
            signed: proposal.signed,
            trailBody: new Uint8Array(0),
            digest,
            verdicts: [verdict],
          }
        },
      },
    }
  }

  /**
   * Carries out an accepted plan: the leaf it makes. It must have been planned for this place, and nothing may have
   * been applied since.
   * @param proofsGood - one answer for each of `plan.proofs`; those after the first false are not looked at.
   */
  apply(kind: number, plan: Plan & { outcome: 'accepted' }, proofsGood: readonly boolean[], place: EntryPlace): Leaf {
    const { effect } = plan
    invariant(effect.plannedAt === this.#version, 'A plan was applied to another state than it was made for.')
    invariant(effect.kind === kind, 'A plan was applied as another kind of entry.', { kind })
    invariant(effect.logTime === place.logTime, 'A plan was applied at another log time than it was made for.')
    this.#beginEntry(place)
    return this.#append(kind, effect.run(proofsGood, place))
  }

  /** Notes an entry without effect (no-op, refused, duplicate). */
  skip(place: EntryPlace): void {
    this.#beginEntry(place)
  }

  /** Every entry has its own log index; only a batch record shares that of the entry that closed the batch. */
  #beginEntry(place: EntryPlace): void {
    invariant(!this.batchDue, 'A full batch was not closed.')
    invariant(place.logIndex > this.#appliedIndex, 'An entry was applied twice.', { ...place })
    this.#advance(place)
  }

  /**
   * Closes the open batch with its record; undefined if there are no new leaves (the entry is noted all the same).
   * Awaits the sums of all cells; nothing may be applied meanwhile, while reads and {@link plan} may go on.
   */
  async close(place: EntryPlace): Promise<ClosedBatch | undefined> {
    this.#advance(place)
    if (this.#batch.length === 0) return undefined
    // Stays set if a sum fails: then the node must stop.
    this.#closing = true
    await this.#cells.settle()
    this.#closing = false
    // One synchronous step from here: readers see cells, tree and state of one batch record.
    this.#cells.record(this.#state)
    const stateRoot = this.#cells.root()
    const firstLeaf = this.#tree.size - this.#batch.length
    const record = encode(batchRecord, {
      kind: leafKinds.batchRecord,
      group: this.group,
      logIndex: place.logIndex,
      logTime: place.logTime,
      firstLeaf,
      leafCount: this.#batch.length,
      batchRoot: this.#options.rootOfBatch(this.#batch),
      stateRoot: stateRoot === undefined ? undefined : [stateRootAlgorithm, stateRoot],
      registryHead: this.registry.head,
      rulesVersion: this.registry.rulesVersion,
    })
    const leaf = this.#append(leafKinds.batchRecord, {
      record,
      signed: new Uint8Array(0),
      trailBody: new Uint8Array(0),
      digest: new Uint8Array(0),
      verdicts: [],
    })
    this.#batch = []
    this.#closedIndex = place.logIndex
    const size = this.#tree.size
    const rootHash = this.#tree.root()
    this.#seen.add(this.#state, size, rootHash, place.logTime)
    const transition = this.registry.transitionPending
    if (transition) this.#noteTransition(size)
    this.#save()
    const completedTiles = this.#completedTiles
    this.#completedTiles = []
    return {
      leaf,
      size,
      rootHash,
      tail: [...this.#tail],
      tailRoot: this.#tree.tailRoot(),
      completedTiles,
      transition,
      snapshotDue: this.#snapshotDue(firstLeaf, size),
    }
  }

  /** The first batch record after a cosigner set's event is signed by the old and the new set. */
  #noteTransition(transitionSize: number): void {
    this.registry.noteTransition(transitionSize)
    const key = stateKeys.keyEvent(this.registry.cosignerSets.at(-1)!.eventNumber)
    this.#state.put(
      key,
      encode(storedKeyEvent, { ...decodeStored(storedKeyEvent, this.#state.get(key)!), transitionSize }),
    )
  }

  #advance(place: EntryPlace): void {
    invariant(!this.#closing, 'An entry was applied while a batch was being closed.')
    invariant(place.logIndex >= this.#appliedIndex, 'An entry was applied out of order.', { ...place })
    invariant(place.logTime >= this.#logTime, 'Log time went back.', { ...place, logTimeBefore: this.#logTime })
    this.#appliedIndex = place.logIndex
    this.#logTime = place.logTime
    this.#version++
  }

  #append(kind: number, content: LeafContent): Leaf {
    invariant(content.record.length <= leafRecordBytesMax, 'A leaf record is above the C2SP limit.')
    const leafIndex = this.#tree.size
    const hash = leafHash(content.record)
    const tiles: { level: number; index: number; hash: Uint8Array }[] = []
    this.#tree.append(hash, (level, index, subtreeHash) => {
      // Perfect subtrees of height 8L are the entries of tiles of level L (C2SP tlog-tiles).
      if (level % 8 === 0) tiles.push({ level: level / 8, index, hash: subtreeHash })
    })
    this.#tail.push(hash)
    if (this.#tree.size % 256 === 0) {
      this.#completedTiles.push({ leafHashes: this.#tail, hash: tiles.find(({ level }) => level === 1)!.hash })
      this.#tail = []
    }
    this.#batch.push(hash)
    this.#version++
    return { ...content, kind, leafIndex, tiles }
  }

  /** Writes what a restart needs. Only between batches: then sums are settled and no batch is open. */
  #save(): void {
    this.#state.put(
      stateKeys.ledger,
      encode(storedLedger, {
        rulesVersion: this.registry.rulesVersion,
        appliedIndex: this.#appliedIndex,
        logTime: this.#logTime,
        treeSize: this.#tree.size,
        peaks: [...this.#tree.peaks],
        tail: this.#tail,
        cellCount: this.#cells.cellCount,
        origin: this.origin,
      }),
    )
  }

  /**
   * The newest batch after {@link Ledger.open}, to be cosigned again.
   * @param record - its batch record, from the trail.
   * @throws {@link InvariantViolation} unless trail, registry and cells are of one batch record.
   */
  newestBatch(record: Uint8Array): ClosedBatch {
    invariant(this.#batch.length === 0, 'A batch is open.')
    const { firstLeaf, logIndex, logTime, stateRoot, registryHead } = decodeStored(batchRecord, record)
    const cellsRoot = this.#cells.root()
    const { head } = this.registry
    const last = this.#tail.at(-1)
    invariant(
      (last === undefined || equalBytes(leafHash(record), last)) &&
        logIndex === this.#appliedIndex &&
        logTime === this.#logTime &&
        registryHead.number === head.number &&
        equalBytes(registryHead.digest, head.digest) &&
        equalBytes(stateRoot?.[1] ?? new Uint8Array(0), cellsRoot ?? new Uint8Array(0)),
      'The state store and the newest batch record of the trail are of different states; restore the node.',
    )
    const size = this.#tree.size
    const nothing = new Uint8Array(0)
    return {
      leaf: {
        kind: leafKinds.batchRecord,
        leafIndex: size - 1,
        record,
        signed: nothing,
        trailBody: nothing,
        digest: nothing,
        verdicts: [],
        tiles: [],
      },
      size,
      rootHash: this.#tree.root(),
      tail: [...this.#tail],
      tailRoot: this.#tree.tailRoot(),
      completedTiles: [],
      transition: this.registry.setsFor(size).length > 1,
      snapshotDue: this.#snapshotDue(firstLeaf, size),
    }
  }

  /** Whether the batch from `firstLeaf` on is the first to end above a multiple of `snapshotEveryLeaves`. Genesis has no entry. */
  #snapshotDue(firstLeaf: number, size: number): boolean {
    const every = this.registry.genesis.limits.snapshotEveryLeaves
    return firstLeaf > 0 && Math.floor(firstLeaf / every) < Math.floor(size / every)
  }

  /**
   * What a snapshot at the batch record just closed says of itself, and the state as it is now, whatever is applied
   * while its pairs are read. To be asked in the same step as `close` returned, or after {@link newestBatch}.
   */
  snapshot(closed: ClosedBatch): LedgerSnapshot {
    invariant(
      this.#batch.length === 0 && closed.size === this.#tree.size && this.#closedIndex === this.#appliedIndex,
      'A snapshot was asked for at something else than the newest batch record.',
      { size: closed.size, treeSize: this.#tree.size },
    )
    return {
      cluster: this.registry.cluster,
      group: this.group,
      generation: this.generation,
      index: this.#appliedIndex,
      time: this.#logTime,
      treeSize: closed.size,
      rootHash: closed.rootHash,
      batchRecord: closed.leaf.record,
      pairs: inTurn(this.#state.iterate(new Uint8Array(0))),
    }
  }

  value(namespace: string, key: Uint8Array): Uint8Array | undefined {
    return this.#state.get(stateKeys.value(namespace, key))
  }
  envelope(id: Uint8Array): StoredEnvelope | undefined {
    return envelope(this.#state, id)
  }
  cell(namespace: string, key: Uint8Array): CellProof | undefined {
    return this.#cells.prove(namespace, key)
  }
  /** Highest session number a client ever used, and its open sessions with their last sequence. */
  sessions(client: Uint8Array): { highWaterMark: number; open: { number: number; lastSequence: number }[] } {
    const { highWaterMark, open } = clientSessions(this.#state, client)
    return {
      highWaterMark,
      open: open.map((number) => ({ number, lastSequence: session(this.#state, client, number)!.lastSequence })),
    }
  }
}

async function* inTurn(pairs: ReturnType<State['iterate']>): AsyncGenerator<SnapshotPair> {
  yield* pairs
}

/** Bodies belong to bundles: whatever else stands beside a key event or an opening, nobody signed. */
function checkNoBody({ body }: Proposal): void {
  if (body.length === 0) return
  throw new DecodeError('ERR_DECODE_BODY', `${body.length} bytes came beside what takes no body; leave them out.`)
}

/** The leaf hashes since the last multiple of 256 must fold to what the compact range says of them. */
function checkTail(tree: CompactRange, tail: readonly Uint8Array[]): void {
  const twin = new CompactRange()
  for (const hash of tail) twin.append(hash)
  const tailRoot = tree.tailRoot()
  invariant(
    tail.length === tree.size % 256 && (tailRoot === undefined || equalBytes(twin.root(), tailRoot)),
    'The state store holds a tree and leaf hashes that do not belong together.',
    { treeSize: tree.size },
  )
}

/** @throws CipherlogError `ERR_RULES_UNKNOWN` if the log accepts a circuit that this software lacks. */
function checkCircuits(circuits: readonly Circuit[]): void {
  const unknown = circuits.find(({ id }) => findCircuit(id) === undefined)
  if (unknown === undefined) return
  throw new CipherlogError(
    'ERR_RULES_UNKNOWN',
    `The log accepts the circuit ${unknown.id}, which this software does not know; install a newer version.`,
    { details: { circuit: unknown.id } },
  )
}

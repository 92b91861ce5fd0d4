/**
 * One replica's part in one group, from its disk to its frames: ledger, replicator and pipeline, the snapshots that it
 * takes, hands on and installs, and what it fetches from peers when its own disk lacks it. No I/O of its own.
 *
 * A snapshot takes the place of everything but the log's own promises (term and vote). In order, each step durable
 * before the next: the snapshot (whole, confirmed by a majority, checked), the state, the trail's edge, the beginning
 * of the log. A start that finds the first two without the last goes on from there.
 *
 * Invariant: compactedIndex <= persistedIndex <= appliedIndex <= min(commitIndex, durableIndex).
 */
import {
  CipherlogError,
  DecodeError,
  decode,
  equalBytes,
  errorCode,
  fromHex,
  InvariantViolation,
  toHex,
  type Clock,
  type Logger,
} from '@cipherlog/core'
import {
  fromStoredConfState,
  isSnapshotEdge,
  policyChain,
  toStoredConfState,
  sortedConfState,
  type NodeKeys,
  type SnapshotPair,
} from '@cipherlog/format'
import { splitPayloads } from '@cipherlog/format/peer-frame'
import { Ledger, openSnapshot, readMemberAddresses, type ClosedBatch, type LedgerOptions } from '@cipherlog/machine'
import { parseCheckpoint, parseNote } from '@cipherlog/merkle/verify'
import { confStateOf, type RaftConfig } from '@cipherlog/raft'
import { openPolicyChain, policyChainBytesMax } from '@cipherlog/registry'
import {
  readTrailEdge,
  trailEdge,
  type StateReplacement,
  type StateStore,
  type StoredSnapshot,
  type TrailStore,
  type WalRetention,
} from '@cipherlog/storage'
import { type Configuration, type ReplicaAddress, type SnapshotOffer } from '../replicator.ts'
import { toPeerHeader, toRaftMessage } from '../host/peer-messages.ts'
import { type MembershipState } from '../node-api.ts'
import { ClusterControl } from './cluster-control.ts'
import { type GroupEndpoint, type GroupHeader } from './group-router.ts'
import { finishInstallation, metaOf, newestWithin, unheardOf, type MemberStores } from './installation.ts'
import { PayloadRepair } from './payload-repair.ts'
import { type CosigningMessage } from './publisher.ts'
import { RaftReplicator } from './raft-replicator.ts'
import { readRaftState } from './raft-state.ts'
import { Replica, resumedFrom, sizeOfNote, type MemberInfo, type ReplicaOptions, type Resumed } from './replica.ts'
import { SnapshotFetcher, type SnapshotProblem } from './snapshot-fetcher.ts'
import { SnapshotServer } from './snapshot-server.ts'
import { TrailExchange } from './trail-exchange.ts'

/** Ticks between attempts to fill the trail from another peer, after one has failed. */
const backfillRetryTicks = 10

/** What happened, for metrics. */
export interface MemberObserver {
  snapshotTaken(bytes: number, durationMs: number): void
  snapshotInstalled(): void
  snapshotProblem(problem: SnapshotProblem): void
  snapshotChunk(bytes: number): void
  payloadRepaired(bytes: number): void
  compacted(index: number): void
  trailFrom(leaf: number): void
  configuration(configuration: Configuration): void
  appended(bytes: number, durationMs: number): void
}

type PassedOn = Pick<
  ReplicaOptions,
  | 'verifier'
  | 'observer'
  | 'crossCheck'
  | 'admit'
  | 'idleMarkMs'
  | 'pendingProposalsMax'
  | 'unappliedCostMsMax'
  | 'applyNotes'
  | 'votersSupport'
  | 'version'
  | 'onMembersChanged'
>

export interface GroupMemberOptions extends PassedOn {
  readonly keys: NodeKeys
  readonly signedGenesis: Uint8Array
  readonly ledgerOptions: LedgerOptions
  readonly stores: MemberStores
  readonly raft: Omit<RaftConfig, 'id' | 'initialTimeMs' | 'maxClockErrorMs'>
  readonly tickMs: number
  readonly clock: Clock
  readonly logger: Logger
  readonly memberObserver: MemberObserver
  /** What the host knows of the members, this replica included. */
  readonly members: () => readonly Omit<MemberInfo, 'trailFrom'>[]
  /** @returns false if the frame was dropped. */
  readonly send: (to: string, header: GroupHeader, bodies: readonly Uint8Array[]) => boolean
  readonly connected: (peerId: string) => boolean
  /** Bytes of a snapshot fetched in a second, at most. */
  readonly snapshotBytesPerSecond: number
  /** Log kept for peers that lag, beyond what a snapshot holds. */
  readonly retention: WalRetention
  /** Called once; nothing is answered, signed or written any more. */
  readonly onFatal: (error: unknown) => void
}

/** A snapshot that was checked, with the state made of it, not in force yet. */
interface Prepared {
  readonly snapshot: StoredSnapshot
  readonly replacement: StateReplacement
  readonly ledger: Ledger
}

export class GroupMember implements GroupEndpoint {
  readonly #options: GroupMemberOptions
  readonly #selfId: string
  readonly #replicator: RaftReplicator
  readonly #repair: PayloadRepair
  readonly #fetcher: SnapshotFetcher
  readonly #server: SnapshotServer
  readonly #exchange: TrailExchange
  readonly cluster: ClusterControl
  readonly #addresses = new Map<string, ReplicaAddress>()
  readonly #trailFromOf = new Map<string, number>()
  #state: StateStore
  #ledger: Ledger
  #trail: TrailStore
  #replica: Replica
  #prepared: Prepared | undefined
  /** A snapshot is being written. */
  #taking: Promise<void> | undefined
  #persistedIndex: number
  #compacting: Promise<unknown> | undefined
  #backfilling: Promise<void> | undefined
  #backfillPause = 0
  #backfillAsked = 0
  /** The entry as of which a member said that this replica has no part. */
  #removedAt: number | undefined
  #wasMember: boolean
  #running = false
  #stopped = false
  /** Takes no part until the others were asked, or at all. */
  readonly #inDoubt: boolean

  private constructor(
    options: GroupMemberOptions,
    parts: {
      readonly replicator: RaftReplicator
      readonly repair: PayloadRepair
      readonly state: StateStore
      readonly ledger: Ledger
      readonly trail: TrailStore
      readonly resumed: Resumed
      readonly addresses: readonly ReplicaAddress[]
    },
  ) {
    this.#options = options
    this.#selfId = toHex(options.keys.peerId)
    const { replicator, repair, ledger, trail, state, addresses } = parts
    this.#replicator = replicator
    this.#repair = repair
    this.#ledger = ledger
    this.#trail = trail
    this.#state = state
    this.#persistedIndex = ledger.appliedIndex
    const { logger, stores, memberObserver, send, connected, tickMs, snapshotBytesPerSecond } = options
    const { snapshots } = stores
    const { group } = ledger
    const onFatal = (error: unknown): void => this.#fail(error)
    this.#server = new SnapshotServer({ group, snapshots, send, logger, onFatal })
    this.#exchange = new TrailExchange({ group, trail: () => this.#trail, send, logger })
    this.#fetcher = new SnapshotFetcher({
      cluster: ledger.registry.cluster,
      group,
      snapshots,
      connected,
      send: (to, request) => send(to, request, []),
      check: (snapshot) => this.#check(snapshot),
      bytesPerSecond: snapshotBytesPerSecond,
      tickMs,
      logger,
      onProblem: (problem) => memberObserver.snapshotProblem(problem),
      onChunk: (bytes) => memberObserver.snapshotChunk(bytes),
      onFatal,
    })
    replicator.onSnapshotOffer({
      fetch: (offer, from) => this.#fetcher.fetch(offer, from),
      install: (offer) => this.#install(offer),
      installed: (offer) => void this.#begin(offer).catch(onFatal),
    })
    this.cluster = new ClusterControl({
      selfId: this.#selfId,
      replicator,
      ledger: () => this.#ledger,
      status: () => this.#replica.status(),
      trailFromOf: (peerId) => this.trailFromOf(peerId),
      clock: options.clock,
    })
    for (const address of addresses) this.#addresses.set(address.peerId, address)
    this.#inDoubt = stores.contents.doubt !== undefined || stores.readOnly === true
    if (this.#inDoubt) {
      logger.error(
        { ...stores.contents.doubt, known: undefined, readOnly: stores.readOnly },
        'the log is damaged where it may have been acknowledged: this replica takes no part in the group',
      )
    }
    this.#wasMember = isMember(replicator.status().configuration, this.#selfId)
    replicator.onConfigurationChange((configuration, index, named) => this.#configured(configuration, index, named))
    this.#replica = this.#createReplica(parts.resumed)
    memberObserver.configuration(replicator.status().configuration)
    memberObserver.trailFrom(trail.trailFrom)
  }

  /**
   * Opens the group on its disk, finishing what a crash left of an installation; nothing runs yet.
   * @throws CipherlogError `ERR_WAL_LOST`, `ERR_SNAPSHOT_LOST`, `ERR_RULES_UNKNOWN`, `ERR_TRAIL_*`;
   * {@link InvariantViolation} if the disk contradicts itself.
   */
  static async open(options: GroupMemberOptions): Promise<GroupMember> {
    const { signedGenesis, ledgerOptions, stores, keys, raft, clock, logger, memberObserver } = options
    const { wal, state, snapshots } = stores
    const opened = await Ledger.open(state, ledgerOptions)
    const created = opened === undefined ? await Ledger.create(state, signedGenesis, ledgerOptions) : undefined
    const ledger = opened ?? created!.ledger
    const { doubt } = stores.contents
    const muted = doubt !== undefined || stores.readOnly === true
    const contents = muted ? stores.contents : await finishInstallation(stores, ledger)
    const trail = await stores.trail.open(created === undefined ? ledger.treeSize : 0)
    const { genesis } = ledger.registry
    const repair = new PayloadRepair({
      group: ledger.group,
      wal,
      peers: () => member.#peers(),
      request: (to, entries) =>
        options.send(to, { type: 'payloadRequest', group: ledger.group, entries: [...entries] }, []),
      logger,
      onRepaired: (bytes) => memberObserver.payloadRepaired(bytes),
      onFatal: (error) => member.#fail(error),
    })
    const newest = newestWithin(snapshots, contents, ledger.appliedIndex)
    if (newest === undefined && contents.baseIndex > 0) {
      throw new CipherlogError(
        'ERR_SNAPSHOT_LOST',
        'The log begins after a snapshot that is not on this disk any more; replace this replica by one with new keys.',
        { details: { baseIndex: contents.baseIndex } },
      )
    }
    const confState =
      newest === undefined
        ? confStateOf(ledger.registry.presentCosignerSets[0]!.set.members.map(({ peerId }) => toHex(peerId)))
        : fromStoredConfState(newest.manifest.confState)
    const replicator: RaftReplicator = new RaftReplicator({
      config: {
        ...raft,
        id: toHex(keys.peerId),
        maxClockErrorMs: genesis.limits.maxClockErrorMs,
        initialTimeMs: ledger.registry.startedAt,
      },
      muted,
      state: muted
        ? unheardOf(ledger, confState)
        : await readRaftState({
            group: ledger.group,
            wal,
            contents,
            applied: ledger.appliedIndex,
            confState,
            confIndex: newest?.manifest.index ?? 0,
            snapshot: newest && { ...metaOf(newest), confState },
          }),
      group: ledger.group,
      wal,
      clock,
      logger,
      send: (to, message, payloads) => void options.send(to, toPeerHeader(message, ledger.group), payloads),
      declineSnapshot: (to, index) =>
        void options.send(to, { type: 'snapshotStatus', group: ledger.group, index, ok: false }, []),
      filled: (index) => repair.filled(index),
      onAppended: (bytes, durationMs) => memberObserver.appended(bytes, durationMs),
      onFatal: (error) => member.#fail(error),
    })
    const member: GroupMember = new GroupMember(options, {
      replicator,
      repair,
      state,
      ledger,
      trail,
      resumed: await resumedWith(trail, ledger.origin, stores.joinNotes.read()),
      addresses: await readMemberAddresses(state),
    })
    if (created === undefined) await member.#replica.resume()
    else member.#replica.begin(created.leaf, created.closed)
    return member
  }

  /** What answers clients at this moment: another one once a snapshot was installed. */
  get replica(): Replica {
    return this.#replica
  }

  get replicator(): RaftReplicator {
    return this.#replicator
  }

  get ledger(): Ledger {
    return this.#ledger
  }

  /** Addresses that the log names. */
  get addresses(): ReadonlyMap<string, ReplicaAddress> {
    return this.#addresses
  }

  /** First leaf of a member's trail by its own word; of this replica's as it is. */
  trailFromOf(peerId: string): number | undefined {
    return peerId === this.#selfId ? this.#trail.trailFrom : this.#trailFromOf.get(peerId)
  }

  /** What this replica is in the group, as far as it knows. */
  get membership(): MembershipState {
    const { configuration } = this.#replicator.status()
    if (this.#removedAt !== undefined) return 'removed'
    if (!isMember(configuration, this.#selfId)) return this.#wasMember ? 'removed' : 'joining'
    return configuration.learners.includes(this.#selfId) ? 'learner' : 'voter'
  }

  // --- from start to stop ---

  start(): void {
    this.#running = true
    void this.#replica.run()
  }

  /** Advances all timers by one tick. */
  tick(): void {
    if (this.#stopped) return
    this.#replicator.tick()
    this.#repair.tick()
    this.#fetcher.tick()
    this.#exchange.tick()
    if (this.#backfillPause > 0) this.#backfillPause--
    this.#backfill()
  }

  /** Ends everything at once; for faults that were found elsewhere. */
  halt(): void {
    this.#stopped = true
    this.#replica.halt()
    this.#endWork()
  }

  /** Resolves when nothing is written any more. */
  async stop(): Promise<void> {
    this.#stopped = true
    this.#endWork()
    await this.#replica.stop()
    await Promise.allSettled([this.#taking, this.#compacting, this.#backfilling])
    await this.#prepared?.replacement.discard()
    await this.#trail.close()
    await this.#state.close()
  }

  #endWork(): void {
    this.#replicator.stop()
    this.#repair.stop()
    this.#fetcher.stop()
    this.#exchange.stop()
  }

  #fail(error: unknown): void {
    if (this.#stopped) return
    this.halt()
    this.#options.onFatal(error)
  }

  #createReplica(resumed: Resumed): Replica {
    const { keys, stores, clock, logger } = this.#options
    const { genesis } = this.#ledger.registry
    const ledger = this.#ledger
    return new Replica(
      {
        ...this.#options,
        ledger,
        keys,
        replicator: this.#replicator,
        trail: this.#trail,
        state: this.#state,
        clock,
        logger,
        signedHead: stores.signedHead,
        olderTrails: stores.olderTrails,
        broadcast: (message) => {
          for (const peer of this.#cosigners()) this.#sendCosigning(peer, message)
        },
        send: (to, message) => this.#sendCosigning(toHex(to), message),
        batchIntervalMs: genesis.limits.batchIntervalMs,
        members: () =>
          this.#options.members().map((member) => ({ ...member, trailFrom: this.trailFromOf(member.peerId) })),
        standing: () => ({
          membership: this.membership,
          damagedEntries: stores.wal.holes(ledger.group).length,
          inDoubt: this.#inDoubt,
        }),
        onSnapshotDue: (closed) => this.#take(closed),
        onPersisted: (logIndex) => {
          this.#persistedIndex = logIndex
          this.#compact()
        },
        onFatal: (error) => this.#fail(error),
      },
      resumed,
    )
  }

  #sendCosigning(to: string, message: CosigningMessage): void {
    this.#options.send(to, { ...message, group: this.#ledger.group }, [])
  }

  // --- frames ---

  receive(from: string, header: GroupHeader, bodies: Uint8Array): void {
    if (this.#stopped) return
    if ('term' in header) {
      const message = toRaftMessage(header, from, this.#selfId)
      const payloads = header.type === 'append' ? splitPayloads(header.entries, bodies) : []
      if (message !== undefined) this.#replicator.receive(message, payloads)
      return
    }
    switch (header.type) {
      case 'cosignatures':
        this.#replica.peerSignatures(fromHex(from), header)
        return
      case 'cosignatureRequest':
        this.#replica.peerRequest(fromHex(from), header.size)
        return
      case 'transitionCheckpoint':
        this.#replica.peerTransition(fromHex(from), header.note)
        return
      case 'snapshotQuery':
      case 'chunkRequest':
        this.#server.receive(from, header)
        return
      case 'snapshotAnswer':
      case 'chunk':
        this.#fetcher.receive(from, header, bodies)
        return
      case 'snapshotStatus':
        this.#replicator.snapshotStatus(from, header.ok)
        return
      case 'payloadRequest':
        void this.#answerPayloads(from, header.entries)
        return
      case 'payloads':
        this.#repair
          .received(from, header.entries, splitPayloads(header.entries, bodies))
          .catch((error: unknown) => this.#options.logger.warn({ err: error, from }, 'a peer sent a wrong payload'))
        return
      case 'replicaStatus':
        this.#trailFromOf.set(from, header.trailFrom)
        return
      case 'trailRequest':
      case 'trailPiece':
        this.#exchange.receive(from, header, bodies)
    }
  }

  peerStateChanged(peerId: string, connected: boolean): void {
    if (this.#stopped) return
    if (!connected) {
      this.#replicator.unreachable(peerId)
      return
    }
    this.#sayStatus(peerId)
    this.#replica.peerConnected()
  }

  /** A member says that, as of entry `index`, this replica has no part in the group. */
  notMember(index: number): void {
    if (!this.#wasMember || index <= this.#replicator.status().commitIndex || this.#removedAt !== undefined) return
    this.#removedAt = index
    this.#options.logger.warn({ index }, 'this replica was removed from the group: stop it')
  }

  async #answerPayloads(to: string, entries: Parameters<RaftReplicator['payloadsFor']>[0]): Promise<void> {
    try {
      const found = await this.#replicator.payloadsFor(entries)
      if (found.length === 0) return
      const refs = found.map(({ ref: { change: _change, ...ref } }) => ref)
      const bodies = found.map(({ payload }) => payload)
      this.#options.send(to, { type: 'payloads', group: this.#ledger.group, entries: refs }, bodies)
    } catch (error) {
      if (errorCode(error) !== 'ERR_STORAGE_CLOSED') this.#fail(error)
    }
  }

  #sayStatus(to: string): void {
    this.#options.send(to, { type: 'replicaStatus', group: this.#ledger.group, trailFrom: this.#trail.trailFrom }, [])
  }

  // --- members ---

  #configured(configuration: Configuration, index: number, named: readonly ReplicaAddress[]): void {
    const { logger, memberObserver, onMembersChanged } = this.#options
    for (const address of named) this.#addresses.set(address.peerId, address)
    this.#wasMember ||= isMember(configuration, this.#selfId)
    if (isMember(configuration, this.#selfId)) this.#removedAt = undefined
    logger.info({ index, ...configuration }, 'membership')
    memberObserver.configuration(configuration)
    onMembersChanged()
  }

  /** The other members that frames can be sent to. */
  #peers(): string[] {
    const { voters, learners, votersOutgoing } = this.#replicator.status().configuration
    const others = new Set([...voters, ...votersOutgoing, ...learners])
    others.delete(this.#selfId)
    return [...others].filter((peer) => this.#options.connected(peer))
  }

  /** Members, and those whose signatures a transition needs. */
  #cosigners(): Set<string> {
    const { voters, learners, votersOutgoing } = this.#replicator.status().configuration
    const sets = this.#ledger.registry.presentCosignerSets.slice(-2)
    const peers = new Set([...voters, ...learners, ...votersOutgoing])
    for (const { set } of sets) for (const { peerId } of set.members) peers.add(toHex(peerId))
    peers.delete(this.#selfId)
    return peers
  }

  // --- snapshots taken here ---

  #take(closed: ClosedBatch): void {
    const { logger } = this.#options
    if (this.#taking !== undefined) {
      logger.warn({ treeSize: closed.size }, 'a snapshot is still being written: this one is left out')
      return
    }
    // A newer one, from a peer, is just taking the place of all this.
    if (this.#ledger.appliedIndex <= this.#replicator.status().compactedIndex) return
    // The state as it is now, whatever is applied while it is read.
    const taken = this.#ledger.snapshot(closed)
    this.#taking = this.#write(taken, this.#trail)
      .catch((error: unknown) => {
        if (!this.#stopped && errorCode(error) !== 'ERR_UNAVAILABLE') this.#fail(error)
      })
      .finally(() => {
        this.#taking = undefined
      })
  }

  async #write(taken: ReturnType<Ledger['snapshot']>, trail: TrailStore): Promise<void> {
    const { stores, clock, logger, memberObserver } = this.#options
    const start = clock.monotonic()
    const { pairs, ...head } = taken
    const { term, configuration } = this.#replicator.standingAt(head.index)
    const confState = sortedConfState(toStoredConfState(configuration))
    const stream = joined(trailEdge(trail, head.treeSize), pairs)
    const { digest, manifest } = await stores.snapshots.write({ ...head, term, confState }, stream)
    const durationMs = clock.monotonic() - start
    logger.info({ index: head.index, digest: toHex(digest), bytes: manifest.bytes, durationMs }, 'a snapshot was taken')
    memberObserver.snapshotTaken(manifest.bytes, durationMs)
    this.#server.made(head.index, digest)
    if (this.#stopped) return
    this.#replicator.offerSnapshot({ index: head.index, digest })
    await stores.snapshots.prune()
    this.#compact()
  }

  /** Forgets what the newest snapshot holds and the state has, but for what peers that lag may need. */
  #compact(): void {
    const { stores, retention, memberObserver } = this.#options
    if (this.#stopped || this.#compacting !== undefined) return
    const { snapshotIndex, compactedIndex } = this.#replicator.status()
    const upTo = Math.min(snapshotIndex, this.#persistedIndex)
    if (upTo <= compactedIndex) return
    const index = stores.wal.compactionIndex(this.#ledger.group, upTo, retention)
    if (index <= compactedIndex) return
    this.#compacting = this.#replicator
      .compactTo(index)
      .then((compacted) => memberObserver.compacted(compacted))
      .catch((error: unknown) => this.#fail(error))
      .finally(() => {
        this.#compacting = undefined
      })
  }

  // --- snapshots of others ---

  /** The whole of it is here: whether its content is what it must be. @throws VerificationError, DecodeError if not. */
  async #check(snapshot: StoredSnapshot): Promise<boolean> {
    const { stores, ledgerOptions } = this.#options
    const { manifest, digest } = snapshot
    if (this.#prepared !== undefined && !equalBytes(this.#prepared.snapshot.digest, digest))
      await this.#forgetPrepared()
    if (this.#prepared === undefined) {
      await readTrailEdge(manifest, stores.snapshots.pairs(digest))
      const replacement = await this.#state.prepareReplacement(statePairs(stores.snapshots.pairs(digest)))
      try {
        const ledger = await openSnapshot(replacement.store, snapshot, ledgerOptions)
        this.#prepared = { snapshot, replacement, ledger }
      } catch (error) {
        await replacement.discard()
        throw error
      }
    }
    return this.#learnTransitions(this.#prepared.ledger)
  }

  async #forgetPrepared(): Promise<void> {
    const prepared = this.#prepared
    this.#prepared = undefined
    await prepared?.replacement.discard()
  }

  /**
   * The notes of transition sizes, which were published before and which the policy chain needs: from any member. They
   * carry the quorums of both sets, so whoever hands them out need not be believed. False: nobody has them yet.
   */
  async #learnTransitions(ledger: Ledger): Promise<boolean> {
    const { stores, logger } = this.#options
    const known = new Set((await resumedWith(this.#trail, this.#ledger.origin, stores.joinNotes.read())).sizes)
    const needed = ledger.registry.presentCosignerSets.flatMap(({ transitionSize: size }) =>
      size === undefined ? [] : [size],
    )
    if (needed.every((size) => known.has(size))) return true
    const { cluster } = ledger.registry
    const trustPolicy = {
      version: 1 as const,
      cluster,
      group: ledger.group,
      generation: ledger.generation,
      witnesses: [],
      witnessesRequired: 0,
    }
    for (const peer of this.#peers()) {
      try {
        const file = await this.#exchange.source(peer).file('policy-chain')
        if (file === undefined || file.size > policyChainBytesMax) continue
        const bytes = await readWhole(file)
        const { cosignerSets } = openPolicyChain(bytes, trustPolicy)
        const present = cosignerSets.filter(({ generation }) => generation === ledger.generation)
        const sizes = new Set(present.map(({ transitionSize }) => transitionSize))
        if (!needed.every((size) => sizes.has(size))) continue
        await stores.joinNotes.write(transitionNotes(bytes))
        return true
      } catch (error) {
        if (!(error instanceof CipherlogError) || error instanceof InvariantViolation) throw error
        logger.warn({ err: error, peer }, 'a policy chain cannot be had from this peer')
      }
    }
    return false
  }

  /** The log takes the snapshot: the state follows. */
  async #install({ index, digest }: SnapshotOffer): Promise<void> {
    const { stores, logger } = this.#options
    const prepared = this.#prepared
    // A majority may have confirmed another digest than the one that was offered.
    if (prepared?.snapshot.manifest.index !== index) {
      throw new InvariantViolation('A snapshot is installed that was not checked.', { index, digest: toHex(digest) })
    }
    const { snapshot, replacement, ledger } = prepared
    this.#prepared = undefined
    logger.info({ index, treeSize: ledger.treeSize }, 'installing a snapshot')
    await this.#replica.stop()
    await Promise.allSettled([this.#taking, this.#backfilling])
    await this.#trail.close()
    await replacement.commit()
    this.#state = replacement.store
    await stores.trail.install(snapshot.manifest, stores.snapshots.pairs(snapshot.digest))
    this.#ledger = ledger
    this.#trail = await stores.trail.open(ledger.treeSize)
    this.#persistedIndex = index
  }

  /** State and log are the snapshot's: goes on from there. */
  async #begin({ index }: SnapshotOffer): Promise<void> {
    const { stores, logger, memberObserver, onMembersChanged } = this.#options
    const snapshot = stores.snapshots.list().find(({ manifest }) => manifest.index === index)
    if (snapshot !== undefined) this.#server.made(index, snapshot.digest)
    for (const address of await readMemberAddresses(this.#state)) this.#addresses.set(address.peerId, address)
    this.#replica = this.#createReplica(await resumedWith(this.#trail, this.#ledger.origin, stores.joinNotes.read()))
    await this.#replica.resume()
    logger.info({ index, trailFrom: this.#trail.trailFrom }, 'a snapshot was installed')
    memberObserver.snapshotInstalled()
    memberObserver.trailFrom(this.#trail.trailFrom)
    onMembersChanged()
    for (const peer of this.#peers()) this.#sayStatus(peer)
    await stores.snapshots.prune()
    if (this.#stopped) await this.#replica.stop()
    else if (this.#running) void this.#replica.run()
  }

  // --- the trail before the snapshot ---

  #backfill(): void {
    if (this.#trail.trailFrom === 0 || this.#backfilling !== undefined || this.#backfillPause > 0 || !this.#running)
      return
    const from = this.#trail.trailFrom
    const peers = this.#peers().filter((peer) => (this.#trailFromOf.get(peer) ?? from) < from)
    const peer = peers[this.#backfillAsked++ % Math.max(1, peers.length)]
    if (peer === undefined) return
    const { logger, memberObserver } = this.#options
    const trail = this.#trail
    this.#backfilling = trail
      .backfill(this.#exchange.source(peer))
      .then(() => {
        memberObserver.trailFrom(trail.trailFrom)
        if (trail.trailFrom === 0) logger.info({}, 'the trail is whole')
        for (const other of this.#peers()) this.#sayStatus(other)
      })
      .catch((error: unknown) => {
        const code = errorCode(error)
        if (code === 'ERR_TRAIL_BACKFILL' || code === 'ERR_UNAVAILABLE') {
          if (!this.#stopped) logger.warn({ err: error, peer }, 'the trail is fetched from another peer')
          this.#backfillPause = backfillRetryTicks
        } else if (code !== 'ERR_STORAGE_CLOSED') {
          this.#fail(error)
        }
      })
      .finally(() => {
        this.#backfilling = undefined
        if (!this.#stopped) this.#backfill()
      })
  }
}

function isMember({ voters, learners, votersOutgoing }: Configuration, peerId: string): boolean {
  return voters.includes(peerId) || learners.includes(peerId) || votersOutgoing.includes(peerId)
}

/** What a restart found, with the notes that this replica was given when it joined. */
async function resumedWith(
  trail: TrailStore,
  origin: string,
  notes: readonly string[],
): Promise<Resumed & { readonly sizes: readonly number[] }> {
  const { checkpoint, transitions } = await resumedFrom(trail)
  // The policy chain holds those of older generations too, whose sizes mean nothing here.
  const all = [...new Set([...notes, ...transitions])].filter(
    (note) => parseCheckpoint(parseNote(note).text).origin === origin,
  )
  return { checkpoint, transitions: all, sizes: all.map((note) => sizeOfNote(note)) }
}

function transitionNotes(chain: Uint8Array): string[] {
  return decode(policyChain, chain)[1].flatMap(({ transitionCheckpoint: note }) => (note === undefined ? [] : [note]))
}

async function readWhole(file: { readonly size: number; read(start: number, length: number): Promise<Uint8Array> }) {
  const bytes = new Uint8Array(file.size)
  for (let at = 0; at < file.size;) {
    const piece = await file.read(at, file.size - at)
    if (piece.length === 0 || piece.length > file.size - at) {
      throw new DecodeError('ERR_DECODE_TRUNCATED', 'A file of the trail ends too early.')
    }
    bytes.set(piece, at)
    at += piece.length
  }
  return bytes
}

async function* joined(...parts: AsyncIterable<SnapshotPair>[]): AsyncGenerator<SnapshotPair> {
  for (const part of parts) yield* part
}

async function* statePairs(pairs: AsyncIterable<SnapshotPair>): AsyncGenerator<SnapshotPair> {
  for await (const pair of pairs) if (!isSnapshotEdge(pair[0])) yield pair
}

/**
 * A Raft cluster in one process on virtual time: network, disks and clocks that fail by seed, and a checker that watches
 * from outside (raft-checker.ts says what it checks). The same options and calls give the same run.
 *
 * Time passes in rounds: in each, every running node receives what is due, finishes the writes that are due, and may
 * tick. A disk write takes its time, is torn by a crash, and is acknowledged late or more than once. A node is a place
 * where a replica runs: when its disk is wiped another peer, of the next incarnation, runs there.
 */
import { invariant, writeU64 } from '@cipherlog/core'
import {
  type ConfChange,
  type ConfState,
  confStateOf,
  type Effect,
  type Input,
  type Message,
  type PeerId,
  Raft,
  type RaftConfig,
  type SnapshotMeta,
} from '@cipherlog/raft'
import { Prng } from './prng.ts'
import { RaftChecker } from './raft-checker.ts'
import {
  applyTo,
  compactDisk,
  digestOf,
  emptyDisk,
  holds,
  lastIndexOf,
  partsOf,
  type RaftDisk,
  type RaftWrite,
  refAt,
  stateIn,
  writePart,
} from './raft-disk.ts'
import { noCounts, noRaftFaults, type RaftFaults, type RaftNetworkCounts } from './raft-faults.ts'
import { Links } from './raft-links.ts'
import { type Node, peerId, placeOf, show } from './raft-node.ts'
import { raftNetworkConfig, type RaftNetworkOptions, roundMs, skewMsMax, startMs } from './raft-options.ts'

export class RaftNetwork {
  readonly counts: RaftNetworkCounts = noCounts()
  /** What becomes of a message on its way, undefined if it is lost: for scenarios that must stop half-way. */
  intercept: (message: Message) => Message | undefined = (message) => message
  /** Every answered read: its context and index. */
  readonly readsReady = new Map<number, number>()

  readonly #prng: Prng
  readonly #config: Omit<RaftConfig, 'id' | 'random'>
  readonly #priorities: readonly number[]
  readonly #brokenClock: boolean
  readonly #trace: ((line: string) => void) | undefined
  readonly #initial: ConfState
  readonly #nodes: readonly Node[]
  readonly #checker: RaftChecker
  /** Disks of peers that are gone for good, as they were. */
  readonly #wiped = new Map<PeerId, RaftDisk>()
  #faults: RaftFaults
  #round = 0
  #messages: { readonly due: number; readonly message: Message }[] = []
  readonly #links = new Links()
  #lastProposal = 0
  #lastRead = 0
  /** Nodes that stay down. */
  readonly #stopped = new Set<number>()
  readonly #proposalAt = new Map<number, { readonly index: number; readonly term: number }>()
  readonly #readFloor = new Map<number, number>()

  constructor(options: RaftNetworkOptions) {
    this.#prng = new Prng(options.seed)
    this.#faults = { ...noRaftFaults, ...options.faults }
    this.#brokenClock = options.brokenClock ?? false
    this.#trace = options.trace
    this.#priorities = options.priorities ?? []
    this.#config = { ...raftNetworkConfig, ...options.config }
    const places = Array.from({ length: options.nodes }, (_, at) => at)
    this.#initial = confStateOf(places.slice(0, options.voters ?? options.nodes).map((at) => peerId(at, 0)))
    this.#nodes = places.map((at) => ({
      at,
      incarnation: 0,
      id: peerId(at, 0),
      disk: { ...emptyDisk(this.#initial, startMs), ...options.disks?.[at] },
      raft: undefined,
      writes: [],
      fetch: undefined,
      diskHangs: false,
      downUntil: 0,
      pausedUntil: 0,
      skewMs: this.#prng.between(-skewMsMax, skewMsMax),
      checkedCommit: 0,
      applied: 0,
      state: 0,
      confs: [],
      lastIoId: 0,
      ticks: 0,
      term: 0,
    }))
    const { preVote } = this.#config
    this.#checker = new RaftChecker({ preVote, startMs, confState: this.#initial }, (id) => this.#diskOf(id))
    for (const node of this.#nodes) {
      for (const [at, ref] of node.disk.refs.entries()) {
        this.#checker.learnEntry(ref, node.disk.refs[at - 1]?.term ?? 0)
      }
      this.#start(node)
    }
  }

  // What a test does to the cluster. Nodes are named by their position.

  /** Who runs at each position now. */
  get ids(): readonly PeerId[] {
    return this.#nodes.map(({ id }) => id)
  }

  raft(at: number): Raft {
    const raft = this.#node(at).raft
    invariant(raft !== undefined, 'The node is down', { at })
    return raft
  }

  disk(at: number): RaftDisk {
    return this.#node(at).disk
  }

  /** Positions of the running nodes that take themselves for leader. */
  get leaders(): readonly number[] {
    return this.#positions((node) => node.raft?.status.role === 'leader')
  }

  /** Positions of the running nodes. */
  get running(): readonly number[] {
    return this.#positions(({ raft }) => raft !== undefined)
  }

  /** Terms of the committed entries, from index 1. */
  get committedTerms(): readonly number[] {
    return this.#checker.committedTerms
  }

  /** The configuration of all that is committed. */
  get confState(): ConfState {
    return this.#checker.confAt(this.#checker.committedIndex)
  }

  /** Ids that vote and whose disks are gone. */
  get wipedVoters(): readonly PeerId[] {
    const { voters, votersOutgoing } = this.confState
    return [...new Set([...voters, ...votersOutgoing])].filter((id) => this.#wiped.has(id))
  }

  /** Lets `rounds` rounds pass, faults included. */
  run(rounds: number): void {
    for (let i = 0; i < rounds; i++) {
      this.#round++
      this.#injectFaults()
      this.settle()
      for (const node of this.#prng.shuffle(this.#nodes)) {
        if (this.#runs(node) && !this.#prng.chance(this.#faults.skipTick)) {
          node.ticks++
          this.#step(node, { type: 'tick', clockMs: this.#clock(node), monotonicMs: this.#round * roundMs })
          this.#checkStall(node)
        }
      }
      this.settle()
    }
  }

  /** Runs until `condition`, at most `roundsMax`; then fails. */
  runUntil(condition: () => boolean, roundsMax: number): void {
    for (let i = 0; i <= roundsMax; i++) {
      if (condition()) return
      this.run(1)
    }
    invariant(false, 'The cluster did not get there in time', { roundsMax, round: this.#round })
  }

  /** Delivers every message and finishes every write that is due, and what follows at once; no tick. */
  settle(): void {
    for (let busy = true; busy;) {
      busy = false
      const arrived = this.#messages
      this.#messages = []
      for (const sent of arrived) {
        const { due, message } = sent
        const node = this.#nodes[placeOf(message.to)]!
        if (due > this.#round || node.pausedUntil > this.#round) {
          this.#messages.push(sent)
          continue
        }
        busy = true
        if (node.raft !== undefined) this.#receive(node, message)
      }
      for (const node of this.#nodes) {
        if (this.#finishWrites(node)) busy = true
        if (this.#finishFetch(node)) busy = true
      }
    }
  }

  /** Steps one input without settling. */
  step(at: number, input: Input): readonly Effect[] {
    return this.#step(this.#node(at), input)
  }

  /** Makes `at` campaign and settles. */
  campaign(at: number): void {
    this.step(at, { type: 'campaign' })
    this.settle()
  }

  /** Makes one running node do something that nobody expected. */
  disturb(): void {
    const { running } = this
    if (running.length === 0) return
    const at = this.#prng.pick(running)
    const what = this.#prng.pick([
      'campaign',
      'campaign',
      'unreachable',
      'transfer',
      'transfer',
      'stepDown',
      'forgetLeader',
    ])
    if (what === 'campaign' || what === 'stepDown' || what === 'forgetLeader') this.step(at, { type: what })
    else if (what === 'unreachable') this.step(at, { type: 'unreachable', peer: this.#prng.pick(this.ids) })
    else this.step(this.leaders[0] ?? at, { type: 'transferLeadership', to: this.#prng.pick(this.ids) })
  }

  /** Cuts a leader off at the moment another one is made, by its own wish or not: it does not know that it is deposed. */
  coup(): void {
    const [leader] = this.leaders
    const others = this.running.filter((at) => at !== leader)
    if (leader === undefined || others.length === 0) return
    this.counts['coups']!++
    const next = this.#prng.pick(others)
    if (this.#prng.chance(0.3)) {
      // It sleeps through it, and is asked as soon as it wakes.
      this.counts['pauses']!++
      this.#node(leader).pausedUntil = this.#round + 4 * this.#config.electionTicks
      return
    }
    if (this.#prng.chance(0.5)) {
      this.step(leader, { type: 'transferLeadership', to: this.#node(next).id })
      this.settle()
    } else {
      this.step(next, { type: 'campaign' })
    }
    this.partition(
      this.#positions((_, at) => at !== leader),
      [leader],
      this.#prng.chance(0.5),
    )
  }

  /** Proposes a fresh payload of `bytes` at node `at`, without settling. */
  propose(at: number, bytes = 10): number {
    const proposalId = ++this.#lastProposal
    const clockMs = this.#clock(this.#node(at))
    this.counts['proposed']!++
    this.step(at, { type: 'propose', proposalId, kind: 3, bytes, digest: this.#digestOf(proposalId), clockMs })
    return proposalId
  }

  /** Proposes a change of membership at node `at`, without settling. */
  proposeConf(at: number, change: ConfChange): readonly Effect[] {
    const proposalId = ++this.#lastProposal
    const clockMs = this.#clock(this.#node(at))
    const digest = this.#digestOf(proposalId)
    return this.step(at, { type: 'proposeConf', proposalId, change, bytes: 40, digest, clockMs })
  }

  /** Asks for a read at node `at`, without settling. Returns its context. */
  read(at: number, lease = false): number {
    const context = ++this.#lastRead
    this.#readFloor.set(context, this.#checker.committedIndex)
    const wasLeader = this.#node(at).raft?.status.role === 'leader'
    const effects = this.step(at, { type: 'readIndex', context, lease, monotonicMs: this.#round * roundMs })
    if (effects.some(({ type }) => type === 'readReady') && this.confState.voters.length > 1) {
      this.counts['leaseReads']!++
      this.#checker.checkLease(this.#node(at).raft!.status.term)
    }
    if (!wasLeader) this.counts['followerReads']!++
    return context
  }

  /** Loses everything between the two groups; one-way: only what goes from the first to the second. */
  partition(from: readonly number[], to: readonly number[], oneWay = false): void {
    this.#links.partition(from, to, oneWay)
  }

  isolate(at: number): void {
    this.partition(
      [at],
      this.#positions((_, other) => other !== at),
    )
  }

  heal(): void {
    this.#links.heal()
  }

  hangDisk(at: number, hangs = true): void {
    this.#node(at).diskHangs = hangs
  }

  /** Stops a node at once. Of the writes under way some parts reached the disk, in order; none was acknowledged. */
  crash(at: number): void {
    const node = this.#node(at)
    this.counts['crashes']!++
    this.#say(() => `${at} crashes`)
    const parts = node.diskHangs ? [] : node.writes.flatMap(({ effect }) => partsOf(effect))
    const done = this.#prng.between(0, parts.length)
    if (done > 0 && done < parts.length) this.counts['tornWrites']!++
    for (const part of parts.slice(0, done)) {
      if (part.truncateFrom !== undefined) this.#truncating(node.disk, part.truncateFrom)
      writePart(node.disk, part)
    }
    node.raft = undefined
    node.writes = []
    node.fetch = undefined
    node.diskHangs = false
    node.pausedUntil = 0
    node.downUntil = Infinity
  }

  restart(at: number): void {
    this.#start(this.#node(at))
  }

  /** Stops a node and takes its disk: who comes back there is another peer, of the next incarnation, and empty. */
  wipe(at: number): void {
    const node = this.#node(at)
    if (node.raft !== undefined) this.crash(at)
    this.counts['wipes']!++
    this.#say(() => `${at} loses its disk`)
    this.#wiped.set(node.id, node.disk)
    node.incarnation++
    node.id = peerId(at, node.incarnation)
    node.disk = emptyDisk(this.#initial, startMs)
  }

  /** Makes the machine's state durable, takes a snapshot of it and drops the log up to `keep` entries before it. */
  compact(at: number, keep = 0): void {
    const node = this.#node(at)
    const { raft, disk } = node
    if (raft === undefined || node.diskHangs || node.writes.some(({ effect }) => effect.snapshot !== undefined)) return
    const index = node.applied
    const term = raft.log.term(index)
    if (index <= disk.applied || term === undefined) return
    disk.applied = index
    disk.state = node.state
    disk.confState = node.confs.findLast((each) => each.index <= index)?.conf ?? disk.confState
    node.confs = node.confs.filter((each) => each.index > index)
    const time = refAt(disk, index)!.time
    disk.snapshot = { index, term, time, confState: disk.confState, digest: digestOf(node.state) }
    this.#step(node, { type: 'snapshotAvailable', meta: disk.snapshot })
    const upTo = index - keep
    if (upTo <= disk.base.index) return
    this.counts['compactions']!++
    compactDisk(disk, upTo)
    this.#step(node, { type: 'compact', index: upTo })
  }

  /** Ends every fault for good: all nodes up, all links whole. */
  calm(): void {
    this.#faults = noRaftFaults
    this.intercept = (message) => message
    this.heal()
    this.#links.unclog()
    for (const node of this.#nodes) {
      node.diskHangs = false
      node.pausedUntil = 0
      if (node.raft === undefined && !this.#stopped.has(node.at)) this.#start(node)
    }
  }

  /**
   * After {@link calm}: one leader, a proposal that commits everywhere, equal logs; or it throws. Nodes that are no
   * members are stopped, as an operator would. `meanwhile` is called every round.
   */
  expectConvergence(roundsMax = 400, meanwhile: () => void = () => undefined): void {
    this.calm()
    const step = (): void => {
      this.#stopStrangers()
      // A group that sleeps without a leader notices when somebody wants something.
      if (this.#round % 20 === 0) for (const at of this.running) this.read(at)
      meanwhile()
    }
    this.runUntil(() => {
      step()
      return this.leaders.length === 1 && this.wipedVoters.length === 0 && this.#tryProposal()
    }, roundsMax)
    this.runUntil(() => {
      step()
      const last = this.#checker.committedIndex
      const members = this.#members()
      return members.every(({ raft }) => {
        const { lastIndex, commit, durableIndex } = raft!.status
        return lastIndex === last && commit === last && durableIndex === last
      })
    }, roundsMax)
    for (const { disk, state, applied } of this.#members()) {
      const last = this.#checker.committedIndex
      invariant(lastIndexOf(disk) === last, 'A disk lacks what its node committed')
      for (let index = disk.base.index + 1; index <= last; index++) {
        invariant(
          holds(disk, index, this.#checker.committedTerm(index)!),
          'A disk holds another entry than was committed',
          {
            index,
          },
        )
      }
      invariant(applied === last, 'A machine lags')
      this.#checker.checkState(last, state)
    }
  }

  #members(): Node[] {
    const { voters, votersOutgoing, learners } = this.confState
    const ids = new Set([...voters, ...votersOutgoing, ...learners])
    return this.#nodes.filter(({ id }) => ids.has(id))
  }

  /** Nobody listens to them, but they would go on campaigning. */
  #stopStrangers(): void {
    const members = this.#members()
    // A change under way may make a member of anyone.
    const last = this.#checker.committedIndex
    const settled = members.every(({ raft }) => raft === undefined || raft.status.lastIndex === last)
    for (const node of this.#nodes) {
      const stays = members.includes(node) || !settled
      if (stays && this.#stopped.delete(node.at) && node.raft === undefined) this.#start(node)
      if (stays || node.raft === undefined) continue
      this.#stopped.add(node.at)
      this.crash(node.at)
    }
  }

  #tryProposal(): boolean {
    const target = this.#checker.committedIndex
    const [leader] = this.leaders
    this.propose(leader!)
    this.run(10)
    return this.#checker.committedIndex > target
  }

  // Nodes

  #node(at: number): Node {
    const node = this.#nodes[at]
    if (node === undefined) throw new RangeError(`There is no node ${at}`)
    return node
  }

  #positions(holds: (node: Node, at: number) => boolean): number[] {
    return this.#nodes.flatMap((node, at) => (holds(node, at) ? [at] : []))
  }

  #diskOf(id: PeerId): RaftDisk | undefined {
    const node = this.#nodes[placeOf(id)]
    return node?.id === id ? node.disk : this.#wiped.get(id)
  }

  #runs(node: Node): boolean {
    return node.raft !== undefined && node.pausedUntil <= this.#round
  }

  #start(node: Node): void {
    const { disk } = node
    const priority = this.#priorities[node.at] ?? 0
    const config = { ...this.#config, id: node.id, priority, random: this.#prng.float }
    const { hardState, base, refs, applied, confState, snapshot } = disk
    this.#say(
      () => `${node.at} starts as ${node.id.slice(24)}, log ${base.index + 1}…${lastIndexOf(disk)}, applied ${applied}`,
    )
    node.raft = new Raft(config, {
      ...{ hardState, refs, applied, confState, confIndex: applied },
      ...(base.index === 0 ? {} : { base }),
      ...(snapshot === undefined ? {} : { snapshot }),
    })
    node.applied = applied
    node.state = disk.state
    node.confs = []
    node.checkedCommit = 0
    node.downUntil = 0
    node.lastIoId = 0
    node.term = hardState.term
  }

  #clock(node: Node): number {
    const base = startMs + this.#round * roundMs
    if (this.#brokenClock && node === this.#nodes[0]) return base + this.#prng.between(-24, 24) * 3_600_000
    return base + node.skewMs
  }

  #digestOf(proposalId: number): Uint8Array {
    const digest = new Uint8Array(32)
    writeU64(digest, 0, proposalId)
    return digest
  }

  #receive(node: Node, message: Message): void {
    if (message.type !== 'snapshot') {
      this.#step(node, { type: 'message', message, clockMs: this.#clock(node) })
      return
    }
    // An offer for another incarnation, or for what is here already, is not fetched.
    if (message.to !== node.id) return
    const due = this.#round + this.#prng.between(0, this.#faults.snapshotRoundsMax)
    node.fetch ??= { message, due }
  }

  /** The snapshot of an offer has come, or will not. */
  #finishFetch(node: Node): boolean {
    const { fetch } = node
    if (fetch === undefined || !this.#runs(node) || fetch.due > this.#round) return false
    node.fetch = undefined
    const { message } = fetch
    const from = this.#nodes[placeOf(message.from)]!
    const ok =
      from.id === message.from &&
      this.#runs(from) &&
      !this.#links.isCut(from.at, node.at) &&
      from.disk.snapshot !== undefined
    if (ok) this.#step(node, { type: 'message', message, clockMs: this.#clock(node) })
    else this.counts['snapshotsFailed']!++
    if (this.#prng.chance(this.#faults.loseSnapshotStatus)) this.counts['snapshotStatusLost']!++
    else if (from.id === message.from && this.#runs(from))
      this.#step(from, { type: 'snapshotStatus', peer: node.id, ok })
    return true
  }

  #step(node: Node, input: Input): readonly Effect[] {
    const { raft, id } = node
    invariant(raft !== undefined, 'A node that is down was stepped')
    if (input.type !== 'tick' && input.type !== 'applied') this.#say(() => `${node.at} ← ${show(input)}`)
    const before = raft.status
    const effects = raft.step(input)
    const wanted = input.type === 'message' && input.message.type === 'timeoutNow'
    this.#checker.checkTerm({ id, raft, disk: node.disk }, node.term, wanted)
    node.term = raft.status.term
    if (raft.status.quiesced && !before.quiesced) this.counts['slept']!++
    for (const effect of effects) this.#handle(node, raft, effect)
    const after = raft.status
    if (before.role === 'leader' && after.role === 'leader' && after.commit > before.commit) {
      const term = raft.log.term(after.commit)
      invariant(term === after.term, 'A leader committed an entry of an earlier term by counting (Raft §3.6.2)', {
        term,
      })
    }
    const confIndex = Math.min(before.commit, before.durableIndex)
    if (node.raft === raft) {
      this.counts['committed']! += this.#checker.checkCommit(
        { id, raft, disk: node.disk },
        node.checkedCommit,
        confIndex,
      )
      node.checkedCommit = Math.max(node.checkedCommit, raft.status.commit)
    }
    return effects
  }

  #handle(node: Node, raft: Raft, effect: Effect): void {
    if (effect.type !== 'send' || effect.message.type !== 'heartbeat') this.#say(() => `${node.at} → ${show(effect)}`)
    switch (effect.type) {
      case 'append':
        return this.#beginWrite(node, raft, effect)
      case 'send':
        this.#checker.checkPromise({ id: node.id, disk: node.disk, raft }, effect.message)
        return this.#transmit(effect.message)
      case 'committed':
        return this.#apply(node, effect.index)
      case 'confChanged':
        this.#checker.checkCommit({ id: node.id, raft, disk: node.disk }, node.checkedCommit, node.applied)
        node.checkedCommit = Math.max(node.checkedCommit, raft.status.commit)
        this.#checker.checkConf(effect.index, effect.confState)
        node.confs.push({ index: effect.index, conf: effect.confState })
        return this.#countConf(effect.confState)
      case 'readReady': {
        this.counts['reads']!++
        const floor = this.#readFloor.get(effect.context)!
        invariant(effect.index >= floor, 'A read is stale', { index: effect.index, floor, node: node.at })
        this.readsReady.set(effect.context, effect.index)
        return
      }
      case 'readFailed':
        this.counts['readsFailed']!++
        return
      case 'lost': {
        this.counts['lost']!++
        const { index, term } = this.#proposalAt.get(effect.proposalId)!
        // What falls into a snapshot may be committed: its node cannot know.
        const inSnapshot = index <= raft.log.base.index
        invariant(inSnapshot || this.#checker.committedTerm(index) !== term, 'A committed proposal was reported lost', {
          index,
          term,
        })
        return
      }
      case 'roleChanged':
        if (effect.role === 'leader') {
          this.counts['elections']!++
          this.#checker.checkNewLeader({ id: node.id, disk: node.disk, raft }, effect.term)
        } else if (this.#checker.isLeaderOf(effect.term, node.id)) {
          this.counts['stepDowns']!++
        }
        return
      case 'forwarded':
        this.counts['forwarded']!++
        return
      case 'transferred':
        this.counts['transfers']!++
        return
      case 'transferFailed':
        this.counts['transfersFailed']!++
        return
      case 'dropped':
      case 'leaderChanged':
        return
    }
  }

  #countConf({ votersOutgoing, learners, voters }: ConfState): void {
    this.counts['confChanges']!++
    if (votersOutgoing.length > 0) this.counts['jointConfs']!++
    if (learners.length > 0) this.counts['learners']!++
    if (voters.some((id) => !id.endsWith('00000000'))) this.counts['replaced']!++
  }

  /** The machine applies in memory what is committed and on the disk. */
  #apply(node: Node, index: number): void {
    for (let next = node.applied + 1; next <= index; next++) {
      const ref = refAt(node.disk, next)
      invariant(ref !== undefined, 'An entry was announced that is not on the disk', { index: next })
      node.state = applyTo(node.state, ref)
      node.applied = next
    }
    // The announcement comes before the checks of this step, which may be what first sees the entries committed.
    this.#checker.checkCommit({ id: node.id, raft: node.raft!, disk: node.disk }, node.checkedCommit, node.applied)
    node.checkedCommit = Math.max(node.checkedCommit, node.raft!.status.commit)
    this.#checker.checkState(node.applied, node.state)
    this.#step(node, { type: 'applied', index })
  }

  // Disk

  #beginWrite(node: Node, raft: Raft, effect: RaftWrite): void {
    invariant(effect.ioId === node.lastIoId + 1, 'Write ids have a gap')
    node.lastIoId = effect.ioId
    for (const { ref, proposalId } of effect.entries) {
      const prevTerm = raft.log.term(ref.index - 1) ?? 0
      this.#checker.learnEntry(ref, prevTerm)
      if (proposalId === undefined) continue
      this.#proposalAt.set(proposalId, { index: ref.index, term: ref.term })
      this.#checkStamp(ref.time, this.#checker.timeOf(ref.index - 1, prevTerm))
    }
    const due = this.#round + this.#prng.between(0, this.#faults.writeRoundsMax)
    node.writes.push({ effect, due, tick: node.ticks })
  }

  #finishWrites(node: Node): boolean {
    if (node.diskHangs || !this.#runs(node)) return false
    let ioId = 0
    while (node.writes.length > 0 && node.writes[0]!.due <= this.#round) {
      const { effect } = node.writes.shift()!
      for (const part of partsOf(effect)) {
        if (part.truncateFrom !== undefined) this.#truncating(node.disk, part.truncateFrom)
        writePart(node.disk, part)
      }
      if (effect.snapshot !== undefined) this.#installed(node, effect.snapshot)
      ioId = effect.ioId
    }
    if (ioId === 0) return false
    this.#step(node, { type: 'appended', ioId })
    if (this.#prng.chance(this.#faults.repeatAppended)) {
      this.#step(node, { type: 'appended', ioId: this.#prng.between(1, ioId) })
    }
    return true
  }

  #installed(node: Node, meta: SnapshotMeta): void {
    this.counts['snapshotsInstalled']!++
    node.applied = meta.index
    node.state = stateIn(meta)
    node.confs = []
    this.#checker.checkState(meta.index, node.state)
  }

  #truncating(disk: RaftDisk, from: number): void {
    this.counts['truncations']!++
    this.#checker.checkTruncation(disk, from)
  }

  // Network

  #transmit(sent: Message): void {
    const from = placeOf(sent.from)
    const to = placeOf(sent.to)
    const message = this.intercept(sent)
    if (message === undefined || this.#links.isCut(from, to)) return
    const copies = this.#prng.chance(this.#faults.drop) ? 0 : this.#prng.chance(this.#faults.duplicate) ? 2 : 1
    if (copies === 0) this.counts['dropped']!++
    if (copies === 2) this.counts['duplicated']!++
    const earliest = Math.max(this.#round, this.#links.cloggedUntil(from, to))
    for (let i = 0; i < copies; i++) {
      this.#messages.push({ message, due: earliest + this.#prng.between(0, this.#faults.messageRoundsMax) })
    }
  }

  #injectFaults(): void {
    const prng = this.#prng
    const faults = this.#faults
    if (prng.chance(faults.heal)) this.heal()
    const places = this.#nodes.map(({ at }) => at)
    if (prng.chance(faults.partition)) {
      this.counts['partitions']!++
      this.#links.partitionAtRandom(prng, places, this.leaders)
    }
    if (prng.chance(faults.clog)) {
      this.counts['clogs']!++
      const until = this.#round + prng.between(1, faults.clogRoundsMax)
      this.#links.clogAtRandom(prng, places, this.leaders, until)
    }
    for (const [at, node] of this.#nodes.entries()) {
      if (node.raft === undefined) {
        if (this.#round >= node.downUntil && !this.#stopped.has(at)) this.restart(at)
      } else if (prng.chance(faults.wipe) && this.#survives(node)) {
        this.wipe(at)
        node.downUntil = this.#round + prng.between(1, faults.downRoundsMax)
      } else if (prng.chance(node.raft.status.role === 'leader' ? faults.crashLeader + faults.crash : faults.crash)) {
        this.crash(at)
        node.downUntil = this.#round + prng.between(1, faults.downRoundsMax)
      } else if (node.pausedUntil > 0 && this.#runs(node)) {
        node.pausedUntil = 0
        // The moment a stale read would happen: a leader wakes and is asked before it hears of anything.
        if (prng.chance(0.7)) this.read(at, prng.chance(0.7))
      } else if (prng.chance(faults.pause)) {
        this.counts['pauses']!++
        node.pausedUntil = this.#round + prng.between(1, faults.pauseRoundsMax)
      } else if (prng.chance(faults.hang)) {
        this.counts['hangs']!++
        node.diskHangs = true
      } else if (prng.chance(faults.unhang)) {
        node.diskHangs = false
      }
      if (this.#runs(node) && prng.chance(faults.compact)) this.compact(at, prng.pick([0, 1, 3, 10]))
    }
  }

  /**
   * True if the cluster can do without this disk: of every configuration that anybody may have in force after a restart,
   * a minority is gone. A change takes effect where it is known to be committed, so an old one may live on for a while.
   */
  #survives({ id }: Node): boolean {
    const last = this.#checker.committedIndex
    const changing = this.#nodes.some(({ disk, raft }) => {
      const inLog = raft?.log.nextChange(last) !== undefined
      return inLog || disk.refs.some(({ index, change }) => index > last && change !== undefined)
    })
    if (changing) return false
    const known = this.#members().map(({ disk }) => Math.max(disk.hardState.commit, disk.applied))
    const confs = this.#checker.confsSince(Math.min(last, ...known))
    return confs.every(({ voters, votersOutgoing }) =>
      [voters, votersOutgoing].every((each) => {
        const gone = each.filter((voter) => voter === id || this.#wiped.has(voter)).length
        return !each.includes(id) || gone < each.length / 2
      }),
    )
  }

  // Checks that need the network's own clock

  /** One broken clock cannot carry a stamp past the sane ones by more than the allowed error. */
  #checkStamp(time: number, before: number | undefined): void {
    if (this.confState.voters.length < 3 || time === before) return
    const limit = startMs + this.#round * roundMs + skewMsMax + this.#config.maxClockErrorMs
    invariant(time <= limit, 'A stamp runs ahead of every sane clock', { time, limit })
  }

  #checkStall(node: Node): void {
    const { diskStallTicks } = this.#config
    const oldest = node.writes[0]?.tick
    if (diskStallTicks === 0 || oldest === undefined || node.ticks - oldest <= diskStallTicks) return
    invariant(node.raft?.status.role !== 'leader', 'A leader whose disk hangs goes on leading', { node: node.at })
  }

  #say(line: () => string): void {
    this.#trace?.(`${this.#round} ${line()}`)
  }
}

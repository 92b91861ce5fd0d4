/**
 * A Raft cluster in one process on virtual time: network, disks and clocks that fail by seed, and checkers that watch
 * from outside. The same options and calls give the same run.
 *
 * Time passes in rounds: in each, every running node receives what is due, finishes the writes that are due, and may
 * tick. A disk write takes its time, is torn by a crash, and is acknowledged late or more than once.
 *
 * Checked after every step (Raft fig. 3.2 and what asynchronous storage adds):
 * - Election Safety: one leader per term; one vote per voter and term, across restarts.
 * - Log Matching: an (index, term) has one digest, one stamp and one predecessor everywhere.
 * - Leader Completeness: a new leader holds every committed entry.
 * - State Machine Safety: what one node commits at an index, all commit there; it is never truncated anywhere.
 * - Durability: committed means on the disks of a majority; a vote or an acknowledgement is on its sender's disk.
 * - Linearizable reads: a read's index is not below anything committed when it was asked.
 * - Log time never goes back, and stays near the sane clocks.
 * - Terms rise by campaigns alone, with pre-vote only after a majority would vote; a leader whose disk hangs steps down.
 */
import { equalBytes, invariant, toHex, writeU64 } from '@cipherlog/core'
import {
  confStateOf,
  type Effect,
  type EntryRef,
  type HardState,
  type Input,
  type Message,
  type PeerId,
  Raft,
  type RaftConfig,
} from '@cipherlog/raft'
import { Prng } from './prng.ts'

/** Rates per message, per node and round, or per round. All zero: a perfect network, where only calls cause faults. */
export interface RaftFaults {
  /** Messages lost, sent twice. */
  readonly drop: number
  readonly duplicate: number
  /** Rounds a message or a disk write takes at most; above 0 messages overtake each other. */
  readonly messageRoundsMax: number
  readonly writeRoundsMax: number
  /** Crash of a node per round; it stays down for up to `downRoundsMax`. */
  readonly crash: number
  readonly downRoundsMax: number
  /** Crash of a leader per round. */
  readonly crashLeader: number
  /** A new partition per round, one-way or not; and its end. */
  readonly partition: number
  readonly heal: number
  /** A disk that hangs per node and round; and its end. */
  readonly hang: number
  readonly unhang: number
  /** A node that misses its tick. */
  readonly skipTick: number
  /** A process that stands still per node and round, for up to `pauseRoundsMax`: what arrives waits for it. */
  readonly pause: number
  readonly pauseRoundsMax: number
  /** A directed link that holds everything back per round, for up to `clogRoundsMax`. */
  readonly clog: number
  readonly clogRoundsMax: number
  /** An old acknowledgement of a write delivered again. */
  readonly repeatAppended: number
}

export const noRaftFaults: RaftFaults = {
  drop: 0,
  duplicate: 0,
  messageRoundsMax: 0,
  writeRoundsMax: 0,
  crash: 0,
  downRoundsMax: 0,
  crashLeader: 0,
  partition: 0,
  heal: 0,
  hang: 0,
  unhang: 0,
  skipTick: 0,
  pause: 0,
  pauseRoundsMax: 0,
  clog: 0,
  clogRoundsMax: 0,
  repeatAppended: 0,
}

export interface RaftNetworkOptions {
  readonly seed: number
  readonly nodes: number
  /** Overrides of the protocol's configuration, the same on every node. */
  readonly config?: Partial<Omit<RaftConfig, 'id' | 'random'>>
  readonly faults?: Partial<RaftFaults>
  /** Node 0's clock jumps about by hours. */
  readonly brokenClock?: boolean
  /** What the disks hold at the start, by node; absent: nothing. */
  readonly disks?: readonly RaftDisk[]
}

/** What survives a crash. */
export interface RaftDisk {
  hardState: HardState
  refs: EntryRef[]
}

/** How often things happened: a run that never met a fault has not tested it. */
export interface RaftNetworkCounts {
  elections: number
  committed: number
  proposed: number
  lost: number
  truncations: number
  reads: number
  readsFailed: number
  crashes: number
  tornWrites: number
  stepDowns: number
  dropped: number
  duplicated: number
  clogs: number
  pauses: number
  partitions: number
  hangs: number
}

interface Write {
  readonly effect: Extract<Effect, { type: 'append' }>
  readonly due: number
  /** Of its node's ticks, when it began. */
  readonly tick: number
}

interface Node {
  readonly id: PeerId
  readonly disk: RaftDisk
  raft: Raft | undefined
  writes: Write[]
  diskHangs: boolean
  downUntil: number
  pausedUntil: number
  skewMs: number
  /** Commit index already compared with the others'. */
  checkedCommit: number
  /** Applied by the machine in memory, which a crash loses. */
  applied: number
  lastIoId: number
  ticks: number
  /** Term after its last step. */
  term: number
}

interface KnownEntry {
  readonly digest: Uint8Array
  readonly time: number
  readonly prevTerm: number
}

const roundMs = 50
const startMs = 1_700_000_000_000
const skewMsMax = 100

export const raftNetworkConfig = {
  electionTicks: 10,
  heartbeatTicks: 2,
  preVote: true,
  checkQuorum: true,
  maxInflightMessages: 8,
  maxInflightBytes: 4096,
  maxAppendBytes: 1024,
  maxUncommittedBytes: 1 << 20,
  maxClockErrorMs: 500,
  diskStallTicks: 15,
  initialTimeMs: startMs,
} as const satisfies Omit<RaftConfig, 'id' | 'random'>

export class RaftNetwork {
  readonly ids: readonly PeerId[]
  readonly counts: RaftNetworkCounts = {
    elections: 0,
    committed: 0,
    proposed: 0,
    lost: 0,
    truncations: 0,
    reads: 0,
    readsFailed: 0,
    crashes: 0,
    tornWrites: 0,
    stepDowns: 0,
    dropped: 0,
    duplicated: 0,
    clogs: 0,
    pauses: 0,
    partitions: 0,
    hangs: 0,
  }
  /** What becomes of a message on its way, undefined if it is lost: for scenarios that must stop half-way. */
  intercept: (message: Message) => Message | undefined = (message) => message
  /** Every answered read: its context and index. */
  readonly readsReady = new Map<number, number>()

  readonly #prng: Prng
  readonly #config: Omit<RaftConfig, 'id' | 'random'>
  readonly #brokenClock: boolean
  readonly #nodes: readonly Node[]
  #faults: RaftFaults
  #round = 0
  #messages: { readonly due: number; readonly message: Message }[] = []
  /** Directed links that lose everything: "from>to". */
  readonly #cut = new Set<string>()
  /** Round until which a directed link holds everything back. */
  readonly #clogged = new Map<string, number>()
  #lastProposal = 0
  #lastRead = 0

  readonly #leaderOfTerm = new Map<number, PeerId>()
  readonly #voteOf = new Map<string, PeerId>()
  readonly #entries = new Map<string, KnownEntry>()
  /** Term of each committed entry, from index 1. */
  readonly #committed: number[] = []
  /** Term in which each was committed: never lower than the one before. */
  readonly #committedIn: number[] = []
  readonly #proposalAt = new Map<number, { readonly index: number; readonly term: number }>()
  readonly #readFloor = new Map<number, number>()
  /** Terms that somebody campaigned in. */
  readonly #openTerms = new Set<number>()
  /** Who would vote for a candidate in a term: "candidate@term". */
  readonly #preVotes = new Map<string, Set<PeerId>>()

  constructor(options: RaftNetworkOptions) {
    this.#prng = new Prng(options.seed)
    this.#faults = { ...noRaftFaults, ...options.faults }
    this.#brokenClock = options.brokenClock ?? false
    this.ids = Array.from({ length: options.nodes }, (_, i) => toHex(new Uint8Array(16).fill(i + 1)))
    this.#config = { ...raftNetworkConfig, ...options.config }
    this.#nodes = this.ids.map((id, i) => ({
      id,
      disk: options.disks?.[i] ?? { hardState: { term: 0, votedFor: undefined, commit: 0 }, refs: [] },
      raft: undefined,
      writes: [],
      diskHangs: false,
      downUntil: 0,
      pausedUntil: 0,
      skewMs: this.#prng.between(-skewMsMax, skewMsMax),
      checkedCommit: 0,
      applied: 0,
      lastIoId: 0,
      ticks: 0,
      term: 0,
    }))
    for (const node of this.#nodes) {
      for (const [at, ref] of node.disk.refs.entries()) this.#learnEntry(ref, node.disk.refs[at - 1])
      this.#start(node, 0)
    }
  }

  // What a test does to the cluster. Nodes are named by their position.

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

  /** Terms of the committed entries, from index 1. */
  get committedTerms(): readonly number[] {
    return this.#committed
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
          this.#step(node, { type: 'tick', clockMs: this.#clock(node) })
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
        const node = this.#nodes.find((candidate) => candidate.id === message.to)!
        if (due > this.#round || node.pausedUntil > this.#round) {
          this.#messages.push(sent)
          continue
        }
        busy = true
        if (node.raft !== undefined) this.#step(node, { type: 'message', message, clockMs: this.#clock(node) })
      }
      for (const node of this.#nodes) if (this.#finishWrites(node)) busy = true
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

  /** Makes one running node campaign, or believe that it lost a peer. */
  disturb(): void {
    const up = this.#positions(({ raft }) => raft !== undefined)
    if (up.length === 0) return
    const at = this.#prng.pick(up)
    if (this.#prng.chance(0.5)) this.step(at, { type: 'campaign' })
    else this.step(at, { type: 'unreachable', peer: this.#prng.pick(this.ids) })
  }

  /** Proposes a fresh payload of `bytes` at node `at`, without settling. */
  propose(at: number, bytes = 10): number {
    const proposalId = ++this.#lastProposal
    const digest = new Uint8Array(32)
    writeU64(digest, 0, proposalId)
    const clockMs = this.#clock(this.#node(at))
    this.counts.proposed++
    this.step(at, { type: 'propose', proposalId, kind: 3, bytes, digest, clockMs })
    return proposalId
  }

  /** Asks for a read at node `at`, without settling. Returns its context. */
  read(at: number): number {
    const context = ++this.#lastRead
    this.#readFloor.set(context, this.#committed.length)
    this.step(at, { type: 'readIndex', context })
    return context
  }

  /** Loses everything between the two groups; one-way: only what goes from the first to the second. */
  partition(from: readonly number[], to: readonly number[], oneWay = false): void {
    for (const a of from) {
      for (const b of to) {
        this.#cut.add(`${a}>${b}`)
        if (!oneWay) this.#cut.add(`${b}>${a}`)
      }
    }
  }

  isolate(at: number): void {
    this.partition(
      [at],
      this.#positions((_, other) => other !== at),
    )
  }

  heal(): void {
    this.#cut.clear()
  }

  hangDisk(at: number, hangs = true): void {
    this.#node(at).diskHangs = hangs
  }

  /** Stops a node at once. Of the writes under way some reached the disk, one perhaps in part, none was acknowledged. */
  crash(at: number): void {
    const node = this.#node(at)
    this.counts.crashes++
    node.pausedUntil = 0
    let whole = this.#prng.between(0, node.writes.length)
    if (node.diskHangs) whole = 0
    for (const write of node.writes.slice(0, whole)) this.#writeToDisk(node, write.effect)
    const torn = node.writes[whole]
    if (torn !== undefined && !node.diskHangs) this.#tearWrite(node, torn.effect)
    node.raft = undefined
    node.writes = []
    node.diskHangs = false
    node.downUntil = Infinity
  }

  restart(at: number): void {
    const node = this.#node(at)
    // The machine's own durable state is somewhere behind what it had applied, and never ahead of the log's disk.
    this.#start(node, this.#prng.chance(0.5) ? 0 : this.#prng.between(0, node.applied))
  }

  /** Ends every fault for good: all nodes up, all links whole. */
  calm(): void {
    this.#faults = noRaftFaults
    this.intercept = (message) => message
    this.heal()
    this.#clogged.clear()
    for (const [at, node] of this.#nodes.entries()) {
      node.diskHangs = false
      node.pausedUntil = 0
      if (node.raft === undefined) this.restart(at)
    }
  }

  /** After {@link calm}: one leader, a proposal that commits everywhere, equal logs; or it throws. */
  expectConvergence(roundsMax = 400): void {
    this.calm()
    this.runUntil(() => this.leaders.length === 1 && this.#tryProposal(), roundsMax)
    this.runUntil(() => {
      const last = this.raft(0).status.lastIndex
      return this.#nodes.every(({ raft }) => {
        const { lastIndex, commit, durableIndex } = raft!.status
        return lastIndex === last && commit === last && durableIndex === last
      })
    }, roundsMax)
    for (const { disk } of this.#nodes) {
      invariant(disk.refs.length === this.#committed.length, 'A disk lacks what its node committed')
      for (const [i, ref] of disk.refs.entries()) {
        invariant(ref.term === this.#committed[i], 'A disk holds another entry than was committed', { index: i + 1 })
      }
    }
  }

  #tryProposal(): boolean {
    const target = this.#committed.length
    const [leader] = this.leaders
    this.propose(leader!)
    this.run(10)
    return this.#committed.length > target
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

  #start(node: Node, applied: number): void {
    const config = { ...this.#config, id: node.id, random: this.#prng.float }
    const { hardState, refs } = node.disk
    node.raft = new Raft(config, { hardState, refs, applied, confState: confStateOf(this.ids) })
    node.applied = applied
    node.checkedCommit = 0
    node.downUntil = 0
    node.lastIoId = 0
    node.term = node.disk.hardState.term
  }

  #clock(node: Node): number {
    const base = startMs + this.#round * roundMs
    if (this.#brokenClock && node === this.#nodes[0]) return base + this.#prng.between(-24, 24) * 3_600_000
    return base + node.skewMs
  }

  #step(node: Node, input: Input): readonly Effect[] {
    const raft = node.raft
    invariant(raft !== undefined, 'A node that is down was stepped')
    const effects = raft.step(input)
    this.#checkTerm(node, raft)
    for (const effect of effects) this.#handle(node, raft, effect)
    this.#checkCommit(node, raft)
    return effects
  }

  #handle(node: Node, raft: Raft, effect: Effect): void {
    switch (effect.type) {
      case 'append':
        return this.#beginWrite(node, raft, effect)
      case 'send':
        this.#checkPromise(node, raft, effect.message)
        return this.#transmit(effect.message)
      case 'committed':
        node.applied = effect.index
        this.#step(node, { type: 'applied', index: effect.index })
        return
      case 'readReady': {
        this.counts.reads++
        const floor = this.#readFloor.get(effect.context)!
        invariant(effect.index >= floor, 'A read is stale', { index: effect.index, floor, node: node.id })
        this.readsReady.set(effect.context, effect.index)
        return
      }
      case 'readFailed':
        this.counts.readsFailed++
        return
      case 'lost': {
        this.counts.lost++
        const at = this.#proposalAt.get(effect.proposalId)!
        invariant(this.#committed[at.index - 1] !== at.term, 'A committed proposal was reported lost', at)
        return
      }
      case 'roleChanged':
        if (effect.role === 'leader') this.#checkNewLeader(node, raft, effect.term)
        else if (this.#leaderOfTerm.get(effect.term) === node.id) this.counts.stepDowns++
        return
      case 'dropped':
      case 'forwarded':
      case 'leaderChanged':
      case 'confChanged':
      case 'transferred':
      case 'transferFailed':
        return
    }
  }

  // Disk

  #beginWrite(node: Node, raft: Raft, effect: Write['effect']): void {
    invariant(effect.ioId === node.lastIoId + 1, 'Write ids have a gap')
    node.lastIoId = effect.ioId
    for (const { ref, proposalId } of effect.entries) {
      this.#learnEntry(ref, ref.index === 1 ? undefined : raft.log.ref(ref.index - 1))
      if (proposalId === undefined) continue
      this.#proposalAt.set(proposalId, { index: ref.index, term: ref.term })
      this.#checkStamp(ref, raft)
    }
    const due = this.#round + this.#prng.between(0, this.#faults.writeRoundsMax)
    node.writes.push({ effect, due, tick: node.ticks })
  }

  #runs(node: Node): boolean {
    return node.raft !== undefined && node.pausedUntil <= this.#round
  }

  #finishWrites(node: Node): boolean {
    if (node.diskHangs || !this.#runs(node)) return false
    let ioId = 0
    while (node.writes.length > 0 && node.writes[0]!.due <= this.#round) {
      const { effect } = node.writes.shift()!
      this.#writeToDisk(node, effect)
      ioId = effect.ioId
    }
    if (ioId === 0) return false
    this.#step(node, { type: 'appended', ioId })
    if (this.#prng.chance(this.#faults.repeatAppended)) {
      this.#step(node, { type: 'appended', ioId: this.#prng.between(1, ioId) })
    }
    return true
  }

  #writeToDisk({ disk }: Node, effect: Write['effect']): void {
    if (effect.hardState !== undefined) disk.hardState = effect.hardState
    if (effect.truncateFrom !== undefined) this.#truncateDisk(disk, effect.truncateFrom)
    for (const { ref } of effect.entries) {
      invariant(ref.index === disk.refs.length + 1, 'A write leaves a gap on disk', { index: ref.index })
      disk.refs.push(ref)
    }
  }

  /** Persists a prefix of the write: hard state, then truncation, then some entries. */
  #tearWrite(node: Node, effect: Write['effect']): void {
    const { hardState, truncateFrom, entries } = effect
    const steps = this.#prng.between(0, 2 + entries.length)
    if (steps === 0) return
    this.counts.tornWrites++
    this.#writeToDisk(node, {
      type: 'append',
      ioId: effect.ioId,
      ...(hardState === undefined ? {} : { hardState }),
      ...(truncateFrom === undefined || steps < 2 ? {} : { truncateFrom }),
      entries: entries.slice(0, Math.max(0, steps - 2)),
    })
  }

  #truncateDisk(disk: RaftDisk, from: number): void {
    this.counts.truncations++
    for (let index = from; index <= disk.refs.length; index++) {
      invariant(disk.refs[index - 1]!.term !== this.#committed[index - 1], 'A committed entry left a disk', { index })
    }
    disk.refs.length = Math.min(disk.refs.length, from - 1)
  }

  // Network

  #transmit(sent: Message): void {
    const from = this.ids.indexOf(sent.from)
    const to = this.ids.indexOf(sent.to)
    const message = this.intercept(sent)
    if (message === undefined || this.#cut.has(`${from}>${to}`)) return
    const copies = this.#prng.chance(this.#faults.drop) ? 0 : this.#prng.chance(this.#faults.duplicate) ? 2 : 1
    if (copies === 0) this.counts.dropped++
    if (copies === 2) this.counts.duplicated++
    const earliest = Math.max(this.#round, this.#clogged.get(`${from}>${to}`) ?? 0)
    for (let i = 0; i < copies; i++) {
      this.#messages.push({ message, due: earliest + this.#prng.between(0, this.#faults.messageRoundsMax) })
    }
  }

  #injectFaults(): void {
    const prng = this.#prng
    const faults = this.#faults
    if (prng.chance(faults.heal)) this.heal()
    if (prng.chance(faults.partition)) this.#partitionAtRandom()
    if (prng.chance(faults.clog)) this.#clogAtRandom()
    for (const [at, node] of this.#nodes.entries()) {
      if (node.raft === undefined) {
        if (this.#round >= node.downUntil) this.restart(at)
      } else if (prng.chance(node.raft.status.role === 'leader' ? faults.crashLeader + faults.crash : faults.crash)) {
        this.crash(at)
        node.downUntil = this.#round + prng.between(1, faults.downRoundsMax)
      } else if (node.pausedUntil > 0 && this.#runs(node)) {
        node.pausedUntil = 0
        // The moment a stale read would happen: a leader wakes and is asked before it hears of anything.
        if (prng.chance(0.5)) this.read(at)
      } else if (prng.chance(faults.pause)) {
        this.counts.pauses++
        node.pausedUntil = this.#round + prng.between(1, faults.pauseRoundsMax)
      } else if (prng.chance(faults.hang)) {
        this.counts.hangs++
        node.diskHangs = true
      } else if (prng.chance(faults.unhang)) {
        node.diskHangs = false
      }
    }
  }

  /** Any split, one-way or not; half of them cut off a leader, who may take a while to notice. */
  #partitionAtRandom(): void {
    const prng = this.#prng
    this.counts.partitions++
    const order = prng.shuffle(this.ids.map((_, at) => at))
    const first = prng.chance(0.5) ? this.leaders[0] : undefined
    if (first !== undefined) order.sort((a, b) => Number(b === first) - Number(a === first))
    const size = prng.between(1, first === undefined ? order.length : Math.ceil(order.length / 2))
    this.partition(order.slice(0, size), order.slice(size), prng.chance(0.3))
  }

  /** Holds everything back that one node sends to another, or everything that it sends or receives. */
  #clogAtRandom(): void {
    const prng = this.#prng
    this.counts.clogs++
    const until = this.#round + prng.between(1, this.#faults.clogRoundsMax)
    const at = prng.pick(this.leaders.length > 0 && prng.chance(0.5) ? this.leaders : this.ids.map((_, at) => at))
    const whole = prng.chance(0.5)
    const inwards = prng.chance(0.5)
    for (const other of whole ? this.ids.map((_, at) => at) : [prng.pick(this.ids.map((_, at) => at))]) {
      this.#clogged.set(inwards ? `${other}>${at}` : `${at}>${other}`, until)
    }
  }

  // Checkers

  #learnEntry(ref: EntryRef, previous: EntryRef | undefined): void {
    const prevTerm = previous?.term ?? 0
    invariant(ref.time >= (previous?.time ?? startMs), 'Log time went back', { index: ref.index, term: ref.term })
    const key = `${ref.index}@${ref.term}`
    const known = this.#entries.get(key)
    if (known === undefined) {
      this.#entries.set(key, { digest: ref.digest, time: ref.time, prevTerm })
      return
    }
    invariant(
      equalBytes(known.digest, ref.digest) && known.time === ref.time && known.prevTerm === prevTerm,
      'Log Matching: two entries share index and term',
      { index: ref.index, term: ref.term },
    )
  }

  /** One broken clock cannot carry a stamp past the sane ones by more than the allowed error. */
  #checkStamp(ref: EntryRef, raft: Raft): void {
    if (this.#nodes.length < 3) return
    const repeats = ref.index > 1 && raft.log.ref(ref.index - 1).time === ref.time
    const limit = startMs + this.#round * roundMs + skewMsMax + this.#config.maxClockErrorMs
    invariant(repeats || ref.time <= limit, 'A stamp runs ahead of every sane clock', { time: ref.time, limit })
  }

  #checkNewLeader(node: Node, raft: Raft, term: number): void {
    this.counts.elections++
    const other = this.#leaderOfTerm.get(term)
    invariant(other === undefined, 'Election Safety: two leaders in one term', { term, leaders: [other, node.id] })
    const { hardState } = node.disk
    invariant(
      hardState.term === term && hardState.votedFor === node.id,
      'A leader leads before its own vote is durable',
      {
        term,
      },
    )
    this.#leaderOfTerm.set(term, node.id)
    for (const [i, committedTerm] of this.#committed.entries()) {
      // A candidate may win a term late, when a later one has a leader already: it need not hold what that one committed.
      if (this.#committedIn[i]! >= term) break
      invariant(raft.log.term(i + 1) === committedTerm, 'Leader Completeness: a leader lacks a committed entry', {
        term,
        index: i + 1,
      })
    }
  }

  #checkCommit(node: Node, raft: Raft): void {
    const { commit } = raft.status
    invariant(commit >= node.checkedCommit, 'A commit index went back')
    for (let index = node.checkedCommit + 1; index <= commit; index++) {
      const term = raft.log.term(index)!
      const known = this.#committed[index - 1]
      invariant(known === undefined || known === term, 'State Machine Safety: two entries committed at one index', {
        index,
        terms: [known, term],
      })
      if (known !== undefined) continue
      this.#committed.push(term)
      this.#committedIn.push(raft.status.term)
      this.counts.committed++
      const holders = this.#nodes.filter(({ disk }) => disk.refs[index - 1]?.term === term)
      invariant(holders.length > this.#nodes.length / 2, 'Committed without a majority of disks', { index, term })
    }
    node.checkedCommit = commit
  }

  #checkTerm(node: Node, raft: Raft): void {
    const { term, role } = raft.status
    invariant(term >= node.term, 'A term went back', { from: node.term, to: term })
    if (term > node.term && (role === 'candidate' || role === 'leader')) {
      this.#openTerms.add(term)
      const votes = this.#preVotes.get(`${node.id}@${term}`)?.size ?? 0
      invariant(!this.#config.preVote || votes + 1 > this.ids.length / 2, 'A candidate skipped the pre-vote', { term })
    } else if (term > node.term) {
      invariant(this.#openTerms.has(term), 'A pre-vote raised a term before anybody campaigned in it', { term })
    }
    node.term = term
  }

  #checkStall(node: Node): void {
    const { diskStallTicks } = this.#config
    const oldest = node.writes[0]?.tick
    if (diskStallTicks === 0 || oldest === undefined || node.ticks - oldest <= diskStallTicks) return
    invariant(node.raft?.status.role !== 'leader', 'A leader whose disk hangs goes on leading', { node: node.id })
  }

  /** A message must not leave before what it vouches for is on its sender's disk. */
  #checkPromise({ id, disk }: Node, raft: Raft, message: Message): void {
    const { hardState, refs } = disk
    if (message.type === 'voteResp' && message.granted) {
      const votedFor = message.to
      invariant(hardState.term === message.term && hardState.votedFor === votedFor, 'A vote left before it was durable')
      const key = `${id}@${message.term}`
      invariant((this.#voteOf.get(key) ?? votedFor) === votedFor, 'Two votes in one term', { term: message.term })
      this.#voteOf.set(key, votedFor)
    } else if (message.type === 'preVoteResp' && message.granted) {
      const key = `${message.to}@${message.term}`
      this.#preVotes.set(key, (this.#preVotes.get(key) ?? new Set()).add(id))
    } else if (message.type === 'appendResp' && message.accepted && message.index > 0) {
      invariant(
        refs.length >= message.index && refs[message.index - 1]!.term === raft.log.term(message.index),
        'An acknowledgement left before its entry was durable',
        { index: message.index },
      )
    }
  }
}

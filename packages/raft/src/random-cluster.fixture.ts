/**
 * For tests: a cluster of bare cores that changes its membership, compacts, sends snapshots and transfers leadership
 * while messages are lost and reordered and nodes crash in the middle of a write. One number decides everything.
 *
 * Watched from outside: one leader per term; a leader has every committed entry; nobody commits another entry at an
 * index; everybody has the same configuration at an index; no read is older than what was committed when it was asked.
 */
import { invariant, toHex } from '@cipherlog/core'
import { type ConfChange, type ConfState, confStateOf, type PeerId, type SnapshotMeta } from './membership.ts'
import { type Message } from './messages.ts'
import { Raft, type RaftDump } from './raft.ts'
import { a, b, c, d, defaults, e } from './raft.fixture.ts'
import { type Effect, type EntryRef, type HardState, type Input, type LogBase, type RaftConfig } from './types.ts'

/** Mulberry32: uniform in [0, 1). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

type Append = Extract<Effect, { type: 'append' }>

interface Disk {
  hardState: HardState
  base: LogBase
  refs: EntryRef[]
  applied: number
  confState: ConfState
  confIndex: number
  snapshot: SnapshotMeta | undefined
}

interface Node {
  readonly id: PeerId
  readonly config: RaftConfig
  disk: Disk
  raft: Raft | undefined
  writes: Append[]
  /** What the machine has applied, in memory. */
  applied: number
}

const roundMs = 10
const startMs = 1000

export class RandomCluster {
  readonly random: () => number
  readonly nodes: readonly Node[]
  readonly counts: Record<string, number> = {}
  /** Tells before each step whether the node is replaced by the twin of its dump. */
  twins: (() => boolean) | undefined
  readonly committed = new Map<number, string>()
  #lastCommitted = 0
  readonly #leaderOfTerm = new Map<number, PeerId>()
  readonly #confAt = new Map<number, string>()
  readonly #readFloor = new Map<number, number>()
  #messages: Message[] = []
  #cut: PeerId | undefined
  #round = 0
  #nextId = 1

  constructor(seed: number, config: Partial<RaftConfig>) {
    this.random = seeded(seed)
    const base = { index: 0, term: 0, time: startMs }
    this.nodes = [a, b, c, d, e].map((id) => ({
      id,
      config: { ...defaults, preVote: true, checkQuorum: true, ...config, id, random: this.random },
      disk: {
        hardState: { term: 0, votedFor: undefined, commit: 0 },
        base,
        refs: [],
        applied: 0,
        confState: confStateOf([a, b, c]),
        confIndex: 0,
        snapshot: undefined,
      },
      raft: undefined,
      writes: [],
      applied: 0,
    }))
    for (const node of this.nodes) this.#start(node)
  }

  chance(rate: number): boolean {
    return this.random() < rate
  }

  pick<T>(items: readonly T[]): T {
    return items[Math.floor(this.random() * items.length)]!
  }

  get leader(): Node | undefined {
    return this.nodes.find((node) => node.raft?.status.role === 'leader')
  }

  /** One round of time with faults at about `rate`. */
  round(rate: number): void {
    this.#round++
    if (this.chance(rate / 8)) this.#cut = this.#cut === undefined ? this.pick(this.nodes).id : undefined
    for (const node of this.nodes) {
      if (node.raft === undefined) {
        if (this.chance(0.2)) this.#start(node)
      } else if (this.chance(rate / 20)) {
        this.#crash(node)
      } else if (!this.chance(rate)) {
        this.step(node, { type: 'tick', clockMs: this.clockMs, monotonicMs: this.clockMs })
      }
    }
    this.#disturb(rate)
    for (let turn = 0; turn < 4; turn++) this.#deliver(rate)
  }

  /** No more faults: one leader that commits, everybody it counts in has everything. */
  heal(): void {
    this.#cut = undefined
    for (const node of this.nodes) if (node.raft === undefined) this.#start(node)
    for (let at = 0; at < 600; at++) {
      this.round(0)
      const { leader } = this
      if (leader === undefined) continue
      const { confState, peers, lastIndex, commit, leadTransferee } = leader.raft!.status
      if (confState.votersOutgoing.length > 0 && !confState.autoLeave) {
        this.#proposeConf(leader, { transition: 'auto', changes: [] })
      }
      // The transport knows that a snapshot was lost.
      for (const [peer, { state }] of Object.entries(peers)) {
        if (state === 'snapshot') this.step(leader, { type: 'snapshotStatus', peer, ok: false })
      }
      const caughtUp = Object.values(peers).every(({ match }) => match === lastIndex)
      if (caughtUp && commit === lastIndex && leadTransferee === undefined && confState.votersOutgoing.length === 0) {
        const before = commit
        this.propose(leader)
        for (let turn = 0; turn < 20; turn++) this.round(0)
        if (leader.raft!.status.commit > before) return
      }
    }
    invariant(false, 'The cluster did not recover', {
      states: this.nodes.map((node) => node.raft?.status),
    })
  }

  get clockMs(): number {
    return startMs + this.#round * roundMs
  }

  propose(node: Node): void {
    const proposalId = this.#nextId++
    const digest = new Uint8Array(32)
    new DataView(digest.buffer).setUint32(0, proposalId)
    this.step(node, { type: 'propose', proposalId, kind: 3, bytes: 10, digest, clockMs: this.clockMs })
  }

  step(node: Node, input: Input): void {
    if (node.raft !== undefined && this.twins?.() === true) {
      node.raft = Raft.fromDump(node.config, JSON.parse(JSON.stringify(node.raft.dump())) as RaftDump)
    }
    const raft = node.raft
    if (raft === undefined) return
    for (const effect of raft.step(input)) this.#perform(node, raft, effect)
  }

  #count(what: string): void {
    this.counts[what] = (this.counts[what] ?? 0) + 1
  }

  #start(node: Node): void {
    const { disk } = node
    node.raft = new Raft(node.config, disk)
    node.applied = disk.applied
    node.writes = []
  }

  /** A prefix of what was under way reaches the disk. */
  #crash(node: Node): void {
    this.#count('crash')
    let parts = Math.floor(this.random() * 6)
    for (const write of node.writes) {
      parts = this.#write(node, write, parts)
      if (parts <= 0) break
    }
    node.raft = undefined
    node.writes = []
  }

  /** Writes the first `parts` parts of an effect; returns how many are left over. */
  #write(node: Node, { snapshot, hardState, truncateFrom, entries }: Append, parts: number): number {
    const { disk } = node
    if (snapshot !== undefined && parts-- > 0) {
      const { index, term, time, confState } = snapshot
      Object.assign(disk, {
        base: { index, term, time },
        refs: [],
        applied: index,
        confState,
        confIndex: index,
        snapshot,
      })
    }
    if (hardState !== undefined && parts-- > 0) disk.hardState = hardState
    if (truncateFrom !== undefined && parts-- > 0) {
      disk.refs.length = Math.min(disk.refs.length, truncateFrom - 1 - disk.base.index)
    }
    for (const { ref } of entries) {
      if (parts-- <= 0) break
      invariant(ref.index === disk.base.index + disk.refs.length + 1, 'A write leaves a gap', { index: ref.index })
      disk.refs.push(ref)
    }
    return parts
  }

  #perform(node: Node, raft: Raft, effect: Effect): void {
    switch (effect.type) {
      case 'append':
        node.writes.push(effect)
        if (effect.snapshot !== undefined) this.#count('install')
        return
      case 'send':
        if (effect.message.type === 'snapshot' || effect.message.type === 'timeoutNow') this.#count(effect.message.type)
        this.#messages.push(effect.message)
        return
      case 'committed':
        for (let index = Math.max(node.applied, raft.status.firstIndex - 1) + 1; index <= effect.index; index++) {
          const ref = raft.log.ref(index)
          const name = `${ref.term} ${ref.kind} ${ref.time} ${toHex(ref.digest)}`
          const known = this.committed.get(index)
          invariant(known === undefined || known === name, 'Two entries are committed at one index', { index })
          this.committed.set(index, name)
          this.#lastCommitted = Math.max(this.#lastCommitted, index)
        }
        node.applied = effect.index
        this.step(node, { type: 'applied', index: effect.index })
        return
      case 'confChanged': {
        const name = JSON.stringify(effect.confState)
        const known = this.#confAt.get(effect.index)
        if (raft.log.base.index < effect.index) {
          invariant(known === undefined || known === name, 'Two configurations at one index', { index: effect.index })
          this.#confAt.set(effect.index, name)
          this.#count(effect.confState.votersOutgoing.length > 0 ? 'joint' : 'simple')
        }
        if (effect.index > node.applied && raft.log.base.index === effect.index) node.applied = effect.index
        return
      }
      case 'readReady': {
        this.#count('read')
        const floor = this.#readFloor.get(effect.context)!
        invariant(effect.index >= floor, 'A read is stale', { index: effect.index, floor })
        return
      }
      case 'roleChanged':
        if (effect.role === 'leader') this.#checkLeader(node, raft, effect.term)
        return
      case 'dropped':
      case 'transferFailed':
        return this.#count(`${effect.type} ${effect.reason}`)
      case 'readFailed':
      case 'forwarded':
      case 'lost':
      case 'leaderChanged':
      case 'transferred':
        return this.#count(effect.type)
    }
  }

  #checkLeader(node: Node, raft: Raft, term: number): void {
    this.#count('election')
    const other = this.#leaderOfTerm.get(term)
    invariant(other === undefined, 'Two leaders in one term', { term, other, id: node.id })
    this.#leaderOfTerm.set(term, node.id)
    const { lastIndex, firstIndex } = raft.status
    invariant(lastIndex > this.#lastCommitted, 'A leader lacks committed entries', {
      term,
      lastIndex,
      committed: this.#lastCommitted,
    })
    for (let index = firstIndex; index <= this.#lastCommitted; index++) {
      invariant(
        this.committed.get(index)?.startsWith(`${raft.log.term(index)} `) !== false,
        'A leader has another entry than was committed',
        { index },
      )
    }
  }

  #deliver(rate: number): void {
    for (const node of this.nodes) {
      const count = Math.floor(this.random() * (node.writes.length + 1))
      if (node.raft === undefined || count === 0) continue
      for (const write of node.writes.slice(0, count)) this.#write(node, write, Infinity)
      const { ioId } = node.writes[count - 1]!
      node.writes = node.writes.slice(count)
      this.step(node, { type: 'appended', ioId })
      // What was acknowledged once may be again.
      if (this.chance(rate)) this.step(node, { type: 'appended', ioId: Math.ceil(this.random() * ioId) })
    }
    const inFlight = this.#messages
    this.#messages = []
    const delayed: Message[] = []
    for (const message of inFlight) {
      if (message.from === this.#cut || message.to === this.#cut || this.chance(rate / 2)) continue
      if (this.chance(rate)) delayed.push(message)
      if (this.chance(rate)) continue
      const node = this.nodes.find(({ id }) => id === message.to)!
      this.step(node, {
        type: 'message',
        message: JSON.parse(JSON.stringify(message), revive) as Message,
        clockMs: this.clockMs,
      })
    }
    this.#messages.push(...delayed)
  }

  #disturb(rate: number): void {
    const node = this.pick(this.nodes)
    const { leader } = this
    if (node.raft === undefined) return
    if (this.chance(rate)) this.step(node, { type: 'campaign' })
    if (this.chance(0.3)) {
      const context = this.#nextId++
      this.#readFloor.set(context, this.#lastCommitted)
      this.step(node, { type: 'readIndex', context, lease: this.chance(0.7), monotonicMs: this.clockMs })
    }
    if (this.chance(0.1)) this.#snapshotAndCompact(node)
    if (this.chance(rate)) this.step(node, { type: 'unreachable', peer: this.pick(this.nodes).id })
    if (leader === undefined) return
    if (this.chance(0.5)) this.propose(this.chance(0.7) ? leader : node)
    if (rate === 0) return
    if (this.chance(0.1)) this.step(leader, { type: 'transferLeadership', to: this.pick(this.nodes).id })
    if (this.chance(0.05))
      this.step(leader, { type: 'snapshotStatus', peer: this.pick(this.nodes).id, ok: this.chance(0.5) })
    if (this.chance(0.02)) this.step(leader, { type: 'stepDown' })
    if (this.chance(0.02)) this.step(node, { type: 'forgetLeader' })
    if (this.chance(0.3)) this.#proposeConf(leader, this.#someChange())
  }

  #someChange(): ConfChange {
    if (this.chance(0.2)) return { transition: 'auto', changes: [] }
    const types = ['addVoter', 'addVoter', 'addLearner', 'remove'] as const
    const changes = Array.from({ length: this.pick([1, 1, 1, 2, 3]) }, () => ({
      type: this.pick(types),
      peer: this.pick(this.nodes).id,
    }))
    return { transition: this.pick(['auto', 'auto', 'jointImplicit', 'jointExplicit']), changes }
  }

  #proposeConf(node: Node, change: ConfChange): void {
    const proposalId = this.#nextId++
    const digest = new Uint8Array(32).fill(proposalId)
    this.step(node, { type: 'proposeConf', proposalId, change, bytes: 20, digest, clockMs: this.clockMs })
  }

  #snapshotAndCompact(node: Node): void {
    const { raft, disk } = node
    if (raft === undefined) return
    const index = node.applied
    // Not while a snapshot is being installed.
    if (index <= raft.log.base.index || index > disk.base.index + disk.refs.length) return
    // The machine's state is durable up to here, and with it the configuration.
    const confState = raft.confStateAt(index)!
    Object.assign(disk, { applied: index, confState, confIndex: index })
    if (this.chance(0.5)) return
    const { term, time } = raft.log.ref(index)
    const meta = { index, term, time, confState, digest: new Uint8Array(32).fill(index) }
    disk.snapshot = meta
    this.step(node, { type: 'snapshotAvailable', meta })
    const upTo = disk.base.index + Math.ceil(this.random() * (index - disk.base.index))
    const { time: baseTime, term: baseTerm } = raft.log.ref(upTo)
    this.step(node, { type: 'compact', index: upTo })
    disk.refs = disk.refs.slice(upTo - disk.base.index)
    disk.base = { index: upTo, term: baseTerm, time: baseTime }
    this.#count('compact')
  }
}

/** Messages travel as text, so that nothing is shared; digests come back as bytes. */
function revive(key: string, value: unknown): unknown {
  return key === 'digest' ? Uint8Array.from(Object.values(value as object) as number[]) : value
}

/** For tests: one core driven by hand, whose disk finishes writes only when told to. */
import { invariant } from '@cipherlog/core'
import { type ConfChange, type ConfState, confStateOf, type PeerId, type SnapshotMeta } from './membership.ts'
import { type Message } from './messages.ts'
import { Raft, type RaftDump } from './raft.ts'
import {
  type Effect,
  type EntryRef,
  type HardState,
  type Input,
  type LogBase,
  membershipKind,
  type RaftConfig,
} from './types.ts'

export const [a, b, c, d, e] = [1, 2, 3, 4, 5].map((n) => String(n).repeat(32)) as [
  PeerId,
  PeerId,
  PeerId,
  PeerId,
  PeerId,
]

export const initialTimeMs = 1000

export const defaults: RaftConfig = {
  id: a,
  electionTicks: 10,
  heartbeatTicks: 1,
  preVote: false,
  checkQuorum: false,
  maxInflightMessages: 256,
  maxInflightBytes: 1 << 20,
  maxAppendBytes: 1 << 20,
  maxUncommittedBytes: 1 << 20,
  maxClockErrorMs: 500,
  diskStallTicks: 0,
  initialTimeMs,
  random: () => 0,
}

/** An entry whose digest names its index and term. */
export function refOf(term: number, index: number, bytes = 10): EntryRef {
  return { term, index, kind: 3, time: initialTimeMs, bytes, digest: new Uint8Array(32).fill(16 * term + index) }
}

/** An entry that changes membership. */
export function changeRef(term: number, index: number, change: ConfChange): EntryRef {
  return { ...refOf(term, index), kind: membershipKind, change }
}

/** A snapshot whose last entry is (index, term). */
export function snapshotOf(index: number, term: number, confState: ConfState): SnapshotMeta {
  return { index, term, time: initialTimeMs, confState, digest: new Uint8Array(32).fill(index) }
}

/** Entries of the given terms, from index `first`. */
export function refsOf(terms: readonly number[], first = 1): EntryRef[] {
  return terms.map((term, i) => refOf(term, first + i))
}

export type MessageOf<T extends Message['type']> = Extract<Message, { type: T }>
export type EffectOf<T extends Effect['type']> = Extract<Effect, { type: T }>

interface Start {
  /** Voters: a, b and c. */
  readonly config?: Partial<RaftConfig> & { readonly voters?: readonly PeerId[] }
  readonly term?: number
  readonly votedFor?: PeerId
  readonly commit?: number
  readonly applied?: number
  /** Terms of the entries on disk, after the base. */
  readonly log?: readonly number[]
  /** The entries themselves instead. */
  readonly refs?: readonly EntryRef[]
  readonly base?: LogBase
  /** As of `confIndex`, default the base; instead of voters. */
  readonly confState?: ConfState
  readonly confIndex?: number
  readonly snapshot?: SnapshotMeta
  /** A node in that state instead of all this. */
  readonly raftDump?: RaftDump
}

type Body<T> = T extends Message ? Omit<T, 'to' | 'term'> & { readonly term?: number } : never

export class TestNode {
  readonly raft: Raft
  /** Every effect so far. */
  readonly effects: Effect[] = []
  clockMs = initialTimeMs
  #taken = 0

  constructor(start: Start = {}) {
    const { config: { voters = [a, b, c], ...config } = {}, term, votedFor, commit = 0, log = [], base } = start
    const refs = start.refs ?? refsOf(log, (base?.index ?? 0) + 1)
    if (start.raftDump !== undefined) {
      this.raft = Raft.fromDump({ ...defaults, ...config }, start.raftDump)
      return
    }
    const hardState: HardState = { term: term ?? refs.at(-1)?.term ?? base?.term ?? 0, votedFor, commit }
    this.raft = new Raft(
      { ...defaults, ...config },
      {
        hardState,
        refs,
        applied: start.applied ?? base?.index ?? 0,
        confState: start.confState ?? confStateOf(voters),
        confIndex: start.confIndex ?? base?.index ?? 0,
        ...(base === undefined ? {} : { base }),
        ...(start.snapshot === undefined ? {} : { snapshot: start.snapshot }),
      },
    )
  }

  get status() {
    return this.raft.status
  }

  get terms(): number[] {
    const { firstIndex, lastIndex } = this.status
    return this.raft.log.slice(firstIndex, lastIndex + 1).map((ref) => ref.term)
  }

  step(input: Input): Effect[] {
    const effects = this.raft.step(input)
    this.effects.push(...effects)
    return effects
  }

  tick(count = 1): void {
    for (let i = 0; i < count; i++) this.step({ type: 'tick', clockMs: this.clockMs })
  }

  /** A message to this node, of its own term unless said otherwise. */
  receive(body: Body<Message>): Effect[] {
    const message = { term: this.status.term, ...body, to: this.status.id } as Message
    return this.step({ type: 'message', message, clockMs: this.clockMs })
  }

  propose(proposalId: number, bytes = 10): Effect[] {
    const digest = new Uint8Array(32).fill(proposalId)
    return this.step({ type: 'propose', proposalId, kind: 3, bytes, digest, clockMs: this.clockMs })
  }

  proposeConf(proposalId: number, change: ConfChange): Effect[] {
    const digest = new Uint8Array(32).fill(proposalId)
    return this.step({ type: 'proposeConf', proposalId, change, bytes: 20, digest, clockMs: this.clockMs })
  }

  /** Everything handed to the disk so far is durable. */
  persist(): Effect[] {
    const last = this.all('append').at(-1)
    return last === undefined ? [] : this.step({ type: 'appended', ioId: last.ioId })
  }

  /** Wins an election with the vote of one peer and makes its no-op durable. */
  lead(voter: PeerId = b): void {
    this.step({ type: 'campaign' })
    this.persist()
    if (this.status.role !== 'leader') this.receive({ type: 'voteResp', from: voter, granted: true })
    this.persist()
    invariant(this.status.role === 'leader', 'The test node did not win')
    this.take()
  }

  /** `from` answered a heartbeat. */
  beat(from: PeerId, readContext = 0): Effect[] {
    return this.receive({ type: 'heartbeatResp', from, readContext, clockMs: this.clockMs })
  }

  /** Those and this replica hold everything durably. */
  replicate(...peers: readonly PeerId[]): void {
    this.persist()
    for (const peer of peers) this.accept(peer, this.status.lastIndex)
  }

  /** `from` accepts everything up to `index`. */
  accept(from: PeerId, index: number): Effect[] {
    return this.receive({ type: 'appendResp', from, accepted: true, index, hintIndex: 0, hintTerm: 0 })
  }

  /** Effects of one type, of the whole run. */
  all<T extends Effect['type']>(type: T): EffectOf<T>[] {
    return this.effects.filter((effect): effect is EffectOf<T> => effect.type === type)
  }

  /** Messages of one type sent since the last {@link take}. */
  sent<T extends Message['type']>(type: T): MessageOf<T>[] {
    return this.effects
      .slice(this.#taken)
      .flatMap((effect) => (effect.type === 'send' ? [effect.message] : []))
      .filter((message): message is MessageOf<T> => message.type === type)
  }

  /** Effects since the last call. */
  take(): Effect[] {
    const effects = this.effects.slice(this.#taken)
    this.#taken = this.effects.length
    return effects
  }
}

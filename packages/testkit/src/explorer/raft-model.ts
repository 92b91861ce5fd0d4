/**
 * The bare core as a finite model: nodes with their disks, and a network of messages, in which anything may happen at
 * any time within bounds.
 *
 * A message that was sent stays in the network for ever: it can be delivered never, once or often, before or after any
 * other. That is loss, duplication and reordering in one, and it needs fewer states than a network that forgets. Time
 * is abstract: an election timeout may strike at any moment, and no timer is part of a state. A disk finishes its
 * writes in order, at any moment; a crash leaves any part of those under way, down to a part of one.
 *
 * All that one node does follows from its own state, so its steps are computed once and looked up afterwards, and the
 * states of nodes, the messages and the history are numbers.
 */
import { toHex } from '@cipherlog/core'
import {
  confStateOf,
  type Effect,
  type EntryRef,
  type HardState,
  type Input,
  type Message,
  type PeerId,
  Raft,
} from '@cipherlog/raft'
import { raftNetworkConfig } from '../raft-options.ts'
import { canonical, permuted } from './canonical.ts'
import { Interned } from './interned.ts'

export interface RaftBounds {
  readonly nodes: number
  /** Nobody campaigns for a term above this. */
  readonly terms: number
  /** No log gets longer: a leader proposes only if the no-ops of later terms find room. */
  readonly entries: number
  /** Crashes, of all nodes together. */
  readonly crashes: number
  /**
   * `async`: writes finish in order, at any later moment, whatever happens meanwhile. `sync`: a step's write is done
   * before the next step begins, unless the node crashes in the middle of it: far fewer states.
   */
  readonly disk: 'async' | 'sync'
}

/** What one node can do by itself; deliveries are numbered by their message. */
export type LocalAction =
  | { readonly type: 'campaign' }
  | { readonly type: 'propose' }
  | { readonly type: 'finishWrite' }
  /** `parts` of the writes under way had reached the disk, those of the step that it happened during included. */
  | { readonly type: 'crash'; readonly parts: number; readonly during?: 'campaign' | 'propose' }

type Write = Extract<Effect, { type: 'append' }>
type Dump = ReturnType<Raft['dump']>

/** One node: the core, its disk, and the writes between them. */
interface Local {
  readonly id: PeerId
  readonly dump: Dump
  readonly disk: { readonly hardState: HardState; readonly refs: readonly EntryRef[] }
  readonly writes: readonly Write[]
}

/** What checkers look at. */
export interface View {
  readonly role: string
  readonly term: number
  readonly commit: number
  /** Terms of the entries the core has, and of those on its disk, from index 1. */
  readonly log: readonly number[]
  readonly disk: readonly number[]
  readonly writes: number
}

export interface LocalStep {
  readonly next: number
  readonly sent: readonly number[]
}

const digest = new Uint8Array(32)
const clockMs = raftNetworkConfig.initialTimeMs
const inputs = {
  campaign: { type: 'campaign' },
  propose: { type: 'propose', proposalId: 0, kind: 3, bytes: 1, digest, clockMs },
} as const satisfies Readonly<Record<string, Input>>

export class RaftModel {
  readonly ids: readonly PeerId[]
  readonly bounds: RaftBounds
  /** Every renaming of the nodes, as where each position goes. */
  readonly permutations: readonly (readonly number[])[]
  readonly #locals = new Interned<Local>(canonical)
  readonly #messages = new Interned<Message>(canonical)
  readonly #views: View[] = []
  readonly #receivers: number[] = []
  readonly #steps = new Map<string, LocalStep>()
  readonly #deliveries = new Map<number, LocalStep>()
  readonly #tornDeliveries = new Map<number, readonly LocalStep[]>()
  readonly #permutedLocals: Map<number, number>[]
  readonly #permutedMessages: Map<number, number>[]

  constructor(bounds: RaftBounds) {
    this.bounds = bounds
    this.ids = Array.from({ length: bounds.nodes }, (_, at) => toHex(new Uint8Array(16).fill(at + 1)))
    this.permutations = permutationsOf(this.ids.map((_, at) => at))
    this.#permutedLocals = this.permutations.map(() => new Map<number, number>())
    this.#permutedMessages = this.permutations.map(() => new Map<number, number>())
  }

  /** How many different node states and messages there were. */
  get sizes(): { readonly locals: number; readonly messages: number } {
    return { locals: this.#locals.size, messages: this.#messages.size }
  }

  /** The state of node `at` before anything happened. */
  initial(at: number): number {
    const disk = { hardState: { term: 0, votedFor: undefined, commit: 0 }, refs: [] }
    const id = this.ids[at]!
    return this.#number({ id, dump: this.#restart(id, disk).dump(), disk, writes: [] })
  }

  view(local: number): View {
    const known = this.#views[local]
    if (known !== undefined) return known
    const { id, dump, disk, writes } = this.#locals.value(local)
    const raft = Raft.fromDump(this.#configOf(id), dump)
    const { role, term, commit, lastIndex } = raft.status
    const log = raft.log.slice(1, lastIndex + 1).map((ref) => ref.term)
    const view = { role, term, commit, log, disk: disk.refs.map((ref) => ref.term), writes: writes.length }
    this.#views[local] = view
    return view
  }

  /** For people. */
  show(message: number): string {
    const { from, to, ...rest } = this.#messages.value(message)
    const says = JSON.stringify(rest, (key, value: unknown) => (key === 'digest' || key === 'time' ? undefined : value))
    return `${this.ids.indexOf(from)}>${this.ids.indexOf(to)} ${says}`
  }

  /** Where message `number` goes, as a position. */
  receiver(number: number): number {
    return (this.#receivers[number] ??= this.ids.indexOf(this.#messages.value(number).to))
  }

  /** What a node in state `local` can do by itself. */
  actions(local: number, mayCrash: boolean): readonly LocalAction[] {
    const { role, term, log, writes } = this.view(local)
    const { terms, entries, disk } = this.bounds
    const actions: LocalAction[] = []
    if (role !== 'leader' && term < terms) actions.push({ type: 'campaign' })
    if (role === 'leader' && log.length + terms - term < entries) actions.push({ type: 'propose' })
    if (writes > 0) actions.push({ type: 'finishWrite' })
    if (!mayCrash) return actions
    const torn = this.#locals.value(local).writes.flatMap(partsOf).length
    const crashes = Array.from({ length: torn + 1 }, (_, parts): LocalAction => ({ type: 'crash', parts }))
    if (disk === 'async') return [...actions, ...crashes]
    return [...actions, ...crashes, ...actions.flatMap(({ type }) => this.#tornSteps(local, type))]
  }

  act(local: number, action: LocalAction): LocalStep {
    const key = `${local} ${action.type} ${action.type === 'crash' ? `${action.parts} ${action.during ?? ''}` : ''}`
    const known = this.#steps.get(key)
    if (known !== undefined) return known
    const step = this.#act(this.#locals.value(local), action)
    this.#steps.set(key, step)
    return step
  }

  deliver(local: number, message: number): LocalStep {
    // Numbers are faster than texts, and this is looked up more than anything else.
    const key = local * 65_536 + message
    const known = this.#deliveries.get(key)
    if (known !== undefined) return known
    const step = this.#stepCore(this.#locals.value(local), this.#inputOf(message))
    this.#deliveries.set(key, step)
    return step
  }

  /** Every way in which a synchronous disk can be caught in the middle of what `message` made the node write. */
  deliverAndCrash(local: number, message: number): readonly LocalStep[] {
    if (this.bounds.disk === 'async') return []
    const key = local * 65_536 + message
    const known = this.#tornDeliveries.get(key)
    if (known !== undefined) return known
    const steps = this.#caught(this.#locals.value(local), this.#inputOf(message))
    this.#tornDeliveries.set(key, steps)
    return steps
  }

  /** `local` as it would be if the nodes were renamed by `permutations[permutation]`. */
  permuteLocal(local: number, permutation: number): number {
    return this.#permute(this.#locals, this.#permutedLocals[permutation]!, local, permutation)
  }

  permuteMessage(message: number, permutation: number): number {
    return this.#permute(this.#messages, this.#permutedMessages[permutation]!, message, permutation)
  }

  #permute<T>(values: Interned<T>, known: Map<number, number>, number: number, permutation: number): number {
    const before = known.get(number)
    if (before !== undefined) return before
    const to = this.permutations[permutation]!
    const renamed = new Map(this.ids.map((id, at) => [id, this.ids[to[at]!]!]))
    const after = values.number(permuted(values.value(number), renamed))
    known.set(number, after)
    return after
  }

  #inputOf(message: number): Input {
    return { type: 'message', message: this.#messages.value(message), clockMs }
  }

  #act(local: Local, action: LocalAction): LocalStep {
    switch (action.type) {
      case 'campaign':
      case 'propose':
        return this.#stepCore(local, inputs[action.type])
      case 'finishWrite':
        return this.#finishWrite(local)
      case 'crash': {
        if (action.during !== undefined) return this.#caught(local, inputs[action.during])[action.parts]!
        return { next: this.#crash(local, action.parts), sent: [] }
      }
    }
  }

  #tornSteps(local: number, during: LocalAction['type']): LocalAction[] {
    if (during !== 'campaign' && during !== 'propose') return []
    const { length } = this.#caught(this.#locals.value(local), inputs[during])
    return Array.from({ length }, (_, parts) => ({ type: 'crash', parts, during }))
  }

  /** The step, its write begun, and a crash after each part of it. */
  #caught(local: Local, input: Input): readonly LocalStep[] {
    const { after, sent } = this.#stepOnce(local, input)
    const parts = after.writes.flatMap(partsOf).length
    if (parts === 0) return []
    return Array.from({ length: parts + 1 }, (_, done) => ({ next: this.#crash(after, done), sent }))
  }

  /** Starts again from the disk, of whose writes `parts` were done. */
  #crash(local: Local, parts: number): number {
    const disk = local.writes.flatMap(partsOf).slice(0, parts).reduce(writePart, local.disk)
    return this.#number({ ...local, dump: this.#restart(local.id, disk).dump(), disk, writes: [] })
  }

  #finishWrite(local: Local): LocalStep {
    const [write, ...writes] = local.writes
    const disk = partsOf(write!).reduce(writePart, local.disk)
    return this.#stepCore({ ...local, disk, writes }, { type: 'appended', ioId: write!.ioId })
  }

  #stepCore(local: Local, input: Input): LocalStep {
    const { after, sent } = this.#stepOnce(local, input)
    if (this.bounds.disk === 'async' || after.writes.length === 0) return { next: this.#number(after), sent }
    const then = this.#finishWrite(after)
    return { next: then.next, sent: [...sent, ...then.sent] }
  }

  #stepOnce(local: Local, input: Input): { readonly after: Local; readonly sent: readonly number[] } {
    const raft = Raft.fromDump(this.#configOf(local.id), local.dump)
    const writes = [...local.writes]
    const sent: number[] = []
    for (const effect of raft.step(input)) {
      if (effect.type === 'append') {
        writes.push(effect)
      } else if (effect.type === 'send') {
        checkPromise(local.id, local.disk, effect.message)
        sent.push(this.#messages.number(effect.message))
      } else if (effect.type === 'committed') {
        raft.step({ type: 'applied', index: effect.index })
      }
    }
    return { after: { ...local, dump: raft.dump(), writes }, sent }
  }

  #number(local: Local): number {
    return this.#locals.number(withoutCounters(local))
  }

  #restart(id: PeerId, disk: Local['disk']): Raft {
    return new Raft(this.#configOf(id), { ...disk, confState: confStateOf(this.ids) })
  }

  #configOf(id: PeerId) {
    return {
      ...raftNetworkConfig,
      id,
      preVote: false,
      checkQuorum: false,
      diskStallTicks: 0,
      maxAppendBytes: 1,
      random: () => 0,
    }
  }
}

/** A write as the steps in which it reaches the disk. */
function partsOf({ hardState, truncateFrom, entries }: Write): Omit<Write, 'type' | 'ioId'>[] {
  return [
    ...(hardState === undefined ? [] : [{ hardState, entries: [] }]),
    ...(truncateFrom === undefined ? [] : [{ truncateFrom, entries: [] }]),
    ...entries.map((entry) => ({ entries: [entry] })),
  ]
}

function writePart(
  disk: Local['disk'],
  { hardState, truncateFrom, entries }: Omit<Write, 'type' | 'ioId'>,
): Local['disk'] {
  const kept = truncateFrom === undefined ? disk.refs : disk.refs.slice(0, truncateFrom - 1)
  return { hardState: hardState ?? disk.hardState, refs: [...kept, ...entries.map(({ ref }) => ref)] }
}

/** Without what says nothing about what comes: counters of writes begun before, clocks, ids of proposals. */
function withoutCounters(local: Local): Local {
  const { core } = local.dump
  const { writes, election, replication } = core
  const before = writes.lastIoId - writes.writes.length
  const peers = replication.peers.map(
    ([id, progress]) => [id, { ...progress, heardAt: -1, recentActive: true, offeredAt: 0 }] as const,
  )
  return {
    ...local,
    dump: {
      ...local.dump,
      core: {
        ...core,
        ticks: 0,
        clocks: [],
        proposals: { ...core.proposals, waiting: [] },
        election: { ...election, elapsed: 0, timeout: 0 },
        replication: { peers, heartbeatElapsed: 0 },
        writes: {
          ...writes,
          lastIoId: writes.writes.length,
          writes: writes.writes.map((write) => ({ ...write, ioId: write.ioId - before, held: once(write.held) })),
        },
      },
    },
    writes: local.writes.map((write) => ({ ...write, ioId: write.ioId - before })),
  }
}

/** Saying a thing twice says no more. */
function once<T>(messages: readonly T[]): T[] {
  return [...new Map(messages.map((message) => [canonical(message), message])).values()]
}

/** A message must not leave before what it vouches for is on its sender's disk. */
function checkPromise(id: PeerId, { hardState, refs }: Local['disk'], message: Message): void {
  if (message.type === 'voteResp' && message.granted) {
    if (hardState.term === message.term && hardState.votedFor === message.to) return
    throw new Error(`${id} gave a vote that is not on its disk`)
  }
  if (message.type === 'appendResp' && message.accepted && message.index > refs.length) {
    throw new Error(`${id} acknowledged entries that are not on its disk`)
  }
}

function permutationsOf(items: readonly number[]): number[][] {
  if (items.length === 0) return [[]]
  return items.flatMap((item) => permutationsOf(items.filter((other) => other !== item)).map((rest) => [item, ...rest]))
}

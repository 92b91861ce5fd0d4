/**
 * Search through everything that the bare core can do within bounds (raft-model.ts), and Raft's properties (fig. 3.2)
 * in every state, checked from outside.
 *
 * A state is the nodes' states, a history, the crashes left and the messages sent. The history remembers what the
 * properties speak of and no node may know any more: who led which term, and what was committed by which.
 *
 * Two reductions, both exact. States that differ in the names of nodes count once. And since nobody has to receive a
 * message and nothing has to crash, a state can do all that another can with the same nodes and history, a part of its
 * messages and no more crashes left: such another is not searched. (The properties speak of nodes and history alone.)
 * Hence messages that a node would send without changing are sent at once.
 */
import { Interned } from './interned.ts'
import { type LocalAction, type RaftBounds, RaftModel } from './raft-model.ts'

export interface Exploration {
  readonly bounds: RaftBounds
  /** Searched: states that no other one found before them covers. */
  readonly states: number
  /** Different combinations of node states and history among them. */
  readonly combinations: number
  /** Different states of a single node, and different messages. */
  readonly nodeStates: number
  readonly messages: number
  /** Steps from one state to another. */
  readonly transitions: number
  /** States with a leader in the history, with a committed entry, after a crash: what never happened was not tested. */
  readonly led: number
  readonly committed: number
  readonly crashed: number
  /** Every state within the bounds was searched. */
  readonly complete: boolean
  readonly violation?: { readonly says: string; readonly trace: readonly string[] }
}

interface History {
  /** Position of the leader of each term, from term 1; -1: none so far. */
  readonly leaders: readonly number[]
  /** The committed entries: term, and term of the leader that committed. */
  readonly committed: readonly { readonly term: number; readonly by: number }[]
}

interface State {
  readonly nodes: readonly number[]
  readonly history: number
  readonly crashes: number
  /** Ascending. */
  readonly messages: readonly number[]
  /** How it was reached, for the way to a violation: what node `at` did, or the message it received. */
  readonly from: State | undefined
  readonly at: number
  readonly how: LocalAction | number
}

/** @param statesMax - stops there, incomplete. */
export function exploreRaft(bounds: RaftBounds, statesMax = Infinity): Exploration {
  return new Search(bounds).run(statesMax)
}

class Search {
  readonly #model: RaftModel
  readonly #bounds: RaftBounds
  readonly #histories = new Interned<History>((history) => JSON.stringify(history))
  readonly #permutedHistories = new Map<string, number>()
  readonly #seen = new Map<string, Pick<State, 'crashes' | 'messages'>[]>()

  constructor(bounds: RaftBounds) {
    this.#bounds = bounds
    this.#model = new RaftModel(bounds)
  }

  run(statesMax: number): Exploration {
    const nodes = Array.from({ length: this.#bounds.nodes }, (_, at) => this.#model.initial(at))
    const history = this.#histories.number({ leaders: [], committed: [] })
    const { crashes } = this.#bounds
    const first = this.#canonical({ nodes, history, crashes, messages: [], from: undefined, at: 0, how: -1 })
    this.#isNew(first)
    const open = new Open()
    open.push(first)
    const counts = { states: 0, transitions: 0, led: 0, committed: 0, crashed: 0 }
    let violation: Exploration['violation']
    for (let state = open.pop(); state !== undefined && counts.states < statesMax; state = open.pop()) {
      counts.states++
      const { leaders, committed } = this.#histories.value(state.history)
      if (leaders.length > 0) counts.led++
      if (committed.length > 0) counts.committed++
      if (state.crashes < crashes) counts.crashed++
      try {
        for (const next of this.#successors(state)) {
          counts.transitions++
          const after = this.#canonical(next)
          if (this.#isNew(after)) open.push(after)
        }
      } catch (error) {
        violation = { says: String(error), trace: this.#traceTo(state) }
        break
      }
    }
    const sizes = {
      combinations: this.#seen.size,
      nodeStates: this.#model.sizes.locals,
      messages: this.#model.sizes.messages,
    }
    const complete = open.size === 0 && violation === undefined
    const found = { bounds: this.#bounds, ...counts, ...sizes, complete }
    return violation === undefined ? found : { ...found, violation }
  }

  *#successors(state: State): Generator<State> {
    const { crashes } = state
    for (const [at, local] of state.nodes.entries()) {
      for (const action of this.#model.actions(local, crashes > 0)) {
        const { next, sent } = this.#model.act(local, action)
        if (next === local && sent.length === 0) continue
        yield this.#after(state, at, next, sent, action.type === 'crash' ? crashes - 1 : crashes, action)
      }
    }
    for (const message of state.messages) {
      const at = this.#model.receiver(message)
      const local = state.nodes[at]!
      const { next, sent } = this.#model.deliver(local, message)
      if (next !== local) yield this.#after(state, at, next, sent, crashes, message)
      if (crashes === 0) continue
      for (const torn of this.#model.deliverAndCrash(local, message)) {
        yield this.#after(state, at, torn.next, torn.sent, crashes - 1, message)
      }
    }
  }

  #after(
    state: State,
    at: number,
    next: number,
    sent: readonly number[],
    crashes: number,
    how: LocalAction | number,
  ): State {
    const nodes = state.nodes.with(at, next)
    const history = this.#check(state.history, nodes, at)
    return { nodes, history, crashes, messages: this.#saturate(state, at, nodes, sent), from: state, at, how }
  }

  /**
   * The messages sent before and by the step of node `at`, and all that are sent by deliveries that change nobody. Of
   * those before the step only its own can be answered otherwise now.
   */
  #saturate(before: State, at: number, nodes: readonly number[], sent: readonly number[]): readonly number[] {
    const messages = new Set(before.messages)
    const open = before.messages.filter((message) => this.#model.receiver(message) === at)
    for (const message of sent) {
      if (messages.has(message)) continue
      messages.add(message)
      open.push(message)
    }
    for (let message = open.pop(); message !== undefined; message = open.pop()) {
      const to = this.#model.receiver(message)
      const step = this.#model.deliver(nodes[to]!, message)
      if (step.next !== nodes[to]) continue
      for (const answer of step.sent) {
        if (messages.has(answer)) continue
        messages.add(answer)
        open.push(answer)
      }
    }
    return messages.size === before.messages.length ? before.messages : [...messages].sort((a, b) => a - b)
  }

  /** False if a state that was seen can do all that `state` can. */
  #isNew({ nodes, history, crashes, messages }: State): boolean {
    const key = `${nodes.join()},${history}`
    const rivals = this.#seen.get(key)
    if (rivals === undefined) {
      this.#seen.set(key, [{ crashes, messages }])
      return true
    }
    if (rivals.some((rival) => rival.crashes >= crashes && isPart(messages, rival.messages))) return false
    const left = rivals.filter((rival) => rival.crashes > crashes || !isPart(rival.messages, messages))
    left.push({ crashes, messages })
    this.#seen.set(key, left)
    return true
  }

  /** Checks what the step of node `at` may have broken; returns the history after it. */
  #check(before: number, nodes: readonly number[], at: number): number {
    const history = this.#histories.value(before)
    const view = this.#model.view(nodes[at]!)
    let { leaders, committed } = history
    if (view.role === 'leader' && leaders[view.term - 1] !== at) {
      require((leaders[view.term - 1] ?? -1) === -1, `Election Safety: two leaders in term ${view.term}`)
      const terms = Math.max(leaders.length, view.term)
      leaders = Array.from({ length: terms }, (_, i) => (i === view.term - 1 ? at : (history.leaders[i] ?? -1)))
      for (const [i, { term, by }] of committed.entries()) {
        const holds = by >= view.term || view.log[i] === term
        require(holds, `Leader Completeness: the leader of term ${view.term} lacks entry ${i + 1}`)
      }
    }
    for (let index = 1; index <= view.commit; index++) {
      const term = view.log[index - 1]!
      const known = committed[index - 1]
      require(known === undefined || known.term === term, `State Machine Safety: two entries committed at ${index}`)
      if (known === undefined) committed = [...committed, { term, by: view.term }]
    }
    const views = nodes.map((local) => this.#model.view(local))
    for (const [i, { term }] of committed.entries()) {
      const holders = views.filter(({ disk }) => disk[i] === term).length
      require(holders > nodes.length / 2, `Durability: entry ${i + 1} is committed and on ${holders} disks`)
    }
    for (const { log, disk } of views) {
      requireMatching(view.log, log)
      requireMatching(view.log, disk)
      requireMatching(view.disk, log)
    }
    if (leaders === history.leaders && committed === history.committed) return before
    return this.#histories.number({ leaders, committed })
  }

  /** The least of the state's renamings. */
  #canonical(state: State): State {
    let best: State | undefined
    for (const [p, to] of this.#model.permutations.entries()) {
      const nodes = Array<number>(state.nodes.length)
      for (const [at, local] of state.nodes.entries()) nodes[to[at]!] = this.#model.permuteLocal(local, p)
      if (best !== undefined && compare(nodes, best.nodes) > 0) continue
      const history = this.#permuteHistory(state.history, to)
      const messages = state.messages.map((message) => this.#model.permuteMessage(message, p)).sort((a, b) => a - b)
      const renamed = { ...state, nodes, history, messages }
      if (best === undefined || compare(whole(renamed), whole(best)) < 0) best = renamed
    }
    return best!
  }

  /** The steps to a state; nodes may change their names on the way. */
  #traceTo(state: State): string[] {
    const trace: string[] = []
    for (let to: State | undefined = state; to?.from !== undefined; to = to.from) {
      const { at, how } = to
      trace.unshift(`${at} ${typeof how === 'number' ? `receives ${this.#model.show(how)}` : how.type}`)
    }
    return trace
  }

  #permuteHistory(history: number, to: readonly number[]): number {
    const key = `${history} ${to.join()}`
    const known = this.#permutedHistories.get(key)
    if (known !== undefined) return known
    const { leaders, committed } = this.#histories.value(history)
    const renamed = this.#histories.number({ leaders: leaders.map((at) => (at === -1 ? at : to[at]!)), committed })
    this.#permutedHistories.set(key, renamed)
    return renamed
  }
}

/** States to search, those with the most messages first: they cover others. */
class Open {
  readonly #byMessages: State[][] = []
  size = 0

  push(state: State): void {
    const count = state.messages.length
    while (this.#byMessages.length <= count) this.#byMessages.push([])
    this.#byMessages[count]!.push(state)
    this.size++
  }

  pop(): State | undefined {
    const states = this.#byMessages.findLast((states) => states.length > 0)
    if (states !== undefined) this.size--
    return states?.pop()
  }
}

const whole = ({ nodes, history, messages }: State): readonly number[] => [...nodes, history, ...messages]

function compare(a: readonly number[], b: readonly number[]): number {
  for (let i = 0; i < a.length && i < b.length; i++) if (a[i] !== b[i]) return a[i]! - b[i]!
  return a.length - b.length
}

/** True if every number of `part`, ascending, is in `all`, ascending. */
function isPart(part: readonly number[], all: readonly number[]): boolean {
  if (part.length > all.length) return false
  let at = 0
  for (const item of part) {
    while (at < all.length && all[at]! < item) at++
    if (all[at++] !== item) return false
  }
  return true
}

function require(holds: boolean, says: string): void {
  if (!holds) throw new Error(says)
}

/** Log Matching: where two logs have an entry of one term at one index, they are equal up to there. */
function requireMatching(a: readonly number[], b: readonly number[]): void {
  let equal = true
  for (let i = 0; i < a.length && i < b.length; i++) {
    require(equal || a[i] !== b[i], `Log Matching: two logs differ below index ${i + 1}, of term ${a[i]} in both`)
    equal &&= a[i] === b[i]
  }
}

/**
 * Checks recorded histories of concurrent clients: is there one order of all operations that a single copy would have
 * answered in the same way, and that puts an operation before another if it had ended before the other began?
 * (M. P. Herlihy, J. M. Wing, "Linearizability", 1990.)
 *
 * The search is Wing and Gong's with Lowe's memory of configurations (G. Lowe, "Testing for linearizability", 2017), as
 * in Knossos and Porcupine: what matters of a partial order is only which operations it holds and the state they left.
 * A history over many keys is linearizable if that of each key is, so each is checked by itself.
 *
 * Invariant: an operation without a known end may take effect at any time after its call, or never.
 */

/** One operation as its client saw it. */
export interface Operation<Input, Output> {
  /** For the report. */
  readonly client: string
  readonly input: Input
  /** Undefined: nobody knows whether it took effect. */
  readonly output: Output | undefined
  /** Any clock that all clients share. Operations with a common moment are concurrent. */
  readonly calledAt: number
  /** Ignored if there is no output. */
  readonly returnedAt: number
}

/** What a single copy would do. */
export interface Model<State, Input, Output> {
  readonly initial: State
  /** The state after an operation; undefined if it can't have answered so. Without `output` any answer is possible. */
  step(state: State, input: Input, output: Output | undefined): State | undefined
  /** Equal for equal states only. */
  keyOf(state: State): string
}

export type LinearizabilityVerdict<Input, Output> =
  | { readonly linearizable: true }
  | {
      readonly linearizable: false
      /** The longest order that was found. */
      readonly order: readonly Operation<Input, Output>[]
      /** Those that fit nowhere behind it; the first to end is the one to look at. */
      readonly stuck: readonly Operation<Input, Output>[]
    }

/** A call or a return in the list of what is not ordered yet. */
interface Event {
  /** Position of its operation in the history. */
  readonly of: number
  /** Of a call: the return, if there was one. Of a return: undefined. */
  readonly returns: Event | undefined
  readonly isCall: boolean
  previous: Event | undefined
  next: Event | undefined
}

/**
 * Looks for an order.
 * @param options.configurationsMax - default 5,000,000; about 100 bytes each.
 * @throws RangeError if that many configurations did not decide: record shorter histories or more keys.
 */
export function checkLinearizable<State, Input, Output>(
  model: Model<State, Input, Output>,
  history: readonly Operation<Input, Output>[],
  { configurationsMax = 5_000_000 }: { readonly configurationsMax?: number } = {},
): LinearizabilityVerdict<Input, Output> {
  const head = eventsOf(history)
  let unfinished = history.filter(({ output }) => output !== undefined).length
  const ordered = new Uint32Array(Math.ceil(history.length / 32))
  const seen = new Set<string>()
  const path: { readonly event: Event; readonly before: State }[] = []
  let longest: readonly number[] = []
  let state = model.initial

  for (let event = head.next; unfinished > 0;) {
    if (event?.isCall === true) {
      const { input, output } = history[event.of]!
      const after = model.step(state, input, output)
      if (after !== undefined) {
        flip(ordered, event.of)
        const configuration = `${ordered.join()} ${model.keyOf(after)}`
        if (!seen.has(configuration)) {
          if (seen.size === configurationsMax) {
            throw new RangeError(`${configurationsMax} configurations did not decide a history of ${history.length}`)
          }
          seen.add(configuration)
          path.push({ event, before: state })
          state = after
          lift(event)
          if (output !== undefined) unfinished--
          event = head.next
          continue
        }
        flip(ordered, event.of)
      }
      event = event.next
      continue
    }
    // An operation has ended that could not be placed before its end.
    if (path.length > longest.length) longest = path.map((step) => step.event.of)
    const last = path.pop()
    if (last === undefined) return failure(history, longest)
    state = last.before
    flip(ordered, last.event.of)
    unlift(last.event)
    if (history[last.event.of]!.output !== undefined) unfinished++
    event = last.event.next
  }
  return { linearizable: true }
}

/** A list of calls and returns in order of time, behind a head that is neither. At one moment, calls come first. */
function eventsOf(history: readonly Operation<unknown, unknown>[]): { next: Event | undefined } {
  const timed: { readonly at: number; readonly event: Event }[] = []
  history.forEach(({ calledAt, returnedAt, output }, of) => {
    if (!(calledAt <= returnedAt)) throw new RangeError(`operation ${of} returned before it was called`)
    const link = { previous: undefined, next: undefined }
    const returns = output === undefined ? undefined : { of, returns: undefined, isCall: false, ...link }
    timed.push({ at: calledAt, event: { of, returns, isCall: true, ...link } })
    if (returns !== undefined) timed.push({ at: returnedAt, event: returns })
  })
  timed.sort((a, b) => a.at - b.at || Number(b.event.isCall) - Number(a.event.isCall))
  const head: Event = { of: -1, returns: undefined, isCall: false, previous: undefined, next: undefined }
  let last = head
  for (const { event } of timed) {
    last.next = event
    event.previous = last
    last = event
  }
  return head
}

function flip(bits: Uint32Array, at: number): void {
  bits[at >> 5]! ^= 1 << (at & 31)
}

/** Takes an operation out of the list. */
function lift(call: Event): void {
  for (const event of call.returns === undefined ? [call] : [call, call.returns]) {
    event.previous!.next = event.next
    if (event.next !== undefined) event.next.previous = event.previous
  }
}

/** Puts it back; in the reverse order of {@link lift}. */
function unlift(call: Event): void {
  for (const event of call.returns === undefined ? [call] : [call.returns, call]) {
    event.previous!.next = event
    if (event.next !== undefined) event.next.previous = event
  }
}

function failure<Input, Output>(
  history: readonly Operation<Input, Output>[],
  longest: readonly number[],
): LinearizabilityVerdict<Input, Output> {
  const placed = new Set(longest)
  const left = history.filter((_, at) => !placed.has(at))
  const firstEnd = Math.min(...left.filter(({ output }) => output !== undefined).map(({ returnedAt }) => returnedAt))
  const stuck = left.filter(({ calledAt }) => calledAt <= firstEnd).sort((a, b) => a.returnedAt - b.returnedAt)
  return { linearizable: false, order: longest.map((at) => history[at]!), stuck }
}

// Registers

export type RegisterInput = { readonly type: 'put'; readonly value: string } | { readonly type: 'get' }
/** Of a put: `{}`. */
export interface RegisterOutput {
  readonly value?: string | undefined
}
export type RegisterOperation = Operation<RegisterInput, RegisterOutput>

/** One value, none at first. */
export const registerModel: Model<{ readonly value: string | undefined }, RegisterInput, RegisterOutput> = {
  initial: { value: undefined },
  step(state, input, output) {
    if (input.type === 'put') return { value: input.value }
    return output === undefined || output.value === state.value ? state : undefined
  },
  keyOf: ({ value }) => (value === undefined ? '' : `=${value}`),
}

/**
 * Checks the history of one register. Gets without an answer say nothing, and a put that nobody is known to have seen
 * and whose outcome is unknown may as well never have happened: both are left out, since each would double the search.
 */
export function checkRegister(
  history: readonly RegisterOperation[],
): LinearizabilityVerdict<RegisterInput, RegisterOutput> {
  const got = new Set(history.map(({ input, output }) => (input.type === 'get' ? output?.value : undefined)))
  const telling = history.filter(
    ({ input, output }) => output !== undefined || (input.type === 'put' && got.has(input.value)),
  )
  return checkLinearizable(registerModel, telling)
}

// Logs

export type LogInput = { readonly type: 'append'; readonly value: string } | { readonly type: 'read' }
export type LogOutput =
  /** Of an append: how many entries stand before it. */
  | { readonly position: number }
  /** Of a read: all entries. */
  | { readonly values: readonly string[] }
export type LogOperation = Operation<LogInput, LogOutput>

/** Values in the order in which they were appended. */
export const logModel: Model<readonly string[], LogInput, LogOutput> = {
  initial: [],
  step(state, input, output) {
    if (input.type === 'append') {
      if (output !== undefined && !('position' in output && output.position === state.length)) return undefined
      return [...state, input.value]
    }
    if (output === undefined) return state
    const same = 'values' in output && output.values.length === state.length
    return same && output.values.every((value, at) => value === state[at]) ? state : undefined
  },
  keyOf: (state) => JSON.stringify(state),
}

// Reports

/** One line for each operation, in the order given. */
export function showOperations(operations: readonly Operation<unknown, unknown>[]): string {
  return operations
    .map(({ client, input, output, calledAt, returnedAt }) => {
      const end = output === undefined ? 'no answer' : `${returnedAt.toFixed(3)} ${JSON.stringify(output)}`
      return `${client}: ${JSON.stringify(input)}, called ${calledAt.toFixed(3)}, ${end}`
    })
    .join('\n')
}

import { describe, expect, it } from 'vitest'
import {
  checkLinearizable,
  checkRegister,
  logModel,
  registerModel,
  showOperations,
  type LogInput,
  type LogOperation,
  type LogOutput,
  type Model,
  type Operation,
  type RegisterInput,
  type RegisterOperation,
  type RegisterOutput,
} from './linearizability.ts'
import { Prng } from './prng.ts'

/** `put a` or `get a`, `get -` for nothing, `put a?` for an outcome nobody knows; from and to when. */
function register(...lines: readonly (readonly [text: string, from: number, to: number])[]): RegisterOperation[] {
  return lines.map(([text, calledAt, returnedAt], n) => {
    const [, type, value, unknown] = /^(put|get) (.*?)(\?)?$/.exec(text)!
    const input: RegisterInput = type === 'put' ? { type, value: value! } : { type: 'get' }
    const answer = type === 'put' ? {} : { value: value === '-' ? undefined : value }
    return { client: `c${n}`, input, output: unknown === undefined ? answer : undefined, calledAt, returnedAt }
  })
}

const appended = (value: string, position: number | undefined, calledAt: number, returnedAt: number): LogOperation => ({
  client: 'c',
  input: { type: 'append', value },
  output: position === undefined ? undefined : { position },
  calledAt,
  returnedAt,
})
const read = (values: string, calledAt: number, returnedAt: number): LogOperation => ({
  client: 'c',
  input: { type: 'read' },
  output: { values: [...values] },
  calledAt,
  returnedAt,
})

describe('a register', () => {
  it.each<[string, RegisterOperation[]]>([
    ['nothing happens', []],
    ['one after the other', register(['get -', 0, 1], ['put a', 2, 3], ['get a', 4, 5])],
    ['a get sees a put that goes on', register(['put a', 0, 9], ['get a', 1, 2])],
    ['a get misses a put that goes on', register(['put a', 0, 9], ['get -', 1, 2], ['get a', 3, 4])],
    // Herlihy and Wing, fig. 1, as a register: what overlaps may come in either order.
    ['two puts at once', register(['put a', 0, 5], ['put b', 1, 6], ['get b', 7, 8], ['get b', 9, 10])],
    ['two puts at once, the other way', register(['put a', 0, 5], ['put b', 1, 6], ['get a', 7, 8])],
    ['a put without an answer that took effect late', register(['put a?', 0, 1], ['get -', 2, 3], ['get a', 4, 5])],
    ['a put without an answer that never did', register(['put b', 0, 1], ['put a?', 2, 3], ['get b', 4, 5])],
    ['a moment in common is no order', register(['put a', 0, 1], ['get -', 1, 2])],
    ['a get without an answer', register(['put a', 0, 1], ['get b?', 2, 3], ['get a', 4, 5])],
  ])('is linearizable: %s', (_, history) => {
    expect(checkRegister(history)).toEqual({ linearizable: true })
  })

  it.each<[string, RegisterOperation[]]>([
    ['a stale read', register(['put a', 0, 1], ['put b', 2, 3], ['get a', 4, 5])],
    ['a lost write', register(['put a', 0, 1], ['get -', 2, 3])],
    ['a value that nobody put', register(['put a', 0, 1], ['get b', 2, 3])],
    ['a read goes back', register(['put a', 0, 9], ['get a', 1, 2], ['get -', 3, 4])],
    [
      'two readers see two puts in two orders',
      [...register(['put a', 0, 9], ['put b', 0, 9]), ...register(['get a', 10, 11], ['get b', 12, 13])],
    ],
    ['a read before its write', register(['get a', 0, 1], ['put a', 2, 3])],
    [
      'a put without an answer takes effect twice',
      register(['put a?', 0, 1], ['get a', 2, 3], ['put b', 4, 5], ['get b', 6, 7], ['get a', 8, 9]),
    ],
    ['a put without an answer takes effect before its call', register(['get a', 0, 1], ['put a?', 2, 3])],
  ])('is not linearizable: %s', (_, history) => {
    expect(checkRegister(history)).toMatchObject({ linearizable: false })
  })

  it('says what it got stuck at', () => {
    const history = register(['put a', 0, 1], ['put b', 2, 3], ['get a', 4, 5], ['get b', 6, 7])
    const verdict = checkRegister(history)
    expect(verdict).toEqual({ linearizable: false, order: history.slice(0, 2), stuck: [history[2]] })
    expect(showOperations(history.slice(2, 3))).toBe('c2: {"type":"get"}, called 4.000, 5.000 {"value":"a"}')
  })

  it('decides a long history with many unknown outcomes', () => {
    const { history, last } = longHistory(2000)
    expect(checkRegister(history)).toEqual({ linearizable: true })
    // A value that was overwritten long ago.
    const stale = register(['get v0', last + 1, last + 2])
    expect(checkRegister([...history, ...stale])).toMatchObject({ linearizable: false, stuck: stale })
  })

  it('gives up with a word, not with all memory', () => {
    const puts = Array.from({ length: 30 }, (_, n): [string, number, number] => [`put ${n}`, 0, 100])
    const history = register(...puts, ['get none', 0, 100])
    expect(() => checkLinearizable(registerModel, history, { configurationsMax: 1000 })).toThrow(
      /^1000 configurations did not decide a history of 31$/,
    )
  })
})

/** Five clients on one register that is truly atomic; some never hear of their puts. */
function longHistory(length: number): { history: RegisterOperation[]; last: number } {
  const random = new Prng(7)
  const history: RegisterOperation[] = []
  const freeAt = [0, 0, 0, 0, 0]
  let value: string | undefined
  for (let n = 0; n < length; n++) {
    // It takes effect at n, somewhere between its call and its return.
    const client = freeAt.findIndex((at) => at < n)
    if (client === -1) continue
    const calledAt = Math.max(freeAt[client]!, n - random.float() * 3)
    const returnedAt = n + random.float() * 3
    freeAt[client] = returnedAt
    const isPut = random.chance(0.5)
    if (isPut) value = `v${n}`
    const input: RegisterInput = isPut ? { type: 'put', value: value! } : { type: 'get' }
    const output = isPut ? {} : { value }
    const unknown = random.chance(0.05)
    history.push({ client: `c${client}`, input, output: unknown ? undefined : output, calledAt, returnedAt })
  }
  return { history, last: length + 10 }
}

describe('a log', () => {
  it.each<[string, LogOperation[]]>([
    ['in order', [appended('a', 0, 0, 1), appended('b', 1, 2, 3), read('ab', 4, 5)]],
    ['two at once', [appended('a', 1, 0, 5), appended('b', 0, 0, 5), read('ba', 6, 7)]],
    ['no answer, and there', [appended('a', undefined, 0, 1), appended('b', 1, 2, 3), read('ab', 4, 5)]],
    ['no answer, and not there', [appended('a', undefined, 0, 1), appended('b', 0, 2, 3), read('b', 4, 5)]],
  ])('is linearizable: %s', (_, history) => {
    expect(checkLinearizable(logModel, history)).toEqual({ linearizable: true })
  })

  it.each<[string, LogOperation[]]>([
    ['against the order of time', [appended('a', 1, 0, 1), appended('b', 0, 2, 3)]],
    ['an entry is lost', [appended('a', 0, 0, 1), appended('b', 1, 2, 3), read('b', 4, 5)]],
    ['an entry stands there twice', [appended('a', 0, 0, 1), read('aa', 2, 3)]],
    ['two get one position', [appended('a', 0, 0, 5), appended('b', 0, 0, 5)]],
    ['a read goes back', [appended('a', 0, 0, 1), appended('b', undefined, 0, 9), read('ab', 2, 3), read('a', 4, 5)]],
  ])('is not linearizable: %s', (_, history) => {
    expect(checkLinearizable(logModel, history)).toMatchObject({ linearizable: false })
  })
})

/** Tries every order of every set that holds all operations with an answer. */
function bruteForce<State, Input, Output>(
  model: Model<State, Input, Output>,
  history: readonly Operation<Input, Output>[],
): boolean {
  const tryNext = (state: State, left: readonly Operation<Input, Output>[]): boolean => {
    if (left.every(({ output }) => output === undefined)) return true
    return left.some((operation) => {
      // Nothing that is still to come may have ended before this one began.
      const late = left.some(({ output, returnedAt }) => output !== undefined && returnedAt < operation.calledAt)
      const after = late ? undefined : model.step(state, operation.input, operation.output)
      return (
        after !== undefined &&
        tryNext(
          after,
          left.filter((other) => other !== operation),
        )
      )
    })
  }
  return tryNext(model.initial, history)
}

describe('small histories at random', () => {
  /** Times and answers at random: some histories are linearizable, some are not. */
  function randomHistory<Input, Output>(
    random: Prng,
    make: (n: number) => { readonly input: Input; readonly output: Output },
  ): Operation<Input, Output>[] {
    return Array.from({ length: random.between(1, 6) }, (_, n) => {
      const calledAt = random.between(0, 8)
      const { input, output } = make(n)
      const known = random.chance(0.8)
      const returnedAt = calledAt + random.between(0, 5)
      return { client: `c${n}`, input, output: known ? output : undefined, calledAt, returnedAt }
    })
  }

  it('of registers are judged as by trying every order', () => {
    const random = new Prng(1)
    const verdicts = { good: 0, bad: 0 }
    for (let round = 0; round < 5000; round++) {
      const history = randomHistory<RegisterInput, RegisterOutput>(random, () => {
        const value = random.pick(['a', 'b'])
        if (random.chance(0.5)) return { input: { type: 'put', value }, output: {} }
        return { input: { type: 'get' }, output: { value: random.chance(0.2) ? undefined : value } }
      })
      const expected = bruteForce(registerModel, history)
      const context = `round ${round}\n${showOperations(history)}`
      expect(checkLinearizable(registerModel, history).linearizable, context).toBe(expected)
      expect(checkRegister(history).linearizable, context).toBe(expected)
      verdicts[expected ? 'good' : 'bad']++
    }
    expect(Math.min(verdicts.good, verdicts.bad)).toBeGreaterThan(1000)
  })

  it('of logs are judged as by trying every order', () => {
    const random = new Prng(2)
    const verdicts = { good: 0, bad: 0 }
    for (let round = 0; round < 5000; round++) {
      const history = randomHistory<LogInput, LogOutput>(random, (n) => {
        if (random.chance(0.7)) {
          return { input: { type: 'append', value: String(n) }, output: { position: random.between(0, 2) } }
        }
        const values = random.shuffle(['0', '1', '2']).slice(0, random.between(0, 3))
        return { input: { type: 'read' }, output: { values } }
      })
      const expected = bruteForce(logModel, history)
      const context = `round ${round}\n${showOperations(history)}`
      expect(checkLinearizable(logModel, history).linearizable, context).toBe(expected)
      verdicts[expected ? 'good' : 'bad']++
    }
    expect(Math.min(verdicts.good, verdicts.bad)).toBeGreaterThan(500)
  })
})

import { describe, expect, it } from 'vitest'
import { Prng } from '../prng.ts'
import { checkRegister, type Operation } from './history-checker.ts'

const write = (value: string, invokedAt: number, returnedAt = Infinity): Operation => ({
  kind: 'write',
  client: 'w',
  key: 'k',
  value,
  invokedAt,
  returnedAt,
})
const read = (value: string | undefined, invokedAt: number, returnedAt: number): Operation => ({
  kind: 'read',
  client: 'r',
  key: 'k',
  value,
  invokedAt,
  returnedAt,
})

/** The definition, tried out: some order of all operations that respects real time and in which reads see the last write. */
function linearizableBySearch(operations: readonly Operation[], order: readonly string[]): boolean {
  const pending = operations.filter(({ kind, value, returnedAt }) =>
    kind === 'write' ? order.includes(value!) : returnedAt !== Infinity,
  )
  const search = (left: readonly Operation[], written: number): boolean => {
    if (left.length === 0) return written === order.length
    return left.some((next) => {
      if (left.some((other) => other.returnedAt < next.invokedAt)) return false
      const rest = left.filter((other) => other !== next)
      if (next.kind === 'write') return order[written] === next.value && search(rest, written + 1)
      return next.value === order[written - 1] && search(rest, written)
    })
  }
  return search(pending, 0)
}

describe('checkRegister()', () => {
  it('accepts reads that see what was there', () => {
    const history = [write('a', 1, 2), read('a', 3, 4), write('b', 5, 9), read('a', 6, 7), read('b', 6, 8)]
    expect(() => checkRegister('k', history, ['a', 'b'])).not.toThrow()
  })

  const bad: [string, Operation[], string[]][] = [
    ['a stale read', [write('a', 1, 2), write('b', 3, 4), read('a', 5, 6)], ['a', 'b']],
    ['a read of nothing after a write', [write('a', 1, 2), read(undefined, 3, 4)], ['a']],
    ['reads that go back', [write('a', 1, 2), write('b', 3), read('b', 4, 5), read('a', 6, 7)], ['a', 'b']],
    ['a read from the future', [read('a', 1, 2), write('a', 3, 4)], ['a']],
    ['writes against real time', [write('a', 1, 2), write('b', 3, 4)], ['b', 'a']],
    ['a lost acknowledged write', [write('a', 1, 2)], []],
    ['a value that nobody wrote', [read('x', 1, 2)], []],
    ['a write applied twice', [write('a', 1, 2)], ['a', 'a']],
  ]
  it.each(bad)('refuses %s', (_name, history, order) => {
    expect(() => checkRegister('k', history, order)).toThrow()
  })

  it('agrees with the definition on random histories', () => {
    const prng = new Prng(7)
    const seen = { yes: 0, no: 0 }
    for (let run = 0; run < 3000; run++) {
      const values = ['a', 'b', 'c'].slice(0, prng.between(1, 3))
      const times = (): [number, number] => {
        const from = prng.between(0, 12)
        return [from, from + prng.between(0, 5) + 0.5]
      }
      const operations = values.map((value) => write(value, ...times()))
      for (let reads = prng.between(0, 3); reads > 0; reads--) {
        operations.push(read(prng.chance(0.2) ? undefined : prng.pick(values), ...times()))
      }
      const order = prng.shuffle(values)
      const expected = linearizableBySearch(operations, order)
      let found = true
      try {
        checkRegister('k', operations, order)
      } catch {
        found = false
      }
      expect(found).toBe(expected)
      seen[expected ? 'yes' : 'no']++
    }
    expect(Math.min(seen.yes, seen.no)).toBeGreaterThan(200)
  })
})

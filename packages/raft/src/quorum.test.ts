import { describe, expect, it } from 'vitest'
import { committedIndex, isQuorum, majority, voteResult } from './quorum.ts'

/** Every way to give each of `count` voters one of `values`. */
function assignments<T>(count: number, values: readonly T[]): T[][] {
  if (count === 0) return [[]]
  return assignments(count - 1, values).flatMap((rest) => values.map((value) => [...rest, value]))
}

const sizes = [1, 2, 3, 4, 5]

/** Naive: two sets of that size always meet, and one voter fewer would not do. */
it.each(sizes)('majority(%i) is the smallest size of which any two sets meet', (count) => {
  expect(2 * majority(count)).toBeGreaterThan(count)
  expect(2 * (majority(count) - 1)).toBeLessThanOrEqual(count)
})

describe.each(sizes)('of %i voters', (count) => {
  const voters = Array.from({ length: count }, (_, i) => i)

  it('committedIndex() is the largest index that more than half have reached', () => {
    for (const matches of assignments(count, [0, 2, 9, 10])) {
      const naive = [10, 9, 2, 0].find((index) => matches.filter((match) => match >= index).length > count / 2)
      expect(committedIndex(voters, (voter) => matches[voter]!)).toBe(naive)
    }
  })

  it('voteResult() and isQuorum() count more than half', () => {
    for (const answers of assignments(count, [true, false, undefined])) {
      const votes = new Map(answers.flatMap((answer, i) => (answer === undefined ? [] : [[i, answer] as const])))
      const granted = answers.filter((answer) => answer === true).length
      const possible = answers.filter((answer) => answer !== false).length
      const naive = granted > count / 2 ? 'won' : possible > count / 2 ? 'pending' : 'lost'
      expect(voteResult(voters, votes)).toBe(naive)
      expect(isQuorum(voters, (voter) => answers[voter] === true)).toBe(naive === 'won')
    }
  })
})

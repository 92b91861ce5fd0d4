import { type CipherlogError } from '@cipherlog/core'
import { describe, expect, it } from 'vitest'
import { CostBudget } from './cost-budget.ts'

function budgetOf(costMsMax: number): {
  budget: CostBudget
  clock: { ms: number }
  busy: (owner: string, costMs: number) => CipherlogError | undefined
} {
  const clock = { ms: 0 }
  const budget = new CostBudget(costMsMax, () => clock.ms)
  return {
    budget,
    clock,
    busy(owner, costMs) {
      try {
        budget.take(owner, costMs)
        return undefined
      } catch (error) {
        return error as CipherlogError
      }
    },
  }
}

describe('CostBudget', () => {
  it('admits up to the bound and refuses one past it, with a time to come back', () => {
    const { budget, busy } = budgetOf(200)
    for (let i = 0; i < 4; i++) budget.take('a', 50)
    expect(budget.total).toBe(200)
    expect(busy('a', 0.01)).toMatchObject({ code: 'ERR_BUSY', details: { retryAfterMs: 200 } })
  })

  it('takes more when work is given back, and comes back to exactly nothing', () => {
    const { budget, busy } = budgetOf(1)
    const given = Array.from({ length: 10 }, () => budget.take('a', 0.1))
    expect(busy('a', 0.1)?.code).toBe('ERR_BUSY')
    given.pop()!()
    budget.take('a', 0.1)()
    for (const giveBack of given) giveBack()
    expect(budget.total).toBe(0)
  })

  it('admits work above the whole bound, alone', () => {
    const { budget, busy } = budgetOf(200)
    const giveBack = budget.take('a', 1280)
    expect(busy('a', 1)?.details['retryAfterMs']).toBe(1000)
    expect(busy('b', 1)?.code).toBe('ERR_BUSY')
    giveBack()
    expect(busy('b', 1)).toBeUndefined()
  })

  it('leaves half to others while they wait', () => {
    const { budget, busy } = budgetOf(200)
    const greedy = Array.from({ length: 200 }, () => budget.take('greedy', 1))
    expect(busy('modest', 10)?.code).toBe('ERR_BUSY')
    greedy.pop()!()
    // What is freed is kept for who was refused.
    expect(busy('greedy', 1)?.code).toBe('ERR_BUSY')
    for (let i = 0; i < 9; i++) greedy.pop()!()
    expect(busy('modest', 10)).toBeUndefined()
    expect(busy('greedy', 1)?.code).toBe('ERR_BUSY')
    while (greedy.length > 99) greedy.pop()!()
    expect(busy('greedy', 1)).toBeUndefined()
    expect(busy('greedy', 1)?.code).toBe('ERR_BUSY')
  })

  it('lets a large bundle in once the others hold no more than half', () => {
    const { budget, busy } = budgetOf(200)
    const greedy = Array.from({ length: 101 }, () => budget.take('greedy', 1))
    expect(busy('large', 1280)?.code).toBe('ERR_BUSY')
    greedy.pop()!()
    expect(busy('large', 1280)).toBeUndefined()
  })

  it('gives the whole bound to one again when nobody waited for a second', () => {
    const { budget, clock, busy } = budgetOf(200)
    const greedy = Array.from({ length: 200 }, () => budget.take('greedy', 1))
    expect(busy('modest', 10)?.code).toBe('ERR_BUSY')
    for (let i = 0; i < 50; i++) greedy.pop()!()
    expect(busy('greedy', 1)?.code).toBe('ERR_BUSY')
    clock.ms = 1001
    expect(busy('greedy', 1)).toBeUndefined()
  })
})

import { describe, expect, it } from 'vitest'
import { Inflights } from './inflights.ts'

describe('Inflights', () => {
  it('is full at the limit of messages, not one before', () => {
    const inflights = new Inflights(2, 1000)
    inflights.add(1, 1)
    expect(inflights.full).toBe(false)
    inflights.add(2, 1)
    expect(inflights.full).toBe(true)
    expect(() => inflights.add(3, 1)).toThrow('full window')
  })

  it('is full at the limit of bytes, which the last message may overshoot', () => {
    const inflights = new Inflights(10, 100)
    inflights.add(1, 99)
    expect(inflights.full).toBe(false)
    inflights.add(2, 99)
    expect(inflights.full).toBe(true)
  })

  it('frees messages that end at or before the acknowledged index, with their bytes', () => {
    const inflights = new Inflights(3, 100)
    for (const index of [10, 20, 30]) inflights.add(index, 33)
    inflights.freeUpTo(9)
    expect(inflights.count).toBe(3)
    inflights.freeUpTo(20)
    expect(inflights.count).toBe(1)
    inflights.add(40, 60)
    expect(inflights.full).toBe(false)
    inflights.add(50, 7)
    expect(inflights.full).toBe(true)
    inflights.clear()
    expect([inflights.count, inflights.full]).toEqual([0, false])
  })
})

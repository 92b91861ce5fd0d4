import { describe, expect, it } from 'vitest'
import { RaftLog } from './log.ts'
import { initialTimeMs, refOf, refsOf } from './raft.fixture.ts'

function logOf(terms: readonly number[]): RaftLog {
  const log = new RaftLog(initialTimeMs)
  for (const ref of refsOf(terms)) log.append(ref)
  return log
}

describe('RaftLog', () => {
  it('starts empty, at index 0 of term 0 and the initial time', () => {
    const log = new RaftLog(77)
    expect([log.lastIndex, log.lastTerm, log.lastTime, log.term(0), log.term(1)]).toEqual([0, 0, 77, 0, undefined])
  })

  it('gives back what was appended, across chunks and truncations', () => {
    const log = new RaftLog(0)
    const refs = Array.from({ length: 10_000 }, (_, i) => ({
      ...refOf(1 + Math.floor(i / 3000), i + 1, i),
      time: i * 2 ** 20,
    }))
    for (const ref of refs) log.append(ref)
    expect(log.slice(1, 10_001)).toEqual(refs)
    log.truncateFrom(4097)
    expect([log.lastIndex, log.term(4097)]).toEqual([4096, undefined])
    log.truncateFrom(4000)
    const other = refOf(9, 4000)
    log.append(other)
    expect(log.slice(3999, 4001)).toEqual([refs[3998], other])
    expect(log.payloadBytes(4000)).toBe(other.bytes)
  })

  it('hands out digests that later writes do not change', () => {
    const log = logOf([1, 1])
    const ref = log.ref(2)
    log.truncateFrom(2)
    log.append(refOf(5, 2))
    expect(ref).toEqual(refOf(1, 2))
  })

  it('refuses gaps, falling terms, and reads or truncations outside', () => {
    const log = logOf([2, 2])
    expect(() => log.append(refOf(2, 4))).toThrow('does not follow')
    expect(() => log.append(refOf(1, 3))).toThrow('lower term')
    for (const index of [0, 3]) {
      expect(() => log.ref(index)).toThrow('outside the log')
      expect(() => log.truncateFrom(index)).toThrow('outside the log')
    }
  })

  it('findConflictByTerm() agrees with a plain search from behind', () => {
    const terms = [1, 1, 3, 3, 3, 7, 9, 9]
    const log = logOf(terms)
    for (let index = 0; index <= 10; index++) {
      for (let term = 0; term <= 10; term++) {
        let naive = Math.min(index, terms.length)
        while (naive > 0 && terms[naive - 1]! > term) naive--
        expect(log.findConflictByTerm(index, term), `${index}, ${term}`).toBe(naive)
      }
    }
  })

  it('findConflict() is the first entry it does not hold', () => {
    const log = logOf([1, 2, 2])
    expect(log.findConflict(refsOf([1, 2, 2]))).toBe(-1)
    expect(log.findConflict(refsOf([1, 2, 2, 2]))).toBe(3)
    expect(log.findConflict(refsOf([1, 3, 3]))).toBe(1)
    expect(log.findConflict([])).toBe(-1)
  })

  it('holds a million refs in less than 100 MB', () => {
    const before = process.memoryUsage()
    const log = new RaftLog(0)
    const ref = { ...refOf(1, 1) }
    for (let index = 1; index <= 1_000_000; index++) log.append({ ...ref, index })
    const after = process.memoryUsage()
    expect(log.lastIndex).toBe(1_000_000)
    expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(100e6)
    expect(after.arrayBuffers - before.arrayBuffers).toBeGreaterThan(50e6)
  })
})

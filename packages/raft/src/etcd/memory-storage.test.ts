import { describe, expect, test } from 'vitest'
import { MemoryStorage } from './memory-storage.ts'
import { emptyConfState, type Entry, type Snapshot } from './types.ts'

const entry = (index: number, term: number): Entry => ({ index, term, type: 'EntryNormal', data: new Uint8Array(0) })
const snapshot = (index: number, term: number): Snapshot => ({
  data: new Uint8Array(0),
  metadata: { confState: emptyConfState, index, term },
})
const outside = expect.objectContaining({ code: 'ERR_RAFT_STORAGE_RANGE' })

describe('MemoryStorage', () => {
  test('append() replaces the end of the log', () => {
    const storage = new MemoryStorage()
    storage.append([entry(1, 1), entry(2, 1), entry(3, 1)])
    storage.append([entry(2, 2)])
    expect(storage.entries(1, 3)).toEqual([entry(1, 1), entry(2, 2)])
    expect(storage.lastIndex()).toBe(2)
  })

  test('append() refuses a gap', () => {
    expect(() => {
      new MemoryStorage().append([entry(2, 1)])
    }).toThrow(outside)
  })

  test('append() leaves out what was compacted', () => {
    const storage = new MemoryStorage()
    storage.applySnapshot(snapshot(5, 2))
    storage.append([entry(5, 2), entry(6, 2)])
    expect([storage.firstIndex(), storage.lastIndex()]).toEqual([6, 6])
  })

  test('compact() keeps the term of what it forgets last, and nothing before', () => {
    const storage = new MemoryStorage()
    storage.append([entry(1, 1), entry(2, 3), entry(3, 3)])
    storage.compact(2)
    expect(storage.firstIndex()).toBe(3)
    expect(storage.term(2)).toBe(3)
    expect(() => storage.term(1)).toThrow(outside)
    expect(() => {
      storage.compact(2)
    }).toThrow(outside)
    expect(() => {
      storage.compact(4)
    }).toThrow(outside)
  })

  test('createSnapshot() keeps the log', () => {
    const storage = new MemoryStorage()
    storage.append([entry(1, 1), entry(2, 3)])
    storage.createSnapshot(2, emptyConfState, Uint8Array.of(1))
    expect(storage.snapshot().metadata).toEqual({ confState: emptyConfState, index: 2, term: 3 })
    expect(storage.firstIndex()).toBe(1)
    for (const index of [2, 3]) {
      expect(() => {
        storage.createSnapshot(index, emptyConfState, Uint8Array.of(1))
      }).toThrow(outside)
    }
  })

  test('applySnapshot() replaces the log, but not by an older state', () => {
    const storage = new MemoryStorage()
    storage.append([entry(1, 1)])
    storage.applySnapshot(snapshot(7, 4))
    expect([storage.firstIndex(), storage.lastIndex(), storage.term(7)]).toEqual([8, 7, 4])
    expect(() => {
      storage.applySnapshot(snapshot(7, 4))
    }).toThrow(outside)
  })
})

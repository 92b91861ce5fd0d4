import { decode } from '@cipherlog/core'
import { entryKinds, mark, markReasons } from '@cipherlog/format'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createdAt } from './cluster.fixture.ts'
import { Marks } from './marks.ts'
import { MemoryReplicator, type MemoryLog } from './memory-replicator.fixture.ts'

describe('Marks', () => {
  let log: MemoryLog
  let replicator: MemoryReplicator
  let marks: Marks
  let openLeaves: number
  beforeEach(() => {
    vi.useFakeTimers({
      toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'setImmediate', 'performance'],
    })
    log = { entries: [], term: 0 }
    replicator = new MemoryReplicator({ log, id: 'me', now: () => createdAt })
    replicator.lead()
    openLeaves = 1
    const clock = { now: () => createdAt, monotonic: () => performance.now() }
    marks = new Marks({ replicator, clock, batchIntervalMs: 80, idleMarkMs: 1000, openLeaves: () => openLeaves })
  })
  afterEach(() => {
    marks.stop()
    replicator.stop()
    vi.useRealTimers()
  })
  const reasons = (): number[] =>
    log.entries.filter(({ kind }) => kind === entryKinds.mark).map(({ payload }) => decode(mark, payload).reason)

  it('closes at once for a receipt, then at most every interval', async () => {
    marks.want()
    await vi.advanceTimersByTimeAsync(1)
    expect(reasons()).toEqual([markReasons.receipt])
    for (let i = 0; i < 7; i++) {
      marks.want()
      await vi.advanceTimersByTimeAsync(10)
    }
    expect(reasons()).toHaveLength(1)
    await vi.advanceTimersByTimeAsync(10)
    expect(reasons()).toHaveLength(2)
    await vi.advanceTimersByTimeAsync(500)
    expect(reasons()).toHaveLength(2)
  })

  it('closes new leaves every idle interval, and writes nothing without them', async () => {
    await vi.advanceTimersByTimeAsync(999)
    expect(reasons()).toEqual([])
    await vi.advanceTimersByTimeAsync(2)
    expect(reasons()).toEqual([markReasons.interval])
    openLeaves = 0
    await vi.advanceTimersByTimeAsync(5000)
    marks.want()
    await vi.advanceTimersByTimeAsync(200)
    expect(reasons()).toHaveLength(1)
  })

  it('marks again for a receipt that was asked for while a mark was under way', async () => {
    replicator.hold()
    marks.want()
    await vi.advanceTimersByTimeAsync(5)
    marks.want()
    await vi.advanceTimersByTimeAsync(300)
    replicator.release()
    await vi.advanceTimersByTimeAsync(100)
    expect(reasons()).toHaveLength(2)
  })

  it('writes nothing where this replica does not lead, nor after it stopped', async () => {
    replicator.depose()
    marks.want()
    await vi.advanceTimersByTimeAsync(3000)
    expect(reasons()).toEqual([])
    replicator.lead()
    marks.stop()
    marks.want()
    await vi.advanceTimersByTimeAsync(3000)
    expect(reasons()).toEqual([])
  })
})

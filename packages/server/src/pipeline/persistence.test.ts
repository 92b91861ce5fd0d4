import { utf8, utf8ToString } from '@cipherlog/core'
import { createMemoryStateStore, type StateMemory, type StateStore } from '@cipherlog/storage'
import { beforeEach, describe, expect, it } from 'vitest'
import { Persistence } from './persistence.ts'

const key = utf8('ledger')
const turns = async (): Promise<void> => {
  for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve))
}

describe('Persistence', () => {
  let memory: StateMemory
  let state: StateStore
  let point: number | undefined
  const persisted: number[] = []
  const faults: unknown[] = []
  const order: string[] = []
  let flush: () => Promise<void>
  let persistence: Persistence

  beforeEach(() => {
    for (const list of [persisted, faults, order]) list.length = 0
    memory = new Map()
    state = createMemoryStateStore(memory)
    flush = () => Promise.resolve()
    persistence = new Persistence({
      trail: {
        flush: async ({ sync }) => {
          order.push(sync ? 'trail synced' : 'trail not synced')
          await flush()
        },
      },
      state: {
        checkpoint: () => state.checkpoint(),
        persist: (batch) => {
          order.push('state')
          return state.persist(batch)
        },
      },
      atBatchRecord: () => (point === undefined ? undefined : { treeSize: point, logIndex: point }),
      onPersisted: ({ treeSize }) => persisted.push(treeSize),
      onFatal: (error) => faults.push(error),
      behindBytesMax: 100,
    })
  })
  /** The ledger closes a batch at this size. */
  function close(treeSize: number): void {
    state.put(key, utf8(String(treeSize)))
    point = treeSize
    persistence.closed()
  }
  const onDisk = (): string | undefined => {
    const [value] = memory.values()
    return value === undefined ? undefined : utf8ToString(value)
  }
  /** Flushes wait for the function that is returned. */
  function holdFlush(): () => void {
    const releases: (() => void)[] = []
    flush = () => new Promise((resolve) => releases.push(resolve))
    return () => {
      flush = () => Promise.resolve()
      for (const release of releases) release()
    }
  }

  it('syncs the trail, then writes the state, then says so', async () => {
    const release = holdFlush()
    close(2)
    await turns()
    expect([order, onDisk(), persisted]).toEqual([['trail synced'], undefined, []])
    release()
    await persistence.idle()
    expect([order, onDisk()]).toEqual([['trail synced', 'state'], '2'])
    expect(persisted).toEqual([2])
  })

  it('writes the state of the batch record, though more is applied meanwhile', async () => {
    const release = holdFlush()
    close(2)
    state.put(key, utf8('in the middle of a batch'))
    point = undefined
    release()
    await persistence.idle()
    expect(onDisk()).toBe('2')
    expect(persisted).toHaveLength(1)
  })

  it('lets batches that closed meanwhile share the next write, to the last of them', async () => {
    const release = holdFlush()
    close(2)
    close(5)
    close(9)
    release()
    await persistence.idle()
    expect(onDisk()).toBe('9')
    expect(persisted).toEqual([2, 9])
  })

  it('waits for the next batch record if one has begun when it could write again', async () => {
    const release = holdFlush()
    close(2)
    close(5)
    state.put(key, utf8('in the middle of a batch'))
    point = undefined
    release()
    await turns()
    expect(onDisk()).toBe('2')
    close(9)
    await persistence.idle()
    expect(onDisk()).toBe('9')
    expect(persisted).toEqual([2, 9])
  })

  it('holds applying back while too many bytes wait for the disk', async () => {
    expect(persistence.room()).toBeUndefined()
    const release = holdFlush()
    close(2)
    persistence.leaf(100)
    expect(persistence.room()).toBeUndefined()
    persistence.leaf(1)
    let room = false
    const waiting = persistence.room()!.then(() => (room = true))
    await turns()
    expect(room).toBe(false)
    release()
    await waiting
  })

  it('stops the node at a failed write, and writes nothing afterwards', async () => {
    flush = () => Promise.reject(new Error('EIO'))
    close(2)
    await persistence.idle()
    expect(faults).toHaveLength(1)
    flush = () => Promise.resolve()
    close(5)
    await turns()
    expect([onDisk(), persisted, faults.length]).toEqual([undefined, [], 1])
  })

  it('begins nothing once it is stopped, and finishes what it began', async () => {
    const release = holdFlush()
    close(2)
    persistence.stop()
    close(5)
    release()
    await persistence.idle()
    expect(onDisk()).toBe('2')
  })
})

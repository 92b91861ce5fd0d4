import { errorCode, utf8, utf8ToString } from '@cipherlog/core'
import { sha256 } from '@cipherlog/crypto/hash'
import { type Message } from '@cipherlog/raft'
import { afterEach, describe, expect, it } from 'vitest'
import { type Leadership, type Replicator } from '../replicator.ts'
import { createdAt } from './cluster.fixture.ts'
import { MemoryReplicator, type MemoryLog } from './memory-replicator.fixture.ts'
import { RaftCluster, type RaftNode } from './raft-cluster.fixture.ts'
import { replicatorContract } from './replicator.contract.fixture.ts'

replicatorContract('one node in memory', () => {
  const log: MemoryLog = { entries: [], term: 0 }
  const leader = new MemoryReplicator({ log, id: 'me', now: () => createdAt })
  leader.lead()
  return Promise.resolve({ leader, followers: [], stop: async () => leader.stop() })
})

for (const names of [['r1'], ['r1', 'r2', 'r3']]) {
  replicatorContract(`Raft, ${names.length} node${names.length > 1 ? 's' : ''}`, async () => {
    const raft = await RaftCluster.start(names)
    const leader = await raft.elect()
    const followers = [...raft.nodes.values()].filter((node) => node !== leader).map(({ replicator }) => replicator)
    await raft.settle()
    // Followers learn the last commit index with a heartbeat.
    const beat = setInterval(() => leader.replicator.tick(), 2)
    return {
      leader: leader.replicator,
      followers,
      stop: async () => {
        clearInterval(beat)
        await raft.stop()
      },
    }
  })
}

describe('RaftReplicator', () => {
  let raft: RaftCluster
  afterEach(() => raft.stop())

  const kind = 3
  const textsOf = async (replicator: Replicator): Promise<string[]> =>
    (await replicator.committed(1, 1 << 20)).map(({ payload }) => utf8ToString(payload))
  const others = (leader: RaftNode): string[] => [...raft.nodes.keys()].filter((name) => name !== leader.name)

  it('acknowledges nothing that a quorum does not hold', async () => {
    raft = await RaftCluster.start(['r1', 'r2', 'r3'])
    const leader = await raft.elect()
    await raft.settle()
    raft.cut(leader.name)
    let settled = false
    void leader.replicator.propose(kind, utf8('alone')).then(() => (settled = true))
    await raft.settle(50)
    expect(settled).toBe(false)
    expect(leader.replicator.status().lastIndex).toBe(leader.replicator.status().commitIndex + 1)
    raft.heal()
    raft.tick()
    await raft.settle(50)
    expect(settled).toBe(true)
  })

  it('answers unknown, not committed, when a successor overwrites an entry', async () => {
    raft = await RaftCluster.start(['r1', 'r2', 'r3'])
    const old = await raft.elect()
    await raft.settle()
    raft.cut(old.name)
    const lost = old.replicator.propose(kind, utf8('lost'))
    const successor = await raft.elect(others(old))
    expect(await successor.replicator.propose(kind, utf8('kept'))).toMatchObject({ outcome: 'committed' })
    raft.heal()
    for (let i = 0; i < 5; i++) {
      raft.tick([successor.name])
      await raft.settle()
    }
    expect(await lost).toEqual({ outcome: 'unknown' })
    expect(await textsOf(old.replicator)).toEqual(await textsOf(successor.replicator))
    expect(await textsOf(old.replicator)).toContain('kept')
  })

  it('answers committed after all when a successor commits the entry', async () => {
    raft = await RaftCluster.start(['r1', 'r2', 'r3'])
    const old = await raft.elect()
    await raft.settle()
    // The followers get the entry, their answers are lost.
    raft.deafen(old.name)
    const proposed = old.replicator.propose(kind, utf8('carried over'))
    await raft.settle()
    raft.cut(old.name)
    const successor = await raft.elect(others(old))
    const texts = await textsOf(successor.replicator)
    expect(texts).toContain('carried over')
    raft.heal()
    for (let i = 0; i < 5; i++) {
      raft.tick([successor.name])
      await raft.settle()
    }
    expect(await proposed).toEqual({ outcome: 'committed', index: texts.indexOf('carried over') + 1 })
  })

  it('confirms no read of a leader that was deposed without knowing it', async () => {
    raft = await RaftCluster.start(['r1', 'r2', 'r3'])
    const old = await raft.elect()
    await raft.settle()
    raft.cut(old.name)
    const reading = old.replicator.readBarrier().then(
      () => 'confirmed',
      (error: unknown) => errorCode(error),
    )
    const successor = await raft.elect(others(old))
    await successor.replicator.propose(kind, utf8('newer'))
    raft.heal()
    for (let i = 0; i < 5; i++) {
      raft.tick([successor.name])
      await raft.settle()
    }
    expect(await reading).toBe('ERR_NOT_LEADER')
    expect(old.replicator.leadingSince()).toBeUndefined()
  })

  it('leads since its own no-op, behind everything that earlier leaders committed', async () => {
    raft = await RaftCluster.start(['r1', 'r2', 'r3'])
    const first = await raft.elect()
    const committed = await first.replicator.propose(kind, utf8('of the first term'))
    await raft.settle()
    raft.cut(first.name)
    const second = await raft.elect(others(first))
    const since = second.replicator.leadingSince()!
    expect(committed).toMatchObject({ outcome: 'committed' })
    expect(since).toBeGreaterThan((committed as { index: number }).index)
    const [noOp] = await second.replicator.committed(since, 1)
    expect(noOp).toMatchObject({ kind: 32, index: since })
  })

  it('takes calls out of a leadership listener, after the effects of the step', async () => {
    raft = await RaftCluster.start(['r1'])
    const node = raft.nodes.get('r1')!
    const seen: Leadership[] = []
    const outcomes: Promise<unknown>[] = []
    node.replicator.onLeadershipChange((leadership) => {
      seen.push(leadership)
      if (leadership.role === 'leader') outcomes.push(node.replicator.propose(kind, utf8('at once')))
    })
    await raft.elect()
    await raft.settle()
    expect(await Promise.all(outcomes)).toEqual([{ outcome: 'committed', index: 2 }])
    expect(await textsOf(node.replicator)).toEqual(['', 'at once'])
    expect(seen.filter(({ role }) => role === 'leader')).toHaveLength(1)
    expect(node.faults).toEqual([])
  })

  it('restarts from its log, and hands out only what it can know to be committed', async () => {
    raft = await RaftCluster.start(['r1'])
    const before = await raft.elect()
    await before.replicator.propose(kind, utf8('kept'))
    await raft.stop()
    const after = await raft.startNode('r1', before.disk)
    expect(after.replicator.leadingSince()).toBeUndefined()
    await raft.elect()
    expect(await textsOf(after.replicator)).toEqual(['', 'kept', ''])
  })

  it('refuses payloads that are not those of their entries, and malformed messages, as the fault of the sender', async () => {
    raft = await RaftCluster.start(['r1', 'r2'])
    const [{ replicator, faults, id }, from] = [raft.nodes.get('r1')!, raft.nodes.get('r2')!.id]
    const ref = { term: 1, index: 1, kind, time: createdAt, bytes: 3, digest: sha256(utf8('abc')) }
    const append: Message = {
      type: 'append',
      from,
      to: id,
      term: 1,
      prevLogIndex: 0,
      prevLogTerm: 0,
      entries: [ref],
      leaderCommit: 0,
    }
    const codeOf = (message: Message, payloads: Uint8Array[]): string | undefined => {
      try {
        replicator.receive(message, payloads)
        return undefined
      } catch (error) {
        return errorCode(error)
      }
    }
    expect(codeOf(append, [])).toBe('ERR_PEER_PAYLOAD')
    expect(codeOf(append, [utf8('abd')])).toBe('ERR_PEER_PAYLOAD')
    expect(codeOf(append, [utf8('abcd')])).toBe('ERR_PEER_PAYLOAD')
    expect(codeOf({ ...append, entries: [{ ...ref, index: 2 }] }, [utf8('abc')])).toBe('ERR_RAFT_MESSAGE')
    expect(replicator.status().lastIndex).toBe(0)
    expect(codeOf(append, [utf8('abc')])).toBeUndefined()
    expect(replicator.status().lastIndex).toBe(1)
    expect(faults).toEqual([])
  })

  it('stops at a failed write, and acknowledges nothing of it', async () => {
    raft = await RaftCluster.start(['r1'])
    const node = await raft.elect()
    node.disk.fault = ({ kind: operation }) => (operation === 'write' ? 'fail' : undefined)
    expect(await node.replicator.propose(kind, utf8('never durable'))).toEqual({ outcome: 'unknown' })
    expect(node.faults.map(errorCode)).toEqual(['ERR_STORAGE_FAILED'])
    node.disk.fault = () => undefined
    expect((await node.replicator.propose(kind, utf8('after'))).outcome).toBe('dropped')
    expect(node.faults).toHaveLength(1)
  })

  it('drops proposals as busy while too much is uncommitted', async () => {
    raft = await RaftCluster.start(['r1', 'r2', 'r3'])
    const leader = await raft.elect()
    await raft.settle()
    raft.cut(leader.name)
    const outcomes: string[] = []
    for (let i = 0; i < 6; i++) {
      void leader.replicator.propose(kind, new Uint8Array(1024 * 1024)).then((outcome) => {
        outcomes.push(outcome.outcome === 'dropped' ? outcome.reason : outcome.outcome)
      })
    }
    await raft.settle()
    expect(outcomes).toEqual(['busy', 'busy'])
  })

  it('sends entries that left its memory from the log, in order', async () => {
    raft = await RaftCluster.start(['r1', 'r2', 'r3'])
    const leader = await raft.elect()
    await raft.settle()
    const [behind] = others(leader)
    raft.cut(behind!)
    for (let i = 0; i < 40; i++) {
      const payload = new Uint8Array(8 * 1024).fill(i)
      expect((await leader.replicator.propose(kind, payload)).outcome).toBe('committed')
    }
    raft.heal()
    const { replicator } = raft.nodes.get(behind!)!
    for (let i = 0; i < 400 && replicator.status().commitIndex < leader.replicator.status().commitIndex; i++) {
      raft.tick([leader.name])
      await raft.settle(10)
    }
    const { commitIndex } = leader.replicator.status()
    expect(replicator.status().commitIndex).toBe(commitIndex)
    const payloads: Uint8Array[] = []
    while (payloads.length < commitIndex) {
      payloads.push(...(await replicator.committed(payloads.length + 1, 1024)).map(({ payload }) => payload))
    }
    expect(payloads.slice(1).map((payload) => [payload.length, payload[0], payload.at(-1)])).toEqual(
      Array.from({ length: 40 }, (_, i) => [8192, i, i]),
    )
  })
})

// Linearizable reads by ReadIndex (Raft §6.4).
import { describe, expect, it } from 'vitest'
import { a, b, c, d, e, TestNode } from './raft.fixture.ts'

function leader(voters = [a, b, c]): TestNode {
  const node = new TestNode({ config: { voters, heartbeatTicks: 5 } })
  node.step({ type: 'campaign' })
  node.persist()
  for (const from of voters.slice(1)) node.receive({ type: 'voteResp', from, granted: true })
  node.persist()
  return node
}

const answer = (node: TestNode, from: string, readContext: number) =>
  node.receive({ type: 'heartbeatResp', from, readContext, clockMs: 0 })

const ready = (node: TestNode) => node.all('readReady').map(({ context, index }) => [context, index])

describe('ReadIndex', () => {
  it('waits for an entry of the own term to commit, then for a round of heartbeats', () => {
    const node = leader()
    node.take()
    node.step({ type: 'readIndex', context: 1 })
    expect(node.sent('heartbeat')).toEqual([])
    node.accept(b, 1)
    const [heartbeat] = node.sent('heartbeat')
    expect(ready(node)).toEqual([])
    answer(node, b, heartbeat!.readContext)
    expect(ready(node)).toEqual([[1, 1]])
  })

  it('serves all reads that waited with one round', () => {
    const node = leader()
    for (const context of [1, 2, 3]) node.step({ type: 'readIndex', context })
    node.accept(b, 1)
    node.take()
    node.tick(5)
    answer(node, c, node.sent('heartbeat')[0]!.readContext)
    expect(ready(node)).toEqual([
      [1, 1],
      [2, 1],
      [3, 1],
    ])
  })

  it('an answer to a heartbeat sent before the read does not serve it', () => {
    const node = leader()
    node.accept(b, 1)
    node.take()
    node.tick(5)
    const before = node.sent('heartbeat')[0]!.readContext
    node.step({ type: 'readIndex', context: 1 })
    answer(node, b, before)
    answer(node, c, before)
    expect(ready(node)).toEqual([])
    answer(node, b, before + 1)
    expect(ready(node)).toEqual([[1, 1]])
  })

  it('a read that arrives during a round is served by the next, at the index it then has', () => {
    const node = leader()
    node.accept(b, 1)
    node.step({ type: 'readIndex', context: 1 })
    const first = node.sent('heartbeat').at(-1)!.readContext
    node.propose(7)
    node.persist()
    node.accept(b, 2)
    node.step({ type: 'readIndex', context: 2 })
    expect(node.sent('heartbeat').at(-1)!.readContext).toBe(first)
    answer(node, b, first)
    expect(ready(node)).toEqual([[1, 1]])
    answer(node, c, first)
    expect(ready(node)).toEqual([[1, 1]])
    const second = node.sent('heartbeat').at(-1)!.readContext
    expect(second).toBe(first + 1)
    answer(node, c, second)
    expect(ready(node)).toEqual([
      [1, 1],
      [2, 2],
    ])
  })

  it('needs a quorum of distinct voters', () => {
    const node = leader([a, b, c, d, e])
    for (const from of [b, c]) node.accept(from, 1)
    node.step({ type: 'readIndex', context: 1 })
    const { readContext } = node.sent('heartbeat').at(-1)!
    answer(node, b, readContext)
    answer(node, b, readContext)
    expect(ready(node)).toEqual([])
    answer(node, d, readContext)
    expect(ready(node)).toEqual([[1, 1]])
  })

  it('a lost heartbeat is made good by the next periodic one', () => {
    const node = leader()
    node.accept(b, 1)
    node.step({ type: 'readIndex', context: 1 })
    const { readContext } = node.sent('heartbeat').at(-1)!
    node.take()
    node.tick(5)
    expect(node.sent('heartbeat')).toMatchObject([{ readContext }, { readContext }])
  })

  it('a single voter answers at once', () => {
    const node = leader([a])
    node.persist()
    node.step({ type: 'readIndex', context: 1 })
    expect(ready(node)).toEqual([[1, 1]])
  })

  it('fails on a follower, with a hint, and for all that wait when leadership ends', () => {
    const node = leader()
    node.accept(b, 1)
    for (const context of [1, 2]) node.step({ type: 'readIndex', context })
    const { readContext } = node.sent('heartbeat').at(-1)!
    node.receive({ type: 'heartbeat', from: c, term: 2, leaderCommit: 0, readContext: 0 })
    node.step({ type: 'readIndex', context: 3 })
    expect(node.all('readFailed')).toEqual([
      { type: 'readFailed', context: 1, leaderId: c },
      { type: 'readFailed', context: 2, leaderId: c },
      { type: 'readFailed', context: 3, leaderId: c },
    ])
    node.receive({ type: 'heartbeatResp', from: b, term: 1, readContext, clockMs: 0 })
    expect(ready(node)).toEqual([])
  })

  it('an answer to an earlier leadership does not serve a read of this one', () => {
    const node = leader()
    node.accept(b, 1)
    node.step({ type: 'readIndex', context: 1 })
    const old = node.sent('heartbeat').at(-1)!.readContext
    node.receive({ type: 'heartbeat', from: c, term: 2, leaderCommit: 0, readContext: 0 })
    node.lead()
    node.accept(b, 2)
    node.step({ type: 'readIndex', context: 2 })
    answer(node, b, old)
    expect(ready(node)).toEqual([])
  })
})

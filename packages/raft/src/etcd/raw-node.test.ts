import { describe, expect, test } from 'vitest'
import { MemoryStorage } from './memory-storage.ts'
import { RawNode } from './raw-node.ts'
import { type Config, type Entry, type Message, messageOf, type MessageType, type Ready } from './types.ts'

const data = (text: string): Uint8Array => new TextEncoder().encode(text)
const text = ({ data }: Pick<Entry, 'data'>): string => new TextDecoder().decode(data)
const coded = (code: string): unknown => expect.objectContaining({ code })

interface Host {
  readonly raw: RawNode
  readonly storage: MemoryStorage
  readonly applied: string[]
  readonly reads: [string, number][]
}

/** Voters 1 … count from a snapshot of index 2. */
function hosts(count: number, options: Partial<Config> = {}): Host[] {
  const ids = Array.from({ length: count }, (_, at) => at + 1)
  const confState = { voters: ids, learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false }
  return ids.map((id) => {
    const storage = new MemoryStorage()
    storage.applySnapshot({ data: data('state'), metadata: { confState, index: 2, term: 1 } })
    const limits = { electionTick: 10, heartbeatTick: 1, maxInflightMsgs: 100, random: () => 0.5 }
    return { raw: new RawNode({ id, storage, ...limits, ...options }), storage, applied: [], reads: [] }
  })
}

/** Writes, applies and advances; returns what there was. */
function handle({ raw, storage, applied, reads }: Host): Ready {
  const ready = raw.ready()
  if (ready.hardState !== undefined) storage.setHardState(ready.hardState)
  if (ready.snapshot !== undefined) storage.applySnapshot(ready.snapshot)
  storage.append(ready.entries)
  for (const entry of ready.committedEntries) if (entry.data.length > 0) applied.push(text(entry))
  for (const { requestCtx, index } of ready.readStates) reads.push([text({ data: requestCtx }), index])
  raw.advance()
  return ready
}

/** Lets everything happen; returns the types of all messages. */
function settle(all: readonly Host[]): MessageType[] {
  const types: MessageType[] = []
  for (let busy = true; busy;) {
    busy = false
    for (const host of all) {
      if (!host.raw.hasReady()) continue
      busy = true
      for (const message of handle(host).messages) {
        types.push(message.type)
        all[message.to - 1]?.raw.step(message)
      }
    }
  }
  return types
}

function led(count: number, options: Partial<Config> = {}): Host[] {
  const all = hosts(count, options)
  all[0]!.raw.campaign()
  settle(all)
  expect(all[0]!.raw.basicStatus()).toMatchObject({ raftState: 'StateLeader', term: 1, lead: 1 })
  return all
}

describe('RawNode', () => {
  test('a follower passes a proposal on, and everybody applies it', () => {
    const all = led(3)
    all[2]!.raw.propose(data('x'))
    expect(settle(all)).toContain('MsgProp')
    expect(all.map(({ applied }) => applied)).toEqual([['x'], ['x'], ['x']])
  })

  test('a proposal that nobody would take is refused', () => {
    const [alone] = hosts(3)
    const dropped = coded('ERR_RAFT_PROPOSAL_DROPPED')
    expect(() => alone!.raw.propose(data('x'))).toThrow(dropped)
    const all = led(3, { disableProposalForwarding: true })
    expect(() => all[1]!.raw.propose(data('x'))).toThrow(dropped)
    all[0]!.raw.transferLeader(2)
    expect(() => all[0]!.raw.propose(data('x'))).toThrow(dropped)
  })

  test('a proposal belongs to its caller no more once it is made', () => {
    const all = led(1)
    const mine = data('abc')
    all[0]!.raw.propose(mine)
    mine.fill(0)
    settle(all)
    expect(all[0]!.applied).toEqual(['abc'])
  })

  test('a follower reads through the leader: one heartbeat round, then the index with its context', () => {
    const all = led(3)
    all[1]!.raw.readIndex(data('ctx'))
    expect(settle(all)).toEqual(expect.arrayContaining(['MsgReadIndex', 'MsgHeartbeat', 'MsgReadIndexResp']))
    expect(all[1]!.reads).toEqual([['ctx', 3]])
    all[0]!.raw.readIndex(data('own'))
    settle(all)
    expect(all[0]!.reads).toEqual([['own', 3]])
  })

  test('a lease-based leader answers reads alone', () => {
    const all = led(3, { checkQuorum: true, readOnlyOption: 'ReadOnlyLeaseBased' })
    all[0]!.raw.readIndex(data('own'))
    expect(settle(all)).toEqual([])
    expect(all[0]!.reads).toEqual([['own', 3]])
    all[2]!.raw.readIndex(data('far'))
    expect(settle(all)).toEqual(['MsgReadIndex', 'MsgReadIndexResp'])
    expect(all[2]!.reads).toEqual([['far', 3]])
  })

  test('a message of an earlier term is answered only where etcd answers it', () => {
    const plain = led(3)[1]!
    const strict = led(3, { checkQuorum: true, preVote: true })[1]!
    const answers = (host: Host, fields: Partial<Message> & Pick<Message, 'type'>): Message[] => {
      host.raw.step(messageOf({ from: 3, to: 2, term: 4, commit: 0, type: 'MsgHeartbeat' }))
      handle(host)
      host.raw.step(messageOf({ from: 1, to: 2, term: 1, ...fields }))
      return host.raw.hasReady() ? [...handle(host).messages] : []
    }
    expect(answers(plain, { type: 'MsgHeartbeat' })).toEqual([])
    expect(answers(plain, { type: 'MsgVote', index: 9, logTerm: 1 })).toEqual([])
    expect(answers(plain, { type: 'MsgPreVote', index: 9, logTerm: 1 })).toMatchObject([
      { type: 'MsgPreVoteResp', term: 4, reject: true },
    ])
    expect(answers(strict, { type: 'MsgApp' })).toMatchObject([
      { type: 'MsgAppResp', term: 4, index: 0, reject: false },
    ])
  })

  test('a snapshot that does not name the receiver replaces nothing', () => {
    const [, second] = led(3)
    const confState = { voters: [1, 3], learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false }
    const snapshot = { data: data('other'), metadata: { confState, index: 50, term: 1 } }
    second!.raw.step(messageOf({ type: 'MsgSnap', from: 1, to: 2, term: 1, snapshot }))
    const { messages, snapshot: installed } = handle(second!)
    expect(installed).toBeUndefined()
    expect(messages).toMatchObject([{ type: 'MsgAppResp', index: 3, reject: false }])
    expect(second!.raw.status().config.voters).toEqual([1, 2, 3])
  })

  test('what others must not send is refused', () => {
    const all = led(2)
    const step = (type: MessageType, from: number) => () => {
      all[0]!.raw.step(messageOf({ type, from, to: 1, term: 1 }))
    }
    expect(step('MsgHup', 2)).toThrow(coded('ERR_RAFT_LOCAL_MESSAGE'))
    expect(step('MsgStorageAppendResp', 2)).toThrow(coded('ERR_RAFT_LOCAL_MESSAGE'))
    expect(step('MsgAppResp', 7)).toThrow(coded('ERR_RAFT_PEER_NOT_FOUND'))
  })

  test('committed entries are handed out within the limit, and the rest when those are applied', () => {
    const all = led(1, { maxCommittedSizePerReady: 25 })
    for (const word of ['aaaa', 'bbbb', 'cccc']) all[0]!.raw.propose(data(word))
    expect(handle(all[0]!).committedEntries).toEqual([])
    expect(handle(all[0]!).committedEntries.map(text)).toEqual(['aaaa', 'bbbb'])
    expect(handle(all[0]!).committedEntries.map(text)).toEqual(['cccc'])
  })

  test('nothing is handed out twice, and advance() follows ready()', () => {
    const all = hosts(3)
    const { raw } = all[0]!
    raw.campaign()
    expect(raw.ready().messages).toHaveLength(2)
    expect(() => raw.ready()).toThrow(RangeError)
    raw.advance()
    expect(raw.hasReady()).toBe(false)
    expect(() => {
      raw.advance()
    }).toThrow(RangeError)
  })

  test('a candidate leads only with its own vote on disk', () => {
    const { raw } = hosts(3, { asyncStorageWrites: true })[0]!
    raw.campaign()
    const write = raw.ready().messages.find(({ type }) => type === 'MsgStorageAppend')!
    for (const from of [2, 3]) raw.step(messageOf({ type: 'MsgVoteResp', from, to: 1, term: 1 }))
    expect(raw.basicStatus().raftState).toBe('StateCandidate')
    expect(write.responses).toMatchObject([{ type: 'MsgVoteResp', from: 1, to: 1 }])
    raw.step(write.responses[0]!)
    expect(raw.basicStatus().raftState).toBe('StateLeader')
  })

  test('a write of an earlier term acknowledges nothing, with or without what overwrote it', () => {
    const { raw } = hosts(3, { asyncStorageWrites: true })[2]!
    const append = (term: number, from: number): Message => {
      const entries: Entry[] = [{ term, index: 3, type: 'EntryNormal', data: data(`${term}`) }]
      const commit = term === 3 ? 3 : 2
      raw.step(messageOf({ type: 'MsgApp', from, to: 3, term, logTerm: 1, index: 2, commit, entries }))
      return raw.ready().messages.find(({ type }) => type === 'MsgStorageAppend')!
    }
    const applied = (write: Message): string[] => {
      for (const response of write.responses) if (response.to === 3) raw.step(response)
      return raw.ready().committedEntries.map(text)
    }
    const first = append(2, 1)
    const second = append(3, 2)
    expect(second.entries.map(text)).toEqual(['3'])
    expect(applied(first)).toEqual([])
    expect(applied(second)).toEqual(['3'])
  })

  test('a restart goes on from what was written', () => {
    const all = led(3)
    all[0]!.raw.propose(data('kept'))
    settle(all)
    const { storage } = all[1]!
    const limits = { electionTick: 10, heartbeatTick: 1, maxInflightMsgs: 100, random: () => 0.5 }
    const again = new RawNode({ id: 2, storage, applied: 3, ...limits })
    expect(again.basicStatus()).toMatchObject({ term: 1, vote: 1, commit: 4, applied: 3, raftState: 'StateFollower' })
    expect(again.ready().committedEntries.map(text)).toEqual(['kept'])
  })

  test('status() tells progress to a leader only', () => {
    const all = led(3)
    expect([...all[0]!.raw.status().progress.keys()]).toEqual([1, 2, 3])
    expect(all[0]!.raw.status().progress.get(2)).toMatchObject({ state: 'StateReplicate', match: 3, next: 4 })
    expect(all[1]!.raw.status().progress.size).toBe(0)
  })

  test.each([
    [true, 4],
    [false, 1],
  ])('reportSnapshot(id, %s) ends the wait for a snapshot, and probing goes on from %i', (ok, next) => {
    const all = hosts(3)
    const [leader] = all
    leader!.raw.campaign()
    settle(all.slice(0, 2))
    leader!.storage.createSnapshot(3, leader!.raw.status().config, data('state'))
    leader!.storage.compact(3)
    leader!.raw.step(messageOf({ type: 'MsgHeartbeatResp', from: 3, to: 1, term: 1 }))
    expect(leader!.raw.status().progress.get(3)).toMatchObject({ state: 'StateSnapshot', pendingSnapshot: 3 })
    expect(handle(leader!).messages).toMatchObject([{ type: 'MsgSnap', to: 3, snapshot: { metadata: { index: 3 } } }])
    leader!.raw.reportSnapshot(3, ok)
    expect(leader!.raw.status().progress.get(3)).toMatchObject({ state: 'StateProbe', next, paused: true })
  })
})

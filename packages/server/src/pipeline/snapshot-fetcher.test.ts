import { beforeEach, describe, expect, it } from 'vitest'
import { silentLogger, encode, equalBytes, utf8, VerificationError } from '@cipherlog/core'
import { batchRecord, snapshotChunkBytes, type SnapshotPair } from '@cipherlog/format'
import { openMemorySnapshots, type SnapshotStore, type StoredSnapshot } from '@cipherlog/storage'
import { type Configuration, type OfferedSnapshot } from '../replicator.ts'
import { SnapshotFetcher, type SnapshotProblem } from './snapshot-fetcher.ts'
import { SnapshotServer, type SnapshotReply, type SnapshotRequest } from './snapshot-server.ts'

const cluster = new Uint8Array(32).fill(1)
const group = new Uint8Array(16)
const peer = (fill: number): Uint8Array => new Uint8Array(16).fill(fill)
const configuration: Configuration = {
  voters: ['a', 'b', 'c'],
  learners: [],
  votersOutgoing: [],
  learnersNext: [],
  autoLeave: false,
}

/** A snapshot of three chunks, made here; `flavour` changes its content. */
async function snapshotIn(store: SnapshotStore, flavour = 0): Promise<StoredSnapshot> {
  const record = encode(batchRecord, {
    kind: 5,
    group,
    logIndex: 9,
    logTime: 1000,
    firstLeaf: 6,
    leafCount: 3,
    batchRoot: cluster,
    registryHead: { number: 0, digest: cluster },
    rulesVersion: 1,
  })
  async function* pairs(): AsyncGenerator<SnapshotPair> {
    for (const name of ['k1', 'k2', 'k3']) yield [utf8(name), new Uint8Array(snapshotChunkBytes - 100).fill(flavour)]
  }
  return store.write(
    {
      cluster,
      group,
      generation: 0,
      index: 9,
      term: 2,
      time: 1000,
      confState: { voters: [peer(1)], learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false },
      treeSize: 10,
      rootHash: cluster,
      batchRecord: record,
    },
    pairs(),
  )
}

describe('SnapshotFetcher', () => {
  let store: SnapshotStore
  let problems: SnapshotProblem[]
  let asked: [to: string, request: SnapshotRequest][]
  let servers: Map<string, SnapshotServer>
  let fetcher: SnapshotFetcher
  let check: (snapshot: StoredSnapshot) => Promise<boolean>
  /** What a peer sends, on its way. */
  let spoil: (from: string, reply: SnapshotReply, body: Uint8Array) => Uint8Array | undefined
  const faults: unknown[] = []

  /** Peers with a snapshot each. */
  async function peers(flavours: Readonly<Record<string, number>>): Promise<Map<string, StoredSnapshot>> {
    const made = new Map<string, StoredSnapshot>()
    for (const [name, flavour] of Object.entries(flavours)) {
      const snapshots = await openMemorySnapshots()
      made.set(name, await snapshotIn(snapshots, flavour))
      servers.set(
        name,
        new SnapshotServer({
          group,
          snapshots,
          send: (_to, reply, body) => {
            const bytes = spoil(name, reply, body[0] ?? new Uint8Array(0))
            if (bytes !== undefined) setImmediate(() => fetcher.receive(name, reply, bytes))
          },
          logger: silentLogger,
          onFatal: (error) => faults.push(error),
        }),
      )
    }
    return made
  }
  const offerOf = ({ digest }: StoredSnapshot): OfferedSnapshot => ({ index: 9, digest, configuration })
  async function outcome(fetched: Promise<boolean>): Promise<boolean> {
    let done = false
    void fetched.finally(() => (done = true))
    for (let turn = 0; turn < 4000 && !done; turn++) {
      if (turn % 4 === 0) fetcher.tick()
      await new Promise((resolve) => setImmediate(resolve))
    }
    return fetched
  }

  beforeEach(async () => {
    store = await openMemorySnapshots()
    problems = []
    asked = []
    servers = new Map()
    check = () => Promise.resolve(true)
    spoil = (_from, _reply, body) => body
    faults.length = 0
    fetcher = new SnapshotFetcher({
      cluster,
      group,
      snapshots: store,
      connected: (name) => servers.has(name),
      send: (to, request) => {
        asked.push([to, request])
        const server = servers.get(to)
        if (server !== undefined) setImmediate(() => server.receive('me', request))
        return server !== undefined
      },
      check: (snapshot) => check(snapshot),
      bytesPerSecond: 1 << 30,
      tickMs: 100,
      logger: silentLogger,
      onProblem: (problem) => problems.push(problem),
      onChunk: () => {},
      onFatal: (error) => faults.push(error),
    })
  })

  it('fetches what a majority of the voters names, chunk by chunk', async () => {
    const made = await peers({ a: 0, b: 0 })
    expect(await outcome(fetcher.fetch(offerOf(made.get('a')!), 'a'))).toBe(true)
    expect(store.list().map(({ digest }) => digest)).toEqual([made.get('a')!.digest])
    const chunks = asked.flatMap(([, request]) => (request.type === 'chunkRequest' ? [request.chunk] : []))
    expect(chunks.filter((chunk) => chunk !== undefined).sort()).toEqual([0, 1, 2])
    expect([problems, faults]).toEqual([[], []])
  })

  it('takes nothing on the word of one voter of three', async () => {
    const made = await peers({ a: 0 })
    expect(await outcome(fetcher.fetch(offerOf(made.get('a')!), 'a'))).toBe(false)
    expect(asked.every(([, request]) => request.type === 'snapshotQuery')).toBe(true)
    expect(store.list()).toEqual([])
  })

  it('needs a majority of both configurations while they are joint', async () => {
    const made = await peers({ a: 0, b: 0 })
    const joint = { ...configuration, votersOutgoing: ['c', 'd', 'e'] }
    expect(await outcome(fetcher.fetch({ ...offerOf(made.get('a')!), configuration: joint }, 'a'))).toBe(false)
    expect(store.list()).toEqual([])
  })

  it('leaves the one that is offered for the one that a majority has, and says so', async () => {
    const made = await peers({ a: 7, b: 0, c: 0 })
    expect(await outcome(fetcher.fetch(offerOf(made.get('a')!), 'a'))).toBe(true)
    expect(store.list().map(({ digest }) => digest)).toEqual([made.get('b')!.digest])
    expect(problems).toEqual(['digest'])
    expect(asked.some(([to, request]) => to === 'a' && request.type === 'chunkRequest')).toBe(false)
  })

  it('fetches a chunk with a wrong hash, or that is gone, from another peer', async () => {
    const made = await peers({ a: 0, b: 0, c: 0 })
    let spoiled = 0
    spoil = (from, reply, body) => {
      if (from === 'c' || reply.type !== 'chunk' || reply.chunk === undefined) return body
      spoiled++
      return from === 'a' ? body.with(5, body[5]! ^ 1) : new Uint8Array(0)
    }
    expect(await outcome(fetcher.fetch(offerOf(made.get('a')!), 'a'))).toBe(true)
    expect(spoiled).toBeGreaterThan(0)
    expect(problems.every((problem) => problem === 'chunk')).toBe(true)
    await store.verify(made.get('a')!.digest)
  })

  it('takes no manifest but that of the digest', async () => {
    const made = await peers({ a: 0, b: 0 })
    spoil = (from, reply, body) =>
      from === 'a' && reply.type === 'chunk' && reply.chunk === undefined ? body.with(5, body[5]! ^ 1) : body
    expect(await outcome(fetcher.fetch(offerOf(made.get('a')!), 'a'))).toBe(true)
    expect(problems.filter((problem) => problem !== 'manifest')).toEqual([])
  })

  it('asks again for what is lost on the way', async () => {
    const made = await peers({ a: 0, b: 0 })
    let count = 0
    spoil = (_from, _reply, body) => (count++ % 2 === 0 ? undefined : body)
    expect(await outcome(fetcher.fetch(offerOf(made.get('a')!), 'a'))).toBe(true)
    expect(count).toBeGreaterThan(5)
  })

  it('discards one whose content is wrong, and keeps one that cannot be used yet', async () => {
    const made = await peers({ a: 0, b: 0 })
    check = () => Promise.reject(new VerificationError('ERR_SNAPSHOT_STATE', 'It has another cell root.'))
    expect(await outcome(fetcher.fetch(offerOf(made.get('a')!), 'a'))).toBe(false)
    expect([problems, store.list()]).toEqual([['content'], []])
    check = () => Promise.resolve(false)
    expect(await outcome(fetcher.fetch(offerOf(made.get('a')!), 'a'))).toBe(false)
    expect(store.list()).toHaveLength(1)
    const before = asked.length
    check = (snapshot) => Promise.resolve(equalBytes(snapshot.digest, made.get('a')!.digest))
    expect(await outcome(fetcher.fetch(offerOf(made.get('a')!), 'a'))).toBe(true)
    expect(asked.slice(before).filter(([, request]) => request.type === 'chunkRequest')).toEqual([])
  })

  it('stops at a fault of its own disk', async () => {
    const made = await peers({ a: 0, b: 0 })
    check = () => Promise.reject(new TypeError('a bug'))
    void fetcher.fetch(offerOf(made.get('a')!), 'a')
    for (let turn = 0; turn < 400 && faults.length === 0; turn++) await new Promise((resolve) => setImmediate(resolve))
    expect(faults).toHaveLength(1)
    fetcher.stop()
  })
})

import { afterEach, describe, expect, it, vi } from 'vitest'
import { silentLogger, toHex, utf8, utf8ToString } from '@cipherlog/core'
import { splitPayloads } from '@cipherlog/format/peer-frame'
import { confStateOf } from '@cipherlog/raft'
import { createMemoryDisk, createMemoryWal } from '@cipherlog/storage'
import { createMetrics } from '../host/metrics.ts'
import { toPeerHeader, toRaftMessage } from '../host/peer-messages.ts'
import { createPeerTransport, type PeerTransport, type TransportMember } from '../host/peers.ts'
import { pinnedTlsIdentity } from '../host/tls.ts'
import { createdAt, idOf, seedOf } from './cluster.fixture.ts'
import { GroupRouter } from './group-router.ts'
import { RaftReplicator } from './raft-replicator.ts'
import { readRaftState } from './raft-state.ts'

const cluster = new Uint8Array(32).fill(0xc1)
const groups = [1, 2, 3].map((n) => new Uint8Array(16).fill(n))
const names = ['r1', 'r2', 'r3']

/** One process of a replica: three groups on one log and one transport. */
interface Host {
  readonly id: string
  readonly transport: PeerTransport
  readonly replicators: readonly RaftReplicator[]
  readonly strays: string[]
  readonly faults: unknown[]
  member: TransportMember
  stop(): Promise<void>
}

async function startHost(name: string, members: () => readonly TransportMember[]): Promise<Host> {
  const id = toHex(idOf(name))
  const tlsSeed = seedOf(`${name} tls`)
  const strays: string[] = []
  const faults: unknown[] = []
  const wal = createMemoryWal({ identity: { cluster, peerId: idOf(name) } }, createMemoryDisk())
  const contents = await wal.open()
  const router = new GroupRouter((from) => strays.push(from))
  const transport = createPeerTransport({
    self: { peerId: id, tlsSeed },
    cluster,
    members,
    listen: { host: '127.0.0.1', port: 0 },
    onFrame: (from, header, bodies) => router.receive(from, header, bodies),
    onStateChange: (peer, connected) => router.peerStateChanged(peer, connected),
    logger: silentLogger,
    metrics: createMetrics({ process: false }),
  })
  const replicators = await Promise.all(
    groups.map(async (group) => {
      const replicator = new RaftReplicator({
        config: {
          id,
          electionTicks: 10,
          heartbeatTicks: 1,
          preVote: true,
          checkQuorum: true,
          maxInflightMessages: 256,
          maxInflightBytes: 1 << 25,
          maxAppendBytes: 1 << 20,
          maxUncommittedBytes: 1 << 26,
          maxClockErrorMs: 500,
          diskStallTicks: 0,
          initialTimeMs: createdAt,
          random: Math.random,
        },
        state: await readRaftState({
          group,
          wal,
          contents: contents.group(group),
          applied: 0,
          confState: confStateOf(names.map((each) => toHex(idOf(each)))),
          confIndex: 0,
        }),
        group,
        wal,
        clock: { now: () => createdAt, monotonic: () => performance.now() },
        logger: silentLogger,
        send: (to, message, payloads) => void transport.send(to, toPeerHeader(message, group), payloads),
        onFatal: (error) => faults.push(error),
      })
      router.add(group, {
        receive(from, header, bodies) {
          const message = toRaftMessage(header, from, id)
          const payloads = header.type === 'append' ? splitPayloads(header.entries, bodies) : []
          if (message !== undefined) replicator.receive(message, payloads)
        },
        peerStateChanged(peer, connected) {
          if (!connected) replicator.unreachable(peer)
        },
      })
      return replicator
    }),
  )
  const address = await transport.start()
  const ticks = setInterval(() => replicators.forEach((replicator) => replicator.tick()), 10)
  return {
    id,
    transport,
    replicators,
    strays,
    faults,
    member: { peerId: id, tlsKey: pinnedTlsIdentity(tlsSeed, name).publicKey, address },
    async stop() {
      clearInterval(ticks)
      for (const replicator of replicators) replicator.stop()
      await transport.close()
      await wal.close()
    },
  }
}

describe('three groups over one connection per peer and one log', () => {
  const hosts: Host[] = []
  afterEach(async () => {
    for (const host of hosts.splice(0)) await host.stop()
  })

  it('elect leaders of their own, keep their entries apart, and hear nothing of a group that does not run', async () => {
    for (const name of names) hosts.push(await startHost(name, () => hosts.map(({ member }) => member)))
    for (const { transport } of hosts) transport.membersChanged()
    const leaderOf = (group: number): RaftReplicator | undefined =>
      hosts.map(({ replicators }) => replicators[group]!).find((each) => each.leadingSince() !== undefined)
    await vi.waitFor(
      () => expect([0, 1, 2].map((group) => leaderOf(group) !== undefined)).toEqual([true, true, true]),
      {
        timeout: 10_000,
      },
    )
    const indexes: number[] = []
    for (let i = 0; i < 30; i++) {
      const group = i % 3
      const outcome = await leaderOf(group)!.propose(3, utf8(`group ${group} entry ${i}`))
      expect(outcome.outcome).toBe('committed')
      indexes[group] = (outcome as { index: number }).index
    }
    for (const { replicators } of hosts) {
      for (const [group, replicator] of replicators.entries()) {
        const texts: string[] = []
        while (texts.length < indexes[group]!) {
          const entries = await replicator.committed(texts.length + 1, 1024)
          texts.push(...entries.map(({ payload }) => utf8ToString(payload)))
        }
        const own = texts.filter((text) => text !== '')
        expect(own).toHaveLength(10)
        expect(own.every((text) => text.startsWith(`group ${group} `))).toBe(true)
      }
    }
    const [first, second] = hosts as [Host, Host, Host]
    const terms = (): number[] => second.replicators.map((replicator) => replicator.status().term)
    const before = terms()
    const stray = {
      type: 'vote',
      group: new Uint8Array(16).fill(9),
      term: 99,
      lastLogIndex: 99,
      lastLogTerm: 99,
    } as const
    await vi.waitFor(() => expect(first.transport.send(second.id, stray)).toBe(true))
    await vi.waitFor(() => expect(second.strays).toEqual([first.id]))
    expect(terms()).toEqual(before)
    expect(hosts.flatMap(({ faults }) => faults)).toEqual([])
  })
})

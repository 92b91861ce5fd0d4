/**
 * Real Raft replicators on real write-ahead logs in memory, joined by a network in this process. Nothing ticks by
 * itself: without ticks there are no elections, so a test decides who leads and when.
 */
import { toHex, silentLogger, type Clock } from '@cipherlog/core'
import { group0 } from '@cipherlog/format'
import { confStateOf, type Message, type RaftConfig } from '@cipherlog/raft'
import { createMemoryDisk, createMemoryWal, type MemoryDisk, type Wal, type WalOptions } from '@cipherlog/storage'
import { Prng } from '@cipherlog/testkit'
import { createdAt, idOf } from './cluster.fixture.ts'
import { RaftReplicator } from './raft-replicator.ts'
import { readRaftState } from './raft-state.ts'

const cluster = new Uint8Array(32)

/** A clock that a test moves. */
export class ManualClock implements Clock {
  ms = createdAt
  now(): number {
    return this.ms
  }
  monotonic(): number {
    return this.ms
  }
}

export interface RaftNode {
  readonly name: string
  readonly id: string
  readonly disk: MemoryDisk
  readonly replicator: RaftReplicator
  readonly wal: Wal
  readonly faults: unknown[]
}

export class RaftCluster {
  readonly clock = new ManualClock()
  readonly nodes = new Map<string, RaftNode>()
  /** Of logs that are opened from here on. */
  walOptions: Partial<Omit<WalOptions, 'identity'>> = {}
  readonly #names: readonly string[]
  readonly #random: Prng
  readonly #cut = new Set<string>()
  readonly #deaf = new Set<string>()

  /** Of nodes that are started one by one. */
  constructor(names: readonly string[], seed = 1) {
    this.#names = names
    this.#random = new Prng(seed)
  }

  static async start(names: readonly string[], seed = 1): Promise<RaftCluster> {
    const raft = new RaftCluster(names, seed)
    for (const name of names) await raft.startNode(name)
    return raft
  }

  /** @param applied - what the state of that replica holds already. */
  async startNode(
    name: string,
    disk = createMemoryDisk(),
    applied = 0,
    config: Partial<RaftConfig> = {},
  ): Promise<RaftNode> {
    const id = toHex(idOf(name))
    const wal = createMemoryWal({ ...this.walOptions, identity: { cluster, peerId: idOf(name) } }, disk)
    const log = (await wal.open()).group(group0)
    const faults: unknown[] = []
    const replicator = new RaftReplicator({
      config: {
        id,
        electionTicks: 10,
        heartbeatTicks: 1,
        preVote: true,
        checkQuorum: true,
        forwardReads: true,
        maxInflightMessages: 256,
        maxInflightBytes: 32 * 1024 * 1024,
        maxAppendBytes: 1024 * 1024,
        maxUncommittedBytes: 4 * 1024 * 1024,
        maxClockErrorMs: 500,
        diskStallTicks: 20,
        initialTimeMs: createdAt,
        random: this.#random.float,
        ...config,
      },
      state: await readRaftState({
        group: group0,
        wal,
        contents: log,
        applied: Math.max(applied, log.baseIndex),
        confState: confStateOf(this.#names.map((other) => toHex(idOf(other)))),
        confIndex: 0,
        filled: () => Promise.reject(new Error('no repair here')),
      }),
      group: group0,
      wal,
      clock: this.clock,
      logger: silentLogger,
      // Small enough that tests reach entries which left it.
      payloadCacheBytesMax: 64 * 1024,
      send: (to, message, payloads) => this.#deliver(name, to, message, payloads),
      onFatal: (error) => faults.push(error),
    })
    const node = { name, id, disk, replicator, wal, faults }
    this.nodes.set(name, node)
    return node
  }

  #deliver(from: string, to: string, message: Message, payloads: readonly Uint8Array[]): void {
    setImmediate(() => {
      const target = [...this.nodes.values()].find(({ id }) => id === to)
      if (target === undefined || this.#cut.has(from) || this.#cut.has(target.name)) return
      if (this.#deaf.has(target.name)) return
      target.replicator.receive(message, payloads)
    })
  }

  /** Nothing reaches it or leaves it. */
  cut(name: string): void {
    this.#cut.add(name)
  }

  /** What it sends still arrives. */
  deafen(name: string): void {
    this.#deaf.add(name)
  }

  heal(): void {
    this.#cut.clear()
    this.#deaf.clear()
  }

  tick(names: Iterable<string> = this.nodes.keys()): void {
    this.clock.ms += 100
    for (const name of names) this.nodes.get(name)?.replicator.tick()
  }

  /** Lets messages and writes run for some turns of the event loop. */
  async settle(turns = 20): Promise<void> {
    for (let i = 0; i < turns; i++) await new Promise((resolve) => setImmediate(resolve))
  }

  /** Ticks until one of `names` leads and has committed in its term. */
  async elect(names: readonly string[] = [...this.nodes.keys()]): Promise<RaftNode> {
    for (let tick = 0; tick < 400; tick++) {
      const leader = names
        .map((name) => this.nodes.get(name)!)
        .find(({ replicator }) => {
          const since = replicator.leadingSince()
          return since !== undefined && replicator.status().commitIndex >= since
        })
      if (leader !== undefined) return leader
      this.tick()
      await this.settle(8)
    }
    throw new Error('nobody was elected')
  }

  async stop(): Promise<void> {
    for (const { replicator, wal } of this.nodes.values()) {
      replicator.stop()
      await wal.close()
    }
    this.nodes.clear()
  }
}

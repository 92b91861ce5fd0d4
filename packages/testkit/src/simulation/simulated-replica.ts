/**
 * One replica of a simulated cluster: the real core, WAL, ledger, trail, publisher and pipeline on a simulated disk,
 * network and clock, put together as the host of a node does. Its disk outlives its process.
 */
import { concatBytes, silentLogger, toHex, type Clock } from '@cipherlog/core'
import { group0, type NodeKeys } from '@cipherlog/format'
import { encodePeerFrameHead, PeerFrameReader } from '@cipherlog/format/peer-frame'
import { cachedVerifier, type ProofVerifier } from '@cipherlog/proof'
import {
  crossCheckTree,
  GroupMember,
  toRaftMessage,
  type GroupHeader,
  type MemberObserver,
  type RaftReplicator,
  type ReplicaObserver,
} from '@cipherlog/server/pipeline'
import {
  createMemoryWal,
  installMemoryTrail,
  openMemorySnapshots,
  openMemoryTrail,
  type Wal,
  type WalAppend,
} from '@cipherlog/storage'
import { Prng } from '../prng.ts'
import { ledgerOptions, type Blueprint } from './blueprint.ts'
import { type Counts } from './counts.ts'
import { instead } from './instead.ts'
import { type LedgerChecker } from './ledger-checker.ts'
import { type RaftChecker } from './raft-checker.ts'
import { type Scheduler, SimulatedProcess } from './scheduler.ts'
import { SimulatedDisk } from './simulated-disk.ts'
import { type SimulatedNetwork } from './simulated-network.ts'
import { oracleVerifier } from './oracle-verifier.ts'
import { epochMs } from './virtual-globals.ts'
import { type WireCheck } from './wire-check.ts'

/** What all replicas of a run share. */
export interface ReplicaWorld {
  readonly scheduler: Scheduler
  readonly network: SimulatedNetwork
  readonly blueprint: Blueprint
  readonly raftChecker: RaftChecker
  readonly ledgerChecker: LedgerChecker
  readonly wire: WireCheck
  readonly counts: Counts
  readonly tickMs: number
  /** 0: no lease reads. */
  readonly leaseMs: number
  /** Everyone's, by peer id in hex. */
  readonly replicas: () => ReadonlyMap<string, SimulatedReplica>
  /** The replica stopped by itself; undefined `error`: it does not start. */
  readonly onStopped: (replica: SimulatedReplica, error: unknown) => void
  /** The replica runs and takes no part: its log may have lost what it acknowledged. */
  readonly onDoubt: (replica: SimulatedReplica) => void
}

const raftConfig = {
  electionTicks: 10,
  heartbeatTicks: 1,
  preVote: true,
  checkQuorum: true,
  maxInflightMessages: 256,
  maxInflightBytes: 32 * 1024 * 1024,
  maxAppendBytes: 1024 * 1024,
  maxUncommittedBytes: 64 * 1024 * 1024,
  diskStallTicks: 20,
  snapshotRetryTicks: 100,
}
/** Small, so that there are many, and compaction finds some to drop. */
const segmentBytes = 16 * 1024
/** Log kept for those who lag: little, so that they need snapshots. */
const retainedEntriesMax = 10
const retainedBytesMax = 8 * 1024
const snapshotBytesPerSecond = 1024 * 1024
const ignore = (): void => {}
const observer: ReplicaObserver = {
  refused: ignore,
  applied: ignore,
  pending: ignore,
  stage: ignore,
  treeSize: ignore,
  published: ignore,
}

interface Running {
  readonly process: SimulatedProcess
  readonly member: GroupMember
}

export class SimulatedReplica {
  readonly name: string
  readonly id: string
  readonly keys: NodeKeys
  readonly disk: SimulatedDisk
  /** How far this host's clock is from the right time, in ms. */
  clockErrorMs = 0
  /** Why it stopped by itself, until it is started again. */
  fault: unknown
  /** Its disk was damaged, which excuses that it stops. */
  damaged = false
  /** It will not start again: what its disk lost has to come from somewhere else. */
  lost = false
  /** Its process remembers verified proofs. */
  readonly cached: boolean
  readonly #world: ReplicaWorld
  readonly #prng: Prng
  #process: SimulatedProcess | undefined
  #running: Running | undefined
  #starts = 0

  constructor(world: ReplicaWorld, name: string, keys: NodeKeys, prng: Prng, cached: boolean) {
    this.#world = world
    this.name = name
    this.keys = keys
    this.id = toHex(keys.peerId)
    this.#prng = prng
    this.cached = cached
    this.disk = new SimulatedDisk(world.scheduler, prng)
  }

  /** Its process, if one runs. */
  get process(): SimulatedProcess | undefined {
    return this.#process?.alive === true ? this.#process : undefined
  }

  get isUp(): boolean {
    return this.process !== undefined
  }

  /** What runs, once it has started. */
  get running(): Running | undefined {
    return this.isUp ? this.#running : undefined
  }

  /** Base URL of its API. */
  get address(): string {
    return addressOf(this.name)
  }

  start(): void {
    const { scheduler } = this.#world
    const process = new SimulatedProcess(`${this.name}.${++this.#starts}`, new Prng(this.#prng.uint32()))
    this.#process = process
    this.#running = undefined
    this.fault = undefined
    this.disk.failed = false
    scheduler.as(process, () => {
      this.#boot(process).catch((error: unknown) => this.#stopped(process, error))
    })
  }

  /** SIGKILL. */
  kill(): void {
    this.process?.end()
    this.disk.processKilled()
  }

  /** Power fails; the disk is readable again at once. */
  losePower(): void {
    this.process?.end()
    this.disk.powerLost()
    this.disk.powerOn()
  }

  #stopped(process: SimulatedProcess, error: unknown): void {
    if (!process.alive) return
    this.fault = error
    // A process that exits leaves what it wrote to the kernel.
    process.end()
    this.disk.processKilled()
    this.#world.onStopped(this, error)
  }

  async #boot(process: SimulatedProcess): Promise<void> {
    const { scheduler, blueprint, tickMs, leaseMs, raftChecker, ledgerChecker } = this.#world
    const { keys, disk } = this
    const { cluster, signedGenesis } = blueprint
    const fatal = (error: unknown): void => {
      // What it still does in this turn is done; then the process exits.
      scheduler.after(0, undefined, 'exit', () => this.#stopped(process, error))
    }
    const clock: Clock = {
      now: () => epochMs + Math.floor(scheduler.now + this.clockErrorMs),
      monotonic: () => scheduler.now,
    }
    const wal = this.#watched(
      createMemoryWal({ identity: { cluster, peerId: keys.peerId }, segmentBytes }, disk.files(process, 'wal')),
    )
    const contents = (await wal.open()).group(group0)
    raftChecker.opened(this.id, contents)
    const snapshots = await openMemorySnapshots(disk.files(process, 'snapshots'))
    const trailDisk = disk.files(process, 'trail')
    const member = await GroupMember.open({
      keys,
      signedGenesis,
      ledgerOptions,
      stores: {
        wal,
        contents,
        state: disk.stateStore(process),
        snapshots,
        trail: {
          open: (treeSize) => openMemoryTrail(treeSize, trailDisk),
          install: (manifest, pairs) => installMemoryTrail(trailDisk, manifest, pairs),
        },
        signedHead: disk.signedHead(process),
        joinNotes: disk.joinNotes(process),
      },
      raft: { ...raftConfig, leaseMs, random: process.prng.float },
      tickMs,
      clock,
      logger: silentLogger,
      memberObserver: this.#memberObserver(),
      members: () =>
        [...this.#world.replicas().values()].map((replica) => ({
          peerId: replica.id,
          api: replica.address,
          peers: '',
          connected: replica.isUp,
          rulesVersionMax: undefined,
        })),
      send: (to, header, bodies) => {
        const message = toRaftMessage(header, this.id, to)
        if (message !== undefined) raftChecker.sent(message)
        return this.#sendFrame(to, header, bodies)
      },
      connected: (peerId) => this.#isLinkedTo(peerId),
      snapshotBytesPerSecond,
      retention: { entriesMax: retainedEntriesMax, bytesMax: retainedBytesMax },
      verifier: this.#verifier(process),
      observer,
      crossCheck: (closed) => {
        crossCheckTree(closed)
        ledgerChecker.closed(this.name, closed)
      },
      onMembersChanged: ignore,
      onFatal: fatal,
      idleMarkMs: 1000,
      pendingProposalsMax: 4096,
      unappliedCostMsMax: 2000,
      version: 'simulation',
    })
    this.#watchApplied(member.replicator)
    this.#running = { process, member }
    if (contents.doubt !== undefined) this.#world.onDoubt(this)
    setInterval(() => member.tick(), tickMs)
    member.start()
    for (const other of this.#world.replicas().values()) {
      if (other === this || !other.isUp) continue
      member.peerStateChanged(other.id, true)
      other.running?.member.peerStateChanged(this.id, true)
    }
  }

  #memberObserver(): MemberObserver {
    const { counts } = this.#world
    return {
      snapshotTaken: () => counts.add('snapshot taken'),
      snapshotInstalled: () => counts.add('snapshot installed'),
      snapshotProblem: (problem) => counts.add(`snapshot problem (${problem})`),
      snapshotChunk: () => counts.add('snapshot chunk fetched'),
      payloadRepaired: () => counts.add('payload repaired'),
      compacted: () => counts.add('log compacted'),
      trailFrom: ignore,
      configuration: ignore,
      appended: ignore,
    }
  }

  /** Tells the checker of every append, before and after. */
  #watched(wal: Wal): Wal {
    const { raftChecker } = this.#world
    return instead(wal, {
      append: async (append: WalAppend) => {
        raftChecker.appending(this.id, append)
        await wal.append(append)
        raftChecker.acknowledged(this.id, append)
      },
    })
  }

  /** Tells the checker what is handed out to be applied. */
  #watchApplied(replicator: RaftReplicator): void {
    const { raftChecker } = this.#world
    const committed = replicator.committed.bind(replicator)
    replicator.committed = async (from, bytesMax, signal) => {
      const entries = await committed(from, bytesMax, signal)
      raftChecker.applying(this.id, entries)
      return entries
    }
    replicator.onConfigurationChange((configuration, index) => raftChecker.configured(index, configuration))
  }

  #verifier(process: SimulatedProcess): ProofVerifier {
    const { scheduler } = this.#world
    const slow: ProofVerifier = {
      async verify(checks, options) {
        if (checks.length > 0) {
          await new Promise<void>((resolve) => scheduler.after(process.prng.float() * 10, process, 'proof', resolve))
        }
        return oracleVerifier.verify(checks, options)
      },
      close: () => Promise.resolve(),
    }
    return this.cached ? cachedVerifier(slow, 1024) : slow
  }

  // Frames between replicas

  #sendFrame(to: string, header: GroupHeader, bodies: readonly Uint8Array[]): boolean {
    const target = this.#world.replicas().get(to)
    if (target === undefined || !this.#isLinkedTo(to)) return false
    const body = concatBytes(...bodies)
    const frame = concatBytes(encodePeerFrameHead(header, body.length), body)
    this.#world.wire.see(frame, `${this.name} to ${target.name}`)
    this.#world.network.send(
      this.name,
      target.name,
      header.type,
      () => target.process,
      () => target.receive(this, frame),
    )
    return true
  }

  /** Whether a connection to a peer would stand: it is up, and one of the two takes the other for a member. */
  #isLinkedTo(peerId: string): boolean {
    const peer = this.#world.replicas().get(peerId)
    return peer?.isUp === true && (this.#isMember(peerId) || peer.#isMember(this.id))
  }

  /** One that joins does not know who they are. */
  #isMember(peerId: string): boolean {
    const member = this.#running?.member
    if (member === undefined || member.membership === 'joining') return true
    const { voters, learners, votersOutgoing } = member.replicator.status().configuration
    return [voters, learners, votersOutgoing].some((ids) => ids.includes(peerId))
  }

  receive(from: SimulatedReplica, frame: Uint8Array): void {
    const running = this.running
    if (running === undefined) return
    if (!this.#isMember(from.id)) {
      // Who was removed learns so. A member that this replica has not heard of is ahead of it, and is listened to.
      const { commitIndex } = running.member.replicator.status()
      const sender = from.running?.member
      if (sender === undefined || sender.replicator.status().commitIndex < commitIndex) {
        sender?.notMember(commitIndex)
        return
      }
    }
    for (const { header, bodies } of new PeerFrameReader().push(frame)) {
      if (header.type === 'unknown' || !('group' in header)) continue
      running.member.receive(from.id, header as GroupHeader, bodies)
    }
  }
}

export function addressOf(name: string): string {
  return `https://${name}.simulation:7001`
}

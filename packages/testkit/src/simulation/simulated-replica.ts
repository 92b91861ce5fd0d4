/**
 * One replica of a simulated cluster: the real core, WAL, ledger, trail, publisher and pipeline on a simulated disk,
 * network and clock, put together as the host of a node does. Its disk outlives its process.
 */
import { concatBytes, errorCode, silentLogger, toHex, type Clock } from '@cipherlog/core'
import { type NodeKeys } from '@cipherlog/format'
import { encodePeerFrameHead, PeerFrameReader, splitPayloads, type PeerHeader } from '@cipherlog/format/peer-frame'
import { Ledger } from '@cipherlog/machine'
import { cachedVerifier, type ProofVerifier } from '@cipherlog/proof'
import { confStateOf, type Message } from '@cipherlog/raft'
import {
  crossCheckTree,
  RaftReplicator,
  readRaftState,
  Replica,
  resumedFrom,
  toPeerHeader,
  toRaftMessage,
  type CosigningMessage,
  type ReplicaObserver,
  type Replicator,
} from '@cipherlog/server/pipeline'
import { createMemoryWal, openMemoryTrail, type Wal, type WalAppend } from '@cipherlog/storage'
import { Prng } from '../prng.ts'
import { ledgerOptions, type Blueprint } from './blueprint.ts'
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
  readonly tickMs: number
  /** Everyone's, by peer id in hex. */
  readonly replicas: () => ReadonlyMap<string, SimulatedReplica>
  /** The replica stopped by itself; undefined `error`: it does not start. */
  readonly onStopped: (replica: SimulatedReplica, error: unknown) => void
}

const peerProtocolIgnored = new Set(['ERR_PEER_PAYLOAD', 'ERR_RAFT_MESSAGE'])
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
}
/** Small, so that sending and applying read the WAL now and then. */
const payloadCacheBytesMax = 64 * 1024
/** Small, so that there are many. */
const segmentBytes = 64 * 1024
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
  readonly replicator: RaftReplicator
  readonly replica: Replica
  readonly ledger: Ledger
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
  readonly #cached: boolean
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
    this.#cached = cached
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
    const { scheduler, blueprint, tickMs, raftChecker } = this.#world
    const { keys, disk } = this
    const { cluster, signedGenesis } = blueprint
    const fatal = (error: unknown): void => {
      if (this.#running?.process === process) {
        this.#running.replica.halt()
        this.#running.replicator.stop()
      }
      // What it still does in this turn is done; then the process exits.
      scheduler.after(0, undefined, 'exit', () => this.#stopped(process, error))
    }
    const clock: Clock = {
      now: () => epochMs + Math.floor(scheduler.now + this.clockErrorMs),
      monotonic: () => scheduler.now,
    }

    const identity = { cluster, peerId: keys.peerId }
    const wal = this.#watched(createMemoryWal({ identity, segmentBytes }, disk.files(process, 'wal')))
    const contents = await wal.open()
    const state = disk.stateStore(process)
    const opened = await Ledger.open(state, ledgerOptions)
    const created = opened === undefined ? await Ledger.create(state, signedGenesis, ledgerOptions) : undefined
    const ledger = opened ?? created!.ledger
    const trail = await openMemoryTrail(created === undefined ? ledger.treeSize : 0, disk.files(process, 'trail'))
    const log = contents.group(ledger.group)
    raftChecker.opened(this.id, log)
    if (log.doubt !== undefined) throw new Error(`The log is in doubt: ${log.doubt.reason}.`)

    const raftState = await readRaftState({
      group: ledger.group,
      wal,
      contents: log,
      applied: ledger.appliedIndex,
      confState: confStateOf(blueprint.nodeKeys.map(({ peerId }) => toHex(peerId))),
      confIndex: 0,
      filled: () => Promise.reject(new Error('the simulated replica has no peers to repair from')),
    })
    const replicator = new RaftReplicator({
      config: {
        ...raftConfig,
        id: this.id,
        maxClockErrorMs: blueprint.maxClockErrorMs,
        initialTimeMs: blueprint.createdAt,
        random: process.prng.float,
      },
      state: raftState,
      group: ledger.group,
      wal,
      clock,
      logger: silentLogger,
      payloadCacheBytesMax,
      send: (to, message, payloads) => {
        raftChecker.sent(message)
        this.#sendFrame(to, toPeerHeader(message, ledger.group), payloads)
      },
      onFatal: fatal,
    })
    const sendCosigning = (to: string, message: CosigningMessage): void =>
      this.#sendFrame(to, { ...message, group: ledger.group }, [])
    const replica = new Replica(
      {
        ledger,
        keys,
        replicator: this.#observed(replicator),
        verifier: this.#verifier(process),
        trail,
        state,
        clock,
        logger: silentLogger,
        observer,
        signedHead: disk.signedHead(process),
        crossCheck: (closed) => {
          crossCheckTree(closed)
          this.#world.ledgerChecker.closed(this.name, closed)
        },
        broadcast: (message) => {
          for (const id of this.#world.replicas().keys()) if (id !== this.id) sendCosigning(id, message)
        },
        send: (to, message) => sendCosigning(toHex(to), message),
        onMembersChanged: ignore,
        onFatal: fatal,
        batchIntervalMs: blueprint.batchIntervalMs,
        idleMarkMs: 1000,
        pendingProposalsMax: 4096,
        unappliedCostMsMax: 2000,
        members: () =>
          [...this.#world.replicas().values()].map(({ id, address }) => ({
            peerId: id,
            api: address,
            peers: '',
            connected: true,
            trailFrom: undefined,
            rulesVersionMax: undefined,
          })),
        standing: () => ({ membership: 'voter', damagedEntries: 0, inDoubt: false }),
        version: 'simulation',
      },
      await resumedFrom(trail),
    )
    if (created !== undefined) replica.begin(created.leaf, created.closed)
    else await replica.resume()
    this.#running = { process, replicator, replica, ledger }
    setInterval(() => replicator.tick(), tickMs)
    void replica.run()
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
  #observed(replicator: RaftReplicator): Replicator {
    const { raftChecker } = this.#world
    return instead<Replicator>(replicator, {
      committed: async (from: number, bytesMax: number) => {
        const entries = await replicator.committed(from, bytesMax)
        raftChecker.applying(this.id, entries)
        return entries
      },
    })
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
    return this.#cached ? cachedVerifier(slow, 1024) : slow
  }

  // Frames between replicas

  #sendFrame(to: string, header: PeerHeader, payloads: readonly Uint8Array[]): void {
    const target = this.#world.replicas().get(to)
    if (target === undefined) return
    const bodies = concatBytes(...payloads)
    const frame = concatBytes(encodePeerFrameHead(header, bodies.length), bodies)
    this.#world.wire.see(frame, `${this.name} to ${target.name}`)
    this.#world.network.send(
      this.name,
      target.name,
      header.type,
      () => target.process,
      () => target.receive(this.id, frame),
    )
  }

  receive(from: string, frame: Uint8Array): void {
    const running = this.running
    if (running === undefined) return
    for (const { header, bodies } of new PeerFrameReader().push(frame)) {
      if (header.type === 'unknown') continue
      const { replica, replicator } = running
      const fromId = this.#world.replicas().get(from)!.keys.peerId
      if (header.type === 'cosignatures') {
        replica.peerSignatures(fromId, header)
      } else if (header.type === 'cosignatureRequest') {
        replica.peerRequest(fromId, header.size)
      } else {
        const message = toRaftMessage(header, from, this.id)
        if (message === undefined) continue
        this.#deliver(replicator, message, header, bodies)
      }
    }
  }

  #deliver(replicator: RaftReplicator, message: Message, header: PeerHeader, bodies: Uint8Array): void {
    try {
      replicator.receive(message, header.type === 'append' ? splitPayloads(header.entries, bodies) : [])
    } catch (error) {
      if (!peerProtocolIgnored.has(errorCode(error) ?? '')) throw error
      throw new Error('An honest replica sent a message that its peer refuses.', { cause: error })
    }
  }
}

export function addressOf(name: string): string {
  return `https://${name}.simulation:7001`
}

/**
 * Replicas on disks in memory, each with a real ledger, trail, state store and publisher, over whatever replicates
 * their log. A disk outlives its replica: stop or crash one and start the next on it.
 */
import { encode, silentLogger, toHex } from '@cipherlog/core'
import { logEntry } from '@cipherlog/format'
import { Ledger, type LedgerOptions } from '@cipherlog/machine'
import { createInlineVerifier } from '@cipherlog/proof'
import {
  createMemoryDisk,
  createMemoryStateStore,
  openMemoryTrail,
  type MemoryDisk,
  type StateMemory,
  type TrailStore,
} from '@cipherlog/storage'
import { type Proposal } from '../node-api.ts'
import { type Replicator } from '../replicator.ts'
import { type Admitted } from './admission.ts'
import { createdAt, ledgerOptions, nodeKeysOf, type TestCluster } from './cluster.fixture.ts'
import { crossCheckTree } from './cross-check.ts'
import { MemoryReplicator, type MemoryLog } from './memory-replicator.fixture.ts'
import { MemorySignedHead } from './memory-signed-head.fixture.ts'
import { type CosigningMessage } from './publisher.ts'
import { Replica, resumedFrom, type ReplicaOptions } from './replica.ts'

/** What a replica keeps, its log not counted. */
export interface ReplicaDisk {
  readonly trail: MemoryDisk
  readonly state: StateMemory
  readonly signedHead: MemorySignedHead
  /** Carries out the writes of the state store, so that a test can fail them; see `createMemoryStateStore`. */
  writeState?: (apply: () => void) => void | Promise<void>
}

export function createReplicaDisk(): ReplicaDisk {
  return { trail: createMemoryDisk(), state: new Map(), signedHead: new MemorySignedHead() }
}

export interface ReplicaBench<R extends Replicator> {
  readonly name: string
  readonly replica: Replica
  readonly replicator: R
  readonly ledger: Ledger
  readonly trail: TrailStore
  readonly faults: unknown[]
  /** Stops it gracefully. */
  stop(): Promise<void>
}

/** Delivers what replicas tell each other about checkpoints, at a later turn. */
export class CosigningNetwork {
  readonly #replicas = new Map<string, Replica>()
  /** Nothing from or to these. */
  readonly cut = new Set<string>()

  join(name: string, replica: Replica): void {
    this.#replicas.set(name, replica)
  }

  leave(name: string): void {
    this.#replicas.delete(name)
  }

  get names(): string[] {
    return [...this.#replicas.keys()]
  }

  deliver(from: string, to: string, call: (replica: Replica) => void): void {
    setImmediate(() => {
      const replica = this.#replicas.get(to)
      if (replica !== undefined && from !== to && !this.cut.has(from) && !this.cut.has(to)) call(replica)
    })
  }
}

function hear(replica: Replica, from: Uint8Array, message: CosigningMessage): void {
  if (message.type === 'cosignatures') replica.peerSignatures(from, message)
  else if (message.type === 'cosignatureRequest') replica.peerRequest(from, message.size)
  else replica.peerTransition(from, message.note)
}

const verifier = createInlineVerifier()
const ignore = (): void => {}

/** Starts a replica on its disk and runs it. */
export async function startReplica<R extends Replicator & { stop(): void }>(options: {
  readonly cluster: TestCluster
  readonly name: string
  readonly disk: ReplicaDisk
  /** For the ledger that was found. */
  readonly replicator: (ledger: Ledger) => Promise<R>
  readonly network?: CosigningNetwork
  /** To make it compute something else than the others. */
  readonly ledgerOptions?: LedgerOptions
  readonly overrides?: Partial<ReplicaOptions>
}): Promise<ReplicaBench<R>> {
  const { cluster, name, disk, network = new CosigningNetwork() } = options
  const state = createMemoryStateStore(disk.state, disk.writeState)
  const how = options.ledgerOptions ?? ledgerOptions
  const opened = await Ledger.open(state, how)
  const created = opened === undefined ? await Ledger.create(state, cluster.signedGenesis, how) : undefined
  const ledger = opened ?? created!.ledger
  const replicator = await options.replicator(ledger)
  const trail = await openMemoryTrail(created === undefined ? ledger.treeSize : 0, disk.trail)
  const keys = nodeKeysOf(name)
  const faults: unknown[] = []
  const replica = new Replica(
    {
      ledger,
      keys,
      replicator,
      verifier,
      trail,
      state,
      logger: silentLogger,
      observer: {
        refused: ignore,
        applied: ignore,
        pending: ignore,
        stage: ignore,
        treeSize: ignore,
        published: ignore,
      },
      signedHead: disk.signedHead,
      crossCheck: crossCheckTree,
      broadcast: (message) => {
        for (const to of network.names) {
          network.deliver(name, to, (other) => {
            hear(other, keys.peerId, message)
          })
        }
      },
      send: (to, message) => {
        const target = network.names.find((each) => toHex(nodeKeysOf(each).peerId) === toHex(to))
        if (target !== undefined) network.deliver(name, target, (other) => hear(other, keys.peerId, message))
      },
      onMembersChanged: ignore,
      onFatal: (error) => {
        faults.push(error)
        replicator.stop()
      },
      batchIntervalMs: cluster.genesis.limits.batchIntervalMs,
      idleMarkMs: 50,
      pendingProposalsMax: 4096,
      unappliedCostMsMax: 2000,
      members: () => [],
      standing: () => ({ membership: 'voter', damagedEntries: 0, inDoubt: false }),
      version: 'test',
      ...options.overrides,
    },
    await resumedFrom(trail),
  )
  network.join(name, replica)
  if (created === undefined) await replica.resume()
  else replica.begin(created.leaf, created.closed)
  void replica.run()
  return {
    name,
    replica,
    replicator,
    ledger,
    trail,
    faults,
    async stop() {
      network.leave(name)
      replicator.stop()
      await replica.stop()
      await trail.close()
      await state.close()
    },
  }
}

/** One replica that leads alone, on the memory twin of the log. */
export async function startAlone(
  cluster: TestCluster,
  log: MemoryLog,
  disk: ReplicaDisk,
  overrides: Partial<ReplicaOptions> = {},
): Promise<ReplicaBench<MemoryReplicator>> {
  const replicator = new MemoryReplicator({ log, id: 'me', now: () => createdAt })
  const name = cluster.replicas[0]!
  const bench = await startReplica({ cluster, name, disk, overrides, replicator: () => Promise.resolve(replicator) })
  replicator.lead()
  return bench
}

/** What a faulty leader does: it appends whatever it is given. */
export const admitAnything = (
  _ledger: unknown,
  _verifier: unknown,
  { signed, body }: Omit<Proposal, 'receipt'>,
): Promise<Admitted> => Promise.resolve({ outcome: 'admitted', payload: encode(logEntry, [signed, body]) })

/** Waits until `condition` holds; throws after 10 s. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + 10_000
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`timed out: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

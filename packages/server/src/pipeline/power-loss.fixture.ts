/**
 * Replicas that lose power. A {@link Machine} has all disks of a replica on one power supply, which fails at an
 * operation of a test's choice; what was not synced by then is lost, kept or torn. A {@link CrashingReplica} leads
 * alone on such a machine. In the end its trail must be that of a replica that was never interrupted, and hold
 * everything it ever acknowledged, signed or published ({@link Comparison}).
 */
import { auditTrail, trailFiles } from '@cipherlog/audit'
import { decode, equalBytes, errorCode, invariant, toHex, utf8 } from '@cipherlog/core'
import { sha256 } from '@cipherlog/crypto/hash'
import { group0, leafKinds, leafRecord } from '@cipherlog/format'
import { Ledger, type Proposal } from '@cipherlog/machine'
import { rootFromTiles } from '@cipherlog/merkle/tree'
import { parseCheckpoint, parseNote } from '@cipherlog/merkle/verify'
import {
  createMemoryDisk,
  createMemoryStateStore,
  openMemoryTrail,
  type MemoryDisk,
  type TrailStore,
} from '@cipherlog/storage'
import { type Prng } from '@cipherlog/testkit'
import { expect } from 'vitest'
import { type CommittedEntry, type Replicator } from '../replicator.ts'
import { appliedOf, createdAt, ledgerOptions, type TestCluster } from './cluster.fixture.ts'
import { MemoryReplicator } from './memory-replicator.fixture.ts'
import { RaftCluster, type RaftNode } from './raft-cluster.fixture.ts'
import { type RaftReplicator } from './raft-replicator.ts'
import { createReplicaDisk, startReplica, until, type ReplicaBench } from './replica.fixture.ts'
import { type Replica, type ReplicaOptions } from './replica.ts'

/** What a power loss leaves of changes that were not synced. `torn`: some whole, some in pieces, some not at all. */
export type Unsynced = 'lost' | 'kept' | 'torn'

/** All disks of one replica. Every write, sync, rename and removal counts as an operation. */
export class Machine {
  readonly disk = createReplicaDisk()
  readonly walDisk = createMemoryDisk()
  /** What each operation so far was, such as `wal datasync`. */
  readonly operations: string[] = []
  readonly #unsynced: Unsynced
  readonly #random: Prng
  #cutAt = Infinity
  #dark = false
  #cuts = 0

  constructor(unsynced: Unsynced, random: Prng) {
    this.#unsynced = unsynced
    this.#random = random
    this.disk.trail.fault = ({ kind }) => this.#operation(`trail ${kind}`)
    this.walDisk.fault = ({ kind }) => this.#operation(`wal ${kind}`)
    // State and signed head change as a whole or not at all.
    this.disk.writeState = async (apply) => {
      // Slower than anything else: whatever does not wait for it comes first.
      await new Promise((resolve) => setImmediate(resolve))
      if (this.#dark) throw new NoPower()
      const cut = this.#operation('state write') !== undefined
      if (!cut || this.#survives()) apply()
      if (cut) throw new NoPower()
    }
    const { signedHead } = this.disk
    signedHead.before = async () => {
      if (this.#dark) throw new NoPower()
      if (this.#operation('signed head write') !== undefined && !this.#survives()) throw new NoPower()
    }
    signedHead.after = async () => {
      if (this.#dark) throw new NoPower()
    }
  }

  #operation(what: string): 'crash' | undefined {
    if (this.#dark) return 'crash'
    this.operations.push(what)
    if (this.operations.length < this.#cutAt) return undefined
    this.#dark = true
    this.#cuts++
    this.disk.trail.crash()
    this.walDisk.crash()
    return 'crash'
  }

  #survives(): boolean {
    return this.#unsynced === 'kept' || (this.#unsynced === 'torn' && this.#random.chance(0.5))
  }

  /** The power fails at this operation, counted from 1 since the beginning: a sync is not carried out any more. */
  cutAt(operation: number): void {
    this.#cutAt = operation
  }

  get dark(): boolean {
    return this.#dark
  }

  /** How often the power has failed. */
  get cuts(): number {
    return this.#cuts
  }

  /** Power again, for good unless it is cut anew. */
  restore(): void {
    const unsynced = this.#unsynced === 'torn' ? this.#random.float : this.#unsynced
    this.disk.trail.restart(unsynced)
    this.walDisk.restart(unsynced)
    this.#cutAt = Infinity
    this.#dark = false
  }
}

class NoPower extends Error {
  constructor() {
    super('no power')
  }
}

/** What clients and mirrors saw; none of it may ever turn out untrue. */
export class Witnessed {
  /** By digest of what was proposed. */
  readonly answers = new Map<string, { readonly leaf: number; readonly verdicts: readonly number[] }>()
  /** Root by size, signed or published. */
  readonly roots = new Map<number, Uint8Array>()

  #root(size: number, rootHash: Uint8Array): void {
    const before = this.roots.get(size)
    invariant(before === undefined || equalBytes(before, rootHash), 'Two roots for one size.', { size })
    this.roots.set(size, rootHash)
  }

  /** What a machine has signed and a trail published at this moment. */
  look({ disk }: Machine, trail: Pick<TrailStore, 'checkpoint'> | undefined): void {
    const note = trail?.checkpoint()
    if (note !== undefined) {
      const { size, rootHash } = parseCheckpoint(parseNote(note).text)
      this.#root(size, rootHash)
    }
    const head = disk.signedHead.read()
    if (head !== undefined) this.#root(head.size, head.rootHash)
  }

  /** Proposes, and notes the answer, which must be the same each time. @throws what `propose` throws. */
  async propose(replica: Replica, proposal: Proposal, receipt: boolean): Promise<{ readonly leaf: number }> {
    const { digest, leaf, verdicts } = appliedOf(await replica.propose({ ...proposal, receipt }))
    const of = toHex(sha256(proposal.signed))
    expect(toHex(digest)).toBe(of)
    const before = this.answers.get(of)
    if (before !== undefined) expect({ leaf, verdicts }).toEqual(before)
    this.answers.set(of, { leaf, verdicts })
    return { leaf }
  }
}

export interface CrashingReplicaOptions {
  readonly cluster: TestCluster
  readonly machine: Machine
  readonly witnessed: Witnessed
  readonly seed: number
  readonly overrides?: Partial<ReplicaOptions>
  /** Of the log; the smaller, the more often a segment ends. */
  readonly segmentBytes?: number
}

/** The only replica of a cluster, on Raft with a log on disk. */
export class CrashingReplica {
  readonly #options: CrashingReplicaOptions
  readonly #raft: RaftCluster
  #node: RaftNode | undefined
  #bench: ReplicaBench<RaftReplicator> | undefined

  constructor(options: CrashingReplicaOptions) {
    this.#options = options
    this.#raft = new RaftCluster(['r1'], options.seed)
    if (options.segmentBytes !== undefined) this.#raft.walOptions = { segmentBytes: options.segmentBytes }
  }

  get bench(): ReplicaBench<RaftReplicator> {
    return this.#bench!
  }

  /** It lost power, or stopped because of that. */
  get dark(): boolean {
    return this.#options.machine.dark
  }

  async start(): Promise<void> {
    const { cluster, machine, overrides = {} } = this.#options
    this.#node = await this.#raft.startNode('r1', machine.walDisk)
    const { replicator } = this.#node
    this.#bench = await startReplica({
      cluster,
      name: 'r1',
      disk: machine.disk,
      replicator: () => Promise.resolve(replicator),
      overrides,
    })
    // There is nobody else to lead.
    for (let tick = 0; tick < 40 && replicator.leadingSince() === undefined && !this.dark; tick++) {
      this.#raft.tick()
      await this.#raft.settle(3)
    }
  }

  /** Notes what is signed and published at this moment. */
  look(): void {
    this.#options.witnessed.look(this.#options.machine, this.#bench?.trail)
  }

  /** The lights are out; then some of what was not synced is gone. */
  async restore(): Promise<void> {
    this.look()
    const before = this.#bench
    this.#bench = undefined
    this.#node?.replicator.stop()
    before?.replica.halt()
    await before?.replica.stop()
    await this.#node?.wal.close()
    this.#node = undefined
    this.#options.machine.restore()
  }

  /** Stops it gracefully. Returns its log. */
  async stop(): Promise<CommittedEntry[]> {
    const { replicator, wal } = this.#node!
    const entries = await committedEntries(replicator)
    await this.bench.stop()
    await wal.close()
    return entries
  }
}

/** The whole log that a replica has committed. */
export async function committedEntries(
  replicator: Pick<Replicator, 'status' | 'committed'>,
): Promise<CommittedEntry[]> {
  const entries: CommittedEntry[] = []
  const { commitIndex } = replicator.status()
  while (entries.length < commitIndex) entries.push(...(await replicator.committed(entries.length + 1, 1 << 20)))
  return entries.slice(0, commitIndex)
}

/** Waits for the receipt of a leaf; false if it was not published in time, as when the power is gone. */
export async function published({ replica }: { readonly replica: Replica }, leaf: number, waitMs: number) {
  try {
    await replica.receipt(leaf, waitMs)
    return true
  } catch (error) {
    if (errorCode(error) !== 'ERR_NOT_PUBLISHED') throw error
    return false
  }
}

/** What a replica that is never interrupted has after a log, kept for the next one that ends with the same log. */
class Twin {
  readonly size: number
  /** Undefined if its trail has no such file. */
  readonly file: (path: string) => Promise<Uint8Array | undefined>
  readonly rootOf: (size: number) => Promise<Uint8Array>

  constructor({ ledger, trail }: ReplicaBench<Replicator>) {
    this.size = ledger.treeSize
    this.file = async (path) => {
      const file = await trail.file(path)
      return file?.read(0, file.size)
    }
    this.rootOf = (size) => rootFromTiles(size, (level, index, width) => trail.readTile(level, index, width))
  }
}

/** Compares stopped replicas of one cluster with one that applies the same log on a fresh disk. */
export class Comparison {
  readonly #cluster: TestCluster
  /** By digest of the log. */
  readonly #twins = new Map<string, Twin>()

  constructor(cluster: TestCluster) {
    this.#cluster = cluster
  }

  /** Logs that were compared; the same one again costs little. */
  get logs(): number {
    return this.#twins.size
  }

  /**
   * What a machine holds must be what its log gives without a crash; what was witnessed must be there, each proposal
   * exactly once as it was answered; and an audit must find nothing.
   */
  async expectUninterrupted(options: {
    readonly entries: readonly CommittedEntry[]
    readonly machine: Machine
    readonly witnessed: Witnessed
    readonly proposals: readonly Proposal[]
  }): Promise<void> {
    const { entries, machine, witnessed, proposals } = options
    const digest = digestOf(entries)
    const known = this.#twins.get(digest)
    const twin = known ?? (await this.#twin(entries))
    this.#twins.set(digest, twin)

    const disk = machine.disk.trail
    const bytes = await filesOf(disk)
    for (const [path, found] of bytes) {
      if (!path.startsWith('tile/')) continue
      const expected = await twin.file(path)
      expect(expected, `${path} is not in the twin's trail`).toBeDefined()
      expect(equalBytes(found, expected!), path).toBe(true)
    }
    for (const [size, root] of witnessed.roots) {
      expect(toHex(root), `root of size ${size}`).toBe(toHex(await twin.rootOf(size)))
    }
    const leaves = await commandLeaves(await openMemoryTrail(twin.size, disk))
    expect(leaves.size).toBe(proposals.length)
    for (const proposal of proposals) {
      const of = toHex(sha256(proposal.signed))
      expect(leaves.get(of)).toEqual([witnessed.answers.get(of)])
    }
    // Every byte but the signatures is that of a trail whose rules were replayed before.
    expect(await this.#auditedSize(bytes, known === undefined)).toBe(twin.size)
  }

  /**
   * What a restart makes of the trail, before any of the log is replayed: whoever copies it then must be able to audit
   * what was published. Does a part of what the next start does.
   */
  async expectWholeTrail({ disk }: Machine): Promise<void> {
    const ledger = await Ledger.open(createMemoryStateStore(disk.state), ledgerOptions)
    await openMemoryTrail(ledger?.treeSize ?? 0, disk.trail)
    const bytes = await filesOf(disk.trail)
    if (bytes.has('checkpoint')) await this.#auditedSize(bytes, false)
  }

  async #auditedSize(files: ReadonlyMap<string, Uint8Array>, replay: boolean): Promise<number> {
    const trustPolicy = { version: 1, cluster: this.#cluster.id, group: group0, generation: 0 } as const
    const report = await auditTrail(trailFiles(files), {
      trustPolicy: { ...trustPolicy, witnesses: [], witnessesRequired: 0 },
      replay,
    })
    expect(report.problems).toEqual([])
    return report.treeSize
  }

  async #twin(entries: readonly CommittedEntry[]): Promise<Twin> {
    const log = { entries: [...entries], term: 1 }
    const bench = await startReplica({
      cluster: this.#cluster,
      name: this.#cluster.replicas[0]!,
      disk: createReplicaDisk(),
      replicator: () => Promise.resolve(new MemoryReplicator({ log, id: 'me', now: () => createdAt })),
    })
    await until(() => bench.ledger.appliedIndex === entries.length, 'the twin has applied the log')
    await bench.trail.flush({ sync: true })
    // Its trail stays open.
    bench.replicator.stop()
    await bench.replica.stop()
    return new Twin(bench)
  }
}

async function filesOf(disk: MemoryDisk): Promise<Map<string, Uint8Array>> {
  // All at one moment: a disk in memory reads before it returns a promise.
  return new Map(await Promise.all(disk.paths().map(async (path) => [path, (await disk.readFile(path))!] as const)))
}

function digestOf(entries: readonly CommittedEntry[]): string {
  const each = entries.map(({ kind, time, payload }) => `${kind} ${time} ${toHex(sha256(payload))}`)
  return toHex(sha256(utf8(each.join('\n'))))
}

/** Leaves and verdicts of key events, session openings and bundles, by digest of what was signed. */
async function commandLeaves(trail: TrailStore): Promise<Map<string, { leaf: number; verdicts: readonly number[] }[]>> {
  const out = new Map<string, { leaf: number; verdicts: readonly number[] }[]>()
  for (let leaf = 0; leaf < trail.size; leaf++) {
    // Batch records sign nothing.
    if ((await trail.readSigned(leaf)).length === 0) continue
    const { kind, digest, verdicts = [] } = decode(leafRecord, await trail.readEntry(leaf))
    if (kind === leafKinds.genesis) continue
    out.set(toHex(digest), [...(out.get(toHex(digest)) ?? []), { leaf, verdicts }])
  }
  return out
}

/** The whole state of a core as plain JSON and back: cheap, since explorers do it a million times. */
import { type ElectionDump } from './election.ts'
import { Core } from './core.ts'
import { type LeasesDump } from './leases.ts'
import { type ClocksDump } from './log-time.ts'
import { type LogDump, RaftLog } from './log.ts'
import { dumpSnapshot, loadSnapshot, type PeerId, type SnapshotDump } from './membership.ts'
import { PendingWrites, type WritesDump } from './pending-writes.ts'
import { type ProposalsDump } from './proposals.ts'
import { type QuiescenceDump } from './quiescence.ts'
import { type ReadsDump } from './reads.ts'
import { type ReconfigurationDump } from './reconfiguration.ts'
import { type ReplicationDump } from './replication.ts'
import { type TransferDump } from './transfer.ts'
import { type Effect, type RaftConfig, type Role } from './types.ts'

export interface CoreDump {
  readonly term: number
  readonly votedFor: PeerId | null
  readonly role: Role
  readonly leaderId: PeerId | null
  readonly commit: number
  readonly applied: number
  readonly ticks: number
  readonly clockMs: number
  readonly monotonicMs: number | null
  readonly snapshot: SnapshotDump | null
  /** `confChanged` for what was replayed at the start and the first step will say; else none. */
  readonly effects: readonly Effect[]
  readonly log: LogDump
  readonly writes: WritesDump
  readonly clocks: ClocksDump
  readonly election: ElectionDump
  readonly replication: ReplicationDump
  readonly proposals: ProposalsDump
  readonly reconfiguration: ReconfigurationDump
  readonly reads: ReadsDump
  readonly leases: LeasesDump
  readonly transfer: TransferDump
  readonly quiescence: QuiescenceDump
}

export function dumpCore(core: Core): CoreDump {
  return {
    term: core.term,
    votedFor: core.votedFor ?? null,
    role: core.role,
    leaderId: core.leaderId ?? null,
    commit: core.commit,
    applied: core.applied,
    ticks: core.ticks,
    clockMs: core.clockMs,
    monotonicMs: core.monotonicMs ?? null,
    snapshot: dumpSnapshot(core.snapshot),
    effects: [...core.out.effects],
    log: core.log.dump(),
    writes: core.writes.dump(),
    clocks: core.clocks.dump(),
    election: core.election.dump(),
    replication: core.replication.dump(),
    proposals: core.proposals.dump(),
    reconfiguration: core.reconfiguration.dump(),
    reads: core.reads.dump(),
    leases: core.leases.dump(),
    transfer: core.transfer.dump(),
    quiescence: core.quiescence.dump(),
  }
}

export function loadCore(config: Required<RaftConfig>, dump: CoreDump): Core {
  const core = new Core(config, RaftLog.fromDump(dump.log), PendingWrites.fromDump(dump.writes))
  core.term = dump.term
  core.votedFor = dump.votedFor ?? undefined
  core.role = dump.role
  core.leaderId = dump.leaderId ?? undefined
  core.commit = dump.commit
  core.applied = dump.applied
  core.ticks = dump.ticks
  core.clockMs = dump.clockMs
  core.monotonicMs = dump.monotonicMs ?? undefined
  core.snapshot = loadSnapshot(dump.snapshot)
  core.out.effects.push(...dump.effects)
  core.clocks.load(dump.clocks)
  core.election.load(dump.election)
  core.replication.load(dump.replication)
  core.proposals.load(dump.proposals)
  core.reconfiguration.load(dump.reconfiguration)
  core.reads.load(dump.reads)
  core.leases.load(dump.leases)
  core.transfer.load(dump.transfer)
  core.quiescence.load(dump.quiescence)
  return core
}

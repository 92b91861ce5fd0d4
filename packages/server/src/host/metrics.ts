/**
 * Prometheus series of a node, named after etcd's where they mean the same. One registry per node, so that several
 * nodes of one process (embedding, tests) do not mix.
 */
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'

/** 0.1 ms doubling to 3.3 s: a fast disk's sync is at the low end, a hung one beyond the high end. */
const durationBuckets = Array.from({ length: 16 }, (_, i) => 0.0001 * 2 ** i)

export type Metrics = ReturnType<typeof createMetrics>

/** @param options.process - also CPU, memory, event loop and garbage collection of the process; once per process. */
export function createMetrics(options: { readonly process: boolean }) {
  const registry = new Registry()
  const registers = [registry]
  const gauge = (name: string, help: string) => new Gauge({ name: `cipherlog_${name}`, help, registers })
  const counter = <const L extends string = never>(name: string, help: string, labelNames: readonly L[] = []) =>
    new Counter<L>({ name: `cipherlog_${name}`, help, labelNames, registers })
  const histogram = <const L extends string = never>(name: string, help: string, labelNames: readonly L[] = []) =>
    new Histogram<L>({ name: `cipherlog_${name}`, help, labelNames, buckets: durationBuckets, registers })
  if (options.process) collectDefaultMetrics({ register: registry })
  return {
    registry,
    hasLeader: gauge('has_leader', '1 if this replica knows a leader.'),
    isLeader: gauge('is_leader', '1 if this replica leads.'),
    leaderChangesSeen: counter('leader_changes_seen_total', 'Changes of leader that this replica saw.'),
    proposalsCommitted: counter('proposals_committed_total', 'Proposals committed on this replica.'),
    proposalsApplied: counter('proposals_applied_total', 'Commands applied, verdict 0.'),
    proposalsRefused: counter('proposals_refused_total', 'Proposals refused without a leaf.', ['code']),
    proposalsRejected: counter('proposals_rejected_total', 'Commands rejected by a verdict.', ['verdict']),
    proposalsPending: gauge('proposals_pending', 'Proposals without an answer yet.'),
    walAppendDuration: histogram(
      'wal_append_duration_seconds',
      'Time until an append to the write-ahead log is durable.',
    ),
    walWriteBytes: counter('wal_write_bytes_total', 'Bytes written to the write-ahead log.'),
    peerSentBytes: counter('peer_sent_bytes_total', 'Bytes of frames handed to the connection of a peer.', ['peer']),
    peerReceivedBytes: counter('peer_received_bytes_total', 'Bytes of frames received from a peer.', ['peer']),
    peerDroppedFrames: counter('peer_dropped_frames_total', 'Frames dropped: not connected or queue full.', ['peer']),
    peerUnknownFrames: counter('peer_unknown_frames_total', 'Frames of unknown kind, ignored.', ['peer']),
    peerRoundTripTime: histogram('peer_round_trip_time_seconds', 'Ping to a peer and back.', ['peer']),
    treeSize: gauge('tree_size', 'Leaves of the tree.'),
    publishedSize: gauge('published_size', 'Size of the newest published checkpoint.'),
    applyDuration: histogram('apply_duration_seconds', 'Time to apply one log entry.'),
    stageDuration: histogram('stage_duration_seconds', 'Time that commands spend before a stage.', ['stage']),
    peerStrayFrames: counter('peer_stray_frames_total', 'Frames of groups that do not run here, ignored.', ['peer']),
    voters: gauge('voters', 'Voters of the group, as this replica knows.'),
    learners: gauge('learners', 'Learners of the group, as this replica knows.'),
    joint: gauge('membership_joint', '1 while the configuration is joint.'),
    compactedIndex: gauge('log_compacted_index', 'Entries up to here are not in the log any more.'),
    damagedEntries: gauge('log_damaged_entries', 'Entries whose payload is damaged and not fetched yet.'),
    payloadsRepaired: counter('log_payloads_repaired_total', 'Damaged payloads fetched from peers.'),
    scrubFindings: counter('log_scrub_findings_total', 'Damaged places that rereading the log has found.'),
    snapshotDuration: histogram('snapshot_duration_seconds', 'Time to write a snapshot.'),
    snapshotBytes: gauge('snapshot_bytes', 'Size of the newest snapshot taken here.'),
    snapshotsInstalled: counter('snapshots_installed_total', 'Snapshots of others installed here.'),
    snapshotReceivedBytes: counter('snapshot_received_bytes_total', 'Bytes of snapshots fetched from peers.'),
    snapshotsDiscarded: counter('snapshots_discarded_total', 'Snapshots, or parts, that were wrong.', ['problem']),
    trailFrom: gauge('trail_from', 'First leaf whose trail files are here.'),
    proofVerifications: counter('proof_verifications_total', 'Zero-knowledge proofs checked.', ['result']),
  }
}

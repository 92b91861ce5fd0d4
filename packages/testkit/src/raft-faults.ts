/**
 * What goes wrong in a simulated Raft cluster, how often, and how often it did.
 */

/** Rates per message, per node and round, or per round. All zero: a perfect network, where only calls cause faults. */
export interface RaftFaults {
  /** Messages lost, sent twice. */
  readonly drop: number
  readonly duplicate: number
  /** Rounds a message or a disk write takes at most; above 0 messages overtake each other. */
  readonly messageRoundsMax: number
  readonly writeRoundsMax: number
  /** Crash of a node per round; it stays down for up to `downRoundsMax`. */
  readonly crash: number
  readonly downRoundsMax: number
  /** Crash of a leader per round. */
  readonly crashLeader: number
  /** A crash that takes the disk with it, per node and round; the node comes back empty, as another peer. */
  readonly wipe: number
  /** A new partition per round, one-way or not; and its end. */
  readonly partition: number
  readonly heal: number
  /** A disk that hangs per node and round; and its end. */
  readonly hang: number
  readonly unhang: number
  /** A node that misses its tick. */
  readonly skipTick: number
  /** A process that stands still per node and round, for up to `pauseRoundsMax`: what arrives waits for it. */
  readonly pause: number
  readonly pauseRoundsMax: number
  /** A directed link that holds everything back per round, for up to `clogRoundsMax`. */
  readonly clog: number
  readonly clogRoundsMax: number
  /** An old acknowledgement of a write delivered again. */
  readonly repeatAppended: number
  /** The machine's state made durable, a snapshot taken, the log compacted: per node and round. */
  readonly compact: number
  /** Rounds it takes to fetch a snapshot, and how often the leader never hears how it went. */
  readonly snapshotRoundsMax: number
  readonly loseSnapshotStatus: number
}

export const noRaftFaults: RaftFaults = {
  drop: 0,
  duplicate: 0,
  messageRoundsMax: 0,
  writeRoundsMax: 0,
  crash: 0,
  downRoundsMax: 0,
  crashLeader: 0,
  wipe: 0,
  partition: 0,
  heal: 0,
  hang: 0,
  unhang: 0,
  skipTick: 0,
  pause: 0,
  pauseRoundsMax: 0,
  clog: 0,
  clogRoundsMax: 0,
  repeatAppended: 0,
  compact: 0,
  snapshotRoundsMax: 0,
  loseSnapshotStatus: 0,
}

/** What is counted: a run that never met a fault, or never did a kind of work, has not tested it. */
const counted = [
  ...['elections', 'stepDowns', 'committed', 'proposed', 'lost', 'forwarded', 'truncations'],
  ...['reads', 'readsFailed', 'leaseReads', 'followerReads'],
  ...['crashes', 'tornWrites', 'wipes', 'dropped', 'duplicated', 'clogs', 'pauses', 'partitions', 'hangs', 'coups'],
  ...['confChanges', 'jointConfs', 'learners', 'replaced', 'transfers', 'transfersFailed'],
  ...['compactions', 'snapshotsInstalled', 'snapshotsFailed', 'snapshotStatusLost', 'slept'],
] as const

export type RaftNetworkCounts = Record<string, number>

export function noCounts(): RaftNetworkCounts {
  return Object.fromEntries(counted.map((what) => [what, 0]))
}

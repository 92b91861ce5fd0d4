/** A replica's disk: write-ahead log, state store, trail files, data directory, each with a memory twin. */
export { openDataDirectory, type DataDirectory, type DataIdentity } from './data-directory.ts'
export { createFileWal, createMemoryWal } from './wal/open-wal.ts'
export { createScrubber, type Scrubber, type ScrubberOptions } from './wal/scrubber.ts'
export {
  type Wal,
  type WalAppend,
  type WalBase,
  type WalContents,
  type WalDamage,
  type WalDamagePolicy,
  type WalDoubt,
  type WalEntry,
  type WalGroupContents,
  type WalIdentity,
  type WalOptions,
  type WalRepairs,
  type WalRetention,
  type WalScrub,
  type WalSettlement,
} from './wal/wal.ts'
export { fsck } from './fsck/fsck.ts'
export { type FsckGroup, type FsckOptions, type FsckProblem, type FsckReport, type FsckStore } from './fsck/report.ts'
export { createLevelStateStore, stateDatabase } from './state-store/level-state-store.ts'
export { createMemoryStateStore, type StateMemory } from './state-store/memory-state-store.ts'
export {
  stateKeyBytesMax,
  type PendingBatch,
  type StateReplacement,
  type StateStore,
} from './state-store/state-store.ts'
export { openFileTrail, openMemoryTrail } from './trail/open-trail.ts'
export { installFileTrail, installMemoryTrail } from './trail/install-trail.ts'
export { readTrailEdge, trailEdge, type TrailEdge } from './trail/trail-edge.ts'
export {
  type TileHash,
  type TrailFile,
  type TrailLeaf,
  type TrailPublication,
  type TrailSource,
  type TrailStore,
} from './trail/trail-store.ts'
export { openFileSnapshots, openMemorySnapshots } from './snapshots/file-snapshots.ts'
export {
  snapshotsKept,
  type SnapshotDownload,
  type SnapshotHead,
  type SnapshotStore,
  type StoredSnapshot,
} from './snapshots/snapshot-store.ts'
export { createMemoryDisk, type DiskFault, type DiskOperation, type MemoryDisk } from './disk/memory-disk.ts'
export { type DirectoryEntry, type Disk, type DiskFile } from './disk/disk.ts'
export {
  SnapshotDamagedError,
  SnapshotUnknownError,
  StorageClosedError,
  StorageFailedError,
  TrailDamagedError,
  TrailNotHereError,
  TrailShortError,
  WalCorruptError,
  WalFencedError,
  WalPayloadDamagedError,
  WalReadOnlyError,
  WalRepairMismatchError,
} from './errors.ts'

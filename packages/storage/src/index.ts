/** WAL, state store and trail, on disk and in memory. */
export { createFileWal, createMemoryWal } from './wal/open-wal.ts'
export { type Wal } from './wal/wal.ts'
export { createLevelStateStore } from './state-store/level-state-store.ts'
export { createMemoryStateStore } from './state-store/memory-state-store.ts'
export { type StateStore } from './state-store/state-store.ts'
export { openFileTrail, openMemoryTrail } from './trail/open-trail.ts'
export { type TrailStore, type TrailFile } from './trail/trail-store.ts'
export const openDataDirectory = (..._: unknown[]) => Promise.resolve({ close: () => Promise.resolve() })

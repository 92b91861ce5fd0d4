/**
 * The disk of a simulated replica: the log, and what its machine made durable. Only whole parts of a write are ever
 * there, in the order in which the core asks for them; a crash can fall between two.
 */
import { invariant } from '@cipherlog/core'
import {
  type ConfState,
  type Effect,
  type EntryRef,
  type HardState,
  type LogBase,
  type SnapshotMeta,
} from '@cipherlog/raft'

/** What survives a crash. */
export interface RaftDisk {
  hardState: HardState
  /** The log begins after it. */
  base: LogBase
  refs: EntryRef[]
  /** The machine's durable state: everything up to `applied`, its value, and the configuration as of there. */
  applied: number
  state: number
  confState: ConfState
  /** The newest snapshot that peers can be sent. */
  snapshot: SnapshotMeta | undefined
}

export type RaftWrite = Extract<Effect, { type: 'append' }>

/** A part of a write, after which a crash may find the disk. */
export type WritePart = Omit<RaftWrite, 'type' | 'ioId'>

export function emptyDisk(confState: ConfState, initialTimeMs: number): RaftDisk {
  return {
    hardState: { term: 0, votedFor: undefined, commit: 0 },
    base: { index: 0, term: 0, time: initialTimeMs },
    refs: [],
    applied: 0,
    state: 0,
    confState,
    snapshot: undefined,
  }
}

/** The parts of a write in their order. */
export function partsOf({ snapshot, hardState, truncateFrom, entries }: RaftWrite): WritePart[] {
  return [
    // A snapshot and the hard state are one part: the term of the one may be newer than that of the other alone.
    ...(snapshot === undefined
      ? hardState === undefined
        ? []
        : [{ hardState, entries: [] }]
      : [{ snapshot, ...(hardState === undefined ? {} : { hardState }), entries: [] }]),
    ...(truncateFrom === undefined ? [] : [{ truncateFrom, entries: [] }]),
    ...entries.map((entry) => ({ entries: [entry] })),
  ]
}

export function writePart(disk: RaftDisk, { snapshot, hardState, truncateFrom, entries }: WritePart): void {
  if (snapshot !== undefined) {
    disk.base = { index: snapshot.index, term: snapshot.term, time: snapshot.time }
    disk.refs = []
    disk.applied = snapshot.index
    disk.state = stateIn(snapshot)
    disk.confState = snapshot.confState
    disk.snapshot = snapshot
  }
  if (hardState !== undefined) disk.hardState = hardState
  if (truncateFrom !== undefined) {
    disk.refs.length = Math.max(0, Math.min(disk.refs.length, truncateFrom - 1 - disk.base.index))
  }
  for (const { ref } of entries) {
    invariant(ref.index === lastIndexOf(disk) + 1, 'A write leaves a gap on disk', { index: ref.index })
    disk.refs.push(ref)
  }
}

/** Drops the log up to `index`, which it holds. */
export function compactDisk(disk: RaftDisk, index: number): void {
  const { term, time } = refAt(disk, index)!
  disk.refs = disk.refs.slice(index - disk.base.index)
  disk.base = { index, term, time }
}

export function lastIndexOf({ base, refs }: RaftDisk): number {
  return base.index + refs.length
}

/** Undefined outside the log. */
export function refAt({ base, refs }: RaftDisk, index: number): EntryRef | undefined {
  return refs[index - base.index - 1]
}

/** True if the disk holds the entry of `term` at `index`, or a state that it went into. */
export function holds(disk: RaftDisk, index: number, term: number): boolean {
  return index <= disk.base.index || refAt(disk, index)?.term === term
}

/** The machine: a number that every entry changes, so that equal numbers mean equal histories. */
export function applyTo(state: number, { index, term, kind, digest }: EntryRef): number {
  let hash = state
  for (const value of [index, term, kind, ...digest.subarray(0, 8)]) {
    hash = (Math.imul(hash ^ value, 0x01000193) + 0x9e3779b9) >>> 0
  }
  return hash
}

/** A snapshot of the simulated machine is its number, in the first bytes of the digest. */
export function digestOf(state: number): Uint8Array {
  const digest = new Uint8Array(32)
  new DataView(digest.buffer).setUint32(0, state)
  return digest
}

export function stateIn({ digest }: SnapshotMeta): number {
  return new DataView(digest.buffer, digest.byteOffset).getUint32(0)
}

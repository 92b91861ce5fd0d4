/**
 * Snapshots: the state of a replica at one batch record, in bytes that are the same on every replica.
 *
 * A snapshot is a *stream* and a manifest. The stream is all pairs of the state store in order of key, each
 * `key bytes (u16) ‖ value bytes (u32) ‖ key ‖ value`, big-endian, with nothing between or after. It is cut into
 * *chunks* of 1,048,576 bytes, the last one shorter; a pair may lie across chunks. The manifest lists the SHA-256 of each
 * chunk, and the SHA-256 of the manifest is the snapshot's *digest*, by which replicas name it.
 *
 * Before the state, whose keys begin with a letter, stands the *trail edge* under keys that begin with a zero byte: with
 * it a replica goes on with the trail while the files of older leaves are still missing. Its leaves are those from
 * `trailFrom` = 256·⌊(treeSize − 1) / 256⌋ on, under `00 01 ‖ leaf (u64)`. Its tiles, under `00 00 ‖ level (u8)` from
 * level 1 on, are those that cover leaf `trailFrom`, with the hashes that the tree has so far, 32 bytes each; a tile
 * without any is left out.
 */
import {
  array,
  bytes,
  compareBytes,
  concatBytes,
  constant,
  decode,
  DecodeError,
  encode,
  equalBytes,
  record,
  uint,
  writeU64,
  type TypeOf,
} from '@cipherlog/core'
import { sha256 } from '@cipherlog/crypto/hash'
import { batchRecord, type BatchRecord } from './batch-record.ts'
import { bodiesBytesMax, bundleBytesMax } from './command-bundle.ts'
import { clusterId, digest, formatVersion, groupId, timeMs } from './common.ts'
import { leafRecordBytesMax } from './leaf-record.ts'
import { confState, type StoredConfState } from './membership.ts'

/** Bytes of every chunk but the last. */
export const snapshotChunkBytes = 1_048_576
/** 128 GiB: a manifest that names so many still fits into one frame. */
export const snapshotChunksMax = 131_072
export const snapshotManifestBytesMax = 8_388_608

/** Names one snapshot and every byte of it. */
export const snapshotManifest = record('snapshot-manifest', {
  version: [0, constant(formatVersion)],
  cluster: [1, clusterId],
  group: [2, groupId],
  generation: [3, uint()],
  /** The log entry that closed the batch: everything up to it is in the state, nothing after it. */
  index: [4, uint(Number.MAX_SAFE_INTEGER, 1)],
  term: [5, uint(Number.MAX_SAFE_INTEGER, 1)],
  /** Log time of that entry. */
  time: [6, timeMs],
  /** Who took part as of `index`; the lists are sorted. */
  confState: [7, confState],
  treeSize: [8, uint(Number.MAX_SAFE_INTEGER, 1)],
  rootHash: [9, digest],
  /** The batch record: leaf `treeSize` − 1. It names state root, newest key event and rules. */
  batchRecord: [10, bytes(1, 256)],
  /** Pairs in the stream. */
  pairs: [11, uint(Number.MAX_SAFE_INTEGER, 1)],
  /** Bytes of the stream. */
  bytes: [12, uint(snapshotChunksMax * snapshotChunkBytes, 1)],
  chunks: [13, array(digest, snapshotChunksMax, 1)],
})
export type SnapshotManifest = TypeOf<typeof snapshotManifest>

/** Signed bytes of any kind of leaf. */
export const signedLeafBytesMax: number = bundleBytesMax + 4096

/** A leaf of the trail edge. */
export const snapshotLeaf = record('snapshot-leaf', {
  /** The leaf record. */
  entry: [1, bytes(1, leafRecordBytesMax)],
  /** What stands in `tile/bundle`; empty for a batch record. */
  signed: [2, bytes(0, signedLeafBytesMax)],
  /** What stands in `tile/body`. */
  body: [3, bytes(0, bodiesBytesMax)],
})
export type SnapshotLeaf = TypeOf<typeof snapshotLeaf>

/** A manifest that was read, checked against itself. */
export interface OpenedSnapshotManifest {
  readonly manifest: SnapshotManifest
  readonly record: BatchRecord
  /** SHA-256 of the manifest: the snapshot's name. */
  readonly digest: Uint8Array
}

/** The manifest's bytes. @throws RangeError if it contradicts itself. */
export function encodeSnapshotManifest(manifest: SnapshotManifest): Uint8Array {
  const problem = contradiction(manifest)
  if (typeof problem === 'string') throw new RangeError(`snapshot manifest: ${problem}`)
  return encode(snapshotManifest, manifest)
}

/** @throws DecodeError on anything but the one encoding of a manifest that does not contradict itself. */
export function decodeSnapshotManifest(bytes: Uint8Array): OpenedSnapshotManifest {
  const manifest = decode(snapshotManifest, bytes, snapshotManifestBytesMax)
  const record = contradiction(manifest)
  if (typeof record === 'string') {
    throw new DecodeError('ERR_DECODE_VALUE', `snapshot-manifest: ${record}; fetch it from another replica.`)
  }
  return { manifest, record, digest: sha256(bytes) }
}

/** What the manifest says twice, and differently; else its batch record. */
function contradiction(manifest: SnapshotManifest): string | BatchRecord {
  const { index, time, group, treeSize, chunks, confState: state } = manifest
  if (chunks.length !== Math.ceil(manifest.bytes / snapshotChunkBytes))
    return 'has not as many chunks as its bytes need'
  if (Object.values(state).some((list) => Array.isArray(list) && !isSorted(list))) {
    return 'names peers out of order or twice'
  }
  let record: BatchRecord
  try {
    record = decode(batchRecord, manifest.batchRecord)
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error
    return `holds no batch record (${error.message})`
  }
  if (
    record.logIndex !== index ||
    record.logTime !== time ||
    record.firstLeaf + record.leafCount + 1 !== treeSize ||
    !equalBytes(record.group, group)
  ) {
    return 'is not of the batch record that it holds'
  }
  return record
}

function isSorted(list: readonly Uint8Array[]): boolean {
  return list.every((item, i) => i === 0 || compareBytes(list[i - 1]!, item) < 0)
}

/** The configuration with its lists in the order that a manifest demands. */
export function sortedConfState(state: StoredConfState): StoredConfState {
  const sorted = (list: readonly Uint8Array[]): Uint8Array[] => [...list].sort(compareBytes)
  return {
    voters: sorted(state.voters),
    learners: sorted(state.learners),
    votersOutgoing: sorted(state.votersOutgoing),
    learnersNext: sorted(state.learnersNext),
    autoLeave: state.autoLeave,
  }
}

/** Bytes of chunk `number`, counted from 0. */
export function snapshotChunkLength({ bytes: total }: SnapshotManifest, number: number): number {
  return Math.max(0, Math.min(snapshotChunkBytes, total - number * snapshotChunkBytes))
}

const edgePrefix = 0
/** Keys of the trail edge in a snapshot's stream. */
export const snapshotEdgeKeys = {
  tile: (level: number): Uint8Array => Uint8Array.of(edgePrefix, 0, level),
  leaf(index: number): Uint8Array {
    const number = new Uint8Array(8)
    writeU64(number, 0, index)
    return concatBytes(Uint8Array.of(edgePrefix, 1), number)
  },
} as const

/** Whether a pair of the stream belongs to the trail edge; the others are the state. */
export function isSnapshotEdge(key: Uint8Array): boolean {
  return key[0] === edgePrefix
}

/** First leaf of the trail edge of a tree that is not empty: what a trail that starts from a snapshot holds. */
export function trailFromOf(treeSize: number): number {
  return treeSize - 1 - ((treeSize - 1) % 256)
}

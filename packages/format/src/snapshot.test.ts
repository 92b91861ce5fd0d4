import { encode, equalBytes, errorCode, utf8 } from '@cipherlog/core'
import { sha256 } from '@cipherlog/crypto/hash'
import { describe, expect, it } from 'vitest'
import { batchRecord } from './batch-record.ts'
import {
  decodeSnapshotManifest,
  encodeSnapshotManifest,
  isSnapshotEdge,
  snapshotChunkBytes,
  snapshotChunkLength,
  snapshotEdgeKeys,
  snapshotManifest,
  sortedConfState,
  trailFromOf,
  type SnapshotManifest,
} from './snapshot.ts'
import { encodeSnapshotPair, SnapshotPairReader, snapshotValueBytesMax, type SnapshotPair } from './snapshot-pairs.ts'

function codeOf(run: () => unknown): string | undefined {
  try {
    run()
  } catch (error) {
    return errorCode(error) ?? (error as Error).name
  }
  return undefined
}

const bytes32 = (fill: number): Uint8Array => new Uint8Array(32).fill(fill)
const peer = (fill: number): Uint8Array => new Uint8Array(16).fill(fill)

const record = encode(batchRecord, {
  kind: 5,
  group: new Uint8Array(16),
  logIndex: 9,
  logTime: 1000,
  firstLeaf: 6,
  leafCount: 3,
  batchRoot: bytes32(1),
  registryHead: { number: 0, digest: bytes32(2) },
  rulesVersion: 1,
})
const manifest: SnapshotManifest = {
  version: 1,
  cluster: bytes32(3),
  group: new Uint8Array(16),
  generation: 0,
  index: 9,
  term: 2,
  time: 1000,
  confState: {
    voters: [peer(1), peer(2)],
    learners: [peer(3)],
    votersOutgoing: [],
    learnersNext: [],
    autoLeave: false,
  },
  treeSize: 10,
  rootHash: bytes32(4),
  batchRecord: record,
  pairs: 2,
  bytes: snapshotChunkBytes + 1,
  chunks: [bytes32(5), bytes32(6)],
}

describe('a snapshot manifest', () => {
  it('comes back with its batch record and its digest', () => {
    const bytes = encodeSnapshotManifest(manifest)
    const opened = decodeSnapshotManifest(bytes)
    expect(opened.manifest).toEqual(manifest)
    expect(opened.record.registryHead.digest).toEqual(bytes32(2))
    expect(opened.digest).toEqual(sha256(bytes))
    expect([0, 1, 2].map((number) => snapshotChunkLength(manifest, number))).toEqual([snapshotChunkBytes, 1, 0])
  })

  it.each<[string, Partial<SnapshotManifest>]>([
    ['too few chunks', { chunks: [bytes32(5)] }],
    ['too many chunks', { bytes: snapshotChunkBytes }],
    ['another index than its batch record', { index: 10 }],
    ['another time', { time: 1001 }],
    ['another tree size', { treeSize: 11 }],
    ['another group', { group: peer(9) }],
    ['something else for a batch record', { batchRecord: utf8('no record') }],
    ['voters out of order', { confState: { ...manifest.confState, voters: [peer(2), peer(1)] } }],
    ['a learner twice', { confState: { ...manifest.confState, learners: [peer(3), peer(3)] } }],
  ])('is refused with %s, written or read', (_, change) => {
    const wrong = { ...manifest, ...change }
    expect(codeOf(() => encodeSnapshotManifest(wrong))).toBe('RangeError')
    expect(codeOf(() => decodeSnapshotManifest(encode(snapshotManifest, wrong)))).toBe('ERR_DECODE_VALUE')
  })

  it('has its configuration in one order, however the core lists it', () => {
    const { voters, ...rest } = manifest.confState
    expect(sortedConfState({ ...rest, voters: [...voters].reverse() })).toEqual(manifest.confState)
  })
})

describe('the stream of a snapshot', () => {
  const pairs: SnapshotPair[] = [
    [snapshotEdgeKeys.tile(1), bytes32(1)],
    [snapshotEdgeKeys.leaf(0), utf8('leaf')],
    [snapshotEdgeKeys.leaf(256), new Uint8Array(0)],
    [utf8('a'), new Uint8Array(70_000).fill(7)],
    [utf8('aa'), utf8('x')],
    [new Uint8Array(4096).fill(0xff), utf8('last')],
  ]
  const stream = Uint8Array.from(pairs.flatMap((pair) => [...encodeSnapshotPair(pair)]))

  it.each([1, 5, 6, 7, 64, 1000, 1_000_000])('is read back whole from pieces of %i bytes', (step) => {
    const reader = new SnapshotPairReader()
    const found: SnapshotPair[] = []
    const end = step === 1 ? 300 : stream.length
    for (let at = 0; at < end; at += step) found.push(...reader.push(stream.subarray(at, Math.min(end, at + step))))
    expect(found).toEqual(pairs.slice(0, step === 1 ? 3 : pairs.length))
    expect(reader.pairs).toBe(found.length)
    if (step > 1) reader.end()
    else expect(codeOf(() => reader.end())).toBe('ERR_DECODE_TRUNCATED')
  })

  it('has keys in ascending order, each once, and sizes within bounds', () => {
    const read = (...list: Uint8Array[]) =>
      codeOf(() => {
        const reader = new SnapshotPairReader()
        for (const each of list) reader.push(each)
      })
    const [a, b] = [encodeSnapshotPair([utf8('a'), utf8('1')]), encodeSnapshotPair([utf8('b'), utf8('2')])]
    expect([read(a, b), read(b, a), read(a, a)]).toEqual([
      undefined,
      'ERR_DECODE_NOT_CANONICAL',
      'ERR_DECODE_NOT_CANONICAL',
    ])
    expect(read(Uint8Array.of(0, 0, 0, 0, 0, 0))).toBe('ERR_DECODE_LIMIT')
    expect(read(Uint8Array.of(0x10, 0x01, 0, 0, 0, 0))).toBe('ERR_DECODE_LIMIT')
    expect(read(Uint8Array.of(0, 1, 1, 0, 0, 1))).toBe('ERR_DECODE_LIMIT')
    expect(read(Uint8Array.of(0, 1, 1, 0, 0, 0))).toBeUndefined()
    expect(codeOf(() => encodeSnapshotPair([new Uint8Array(0), utf8('1')]))).toBe('RangeError')
    expect(codeOf(() => encodeSnapshotPair([utf8('a'), new Uint8Array(snapshotValueBytesMax + 1)]))).toBe('RangeError')
  })

  it('keeps the trail edge apart from the state, before it and in order of leaf', () => {
    expect(pairs.map(([key]) => isSnapshotEdge(key))).toEqual([true, true, true, false, false, false])
    expect([1, 2, 256, 257, 512, 513].map(trailFromOf)).toEqual([0, 0, 0, 256, 256, 512])
    expect(equalBytes(snapshotEdgeKeys.leaf(258), Uint8Array.of(0, 1, 0, 0, 0, 0, 0, 0, 1, 2))).toBe(true)
  })
})

import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { concatBytes, encode, errorCode, fromHex, toHex, utf8, writeU32 } from '@cipherlog/core'
import {
  appendEntriesMax,
  encodePeerFrameHead,
  peerBodiesBytesMax,
  peerFrameBytesMax,
  peerHeader,
  PeerFrameReader,
  peerHeaderBytesMax,
  splitPayloads,
  type PeerEntryRef,
  type PeerFrame,
  type PeerHeader,
} from './peer-frame.ts'

const group = new Uint8Array(16)
const digest = new Uint8Array(32).fill(0xd1)
const confState = {
  voters: [new Uint8Array(16).fill(1)],
  learners: [],
  votersOutgoing: [],
  learnersNext: [],
  autoLeave: false,
}
const ref = (index: number, bytes: number): PeerEntryRef => ({
  term: 7,
  index,
  kind: 3,
  time: 1_700_000_000_000,
  bytes,
  digest,
})

/** One of each kind, and for an append its payloads. */
const examples: readonly (readonly [PeerHeader, Uint8Array?])[] = [
  [{ type: 'hello', cluster: digest, peerId: new Uint8Array(16).fill(1), version: 1 }],
  [{ type: 'ping', sequence: 9 }],
  [{ type: 'pong', sequence: 9 }],
  [{ type: 'preVote', group, term: 2, lastLogIndex: 5, lastLogTerm: 1 }],
  [{ type: 'preVoteResp', group, term: 2, granted: true }],
  [{ type: 'vote', group, term: 2, lastLogIndex: 0, lastLogTerm: 0 }],
  [{ type: 'voteResp', group, term: 2, granted: false }],
  [
    {
      type: 'append',
      group,
      term: 7,
      prevLogIndex: 4,
      prevLogTerm: 6,
      entries: [ref(5, 2), ref(6, 0)],
      leaderCommit: 4,
    },
    utf8('ab'),
  ],
  [{ type: 'appendResp', group, term: 7, accepted: false, index: 4, hintIndex: 3, hintTerm: 2 }],
  [{ type: 'heartbeat', group, term: 7, leaderCommit: 4, readContext: 1 }],
  [{ type: 'heartbeatResp', group, term: 7, readContext: 1, clockMs: 1_700_000_000_001 }],
  [{ type: 'cosignatures', group, size: 300, rootHash: digest, logLine: '— a b\n', cosignerLine: '— c d\n' }],
  [{ type: 'cosignatureRequest', group, size: 300 }],
  [{ type: 'transitionCheckpoint', group, note: 'a\n300\n\n— a b\n' }],
  [{ type: 'hello', cluster: digest, peerId: new Uint8Array(16).fill(1), version: 1, rulesVersionMax: 2 }],
  [{ type: 'preVote', group, term: 2, lastLogIndex: 5, lastLogTerm: 1, priority: 3 }],
  [{ type: 'vote', group, term: 2, lastLogIndex: 5, lastLogTerm: 1, priority: 3, transfer: true }],
  [{ type: 'snapshot', group, term: 7, meta: { index: 9, term: 6, time: 1_700_000_000_000, confState, digest } }],
  [{ type: 'timeoutNow', group, term: 7 }],
  [{ type: 'readIndex', group, term: 7, context: 4 }],
  [{ type: 'readIndexResp', group, term: 7, context: 4, index: 12 }],
  [{ type: 'quiesce', group, term: 7, index: 12 }],
  [{ type: 'snapshotQuery', group, index: 9 }],
  [{ type: 'snapshotAnswer', group, index: 9, digest }],
  [{ type: 'chunkRequest', group, digest }],
  [{ type: 'chunkRequest', group, digest, chunk: 0 }],
  [{ type: 'chunk', group, digest, bytes: 3, chunk: 0 }, utf8('abc')],
  [{ type: 'chunk', group, digest, bytes: 0 }],
  [{ type: 'snapshotStatus', group, index: 9, ok: true }],
  [{ type: 'payloadRequest', group, entries: [{ index: 5, term: 7, digest }] }],
  [{ type: 'payloads', group, entries: [ref(5, 2)] }, utf8('ab')],
  [{ type: 'replicaStatus', group, trailFrom: 512 }],
  [{ type: 'trailRequest', group, path: 'tile/bundle/000', offset: 2048, bytes: 100 }],
  [{ type: 'trailPiece', group, path: 'tile/bundle/000', offset: 2048, size: 4000, bytes: 4 }, utf8('abcd')],
  [{ type: 'notMember', group, index: 40 }],
]
const empty: Uint8Array = new Uint8Array(0)
const frameOf = (header: PeerHeader, bodies = empty) => concatBytes(encodePeerFrameHead(header, bodies.length), bodies)

/** A frame around any header bytes. */
function rawFrame(header: Uint8Array, bodies = empty): Uint8Array {
  const lengths = new Uint8Array(8)
  writeU32(lengths, 0, 4 + header.length + bodies.length)
  writeU32(lengths, 4, header.length)
  return concatBytes(lengths, header, bodies)
}

function read(bytes: Uint8Array, reader = new PeerFrameReader()): PeerFrame[] {
  return [...reader.push(bytes)]
}

function codeOf(action: () => unknown): string | undefined {
  try {
    action()
  } catch (error) {
    return errorCode(error) ?? (error as Error).name
  }
  return undefined
}

describe('peer frames', () => {
  it('round-trip every kind, whole, byte by byte and many in one chunk', () => {
    const stream = concatBytes(...examples.map(([header, bodies]) => frameOf(header, bodies)))
    const expected = examples.map(([header, bodies]) => ({ header, bodies: bodies ?? empty }))
    expect(read(stream)).toEqual(expected)
    const reader = new PeerFrameReader()
    const frames: PeerFrame[] = []
    for (const byte of stream) frames.push(...reader.push(new Uint8Array([byte])))
    expect(frames).toEqual(expected)
  })

  it('have the bytes of docs/formats/peer-frame.md', () => {
    const page = readFileSync(new URL('../../../docs/formats/peer-frame.md', import.meta.url), 'utf8')
    const listing = /```hex append\n([^`]*)```/
      .exec(page)![1]!
      .replace(/ {2}.*$/gm, '')
      .replace(/\s/g, '')
    expect(listing).toBe(toHex(frameOf(...examples[7]!)))
  })

  it('are in memory of their own, so that a chunk can be reused', () => {
    const bytes = frameOf(...examples[7]!)
    const [frame] = read(bytes)
    bytes.fill(0)
    expect(frame!.bodies).toEqual(utf8('ab'))
  })

  it('of unknown kind are told apart, whatever follows the tag', () => {
    const frames = read(rawFrame(fromHex('82187b00ff'), utf8('later')))
    expect(frames).toEqual([{ header: { type: 'unknown', tag: 123 }, bodies: utf8('later') }])
  })

  it('are refused from their length alone, before anything is kept', () => {
    const announce = (length: number) => {
      const bytes = new Uint8Array(4)
      writeU32(bytes, 0, length)
      return bytes
    }
    expect(codeOf(() => read(announce(peerFrameBytesMax + 1)))).toBe('ERR_DECODE_LIMIT')
    expect(codeOf(() => read(announce(peerFrameBytesMax)))).toBeUndefined()
    expect(codeOf(() => read(announce(4)))).toBe('ERR_DECODE_LIMIT')
    expect(codeOf(() => read(announce(65), new PeerFrameReader(64)))).toBe('ERR_DECODE_LIMIT')
    expect(codeOf(() => read(announce(64), new PeerFrameReader(64)))).toBeUndefined()
  })

  it('are refused with a header longer than the frame, empty, of other CBOR, or with trailing bytes', () => {
    const ping = encode(peerHeader, { type: 'ping', sequence: 1 })
    const longer = rawFrame(ping)
    writeU32(longer, 4, ping.length + 1)
    expect(codeOf(() => read(longer))).toBe('ERR_DECODE_LIMIT')
    expect(codeOf(() => read(rawFrame(empty, utf8('x'))))).toBe('ERR_DECODE_LIMIT')
    expect(codeOf(() => read(rawFrame(fromHex('a0'))))).toBe('ERR_DECODE_TYPE')
    expect(codeOf(() => read(rawFrame(concatBytes(ping, empty, new Uint8Array([0])))))).toBe('ERR_DECODE_TRAILING')
    expect(codeOf(() => read(rawFrame(fromHex('8202a1011801'))))).toBe('ERR_DECODE_NOT_CANONICAL')
  })

  it('are refused if their bodies are not exactly the payloads of their entries', () => {
    const [append, payloads] = examples[7]!
    expect(codeOf(() => read(frameOf(append, utf8('a'))))).toBe('ERR_DECODE_BODY')
    expect(codeOf(() => read(frameOf(append, utf8('abc'))))).toBe('ERR_DECODE_BODY')
    expect(codeOf(() => read(frameOf({ type: 'ping', sequence: 1 }, utf8('x'))))).toBe('ERR_DECODE_BODY')
    expect(append.type === 'append' && splitPayloads(append.entries, payloads!)).toEqual([utf8('ab'), empty])
  })

  it('hold as many entries as an append may have', () => {
    const entries = Array.from({ length: appendEntriesMax }, (_, i) => ref(Number.MAX_SAFE_INTEGER - i, 0))
    const append: PeerHeader = {
      type: 'append',
      group,
      term: Number.MAX_SAFE_INTEGER,
      prevLogIndex: 0,
      prevLogTerm: 0,
      entries,
      leaderCommit: 0,
    }
    expect(encodePeerFrameHead(append, 0).length).toBeLessThanOrEqual(8 + peerHeaderBytesMax)
    expect(codeOf(() => encodePeerFrameHead({ ...append, entries: [...entries, ref(1, 0)] }, 0))).toBe('RangeError')
    expect(codeOf(() => encodePeerFrameHead({ type: 'ping', sequence: 0 }, peerBodiesBytesMax + 1))).toBe('RangeError')
  })
})

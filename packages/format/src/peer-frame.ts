/**
 * Frames between replicas (docs/formats/peer-frame.md): u32 length ‖ u32 header length ‖ CBOR header ‖ raw bodies,
 * both lengths big-endian, `length` counting what follows it. Nothing here is signed: the connection is mutual TLS
 * under pinned keys, and what matters carries its own signature or digest.
 *
 * Invariants: memory grows with what was received, never with what a length field announces; a header of a kind this
 * software does not know is reported as such, so that newer peers can say more.
 */
import {
  array,
  boolean,
  CborReader,
  choice,
  concatBytes,
  decode,
  DecodeError,
  encode,
  readU32,
  record,
  text,
  uint,
  writeU32,
  type TypeOf,
} from '@cipherlog/core'
import { clusterId, digest, groupId, peerId, timeMs } from './common.ts'
import { logEntryBytesMax } from './log-entry.ts'
import { confState } from './membership.ts'
import { snapshotManifestBytesMax } from './snapshot.ts'

/** Version of this protocol; a replica talks to every version from 1 to its own. */
export const peerProtocolVersion = 1
/** Entries of one append: with 76 bytes each they fit a header. */
export const appendEntriesMax = 65_536
export const peerHeaderBytesMax = 8_388_608
export const peerBodiesBytesMax = 67_108_864
/** Piece of a trail file. */
export const pieceBytesMax = 1_048_576
/** Payloads asked for, or entries asked about, in one frame. */
export const repairEntriesMax = 256
/** Largest value of `length`. */
export const peerFrameBytesMax: number = 4 + peerHeaderBytesMax + peerBodiesBytesMax

const count = uint()
/** Raft terms and entry indexes count from 1. */
const fromOne = uint(Number.MAX_SAFE_INTEGER, 1)

/** A log entry without its payload. */
export const entryRef = record('entry-ref', {
  term: [1, fromOne],
  index: [2, fromOne],
  kind: [3, uint(0xffff)],
  /** Log time. */
  time: [4, timeMs],
  bytes: [5, uint(logEntryBytesMax)],
  digest: [6, digest],
})
export type PeerEntryRef = TypeOf<typeof entryRef>

/** A signature line of a note: name of at most 256 bytes, 100 bytes of base64. */
const noteLine = text(512)

/** Path below a trail's root, such as `tile/bundle/x001/067`. */
const trailPath = text(64)

/** What identifies a snapshot: made of the same bytes on every replica. */
export const snapshotMeta = record('snapshot-meta', {
  index: [1, fromOne],
  term: [2, fromOne],
  /** Log time of entry `index`. */
  time: [3, timeMs],
  /** Who took part as of `index`. */
  confState: [4, confState],
  /** SHA-256 of the manifest. */
  digest: [5, digest],
})
export type PeerSnapshotMeta = TypeOf<typeof snapshotMeta>

/** Names one entry for ever: term and index decide its content, the digest checks it. */
export const entryName = record('entry-name', { index: [1, fromOne], term: [2, fromOne], digest: [3, digest] })
export type PeerEntryName = TypeOf<typeof entryName>

/** Sender and receiver are known from the connection, so no message names them. */
export const peerHeader = choice('peer-header', {
  /** First frame in both directions. `rulesVersionMax`, 1 if absent: newest rules that the sender can apply. */
  hello: [
    1,
    record(
      'peer-hello',
      { cluster: [1, clusterId], peerId: [2, peerId], version: [3, uint(0xffff, 1)] },
      { rulesVersionMax: [4, uint(0xffff_ffff, 1)] },
    ),
  ],
  /** Answered at once by a pong with the same sequence. */
  ping: [2, record('peer-ping', { sequence: [1, count] })],
  pong: [3, record('peer-pong', { sequence: [1, count] })],
  preVote: [
    16,
    record(
      'pre-vote',
      { group: [1, groupId], term: [2, fromOne], lastLogIndex: [3, count], lastLogTerm: [4, count] },
      { priority: [5, count] },
    ),
  ],
  /** A refusal names an entry that its sender knows to be committed. */
  preVoteResp: [
    17,
    record(
      'pre-vote-resp',
      { group: [1, groupId], term: [2, fromOne], granted: [3, boolean()] },
      { commit: [4, count], commitTerm: [5, count] },
    ),
  ],
  vote: [
    18,
    record(
      'vote',
      { group: [1, groupId], term: [2, fromOne], lastLogIndex: [3, count], lastLogTerm: [4, count] },
      /** 0 and false if absent. `transfer`: the leader itself asked for this campaign. */
      { priority: [5, count], transfer: [6, boolean()] },
    ),
  ],
  voteResp: [
    19,
    record(
      'vote-resp',
      { group: [1, groupId], term: [2, fromOne], granted: [3, boolean()] },
      { commit: [4, count], commitTerm: [5, count] },
    ),
  ],
  /** Its bodies are the payloads of `entries` in turn. */
  append: [
    20,
    record('append', {
      group: [1, groupId],
      term: [2, fromOne],
      prevLogIndex: [3, count],
      prevLogTerm: [4, count],
      entries: [5, array(entryRef, appendEntriesMax)],
      leaderCommit: [6, count],
    }),
  ],
  appendResp: [
    21,
    record('append-resp', {
      group: [1, groupId],
      term: [2, fromOne],
      accepted: [3, boolean()],
      index: [4, count],
      hintIndex: [5, count],
      hintTerm: [6, count],
    }),
  ],
  heartbeat: [
    22,
    record('heartbeat', {
      group: [1, groupId],
      term: [2, fromOne],
      leaderCommit: [3, count],
      readContext: [4, count],
    }),
  ],
  heartbeatResp: [
    23,
    record('heartbeat-resp', {
      group: [1, groupId],
      term: [2, fromOne],
      readContext: [3, count],
      clockMs: [4, timeMs],
    }),
  ],
  /** Offers a snapshot to a peer whose next entry is compacted; it fetches what it lacks, from anyone. */
  snapshot: [24, record('snapshot', { group: [1, groupId], term: [2, fromOne], meta: [3, snapshotMeta] })],
  /** Campaign at once: leadership is transferred to the receiver. */
  timeoutNow: [25, record('timeout-now', { group: [1, groupId], term: [2, fromOne] })],
  /** A follower asks its leader for a position to read at. */
  readIndex: [26, record('read-index', { group: [1, groupId], term: [2, fromOne], context: [3, count] })],
  readIndexResp: [
    27,
    record('read-index-resp', { group: [1, groupId], term: [2, fromOne], context: [3, count], index: [4, count] }),
  ],
  /** The group is idle: the leader's silence is no reason to campaign. With `wake`: it is idle no more. */
  quiesce: [
    28,
    record('quiesce', { group: [1, groupId], term: [2, fromOne], index: [3, count] }, { wake: [4, boolean()] }),
  ],
  /** The sender's signatures of one checkpoint, as lines of a note; verified before they count. */
  cosignatures: [
    32,
    record('cosignatures', {
      group: [1, groupId],
      size: [2, count],
      rootHash: [3, digest],
      logLine: [4, noteLine],
      cosignerLine: [5, noteLine],
    }),
  ],
  /**
   * Asks for the checkpoint of the transition size `size` if the receiver has published it, else for its newest
   * signatures.
   */
  cosignatureRequest: [33, record('cosignature-request', { group: [1, groupId], size: [2, count] })],
  /** A published checkpoint of a transition size: a note, verified before it is taken over. */
  transitionCheckpoint: [47, record('transition-checkpoint', { group: [1, groupId], note: [2, text(65_536)] })],
  /** Which snapshot have you made, or installed, as of entry `index`? */
  snapshotQuery: [34, record('snapshot-query', { group: [1, groupId], index: [2, fromOne] })],
  snapshotAnswer: [35, record('snapshot-answer', { group: [1, groupId], index: [2, fromOne], digest: [3, digest] })],
  /** Asks for a chunk, or without `chunk` for the manifest. */
  chunkRequest: [36, record('chunk-request', { group: [1, groupId], digest: [2, digest] }, { chunk: [3, count] })],
  /** Its body is the chunk or manifest; `bytes` 0: the sender has not got it. */
  chunk: [
    37,
    record(
      'chunk',
      { group: [1, groupId], digest: [2, digest], bytes: [4, uint(snapshotManifestBytesMax)] },
      { chunk: [3, count] },
    ),
  ],
  /** The receiver of an offer has installed that snapshot, or gives up. */
  snapshotStatus: [38, record('snapshot-status', { group: [1, groupId], index: [2, fromOne], ok: [3, boolean()] })],
  /** Asks for payloads that are damaged on the sender's disk. */
  payloadRequest: [
    39,
    record('payload-request', { group: [1, groupId], entries: [2, array(entryName, repairEntriesMax, 1)] }),
  ],
  /** Its bodies are the payloads of `entries`: those of the request that the sender has, some at least. */
  payloads: [40, record('payloads', { group: [1, groupId], entries: [2, array(entryRef, repairEntriesMax, 1)] })],
  /** Where the sender stands, said on connecting and when it changes. */
  replicaStatus: [
    43,
    record('replica-status', {
      group: [1, groupId],
      /** First leaf whose trail files it has; 0: all. */
      trailFrom: [2, count],
    }),
  ],
  /** Asks for a piece of a file of the trail. */
  trailRequest: [
    44,
    record('trail-request', {
      group: [1, groupId],
      path: [2, trailPath],
      offset: [3, count],
      bytes: [4, uint(pieceBytesMax, 1)],
    }),
  ],
  /** Its body is the piece; `size` is the whole file's, 0 if the sender has no such file. */
  trailPiece: [
    45,
    record('trail-piece', {
      group: [1, groupId],
      path: [2, trailPath],
      offset: [3, count],
      size: [4, count],
      bytes: [5, uint(pieceBytesMax)],
    }),
  ],
  /** The receiver has no part in the group as of entry `index`: the last thing said to it. */
  notMember: [46, record('not-member', { group: [1, groupId], index: [2, count] })],
})
export type PeerHeader = TypeOf<typeof peerHeader>

/** A header of a kind that this software does not know. */
export interface UnknownPeerHeader {
  readonly type: 'unknown'
  readonly tag: number
}

const knownTags = new Set(peerHeader.shape.kind === 'choice' ? peerHeader.shape.cases.map(({ tag }) => tag) : [])

export interface PeerFrame {
  readonly header: PeerHeader | UnknownPeerHeader
  /** A view into the frame's own memory. */
  readonly bodies: Uint8Array
}

/** Bytes of a frame up to its bodies, which follow as they are, `bodiesBytes` of them. @throws RangeError */
export function encodePeerFrameHead(header: PeerHeader, bodiesBytes: number): Uint8Array {
  if (bodiesBytes > peerBodiesBytesMax) throw new RangeError(`${bodiesBytes} bytes of bodies`)
  const encoded = encode(peerHeader, header)
  if (encoded.length > peerHeaderBytesMax) throw new RangeError(`${encoded.length} bytes of header`)
  const lengths = new Uint8Array(8)
  writeU32(lengths, 0, 4 + encoded.length + bodiesBytes)
  writeU32(lengths, 4, encoded.length)
  return concatBytes(lengths, encoded)
}

/** The payloads that `bodies` holds, in the order of `entries`; views. @throws DecodeError `ERR_DECODE_BODY` */
export function splitPayloads(entries: readonly PeerEntryRef[], bodies: Uint8Array): Uint8Array[] {
  let at = 0
  const payloads = entries.map(({ bytes }) => bodies.subarray(at, (at += bytes)))
  checkBodies(at, bodies)
  return payloads
}

function checkBodies(announced: number, bodies: Uint8Array): void {
  if (announced === bodies.length) return
  throw new DecodeError('ERR_DECODE_BODY', `The header announces ${announced} bytes of bodies; ${bodies.length} came.`)
}

/** Bytes of bodies that a header announces. */
function bodiesBytesOf(header: PeerHeader): number {
  if (header.type === 'append' || header.type === 'payloads') {
    return header.entries.reduce((sum, { bytes }) => sum + bytes, 0)
  }
  return header.type === 'chunk' || header.type === 'trailPiece' ? header.bytes : 0
}

/**
 * Cuts what arrives on a connection into frames.
 * @throws {@link DecodeError} from `push` on anything that is not a frame; the connection is then of no more use.
 */
export class PeerFrameReader {
  /** Largest `length` accepted from now on: small until the other side has said hello. */
  frameBytesMax: number
  readonly #chunks: Uint8Array[] = []
  /** Bytes in `#chunks`, those of the first before `#offset` not counted. */
  #available = 0
  #offset = 0
  #length: number | undefined

  constructor(frameBytesMax: number = peerFrameBytesMax) {
    this.frameBytesMax = frameBytesMax
  }

  /** The frames that are complete with `chunk`, each in memory of its own. */
  *push(chunk: Uint8Array): Generator<PeerFrame, void, undefined> {
    if (chunk.length === 0) return
    this.#chunks.push(chunk)
    this.#available += chunk.length
    for (;;) {
      if (this.#length === undefined) {
        if (this.#available < 4) return
        const length = readU32(this.#take(4), 0)
        if (length < 5 || length > this.frameBytesMax) {
          throw new DecodeError(
            'ERR_DECODE_LIMIT',
            `A frame of ${length} bytes; allowed are 5 to ${this.frameBytesMax}.`,
          )
        }
        this.#length = length
      }
      if (this.#available < this.#length) return
      const frame = this.#take(this.#length)
      this.#length = undefined
      yield decodePeerFrame(frame)
    }
  }

  #take(length: number): Uint8Array {
    const out = new Uint8Array(length)
    let at = 0
    while (at < length) {
      const first = this.#chunks[0]!
      const part = first.subarray(this.#offset, this.#offset + length - at)
      out.set(part, at)
      at += part.length
      this.#offset += part.length
      if (this.#offset === first.length) {
        this.#chunks.shift()
        this.#offset = 0
      }
    }
    this.#available -= length
    return out
  }
}

/** A frame without its first length. It has exactly the bodies that its header announces. */
function decodePeerFrame(frame: Uint8Array): PeerFrame {
  const headerBytes = readU32(frame, 0)
  if (headerBytes < 1 || headerBytes > frame.length - 4 || headerBytes > peerHeaderBytesMax) {
    throw new DecodeError('ERR_DECODE_LIMIT', `A header of ${headerBytes} bytes in a frame of ${frame.length}.`)
  }
  const encoded = frame.subarray(4, 4 + headerBytes)
  const bodies = frame.subarray(4 + headerBytes)
  if (bodies.length > peerBodiesBytesMax) {
    throw new DecodeError('ERR_DECODE_LIMIT', `${bodies.length} bytes of bodies; at most ${peerBodiesBytesMax}.`)
  }
  const reader = new CborReader(encoded)
  reader.path.push('peer-header')
  reader.array(2, 2)
  const tag = reader.uint(Number.MAX_SAFE_INTEGER)
  if (!knownTags.has(tag)) return { header: { type: 'unknown', tag }, bodies }
  const header = decode(peerHeader, encoded, peerHeaderBytesMax)
  checkBodies(bodiesBytesOf(header), bodies)
  return { header, bodies }
}

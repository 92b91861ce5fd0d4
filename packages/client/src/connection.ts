/**
 * One replica as the SDK sees it: the seam to the network. {@link file://./node/node-connection.ts} speaks HTTP/2;
 * a browser's transport or a test's twin implements the same calls.
 *
 * Everything that comes back is attacker-controlled until the caller has verified it: a connection checks types and
 * sizes, never meaning. Bytes handed out are fresh plain `Uint8Array`s.
 */
import { type CipherlogError } from '@cipherlog/core'

export interface Proposal {
  /** 1 key event, 2 session opening, 3 command bundle. */
  readonly kind: 1 | 2 | 3 | 4
  /** The signed CBOR array. */
  readonly signed: Uint8Array
  /** Bodies of a bundle, joined; else empty. */
  readonly body: Uint8Array
  /** Ask for a batch to be closed soon. */
  readonly receipt: boolean
}

export interface ProposalAnswer {
  /** CBOR [applied, signature]. */
  readonly applied: Uint8Array
  readonly duplicate: boolean
}

/** Where a replica says it stands. Unsigned: for people and for finding the leader, never a ground for trust. */
export interface ReplicaStatus {
  readonly origin: string
  /** Lowercase hex, as are all ids here. */
  readonly cluster: string
  readonly group: string
  readonly generation: number
  readonly peerId: string
  readonly role: string
  readonly leaderId: string | undefined
  readonly term: number
  readonly commitIndex: number
  readonly appliedIndex: number
  readonly treeSize: number
  readonly publishedSize: number
  readonly registryNumber: number
  /** Milliseconds. */
  readonly logTime: number
  readonly peers: readonly {
    readonly peerId: string
    readonly apiAddress: string
    readonly connected: boolean
    readonly matchIndex: number | undefined
    readonly learner: boolean
  }[]
  readonly mode: string
  readonly trailFrom: number
  readonly version: string
  readonly provingKeys: string
}

export interface PublishedCheckpoint {
  /** C2SP signed note. */
  readonly checkpoint: string
  readonly policyChain: Uint8Array
  /** The checkpoint's last leaf, a batch record. */
  readonly lastLeaf: Uint8Array
  /** Its inclusion proof. */
  readonly proof: readonly Uint8Array[]
}

export interface StoredLeaf {
  readonly record: Uint8Array
  readonly signed: Uint8Array
  readonly body: Uint8Array
  readonly wraps: Uint8Array
}

export interface StoredValue {
  readonly leaf: number
  readonly command: number
  readonly record: Uint8Array
  readonly signed: Uint8Array
  readonly ciphertext: Uint8Array
  /** Empty while no published checkpoint covers the leaf. */
  readonly tlogProof: string
}

export interface ProvenCell {
  readonly cellProof: Uint8Array
  readonly batchRecord: Uint8Array
  readonly tlogProof: string
}

export interface WatchedLeaf {
  readonly leaf: number
  readonly record: Uint8Array
  readonly signed: Uint8Array
  readonly body: Uint8Array
}

/**
 * Every call rejects with a {@link CipherlogError}. `ERR_UNAVAILABLE` means that the request never left; once a
 * proposal may have left, a broken connection is {@link ProposalOutcomeUnknownError}.
 */
export interface Connection {
  propose(proposal: Proposal): Promise<ProposalAnswer>
  status(): Promise<ReplicaStatus>
  /** Signed key events `from`, `from + 1`, …; 0 is the signed genesis. */
  keyEvents(from: number, max: number): Promise<Uint8Array[]>
  checkpoint(): Promise<PublishedCheckpoint>
  receipt(leaf: number, waitMs: number): Promise<Uint8Array>
  leaf(leaf: number): Promise<StoredLeaf>
  value(query: {
    readonly namespace: string
    readonly key: Uint8Array
    readonly linearizable: boolean
  }): Promise<{ readonly value: StoredValue | undefined; readonly appliedLeafCount: number }>
  cell(query: { readonly namespace: string; readonly key: Uint8Array }): Promise<ProvenCell | undefined>
  envelope(id: Uint8Array): Promise<{ readonly fixed: Uint8Array; readonly wraps: Uint8Array }>
  session(client: Uint8Array): Promise<{ readonly highWaterMark: number }>
  /** Ends without an error only when `signal` aborts. */
  watch(
    query: { readonly fromLeaf: number; readonly namespace: string | undefined },
    signal: AbortSignal,
  ): AsyncIterable<WatchedLeaf>
  /** A file of the trail, of at most 8,192 bytes (a tile); undefined if the replica has none. */
  tile(path: string): Promise<Uint8Array | undefined>
  /** Raw Ed25519 key that the other side proved to hold, 32 bytes; undefined if the transport pins none. */
  readonly peerKey: Uint8Array | undefined
  close(): void
}

/** Opens connections; connecting itself happens with the first call. */
export type Dial = (
  /** `https://host:port`. */
  address: string,
  /** Called with the other side's key before anything is sent on a connection; an error ends it. */
  checkPeerKey: (key: Uint8Array) => CipherlogError | undefined,
) => Connection

/**
 * What the host's API asks of a node: the seam between sockets and the pipeline, without protobuf, HTTP or files.
 *
 * Every method may throw a `CipherlogError`, whose code decides what a client sees (packages/api/src/errors.ts):
 * `RefusedError` for a proposal without effect, `NotLeaderError`, `ProposalOutcomeUnknownError`, `ERR_NOT_FOUND`,
 * `ERR_NOT_PUBLISHED`, `ERR_UNAVAILABLE`. Bytes handed over in either direction are not changed afterwards by anyone.
 * Arguments are checked for type and size, not for meaning.
 */

import { type Configuration, type ReplicaAddress } from './replicator.ts'

export type NodeRole = 'leader' | 'follower' | 'candidate' | 'pre-candidate' | 'learner'

export interface NodePeerStatus {
  /** Lowercase hex of 16 bytes. */
  readonly peerId: string
  /** Base URL of its API; empty if unknown. */
  readonly apiAddress: string
  /** True for the node itself. */
  readonly connected: boolean
  /** Known to the leader only. */
  readonly matchIndex?: number | undefined
  readonly learner: boolean
  readonly voter: boolean
  /** `host:port` where replicas reach it; empty if unknown. */
  readonly peersAddress: string
  /** Last 4 bytes of the peer id: which disk of that replica it is. */
  readonly incarnation: number
  /** How the leader sends to it; known to the leader only, as are the next four. */
  readonly state?: 'probe' | 'replicate' | 'snapshot' | undefined
  readonly nextIndex?: number | undefined
  /** Nothing is sent until it answers. */
  readonly paused?: boolean | undefined
  /** Messages without answer. */
  readonly inflight?: number | undefined
  /** Entry of the snapshot that it was offered; 0: none. */
  readonly pendingSnapshot?: number | undefined
  /** First leaf whose trail files it has, by its own word; undefined: it has not said. */
  readonly trailFrom?: number | undefined
  /** Newest rules that it can apply, by its own word. */
  readonly rulesVersionMax?: number | undefined
}

/** What a replica is in its group. `joining`: not part of it yet; `removed`: not any more. */
export type MembershipState = 'voter' | 'learner' | 'joining' | 'removed'

/** Unsigned and for operators: never a ground for trust. */
export interface NodeStatus {
  readonly origin: string
  /** Lowercase hex, as are `group`, `peerId` and `leaderId`. */
  readonly cluster: string
  readonly group: string
  readonly generation: number
  readonly peerId: string
  readonly role: NodeRole
  readonly leaderId: string | undefined
  readonly term: number
  readonly commitIndex: number
  readonly appliedIndex: number
  readonly treeSize: number
  readonly publishedSize: number
  /** Number of the newest key event applied. */
  readonly registryNumber: number
  readonly logTime: number
  readonly peers: readonly NodePeerStatus[]
  readonly mode: 'development' | 'production'
  /** First leaf whose trail files are here; 0: all. */
  readonly trailFrom: number
  readonly version: string
  /** Rules in force. */
  readonly rulesVersion: number
  /** Newest rules that this software can apply. */
  readonly rulesVersionMax: number
  /** Who takes part. */
  readonly configuration: Configuration
  readonly membership: MembershipState
  /** Entries up to here are not in the log any more; 0: all are. */
  readonly compactedIndex: number
  /** Entry of the newest snapshot that can be handed on; 0: none. */
  readonly snapshotIndex: number
  /** Entries whose payload is damaged here and not yet fetched from a peer. */
  readonly damagedEntries: number
  /** The log may have lost what it acknowledged: the replica takes no part until the others have been asked. */
  readonly inDoubt: boolean
  /** The log entry before which applying has paused, because the replica stopped at it twice; undefined: it goes on. */
  readonly paused:
    | {
        readonly index: number
        readonly kind: number
        /** Lowercase hex of SHA-256 of its signed array: what a quarantine names. */
        readonly digest: string | undefined
      }
    | undefined
  readonly provingKeys: 'development' | 'ceremony' | 'none'
}

export interface Proposal {
  /** Entry kind: 1 key event, 2 session opening, 3 command bundle, 4 quarantine. */
  readonly kind: number
  /** The signed CBOR array. */
  readonly signed: Uint8Array
  /** Bodies of a bundle, joined; else empty. */
  readonly body: Uint8Array
  /** Close a batch soon. */
  readonly receipt: boolean
}

export interface ProposalAnswer {
  /** CBOR [applied, signature]. */
  readonly applied: Uint8Array
  readonly duplicate: boolean
}

export interface PublishedCheckpoint {
  /** C2SP signed note. */
  readonly checkpoint: string
  readonly policyChain: Uint8Array
  /** The batch record that is the checkpoint's last leaf. */
  readonly lastLeaf: Uint8Array
  /** RFC 6962 inclusion proof of that leaf. */
  readonly proof: readonly Uint8Array[]
}

export interface StoredLeaf {
  /** Leaf record or batch record. */
  readonly record: Uint8Array
  /** The signed CBOR array; empty for a batch record. */
  readonly signed: Uint8Array
  /** Ciphertext ‖ proof of each command in turn; empty if not served. */
  readonly body: Uint8Array
  /** Wraps of each command that carries some, in turn; empty if there are none. */
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
  /** CBOR cell proof. */
  readonly cellProof: Uint8Array
  readonly batchRecord: Uint8Array
  readonly tlogProof: string
}

export interface ClientSessions {
  readonly highWaterMark: number
  readonly open: readonly { readonly number: number; readonly lastSequence: number }[]
}

export interface WatchedLeaf {
  readonly leaf: number
  readonly record: Uint8Array
  readonly signed: Uint8Array
  readonly body: Uint8Array
}

/** A file of the trail as it stands at this moment; a growing file may be longer at the next look. */
export interface TrailFile {
  readonly size: number
  /** Its bytes will never change, so that caches may keep them for ever. */
  readonly immutable: boolean
  /** `length` bytes from `start`; both within `size`. */
  read(start: number, length: number): Promise<Uint8Array>
}

export interface Readiness {
  readonly ok: boolean
  /** Why not; also limits worth knowing, such as an incomplete trail. */
  readonly reasons: readonly string[]
}

/** A change of membership as an operator asks for it. */
export interface RequestedChange {
  readonly transition: 'auto' | 'jointImplicit' | 'jointExplicit'
  readonly changes: readonly { readonly type: 'addVoter' | 'addLearner' | 'remove'; readonly peer: string }[]
  /** Of replicas that it adds. */
  readonly addresses: readonly ReplicaAddress[]
  /** Go ahead although less than a majority would have the whole trail. */
  readonly force: boolean
}

/** What runs a cluster, for whoever may. */
export interface ClusterApi {
  status(): NodeStatus
  /**
   * Resolves once the change is committed; one whose joint configuration ends by itself, once it has.
   * @throws NotLeaderError; CipherlogError `ERR_MEMBERSHIP_*`, `ERR_BUSY`, `ERR_OUTCOME_UNKNOWN`, `ERR_TIMEOUT`
   */
  changeMembership(change: RequestedChange): Promise<{ readonly index: number; readonly configuration: Configuration }>
  /** Resolves once `to` leads; undefined: the voter that is furthest. @throws NotLeaderError; `ERR_TRANSFER_FAILED` */
  transferLeadership(to: string | undefined): Promise<string>
  /** @throws NotLeaderError */
  stepDown(): Promise<void>
}

export interface NodeApi {
  /** Resolves once applied or rejected. */
  propose(proposal: Proposal): Promise<ProposalAnswer>
  status(): NodeStatus
  /** Signed key events `from`, `from + 1`, …, at most `max`; 0 is the signed genesis. */
  keyEvents(from: number, max: number): Promise<readonly Uint8Array[]>
  checkpoint(): Promise<PublishedCheckpoint>
  /** Waits at most `waitMs` for publication. @throws CipherlogError `ERR_NOT_PUBLISHED` after that, `ERR_NOT_FOUND` */
  receipt(leaf: number, waitMs: number, signal: AbortSignal): Promise<Uint8Array>
  /** @throws CipherlogError `ERR_NOT_FOUND` */
  leaf(index: number): Promise<StoredLeaf>
  /** `value` is undefined if the key holds nothing. */
  value(query: {
    readonly namespace: string
    readonly key: Uint8Array
    readonly linearizable: boolean
  }): Promise<{ readonly value: StoredValue | undefined; readonly appliedLeafCount: number }>
  /** As of a published batch record; undefined if there is no such cell in it. */
  cell(query: { readonly namespace: string; readonly key: Uint8Array }): Promise<ProvenCell | undefined>
  /** @throws CipherlogError `ERR_NOT_FOUND` */
  envelope(id: Uint8Array): Promise<{ readonly fixed: Uint8Array; readonly wraps: Uint8Array }>
  session(client: Uint8Array): Promise<ClientSessions>
  /** Leaves from `fromLeaf` in order, then new ones, until `signal` aborts. `namespace` undefined: all. */
  watch(
    query: { readonly fromLeaf: number; readonly namespace: string | undefined },
    signal: AbortSignal,
  ): AsyncIterable<WatchedLeaf>
  /**
   * A file below the trail's root, such as `checkpoint` or `tile/0/x001/067.p/4`; undefined if there is none. The path
   * has the grammar of the trail, and `tile/body` is asked for only if {@link NodeApi.bodiesArePublic}.
   */
  trailFile(path: string): Promise<TrailFile | undefined>
  /** The read policy of the whole trail is `public`, so that bodies are served as files. */
  bodiesArePublic(): boolean
  ready(): Readiness
}

/** Log entries as the ledger sees them, and what it says about them. */
import { type CipherlogError } from '@cipherlog/core'
import { type ProofCheck } from '@cipherlog/proof'
import { type StoredAnswer } from './sessions.ts'

/** A proposal: one signed thing and the bodies beside it. */
export interface Proposal {
  /** 1 key event, 2 session opening, 3 command bundle, 4 quarantine. */
  readonly kind: number
  /** The signed CBOR array, as it travels. */
  readonly signed: Uint8Array
  /** Bodies of a bundle, joined; empty for the others. */
  readonly body: Uint8Array
  /** False in a replay from a trail, which does not keep wraps. Default true. */
  readonly wrapsIncluded?: boolean
}

/** Where an entry stands. */
export interface EntryPlace {
  readonly logIndex: number
  readonly logTime: number
}

/** A proof that must be checked before the command numbered `command` may be applied. */
export interface NeededProof extends ProofCheck {
  readonly command: number
}

/** What the ledger would do with a proposal in its present state. */
export type Plan =
  /** No leaf, no state. */
  | { readonly outcome: 'refused'; readonly error: CipherlogError }
  /** Already on the log: the first answer. */
  | { readonly outcome: 'duplicate'; readonly answer: StoredAnswer }
  /** A leaf, once `proofs` have been checked. `effect` is the ledger's own. */
  | {
      readonly outcome: 'accepted'
      readonly proofs: readonly NeededProof[]
      readonly admission: Admission
      readonly effect: Effect
    }

/** What a leader wants to know before it appends. */
export interface Admission {
  /** Whose work it is: the client in hex, or `operators`. */
  readonly owner: string
  /** Milliseconds that applying is expected to take. */
  readonly costMs: number
  /**
   * Proofs of commands that would be rejected now, but for what may change before they are applied: a key event under
   * way, a new minute of a quota. Found only without a place. The leader checks these too: it never appends a proof it has not checked.
   */
  readonly proofsOfRejected: readonly NeededProof[]
  /** First command that a leader must not append, with the reason: a failed gate, a proof that cannot be checked. */
  readonly inadmissible: { readonly command: number; readonly error: CipherlogError } | undefined
  /** Of a key event that raises the rules: every voter must know them first. */
  readonly rulesVersion?: number
}

/** Opaque to callers: what {@link Ledger.apply} carries out. Valid only for the state it was planned in. */
export interface Effect {
  /** State, kind and log time that it was planned for. */
  readonly plannedAt: number
  readonly kind: number
  readonly logTime: number
  /** `proofsGood[i]` answers `proofs[i]`; entries after the first false are not looked at. */
  run(proofsGood: readonly boolean[], place: EntryPlace): LeafContent
}

/** A leaf before it has a place in the tree. */
export interface LeafContent {
  readonly record: Uint8Array
  readonly signed: Uint8Array
  readonly trailBody: Uint8Array
  readonly digest: Uint8Array
  readonly verdicts: readonly number[]
  readonly keyEventNumber?: number
}

/** A leaf that was appended to the tree. */
export interface Leaf extends Omit<LeafContent, 'digest'> {
  readonly kind: number
  readonly leafIndex: number
  /** Empty for a batch record. */
  readonly digest: Uint8Array
  /** Tile hashes that this leaf completed: of level 0 its own, of level L+1 the root of a full tile of level L. */
  readonly tiles: readonly { readonly level: number; readonly index: number; readonly hash: Uint8Array }[]
}

/** A batch record's leaf with the tree it closes. */
export interface ClosedBatch {
  readonly leaf: Leaf
  /** Tree size with the record. */
  readonly size: number
  readonly rootHash: Uint8Array
  /** For the cross-check before signing: leaf hashes since the last multiple of 256, and the tree's root over them. */
  readonly tail: readonly Uint8Array[]
  readonly tailRoot: Uint8Array | undefined
  /** Level-0 tiles that the batch completed, with the hash that the tree gave them. */
  readonly completedTiles: readonly { readonly leafHashes: readonly Uint8Array[]; readonly hash: Uint8Array }[]
  /** True if old and new cosigner set must sign this size. */
  readonly transition: boolean
  /** The first batch record after a multiple of `snapshotEveryLeaves`: every replica takes a snapshot here. */
  readonly snapshotDue: boolean
}

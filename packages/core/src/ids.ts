/**
 * Branded numbers and ids: an index, a count and a size are different types, checked once where they enter.
 *
 * A `LogIndex` counts Raft entries from 1 (0 means none); a `LeafIndex` counts leaves of the Merkle tree from 0.
 */
declare const brand: unique symbol
type Branded<T, B extends string> = T & { readonly [brand]?: B }

/** Raft log index, from 1; 0 means none. */
export type LogIndex = Branded<number, 'LogIndex'>
/** Raft term, from 1; 0 means none. */
export type Term = Branded<number, 'Term'>
/** Position of a leaf in the group's tree, from 0. */
export type LeafIndex = Branded<number, 'LeafIndex'>
/** Number of leaves of a tree. */
export type TreeSize = Branded<number, 'TreeSize'>
/** Milliseconds since the Unix epoch; log time unless said otherwise. */
export type TimeMs = Branded<number, 'TimeMs'>

/** 16 random bytes that name a client, keyset or command; or a replica (12 random bytes ‖ u32 incarnation, big-endian). */
export type Id16 = Branded<Uint8Array, 'Id16'>
/** A SHA-256 digest, 32 bytes. */
export type Digest = Branded<Uint8Array, 'Digest'>

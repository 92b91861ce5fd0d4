/** What a replica needs to grow a tree, answer for it and sign it. */
export { CompactRange, type VisitNode } from './compact-range.ts'
export { consistencyProof, inclusionProof, rootFromTiles, type ReadTile } from './tile-proofs.ts'
export { assembleNote, cosignCheckpoint, signCheckpoint, type SigningKey } from './sign-checkpoint.ts'
export { tileBytes, tileHeight, tileSlot, tileWidth, type TileSlot } from './tile-hashes.ts'

/** Hashes, labelled hashes and MACs, Poseidon. Everything is synchronous and runs in Node and browsers. */
export { labels, type Label } from './labels.ts'
export { sha256, sha256Of, hmacSha256, blake2b256 } from './digest.ts'
export { labelledBytes, labelledHash, labelledMac } from './labelled.ts'
export { bn254ScalarOrder, poseidon } from './poseidon.ts'

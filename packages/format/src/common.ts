/** Fields that many formats share, with their sizes. */
import { array, bytes, named, record, text, uint, type TypeOf } from '@cipherlog/core'

/** Every top-level format carries its version under key 0. */
export const formatVersion = 1

/** SHA-256 of the genesis: the name of a cluster. 32 bytes. */
export const clusterId = bytes(32)
/** A group = one Raft log = one trail. 16 bytes; group 0 is all zero. */
export const groupId = bytes(16)
/** Random id of a client, keyset or command. 16 bytes. */
export const id16 = bytes(16)
/** 12 random bytes ‖ u32 incarnation, big-endian: one id, one disk. */
export const peerId = bytes(16)
/** SHA-256. */
export const digest = bytes(32)
/** Ed25519 public key (RFC 8032 §5.1.5). */
export const publicKey = bytes(32)
/** Ed25519 signature (RFC 8032 §5.1.6). */
export const signature = bytes(64)
/** X-Wing public key: ML-KEM-768 (1,184) ‖ X25519 (32). */
export const xwingPublicKey = bytes(1216)
/** Milliseconds since the Unix epoch. */
export const timeMs = uint(8_640_000_000_000_000)
/** Namespace names: what a server may read of a command, so chosen with care. */
export const namespaceName = text(128, /^[a-z0-9][a-z0-9._-]*(\/[a-z0-9][a-z0-9._-]*)*$/)
/** Operation names of a state machine. */
export const operationName = text(32, /^[a-z][a-z0-9-]*$/)
/** Circuit ids, such as `sealed-amount-32`. */
export const circuitId = text(64, /^[a-z][a-z0-9-]*$/)

/** The group that exists from genesis. */
export const group0: Uint8Array = new Uint8Array(16)

/** A checkpoint as its signer saw it: size and root always travel together, for a root alone binds no size. */
export const seen = record('seen', { treeSize: [1, uint()], rootHash: [2, digest] })
export type Seen = TypeOf<typeof seen>

/** One replica of a cosigner set: raw Ed25519 keys, all distinct. */
export const cosignerMember = record('cosigner-member', {
  peerId: [1, peerId],
  tlsKey: [2, publicKey],
  logKey: [3, publicKey],
  cosignerKey: [4, publicKey],
  answerKey: [5, publicKey],
})
export type CosignerMember = TypeOf<typeof cosignerMember>

/** At most 7 replicas cosign; `quorum` of them make a checkpoint count. */
export const cosignersMax = 7
export const cosignerSet = record('cosigner-set', {
  members: [1, array(cosignerMember, cosignersMax, 1)],
  quorum: [2, uint(cosignersMax, 1)],
})
export type CosignerSet = TypeOf<typeof cosignerSet>

/** k of n signing keys. */
export const keyQuorum = named(
  'key-quorum',
  record('key-quorum', { threshold: [1, uint(16, 1)], keys: [2, array(publicKey, 16, 1)] }),
)
export type KeyQuorum = TypeOf<typeof keyQuorum>

/** Keyring: the secrets of a person or application, sealed under a passphrase (scrypt, AES-256-GCM) in one file. */
import { array, bytes, choice, constant, record, text, uint, type TypeOf } from '@cipherlog/core'
import { clusterId, digest, formatVersion, id16 } from './common.ts'

export const keyringEntry = choice('keyring-entry', {
  /** A writer's signing key (Ed25519 seed). */
  client: [1, record('client-key', { cluster: [1, clusterId], client: [2, id16], secretKey: [3, bytes(32)] })],
  /** An operator's signing key and its place among the operators. */
  operator: [2, record('operator-key', { cluster: [1, clusterId], index: [2, uint(15)], secretKey: [3, bytes(32)] })],
  /** A reader: member of keysets. */
  reader: [3, record('reader-key', { cluster: [1, clusterId], signingKey: [2, bytes(32)], kemKey: [3, bytes(32)] })],
  /** Hides names from servers. */
  nameKey: [4, record('name-key', { cluster: [1, clusterId], version: [2, uint(255)], key: [3, bytes(32)] })],
  /** The secret of a key version: X-Wing seed 32, ElGamal scalar 32, BFV a SEAL secret key. */
  keyVersion: [
    5,
    record('key-version-secret', {
      cluster: [1, clusterId],
      keyset: [2, id16],
      keyEpoch: [3, uint(0xffff_ffff, 1)],
      suite: [4, uint(5, 1)],
      secret: [5, bytes(1, 700_000)],
    }),
  ],
  /** A content key whose envelope is on the log, reused across sessions of its epoch. */
  contentKey: [
    6,
    record('content-key', {
      cluster: [1, clusterId],
      keyset: [2, id16],
      keyEpoch: [3, uint(0xffff_ffff, 1)],
      envelope: [4, digest],
      key: [5, bytes(32)],
    }),
  ],
})
export type KeyringEntry = TypeOf<typeof keyringEntry>

export const keyringContent = record('keyring', {
  version: [0, constant(formatVersion)],
  entries: [1, array(keyringEntry, 4096)],
  label: [2, text(64)],
})
export type KeyringContent = TypeOf<typeof keyringContent>

/** A replica's own keys, made before genesis by `cipherlog-node keygen`: four Ed25519 seeds, one purpose each. */
import { bytes, constant, record, type TypeOf } from '@cipherlog/core'
import { formatVersion, peerId } from './common.ts'

export const nodeKeys = record('node-keys', {
  version: [0, constant(formatVersion)],
  peerId: [1, peerId],
  /** Self-signed TLS certificate towards peers. */
  tls: [2, bytes(32)],
  /** Signs checkpoints as the log (note type 01). */
  log: [3, bytes(32)],
  /** Cosigns checkpoints (note type 04). */
  cosigner: [4, bytes(32)],
  /** Signs `applied` answers and statements. */
  answer: [5, bytes(32)],
})
export type NodeKeys = TypeOf<typeof nodeKeys>

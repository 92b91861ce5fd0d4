/** `applied` answers: one server's signed word until the checkpoint is published. Label `applied`, by an answer key. */
import { array, bytes, constant, record, text, tuple, uint, type TypeOf } from '@cipherlog/core'
import { digest, formatVersion, signature } from './common.ts'

export const applied = record('applied', {
  version: [0, constant(formatVersion)],
  origin: [1, text(256)],
  leaf: [2, uint()],
  /** SHA-256 of the signed bundle (opening, key event). */
  digest: [3, digest],
  /** One per command; of a session opening one; of a key event none. */
  verdicts: [4, array(uint(0xff), 256)],
})
export type Applied = TypeOf<typeof applied>

export const signedApplied = tuple(bytes(1, 4096), signature)

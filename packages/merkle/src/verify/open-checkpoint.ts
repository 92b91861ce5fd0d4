/**
 * Opening a checkpoint note: the one way to a size and root that may be trusted, and who vouches for them.
 *
 * It says who signed; how many must have is for the trust policy to decide, over distinct keys.
 */
import { PolicyError, toHex } from '@cipherlog/core'
import { type Checkpoint, parseCheckpoint } from './checkpoint.ts'
import { type NoteSignature } from './note.ts'
import { openNote, type VerifiedSignature } from './open-note.ts'
import { cosignatureKeyType, ed25519KeyType, type VerifierKey } from './verifier-key.ts'

export interface CheckpointKeys {
  /** Log keys, type 01, whose note name is the origin. */
  readonly log: readonly VerifierKey[]
  /** Keys of replicas and outside witnesses, type 04; each public key under one name only. */
  readonly cosigners: readonly VerifierKey[]
}

export interface Cosignature {
  readonly key: VerifierKey
  /** Seconds since the Unix epoch, as the cosigner claims. */
  readonly timeSeconds: number
}

export interface OpenedCheckpoint {
  readonly checkpoint: Checkpoint
  /** The signed text: `formatCheckpoint(checkpoint)`. */
  readonly text: string
  /** One per log key that signed, at least one, all named like the origin. */
  readonly logSignatures: readonly VerifiedSignature[]
  /** One per cosigner key that signed, maybe none. */
  readonly cosignatures: readonly Cosignature[]
  /** Lines by other keys, not checked. */
  readonly unknownLines: readonly NoteSignature[]
}

/**
 * Parses and verifies a checkpoint note.
 * @throws {@link DecodeError} `ERR_DECODE_NOTE`, `ERR_DECODE_LIMIT`, `ERR_DECODE_CHECKPOINT`.
 * @throws {@link VerificationError} `ERR_VERIFY_NOTE_SIGNATURE`, `ERR_VERIFY_NOTE_UNSIGNED`.
 * @throws {@link PolicyError} `ERR_POLICY_ORIGIN` if no log key named like the origin has signed;
 * `ERR_POLICY_VERIFIER_KEYS` if the given keys would let one key count twice.
 * @throws RangeError if a log key is not of type 01 or a cosigner's not of type 04.
 */
export function openCheckpoint(note: string | Uint8Array, keys: CheckpointKeys): OpenedCheckpoint {
  checkKeys(keys)
  const { text, signatures, unknown } = openNote(note, [...keys.log, ...keys.cosigners])
  const checkpoint = parseCheckpoint(text)
  const logSignatures = signatures.filter(({ key }) => key.type === ed25519KeyType)
  if (logSignatures.length === 0 || logSignatures.some(({ key }) => key.name !== checkpoint.origin)) {
    throw new PolicyError(
      'ERR_POLICY_ORIGIN',
      'The checkpoint is not signed by a key of its own origin; fetch the one of the log you trust.',
      { details: { origin: checkpoint.origin, logKeys: keys.log.map(({ name }) => name) } },
    )
  }
  const cosignatures: Cosignature[] = []
  for (const { key, timeSeconds } of signatures) {
    if (timeSeconds !== undefined) cosignatures.push({ key, timeSeconds })
  }
  return { checkpoint, text, logSignatures, cosignatures, unknownLines: unknown }
}

function checkKeys({ log, cosigners }: CheckpointKeys): void {
  if (log.some(({ type }) => type !== ed25519KeyType)) throw new RangeError('a log key is of type 01')
  if (cosigners.some(({ type }) => type !== cosignatureKeyType)) throw new RangeError('a cosigner key is of type 04')
  // A cosignature does not name its maker, so one key under two names could sign for both.
  const nameOf = new Map<string, string>()
  for (const { name, publicKey } of cosigners) {
    const id = toHex(publicKey)
    const other = nameOf.get(id)
    if (other !== undefined && other !== name) {
      throw new PolicyError(
        'ERR_POLICY_VERIFIER_KEYS',
        `${other} and ${name} are one cosigner key; list it once, or it would count twice.`,
        { details: { names: [other, name] } },
      )
    }
    nameOf.set(id, name)
  }
}

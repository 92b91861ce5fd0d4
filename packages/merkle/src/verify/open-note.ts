/**
 * Opening a signed note: which of the keys we know have signed its text.
 *
 * The rules are those of C2SP and of Go's x/mod: lines of unknown (name, id) are set aside; one bad line of a
 * known key rejects the note; of several lines by one key the first counts, so a key counts once to any quorum.
 */
import { equalBytes, PolicyError, utf8, VerificationError } from '@cipherlog/core'
import { verify } from '@cipherlog/crypto/signature'
import { badSignature, verifyCosignature } from './cosignature.ts'
import { type NoteSignature, parseNote } from './note.ts'
import { cosignatureKeyType, keyId, type VerifierKey } from './verifier-key.ts'

export interface VerifiedSignature {
  readonly key: VerifierKey
  /** Seconds since the Unix epoch, as the cosigner claims; only for keys of type 04. */
  readonly timeSeconds?: number
}

export interface OpenedNote {
  readonly text: string
  /** One per known key that signed, in the order of the note; never empty. */
  readonly signatures: readonly VerifiedSignature[]
  /** Lines of keys that are not among the known ones: not checked, they mean nothing. */
  readonly unknown: readonly NoteSignature[]
}

/**
 * Parses a note and verifies its lines by `keys`.
 * @throws {@link DecodeError} as {@link parseNote}.
 * @throws {@link VerificationError} `ERR_VERIFY_NOTE_SIGNATURE` if a known key's line is bad;
 * `ERR_VERIFY_NOTE_UNSIGNED` if no known key signed.
 * @throws {@link PolicyError} `ERR_POLICY_VERIFIER_KEYS` if two of `keys` cannot be told apart.
 */
export function openNote(note: string | Uint8Array, keys: readonly VerifierKey[]): OpenedNote {
  const known = keysByLine(keys)
  const { text, signatures } = parseNote(note)
  const verified = new Map<VerifierKey, VerifiedSignature>()
  const unknown: NoteSignature[] = []
  for (const signature of signatures) {
    const key = known.get(lineOf(signature.name, signature.keyId))
    if (key === undefined) unknown.push(signature)
    else if (!verified.has(key)) verified.set(key, verifyNoteSignature(text, signature, key))
  }
  if (verified.size === 0) {
    throw new VerificationError(
      'ERR_VERIFY_NOTE_UNSIGNED',
      'No known key has signed the note; check that it is from this log and that the trust policy is current.',
      { details: { signers: unknown.map(({ name, keyId }) => `${name}+${keyId}`) } },
    )
  }
  return { text, signatures: [...verified.values()], unknown }
}

/**
 * Verifies one line's signature of a note text by a key. A replica does this before a peer's line enters a note.
 * @throws {@link VerificationError} `ERR_VERIFY_NOTE_SIGNATURE` if name or id are not the key's, or the signature is
 * not by it over this text.
 */
export function verifyNoteSignature(text: string, line: NoteSignature, key: VerifierKey): VerifiedSignature {
  if (line.name !== key.name || line.keyId !== keyId(key)) throw badSignature(key, `is by ${line.name}+${line.keyId}`)
  if (key.type === cosignatureKeyType) return { key, timeSeconds: verifyCosignature(text, key, line.signature) }
  if (!verify(key.publicKey, utf8(text), line.signature)) throw badSignature(key, 'does not verify')
  return { key }
}

/** Keys by what a line shows of them. The same key may be listed twice; two keys may not share name and id. */
function keysByLine(keys: readonly VerifierKey[]): Map<string, VerifierKey> {
  const known = new Map<string, VerifierKey>()
  for (const key of keys) {
    const line = lineOf(key.name, keyId(key))
    const other = known.get(line)
    if (other !== undefined && (other.type !== key.type || !equalBytes(other.publicKey, key.publicKey))) {
      throw new PolicyError(
        'ERR_POLICY_VERIFIER_KEYS',
        `Two keys named ${key.name} share a key id; replace one of them, a signature line could not tell them apart.`,
        { details: { name: key.name, keyId: keyId(key) } },
      )
    }
    if (other === undefined) known.set(line, key)
  }
  return known
}

/** Names have no plus, so this is unambiguous. */
function lineOf(name: string, id: string): string {
  return `${name}+${id}`
}

/**
 * Signed notes (https://c2sp.org/signed-note@v1.0.0): text, the last blank line, signature lines.
 *
 * Parsing is as strict as Go's golang.org/x/mod/sumdb/note, and stricter about base64. It checks no signature;
 * until `openNote` has, the text means nothing.
 */
import { concatBytes, DecodeError, fromBase64, fromHex, toBase64, toHex, utf8, utf8ToString } from '@cipherlog/core'

/** Bytes of a whole note: sixteen lines of the largest signature in use (ML-DSA-44, 3.3 kB) fit. */
export const noteBytesMax = 65_536
/** Signature lines of a note: as many as C2SP makes every verifier accept, and our own notes never have more. */
export const noteSignaturesMax = 16

const keyIdBytes = 4
const linePrefix = '\u2014 '

export interface NoteSignature {
  /** Name of the key; claimed, like the rest of the line. */
  readonly name: string
  /** Key id, 8 lowercase hex digits. */
  readonly keyId: string
  /** What follows the key id: 64 bytes for type 01, time ‖ 64 bytes for type 04. At least one byte. */
  readonly signature: Uint8Array
}

export interface Note {
  /** What is signed, its final newline included. */
  readonly text: string
  readonly signatures: readonly NoteSignature[]
}

/**
 * Splits a note into text and signature lines.
 * @throws {@link DecodeError} `ERR_DECODE_NOTE` if it is not a note; `ERR_DECODE_LIMIT` above {@link noteBytesMax}
 * bytes or {@link noteSignaturesMax} lines.
 */
export function parseNote(note: string | Uint8Array): Note {
  const whole = noteString(note)
  const separator = whole.lastIndexOf('\n\n')
  if (separator < 0) throw malformed('has no blank line before its signatures')
  const text = whole.slice(0, separator + 1)
  const block = whole.slice(separator + 2)
  if (!block.endsWith('\n')) throw malformed('does not end with a signature line and a newline')
  const lines = block.slice(0, -1).split('\n')
  if (lines.length > noteSignaturesMax) {
    throw new DecodeError(
      'ERR_DECODE_LIMIT',
      `The note has ${lines.length} signature lines, at most ${noteSignaturesMax} are read; drop some.`,
    )
  }
  return { text, signatures: lines.map((line) => parseSignatureLine(line + '\n')) }
}

/**
 * Parses one signature line, its newline included.
 * @throws {@link DecodeError} `ERR_DECODE_NOTE`.
 */
export function parseSignatureLine(line: string): NoteSignature {
  if (!line.startsWith(linePrefix) || !line.endsWith('\n')) {
    throw malformed('has a signature line that is not: em dash, space, name, space, base64, newline')
  }
  const space = line.indexOf(' ', linePrefix.length)
  const name = line.slice(linePrefix.length, space)
  if (space < 0 || !isKeyName(name)) throw malformed('has a signature line without a valid key name')
  let payload: Uint8Array
  try {
    payload = fromBase64(line.slice(space + 1, -1))
  } catch (cause) {
    throw malformed('has a signature that is not canonical base64', cause)
  }
  if (payload.length <= keyIdBytes) throw malformed('has a signature line without a signature')
  return { name, keyId: toHex(payload.subarray(0, keyIdBytes)), signature: payload.slice(keyIdBytes) }
}

/** The line of a signature, its newline included. @throws RangeError on what {@link parseSignatureLine} refuses. */
export function formatSignatureLine({ name, keyId, signature }: NoteSignature): string {
  if (!isKeyName(name)) throw new RangeError(`${JSON.stringify(name)} cannot name a key: no spaces, no +, not empty`)
  const id = fromHex(keyId)
  if (id.length !== keyIdBytes || signature.length === 0) {
    throw new RangeError('a signature line takes a key id of 4 bytes and a signature')
  }
  return `${linePrefix}${name} ${toBase64(concatBytes(id, signature))}\n`
}

/**
 * The note of `text` (ending in a newline) under its signatures, in the order given.
 * @throws RangeError on a text, number of signatures or size that {@link parseNote} would refuse.
 */
export function formatNote(text: string, signatures: readonly NoteSignature[]): string {
  if (!isNoteText(text)) throw new RangeError('a note text ends in a newline and has no other control characters')
  if (signatures.length < 1 || signatures.length > noteSignaturesMax) {
    throw new RangeError(`a note takes 1 to ${noteSignaturesMax} signatures, not ${signatures.length}`)
  }
  const note = text + '\n' + signatures.map(formatSignatureLine).join('')
  if (utf8(note).length > noteBytesMax) throw new RangeError(`a note takes at most ${noteBytesMax} bytes`)
  return note
}

/** Whether a key can have this name: not empty, well-formed, no Unicode white space, no plus, no control character. */
export function isKeyName(name: string): boolean {
  return name !== '' && name.isWellFormed() && !/[\p{White_Space}+]/u.test(name) && !hasControlCharacter(name)
}

/** Whether `text` can be signed as a note: well-formed, ends in a newline, no other character below 0x20. */
export function isNoteText(text: string): boolean {
  return text.endsWith('\n') && text.isWellFormed() && !hasControlCharacter(text)
}

/** The note as a string whose UTF-8 bytes are the note's, within the size limit and without control characters. */
function noteString(note: string | Uint8Array): string {
  if (note.length > noteBytesMax) throw tooLarge()
  let text: string
  if (typeof note === 'string') {
    text = note
    if (!text.isWellFormed()) throw malformed('is not well-formed Unicode')
    if (utf8(text).length > noteBytesMax) throw tooLarge()
  } else {
    try {
      text = utf8ToString(note)
    } catch (cause) {
      throw malformed('is not UTF-8', cause)
    }
  }
  if (hasControlCharacter(text)) throw malformed('contains a control character')
  return text
}

/** Whether a character below U+0020 other than the newline occurs. */
function hasControlCharacter(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    if (unit < 0x20 && unit !== 0x0a) return true
  }
  return false
}

function malformed(what: string, cause?: unknown): DecodeError {
  return new DecodeError('ERR_DECODE_NOTE', `The signed note ${what}; fetch it again.`, { cause })
}

function tooLarge(): DecodeError {
  return new DecodeError(
    'ERR_DECODE_LIMIT',
    `A signed note takes at most ${noteBytesMax} bytes; this is no checkpoint.`,
  )
}

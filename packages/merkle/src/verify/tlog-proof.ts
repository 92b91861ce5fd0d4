/**
 * Offline proofs (https://c2sp.org/tlog-proof), files ending in `.tlog-proof`: index, inclusion proof, checkpoint.
 *
 * The tree's size and root are those of the checkpoint inside; the proof itself names neither.
 */
import { DecodeError, fromBase64, toBase64, utf8, utf8ToString } from '@cipherlog/core'
import { formatDecimal, parseDecimal } from './decimal.ts'
import { hashBytes } from './hashing.ts'
import { verifyInclusion } from './inclusion-proof.ts'
import { noteBytesMax, parseNote } from './note.ts'
import { type CheckpointKeys, openCheckpoint, type OpenedCheckpoint } from './open-checkpoint.ts'

/** Hashes of an inclusion proof: a tree of 2^63 leaves, the most C2SP counts, takes 63. */
export const proofHashesMax = 63
/** Bytes of `extra`: what an application adds is small. */
export const proofExtraBytesMax = 65_536
/** Bytes of a whole file: its parts at their limits. */
export const tlogProofBytesMax = noteBytesMax + Math.ceil(proofExtraBytesMax / 3) * 4 + proofHashesMax * 45 + 64

const header = 'c2sp.org/tlog-proof@v1'

export interface TlogProof {
  /** Opaque and not authenticated; not empty, absent if there is none. */
  readonly extra?: Uint8Array
  /** Index of the leaf, from 0. */
  readonly index: number
  /** Inclusion proof, the leaf's sibling first; 32 bytes each. */
  readonly proof: readonly Uint8Array[]
  /** The checkpoint note, verbatim. */
  readonly checkpoint: string
}

/** The text of a proof. @throws RangeError on fields that {@link parseTlogProof} would refuse. */
export function formatTlogProof({ extra, index, proof, checkpoint }: TlogProof): string {
  if (extra !== undefined && (extra.length === 0 || extra.length > proofExtraBytesMax)) {
    throw new RangeError(`extra takes 1 to ${proofExtraBytesMax} bytes; leave it out if there is none`)
  }
  if (proof.length > proofHashesMax || proof.some((hash) => hash.length !== hashBytes)) {
    throw new RangeError(`a proof has at most ${proofHashesMax} hashes of 32 bytes`)
  }
  const lines = [header]
  if (extra !== undefined) lines.push(`extra ${toBase64(extra)}`)
  lines.push(`index ${formatDecimal(index)}`, ...proof.map(toBase64))
  parseNote(checkpoint)
  return lines.join('\n') + '\n\n' + checkpoint
}

/**
 * Parses a proof; verifies nothing but its shape and that of the note inside.
 * @throws {@link DecodeError} `ERR_DECODE_TLOG_PROOF`; `ERR_DECODE_LIMIT` over a bound; `ERR_DECODE_NOTE`.
 */
export function parseTlogProof(file: string | Uint8Array): TlogProof {
  const text = fileString(file)
  // The first blank line ends the proof; the note inside has its own.
  const separator = text.indexOf('\n\n')
  if (separator < 0) throw malformed('has no blank line before its checkpoint')
  const lines = text.slice(0, separator).split('\n')
  const checkpoint = text.slice(separator + 2)
  let at = 0
  if (lines[at++] !== header) throw malformed(`does not start with ${header}`)
  let extra: Uint8Array | undefined
  if (lines[at]?.startsWith('extra ')) {
    extra = base64Line(lines[at++]!.slice('extra '.length))
    if (extra.length === 0) throw malformed('has an empty extra line')
    if (extra.length > proofExtraBytesMax) throw tooLarge(`extra takes at most ${proofExtraBytesMax} bytes`)
  }
  const indexLine = lines[at++]
  const index = indexLine?.startsWith('index ') ? parseDecimal(indexLine.slice('index '.length)) : undefined
  if (index === undefined) throw malformed('has no index line with a decimal of at most 2^53-1')
  if (lines.length - at > proofHashesMax) throw tooLarge(`a proof has at most ${proofHashesMax} hashes`)
  const proof = lines.slice(at).map(base64Line)
  if (proof.some((hash) => hash.length !== hashBytes)) throw malformed('has a hash that is not 32 bytes')
  parseNote(checkpoint)
  return { ...(extra === undefined ? {} : { extra }), index, proof, checkpoint }
}

/**
 * Opens the checkpoint inside a proof and verifies that the leaf stands in its tree, at the proof's index.
 * @param proof - as parsed, or the file itself.
 * @param leafHash - of the leaf in question, 32 bytes, computed by the caller.
 * @returns the opened checkpoint: whether enough cosigners signed is still the caller's to decide.
 * @throws as {@link parseTlogProof} and {@link openCheckpoint}, and
 * {@link VerificationError} `ERR_VERIFY_INCLUSION`.
 */
export function verifyTlogProof(
  proof: TlogProof | string | Uint8Array,
  leafHash: Uint8Array,
  keys: CheckpointKeys,
): OpenedCheckpoint & { readonly index: number } {
  const parsed = typeof proof === 'string' || proof instanceof Uint8Array ? parseTlogProof(proof) : proof
  const opened = openCheckpoint(parsed.checkpoint, keys)
  verifyInclusion({
    leafIndex: parsed.index,
    treeSize: opened.checkpoint.size,
    rootHash: opened.checkpoint.rootHash,
    leafHash,
    proof: parsed.proof,
  })
  return { ...opened, index: parsed.index }
}

function fileString(file: string | Uint8Array): string {
  if (file.length > tlogProofBytesMax) throw tooLarge(`a file takes at most ${tlogProofBytesMax} bytes`)
  if (typeof file !== 'string') {
    try {
      return utf8ToString(file)
    } catch (cause) {
      throw malformed('is not UTF-8', cause)
    }
  }
  if (!file.isWellFormed()) throw malformed('is not well-formed Unicode')
  if (utf8(file).length > tlogProofBytesMax) throw tooLarge(`a file takes at most ${tlogProofBytesMax} bytes`)
  return file
}

function base64Line(line: string): Uint8Array {
  try {
    return fromBase64(line)
  } catch (cause) {
    throw malformed('has a line that is not canonical base64', cause)
  }
}

function malformed(what: string, cause?: unknown): DecodeError {
  return new DecodeError('ERR_DECODE_TLOG_PROOF', `The .tlog-proof ${what}; ask for it again.`, { cause })
}

function tooLarge(what: string): DecodeError {
  return new DecodeError('ERR_DECODE_LIMIT', `The .tlog-proof is too large: ${what}.`)
}

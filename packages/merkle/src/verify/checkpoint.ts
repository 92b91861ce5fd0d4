/**
 * Checkpoint texts (https://c2sp.org/tlog-checkpoint@v1.0.0): origin, size and root of a log, one line each.
 *
 * This is the text inside a signed note. Parsing is exact: `formatCheckpoint(parseCheckpoint(text)) === text`.
 */
import { DecodeError, equalBytes, fromBase64, toBase64 } from '@cipherlog/core'
import { formatDecimal, parseDecimal } from './decimal.ts'
import { emptyRoot, hashBytes } from './hashing.ts'
import { isNoteText } from './note.ts'

export interface Checkpoint {
  /** The log's identity, not empty; the note name of its keys. */
  readonly origin: string
  /** Number of leaves. */
  readonly size: number
  /** Root of the tree with these leaves, 32 bytes. */
  readonly rootHash: Uint8Array
  /** Further lines, without newlines, none empty; absent if there are none. We write none (C2SP: NOT RECOMMENDED). */
  readonly extensions?: readonly string[]
}

/**
 * Parses a checkpoint text, its final newline included.
 * @throws {@link DecodeError} `ERR_DECODE_CHECKPOINT` on anything but the one spelling of it.
 */
export function parseCheckpoint(text: string): Checkpoint {
  if (!isNoteText(text)) throw malformed('is not a note text: it ends in a newline, without other control characters')
  const [origin, sizeText, rootText, ...extensions] = text.slice(0, -1).split('\n')
  if (origin === undefined || sizeText === undefined || rootText === undefined) throw malformed('has under three lines')
  if (origin === '') throw malformed('has no origin')
  const size = parseDecimal(sizeText)
  if (size === undefined) throw malformed('has a size that is not a decimal without leading zeros, at most 2^53-1')
  let rootHash: Uint8Array
  try {
    rootHash = fromBase64(rootText)
  } catch (cause) {
    throw malformed('has a root that is not canonical base64', cause)
  }
  if (rootHash.length !== hashBytes) throw malformed('has a root that is not 32 bytes')
  if (size === 0 && !equalBytes(rootHash, emptyRoot)) throw malformed('has a root that no empty tree has')
  if (extensions.includes('')) throw malformed('has an empty extension line')
  return { origin, size, rootHash, ...(extensions.length > 0 ? { extensions } : {}) }
}

/** The text of a checkpoint. @throws RangeError on fields that {@link parseCheckpoint} would refuse. */
export function formatCheckpoint({ origin, size, rootHash, extensions = [] }: Checkpoint): string {
  if (rootHash.length !== hashBytes) throw new RangeError(`a root hash is 32 bytes, not ${rootHash.length}`)
  if (size === 0 && !equalBytes(rootHash, emptyRoot)) throw new RangeError('size 0 has the root of the empty tree')
  const lines = [origin, formatDecimal(size), toBase64(rootHash), ...extensions]
  const text = lines.join('\n') + '\n'
  if (lines.some((line) => line === '' || line.includes('\n')) || !isNoteText(text)) {
    throw new RangeError('origin and extension lines are not empty and have no control characters')
  }
  return text
}

function malformed(what: string, cause?: unknown): DecodeError {
  return new DecodeError('ERR_DECODE_CHECKPOINT', `The checkpoint ${what}; fetch it again.`, { cause })
}

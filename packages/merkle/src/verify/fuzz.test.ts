/** Whatever comes in from outside: parsers give a value that formats back to the same bytes, or a typed error. */
import { CipherlogError, utf8 } from '@cipherlog/core'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { buildLog, keys, logKey, signedNote } from '../log.fixture.ts'
import { CompactRange } from '../tree/compact-range.ts'
import { formatCheckpoint, parseCheckpoint } from './checkpoint.ts'
import { formatEntryBundle, parseEntryBundle } from './entry-bundle.ts'
import { formatNote, parseNote } from './note.ts'
import { openCheckpoint } from './open-checkpoint.ts'
import { bodyPath, bundlePath, entriesPath, parseTilePath, tilePath } from './tile-path.ts'
import { formatTlogProof, parseTlogProof } from './tlog-proof.ts'
import { formatVkey, parseVkey } from './verifier-key.ts'

const log = buildLog(5)
const note = signedNote(log.checkpointAt(5), 1)
const checkpointText = formatCheckpoint(log.checkpointAt(5))
const proof = formatTlogProof({ index: 4, proof: [log.leaves[0]!], checkpoint: note, extra: utf8('extra') })

/** A valid text with a few edits: cuts, repeats, and characters that parsers trip over. */
function edited(valid: string): fc.Arbitrary<string> {
  const piece = fc.constantFrom(
    '',
    '\n',
    '\n\n',
    ' ',
    '+',
    '=',
    '0',
    '\u2014 ',
    '\u00a0',
    '\ud800',
    'A',
    '\0',
    'extra ',
  )
  const edit = fc.tuple(fc.nat(valid.length), fc.nat(6), fc.oneof(piece, fc.string({ maxLength: 4 })))
  return fc.array(edit, { minLength: 1, maxLength: 3 }).map((edits) => {
    let text = valid
    for (const [at, cut, insert] of edits) text = text.slice(0, at) + insert + text.slice(at + cut)
    return text
  })
}

/** Runs `parse`; a {@link CipherlogError} is an answer, anything else is a bug. */
function roundTrips<T>(input: T, roundTrip: (input: T) => T): void {
  let output: T
  try {
    output = roundTrip(input)
  } catch (error) {
    if (error instanceof CipherlogError) return
    throw error
  }
  expect(output).toEqual(input)
}

function pathOf(path: string): string {
  const parsed = parseTilePath(path)
  if (parsed.kind === 'hashes') return tilePath(parsed.level, parsed.index, parsed.width)
  if (parsed.kind === 'entries') return entriesPath(parsed.index, parsed.width)
  return parsed.kind === 'bundle' ? bundlePath(parsed.index) : bodyPath(parsed.index)
}

const texts: [string, string, (text: string) => string][] = [
  ['parseNote', note, (text) => formatNoteOf(text)],
  ['parseCheckpoint', checkpointText, (text) => formatCheckpoint(parseCheckpoint(text))],
  ['parseTlogProof', proof, (text) => formatTlogProof(parseTlogProof(text))],
  ['parseVkey', formatVkey(logKey.key), (text) => formatVkey(parseVkey(text))],
  ['parseTilePath', 'tile/0/x001/x234/067.p/8', pathOf],
]

function formatNoteOf(text: string): string {
  const { text: noteText, signatures } = parseNote(text)
  return formatNote(noteText, signatures)
}

describe('fuzzed', () => {
  test.each(texts)('%s() reads one spelling or throws a typed error', (_name, valid, roundTrip) => {
    expect(roundTrip(valid)).toBe(valid)
    fc.assert(
      fc.property(edited(valid), (text) => roundTrips(text, roundTrip)),
      { numRuns: 1500 },
    )
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => roundTrips(text, roundTrip)),
      { numRuns: 500 },
    )
  })

  test('parseEntryBundle() and CompactRange.fromBytes() too', () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 80 }),
      fc.array(fc.constantFrom(0, 1, 2), { maxLength: 80 }).map((a) => Uint8Array.from(a)),
    )
    const bundle = (input: Uint8Array) => formatEntryBundle(parseEntryBundle(input))
    const range = (input: Uint8Array) => CompactRange.fromBytes(input).toBytes()
    fc.assert(
      fc.property(bytes, (input) => roundTrips(input, bundle)),
      { numRuns: 1000 },
    )
    fc.assert(
      fc.property(bytes, (input) => roundTrips(input, range)),
      { numRuns: 1000 },
    )
  })

  test('openCheckpoint() never opens an edited note as another checkpoint', () => {
    const opened = openCheckpoint(note, keys)
    fc.assert(
      fc.property(edited(note), (text) => {
        try {
          expect(openCheckpoint(text, keys).checkpoint).toEqual(opened.checkpoint)
        } catch (error) {
          if (!(error instanceof CipherlogError)) throw error
        }
      }),
      { numRuns: 500 },
    )
  })
})

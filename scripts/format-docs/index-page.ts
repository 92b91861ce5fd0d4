/** docs/formats/README.md: the index, the encoding rules, labels and numbers. */
import { labels } from '@cipherlog/crypto/hash'
import { entryKinds, leafKinds, roles, suiteNames, suites, verdicts } from '@cipherlog/format'

/** What each label is put in front of, in the order of the table. */
const labelUses: Readonly<Record<keyof typeof labels, readonly [use: string, covers: string]>> = {
  keyEvent: ['signature, operator or recovery key', 'key event bytes'],
  groupStart: ['signature, operator key', 'group start bytes'],
  quarantine: ['signature, operator key', 'quarantine bytes'],
  pop: ['signature, the key itself', 'CBOR [cluster, role, key]: proof of possession'],
  ready: ['signature, reader key', 'CBOR [cluster, keyset, epoch, SHA-256 of the public part]'],
  endorse: ['signature, reader key', 'CBOR [cluster, keyset, epoch, SHA-256 of the public part]'],
  openSession: ['signature, client key', 'session opening bytes'],
  bundle: ['signature, client key', 'command bundle bytes'],
  applied: ['signature, answer key', 'applied bytes'],
  statement: ['signature, reader or answer key', 'statement bytes (reserved)'],
  readRequest: ['signature, client or reader key', 'read request bytes'],
  context: ['SHA-256', 'command context: `H`'],
  envelopeId: ['SHA-256', 'key envelope: its id'],
  readerKey: ['SHA-256', "a reader's public key: its id"],
  cell: ['SHA-256', 'cell digest input, tombstone input'],
  cellChain: ['SHA-256', 'chain input'],
  batchSeed: ['SHA-256', 'verification key digest, then proof and statement of each: weights of a batched check'],
  elgamalPop: ['SHA-256', 'CBOR [cluster, keyset, keyEpoch, PK, T]: challenge of an ElGamal proof of possession'],
  value: ['HMAC-SHA256, content key', 'CBOR [salt, H]: key of one message'],
  salt: ['HMAC-SHA256, content key', 'CBOR [32 random bytes, SHA-256 of the plaintext]'],
  commit: ['HMAC-SHA256, content key', 'CBOR [cluster, client, keyset, keyEpoch, subject or empty]'],
  name: ['HMAC-SHA256, name key', 'CBOR [cluster, namespace, name]'],
  envelopeInfo: ['HPKE info', 'CBOR [label, envelope id, wrapEpoch, reader key id]'],
}

const errors: readonly (readonly [code: string, meaning: string])[] = [
  ['ERR_DECODE_TYPE', 'an item of another CBOR type stands where this one is expected'],
  ['ERR_DECODE_TRUNCATED', 'the bytes end inside the value'],
  ['ERR_DECODE_TRAILING', 'bytes follow the value'],
  [
    'ERR_DECODE_NOT_CANONICAL',
    'an integer or length is not in its shortest form, a length is indefinite, keys are repeated or out of order',
  ],
  ['ERR_DECODE_LIMIT', 'an integer, length or count is outside its limits'],
  [
    'ERR_DECODE_VALUE',
    'a field is unknown or missing, a number or text is none of the allowed ones, text is not UTF-8',
  ],
  ['ERR_DECODE_VERSION', 'the version or kind is one that this software does not know'],
]

/** A page of the index. */
export interface IndexEntry {
  readonly page: string
  readonly summary: string
}

function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  return [line(header), line(header.map(() => '---')), ...rows.map(line)].join('\n')
}

function numberTable(title: string, numbers: Readonly<Record<string, number>>): string {
  return table(
    ['number', title],
    Object.entries(numbers).map(([name, number]) => [`${number}`, name]),
  )
}

/** The index page. */
export function indexPage(entries: readonly IndexEntry[]): string {
  const suiteRows = Object.values(suites).map((suite) => [`${suite}`, suiteNames[suite]])
  return `# Formats

Every byte layout that is signed, hashed, stored or sent. Each page is one file of \`packages/format/src\`: what it is, its
CDDL (RFC 8610), its limits, an annotated example and what a decoder refuses. All pages but the hand-written ones are
generated: \`node scripts/format-docs.ts\`.

${table(
  ['page', 'what'],
  entries.map(({ page, summary }) => [`[${page}](${page}.md)`, summary]),
)}

## Encoding

Deterministic CBOR (RFC 8949 §4.2.1), of which only this exists: unsigned integers up to 2^53-1, byte strings, text
strings (UTF-8), arrays, maps with integer keys, booleans.

- Integers and lengths are in their shortest form; lengths are definite.
- Map keys are ascending. In the CDDL a field's name stands in the comment beside its key.
- An absent optional field is left out, never null. Unknown fields are refused: a new field is a new version.
- A signed object is a byte string inside an array with its signatures, carried as it was signed.
- A decoder checks every length against its limit and against the input before it allocates, and refuses bytes after the
  value. So each value has exactly one encoding, and what is accepted re-encodes to the same bytes.

## Refusals

${table(
  ['code', 'when'],
  errors.map(([code, meaning]) => [`\`${code}\``, meaning]),
)}

## Golden vectors

\`test/conformance/vectors/formats.json\` holds at least one valid encoding of every format with its value, and mutations
that a decoder must refuse with the code beside them: bytes \`[at, at + remove)\` replaced by \`insert\`. They come from one
small cluster with fixed keys, so that its signatures, hashes and checkpoints can be verified too; ciphertexts and proofs
in them are stand-ins of the right length.

## Labels

A signature is Ed25519 over label ‖ 00 ‖ SHA-256(bytes); a labelled hash is SHA-256(label ‖ 00 ‖ bytes); a keyed hash is
HMAC-SHA256(key, label ‖ 00 ‖ bytes). Without a label: RFC 6962 hashes, plain SHA-256 names and \`cluster\`, C2SP notes
and cosignatures, TLS, HPKE's own schedule.

${table(
  ['label', 'use', 'over'],
  Object.entries(labelUses).map(([key, [use, covers]]) => [`\`${labels[key as keyof typeof labels]}\``, use, covers]),
)}

## Numbers

They are part of the formats and never reused.

${table(['number', 'suite'], suiteRows)}

${numberTable('leaf kind', leafKinds)}

${numberTable('log entry kind', entryKinds)}

${numberTable('role of a signing key', roles)}

${numberTable('verdict', verdicts)}

Verdicts from 64 are the state machine's own.
`
}

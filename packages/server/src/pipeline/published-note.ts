/**
 * A checkpoint that another replica published, taken over as it is: what a newcomer does with transition sizes whose
 * signers may be gone by now. It carries the quorums that it needs, so whoever hands it out need not be believed.
 *
 * Invariant: of the note, only lines that were verified are kept, each key's once, and of each set one log line; so
 * it has no more lines than one that was made here.
 */
import { type CosignerSet } from '@cipherlog/format'
import { formatNote, keyId, parseNote, type NoteSignature, type VerifierKey } from '@cipherlog/merkle/verify'
import { noteKeysOf, verifyCheckpoint } from '@cipherlog/registry'
import { type CosigningNames } from './cosignatures.ts'

export interface PublishedNote {
  readonly size: number
  readonly rootHash: Uint8Array
  readonly text: string
  /** The q-th newest cosignature time, in seconds; of two sets the older. */
  readonly timeSeconds: number
}

/**
 * Checks a note against the sets that govern its size: all must have their quorum and a log signature.
 * @throws CipherlogError `ERR_DECODE_*`, `ERR_VERIFY_NOTE_*`, `ERR_POLICY_*` if it is not such a note.
 */
export function openPublishedNote(note: string, names: CosigningNames, sets: readonly CosignerSet[]): PublishedNote {
  const demand = { ...names, sets, witnesses: [], witnessesRequired: 0 }
  const { size, rootHash, cosignedAtSeconds } = verifyCheckpoint(note, demand)
  const { text, signatures } = parseNote(note)
  // The first line of a key is the one that was verified.
  const lineOf = (key: VerifierKey): NoteSignature | undefined =>
    signatures.find(({ name, keyId: id }) => name === key.name && id === keyId(key))
  const logLines: NoteSignature[] = []
  const cosignerLines = new Set<NoteSignature>()
  for (const { log, cosigners } of sets.map((set) => noteKeysOf(set, names))) {
    const bySet = log.flatMap((key) => lineOf(key) ?? [])
    // A log key that is in both sets counts for both.
    if (!bySet.some((line) => logLines.includes(line))) logLines.push(bySet[0]!)
    for (const line of cosigners.flatMap((key) => lineOf(key) ?? [])) cosignerLines.add(line)
  }
  return { size, rootHash, text: formatNote(text, [...logLines, ...cosignerLines]), timeSeconds: cosignedAtSeconds }
}

/**
 * Notes of transition sizes that were published before this replica came: it can sign none of them again, and its
 * policy chain needs them. A file of its own, a CBOR array of texts; what is in it was verified, and is again by
 * whoever reads a policy chain.
 */
import { array, decode, encode, text } from '@cipherlog/core'
import { readIfThere, replaceFile } from './replace-file.ts'

const notesCodec = array(text(65_536), 256)
const bytesMax = 17_000_000

/** @throws DecodeError if the file holds something else: remove it, and let the replica fetch a snapshot again. */
export async function openJoinNotes(
  file: string,
): Promise<{ read(): readonly string[]; write(notes: readonly string[]): Promise<void> }> {
  const bytes = await readIfThere(file)
  let current: readonly string[] = bytes === undefined ? [] : decode(notesCodec, bytes, bytesMax)
  return {
    read: () => current,
    async write(notes) {
      await replaceFile(file, encode(notesCodec, [...notes]))
      current = notes
    },
  }
}

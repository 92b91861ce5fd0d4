/**
 * The apply note in a file of its own (docs/formats/apply-note.md). It protects nothing that is signed: a damaged one
 * counts as none, and costs two more stops at an entry.
 */
import { decode, DecodeError, encode, type Logger } from '@cipherlog/core'
import { applyNote, type ApplyNote } from '@cipherlog/format'
import { type ApplyNotes } from '../pipeline/apply-guard.ts'
import { readIfThere, replaceFile } from './replace-file.ts'

/** Opens the note in `file`, which need not be there. */
export async function openApplyNotes(file: string, logger: Logger): Promise<ApplyNotes> {
  const bytes = await readIfThere(file)
  let current = bytes === undefined ? undefined : parse(bytes, file, logger)
  return {
    read: () => current,
    async write(note) {
      await replaceFile(file, encode(applyNote, note))
      current = note
    },
  }
}

function parse(bytes: Uint8Array, file: string, logger: Logger): ApplyNote | undefined {
  try {
    return decode(applyNote, bytes)
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error
    logger.warn({ file, err: error }, 'the note of earlier stops is damaged and counts as none')
    return undefined
  }
}

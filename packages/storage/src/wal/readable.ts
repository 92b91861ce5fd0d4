/**
 * Reading from a disk that may refuse single sectors: what cannot be read counts as damaged, and is not a reason to
 * stop, since a second copy or a peer has it. Every byte of it reads as ff: as something, not as nothing, because
 * emptiness at the end of a file means that nothing was ever written there.
 */
import { type Disk, type DiskFile } from '../disk/disk.ts'

/** What is read again piece by piece; a page of the kernel's. */
const pieceBytes = 4096

/** `length` bytes, fewer only at the end of the file; ff where the disk gives none. */
export async function readable(file: DiskFile, position: number, length: number): Promise<Uint8Array> {
  try {
    return await file.read(position, length)
  } catch {
    const size = Math.min(length, Math.max(0, (await file.size()) - position))
    const out = new Uint8Array(size).fill(0xff)
    for (let at = 0; at < size; at += pieceBytes) {
      try {
        out.set(await file.read(position + at, Math.min(pieceBytes, size - at)), at)
      } catch {
        // Stays ff.
      }
    }
    return out
  }
}

/** The whole file, ff where the disk gives nothing; undefined if there is no file. */
export async function readableFile(
  disk: Pick<Disk, 'open' | 'readFile'>,
  path: string,
): Promise<Uint8Array | undefined> {
  try {
    return await disk.readFile(path)
  } catch {
    const file = await disk.open(path, { readOnly: true })
    try {
      return await readable(file, 0, await file.size())
    } finally {
      await file.close()
    }
  }
}

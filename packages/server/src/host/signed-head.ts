/**
 * The newest size and root that this replica's keys have signed, in a file of its own: 40 bytes, u64 size
 * big-endian ‖ root, and their SHA-256. In no backup: a replica that lost it must get new keys.
 *
 * Invariant: the file is there from before the first signature (size 0 and zeros: nothing was signed), so that a
 * missing one is noticed.
 */
import { CipherlogError, equalBytes, readU64, writeU64 } from '@cipherlog/core'
import { sha256 } from '@cipherlog/crypto/hash'
import { type PublisherOptions } from '../pipeline/publisher.ts'
import { readIfThere, replaceFile } from './replace-file.ts'

const contentBytes = 40
const fileBytes = contentBytes + 32

/**
 * @param options.isNew - the replica has never run: only then may the file be missing.
 * @throws CipherlogError `ERR_SIGNED_HEAD` if it is damaged or lost: the replica must not sign any more.
 */
export async function openSignedHead(
  file: string,
  options: { readonly isNew: boolean },
): Promise<PublisherOptions['signedHead']> {
  const bytes = await readIfThere(file)
  if (bytes === undefined && !options.isNew) throw unknown(file, 'is missing')
  let current = bytes === undefined ? undefined : parse(file, bytes)
  if (bytes === undefined) await replaceFile(file, format(0, new Uint8Array(32)))
  return {
    read: () => current,
    async write(size, rootHash) {
      if (size < 1 || rootHash.length !== 32)
        throw new RangeError(`${size} leaves and a root of ${rootHash.length} bytes`)
      const root = new Uint8Array(rootHash)
      await replaceFile(file, format(size, root))
      current = { size, rootHash: root }
    },
  }
}

function format(size: number, rootHash: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(fileBytes)
  writeU64(bytes, 0, size)
  bytes.set(rootHash, 8)
  bytes.set(sha256(bytes.subarray(0, contentBytes)), contentBytes)
  return bytes
}

/** Undefined: nothing was signed. */
function parse(file: string, bytes: Uint8Array): { size: number; rootHash: Uint8Array } | undefined {
  const content = bytes.subarray(0, contentBytes)
  if (bytes.length !== fileBytes || !equalBytes(sha256(content), bytes.subarray(contentBytes))) {
    throw unknown(file, 'is damaged')
  }
  const size = readU64(content, 0)
  return size === 0 ? undefined : { size, rootHash: new Uint8Array(content.subarray(8)) }
}

function unknown(file: string, problem: string): CipherlogError {
  return new CipherlogError(
    'ERR_SIGNED_HEAD',
    `${file} ${problem}, so nobody knows what this replica has signed; replace the replica by one with new keys.`,
    { details: { file } },
  )
}

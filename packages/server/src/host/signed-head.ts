/**
 * The newest size and root that this replica's keys have signed, in a file of its own: 40 bytes, u64 size
 * big-endian ‖ root, and their SHA-256. In no backup: a replica that lost it must get new keys.
 */
import { open, readFile, rename } from 'node:fs/promises'
import { dirname } from 'node:path'
import { CipherlogError, equalBytes, readU64, writeU64 } from '@cipherlog/core'
import { sha256 } from '@cipherlog/crypto/hash'
import { type PublisherOptions } from '../pipeline/publisher.ts'

const contentBytes = 40

/** @throws CipherlogError `ERR_SIGNED_HEAD` if the file is damaged: the replica must not sign any more. */
export async function openSignedHead(file: string): Promise<PublisherOptions['signedHead']> {
  let current = parse(file, await readIfThere(file))
  return {
    read: () => current,
    async write(size, rootHash) {
      const bytes = new Uint8Array(contentBytes + 32)
      writeU64(bytes, 0, size)
      bytes.set(rootHash, 8)
      bytes.set(sha256(bytes.subarray(0, contentBytes)), contentBytes)
      await replaceFile(file, bytes)
      current = { size, rootHash: rootHash.slice() }
    },
  }
}

async function readIfThere(file: string): Promise<Uint8Array | undefined> {
  try {
    return await readFile(file)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

function parse(file: string, bytes: Uint8Array | undefined): { size: number; rootHash: Uint8Array } | undefined {
  if (bytes === undefined) return undefined
  const content = bytes.subarray(0, contentBytes)
  if (bytes.length !== contentBytes + 32 || !equalBytes(sha256(content), bytes.subarray(contentBytes))) {
    throw new CipherlogError(
      'ERR_SIGNED_HEAD',
      `${file} is damaged, so nobody knows what this replica has signed; replace the replica by one with new keys.`,
    )
  }
  return { size: readU64(content, 0), rootHash: new Uint8Array(content.subarray(8)) }
}

/** Old content or new, never a mixture; durable when it resolves. */
async function replaceFile(file: string, bytes: Uint8Array): Promise<void> {
  const next = `${file}.next`
  const handle = await open(next, 'w', 0o600)
  try {
    await handle.writeFile(bytes)
    await handle.datasync()
  } finally {
    await handle.close()
  }
  await rename(next, file)
  const directory = await open(dirname(file), 'r')
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}

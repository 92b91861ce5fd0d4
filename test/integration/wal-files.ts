/** Finds and damages entries in the log files of a node that does not run, as a bad disk would. */
import { open, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type NodeFiles } from '@cipherlog/cli/cluster'
import { DecodeError } from '@cipherlog/core'
import {
  readWalRecordHeader,
  walRecordBytes,
  type WalRecordHeader,
  walRecordHeaderBytes,
  walRecordKinds,
  walSegmentHeaderBytes,
} from '@cipherlog/format/wal-record'

export interface EntryOnDisk {
  readonly file: string
  /** Of its payload. */
  readonly offset: number
  readonly header: WalRecordHeader
}

/** The entries of a log in the order in which they were written; one index may come twice, the later one counts. */
export async function entriesOnDisk(node: NodeFiles): Promise<EntryOnDisk[]> {
  const folder = join(node.directory, 'data', 'wal')
  const out: EntryOnDisk[] = []
  for (const name of (await readdir(folder)).filter((each) => each.endsWith('.wal')).sort()) {
    const file = join(folder, name)
    const bytes = new Uint8Array(await readFile(file))
    for (let at = walSegmentHeaderBytes; at < bytes.length;) {
      const header = headerAt(bytes, at)
      if (header === undefined) break
      if (header.kind === walRecordKinds.entry) out.push({ file, offset: at + walRecordHeaderBytes, header })
      at += walRecordBytes(header.bytes)
    }
  }
  return out
}

/** Undefined behind the last record: zeros, or what a crash left. */
function headerAt(bytes: Uint8Array, at: number): WalRecordHeader | undefined {
  try {
    return readWalRecordHeader(bytes, at)
  } catch (error) {
    if (error instanceof DecodeError) return undefined
    throw error
  }
}

/** One bit of an entry's payload. Flipped twice it is as before. */
export async function flipBit({ file, offset, header }: EntryOnDisk): Promise<void> {
  const handle = await open(file, 'r+')
  try {
    const position = offset + (header.bytes >> 1)
    const byte = new Uint8Array(1)
    await handle.read(byte, 0, 1, position)
    byte[0]! ^= 0x10
    await handle.write(byte, 0, 1, position)
    await handle.datasync()
  } finally {
    await handle.close()
  }
}

/**
 * Where a trail begins: `trail-from`, a decimal number and a line feed, beside the trail's files and never served. It is
 * missing once every leaf from 0 on is here.
 *
 * Invariant: a multiple of 256; the files of every leaf from it on are durable before it is written.
 */
import { utf8, utf8ToString } from '@cipherlog/core'
import { tileWidthMax } from '@cipherlog/merkle/verify'
import { type Disk, replaceFile } from '../disk/disk.ts'
import { TrailDamagedError } from '../errors.ts'

export const trailFromPath = 'trail-from'

export async function readTrailFrom(disk: Disk): Promise<number> {
  const bytes = await disk.readFile(trailFromPath)
  if (bytes === undefined) return 0
  const text = utf8ToString(bytes)
  const from = Number(text)
  if (!/^[1-9]\d{0,15}\n$/.test(text) || !Number.isSafeInteger(from) || from % tileWidthMax !== 0) {
    throw new TrailDamagedError(trailFromPath, 'says nothing sensible')
  }
  return from
}

export async function writeTrailFrom(disk: Disk, from: number): Promise<void> {
  if (from > 0) {
    await replaceFile(disk, trailFromPath, utf8(`${from}\n`))
    return
  }
  await disk.remove(trailFromPath)
  await disk.syncDirectory('')
}

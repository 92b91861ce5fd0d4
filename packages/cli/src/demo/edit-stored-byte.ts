/** Attack 1: the host of a node edits one byte of one stored command. */
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { CipherlogError, readU32 } from '@cipherlog/core'
import { bodyPath, tileWidthMax } from '@cipherlog/merkle/verify'

const slotBytes = 8

/**
 * Flips one bit in the middle of the last stored body of a trail of `size` leaves.
 * @returns which byte, for people.
 * @throws CipherlogError `ERR_DEMO_LEAVES` if the trail holds no command with a body.
 */
export async function editStoredByte(trailDirectory: string, size: number): Promise<string> {
  for (let leaf = size - 1; leaf >= 0; leaf--) {
    const path = bodyPath(Math.floor(leaf / tileWidthMax))
    const file = join(trailDirectory, path)
    const pack = await readFile(file)
    const slot = (leaf % tileWidthMax) * slotBytes
    const length = readU32(pack, slot + 4)
    if (length === 0) continue
    const at = readU32(pack, slot) + Math.floor(length / 2)
    pack[at]! ^= 1
    await writeFile(file, pack)
    return `byte ${at} of ${path}, in the ciphertext of leaf ${leaf}`
  }
  throw new CipherlogError('ERR_DEMO_LEAVES', 'The trail holds no command yet; write a few values first.')
}

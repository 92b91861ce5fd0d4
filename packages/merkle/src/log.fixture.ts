/** A log in memory for tests: leaves, the tiles that a compact range fills, and checkpoints signed by its keys. */
import { concatBytes } from '@cipherlog/core'
import { publicKeyOf } from '@cipherlog/crypto/signature'
import { leafHashes } from './recursive-twin.fixture.ts'
import { CompactRange } from './tree/compact-range.ts'
import { assembleNote, cosignCheckpoint, signCheckpoint } from './tree/sign-checkpoint.ts'
import { tileSlot } from './tree/tile-hashes.ts'
import { type ReadTile } from './tree/tile-proofs.ts'
import { type Checkpoint, formatCheckpoint } from './verify/checkpoint.ts'
import { cosignatureKeyType, ed25519KeyType, type VerifierKey } from './verify/verifier-key.ts'

/** A key pair under a note name; the seed is 32 times `seed`. */
export function keyPair(name: string, type: VerifierKey['type'], seed: number) {
  const secretKey = new Uint8Array(32).fill(seed)
  const key: VerifierKey = { name, type, publicKey: publicKeyOf(secretKey) }
  return { name, secretKey, key }
}

export const origin = 'cipherlog.example/log'
export const logKey = keyPair(origin, ed25519KeyType, 1)
export const cosigners = [2, 3, 4].map((seed) => keyPair(`cipherlog.example/replica/${seed}`, cosignatureKeyType, seed))
export const outsider = keyPair('outsider.example', cosignatureKeyType, 9)
export const keys = { log: [logKey.key], cosigners: cosigners.map(({ key }) => key) }
export const timeSeconds = 1_700_000_000

/** The note of a checkpoint under the log's signature and the first `count` cosigners'. */
export function signedNote(checkpoint: Checkpoint, count = cosigners.length): string {
  const text = formatCheckpoint(checkpoint)
  const cosignatures = cosigners.slice(0, count).map((key) => cosignCheckpoint(text, { ...key, timeSeconds }))
  return assembleNote(text, [signCheckpoint(text, logKey), ...cosignatures])
}

/** A log of `size` leaves. `roots[n]` is the root at size n. */
export function buildLog(size: number) {
  const leaves = leafHashes(size)
  const tiles = new Map<string, Uint8Array[]>()
  const range = new CompactRange()
  const roots = [range.root()]
  for (const leaf of leaves) {
    range.append(leaf, (level, index, hash) => {
      const place = tileSlot(level, index)
      if (place === undefined) return
      const key = `${place.tileLevel}/${place.tileIndex}`
      if (!tiles.has(key)) tiles.set(key, [])
      tiles.get(key)![place.slot] = hash
    })
    roots.push(range.root())
  }
  const readTile: ReadTile = (level, index, width) => {
    const hashes = tiles.get(`${level}/${index}`)
    if (hashes === undefined || hashes.length < width) throw new Error(`no tile ${level}/${index} of width ${width}`)
    return concatBytes(...hashes.slice(0, width))
  }
  const checkpointAt = (n: number): Checkpoint => ({ origin, size: n, rootHash: roots[n]! })
  return { leaves, tiles, range, roots, readTile, checkpointAt }
}

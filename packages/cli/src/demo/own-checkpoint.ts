/** A checkpoint that one host alone can sign: with the log and cosigner key of its own replica, and nobody else's. */
import { toHex } from '@cipherlog/core'
import { type NodeKeys } from '@cipherlog/format'
import { assembleNote, cosignCheckpoint, signCheckpoint } from '@cipherlog/merkle/tree'
import { cosignerName, formatCheckpoint, parseCheckpoint, parseNote } from '@cipherlog/merkle/verify'

/** @param note - whose origin and size are kept; the root is replaced. */
export function signOwnCheckpoint(note: string, rootHash: Uint8Array, keys: NodeKeys, timeSeconds: number): string {
  const { origin, size } = parseCheckpoint(parseNote(note).text)
  const text = formatCheckpoint({ origin, size, rootHash })
  // `<name>/<cluster>/<group>/<generation>`, and the cluster's name may hold slashes itself.
  const clusterName = origin.split('/').slice(0, -3).join('/')
  return assembleNote(text, [
    signCheckpoint(text, { name: origin, secretKey: keys.log }),
    cosignCheckpoint(text, {
      name: cosignerName(clusterName, toHex(keys.peerId)),
      secretKey: keys.cosigner,
      timeSeconds,
    }),
  ])
}

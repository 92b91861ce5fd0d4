/** Leaves of a trail, with the hashes that they complete. */
import { createHash } from 'node:crypto'
import { concatBytes, encode, utf8 } from '@cipherlog/core'
import { batchRecord, commandBundle, leafKinds, leafRecord, signedCommandBundle } from '@cipherlog/format'
import { CompactRange } from '@cipherlog/merkle/tree'
import { leafHash } from '@cipherlog/merkle/verify'
import { type TileHash, type TrailLeaf } from './trail-store.ts'

const sha256 = (bytes: Uint8Array): Uint8Array => new Uint8Array(createHash('sha256').update(bytes).digest())
const group = new Uint8Array(16)
export const none = new Uint8Array(0)

/** A leaf whose record, signed bytes and bodies belong together: openings, bundles with bodies, batch records. */
function partsOf(index: number): { entry: Uint8Array; signed: Uint8Array; body: Uint8Array } {
  const place = { group, logIndex: index, logTime: index }
  if (index % 7 === 1) {
    const registryHead = { number: 0, digest: new Uint8Array(32) }
    const batch = { firstLeaf: Math.max(0, index - 1), leafCount: 1, batchRoot: new Uint8Array(32), registryHead }
    return { entry: encode(batchRecord, { kind: 5, ...place, ...batch, rulesVersion: 1 }), signed: none, body: none }
  }
  let signed = utf8(`opening ${index}`)
  let body: Uint8Array = none
  let kind: number = leafKinds.sessionOpening
  if (index % 5 === 0) {
    kind = leafKinds.commandBundle
    const [ciphertext, proof] = [utf8(`ciphertext ${index} `.repeat(index % 9 || 1)), utf8(`proof ${index}`)]
    body = concatBytes(ciphertext, proof)
    const head = { namespace: 'orders', op: 'put', keyset: group, keyEpoch: 1, suite: 1, commandId: group }
    const ref = (bytes: Uint8Array) => ({ sha256: sha256(bytes), bytes: bytes.length })
    const bundle = encode(commandBundle, {
      version: 1,
      cluster: new Uint8Array(32),
      group,
      generation: 0,
      registry: 0,
      client: group,
      session: 1,
      firstSequence: index + 1,
      auth: 1,
      heads: [{ ...head, ciphertext: ref(ciphertext), proof: ref(proof) }],
    })
    signed = encode(signedCommandBundle, [bundle, new Uint8Array(64)])
  }
  return { entry: encode(leafRecord, { kind, ...place, digest: sha256(signed) }), signed, body }
}

/** The first `count` leaves, and the roots of these sizes; of all without any. */
export function makeLeaves(
  count: number,
  sizes?: readonly number[],
): { leaves: TrailLeaf[]; rootAt: (size: number) => Uint8Array } {
  const tree = new CompactRange()
  const leaves: TrailLeaf[] = []
  const roots = new Map<number, Uint8Array>()
  for (let index = 0; index < count; index++) {
    const tiles: TileHash[] = []
    const parts = partsOf(index)
    tree.append(leafHash(parts.entry), (level, at, hash) => {
      if (level % 8 === 0) tiles.push({ level: level / 8, index: at, hash })
    })
    leaves.push({ index, ...parts, tiles })
    if (sizes === undefined || sizes.includes(tree.size)) roots.set(tree.size, tree.root())
  }
  return { leaves, rootAt: (size) => roots.get(size)! }
}

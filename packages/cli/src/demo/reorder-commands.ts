/**
 * Attack 2: the host makes it look as if two commands had come in the other order, and rewrites every file so that
 * they agree with each other: leaf records, packs, batch roots, all tiles. Only what a quorum has signed stands
 * against it.
 */
import { rm } from 'node:fs/promises'
import { CipherlogError, decode, encode, equalBytes } from '@cipherlog/core'
import { batchRecord, leafKinds, leafRecord } from '@cipherlog/format'
import { CompactRange, tileSlot } from '@cipherlog/merkle/tree'
import { leafHash } from '@cipherlog/merkle/verify'
import { openFileTrail } from '@cipherlog/storage'
import { type CopiedLeaf } from './trail-copy.ts'

export interface ReorderedTrail {
  readonly leaves: readonly CopiedLeaf[]
  readonly first: number
  readonly second: number
}

/**
 * Swaps the last two command bundles; each keeps its bytes and takes the other's place and time.
 * @throws CipherlogError `ERR_DEMO_LEAVES` if there are not two.
 */
export function reorderCommands(leaves: readonly CopiedLeaf[]): ReorderedTrail {
  const bundles = leaves.flatMap(({ record }, index) => (kindOf(record) === leafKinds.commandBundle ? [index] : []))
  const [first, second] = bundles.slice(-2)
  if (first === undefined || second === undefined) {
    throw new CipherlogError('ERR_DEMO_LEAVES', 'The trail holds fewer than two bundles; write a few values first.')
  }
  const reordered = [...leaves]
  reordered[first] = movedTo(leaves[second]!, leaves[first]!)
  reordered[second] = movedTo(leaves[first]!, leaves[second]!)
  return { leaves: withBatchRoots(reordered), first, second }
}

/**
 * Writes leaves as a whole trail, with the files of a real node, under a checkpoint note that is taken as it is.
 * @returns the root that the leaves give.
 */
export async function writeTrail(
  directory: string,
  leaves: readonly CopiedLeaf[],
  {
    checkpoint,
    policyChain,
  }: { readonly checkpoint: (rootHash: Uint8Array) => string; readonly policyChain: Uint8Array },
): Promise<void> {
  await rm(directory, { recursive: true, force: true })
  const trail = await openFileTrail(directory, 0)
  try {
    const tree = new CompactRange()
    leaves.forEach(({ record, signed, body }, index) => {
      const tiles: { level: number; index: number; hash: Uint8Array }[] = []
      tree.append(leafHash(record), (level, node, hash) => {
        const tileLevel = tileSlot(level, node)?.tileLevel
        if (tileLevel !== undefined) tiles.push({ level: tileLevel, index: node, hash })
      })
      trail.append({ index, entry: record, signed, body, tiles })
    })
    await trail.publish({ checkpoint: checkpoint(tree.root()), size: leaves.length, policyChain })
  } finally {
    await trail.close()
  }
}

/** The kind is the first value of both formats of leaves: a map header, key 1, the kind. */
const kindOf = (record: Uint8Array): number | undefined => record[2]

function movedTo(leaf: CopiedLeaf, place: CopiedLeaf): CopiedLeaf {
  const { logIndex, logTime } = decode(leafRecord, place.record)
  return { ...leaf, record: encode(leafRecord, { ...decode(leafRecord, leaf.record), logIndex, logTime }) }
}

function withBatchRoots(leaves: readonly CopiedLeaf[]): CopiedLeaf[] {
  return leaves.map((leaf) => {
    if (kindOf(leaf.record) !== leafKinds.batchRecord) return leaf
    const batch = decode(batchRecord, leaf.record)
    const range = new CompactRange()
    for (const { record } of leaves.slice(batch.firstLeaf, batch.firstLeaf + batch.leafCount)) {
      range.append(leafHash(record))
    }
    const batchRoot = range.root()
    return equalBytes(batchRoot, batch.batchRoot)
      ? leaf
      : { ...leaf, record: encode(batchRecord, { ...batch, batchRoot }) }
  })
}

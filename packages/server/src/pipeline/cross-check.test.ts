import { InvariantViolation } from '@cipherlog/core'
import { type ClosedBatch } from '@cipherlog/machine'
import { CompactRange } from '@cipherlog/merkle/tree'
import { describe, expect, it } from 'vitest'
import { opaque } from './cluster.fixture.ts'
import { crossCheckTree } from './cross-check.ts'

type Checked = Parameters<typeof crossCheckTree>[0]

/** A tree of `size` leaves as a ledger hands it out. */
function treeOf(size: number): Checked {
  const range = new CompactRange()
  const completedTiles: ClosedBatch['completedTiles'][number][] = []
  let tail: Uint8Array[] = []
  for (let i = 0; i < size; i++) {
    const leaf = opaque(`leaf ${i}`, 32)
    tail.push(leaf)
    let tile: Uint8Array | undefined
    range.append(leaf, (level, _index, hash) => {
      if (level === 8) tile = hash
    })
    if (tile !== undefined) completedTiles.push({ leafHashes: tail, hash: tile })
    if (tile !== undefined) tail = []
  }
  return { size, tail, tailRoot: range.tailRoot(), completedTiles }
}

describe('crossCheckTree()', () => {
  it.each([2, 3, 255, 256, 257, 512, 700])('agrees with a tree of %i leaves', (size) => {
    expect(() => crossCheckTree(treeOf(size))).not.toThrow()
  })

  it.each([
    ['a leaf of the tail differs', { tail: treeOf(299).tail.concat(opaque('other', 32)) }],
    ['the tail misses a leaf', { tail: treeOf(300).tail.slice(1) }],
    ['the tail has a root of its own', { tailRoot: opaque('other', 32) }],
    ['the tail has no root', { tailRoot: undefined }],
    ['a tile has another hash', { completedTiles: [{ ...treeOf(300).completedTiles[0]!, hash: opaque('other', 32) }] }],
  ])('stops the node if %s', (_what, change) => {
    expect(() => crossCheckTree({ ...treeOf(300), ...change })).toThrow(InvariantViolation)
  })
})

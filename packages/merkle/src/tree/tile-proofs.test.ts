import { CipherlogError, concatBytes, toHex } from '@cipherlog/core'
import { describe, expect, test } from 'vitest'
import { buildLog } from '../log.fixture.ts'
import { recursiveConsistency, recursivePath } from '../recursive-twin.fixture.ts'
import { verifyConsistency } from '../verify/consistency-proof.ts'
import { emptyRoot, nodeHash } from '../verify/hashing.ts'
import { rootFromInclusionProof, verifyInclusion } from '../verify/inclusion-proof.ts'
import { consistencyProof, inclusionProof, type ReadTile, rootFromTiles } from './tile-proofs.ts'

const log = buildLog(700)
const { leaves, roots, readTile } = log

describe('proofs from tiles', () => {
  test('equal the recursive twin’s inclusion proofs, sizes 1 to 300', async () => {
    for (let size = 1; size <= 300; size += size < 20 ? 1 : 23) {
      for (let leafIndex = 0; leafIndex < size; leafIndex += size < 20 ? 1 : 37) {
        const proof = await inclusionProof(leafIndex, size, readTile)
        expect(proof.map(toHex)).toEqual(recursivePath(leafIndex, leaves.slice(0, size)).map(toHex))
      }
    }
  })

  test('of inclusion verify for leaves of every size from 1 to 300, and around tile edges', async () => {
    const sizes = [...Array.from({ length: 300 }, (_, i) => i + 1), 511, 512, 513, 700]
    for (const size of sizes) {
      for (const leafIndex of new Set([0, size >> 1, size - 1])) {
        const proof = await inclusionProof(leafIndex, size, readTile)
        verifyInclusion({ leafIndex, treeSize: size, leafHash: leaves[leafIndex]!, proof, rootHash: roots[size]! })
      }
    }
  })

  test('equal the recursive twin’s consistency proofs', async () => {
    for (let size2 = 1; size2 <= 300; size2 += size2 < 20 ? 1 : 29) {
      for (let size1 = 1; size1 <= size2; size1 += size2 < 20 ? 1 : 31) {
        const proof = await consistencyProof(size1, size2, readTile)
        expect(proof.map(toHex)).toEqual(recursiveConsistency(size1, leaves.slice(0, size2)).map(toHex))
      }
    }
  })

  test('of consistency verify from every size below 700', async () => {
    for (let size1 = 0; size1 <= 700; size1++) {
      const proof = await consistencyProof(size1, 700, readTile)
      verifyConsistency({ size1, root1: roots[size1]!, size2: 700, root2: roots[700]!, proof })
    }
  })

  test('roots of every older size', async () => {
    for (let size = 0; size <= 700; size += 1) {
      expect(toHex(await rootFromTiles(size, readTile))).toBe(toHex(roots[size]!))
    }
    expect(await rootFromTiles(0, readTile)).toEqual(emptyRoot)
  })

  test('read every tile once and ask for its width at the proof’s size', async () => {
    const reads: string[] = []
    const logged: ReadTile = (level, index, width) => {
      reads.push(`${level}/${index} ${width}`)
      return readTile(level, index, width)
    }
    await inclusionProof(3, 600, logged)
    expect(reads.toSorted()).toEqual(['0/0 256', '0/2 88', '1/0 2'])
  })

  test('accept a full tile where a partial one was asked for', async () => {
    const full: ReadTile = (level, index) => concatBytes(...log.tiles.get(`${level}/${index}`)!)
    expect(await inclusionProof(3, 130, full)).toEqual(await inclusionProof(3, 130, readTile))
  })

  test('refuse a tile that is too short', async () => {
    const short: ReadTile = async (level, index, width) => (await readTile(level, index, width)).subarray(1)
    const error = await inclusionProof(3, 130, short).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(CipherlogError)
    expect(error).toMatchObject({ code: 'ERR_DECODE_TILE', details: { level: 0, index: 0, width: 130 } })
  })

  test('pass on what the reader throws', async () => {
    await expect(consistencyProof(100, 701, readTile)).rejects.toThrow('no tile')
  })

  test('do not exist outside the tree', async () => {
    for (const [index, size] of [
      [0, 0],
      [7, 7],
      [-1, 7],
      [0.5, 7],
      [0, 2 ** 53],
    ] as const) {
      await expect(inclusionProof(index, size, readTile)).rejects.toThrow(RangeError)
    }
    for (const [size1, size2] of [
      [8, 7],
      [-1, 7],
      [0.5, 7],
    ] as const) {
      await expect(consistencyProof(size1, size2, readTile)).rejects.toThrow(RangeError)
    }
    await expect(rootFromTiles(-1, readTile)).rejects.toThrow(RangeError)
  })

  test('of a tree beyond 32 bits: one made of equal leaves, whose nodes are known by level', async () => {
    const nodes = [leaves[0]!]
    for (let level = 1; level <= 53; level++) nodes.push(nodeHash(nodes[level - 1]!, nodes[level - 1]!))
    const equal: ReadTile = (level, _index, width) =>
      concatBytes(...Array.from({ length: width }, () => nodes[8 * level]!))
    // 2^50 − 1 is where Math.log2 rounds up.
    for (const treeSize of [2 ** 33 + 1, 2 ** 50 - 1, 2 ** 50]) {
      const root = await rootFromTiles(treeSize, equal)
      for (const leafIndex of [0, treeSize - 1]) {
        const proof = await inclusionProof(leafIndex, treeSize, equal)
        expect(toHex(rootFromInclusionProof({ leafIndex, treeSize, leafHash: leaves[0]!, proof }))).toBe(toHex(root))
      }
      const size1 = 2 ** 33 - 1
      const proof = await consistencyProof(size1, treeSize, equal)
      verifyConsistency({ size1, root1: await rootFromTiles(size1, equal), size2: treeSize, root2: root, proof })
    }
    expect(toHex(await rootFromTiles(2 ** 50, equal))).toBe(toHex(nodes[50]!))
  })
})

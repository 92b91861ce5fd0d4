import { bigintToBytes, bytesToBigint, decode, encode, toHex } from '@cipherlog/core'
import { addElgamal, elgamalIdentity } from '@cipherlog/crypto/evaluate/elgamal'
import { loadBfvEvaluator } from '@cipherlog/crypto/evaluate/bfv'
import { bn254ScalarOrder, labelledHash, labels, sha256 } from '@cipherlog/crypto/hash'
import { loadBfvClient, openElgamal } from '@cipherlog/crypto/seal'
import {
  cellDigestInput,
  cellProof,
  chainInput,
  commandBundle,
  leafKinds,
  leafRecord,
  signedCommandBundle,
  splitBodies,
  suites,
  verdicts,
  type CellProof,
  type StoredCell,
} from '@cipherlog/format'
import { leafHash, nodeHash, rootFromInclusionProof } from '@cipherlog/merkle/verify'
import { describe, expect, test } from 'vitest'
import { cellDigest, Cells, type CellEvaluator } from './cells.ts'
import { amount, freshElgamalKey, hourMs, keyEvent, opaque, TestCluster, vector, Writer } from './cluster.fixture.ts'
import { LedgerDriver } from './ledger-driver.fixture.ts'
import { type Leaf } from './entry.ts'
import { createMemoryState } from './state.ts'

const cluster = await TestCluster.build()

async function started(of = cluster) {
  const driver = await LedgerDriver.start(of)
  const alice = new Writer(of)
  await driver.apply(alice.open())
  return { driver, alice }
}

/** Every cell, from the trail's leaves alone, in the plainest way; and the state root over them. */
async function cellsOfTrail(leaves: readonly Leaf[]) {
  const cells = new Map<string, StoredCell>()
  for (const leaf of leaves) {
    if (leaf.kind !== leafKinds.commandBundle) continue
    const { heads } = decode(commandBundle, decode(signedCommandBundle, leaf.signed)[0])
    const bodies = splitBodies(heads, leaf.trailBody, ['ciphertext', 'proof'])
    const answers = decode(leafRecord, leaf.record).verdicts!
    for (const [command, { namespace, op, key, keyEpoch, suite }] of heads.entries()) {
      if (answers[command] !== verdicts.applied || op !== 'add') continue
      const name = `${namespace} ${toHex(key!)}`
      const cell = cells.get(name) ?? { number: cells.size, namespace, key: key!, slices: [] }
      cells.set(name, cell)
      let slice = cell.slices.find((candidate) => candidate.keyEpoch === keyEpoch)
      if (slice === undefined) {
        slice = { keyEpoch, count: 0, sum: elgamalIdentity, chain: new Uint8Array(32), bound: 0 }
        cell.slices.push(slice)
        cell.slices.sort((a, b) => a.keyEpoch - b.keyEpoch)
      }
      const ciphertext = bodies[command]!.ciphertext!
      if (suite === suites.elgamalBjj) slice.sum = addElgamal(slice.sum, ciphertext)
      else if (slice.count === 0) slice.sum = ciphertext
      else slice.sum = (await loadBfvEvaluator(suites.bfv4096)).add(slice.sum, ciphertext)
      slice.chain = labelledHash(
        labels.cellChain,
        encode(chainInput, [slice.chain, leaf.leafIndex, command, 1, sha256(ciphertext)]),
      )
      slice.count++
      slice.bound += suite === suites.elgamalBjj ? 0 : 1000
    }
  }
  return { cells: [...cells.values()], root: rootOf([...cells.values()].map(digestOf)) }
}

function digestOf({ number, namespace, key, slices }: StoredCell): Uint8Array {
  const input = slices.map(
    ({ keyEpoch, count, sum, chain, bound }): [number, number, Uint8Array, Uint8Array, number] => [
      keyEpoch,
      count,
      sha256(sum),
      chain,
      bound,
    ],
  )
  return labelledHash(labels.cell, encode(cellDigestInput, [number, namespace, key, input]))
}

function rootOf(digests: readonly Uint8Array[]): Uint8Array {
  if (digests.length === 1) return leafHash(digests[0]!)
  let split = 1
  while (split * 2 < digests.length) split *= 2
  return nodeHash(rootOf(digests.slice(0, split)), rootOf(digests.slice(split)))
}

/** What a reader does with a cell: its digest, then the path, leads to the state root of the batch record. */
const rootOfProof = ({ cell, cellCount, path }: CellProof): Uint8Array =>
  rootFromInclusionProof({
    leafIndex: cell.number,
    treeSize: cellCount,
    leafHash: leafHash(cellDigest(cell)),
    proof: path,
  })

describe('the state root', () => {
  test('is absent while there are no cells, and then that of a naive twin that reads the trail', async () => {
    const { driver, alice } = await started()
    await driver.mark()
    expect(driver.batchRecord.stateRoot).toBeUndefined()
    // Five cells in two namespaces, over bundles and batches, with rejected commands between.
    for (let i = 0; i < 8; i++) {
      const ciphertext = amount(cluster, BigInt(1 + (i % 3)))
      await driver.apply(
        alice.bundle([
          alice.add(`${i % 3}`, ciphertext),
          alice.add(`${i % 3}`, ciphertext, opaque('bad', 128).fill(0xff, 0, 1)),
          alice.add('never', ciphertext),
        ]),
      )
      await driver.apply(alice.bundle([alice.add(`${i % 2}`, ciphertext, undefined, { namespace: 'votes' })]))
      if (i % 2 === 0) await driver.mark()
    }
    await driver.mark()
    const twin = await cellsOfTrail(driver.leaves)
    expect(twin.cells.map(({ number, namespace }) => [number, namespace])).toEqual([
      [0, 'revenue'],
      [1, 'votes'],
      [2, 'revenue'],
      [3, 'votes'],
      [4, 'revenue'],
    ])
    expect(driver.batchRecord.stateRoot).toEqual([1, twin.root])
    for (const cell of twin.cells) expect(driver.ledger.cell(cell.namespace, cell.key)?.cell).toEqual(cell)
    await driver.reopen()
    expect(driver.ledger.newestBatch(driver.closed.at(-1)!.leaf.record).size).toBe(driver.ledger.treeSize)
  })

  test('covers slices of several epochs, in order of epoch, also if the older one came later', async () => {
    const own = await TestCluster.build()
    const { driver, alice } = await started(own)
    const version = own.elgamalVersion('amounts', 2, freshElgamalKey())
    await driver.apply(keyEvent(own.event(own.addKeyVersion('amounts', 2, version))))
    await driver.apply(keyEvent(own.event(own.activate('amounts', 2, version, hourMs))))
    const add = (keyEpoch: number) => alice.add('x', amount(own, 1n), undefined, { keyEpoch })
    await driver.apply(alice.bundle([add(2), add(1), add(2)]))
    await driver.mark()
    const { cell } = driver.ledger.cell('revenue', opaque('key x', 33))!
    expect(cell.slices.map(({ keyEpoch, count }) => [keyEpoch, count])).toEqual([
      [1, 1],
      [2, 2],
    ])
    expect(driver.batchRecord.stateRoot).toEqual([1, (await cellsOfTrail(driver.leaves)).root])
  })
})

describe('a cell', () => {
  test('opens to the sum of what was added: amounts and vectors', async () => {
    const own = await TestCluster.build({ vectors: true })
    const { driver, alice } = await started(own)
    const amounts = [1n, 2n, 30n].map((value) => alice.add('x', amount(own, value)))
    const vectors = [
      [1, 2, 3],
      [10, -20, 30],
    ]
    await driver.apply(alice.bundle(amounts))
    await driver.apply(alice.bundle([alice.addVector('p99', await vector(own, vectors[0]!))]))
    await driver.mark()
    await driver.apply(alice.bundle([alice.addVector('p99', await vector(own, vectors[1]!))]))
    await driver.mark()
    const total = driver.ledger.cell('revenue', opaque('key x', 33))!.cell.slices[0]!
    const { secretKey } = own.elgamal
    expect(await openElgamal({ secretKey, ciphertext: total.sum, max: 100n })).toBe(33n)
    const latency = driver.ledger.cell('latency', opaque('key p99', 33))!.cell.slices[0]!
    const slots = (await loadBfvClient(suites.bfv4096)).decrypt({
      secretKey: own.bfvSecretKey!,
      ciphertext: latency.sum,
    })
    expect([...slots.slice(0, 4)]).toEqual([11n, -18n, 33n, 0n])
    expect(latency).toMatchObject({ count: 2, bound: 2000 })
    expect(driver.batchRecord.stateRoot).toEqual([1, (await cellsOfTrail(driver.leaves)).root])
  })

  test('may sum up to the identity, and goes on from there', async () => {
    const { driver, alice } = await started()
    const ciphertext = amount(cluster, 5n)
    // The negative of a point (x, y) of Baby Jubjub is (−x, y).
    const negative = ciphertext.slice()
    for (const at of [0, 64]) {
      negative.set(bigintToBytes(bn254ScalarOrder - bytesToBigint(ciphertext.subarray(at, at + 32)), 32), at)
    }
    await driver.apply(alice.bundle([alice.add('x', ciphertext), alice.add('x', negative)]))
    await driver.mark()
    expect(driver.ledger.cell('revenue', opaque('key x', 33))!.cell.slices[0]!.sum).toEqual(elgamalIdentity)
    await driver.apply(alice.bundle([alice.add('x', ciphertext)]))
    await driver.mark()
    expect(driver.ledger.cell('revenue', opaque('key x', 33))!.cell.slices[0]!.sum).toEqual(ciphertext)
  })

  test('is proven against the state root, and no field of it or of its proof can be another', async () => {
    const { driver, alice } = await started()
    for (const name of ['a', 'b', 'c', 'd', 'e']) await driver.apply(alice.bundle([alice.add(name)]))
    await driver.mark()
    const stateRoot = driver.batchRecord.stateRoot![1]
    for (const name of ['a', 'c', 'e']) {
      const proven = driver.ledger.cell('revenue', opaque(`key ${name}`, 33))!
      expect(rootOfProof(proven)).toEqual(stateRoot)
      expect(decode(cellProof, encode(cellProof, proven))).toEqual(proven)
      const { cell, path } = proven
      const [slice] = cell.slices
      const otherSlice = (change: object) => ({ ...proven, cell: { ...cell, slices: [{ ...slice!, ...change }] } })
      const tampered: CellProof[] = [
        otherSlice({ count: 2 }),
        otherSlice({ keyEpoch: 2 }),
        otherSlice({ bound: 1 }),
        otherSlice({ sum: elgamalIdentity }),
        otherSlice({ chain: new Uint8Array(32) }),
        { ...proven, cell: { ...cell, slices: [] } },
        { ...proven, cell: { ...cell, number: cell.number === 4 ? 3 : cell.number + 1 } },
        { ...proven, cell: { ...cell, namespace: 'votes' } },
        { ...proven, cell: { ...cell, key: opaque('key z', 33) } },
        { ...proven, path: path.map((hash, i) => (i === 0 ? opaque('hash', 32) : hash)) },
      ]
      for (const proof of tampered) {
        let root: Uint8Array | undefined
        try {
          root = rootOfProof(proof)
        } catch (error) {
          expect(error).toMatchObject({ code: 'ERR_VERIFY_INCLUSION' })
        }
        expect(root).not.toEqual(stateRoot)
      }
    }
    expect(driver.ledger.cell('revenue', opaque('key z', 33))).toBeUndefined()
    expect(driver.ledger.cell('votes', opaque('key a', 33))).toBeUndefined()
  })

  test('is read as of the newest batch record, whatever is open, and what was read never changes', async () => {
    const { driver, alice } = await started()
    const key = opaque('key x', 33)
    await driver.apply(alice.bundle([alice.add('x')]))
    expect(driver.ledger.cell('revenue', key)).toBeUndefined()
    await driver.mark()
    const first = driver.ledger.cell('revenue', key)!
    const copy = structuredClone(first)
    await driver.apply(alice.bundle([alice.add('x'), alice.add('y')]))
    expect(driver.ledger.cell('revenue', key)).toEqual(copy)
    await driver.mark()
    expect(first).toEqual(copy)
    expect(driver.ledger.cell('revenue', key)).not.toEqual(copy)
  })
})

describe('Cells', () => {
  /** Concatenates: shows what was added, in which order. */
  const joining: CellEvaluator = {
    add: (_suite, sum, contributions) =>
      Promise.resolve(Uint8Array.from([sum ?? new Uint8Array(0), ...contributions].flatMap((bytes) => [...bytes]))),
  }
  const place = { namespace: { name: 'latency' }, leaf: 7, command: 0, slicesPerCellMax: 2 }
  const head = (key: number, keyEpoch = 1) => ({
    ...new Writer(cluster).addVector('x', new Uint8Array(1)).head,
    key: Uint8Array.of(key),
    keyEpoch,
  })

  test('forget a rolled back bundle whole: cells it created between others, slices, counts and sums', async () => {
    const cells = new Cells(joining)
    const add = (key: number, value: number, keyEpoch = 1) =>
      cells.contribute(place, head(key, keyEpoch), Uint8Array.of(value), { bound: 1 })
    add(1, 1)
    cells.commit()
    for (const [key, value, epoch] of [
      [2, 20],
      [1, 2],
      [3, 30],
      [2, 21],
      [1, 3, 2],
      [3, 31],
    ] as const) {
      expect(add(key, value, epoch)).toBe(true)
    }
    expect([cells.cellCount, cells.uncommitted]).toEqual([3, 6])
    cells.rollback()
    expect([cells.cellCount, cells.uncommitted]).toEqual([1, 0])
    expect([1, 2, 3].map((key) => cells.count('latency', Uint8Array.of(key), 1))).toEqual([1, 0, 0])

    add(3, 33)
    add(1, 4)
    cells.commit()
    const state = createMemoryState()
    await cells.settle()
    cells.record(state)
    const twin = new Cells(joining)
    for (const [key, value] of [
      [1, 1],
      [3, 33],
      [1, 4],
    ] as const) {
      twin.contribute(place, head(key), Uint8Array.of(value), { bound: 1 })
    }
    twin.commit()
    await twin.settle()
    twin.record(createMemoryState())
    expect(cells.root()).toEqual(twin.root())
    expect(cells.prove('latency', Uint8Array.of(1))!.cell.slices).toMatchObject([
      { count: 2, sum: Uint8Array.of(1, 4) },
    ])
    expect(cells.prove('latency', Uint8Array.of(2))).toBeUndefined()
    const opened = await Cells.open(state, joining)
    expect([opened.root(), opened.cellCount]).toEqual([cells.root(), 2])
  })

  test('keep two keys apart whose names would read alike', () => {
    const cells = new Cells(joining)
    const contribute = (name: string, key: readonly number[]) =>
      cells.contribute({ ...place, namespace: { name } }, { ...head(0), key: Uint8Array.from(key) }, Uint8Array.of(1), {
        bound: 1,
      })
    contribute('a', [0, 0x62])
    contribute('a', [0x62])
    contribute('ab', [0])
    expect(cells.cellCount).toBe(3)
  })

  test('are read as they were while sums are being computed', async () => {
    let finish: (sum: Uint8Array) => void = () => {}
    const cells = new Cells({ add: () => new Promise((resolve) => (finish = resolve)) })
    cells.contribute(place, head(1), Uint8Array.of(1), { bound: 1 })
    cells.commit()
    const settling = cells.settle()
    expect(cells.prove('latency', Uint8Array.of(1))).toBeUndefined()
    finish(Uint8Array.of(9))
    await settling
    expect(cells.prove('latency', Uint8Array.of(1))).toBeUndefined()
    cells.record(createMemoryState())
    expect(cells.prove('latency', Uint8Array.of(1))!.cell.slices[0]!.sum).toEqual(Uint8Array.of(9))
  })

  test('are never recorded before their sums are settled, nor settled in the middle of a bundle', async () => {
    const cells = new Cells(joining)
    cells.contribute(place, head(1), Uint8Array.of(1), { bound: 1 })
    await expect(cells.settle()).rejects.toThrow(/middle of a bundle/)
    cells.commit()
    expect(() => cells.record(createMemoryState())).toThrow(/before their sums/)
  })
})

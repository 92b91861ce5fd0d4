import { describe, expect, it } from 'vitest'
import fc from 'fast-check'
import { bigintToBytes, DecodeError, InvariantViolation, toHex } from '@cipherlog/core'
import { sha256 } from '@cipherlog/crypto/hash'
import { confirmFailureWithNoble } from './confirm.ts'
import { batchProofsMax, batchWeights, verificationKeyDigest, type Groth16Engine } from './engine.ts'
import { nobleEngine } from './noble.ts'
import { checkEach } from './search.ts'
import { createTrapdoorKey } from './trapdoor.ts'

/** The search alone: a proof is one byte, good (1), bad (0) or undecodable (2); `pairings` counts the work. */
function model() {
  let pairings = 0
  const engine: Groth16Engine<null, number> = {
    decodeKey: () => null,
    signalCount: () => 0,
    decodeProof(bytes) {
      if (bytes[0] === 2) throw new DecodeError('ERR_PROOF_POINT', 'off the curve')
      return bytes[0]!
    },
    holds(_, checks) {
      pairings += checks.length + 3
      return checks.every(({ proof }) => proof === 1)
    },
  }
  return { engine, pairings: () => pairings }
}
const item = (proof: number) => ({ statement: new Uint8Array(0), proof: Uint8Array.of(proof) })
const run = (proofs: readonly number[], stopAtFirstFailure = false) => {
  const { engine, pairings } = model()
  const confirmed: number[] = []
  const answers = checkEach(engine, new Uint8Array(0), proofs.map(item), {
    stopAtFirstFailure,
    confirmFailure: ({ proof }) => confirmed.push(proof[0]!),
  })
  return { answers, confirmed, pairings: pairings() }
}

describe('checkEach()', () => {
  const proofs = fc.array(fc.constantFrom(1, 1, 1, 1, 0, 2), { maxLength: 40 })

  it('answers each proof as it would be answered alone, and confirms each failure once', () => {
    fc.assert(
      fc.property(proofs, (list) => {
        const { answers, confirmed } = run(list)
        expect(answers).toEqual(list.map((proof) => proof === 1))
        expect(confirmed).toEqual(list.filter((proof) => proof !== 1))
      }),
    )
  })

  it('with stopAtFirstFailure, answers end with the first failure', () => {
    fc.assert(
      fc.property(proofs, (list) => {
        const failure = list.findIndex((proof) => proof !== 1)
        const expected = failure < 0 ? list : list.slice(0, failure + 1)
        const { answers, confirmed } = run(list, true)
        expect(answers).toEqual(expected.map((proof) => proof === 1))
        expect(confirmed.length).toBe(failure < 0 ? 0 : 1)
      }),
    )
  })

  it('works across batches', () => {
    const list = new Array<number>(2 * batchProofsMax + 1).fill(1)
    expect(run(list).pairings).toBe(list.length + 9)
    list[batchProofsMax] = 0
    list[2 * batchProofsMax] = 2
    expect(run(list).answers).toEqual(list.map((proof) => proof === 1))
    expect(run(list, true).answers.length).toBe(batchProofsMax + 1)
  })

  it('finds one bad proof of 256 for three times the work of a batch, twice if it may stop there', () => {
    for (const place of [0, 100, 255]) {
      const list = new Array<number>(256).fill(1)
      list[place] = 0
      expect(run(list).pairings).toBeLessThan(3 * 256 + 2 * 3 * 9)
      expect(run(list, true).pairings).toBeLessThan(2 * 256 + 2 * 3 * 9)
    }
  })

  it('a flood of bad proofs costs n·log n, and one search with stopAtFirstFailure', () => {
    const flood = new Array<number>(256).fill(0)
    expect(run(flood).pairings).toBeLessThan(256 * 9 + 3 * 512)
    expect(run(flood, true).pairings).toBeLessThan(2 * 256 + 3 * 9)
  })
})

describe('the weights of a batch', () => {
  const key = createTrapdoorKey(Uint8Array.of(3))
  const digest = verificationKeyDigest(key.verificationKey)
  const items = [1n, 2n, 3n].map((n) => {
    const statement = bigintToBytes(n, 32)
    return { statement, proof: key.prove(statement, Uint8Array.of(0)) }
  })

  it('are the first 16 bytes of SHA-256(seed ‖ u16 i) with the seed hashed from key digest, proofs and statements', () => {
    const label = new TextEncoder().encode('cipherlog/v1/batch-seed\0')
    const seed = sha256(Uint8Array.from([...label, ...digest, ...items.flatMap((i) => [...i.proof, ...i.statement])]))
    const expected = [0, 1, 2].map((i) => BigInt('0x' + toHex(sha256(Uint8Array.from([...seed, 0, i]))).slice(0, 32)))
    expect(batchWeights(digest, items)).toEqual(expected)
  })

  it('change with every byte that is checked', () => {
    const before = batchWeights(digest, items)
    const flip = (bytes: Uint8Array) => bytes.map((byte, i) => (i === 31 ? byte ^ 1 : byte))
    const changed = [
      batchWeights(flip(digest), items),
      batchWeights(digest, [...items.slice(0, 2), { ...items[2]!, proof: flip(items[2]!.proof) }]),
      batchWeights(digest, [...items.slice(0, 2), { ...items[2]!, statement: flip(items[2]!.statement) }]),
    ]
    for (const weights of changed) weights.forEach((weight, i) => expect(weight).not.toBe(before[i]))
  })

  it('a batch has 1 to 256 proofs', () => {
    expect(() => batchWeights(digest, [])).toThrow(RangeError)
    expect(batchWeights(digest, new Array(256).fill(items[0])).length).toBe(256)
    expect(() => batchWeights(digest, new Array(257).fill(items[0]))).toThrow(RangeError)
  })

  it('an engine that calls a good proof bad is stopped by the second opinion', () => {
    const lying = { ...nobleEngine, holds: () => false }
    const check = () =>
      checkEach(lying, key.verificationKey, items.slice(0, 1), {
        stopAtFirstFailure: false,
        confirmFailure: (item) => confirmFailureWithNoble(key.verificationKey, item),
      })
    expect(check).toThrow(InvariantViolation)
  })
})

import { beforeAll, describe, expect, it } from 'vitest'
import fc from 'fast-check'
import { bigintToBytes, concatBytes, DecodeError, errorCode, InvariantViolation } from '@cipherlog/core'
import { bn254 } from '@noble/curves/bn254.js'
import mcl from 'mcl-wasm'
import { baseFieldOrder, decodeSignals, proofBytes } from './encoding.ts'
import { batchWeights, verificationKeyDigest, type BatchItem, type Groth16Engine } from './engine.ts'
import { loadMclEngine } from './mcl.ts'
import { nobleEngine, verifyGroth16Noble } from './noble.ts'
import { selfTest } from './self-test.ts'
import { createTrapdoorKey } from './trapdoor.ts'

const key = createTrapdoorKey(Uint8Array.of(7))
const statements = Array.from({ length: 8 }, (_, i) => bigintToBytes(2n ** 200n + BigInt(i), 32))
const items = statements.map((statement, i) => ({ statement, proof: key.prove(statement, Uint8Array.of(i)) }))
const [good, second] = items as [BatchItem, BatchItem]

let mclHolds: (batch: readonly BatchItem[], verificationKey?: Uint8Array) => boolean | string
const nobleHolds = outcome(nobleEngine)

beforeAll(async () => {
  mclHolds = outcome(await loadMclEngine())
})

/** true, false, or the code of the refusal to decode; any other error fails the test. */
function outcome<K, P>(engine: Groth16Engine<K, P>) {
  return (batch: readonly BatchItem[], verificationKey = key.verificationKey): boolean | string => {
    try {
      const decodedKey = engine.decodeKey(verificationKey)
      const count = engine.signalCount(decodedKey)
      return engine.holds(
        decodedKey,
        batch.map(({ statement, proof }) => ({
          proof: engine.decodeProof(proof),
          signals: decodeSignals(statement, count),
        })),
        batchWeights(verificationKeyDigest(verificationKey), batch),
      )
    } catch (error) {
      if (error instanceof DecodeError) return errorCode(error)!
      throw error
    }
  }
}

function withProof(change: (proof: Uint8Array) => Uint8Array | void): BatchItem {
  const proof = new Uint8Array(good.proof)
  return { statement: good.statement, proof: change(proof) ?? proof }
}
const withStatement = (statement: Uint8Array): BatchItem => ({ ...good, statement })

/** A point of the twist outside the subgroup, and an x that is on no point of G1: the first ones found. */
function offSubgroupX(): Uint8Array {
  const { Fp2 } = bn254.fields
  for (let i = 1n; ; i++) {
    const x = { c0: i, c1: 0n }
    const ySquared = Fp2.add(Fp2.mul(Fp2.sqr(x), x), bn254.G2.Point.CURVE().b)
    if (!Fp2.eql(Fp2.pow(ySquared, (baseFieldOrder ** 2n - 1n) / 2n), Fp2.ONE)) continue
    return concatBytes(bigintToBytes(0n, 32), bigintToBytes(i, 32))
  }
}
function offCurveX(): Uint8Array {
  const { Fp } = bn254.fields
  let x = 1n
  while (Fp.pow(x ** 3n + 3n, (baseFieldOrder - 1n) / 2n) === 1n) x++
  return bigintToBytes(x, 32)
}
const flagged = (x: Uint8Array, flags: number) => {
  x[0]! |= flags
  return x
}

const cases: readonly (readonly [name: string, item: BatchItem, expected: boolean | string])[] = [
  ['a good proof', good, true],
  ['malleated to (−A, −B, C)', withProof((p) => void ((p[0]! ^= 0x40), (p[32]! ^= 0x40))), true],
  ['−A alone', withProof((p) => void (p[0]! ^= 0x40)), false],
  ['−B alone', withProof((p) => void (p[32]! ^= 0x40)), false],
  ['−C alone', withProof((p) => void (p[96]! ^= 0x40)), false],
  ['A and C exchanged', withProof((p) => concatBytes(p.slice(96), p.slice(32, 96), p.slice(0, 32))), false],
  ['the proof of another statement', { ...good, proof: second.proof }, false],
  ['another statement', withStatement(second.statement), false],
  ['the statement 0', withStatement(new Uint8Array(32)), false],
  ['the statement r', withStatement(bigintToBytes(bn254.fields.Fr.ORDER, 32)), 'ERR_PROOF_STATEMENT'],
  ['a statement of 31 bytes', withStatement(good.statement.slice(1)), 'ERR_PROOF_STATEMENT'],
  ['two signals for a key of one', withStatement(concatBytes(good.statement, good.statement)), 'ERR_PROOF_STATEMENT'],
  ['no bytes', withProof(() => new Uint8Array(0)), 'ERR_PROOF_LENGTH'],
  ['truncated', withProof((p) => p.slice(0, proofBytes - 1)), 'ERR_PROOF_LENGTH'],
  ['a trailing byte', withProof((p) => concatBytes(p, Uint8Array.of(0))), 'ERR_PROOF_LENGTH'],
  ['A uncompressed (flags 00)', withProof((p) => void (p[0]! &= 0x3f)), 'ERR_PROOF_FLAGS'],
  ['A infinity (flags 01)', withProof((p) => void p.fill(0, 0, 32).set([0x40])), 'ERR_PROOF_FLAGS'],
  ['B infinity (flags 01)', withProof((p) => void p.fill(0, 32, 96).set([0x40], 32)), 'ERR_PROOF_FLAGS'],
  ['C with flags 00', withProof((p) => void (p[96]! &= 0x3f)), 'ERR_PROOF_FLAGS'],
  ['A.x = p', withProof((p) => void p.set(flagged(bigintToBytes(baseFieldOrder, 32), 0x80))), 'ERR_PROOF_COORDINATE'],
  [
    'B.x.c1 = p',
    withProof((p) => void p.set(flagged(bigintToBytes(baseFieldOrder, 32), 0x80), 32)),
    'ERR_PROOF_COORDINATE',
  ],
  ['B.x.c0 = p', withProof((p) => void p.set(bigintToBytes(baseFieldOrder, 32), 64)), 'ERR_PROOF_COORDINATE'],
  ['C.x all ones', withProof((p) => void p.fill(0xff, 96)), 'ERR_PROOF_COORDINATE'],
  ['A off the curve', withProof((p) => void p.set(flagged(offCurveX(), 0x80))), 'ERR_PROOF_POINT'],
  ['C off the curve', withProof((p) => void p.set(flagged(offCurveX(), 0xc0), 96)), 'ERR_PROOF_POINT'],
  ['B outside the subgroup', withProof((p) => void p.set(flagged(offSubgroupX(), 0x80), 32)), 'ERR_PROOF_SUBGROUP'],
]

describe('mcl and noble give the same, right answer', () => {
  it.each(cases)('%s', (_, item, expected) => {
    expect(nobleHolds([item])).toBe(expected)
    expect(mclHolds([item])).toBe(expected)
  })

  it.each(cases)('in a batch behind good ones: %s', (_, item, expected) => {
    const batch = [...items.slice(1, 3), item]
    expect(mclHolds(batch)).toBe(expected)
    if (expected === true || expected === false) expect(nobleHolds(batch)).toBe(expected)
  })

  it('a batch of eight, and one in which two proofs have changed places', () => {
    expect(mclHolds(items)).toBe(true)
    expect(nobleHolds(items)).toBe(true)
    const exchanged = [{ ...good, proof: second.proof }, { ...second, proof: good.proof }, ...items.slice(2)]
    expect(mclHolds(exchanged)).toBe(false)
    expect(nobleHolds(exchanged)).toBe(false)
  })

  it('errors of two proofs that would cancel without weights do not', () => {
    // C₁ + D and C₂ − D: the plain product of both equations is still 1.
    const { G1 } = bn254
    const shift = G1.Point.BASE.multiply(5n)
    const shifted = [good, second].map((item, i) => {
      const { c, ...rest } = nobleEngine.decodeProof(item.proof)
      const moved = G1.Point.fromAffine(c).add(i === 0 ? shift : shift.negate())
      return { proof: { ...rest, c: moved.toAffine() }, signals: decodeSignals(item.statement, 1) }
    })
    const decodedKey = nobleEngine.decodeKey(key.verificationKey)
    expect(nobleEngine.holds(decodedKey, shifted, [1n, 1n])).toBe(true)
    expect(
      nobleEngine.holds(decodedKey, shifted, batchWeights(verificationKeyDigest(key.verificationKey), [good, second])),
    ).toBe(false)
  })

  it('keys of 0 and 3 public signals', () => {
    for (const count of [0, 3]) {
      const other = createTrapdoorKey(Uint8Array.of(9), count)
      const statement = concatBytes(...statements.slice(0, count))
      const item = { statement, proof: other.prove(statement, Uint8Array.of(1)) }
      expect(nobleHolds([item], other.verificationKey)).toBe(true)
      expect(mclHolds([item], other.verificationKey)).toBe(true)
      expect(mclHolds([{ ...item, proof: good.proof }], other.verificationKey)).toBe(false)
    }
  })

  it('one bit of a good proof turned over', () => {
    fc.assert(
      fc.property(fc.nat(8 * proofBytes - 1), (bit) => {
        const item = withProof((p) => void (p[bit >> 3]! ^= 0x80 >> (bit & 7)))
        const answer = mclHolds([item])
        expect(answer).not.toBe(true)
        expect(nobleHolds([item])).toBe(answer)
      }),
      { numRuns: 40 },
    )
  })

  it('arbitrary bytes: decoded or refused with the same code, and nothing else is thrown', () => {
    const bytes = fc
      .tuple(
        fc.uint8Array({ minLength: 0, maxLength: 2 * proofBytes }),
        fc.uint8Array({ minLength: proofBytes, maxLength: proofBytes }),
        fc.boolean(),
      )
      .map(([any, whole, plausible]) => {
        if (!plausible) return any
        for (const at of [0, 32, 96]) whole[at] = (whole[at]! & 0x5f) | 0x80
        whole[64]! &= 0x1f
        return whole
      })
    fc.assert(
      fc.property(bytes, (proof) => {
        expect(nobleHolds([{ ...good, proof }])).toBe(mclHolds([{ ...good, proof }]))
      }),
      { numRuns: 100 },
    )
  })

  it('arbitrary bytes as a key', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 250, maxLength: 330 }), (bytes) => {
        for (let at = 0; at < bytes.length; at += 32) bytes[at] = (bytes[at]! & 0x1f) | 0x80
        expect(nobleHolds([good], bytes)).toBe(mclHolds([good], bytes))
      }),
      { numRuns: 40 },
    )
  })
})

it('verifyGroth16Noble() takes the public signals one by one, 32 bytes each', () => {
  const other = createTrapdoorKey(Uint8Array.of(9), 2)
  const proof = other.prove(concatBytes(...statements.slice(0, 2)), Uint8Array.of(1))
  expect(verifyGroth16Noble(other.verificationKey, statements.slice(0, 2), proof)).toBe(true)
  expect(verifyGroth16Noble(other.verificationKey, statements.slice(1, 3), proof)).toBe(false)
  // The same bytes, cut elsewhere.
  const bytes = concatBytes(...statements.slice(0, 2))
  expect(() => verifyGroth16Noble(other.verificationKey, [bytes.slice(0, 31), bytes.slice(31)], proof)).toThrow(
    DecodeError,
  )
})

it('more keys than are kept decoded: an evicted one is decoded again', () => {
  for (let i = 0; i < 20; i++) {
    const other = createTrapdoorKey(Uint8Array.of(1, i))
    const item = { ...good, proof: other.prove(good.statement, Uint8Array.of(0)) }
    expect(mclHolds([item], other.verificationKey)).toBe(true)
  }
  expect(mclHolds([good])).toBe(true)
})

it('noble passes the self-test that mcl must pass at its start', () => selfTest(nobleEngine))

it.each([
  ['accepts everything', () => true],
  ['refuses everything', () => false],
])('the self-test stops an engine that %s', (_, holds) => {
  expect(() => selfTest({ ...nobleEngine, holds })).toThrow(InvariantViolation)
})

it('loadMclEngine() refuses a thread in which mcl was started', async () => {
  await expect(loadMclEngine()).rejects.toThrow(InvariantViolation)
})

// Last: it spoils mcl for this thread.
it('a second init by anyone is noticed: InvariantViolation instead of a wrong answer', async () => {
  expect(mclHolds([good])).toBe(true)
  await mcl.init(mcl.BN_SNARK1)
  expect(() => mclHolds([good])).toThrow(InvariantViolation)
})

/**
 * Why BFV trusts its writers (docs/THREAT_MODEL.md): contributions that no check of structure can tell from honest
 * ones, and that give their writer the secret key once somebody opens one and shows the result. What stands against
 * them are the bounds on slots, which openers check, and who may write at all.
 */
import initializeSeal from 'node-seal'
import { afterAll, describe, expect, test } from 'vitest'
import { createSealContext } from '../evaluate/bfv/context.ts'
import { bfvSuites, inspectBfvCiphertext, loadBfvEvaluator } from '../evaluate/bfv/index.ts'
import { loadBfvClient } from './index.ts'

const suite = 4
const { n, t, dataModuli } = bfvSuites[suite]
const q = dataModuli.reduce((product, modulus) => product * modulus)
const client = await loadBfvClient(suite)
const { publicKey, secretKey } = client.generateKey()
const encrypt = (values: number[]) => client.encrypt({ publicKey, values })
const open = (ciphertext: Uint8Array) => client.decrypt({ secretKey, ciphertext })

const seal = await initializeSeal()
const context = createSealContext(seal, bfvSuites[suite])
const encoder = new seal.BatchEncoder(context)
afterAll(() => {
  encoder.delete()
  context.delete()
})

/** Slots as the plaintext polynomial that has them: n coefficients below t. */
function polynomialOf(slots: BigInt64Array): number[] {
  const plaintext = new seal.Plaintext()
  encoder.encode(slots, plaintext)
  const coefficients = new Array<number>(n).fill(0)
  for (const [, hex, power] of plaintext.toString().matchAll(/([0-9A-F]+)(?:x\^(\d+))?/g)) {
    coefficients[Number(power ?? 0)] = Number.parseInt(hex!, 16)
  }
  plaintext.delete()
  return coefficients
}

/** Coefficients of one component under one prime, as a view of the bytes behind SEAL's header. */
function coefficientsOf(bytes: Uint8Array, component: number, prime: number): DataView {
  const start = 113 + 8 * n * (component * dataModuli.length + prime)
  return new DataView(bytes.buffer, bytes.byteOffset + start, 8 * n)
}

/** Adds round(q/t · m) to the second component: opening multiplies it by the secret key. */
function addToC1(ciphertext: Uint8Array, m: readonly number[]): Uint8Array {
  const out = ciphertext.slice()
  for (const [prime, modulus] of dataModuli.entries()) {
    const view = coefficientsOf(out, 1, prime)
    for (const [i, value] of m.entries()) {
      const scaled = (2n * q * BigInt(value) + BigInt(t)) / (2n * BigInt(t))
      view.setBigUint64(8 * i, (view.getBigUint64(8 * i, true) + scaled) % modulus, true)
    }
  }
  return out
}

/** Reads a ciphertext with nothing but s (n coefficients, each −1, 0 or 1): round(t/q · (c0 + c1·s)) mod t. */
function readWith(s: readonly number[], ciphertext: Uint8Array): number[] {
  const residues = dataModuli.map((modulus, prime) => {
    const read = (component: number) => {
      const view = coefficientsOf(ciphertext, component, prime)
      return Array.from({ length: n }, (_, i) => Number(view.getBigUint64(8 * i, true)))
    }
    const phase = read(0)
    const c1 = read(1)
    for (const [j, sign] of s.entries()) {
      if (sign === 0) continue
      // x^n = −1. Sums of 4,096 values below 2^36 stay exact.
      for (let i = 0; i < n; i++) phase[(i + j) % n]! += (i + j < n ? sign : -sign) * c1[i]!
    }
    return phase.map((value) => ((value % Number(modulus)) + Number(modulus)) % Number(modulus))
  })
  const [p0, p1] = dataModuli as [bigint, bigint]
  const inverse = powerOf(p0 % p1, p1 - 2n, p1)
  return residues[0]!.map((r0, i) => {
    const difference = (((BigInt(residues[1]![i]!) - BigInt(r0)) % p1) + p1) % p1
    const phase = BigInt(r0) + p0 * ((difference * inverse) % p1)
    return Number(((2n * BigInt(t) * phase + q) / (2n * q)) % BigInt(t))
  })
}

function powerOf(base: bigint, exponent: bigint, modulus: bigint): bigint {
  let result = 1n
  for (let b = base, e = exponent; e > 0n; b = (b * b) % modulus, e >>= 1n) if (e & 1n) result = (result * b) % modulus
  return result
}

/** The largest declared bound that the registry lets a namespace have: t ≥ 2^10 × bound. */
const boundMax = Math.floor(t / 2 ** 10)
const within = (slot: bigint) => slot >= -boundMax && slot <= boundMax

// Enc(0) + (0, Δ): what a writer needs to know is public.
const one = polynomialOf(BigInt64Array.from({ length: n }, () => 1n))
const crafted = addToC1(encrypt([]), one)

describe('a contribution Enc(0) + (0, Δ)', () => {
  const opened = open(crafted)
  const s = polynomialOf(opened).map((coefficient) => (coefficient === t - 1 ? -1 : coefficient))

  test('passes the gate', () => {
    expect(one.slice(0, 2)).toEqual([1, 0])
    expect(() => inspectBfvCiphertext(suite, crafted)).not.toThrow()
  })

  test('opens to the secret key, which reads what another writer has sealed', () => {
    expect(s.every((coefficient) => Math.abs(coefficient) <= 1)).toBe(true)
    const values = [1234, -5, 0, 99_999]
    const slots = BigInt64Array.from({ length: n }, (_, i) => BigInt(values[i] ?? 0))
    expect(readWith(s, encrypt(values))).toEqual(polynomialOf(slots))
  })

  test('fails the check on opening: hardly a slot is within any bound that a namespace may declare', () => {
    expect(opened.filter(within).length).toBeLessThan(n / 50)
  })

  test('aimed at one slot of an honest sum, changes no other, and shows s there unless the bound is far below t', async () => {
    const at = 7
    const evaluator = await loadBfvEvaluator(suite)
    const target = polynomialOf(BigInt64Array.from({ length: n }, (_, i) => (i === at ? 1n : 0n)))
    const contribution = addToC1(encrypt([]), target)
    expect(() => inspectBfvCiphertext(suite, contribution)).not.toThrow()
    const sum = open(evaluator.add(encrypt([10, 20, 30]), contribution))
    expect([...sum.filter((_, i) => i !== at)].slice(0, 4)).toEqual([10n, 20n, 30n, 0n])
    expect(sum.filter((slot, i) => i !== at && slot !== 0n)).toHaveLength(3)
    // One evaluation of the key, exactly. A range check lets it pass as often as a random slot is in range.
    expect(sum[at]).toBe(opened[at])
    expect(opened.filter(within).length / n).toBeLessThan(8 * 2 ** -9)
  })
})

import { readdirSync, readFileSync } from 'node:fs'
import { concatBytes, errorCode, toHex, VerificationError } from '@cipherlog/core'
import initializeSeal, { type Ciphertext, type ComprModeType } from 'node-seal'
import { afterAll, describe, expect, test } from 'vitest'
import { loadBfvClient } from '../../seal/index.ts'
import { createSealContext } from './context.ts'
import {
  type BfvSuiteNumber,
  bfvSuites,
  inspectBfvCiphertext,
  inspectBfvPublicKey,
  inspectBfvSum,
  loadBfvEvaluator,
} from './index.ts'

const numbers: readonly BfvSuiteNumber[] = [3, 4, 5]
const seal = await initializeSeal()
const { none, zlib, zstd } = seal.ComprModeType

const world = new Map(
  await Promise.all(
    numbers.map(async (suite) => {
      const client = await loadBfvClient(suite)
      const key = client.generateKey()
      const encrypt = (values: number[]) => client.encrypt({ publicKey: key.publicKey, values })
      return [
        suite,
        {
          client,
          key,
          encrypt,
          context: createSealContext(seal, bfvSuites[suite]),
          open: (ciphertext: Uint8Array) => client.decrypt({ secretKey: key.secretKey, ciphertext }),
        },
      ] as const
    }),
  ),
)
const of = (suite: BfvSuiteNumber) => world.get(suite)!
afterAll(() => world.forEach(({ context }) => context.delete()))

const codeOf = (action: () => unknown) => {
  try {
    action()
  } catch (error) {
    return errorCode(error)
  }
  return undefined
}

/** Loads honest bytes into SEAL, changes the object and saves it: what a dishonest client does. */
function remake(
  suite: BfvSuiteNumber,
  bytes: Uint8Array,
  change: (ciphertext: Ciphertext) => unknown,
  mode: ComprModeType = none,
) {
  const ciphertext = new seal.Ciphertext()
  ciphertext.loadFromArray(of(suite).context, bytes)
  change(ciphertext)
  const saved = new Uint8Array(ciphertext.saveToArray(mode) as Uint8Array)
  ciphertext.delete()
  return saved
}
/** Whether SEAL itself loads the bytes. */
function sealLoads(suite: BfvSuiteNumber, bytes: Uint8Array): boolean {
  const ciphertext = new seal.Ciphertext()
  try {
    ciphertext.loadFromArray(of(suite).context, bytes)
    return true
  } catch {
    return false // WebAssembly.Exception: SEAL refuses
  } finally {
    ciphertext.delete()
  }
}
const withByte = (bytes: Uint8Array, at: number, value: number) => {
  const changed = bytes.slice()
  changed[at] = value
  return changed
}
const withCoefficient = (bytes: Uint8Array, index: number, value: bigint) => {
  const changed = bytes.slice()
  new DataView(changed.buffer).setBigUint64(113 + 8 * index, value, true)
  return changed
}
const withC1 = (bytes: Uint8Array, c1: Uint8Array) => {
  const changed = bytes.slice()
  changed.set(c1, 113 + (bytes.length - 113) / 2)
  return changed
}

describe('bfvSuites', () => {
  test.each([
    [3, '03e7ed4d5fa957e90a5f1a6240cd4b5ab1347f6deea4c9ea15779dfb8aa2712d', 32_881],
    [4, 'df03725f88a479a78d3f7f3e4ff82d5a80d7d98befa8cd9667780fa8befec476', 131_185],
    [5, 'bfd4e330a000f8bba58daa5148f415700f5475f2c4a8ca2b45e4d98f494c6c41', 524_401],
  ] as const)("suite %i: BLAKE2b gives DESIGN's parms_id, and it is SEAL's", (suite, parmsId, ciphertextBytes) => {
    const { context, encrypt } = of(suite)
    expect(toHex(bfvSuites[suite].parmsId)).toBe(parmsId)
    expect(bfvSuites[suite].ciphertextBytes).toBe(ciphertextBytes)
    const handle = context.firstParmsId()
    const words = handle.values() as BigUint64Array
    handle.delete()
    expect(toHex(new Uint8Array(words.buffer, words.byteOffset, 32))).toBe(parmsId)
    expect(encrypt([1])).toHaveLength(ciphertextBytes)
  })

  test.each(numbers)('suite %i: q has the primes of DESIGN and t ≡ 1 mod 2n, so slots exist', (suite) => {
    const { n, t, moduli, dataModuli, specialModulus } = bfvSuites[suite]
    for (const modulus of moduli) expect(modulus % BigInt(2 * n)).toBe(1n)
    expect(t % (2 * n)).toBe(1)
    expect(moduli).toEqual(specialModulus === undefined ? dataModuli : [...dataModuli, specialModulus])
  })
})

describe('inspectBfvCiphertext()', () => {
  test.each(numbers)('suite %i: passes honest ciphertexts, also as a view into larger memory', (suite) => {
    const good = of(suite).encrypt([1, -2, 3])
    expect(codeOf(() => inspectBfvCiphertext(suite, good))).toBeUndefined()
    const shifted = concatBytes(new Uint8Array(3), good).subarray(3)
    expect(codeOf(() => inspectBfvCiphertext(suite, shifted))).toBeUndefined()
  })

  const { context, encrypt, key } = of(4)
  const good = encrypt([5, 6])
  const evaluator = new seal.Evaluator(context)
  const half = (good.length - 113) / 2
  const { n, dataModuli } = bfvSuites[4]

  test.each<[string, Uint8Array, string, boolean]>([
    ['ntt-flag-of-seal', remake(4, good, (c) => evaluator.cipherTransformToNttInplace(c)), 'ERR_GATE_HEADER', true],
    ['ntt-2', withByte(good, 48, 2), 'ERR_GATE_HEADER', true],
    ['lower-level', remake(4, good, (c) => evaluator.cipherModSwitchToNextInplace(c)), 'ERR_GATE_LENGTH', true],
    ['size-3', remake(4, good, (c) => evaluator.squareInplace(c)), 'ERR_GATE_LENGTH', true],
    ['trailing-byte', concatBytes(good, Uint8Array.of(0)), 'ERR_GATE_LENGTH', true],
    ['compressed-zstd', remake(4, good, () => {}, zstd), 'ERR_GATE_LENGTH', true],
    ['compressed-zlib', remake(4, good, () => {}, zlib), 'ERR_GATE_LENGTH', true],
    [
      'compressed-padded',
      padded(
        remake(4, good, () => {}, zstd),
        good.length,
      ),
      'ERR_GATE_HEADER',
      true,
    ],
    ['reserved-byte-6', withByte(good, 6, 1), 'ERR_GATE_HEADER', true],
    ['reserved-byte-95', withByte(good, 95, 1), 'ERR_GATE_HEADER', true],
    ['transparent', withC1(good, new Uint8Array(half)), 'ERR_GATE_TRANSPARENT', true],
    ['all-zero-coefficients', padded(good.subarray(0, 113), good.length), 'ERR_GATE_TRANSPARENT', true],
    ['truncated', good.subarray(0, good.length - 1), 'ERR_GATE_LENGTH', false],
    ['empty', new Uint8Array(0), 'ERR_GATE_LENGTH', false],
    ['garbage', new Uint8Array(good.length).fill(0x5e), 'ERR_GATE_HEADER', false],
    ['coefficient-first-is-q', withCoefficient(good, 0, dataModuli[0]!), 'ERR_GATE_COEFFICIENT', false],
    ['coefficient-last-is-q', withCoefficient(good, 4 * n - 1, dataModuli[1]!), 'ERR_GATE_COEFFICIENT', false],
    ['coefficient-2^63', withCoefficient(good, n, 1n << 63n), 'ERR_GATE_COEFFICIENT', false],
    ['public-key-of-4096', key.publicKey, 'ERR_GATE_LENGTH', false],
    ['ciphertext-of-2048', of(3).encrypt([1]), 'ERR_GATE_LENGTH', false],
  ])('refuses %s with its code; SEAL alone may load it', (_, bytes, expected, loads) => {
    expect(codeOf(() => inspectBfvCiphertext(4, bytes))).toBe(expected)
    expect(sealLoads(4, bytes)).toBe(loads)
  })

  test('refuses a public key of bfv-2048 as a ciphertext, which SEAL loads', () => {
    expect(of(3).key.publicKey).toHaveLength(bfvSuites[3].ciphertextBytes)
    expect(sealLoads(3, of(3).key.publicKey)).toBe(true)
    expect(codeOf(() => inspectBfvCiphertext(3, of(3).key.publicKey))).toBe('ERR_GATE_HEADER')
  })

  test('coefficients up to q − 1 of their own prime pass, in residue order', () => {
    // Component 0: residues of prime 0, then of prime 1; component 1 the same.
    for (const [index, modulus] of [
      [0, dataModuli[0]!],
      [n - 1, dataModuli[0]!],
      [n, dataModuli[1]!],
      [2 * n, dataModuli[0]!],
      [3 * n, dataModuli[1]!],
    ] as const) {
      const largest = withCoefficient(good, index, modulus - 1n)
      expect(codeOf(() => inspectBfvCiphertext(4, largest))).toBeUndefined()
      expect(sealLoads(4, largest)).toBe(true)
      expect(codeOf(() => inspectBfvCiphertext(4, withCoefficient(good, index, modulus)))).toBe('ERR_GATE_COEFFICIENT')
    }
  })

  test.each(numbers)('suite %i: each of the first 113 bytes is fixed, and the error says which differs', (suite) => {
    const bytes = of(suite).encrypt([7])
    for (let at = 0; at < 113; at++) {
      const original = bytes[at]!
      bytes[at] = original ^ 0x10
      let caught: unknown
      try {
        inspectBfvCiphertext(suite, bytes)
      } catch (error) {
        caught = error
      }
      bytes[at] = original
      expect(caught).toBeInstanceOf(VerificationError)
      expect(caught).toMatchObject({ code: 'ERR_GATE_HEADER', details: { at } })
    }
  })

  test('inspectBfvSum() takes a transparent sum and nothing else that the gate refuses', () => {
    const transparent = withC1(good, new Uint8Array(half))
    expect(codeOf(() => inspectBfvSum(4, transparent))).toBeUndefined()
    expect(codeOf(() => inspectBfvSum(4, withByte(transparent, 48, 1)))).toBe('ERR_GATE_HEADER')
    expect(codeOf(() => inspectBfvSum(4, withCoefficient(transparent, 9, 1n << 40n)))).toBe('ERR_GATE_COEFFICIENT')
  })

  test('is fast: under 0.2 ms for bfv-4096, taking the best of many', () => {
    let best = Infinity
    for (let i = 0; i < 300; i++) {
      const started = performance.now()
      inspectBfvCiphertext(4, good)
      best = Math.min(best, performance.now() - started)
    }
    expect(best).toBeLessThan(0.2)
  })
})

describe('inspectBfvPublicKey()', () => {
  test.each(numbers)(
    'suite %i: passes generated keys, refuses ciphertexts and keys that encrypt in the clear',
    (suite) => {
      const { key, encrypt } = of(suite)
      expect(codeOf(() => inspectBfvPublicKey(suite, key.publicKey))).toBeUndefined()
      expect(codeOf(() => inspectBfvPublicKey(suite, encrypt([1])))).toMatch(/^ERR_GATE_(LENGTH|HEADER)$/)
      const clear = withC1(key.publicKey, new Uint8Array((key.publicKey.length - 113) / 2))
      expect(codeOf(() => inspectBfvPublicKey(suite, clear))).toBe('ERR_GATE_TRANSPARENT')
      const large = withCoefficient(key.publicKey, 0, bfvSuites[suite].moduli[0]!)
      expect(codeOf(() => inspectBfvPublicKey(suite, large))).toBe('ERR_GATE_COEFFICIENT')
    },
  )
})

describe('BfvEvaluator', () => {
  test.each(numbers)('suite %i: the sum opens to the sum of the plaintexts, slot by slot', async (suite) => {
    const { encrypt, open } = of(suite)
    const evaluator = await loadBfvEvaluator(suite)
    const vectors = [
      [1, -2, 300, 0, 5],
      [10, 20, -3000],
      [-11, 0, 0, 7, 2_000_000],
    ]
    let sum: Uint8Array | undefined
    for (const vector of vectors) sum = evaluator.add(sum, encrypt(vector))
    expect(sum).toHaveLength(bfvSuites[suite].ciphertextBytes)
    const expected = new BigInt64Array(bfvSuites[suite].n)
    for (const vector of vectors) vector.forEach((value, i) => (expected[i]! += BigInt(value)))
    expect(open(sum!)).toEqual(expected)
  })

  test('equal input gives equal bytes, in either order, on another instance of another build', async () => {
    const evaluator = await loadBfvEvaluator(4)
    const { context, encrypt } = of(4)
    const [a, b] = [encrypt([1]), encrypt([2])]
    const sum = evaluator.add(a, b)
    expect(evaluator.add(a, b)).toEqual(sum)
    expect(evaluator.add(b, a)).toEqual(sum)
    const other = new seal.Evaluator(context)
    const addend = new seal.Ciphertext()
    addend.loadFromArray(context, b)
    expect(remake(4, a, (c) => other.addInplace(c, addend))).toEqual(sum)
    addend.delete()
    other.delete()
  })

  test('the first contribution becomes the sum as a copy, the same bytes as SEAL would save', async () => {
    const evaluator = await loadBfvEvaluator(3)
    const only = of(3).encrypt([4])
    const sum = evaluator.add(undefined, only)
    expect(sum).toEqual(only)
    expect(sum.buffer).not.toBe(only.buffer)
    expect(remake(3, only, () => {})).toEqual(only)
  })

  test('c1 = −cell.c1 makes the sum transparent; adding goes on and the arguments stay as they were', async () => {
    const evaluator = await loadBfvEvaluator(4)
    const { encrypt } = of(4)
    const cell = encrypt([1])
    const contribution = negated(4, cell)
    const before = cell.slice()
    const sum = evaluator.add(cell, contribution)
    expect(codeOf(() => inspectBfvCiphertext(4, sum))).toBe('ERR_GATE_TRANSPARENT')
    expect(cell).toEqual(before)
    const next = encrypt([9])
    expect(evaluator.add(sum, next)).toEqual(next)
  })

  test('refuses what did not pass the gate, before SEAL sees it', async () => {
    const evaluator = await loadBfvEvaluator(4)
    const good = of(4).encrypt([1])
    const trailing = concatBytes(good, Uint8Array.of(0))
    expect(codeOf(() => evaluator.add(undefined, trailing))).toBe('ERR_GATE_LENGTH')
    expect(codeOf(() => evaluator.add(good, withByte(good, 48, 1)))).toBe('ERR_GATE_HEADER')
    expect(codeOf(() => evaluator.add(withByte(good, 48, 1), good))).toBe('ERR_GATE_HEADER')
  })

  test('its sources name no class of SEAL that holds or makes keys', () => {
    const sources = readdirSync(import.meta.dirname).filter((file) => !file.endsWith('.test.ts'))
    expect(sources.length).toBeGreaterThan(3)
    for (const file of sources) {
      const source = readFileSync(`${import.meta.dirname}/${file}`, 'utf8')
      expect(source).not.toMatch(/Decryptor|KeyGenerator|SecretKey|Encryptor|invariantNoiseBudget|\/seal\//)
    }
  })
})

/** (−c0, −c1), with the coefficients negated modulo their primes: what SEAL's negate would save. */
function negated(suite: BfvSuiteNumber, bytes: Uint8Array): Uint8Array {
  const evaluator = new seal.Evaluator(of(suite).context)
  const result = remake(suite, bytes, (c) => evaluator.negateInplace(c))
  evaluator.delete()
  return result
}

function padded(bytes: Uint8Array, length: number): Uint8Array {
  const out = new Uint8Array(length)
  out.set(bytes.subarray(0, length))
  return out
}

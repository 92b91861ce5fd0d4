import { describe, expect, it } from 'vitest'
import fc from 'fast-check'
import { bigintToBytes, DecodeError, errorCode, toHex } from '@cipherlog/core'
import { bn254 } from '@noble/curves/bn254.js'
import {
  baseFieldOrder,
  decodeProof,
  decodeVerificationKey,
  encodeProof,
  encodeVerificationKey,
  type Groth16Proof,
} from './encoding.ts'
import { proofFromSnarkjs, verificationKeyFromSnarkjs } from './snarkjs-json.ts'
import { createTrapdoorKey } from './trapdoor.ts'

const key = createTrapdoorKey(Uint8Array.of(1))
const proof = key.prove(bigintToBytes(5n, 32), Uint8Array.of(0))

/** The code of the DecodeError that `run` throws; fails if it throws anything else or nothing. */
function refusal(run: () => unknown): string | undefined {
  try {
    run()
  } catch (error) {
    if (error instanceof DecodeError) return errorCode(error)
    throw error
  }
  return 'accepted'
}

describe('the compressed form of gnark-crypto', () => {
  it('of the generators: G1 (1, 2) has the smaller y, so its flags are 10', () => {
    const { x, y } = bn254.G2.Point.BASE.toAffine()
    const generators: Groth16Proof = { a: { x: 1n, y: 2n }, b: { x, y }, c: { x: 1n, y: baseFieldOrder - 2n } }
    const bytes = toHex(encodeProof(generators))
    expect(bytes.slice(0, 64)).toBe('80' + '00'.repeat(30) + '01')
    expect(bytes.slice(192)).toBe('c0' + '00'.repeat(30) + '01')
    // EIP-197's generator of G2: the imaginary part, c1, comes first.
    expect(bytes.slice(64, 192)).toBe(
      '998e9393920d483a7260bfb731fb5d25f1aa493335a9e71297e485b7aef312c2' +
        '1800deef121f1e76426a00665e5c4479674322d4f75edadd46debd5cd992f6ed',
    )
  })

  it('decoding and encoding give the same bytes', () => {
    expect(encodeProof(decodeProof(proof))).toEqual(proof)
    expect(encodeVerificationKey(decodeVerificationKey(key.verificationKey))).toEqual(key.verificationKey)
    expect(key.verificationKey.length).toBe(288)
  })

  it('whatever bytes decode, encode to themselves', () => {
    let decodedCount = 0
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        (a, c) => {
          const bytes = new Uint8Array(proof)
          a[0] = (a[0]! & 0x5f) | 0x80
          c[0] = (c[0]! & 0x5f) | 0x80
          bytes.set(a, 0)
          bytes.set(c, 96)
          let decoded: Groth16Proof
          try {
            decoded = decodeProof(bytes)
          } catch (error) {
            expect(error).toBeInstanceOf(DecodeError)
            return
          }
          decodedCount++
          expect(encodeProof(decoded)).toEqual(bytes)
        },
      ),
      { numRuns: 60 },
    )
    expect(decodedCount).toBeGreaterThan(0)
  })

  it('encodeProof() refuses points that decoding would never give', () => {
    const { a, b, c } = decodeProof(proof)
    expect(refusal(() => encodeProof({ a: { x: a.x, y: a.y + 1n }, b, c }))).toBe('ERR_PROOF_POINT')
    expect(refusal(() => encodeProof({ a: { x: a.x + baseFieldOrder, y: a.y }, b, c }))).toBe('ERR_PROOF_COORDINATE')
    expect(refusal(() => encodeProof({ a: { x: a.x, y: -a.y }, b, c }))).toBe('ERR_PROOF_COORDINATE')
    expect(refusal(() => encodeProof({ a: { x: 0n, y: 0n }, b, c }))).toBe('ERR_PROOF_POINT')
    const zero = { c0: 0n, c1: 0n }
    expect(refusal(() => encodeProof({ a, b: { x: zero, y: zero }, c }))).toMatch(/POINT|SUBGROUP/)
  })

  it.each([0, 255, 257, 287, 289, 256 + 32 * 17])('a key of %d bytes is refused', (length) => {
    const bytes = new Uint8Array(length).fill(0x80)
    expect(refusal(() => decodeVerificationKey(bytes))).toBe('ERR_PROOF_LENGTH')
  })
})

describe('the JSON of snarkjs', () => {
  const { a, b, c } = decodeProof(proof)
  const vk = decodeVerificationKey(key.verificationKey)
  const g1 = ({ x, y }: { x: bigint; y: bigint }) => [`${x}`, `${y}`, '1']
  const g2 = ({ x, y }: typeof b) => [
    [`${x.c0}`, `${x.c1}`],
    [`${y.c0}`, `${y.c1}`],
    ['1', '0'],
  ]
  const json = { protocol: 'groth16', curve: 'bn128', pi_a: g1(a), pi_b: g2(b), pi_c: g1(c) }
  const keyJson = {
    protocol: 'groth16',
    curve: 'bn128',
    nPublic: 1,
    vk_alpha_1: g1(vk.alpha),
    vk_beta_2: g2(vk.beta),
    vk_gamma_2: g2(vk.gamma),
    vk_delta_2: g2(vk.delta),
    IC: vk.ic.map(g1),
  }

  it('gives the bytes of the same points', () => {
    expect(proofFromSnarkjs(json)).toEqual(proof)
    expect(verificationKeyFromSnarkjs(keyJson)).toEqual(key.verificationKey)
  })

  it.each([
    ['nothing', undefined],
    ['another protocol', { ...json, protocol: 'plonk' }],
    ['another curve', { ...json, curve: 'bls12381' }],
    ['a hexadecimal number', { ...json, pi_a: ['0x1', '2', '1'] }],
    ['an empty number', { ...json, pi_a: ['', '2', '1'] }],
    ['a leading zero', { ...json, pi_a: ['01', '2', '1'] }],
    ['a huge number', { ...json, pi_a: ['1'.repeat(10_000), '2', '1'] }],
    ['z other than 1', { ...json, pi_a: ['1', '2', '0'] }],
    ['a missing coordinate', { ...json, pi_a: ['1', '2'] }],
    ['a missing point', { ...json, pi_c: undefined }],
  ])('is refused with %s', (_, value) => {
    expect(refusal(() => proofFromSnarkjs(value))).toBe('ERR_PROOF_JSON')
  })

  it('is refused if the number of IC points is not that of the public signals and one', () => {
    expect(refusal(() => verificationKeyFromSnarkjs({ ...keyJson, nPublic: 2 }))).toBe('ERR_PROOF_JSON')
    expect(refusal(() => verificationKeyFromSnarkjs({ ...keyJson, IC: [] }))).toBe('ERR_PROOF_JSON')
  })

  it('arbitrary JSON is refused, never anything but a DecodeError', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.constantFrom('pi_a', 'pi_b', 'pi_c'), (value, field) => {
        expect(refusal(() => proofFromSnarkjs(value))).toMatch(/^ERR_PROOF_/)
        expect(refusal(() => proofFromSnarkjs({ ...json, [field]: value }))).toMatch(/^ERR_PROOF_/)
      }),
    )
  })
})

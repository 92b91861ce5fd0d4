import { babyjubjub } from '@noble/curves/misc.js'
import { bigintToBytes, concatBytes, errorCode } from '@cipherlog/core'
import { describe, expect, test } from 'vitest'
import { bn254ScalarOrder } from '../../hash/index.ts'
import * as index from './index.ts'

const {
  addElgamal,
  babyJubjubOrder,
  checkElgamalPublicKey,
  decodeElgamalCiphertext,
  elgamalIdentity,
  elgamalPopChallenge,
  encodeElgamalCiphertext,
  encodeElgamalPoint,
  verifyElgamalPop,
} = index
const { Point } = babyjubjub
const G = Point.BASE
const order2 = { x: 0n, y: bn254ScalarOrder - 1n }

const code = (action: () => unknown) => {
  try {
    action()
  } catch (error) {
    return errorCode(error)
  }
  return undefined
}
const pointBytes = (x: bigint, y: bigint) => concatBytes(bigintToBytes(x, 32), bigintToBytes(y, 32))
const multiple = (scalar: bigint) => encodeElgamalPoint(G.multiplyUnsafe(scalar % babyJubjubOrder).toAffine())

/** m·G and r·PK written out, for a secret key chosen by the test. */
const secretKey = 123456789n
const publicKey = multiple(secretKey)
const encrypt = (m: bigint, r: bigint) => concatBytes(multiple(r), multiple(m + r * secretKey))
const openPoint = (bytes: Uint8Array) => {
  const { c1, c2 } = decodeElgamalCiphertext(bytes, { allowIdentity: true })
  return encodeElgamalPoint(Point.fromAffine(c2).subtract(Point.fromAffine(c1).multiplyUnsafe(secretKey)).toAffine())
}

describe('the curve', () => {
  test("is circomlib's: Base8, subgroup order and 2·Base8 of EIP-2494 and circomlib's test suite", () => {
    expect(G.toAffine()).toEqual({
      x: 5299619240641551281634865583518297030282874472190772894086521144482721001553n,
      y: 16950150798460657717958625567821834550301663161624707787222815936182638968203n,
    })
    expect(Point.Fn.ORDER).toBe(babyJubjubOrder)
    expect(Point.Fp.ORDER).toBe(bn254ScalarOrder)
    // circomlibjs test/babyjub.js, "Should add point 1 and 2".
    const sum = Point.fromAffine({
      x: 17777552123799933955779906779655732241715742912184938656739573121738514868268n,
      y: 2626589144620713026669568689430873010625803728049924121243784502389097019475n,
    }).add(
      Point.fromAffine({
        x: 16540640123574156134436876038791482806971768689494387082833631921987005038935n,
        y: 20819045374670962167435360035096875258406992893633759881276124905556507972311n,
      }),
    )
    expect(sum.toAffine()).toEqual({
      x: 7916061937171219682591368294088513039687205273691143098332585753343424131937n,
      y: 14035240266687799601661095864649209771790948434046947201833777492504781204499n,
    })
  })
})

describe('decodeElgamalCiphertext()', () => {
  const good = encrypt(5n, 99n)
  test('reads back what was encoded', () => {
    const decoded = decodeElgamalCiphertext(good, { allowIdentity: false })
    expect(encodeElgamalCiphertext(decoded)).toEqual(good)
  })

  const { x, y } = G.toAffine()
  test.each<[string, Uint8Array, string]>([
    ['truncated', good.slice(0, 127), 'ERR_ELGAMAL_LENGTH'],
    ['trailing-byte', concatBytes(good, Uint8Array.of(0)), 'ERR_ELGAMAL_LENGTH'],
    ['empty', new Uint8Array(0), 'ERR_ELGAMAL_LENGTH'],
    ['x-plus-r', concatBytes(pointBytes(x + bn254ScalarOrder, y), publicKey), 'ERR_ELGAMAL_RANGE'],
    ['y-plus-r', concatBytes(publicKey, pointBytes(x, y + bn254ScalarOrder)), 'ERR_ELGAMAL_RANGE'],
    ['identity-y-plus-r', concatBytes(pointBytes(0n, 1n + bn254ScalarOrder), publicKey), 'ERR_ELGAMAL_RANGE'],
    ['off-curve-c1', concatBytes(pointBytes(x, y + 1n), publicKey), 'ERR_ELGAMAL_CURVE'],
    ['off-curve-c2', concatBytes(publicKey, pointBytes(x + 1n, y)), 'ERR_ELGAMAL_CURVE'],
    ['all-zero', new Uint8Array(128), 'ERR_ELGAMAL_CURVE'],
    ['all-ones', new Uint8Array(128).fill(255), 'ERR_ELGAMAL_RANGE'],
    ['c1-identity', concatBytes(pointBytes(0n, 1n), publicKey), 'ERR_ELGAMAL_IDENTITY'],
  ])('refuses %s', (_, bytes, expected) => {
    expect(code(() => decodeElgamalCiphertext(bytes, { allowIdentity: false }))).toBe(expected)
  })

  test('takes identities in a cell, and c2 = identity in a contribution', () => {
    expect(decodeElgamalCiphertext(elgamalIdentity, { allowIdentity: true }).c1).toEqual({ x: 0n, y: 1n })
    const c2Identity = concatBytes(publicKey, pointBytes(0n, 1n))
    expect(code(() => decodeElgamalCiphertext(c2Identity, { allowIdentity: false }))).toBeUndefined()
  })

  test('reads a view into larger memory', () => {
    const padded = concatBytes(new Uint8Array(3), good)
    expect(encodeElgamalCiphertext(decodeElgamalCiphertext(padded.subarray(3), { allowIdentity: false }))).toEqual(good)
  })
})

describe('addElgamal()', () => {
  test('is homomorphic: the sum opens to the sum of the amounts', () => {
    let sum = elgamalIdentity
    let total = 0n
    for (let i = 1n; i <= 10n; i++) {
      sum = addElgamal(sum, encrypt(i * i, 1000n + i))
      total += i * i
    }
    expect(openPoint(sum)).toEqual(multiple(total))
  })

  test('is commutative and associative in its bytes, and the identity changes nothing', () => {
    const [a, b, c] = [encrypt(1n, 7n), encrypt(2n, 8n), encrypt(3n, 9n)]
    expect(addElgamal(a, b)).toEqual(addElgamal(b, a))
    expect(addElgamal(addElgamal(a, b), c)).toEqual(addElgamal(a, addElgamal(b, c)))
    expect(addElgamal(a, elgamalIdentity)).toEqual(a)
    expect(addElgamal(a, a)).toEqual(encrypt(2n, 14n))
  })

  test('passes through the identity: r and then L − r, and on from there', () => {
    const there = encrypt(4n, 77n)
    const back = encrypt(babyJubjubOrder - 4n, babyJubjubOrder - 77n)
    const cell = addElgamal(there, back)
    expect(cell).toEqual(elgamalIdentity)
    expect(addElgamal(cell, there)).toEqual(there)
  })

  test('refuses off-curve input instead of adding it', () => {
    expect(code(() => addElgamal(elgamalIdentity, new Uint8Array(128)))).toBe('ERR_ELGAMAL_CURVE')
  })
})

describe('checkElgamalPublicKey()', () => {
  test('accepts sk·G and returns the point', () => {
    expect(checkElgamalPublicKey(publicKey)).toEqual(G.multiplyUnsafe(secretKey).toAffine())
  })

  test.each<[string, Uint8Array, string]>([
    ['identity', pointBytes(0n, 1n), 'ERR_ELGAMAL_IDENTITY'],
    ['order-2', pointBytes(order2.x, order2.y), 'ERR_ELGAMAL_SUBGROUP'],
    [
      'key-plus-order-2',
      encodeElgamalPoint(G.multiplyUnsafe(secretKey).add(Point.fromAffine(order2)).toAffine()),
      'ERR_ELGAMAL_SUBGROUP',
    ],
    ['trailing-byte', concatBytes(publicKey, Uint8Array.of(0)), 'ERR_ELGAMAL_LENGTH'],
    ['x-plus-r', pointBytes(G.x + bn254ScalarOrder, G.y), 'ERR_ELGAMAL_RANGE'],
  ])('refuses %s', (_, bytes, expected) => {
    expect(code(() => checkElgamalPublicKey(bytes))).toBe(expected)
  })
})

describe('verifyElgamalPop()', () => {
  const statement = { cluster: new Uint8Array(32).fill(1), keyset: new Uint8Array(16).fill(2), keyEpoch: 3, publicKey }
  const prove = (of: typeof statement, k: bigint) => {
    const commitment = multiple(k)
    const z = (k + elgamalPopChallenge(of, commitment) * secretKey) % babyJubjubOrder
    return concatBytes(commitment, bigintToBytes(z, 32))
  }
  const pop = prove(statement, 424242n)

  test('accepts an honest proof for its statement only', () => {
    expect(verifyElgamalPop(statement, pop)).toBe(true)
    expect(verifyElgamalPop({ ...statement, keyEpoch: 4 }, pop)).toBe(false)
    expect(verifyElgamalPop({ ...statement, cluster: new Uint8Array(32) }, pop)).toBe(false)
    expect(verifyElgamalPop({ ...statement, keyset: new Uint8Array(16) }, pop)).toBe(false)
    expect(verifyElgamalPop({ ...statement, publicKey: multiple(5n) }, pop)).toBe(false)
  })

  test('refuses z + L, a truncated proof and a T that is not canonical', () => {
    const z = BigInt('0x' + Buffer.from(pop.subarray(64)).toString('hex'))
    expect(verifyElgamalPop(statement, concatBytes(pop.subarray(0, 64), bigintToBytes(z + babyJubjubOrder, 32)))).toBe(
      false,
    )
    expect(verifyElgamalPop(statement, pop.subarray(0, 95))).toBe(false)
    const x = BigInt('0x' + Buffer.from(pop.subarray(0, 32)).toString('hex'))
    const shifted = concatBytes(bigintToBytes(x + bn254ScalarOrder, 32), pop.subarray(32))
    expect(verifyElgamalPop(statement, shifted)).toBe(false)
  })

  test('refuses PK + a point of order 2, which satisfies the equation for every even challenge', () => {
    const shifted = encodeElgamalPoint(Point.fromAffine(order2).add(G.multiplyUnsafe(secretKey)).toAffine())
    const claim = { ...statement, publicKey: shifted }
    let equationHeld = 0
    for (let k = 1n; k <= 8n; k++) {
      const proof = prove(claim, k)
      if (elgamalPopChallenge(claim, proof.subarray(0, 64)) % 2n === 0n) equationHeld++
      expect(verifyElgamalPop(claim, proof)).toBe(false)
    }
    expect(equationHeld).toBeGreaterThan(0)
  })
})

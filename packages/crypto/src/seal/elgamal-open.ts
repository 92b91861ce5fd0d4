/**
 * Opening exponential ElGamal: M = c2 − sk·c1 = m·G, and m by Shanks' baby-step giant-step, searched upward from a
 * known lower bound. A reader that starts at the last value it opened pays only for the difference.
 *
 * Baby steps j·G, 0 ≤ j < 2^bits, are built once per process and kept: 16 bytes each. A giant step costs about 6 µs.
 */
import { normalizeZ } from '@noble/curves/abstract/curve.js'
import { type EdwardsPoint } from '@noble/curves/abstract/edwards.js'
import { babyjubjub } from '@noble/curves/misc.js'
import { CipherlogError } from '@cipherlog/core'
import { decodeElgamalCiphertext } from '../evaluate/elgamal/index.ts'
import { elgamalSecretScalar } from './elgamal.ts'

const { Point } = babyjubjub

/** Table sizes: 2^10 to 2^20 entries (about 5 s to build). */
const tableBitsMin = 10
const tableBitsMax = 20
/** Points normalised with one inversion, and steps between turns of the event loop (some 10 ms). */
const chunk = 1024

/** Finds j from the affine x of j·G: an open-addressing hash table in two flat arrays. */
class BabySteps {
  readonly size: number
  readonly #mask: number
  /** 32 bits of x; two points that agree in them and in the slot are told apart by the caller. */
  readonly #tags: Uint32Array
  /** j + 1; 0 is a free slot. */
  readonly #values: Uint32Array

  constructor(bits: number) {
    this.size = 2 ** bits
    this.#mask = 2 * this.size - 1
    this.#tags = new Uint32Array(2 * this.size)
    this.#values = new Uint32Array(2 * this.size)
  }

  add(x: bigint, j: number): void {
    let slot = Number(x & 0xffff_ffffn) & this.#mask
    while (this.#values[slot] !== 0) slot = (slot + 1) & this.#mask
    this.#tags[slot] = Number((x >> 32n) & 0xffff_ffffn)
    this.#values[slot] = j + 1
  }

  /** All j whose point may have this x: mostly none, for the right one exactly it. */
  *candidates(x: bigint): Generator<number> {
    const tag = Number((x >> 32n) & 0xffff_ffffn)
    for (let slot = Number(x & 0xffff_ffffn) & this.#mask; this.#values[slot] !== 0; slot = (slot + 1) & this.#mask)
      if (this.#tags[slot] === tag) yield this.#values[slot]! - 1
  }
}

let tableBits = 0
let table: Promise<BabySteps> | undefined

/** The process's table, rebuilt only when a larger one is needed. */
function babySteps(bits: number): Promise<BabySteps> {
  if (table === undefined || bits > tableBits) {
    tableBits = bits
    table = buildTable(bits)
  }
  return table
}

async function buildTable(bits: number): Promise<BabySteps> {
  const steps = new BabySteps(bits)
  for await (const { first, xs } of multiplesFrom(Point.ZERO, Point.BASE, steps.size))
    xs.forEach((x, i) => steps.add(x, first + i))
  return steps
}

/** Affine x of start + i·step for i = 0 … count − 1: a chunk at a time, with a turn of the event loop after each. */
async function* multiplesFrom(
  start: EdwardsPoint,
  step: EdwardsPoint,
  count: number,
): AsyncGenerator<{ first: number; xs: bigint[] }> {
  let next = start
  for (let first = 0; first < count; first += chunk) {
    const points: EdwardsPoint[] = []
    for (let i = first; i < Math.min(count, first + chunk); i++) {
      points.push(next)
      next = next.add(step)
    }
    yield { first, xs: normalizeZ(Point, points).map((point) => point.x) }
    await new Promise((resolve) => setTimeout(resolve, 0))
  }
}

/**
 * The amount in a ciphertext, searched upward from `from` to `max`.
 * @param input.secretKey - 32 bytes.
 * @param input.ciphertext - 128 bytes: a cell read against a cosigned checkpoint, never what a server merely returned.
 * @param input.from - lower bound of the sum, such as the value opened last; default 0.
 * @param input.max - upper bound, at most `from` + 2^48.
 * @param input.onProgress - told the searched part of the range, 0 to 1, now and then.
 * @throws {@link CipherlogError} `ERR_OPEN_OUT_OF_RANGE` if no amount of the range fits; {@link DecodeError} on a
 * malformed ciphertext; RangeError on bad bounds or a malformed key.
 */
export async function openElgamal(input: {
  readonly secretKey: Uint8Array
  readonly ciphertext: Uint8Array
  readonly from?: bigint
  readonly max: bigint
  readonly onProgress?: (fraction: number) => void
}): Promise<bigint> {
  const { from = 0n, max } = input
  if (from < 0n || max < from || max - from > 2n ** 48n)
    throw new RangeError('search from 0 or more, up to a maximum at most 2^48 above it')
  const sk = elgamalSecretScalar(input.secretKey)
  const { c1, c2 } = decodeElgamalCiphertext(input.ciphertext, { allowIdentity: true })
  const message = Point.fromAffine(c2).subtract(secretMultiple(Point.fromAffine(c1), sk))

  const range = Number(max - from) + 1
  const bits = Math.min(tableBitsMax, Math.max(tableBitsMin, Math.ceil(Math.log2(range) / 2)))
  const steps = await babySteps(bits)
  const giants = Math.ceil(range / steps.size)
  const giant = Point.BASE.multiplyUnsafe(BigInt(steps.size)).negate()
  const start = message.subtract(Point.BASE.multiplyUnsafe(from))
  for await (const { first, xs } of multiplesFrom(start, giant, giants)) {
    for (const [i, x] of xs.entries()) {
      for (const j of steps.candidates(x)) {
        const amount = from + BigInt(first + i) * BigInt(steps.size) + BigInt(j)
        if (amount <= max && Point.BASE.multiplyUnsafe(amount).equals(message)) return amount
      }
    }
    input.onProgress?.((first + xs.length) / giants)
  }
  throw new CipherlogError(
    'ERR_OPEN_OUT_OF_RANGE',
    'No amount between the given bounds fits; raise the maximum, or check that this is the key of the slice.',
  )
}

/** sk·point by noble's multiplication for secrets, which does not take the identity. */
function secretMultiple(point: EdwardsPoint, sk: bigint): EdwardsPoint {
  return point.is0() ? Point.ZERO : point.multiply(sk)
}

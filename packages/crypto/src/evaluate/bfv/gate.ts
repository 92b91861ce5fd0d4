/**
 * Our own gate in front of SEAL (DESIGN §6, "BFV trusts its writers"). SEAL also loads transparent, NTT-form,
 * mod-switched, size-3, compressed and trailing-byte input; here a ciphertext has exactly one encoding.
 *
 * Layout, little-endian (SEAL 4.1, ciphertext.cpp and serialization.h): 0 magic, 2 header size, 3 version, 5
 * compression, 6 reserved, 8 total bytes, 16 parms_id, 48 NTT flag, 49 size, 57 n, 65 k, 73 scale, 81 correction
 * factor, 89 inner header, 105 coefficient count, 113 coefficients: u64, polynomial by polynomial, in each prime by
 * prime. All of the first 113 bytes is constant for a suite, so one comparison checks every field.
 *
 * What it cannot check is whether the noise or the plaintext is honest; that needs a proof.
 */
import { VerificationError } from '@cipherlog/core'
import { type BfvSuite, type BfvSuiteNumber, bfvSuites, sealHeaderBytes } from './suites.ts'

/** What an encoding of two polynomials must look like. */
interface Layout {
  readonly what: string
  readonly header: Uint8Array
  readonly bytes: number
  readonly n: number
  readonly moduli: readonly bigint[]
}

function layoutOf(what: string, n: number, moduli: readonly bigint[], parmsId: Uint8Array, isNtt: boolean): Layout {
  const header = new Uint8Array(sealHeaderBytes)
  const view = new DataView(header.buffer)
  const bytes = sealHeaderBytes + 16 * moduli.length * n
  // SEALHeader: magic, its own size, version 4.1, no compression, reserved zeros.
  const sealHeader = Uint8Array.of(0x5e, 0xa1, 0x10, 4, 1, 0, 0, 0)
  header.set(sealHeader, 0)
  view.setBigUint64(8, BigInt(bytes), true)
  header.set(parmsId, 16)
  header[48] = isNtt ? 1 : 0
  view.setBigUint64(49, 2n, true)
  view.setBigUint64(57, BigInt(n), true)
  view.setBigUint64(65, BigInt(moduli.length), true)
  view.setFloat64(73, 1, true)
  view.setBigUint64(81, 1n, true)
  header.set(sealHeader, 89)
  view.setBigUint64(97, BigInt(bytes - 89), true)
  view.setBigUint64(105, BigInt(2 * moduli.length * n), true)
  return { what, header, bytes, n, moduli }
}

const layouts = new Map<BfvSuite, { ciphertext: Layout; publicKey: Layout }>(
  Object.values(bfvSuites).map((suite) => [
    suite,
    {
      ciphertext: layoutOf(`${suite.name} ciphertext`, suite.n, suite.dataModuli, suite.parmsId, false),
      publicKey: layoutOf(`${suite.name} public key`, suite.n, suite.moduli, suite.keyParmsId, true),
    },
  ]),
)

/**
 * Checks a contribution: exact length, the suite's constant header, every coefficient below its prime, c1 ≠ 0.
 * Attacker-controlled bytes; nothing is allocated.
 * @throws {@link VerificationError} `ERR_GATE_LENGTH`, `ERR_GATE_HEADER` (`details.at` is the first byte that
 * differs), `ERR_GATE_COEFFICIENT` or `ERR_GATE_TRANSPARENT`.
 */
export function inspectBfvCiphertext(suite: BfvSuiteNumber, bytes: Uint8Array): void {
  const layout = layouts.get(bfvSuites[suite])!.ciphertext
  refuseTransparent(layout, inspect(layout, bytes))
}

/**
 * Checks a stored sum: as {@link inspectBfvCiphertext}, except that c1 may be 0, for writers can make a sum
 * transparent and adding must not fail on it.
 * @throws {@link VerificationError} as above, without `ERR_GATE_TRANSPARENT`.
 */
export function inspectBfvSum(suite: BfvSuiteNumber, bytes: Uint8Array): void {
  inspect(layouts.get(bfvSuites[suite])!.ciphertext, bytes)
}

/**
 * Checks a public key: the same layout in NTT form, under all moduli. With c1 = 0 it would encrypt in the clear.
 * @throws {@link VerificationError} as {@link inspectBfvCiphertext}.
 */
export function inspectBfvPublicKey(suite: BfvSuiteNumber, bytes: Uint8Array): void {
  const layout = layouts.get(bfvSuites[suite])!.publicKey
  refuseTransparent(layout, inspect(layout, bytes))
}

/** Checks all but c1 ≠ 0 and returns whether c1 is zero. */
function inspect(layout: Layout, bytes: Uint8Array): { c1IsZero: boolean } {
  if (bytes.length !== layout.bytes) {
    throw new VerificationError(
      'ERR_GATE_LENGTH',
      `A ${layout.what} is ${layout.bytes} bytes, not ${bytes.length}; save it uncompressed at the first level.`,
    )
  }
  for (let at = 0; at < sealHeaderBytes; at++) {
    if (bytes[at] !== layout.header[at]) {
      throw new VerificationError(
        'ERR_GATE_HEADER',
        `Byte ${at} is not that of a ${layout.what}; save a fresh, uncompressed one of two components with SEAL 4.1.`,
        { details: { at } },
      )
    }
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  let at = sealHeaderBytes
  let bits = 0
  for (let component = 0; component < 2; component++) {
    bits = 0
    for (const modulus of layout.moduli) {
      const modulusHigh = Number(modulus >> 32n)
      const modulusLow = Number(modulus & 0xffff_ffffn)
      // Halves of 32 bits: several times faster than reading bigints.
      for (const end = at + 8 * layout.n; at < end; at += 8) {
        const low = view.getUint32(at, true)
        const high = view.getUint32(at + 4, true)
        if (high >= modulusHigh && (high > modulusHigh || low >= modulusLow)) {
          throw new VerificationError('ERR_GATE_COEFFICIENT', `A coefficient of the ${layout.what} is not reduced.`, {
            details: { at },
          })
        }
        bits |= low | high
      }
    }
  }
  return { c1IsZero: bits === 0 }
}

function refuseTransparent(layout: Layout, { c1IsZero }: { c1IsZero: boolean }): void {
  if (c1IsZero) {
    throw new VerificationError(
      'ERR_GATE_TRANSPARENT',
      `The second component of the ${layout.what} is zero, so it hides nothing; encrypt with fresh randomness.`,
    )
  }
}

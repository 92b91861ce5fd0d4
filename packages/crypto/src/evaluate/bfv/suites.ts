/**
 * The BFV parameter sets (suites 3 to 5, DESIGN §6), 128-bit security by SEAL's tables. Moduli are given by value:
 * SEAL's own helpers would pick other primes or another order.
 */
import { blake2b256 } from '../../hash/digest.ts'

/** Suite numbers of DESIGN §5: 3 bfv-2048, 4 bfv-4096, 5 bfv-8192. */
export type BfvSuiteNumber = 3 | 4 | 5

export interface BfvSuite {
  readonly name: string
  /** Polynomial modulus degree: number of coefficients and of slots. */
  readonly n: number
  /** The coefficient modulus q as its primes; from bfv-4096 up the last one is the special prime. */
  readonly moduli: readonly bigint[]
  /** The primes a ciphertext is stored under: all but the special one. */
  readonly dataModuli: readonly bigint[]
  /** For key switching only. */
  readonly specialModulus?: bigint
  /** Plain modulus; a slot holds −(t−1)/2 … (t−1)/2. */
  readonly t: number
  /** SEAL's id of (n, data moduli, t): 32 bytes. */
  readonly parmsId: Uint8Array
  /** SEAL's id of (n, all moduli, t), which keys carry: 32 bytes. */
  readonly keyParmsId: Uint8Array
  /** Exact size of an uncompressed ciphertext: 113 + 16·k·n for k data moduli. */
  readonly ciphertextBytes: number
  /** Exact size of an uncompressed public key: 113 + 16·k·n for k moduli. */
  readonly publicKeyBytes: number
}

/** Bytes in front of the coefficients of a SEAL ciphertext. */
export const sealHeaderBytes = 113

/** BLAKE2b-256 of little-endian u64 [scheme 1 = BFV, n, q₁ … q_k, t], as SEAL's EncryptionParameters computes it. */
function parmsIdOf(n: number, moduli: readonly bigint[], t: number): Uint8Array {
  return blake2b256(new Uint8Array(littleEndian64([1n, BigInt(n), ...moduli, BigInt(t)])))
}

function littleEndian64(values: readonly bigint[]): ArrayBuffer {
  const view = new DataView(new ArrayBuffer(8 * values.length))
  values.forEach((value, i) => view.setBigUint64(8 * i, value, true))
  return view.buffer
}

function bfvSuite(
  name: string,
  n: number,
  dataModuli: bigint[],
  specialModulus: bigint | undefined,
  t: number,
): BfvSuite {
  const moduli = specialModulus === undefined ? dataModuli : [...dataModuli, specialModulus]
  return Object.freeze({
    name,
    n,
    moduli,
    dataModuli,
    ...(specialModulus === undefined ? {} : { specialModulus }),
    t,
    parmsId: parmsIdOf(n, dataModuli, t),
    keyParmsId: parmsIdOf(n, moduli, t),
    ciphertextBytes: sealHeaderBytes + 16 * dataModuli.length * n,
    publicKeyBytes: sealHeaderBytes + 16 * moduli.length * n,
  })
}

/** The suites by number. */
export const bfvSuites: Readonly<Record<BfvSuiteNumber, BfvSuite>> = Object.freeze({
  3: bfvSuite('bfv-2048', 2048, [0x3ffffffffed001n], undefined, 268369921),
  4: bfvSuite('bfv-4096', 4096, [0xffffc4001n, 0xffffee001n], 0x1ffffe0001n, 4294828033),
  5: bfvSuite(
    'bfv-8192',
    8192,
    [0x7fffffd8001n, 0x7fffffc8001n, 0xfffffffc001n, 0xffffff6c001n],
    0xfffffebc001n,
    4294475777,
  ),
})

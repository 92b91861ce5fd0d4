/**
 * Groth16 on mcl (https://github.com/herumi/mcl-wasm), compiled to WebAssembly: 4 to 5 ms for one proof, about
 * 2 ms each in a batch of 32. Only this file imports the library.
 *
 * mcl has one instance per thread, and a second `init` by anyone makes good proofs verify as false without an
 * error. So: {@link loadMclEngine} runs once per thread, refuses if somebody was there before, checks known
 * vectors before it returns, and every use asserts that the instance is still the one that was checked.
 */
import { bigintToBytes, bytesToBigint, DecodeError, invariant, toHex } from '@cipherlog/core'
import { bn254 } from '@noble/curves/bn254.js'
import mcl, { type Fp, type Fp2, type Fr, type G1, type G2, type PrecomputedG2 } from 'mcl-wasm'
import { baseFieldOrder, cutProof, cutVerificationKey, type CompressedG1, type CompressedG2 } from './encoding.ts'
import { icScalars, verificationKeyDigest, type Groth16Engine } from './engine.ts'
import { selfTest } from './self-test.ts'

export interface MclKey {
  readonly alpha: G1
  readonly beta: PrecomputedG2
  readonly gamma: PrecomputedG2
  readonly delta: PrecomputedG2
  readonly ic: readonly G1[]
}
export interface MclProof {
  readonly a: G1
  readonly b: G2
  readonly c: G1
}

/** Decoded keys kept per thread: a cluster has a handful, and each holds memory of the instance until destroyed. */
const keysMax = 16
const halfOrder = (baseFieldOrder - 1n) / 2n

/**
 * Starts mcl in this thread and returns its engine.
 * @throws {@link InvariantViolation} if mcl was started in this thread before, or fails its self-test.
 */
export async function loadMclEngine(): Promise<Groth16Engine<MclKey, MclProof>> {
  invariant((mcl.curveType as unknown) === undefined, 'mcl was already started in this thread; start it only once.')
  await mcl.init(mcl.BN_SNARK1)
  const memory = mcl.getMemory()
  const assertSameInstance = () =>
    invariant(mcl.getMemory() === memory, 'mcl was started a second time in this thread; its answers are worthless.')
  const keys = new Map<string, MclKey>()

  const engine: Groth16Engine<MclKey, MclProof> = {
    decodeKey(bytes) {
      assertSameInstance()
      const digest = toHex(verificationKeyDigest(bytes))
      let key = keys.get(digest)
      if (key === undefined) {
        key = liftKey(bytes)
        keys.set(digest, key)
        if (keys.size > keysMax) dropOldest(keys)
      }
      return key
    },
    decodeProof(bytes) {
      assertSameInstance()
      const { a, b, c } = cutProof(bytes)
      return { a: liftG1(a, 'A'), b: liftG2(b, 'B'), c: liftG1(c, 'C') }
    },
    signalCount: (key) => key.ic.length - 1,
    holds(key, checks, weights) {
      assertSameInstance()
      const rho = weights.map(fr)
      const scalars = icScalars(checks, weights).map(fr)
      let product = mcl.mul(
        mcl.precomputedMillerLoop2(
          mcl.neg(mcl.mul(key.alpha, scalars[0]!)),
          key.beta,
          mcl.neg(mcl.mulVec([...key.ic], scalars)),
          key.gamma,
        ),
        mcl.precomputedMillerLoop(
          mcl.neg(
            mcl.mulVec(
              checks.map((check) => check.proof.c),
              rho,
            ),
          ),
          key.delta,
        ),
      )
      checks.forEach(({ proof }, i) => {
        const a = checks.length === 1 ? proof.a : mcl.mul(proof.a, rho[i]!)
        product = mcl.mul(product, mcl.millerLoop(a, proof.b))
      })
      return mcl.finalExp(product).isOne()
    },
  }
  selfTest(engine)
  return engine
}

function liftKey(bytes: Uint8Array): MclKey {
  const key = cutVerificationKey(bytes)
  const alpha = liftG1(key.alpha, 'alpha')
  const ic = key.ic.map((point, i) => liftG1(point, `IC[${i}]`))
  const [beta, gamma, delta] = [liftG2(key.beta, 'beta'), liftG2(key.gamma, 'gamma'), liftG2(key.delta, 'delta')]
  return {
    alpha,
    beta: new mcl.PrecomputedG2(beta),
    gamma: new mcl.PrecomputedG2(gamma),
    delta: new mcl.PrecomputedG2(delta),
    ic,
  }
}

function dropOldest(keys: Map<string, MclKey>): void {
  const [digest, key] = keys.entries().next().value!
  keys.delete(digest)
  for (const precomputed of [key.beta, key.gamma, key.delta]) precomputed.destroy()
}

/** `value` is below the field's order; mcl reads little-endian. */
function fp(value: bigint): Fp {
  const out = new mcl.Fp()
  out.setLittleEndian(bigintToBytes(value, 32).reverse())
  return out
}

function fr(value: bigint): Fr {
  const out = new mcl.Fr()
  out.setLittleEndian(bigintToBytes(value, 32).reverse())
  return out
}

function fp2({ c0, c1 }: { readonly c0: bigint; readonly c1: bigint }): Fp2 {
  const out = new mcl.Fp2()
  out.set_a(fp(c0))
  out.set_b(fp(c1))
  return out
}

function toBigint(value: Fp): bigint {
  return bytesToBigint(value.serialize().reverse())
}

function liftG1({ x, largerY }: CompressedG1, what: string): G1 {
  const px = fp(x)
  const [isSquare, y] = mcl.squareRoot(mcl.add(mcl.mul(mcl.sqr(px), px), fp(bn254.G1.Point.CURVE().b)))
  if (!isSquare) throw offCurve(what)
  const point = new mcl.G1()
  point.setX(px)
  point.setY(toBigint(y) > halfOrder === largerY ? y : mcl.neg(y))
  point.setZ(fp(1n))
  invariant(point.isValid(), 'mcl refuses a G1 point that it has lifted itself.')
  return point
}

function liftG2({ x, largerY }: CompressedG2, what: string): G2 {
  const px = fp2(x)
  const [isSquare, y] = mcl.squareRoot(mcl.add(mcl.mul(mcl.sqr(px), px), fp2(bn254.G2.Point.CURVE().b)))
  if (!isSquare) throw offCurve(what)
  const deciding = toBigint(y.get_b()) === 0n ? y.get_a() : y.get_b()
  const point = new mcl.G2()
  point.setX(px)
  point.setY(toBigint(deciding) > halfOrder === largerY ? y : mcl.neg(y))
  point.setZ(fp2({ c0: 1n, c1: 0n }))
  if (!point.isValidOrder()) {
    throw new DecodeError(
      'ERR_PROOF_SUBGROUP',
      `${what} is outside the prime-order subgroup; send a proof made for BN254.`,
    )
  }
  return point
}

function offCurve(what: string): DecodeError {
  return new DecodeError('ERR_PROOF_POINT', `${what} is not on the curve; send a proof made for BN254.`)
}

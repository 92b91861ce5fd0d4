/**
 * What the compiled circuits accept, checked on their constraints with our own r1cs reader, and compared with a
 * TypeScript model of `sealed-amount`.
 */
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { bigintToBytes, bytesToBigint, concatBytes, toHex, type Random } from '@cipherlog/core'
import { bn254ScalarOrder } from '@cipherlog/crypto/hash'
import { babyJubjubOrder } from '@cipherlog/crypto/evaluate/elgamal'
import { encryptElgamal, generateElgamalKey } from '@cipherlog/crypto/seal'
import { circuits, decodeVerificationKey, verificationKeyFromSnarkjs, type CircuitId } from '@cipherlog/proof'
import { readArtifact, readCircuitManifest } from '@cipherlog/proof/artifacts'
import { babyjubjub } from '@noble/curves/misc.js'
import { wtns, type MemoryFile } from 'snarkjs'
import { brokenConstraints, freedom, mutate, readR1cs, readWitness, type R1cs } from './r1cs.ts'

const directory = join(import.meta.dirname, '../../circuits')
const manifest = await readCircuitManifest(directory)
const { Point } = babyjubjub

interface Inputs {
  readonly amount: bigint
  readonly r: bigint
  readonly pk: readonly bigint[]
  readonly ctx: bigint
}

it('the manifest lists every circuit that the registry knows, and each file has its hash', async () => {
  expect(manifest.circuits.map(({ id }) => id).sort()).toEqual(Object.keys(circuits).sort())
  const files = manifest.circuits.flatMap((circuit) => Object.values(circuit.files))
  for (const file of [manifest.powersOfTau, ...files]) await readArtifact(directory, file)
  await expect(readArtifact(directory, { ...manifest.powersOfTau, sha256: '00'.repeat(32) })).rejects.toMatchObject({
    code: 'ERR_PROOF_ARTIFACT',
  })
})

describe.each(manifest.circuits)('$id', ({ id, files, constraints, publicSignals }) => {
  const { rangeBits, statement: statementOf } = circuits[id as CircuitId]
  let r1cs: R1cs
  let wasm: Uint8Array
  const random = seededRandom(id)
  const { publicKey } = generateElgamalKey(random)
  const pk = [bytesToBigint(publicKey.subarray(0, 32)), bytesToBigint(publicKey.subarray(32))]
  const context = random.bytes(32)
  const ctx = bytesToBigint(context.subarray(0, 31))

  const witnessOf = async (inputs: Inputs): Promise<bigint[]> => {
    const file: MemoryFile = { type: 'mem' }
    await wtns.calculate({ ...inputs }, wasm, file, { memorySize: 64 })
    return readWitness(file.data!)
  }
  /** The same, told apart by where the program stopped; its report on stderr is silenced. */
  const refusal = async (inputs: Inputs): Promise<string> => {
    const { error } = console
    console.error = () => {}
    try {
      await witnessOf(inputs)
      return 'accepted'
    } catch (problem) {
      return (problem as Error).message
    } finally {
      console.error = error
    }
  }

  beforeAll(async () => {
    r1cs = readR1cs(await readArtifact(directory, files.r1cs))
    wasm = await readArtifact(directory, files.wasm)
  })

  it('has the constraints and the one public signal that the manifest names', async () => {
    expect(r1cs.constraints.length).toBe(constraints)
    expect(r1cs.publicOutputs + r1cs.publicInputs).toBe(publicSignals)
    expect(publicSignals).toBe(1)
    const key = await readArtifact(directory, files.verificationKey)
    expect(key.length).toBe(288)
    expect(decodeVerificationKey(key).ic.length).toBe(publicSignals + 1)
    const json = new TextDecoder().decode(await readArtifact(directory, files.verificationKeyJson))
    expect(toHex(verificationKeyFromSnarkjs(JSON.parse(json)))).toBe(toHex(key))
  })

  const amountMax = 2n ** BigInt(rangeBits) - 1n
  it.each([0n, 1n, 54_321n, amountMax])(
    'a witness of amount %d satisfies it and agrees with the model',
    async (amount) => {
      const { ciphertext, randomness } = encryptElgamal({ publicKey, amount, random })
      const witness = await witnessOf({ amount, r: randomness, pk, ctx })
      expect(brokenConstraints(r1cs, witness)).toEqual([])
      expect(witness[1]).toBe(bytesToBigint(statementOf({ ciphertext, publicKey, context })))
      expect(witness[1]).toBe(
        bytesToBigint(statementOf({ ciphertext: model(amount, randomness, pk), publicKey, context })),
      )
    },
  )

  it.each([1n, 2n, 2n ** 249n, 2n ** 250n - 1n, 2n ** 148n, 2n ** 148n - 1n])(
    'agrees with the model at the edge r = %d',
    async (r) => {
      const witness = await witnessOf({ amount: 7n, r, pk, ctx })
      expect(brokenConstraints(r1cs, witness)).toEqual([])
      expect(witness[1]).toBe(bytesToBigint(statementOf({ ciphertext: model(7n, r, pk), publicKey, context })))
    },
  )

  it('changing any one wire breaks a constraint, and any one constraint is broken by changing some wire', async () => {
    const { randomness } = encryptElgamal({ publicKey, amount: 5n, random })
    const witness = await witnessOf({ amount: 5n, r: randomness, pk, ctx })
    expect(mutate(r1cs, witness, 2n ** 200n + 12_345n)).toEqual({ freeWires: [], idleConstraints: [] })
    // ±1 turns a bit over, so b·(b − 1) = 0 still holds; another constraint must notice.
    for (const delta of [1n, bn254ScalarOrder - 1n]) expect(mutate(r1cs, witness, delta).freeWires).toEqual([])
  })

  it('the inputs leave no freedom: no hint can be chosen differently near a witness', async () => {
    const { randomness } = encryptElgamal({ publicKey, amount: 5n, random })
    const witness = await witnessOf({ amount: 5n, r: randomness, pk, ctx })
    const inputs = Array.from({ length: r1cs.privateInputs }, (_, i) => 1 + r1cs.publicOutputs + r1cs.publicInputs + i)
    expect(freedom(r1cs, witness, inputs)).toBe(0)
    // ctx is the last input; and a constraint forgotten in the arithmetic is noticed.
    expect(freedom(r1cs, witness, inputs.slice(0, -1))).toBe(1)
    for (const at of [1_000, 2_000, 3_000]) {
      expect(freedom({ ...r1cs, constraints: r1cs.constraints.toSpliced(at, 1) }, witness, inputs)).toBe(1)
    }
  })

  it('that search finds a wire that is in no constraint', async () => {
    const witness = await witnessOf({ amount: 5n, r: 77n, pk, ctx })
    const free = { ...r1cs, wires: r1cs.wires + 1 }
    expect(mutate(free, [...witness, 3n], 1n).freeWires).toEqual([r1cs.wires])
  })

  it.each(['amount', 'r', 'ctx'] as const)('another %s gives another statement', async (name) => {
    const inputs = { amount: 5n, r: 77n, pk, ctx }
    const [before, after] = [await witnessOf(inputs), await witnessOf({ ...inputs, [name]: inputs[name] + 1n })]
    expect(after[1]).not.toBe(before[1])
  })

  it.each([amountMax + 1n, amountMax + 2n, bn254ScalarOrder - 1n, babyJubjubOrder])(
    'an amount of %d has no witness',
    async (amount) => expect(await refusal({ amount, r: 77n, pk, ctx })).toMatch(/Assert Failed.*Num2Bits/),
  )

  it.each([2n ** 250n, babyJubjubOrder + 77n, bn254ScalarOrder - 1n])('r = %d has no witness', async (r) =>
    expect(await refusal({ amount: 5n, r, pk, ctx })).toMatch(/Assert Failed.*Num2Bits/),
  )
})

/** ElGamal as the paper writes it, on noble's points. */
function model(amount: bigint, r: bigint, pk: readonly bigint[]): Uint8Array {
  const key = Point.fromAffine({ x: pk[0]!, y: pk[1]! })
  const c1 = Point.BASE.multiplyUnsafe(r).toAffine()
  const c2 = Point.BASE.multiplyUnsafe(amount).add(key.multiplyUnsafe(r)).toAffine()
  return concatBytes(...[c1.x, c1.y, c2.x, c2.y].map((coordinate) => bigintToBytes(coordinate, 32)))
}

/** A counter hashed: the same numbers at every run. */
function seededRandom(seed: string): Random {
  let count = 0
  return {
    bytes(length) {
      const blocks = Array.from({ length: Math.ceil(length / 32) }, () =>
        createHash('sha256').update(`${seed} ${count++}`).digest(),
      )
      return new Uint8Array(concatBytes(...blocks)).slice(0, length)
    },
  }
}

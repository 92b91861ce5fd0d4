/**
 * A reader and evaluator of r1cs and wtns files (https://github.com/iden3/r1csfile/blob/master/doc/r1cs_bin_format.md),
 * independent of the compiler and the prover: what the circuits' constraints say, in plain TypeScript.
 */
import { bn254ScalarOrder } from '@cipherlog/crypto/hash'
import { Field } from '@noble/curves/abstract/modular.js'

const field = Field(bn254ScalarOrder)

/** Σ coefficient · witness[wire], as [wire, coefficient] pairs. */
export type LinearCombination = readonly (readonly [wire: number, coefficient: bigint])[]

/** A constraint a · b = c modulo r. */
export interface Constraint {
  readonly a: LinearCombination
  readonly b: LinearCombination
  readonly c: LinearCombination
}

export interface R1cs {
  /** Wire 0 is the constant 1, then come public outputs, public inputs, private inputs, and inner signals. */
  readonly wires: number
  readonly publicOutputs: number
  readonly publicInputs: number
  readonly privateInputs: number
  readonly constraints: readonly Constraint[]
}

export function readR1cs(bytes: Uint8Array): R1cs {
  const sections = readSections(bytes, 'r1cs')
  const header = new Cursor(sections.get(1)!)
  const fieldBytes = header.u32()
  if (header.field(fieldBytes) !== bn254ScalarOrder) throw new Error('not over the scalar field of BN254')
  const [wires, publicOutputs, publicInputs, privateInputs] = [header.u32(), header.u32(), header.u32(), header.u32()]
  header.skip(8)
  const count = header.u32()
  const body = new Cursor(sections.get(2)!)
  const combination = (): LinearCombination =>
    Array.from({ length: body.u32() }, () => [body.u32(), body.field(fieldBytes)] as const)
  const constraints = Array.from({ length: count }, () => ({ a: combination(), b: combination(), c: combination() }))
  return { wires, publicOutputs, publicInputs, privateInputs, constraints }
}

/** The values of all wires. */
export function readWitness(bytes: Uint8Array): bigint[] {
  const sections = readSections(bytes, 'wtns')
  const header = new Cursor(sections.get(1)!)
  const fieldBytes = header.u32()
  header.skip(fieldBytes)
  const count = header.u32()
  const body = new Cursor(sections.get(2)!)
  return Array.from({ length: count }, () => body.field(fieldBytes))
}

export function evaluate(combination: LinearCombination, witness: readonly bigint[]): bigint {
  return mod(combination.reduce((sum, [wire, coefficient]) => sum + coefficient * witness[wire]!, 0n))
}

/** The numbers of the constraints that `witness` breaks. */
export function brokenConstraints(r1cs: R1cs, witness: readonly bigint[]): number[] {
  return r1cs.constraints.flatMap(({ a, b, c }, i) =>
    mod(evaluate(a, witness) * evaluate(b, witness) - evaluate(c, witness)) === 0n ? [] : [i],
  )
}

/**
 * What adding `delta` to one wire at a time (never the constant) does to a satisfying witness: the wires that may
 * change without breaking a constraint, and the constraints that no such change breaks. Both should be empty.
 */
export function mutate(
  r1cs: R1cs,
  witness: readonly bigint[],
  delta: bigint,
): { freeWires: number[]; idleConstraints: number[] } {
  const bound = new Set<number>()
  const idleConstraints = r1cs.constraints.flatMap(({ a, b, c }, i) => {
    const [va, vb, vc] = [evaluate(a, witness), evaluate(b, witness), evaluate(c, witness)]
    const coefficients = new Map<number, [bigint, bigint, bigint]>()
    ;[a, b, c].forEach((combination, place) => {
      for (const [wire, coefficient] of combination) {
        const entry = coefficients.get(wire) ?? [0n, 0n, 0n]
        entry[place]! += coefficient
        coefficients.set(wire, entry)
      }
    })
    coefficients.delete(0)
    const breaking = [...coefficients].filter(
      ([, [ka, kb, kc]]) => mod((va + ka * delta) * (vb + kb * delta) - (vc + kc * delta)) !== 0n,
    )
    for (const [wire] of breaking) bound.add(wire)
    return breaking.length === 0 ? [i] : []
  })
  const wires = Array.from({ length: r1cs.wires - 1 }, (_, i) => i + 1)
  return { freeWires: wires.filter((wire) => !bound.has(wire)), idleConstraints }
}

/**
 * How many directions a satisfying witness can be moved in, to first order, with the `given` wires held fixed: the
 * wires that are not given, less the rank of the constraints' Jacobian. 0 means that no other witness is near this
 * one, so none that a prover could reach by choosing a hint (`<--`) differently.
 */
export function freedom(r1cs: R1cs, witness: readonly bigint[], given: Iterable<number>): number {
  const fixed = new Set([0, ...given])
  let rows = r1cs.constraints.map(({ a, b, c }) => {
    const row = new Map<number, bigint>()
    const add = (part: LinearCombination, factor: bigint) => {
      for (const [wire, coefficient] of part) {
        if (!fixed.has(wire)) row.set(wire, mod((row.get(wire) ?? 0n) + factor * coefficient))
      }
    }
    add(a, evaluate(b, witness))
    add(b, evaluate(a, witness))
    add(c, -1n)
    for (const [wire, value] of row) if (value === 0n) row.delete(wire)
    return row
  })
  // Gaussian elimination, shortest row first: the rows are sparse, and most are solved one after the other.
  let rank = 0
  for (;;) {
    rows = rows.filter((row) => row.size > 0)
    const pivot = rows.reduce<Map<number, bigint> | undefined>(
      (best, row) => (best === undefined || row.size < best.size ? row : best),
      undefined,
    )
    if (pivot === undefined) return r1cs.wires - fixed.size - rank
    rank++
    rows.splice(rows.indexOf(pivot), 1)
    const [wire, value] = pivot.entries().next().value!
    const inverse = field.inv(value)
    for (const row of rows) {
      const own = row.get(wire)
      if (own === undefined) continue
      const factor = mod(own * inverse)
      for (const [other, coefficient] of pivot) {
        const rest = mod((row.get(other) ?? 0n) - factor * coefficient)
        if (rest === 0n) row.delete(other)
        else row.set(other, rest)
      }
    }
  }
}

function mod(value: bigint): bigint {
  const rest = value % bn254ScalarOrder
  return rest < 0n ? rest + bn254ScalarOrder : rest
}

/** Sections by number, of the container that both formats share. */
function readSections(bytes: Uint8Array, magic: string): Map<number, Uint8Array> {
  if (new TextDecoder().decode(bytes.subarray(0, 4)) !== magic) throw new Error(`not a ${magic} file`)
  const cursor = new Cursor(bytes.subarray(8))
  return new Map(Array.from({ length: cursor.u32() }, () => [cursor.u32(), cursor.take(cursor.u64())] as const))
}

/** Little-endian. */
class Cursor {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  skip(bytes: number): void {
    this.#at += bytes
  }

  u32(): number {
    this.skip(4)
    return this.#view.getUint32(this.#at - 4, true)
  }

  u64(): number {
    this.skip(8)
    return Number(this.#view.getBigUint64(this.#at - 8, true))
  }

  take(bytes: number): Uint8Array {
    this.skip(bytes)
    return this.#bytes.subarray(this.#at - bytes, this.#at)
  }

  field(bytes: number): bigint {
    let value = 0n
    for (let i = bytes - 8; i >= 0; i -= 8) value = (value << 64n) | this.#view.getBigUint64(this.#at + i, true)
    this.skip(bytes)
    return value
  }
}

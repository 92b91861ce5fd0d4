/**
 * `vector`: sums of vectors of small integers (BFV). Bounds are declared by the writers and checked only here, after
 * opening: BFV trusts its writers (DESIGN §6), and what is opened is for the key holder.
 */
import { CipherlogError, type Random } from '@cipherlog/core'
import { bfvSuites, type BfvSuiteNumber } from '@cipherlog/crypto/evaluate/bfv'
import { loadBfvClient } from '@cipherlog/crypto/seal'
import { type NamespaceDefinition, type StoredSlice } from '@cipherlog/format'
import { readCell } from './cell-proof.ts'
import { secretsOfSlices } from './cell-secrets.ts'
import { checkedCellName } from './content.ts'
import { type CellsContext, type CounterReading } from './counter.ts'
import { findNamespace } from './namespaces.ts'
import { startHead, withBodies } from './seal-command.ts'
import { type SealedCommand } from './session.ts'
import { type Done, type Sealing } from './writer.ts'

export interface VectorReading extends Omit<CounterReading, 'value'> {
  /** Sums, one for each of the namespace's `length` places. */
  readonly values: number[]
}

export class Vector {
  readonly namespace: string
  readonly #context: CellsContext

  constructor(namespace: string, context: CellsContext) {
    this.namespace = namespace
    this.#context = context
  }

  /**
   * Adds a vector.
   * @param values - at most `length` integers between ±`maxAbs`, as the namespace declares; missing ones count as 0.
   * @throws RangeError outside these bounds, before anything is encrypted; else as `Kv.put`.
   */
  async add(values: readonly number[], options: { readonly cell?: string } = {}): Promise<Done> {
    const { reader, writer } = this.#context
    if (!values.every(Number.isSafeInteger)) throw new RangeError('a vector holds integers')
    const key = reader.keyOf(this.namespace, checkedCellName(options.cell ?? ''))
    return writer.write({ namespace: this.namespace, machine: 'vector', op: 'add', key }, (sealing) =>
      sealVector(values, key, sealing, this.#context.random),
    )
  }

  /**
   * The sums, proven against a cosigned checkpoint and then opened here; undefined if the replica knows no such cell.
   * @throws CipherlogError `ERR_CELL_FAILED`, always the same, if any of the N slots is not what contributions within
   * the declared bounds can add up to: a writer broke them. Do not show what was opened to anybody.
   * @throws as `Counter.read`.
   */
  async read(options: { readonly cell?: string } = {}): Promise<VectorReading | undefined> {
    const { reader, view } = this.#context
    const { namespace } = await findNamespace(view, this.namespace, 'vector')
    const key = reader.keyOf(this.namespace, checkedCellName(options.cell ?? ''))
    const state = await readCell(this.#context, { namespace: this.namespace, key })
    if (state === undefined) return undefined
    const { cell, batchLeaf, batchRecord, treeSize } = state
    const secrets = await secretsOfSlices(this.#context, namespace.keyset, cell.slices, batchLeaf)
    const { length } = limitsOf(namespace)
    const values = new Array<number>(length).fill(0)
    let count = 0
    for (const [i, slice] of cell.slices.entries()) {
      const sums = await openSlice(namespace, slice, secrets[i]!)
      for (const [at, sum] of sums.entries()) values[at]! += sum
      count += slice.count
    }
    const position = `${view.history.origin}#${batchLeaf}`
    return { values, count, position, treeSize, logTime: batchRecord.logTime }
  }
}

async function sealVector(
  values: readonly number[],
  key: Uint8Array,
  { namespace, active }: Sealing,
  random: Random,
): Promise<SealedCommand> {
  const { length, maxAbs } = limitsOf(namespace)
  if (values.length > length) throw new RangeError(`a vector of ${namespace.name} has at most ${length} values`)
  const outside = values.find((value) => Math.abs(value) > maxAbs)
  if (outside !== undefined) {
    throw new RangeError(`a value of ${namespace.name} is between -${maxAbs} and ${maxAbs}, not ${outside}`)
  }
  const client = await loadBfvClient(namespace.suite as BfvSuiteNumber)
  const ciphertext = client.encrypt({ publicKey: active.version.publicKey!, values })
  return withBodies(startHead({ namespace, op: 'add', keyEpoch: active.keyEpoch, random, key }), { ciphertext })
}

/** All N slots are checked before any is used. */
async function openSlice(
  namespace: NamespaceDefinition,
  { count, sum, bound }: StoredSlice,
  secretKey: Uint8Array,
): Promise<number[]> {
  const { length, maxAbs, maxCount } = limitsOf(namespace)
  if (count > maxCount || bound !== count * maxAbs) throw cellFailed()
  const client = await loadBfvClient(namespace.suite as BfvSuiteNumber)
  let slots: BigInt64Array
  try {
    slots = client.decrypt({ secretKey, ciphertext: sum })
  } catch (error) {
    // A transparent sum: writers can make one, and it says nothing about the key.
    if (error instanceof CipherlogError && error.code.startsWith('ERR_GATE_')) throw cellFailed()
    throw error
  }
  const { n } = bfvSuites[namespace.suite as BfvSuiteNumber]
  let good = slots.length === n
  // Without an early end: how long the check takes says nothing of what was opened.
  for (const [i, slot] of slots.entries()) {
    const most = i < length ? BigInt(bound) : 0n
    good = slot <= most && slot >= -most && good
  }
  if (!good) throw cellFailed()
  return [...slots.subarray(0, length)].map(Number)
}

function cellFailed(): CipherlogError {
  return new CipherlogError(
    'ERR_CELL_FAILED',
    'The cell does not open to a sum within its declared bounds: a writer broke them. Show nothing of it; have its writers checked and the key rotated.',
  )
}

function limitsOf(namespace: NamespaceDefinition) {
  // The registry refuses vector namespaces without limits.
  return namespace.vector!
}

/**
 * `counter`: sums of amounts that nobody but the readers sees. Each contribution is encrypted (ElGamal) and proven to
 * be in range, for exactly this command.
 */
import { CipherlogError, toHex, type Random } from '@cipherlog/core'
import { encryptElgamal, openElgamal } from '@cipherlog/crypto/seal'
import { type StoredSlice } from '@cipherlog/format'
import { readCell } from './cell-proof.ts'
import { secretsOfSlices } from './cell-secrets.ts'
import { checkedCellName } from './content.ts'
import { type Keyring } from './keyring.ts'
import { findNamespace } from './namespaces.ts'
import { type LazyProver, type ProveStage } from './prover.ts'
import { type Reader } from './reader.ts'
import { type RegistryView } from './registry-view.ts'
import { type Replicas } from './replicas.ts'
import { contextOf, startHead, withBodies } from './seal-command.ts'
import { type SealedCommand } from './session.ts'
import { type Done, type Sealing, type Writer } from './writer.ts'

export interface CellsContext {
  readonly keyring: Keyring
  readonly view: RegistryView
  readonly replicas: Replicas
  readonly reader: Reader
  readonly writer: Writer
  readonly prover: LazyProver
  readonly random: Random
  /** Sums opened before, by namespace, key and epoch: they only grow, so the search starts there. */
  readonly openedSums: Map<string, bigint>
}

export interface CounterReading {
  /** The sum of all contributions. */
  readonly value: bigint
  /** How many there are. */
  readonly count: number
  /** `origin#leaf` of the batch record as of which it was read: proven. */
  readonly position: string
  /** Size of the checkpoint that proves it. */
  readonly treeSize: number
  /** Log time of the batch record, milliseconds. */
  readonly logTime: number
}

/**
 * Ranges searched one after the other: small sums are found in milliseconds, and each range costs the square root of
 * its size.
 */
const searchBits = [24n, 34n, 48n]

export class Counter {
  readonly namespace: string
  readonly #context: CellsContext

  constructor(namespace: string, context: CellsContext) {
    this.namespace = namespace
    this.#context = context
  }

  /**
   * Adds an amount: 0.4 to 1 s for the proof.
   * @param amount - 0 to 2^32 − 1 (2^16 − 1 where the namespace says so).
   * @param options.cell - 0 to 1,024 bytes of UTF-8, hidden from servers; default the namespace's own cell.
   * @param options.onProgress - told where the proof stands.
   * @param options.signal - gives up proving; what is sent is sent.
   * @throws RangeError outside the range, before anything is encrypted.
   * @throws CipherlogError `ERR_PROVER_MISSING`, `ERR_PROVE_*`; else as `Kv.put`.
   */
  async add(
    amount: bigint,
    options: {
      readonly cell?: string
      readonly onProgress?: (stage: ProveStage) => void
      readonly signal?: AbortSignal
    } = {},
  ): Promise<Done> {
    const { reader, writer } = this.#context
    if (typeof amount !== 'bigint' || amount < 0n || amount >= 2n ** 32n) {
      throw new RangeError('an amount is a bigint from 0 to 2^32 - 1')
    }
    const key = reader.keyOf(this.namespace, checkedCellName(options.cell ?? ''))
    return writer.write({ namespace: this.namespace, machine: 'counter', op: 'add', key }, (sealing) =>
      this.#seal(amount, key, sealing, options),
    )
  }

  /** Encrypts and proves without sending. */
  async sealAdd(amount: bigint, options: { readonly cell?: string } = {}): Promise<SealedCommand> {
    const { reader, writer } = this.#context
    const key = reader.keyOf(this.namespace, checkedCellName(options.cell ?? ''))
    const sealing = await writer.sealing({ namespace: this.namespace, machine: 'counter', op: 'add', key })
    return this.#seal(amount, key, sealing, {})
  }

  /**
   * The sum, proven against a cosigned checkpoint and then opened here; undefined if the replica knows no such cell.
   * @param options.onProgress - told the searched part of the present range, 0 to 1.
   * @throws CipherlogError `ERR_KEY_MISSING` if the keyring lacks the key of a slice; `ERR_OPEN_OUT_OF_RANGE`;
   * `ERR_REPLICA_BEHIND`; VerificationError `ERR_VERIFY_*`.
   */
  async read(
    options: { readonly cell?: string; readonly onProgress?: (fraction: number) => void } = {},
  ): Promise<CounterReading | undefined> {
    const { reader, view } = this.#context
    const { namespace } = await findNamespace(view, this.namespace, 'counter')
    const key = reader.keyOf(this.namespace, checkedCellName(options.cell ?? ''))
    const state = await readCell(this.#context, { namespace: this.namespace, key })
    if (state === undefined) return undefined
    const { cell, batchLeaf, batchRecord, treeSize } = state
    const secrets = await secretsOfSlices(this.#context, namespace.keyset, cell.slices, batchLeaf)
    const amountMax = 2n ** BigInt(rangeBits(namespace.circuit)) - 1n
    let [value, count] = [0n, 0]
    for (const [i, slice] of cell.slices.entries()) {
      value += await this.#open(key, slice, secrets[i]!, amountMax, options.onProgress)
      count += slice.count
    }
    const position = `${view.history.origin}#${batchLeaf}`
    return { value, count, position, treeSize, logTime: batchRecord.logTime }
  }

  async #seal(
    amount: bigint,
    key: Uint8Array,
    { identity, proven, namespace, active }: Sealing,
    options: { readonly onProgress?: (stage: ProveStage) => void; readonly signal?: AbortSignal },
  ): Promise<SealedCommand> {
    const { random, prover } = this.#context
    const { registry } = proven
    const { circuit = '' } = namespace
    const bits = rangeBits(circuit)
    if (amount >= 2n ** BigInt(bits)) throw new RangeError(`an amount of ${this.namespace} is 0 to 2^${bits} - 1`)
    const publicKey = active.version.publicKey!
    const head = startHead({ namespace, op: 'add', keyEpoch: active.keyEpoch, random, key, circuit })
    const { ciphertext, randomness } = encryptElgamal({ publicKey, amount, random })
    const { onProgress, signal } = options
    const proof = await (
      await prover.get()
    ).proveSealedAmount(
      {
        bits,
        amount,
        randomness,
        publicKey,
        ciphertext,
        context: contextOf(registry.cluster, identity.client, head),
        verificationKey: registry.circuit(circuit)?.verificationKey,
      },
      { onProgress, signal },
    )
    return withBodies(head, { ciphertext, proof })
  }

  /** Every contribution was proven to be at most `amountMax`, so `count` of them bound the sum. */
  async #open(
    key: Uint8Array,
    { keyEpoch, count, sum }: StoredSlice,
    secretKey: Uint8Array,
    amountMax: bigint,
    onProgress?: (fraction: number) => void,
  ): Promise<bigint> {
    const { openedSums } = this.#context
    const place = `${this.namespace}#${toHex(key)}/${keyEpoch}`
    let from = openedSums.get(place) ?? 0n
    const most = BigInt(count) * amountMax
    for (const bits of searchBits) {
      const max = from + 2n ** bits - 1n < most ? from + 2n ** bits - 1n : most
      if (max < from) break
      try {
        const value = await openElgamal({
          secretKey,
          ciphertext: sum,
          from,
          max,
          ...(onProgress === undefined ? {} : { onProgress }),
        })
        openedSums.set(place, value)
        return value
      } catch (error) {
        if (!(error instanceof CipherlogError) || error.code !== 'ERR_OPEN_OUT_OF_RANGE') throw error
        from = max + 1n
      }
    }
    throw new CipherlogError(
      'ERR_OPEN_OUT_OF_RANGE',
      `The slice of epoch ${keyEpoch} holds no sum that its contributions could have; its key is another one.`,
      { details: { keyEpoch, count } },
    )
  }
}

/** The range that a circuit proves. */
function rangeBits(circuit: string | undefined): 16 | 32 {
  if (circuit === 'sealed-amount-16') return 16
  if (circuit === 'sealed-amount-32') return 32
  throw new CipherlogError(
    'ERR_CIRCUIT_UNKNOWN',
    `This software cannot prove ${circuit}; install a version that knows the circuit.`,
  )
}

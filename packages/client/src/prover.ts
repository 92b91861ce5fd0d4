/**
 * The prover, an optional package under another licence: loaded when the first amount is proven, and only then.
 * An application can hand in one of its own, to share its threads or to name other artifacts.
 */
import { CipherlogError } from '@cipherlog/core'

/** What is proven, and where a proof stands; as `@cipherlog/prover` has it. */
export interface AmountProver {
  proveSealedAmount(
    witness: {
      readonly bits: 16 | 32
      readonly amount: bigint
      readonly randomness: bigint
      readonly publicKey: Uint8Array
      readonly ciphertext: Uint8Array
      readonly context: Uint8Array
      readonly verificationKey?: Uint8Array | undefined
    },
    options?: {
      readonly onProgress?: ((stage: ProveStage) => void) | undefined
      readonly signal?: AbortSignal | undefined
    },
  ): Promise<Uint8Array>
  close(): Promise<void>
}

export type ProveStage = 'queued' | 'witness' | 'proving' | 'checked'

/** A prover that is made on first use, and closed only if it was made here. */
export class LazyProver {
  readonly #given: AmountProver | undefined
  #own: Promise<AmountProver> | undefined

  constructor(given: AmountProver | undefined) {
    this.#given = given
  }

  /** @throws CipherlogError `ERR_PROVER_MISSING` if the package is not installed. */
  get(): Promise<AmountProver> {
    if (this.#given !== undefined) return Promise.resolve(this.#given)
    if (this.#own === undefined) {
      this.#own = load()
      this.#own.catch(() => (this.#own = undefined))
    }
    return this.#own
  }

  async close(): Promise<void> {
    await (await this.#own?.catch(() => undefined))?.close()
  }
}

async function load(): Promise<AmountProver> {
  try {
    const { createProver } = await import('@cipherlog/prover')
    return createProver()
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw cause
    throw new CipherlogError(
      'ERR_PROVER_MISSING',
      'Adding to a counter needs a proof: install @cipherlog/prover (GPL-3.0-or-later) beside this package.',
      { cause },
    )
  }
}

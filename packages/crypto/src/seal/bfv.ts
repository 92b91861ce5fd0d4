/**
 * BFV, the half that needs secrets or hides values (suites 3 to 5, DESIGN §6): batched vectors of n signed slots.
 *
 * Opening a crafted contribution and showing the result can give its writer the secret key, so open only sums
 * proven against a cosigned checkpoint, check all n slots against the slice's bound, and never show them to writers.
 * Every SEAL object made by a call is deleted by it: the library has no finalizers.
 */
import { CipherlogError, plainBytes } from '@cipherlog/core'
import initializeSeal, { type ClassHandle, type MainModule } from 'node-seal'
import { createSealContext, sealErrorText } from '../evaluate/bfv/context.ts'
import { type BfvSuiteNumber, bfvSuites, inspectBfvCiphertext, inspectBfvPublicKey } from '../evaluate/bfv/index.ts'

export interface BfvKeyPair {
  /** SEAL's encoding, uncompressed. */
  readonly secretKey: Uint8Array
  /** SEAL's encoding, uncompressed; `bfvSuites[suite].publicKeyBytes`. */
  readonly publicKey: Uint8Array
}

export interface BfvClient {
  readonly suite: BfvSuiteNumber
  /** A fresh key pair, with SEAL's own randomness (the platform's). */
  generateKey(): BfvKeyPair
  /**
   * Encrypts up to n signed values, the remaining slots being 0.
   * @returns `bfvSuites[suite].ciphertextBytes` bytes that pass the gate.
   * @throws RangeError on too many values or one that is no integer or outside ±(t − 1)/2, which SEAL would wrap;
   * {@link VerificationError} `ERR_GATE_*` on a bad public key.
   */
  encrypt(input: { readonly publicKey: Uint8Array; readonly values: readonly number[] | BigInt64Array }): Uint8Array
  /**
   * All n slots.
   * @throws {@link VerificationError} `ERR_GATE_*` if the ciphertext does not pass the gate (a transparent sum too);
   * {@link CipherlogError} `ERR_BFV_FAILED` if SEAL does not take the secret key.
   */
  decrypt(input: { readonly secretKey: Uint8Array; readonly ciphertext: Uint8Array }): BigInt64Array
}

let instance: Promise<MainModule> | undefined
const clients = new Map<BfvSuiteNumber, Promise<BfvClient>>()

/** The thread's client for a suite; made once (some 20 ms) and kept. */
export function loadBfvClient(suite: BfvSuiteNumber): Promise<BfvClient> {
  let client = clients.get(suite)
  if (client === undefined) {
    instance ??= initializeSeal()
    client = instance.then((seal) => createClient(seal, suite))
    clients.set(suite, client)
  }
  return client
}

function createClient(seal: MainModule, suite: BfvSuiteNumber): BfvClient {
  const { name, n, t } = bfvSuites[suite]
  const context = createSealContext(seal, bfvSuites[suite])
  const encoder = new seal.BatchEncoder(context)
  const none = seal.ComprModeType.none
  const slotMax = (t - 1) / 2

  /** Runs `work` with a keeper of handles, deletes them all, and turns what SEAL throws into `ERR_BFV_FAILED`. */
  function withHandles<T>(work: (keep: <H extends ClassHandle>(handle: H) => H) => T): T {
    const handles: ClassHandle[] = []
    try {
      return work((handle) => {
        handles.push(handle)
        return handle
      })
    } catch (thrown) {
      if (thrown instanceof Error) throw thrown
      throw new CipherlogError(
        'ERR_BFV_FAILED',
        `SEAL failed under ${name}; check that the key is one of this suite.`,
        {
          details: { seal: sealErrorText(thrown) },
        },
      )
    } finally {
      for (const handle of handles) handle.delete()
    }
  }

  return {
    suite,
    generateKey: () =>
      withHandles((keep) => {
        const generator = keep(new seal.KeyGenerator(context))
        const secretKey = keep(generator.secretKey())
        const publicKey = keep(generator.createPublicKey())
        return { secretKey: copyOf(secretKey.saveToArray(none)), publicKey: copyOf(publicKey.saveToArray(none)) }
      }),

    encrypt({ publicKey: publicKeyBytes, values }) {
      inspectBfvPublicKey(suite, publicKeyBytes)
      if (values.length > n) throw new RangeError(`${name} has ${n} slots, not ${values.length}`)
      const slots = new BigInt64Array(n)
      for (let i = 0; i < values.length; i++) {
        const value = Number(values[i])
        if (!Number.isInteger(value) || value < -slotMax || value > slotMax)
          throw new RangeError(`a slot of ${name} holds integers from -${slotMax} to ${slotMax}`)
        slots[i] = BigInt(value)
      }
      const bytes = withHandles((keep) => {
        const publicKey = keep(new seal.PublicKey())
        publicKey.loadFromArray(context, plainBytes(publicKeyBytes))
        const encryptor = keep(new seal.Encryptor(context, publicKey))
        const plaintext = keep(new seal.Plaintext())
        encoder.encode(slots, plaintext)
        const ciphertext = keep(new seal.Ciphertext())
        encryptor.encrypt(plaintext, ciphertext)
        return copyOf(ciphertext.saveToArray(none))
      })
      inspectBfvCiphertext(suite, bytes)
      return bytes
    },

    decrypt({ secretKey: secretKeyBytes, ciphertext: ciphertextBytes }) {
      inspectBfvCiphertext(suite, ciphertextBytes)
      return withHandles((keep) => {
        const secretKey = keep(new seal.SecretKey())
        secretKey.loadFromArray(context, plainBytes(secretKeyBytes))
        const decryptor = keep(new seal.Decryptor(context, secretKey))
        const ciphertext = keep(new seal.Ciphertext())
        ciphertext.loadFromArray(context, plainBytes(ciphertextBytes))
        const plaintext = keep(new seal.Plaintext())
        decryptor.decrypt(ciphertext, plaintext)
        return new BigInt64Array(encoder.decodeBigInt64(plaintext) as BigInt64Array)
      })
    },
  }
}

/** A copy outside the library's reach, plain and with its type. */
function copyOf(saved: unknown): Uint8Array {
  return new Uint8Array(saved as Uint8Array)
}

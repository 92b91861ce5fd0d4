/**
 * The statement of the circuits `sealed-amount-16` and `sealed-amount-32` (DESIGN §6, "ElGamal"):
 *
 *     Poseidon(c1.x, c1.y, c2.x, c2.y, pk.x, pk.y, ctx)
 *
 * Everything a verifier reads enters it, so it is the one public signal, and no proof fits another ciphertext,
 * key or command. The verifier builds it from canonical bytes and never takes it from a message.
 */
import { bigintToBytes, bytesToBigint } from '@cipherlog/core'
import { decodeElgamalCiphertext, decodeElgamalPoint, elgamalPointBytes } from '@cipherlog/crypto/evaluate/elgamal'
import { poseidon } from '@cipherlog/crypto/hash'

const contextBytes = 32
/** Bytes of the context that enter the statement: 31, so that they are below the field's order. */
const contextBytesUsed = 31

export interface SealedAmountInputs {
  /** c1.x ‖ c1.y ‖ c2.x ‖ c2.y, 128 bytes, canonical; c1 is not the identity. */
  readonly ciphertext: Uint8Array
  /** pk.x ‖ pk.y, 64 bytes, of a key that was checked when it was registered: in the subgroup, not the identity. */
  readonly publicKey: Uint8Array
  /** The command's context H, 32 bytes. */
  readonly context: Uint8Array
}

/**
 * The statement: 32 bytes big-endian, below r.
 * @throws RangeError if `publicKey` is not 64 bytes or `context` not 32.
 * @throws {@link DecodeError} `ERR_ELGAMAL_*` unless both are canonical bytes of points on the curve and c1 is not
 * the identity.
 */
export function sealedAmountStatement({ ciphertext, publicKey, context }: SealedAmountInputs): Uint8Array {
  if (publicKey.length !== elgamalPointBytes)
    throw new RangeError(`a public key has ${elgamalPointBytes} bytes, not ${publicKey.length}`)
  if (context.length !== contextBytes)
    throw new RangeError(`a context has ${contextBytes} bytes, not ${context.length}`)
  const { c1, c2 } = decodeElgamalCiphertext(ciphertext, { allowIdentity: false })
  const pk = decodeElgamalPoint(publicKey)
  const ctx = bytesToBigint(context.subarray(0, contextBytesUsed))
  return bigintToBytes(poseidon([c1.x, c1.y, c2.x, c2.y, pk.x, pk.y, ctx]), 32)
}

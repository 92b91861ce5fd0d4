/** Failed decryption is one error without detail: which check failed must not tell a forger anything. */
import { CipherlogError } from '@cipherlog/core'

/** `ERR_OPEN_FAILED`, without a cause. */
export function openFailed(): CipherlogError {
  return new CipherlogError(
    'ERR_OPEN_FAILED',
    'The ciphertext does not open under this key and context; check that you hold the key it was sealed to.',
  )
}

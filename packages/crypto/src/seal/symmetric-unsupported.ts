/**
 * What a runtime without node:crypto gets: a clear error. WebCrypto's AES is asynchronous and sealing a value is
 * not, so browsers verify and audit today but do not seal values yet.
 */
import { CipherlogError } from '@cipherlog/core'
import type * as node from './symmetric-node.ts'

function unsupported(): never {
  throw new CipherlogError(
    'ERR_UNSUPPORTED_RUNTIME',
    'Sealing and opening values needs Node.js; run this part of the application there.',
  )
}

/** @throws {@link CipherlogError} `ERR_UNSUPPORTED_RUNTIME`, always. */
export const aesGcmSeal: typeof node.aesGcmSeal = unsupported
/** @throws {@link CipherlogError} `ERR_UNSUPPORTED_RUNTIME`, always. */
export const aesGcmOpen: typeof node.aesGcmOpen = unsupported
/** @throws {@link CipherlogError} `ERR_UNSUPPORTED_RUNTIME`, always. */
export const scrypt: typeof node.scrypt = unsupported

/** Keyrings in files, sealed under a passphrase (scrypt, AES-256-GCM), replaced whole. Node only. */
import { readFile, stat } from 'node:fs/promises'
import { CipherlogError, systemRandom, type Random } from '@cipherlog/core'
import { openWithPassphrase, sealWithPassphrase } from '@cipherlog/crypto/seal'
import { Keyring, type SaveKeyring } from '../keyring.ts'
import { replaceFile } from './file-memory.ts'

/** The largest keyring and what sealing adds. */
const fileBytesMax = 64 * 1024 * 1024

export interface KeyringFileOptions {
  readonly passphrase: string
  readonly random?: Random
  /** scrypt's N as a power of two, 14 to 20; default 17: 0.3 s of one core for every save. */
  readonly logN?: number
}

/**
 * A new keyring, which {@link Keyring.save} writes to `path` (mode 0600).
 * @throws CipherlogError `ERR_KEYRING_FILE` if there is a file already.
 */
export async function createKeyringFile(
  path: string,
  options: KeyringFileOptions & { readonly label?: string },
): Promise<Keyring> {
  const exists = await stat(path).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return false
      throw error
    },
  )
  if (exists) throw new CipherlogError('ERR_KEYRING_FILE', `${path} exists; open it, or choose another path.`)
  const keyring = new Keyring([], { label: options.label ?? '', save: saveTo(path, options) })
  await keyring.save()
  return keyring
}

/**
 * The keyring of a file.
 * @throws CipherlogError `ERR_KEYRING_FILE` if it can't be read, `ERR_PASSPHRASE`; DecodeError if it is no keyring.
 */
export async function openKeyringFile(path: string, options: KeyringFileOptions): Promise<Keyring> {
  let sealed: Uint8Array
  try {
    const { size } = await stat(path)
    if (size > fileBytesMax) throw new RangeError(`${size} bytes`)
    sealed = new Uint8Array(await readFile(path))
  } catch (cause) {
    throw new CipherlogError('ERR_KEYRING_FILE', `The keyring ${path} cannot be read; check the path.`, { cause })
  }
  return Keyring.fromBytes(openWithPassphrase({ passphrase: options.passphrase, sealed }), saveTo(path, options))
}

function saveTo(path: string, { passphrase, random = systemRandom, logN }: KeyringFileOptions): SaveKeyring {
  let last: Promise<void> = Promise.resolve()
  return (content) => {
    const sealed = sealWithPassphrase({
      passphrase,
      plaintext: content,
      random,
      ...(logN === undefined ? {} : { logN }),
    })
    const next = last.then(() => replaceFile(path, sealed))
    // A failed save is its caller's to know; the next one starts afresh.
    last = next.catch(() => undefined)
    return next
  }
}

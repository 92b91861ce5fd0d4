/** From a cluster directory to a connected SDK. */
import {
  Cipherlog,
  fileMemory,
  inMemory,
  Keyring,
  openKeyringFile,
  type ClientMemory,
  type ConnectOptions,
} from '@cipherlog/client'
import { CipherlogError, toHex } from '@cipherlog/core'
import { type Profile } from './profile.ts'
import { readTrustPolicy } from './trust-policy.ts'

export interface ConnectAsOptions {
  /** Default: those of the profile. */
  readonly endpoints?: readonly string[]
  /** Default: the profile's file. */
  readonly memory?: ClientMemory
  /** Writes neither keyring nor memory. Otherwise one process at a time may use a profile. */
  readonly readOnly?: boolean
}

/**
 * Connects as the client of the profile, with its keyring.
 * @throws CipherlogError `ERR_PASSPHRASE`, `ERR_KEYRING_FILE`, `ERR_KEY_MISSING` if the keyring lacks the client's
 * key; as `Cipherlog.connect`.
 */
export async function connectAs(
  profile: Profile,
  passphrase: string,
  options: ConnectAsOptions = {},
): Promise<Cipherlog> {
  const { endpoints = profile.endpoints, readOnly = false } = options
  const trustPolicy = await readTrustPolicy(profile.trustPolicyFile)
  const opened = await openKeyringFile(profile.keyringFile, { passphrase })
  const keyring = readOnly ? new Keyring(opened.entries) : opened
  const kept = options.memory ?? fileMemory(profile.memoryFile)
  const memory = readOnly ? { load: (origin: string) => kept.load(origin), save: () => Promise.resolve() } : kept
  const identity = keyring.identity(trustPolicy.cluster, profile.client)
  if (identity === undefined) {
    const message = `${profile.keyringFile} does not hold the key of client ${toHex(profile.client)}, which the profile names.`
    throw new CipherlogError('ERR_KEY_MISSING', message)
  }
  return Cipherlog.connect({ endpoints, trustPolicy, identity, keyring, memory })
}

/** Of the SDK's options: how old a checkpoint may be, and how long to look for one. */
export type GuestOptions = Pick<ConnectOptions, 'registryMaxAgeMs' | 'readMsMax'>

/** Connects to look at what is public: needs no key, and remembers nothing. Throws as `Cipherlog.connect`. */
export async function connectAsGuest(profile: Profile, options: GuestOptions = {}): Promise<Cipherlog> {
  const trustPolicy = await readTrustPolicy(profile.trustPolicyFile)
  return Cipherlog.connect({ ...options, endpoints: profile.endpoints, trustPolicy, memory: inMemory() })
}

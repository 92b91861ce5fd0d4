/**
 * What readers do for their keysets: prove who they are, make the keys of a version, check them, sign.
 *
 * Secrets go into the readers' keyrings before anything public about them leaves this process.
 */
import { equalBytes, type Random } from '@cipherlog/core'
import { inspectBfvPublicKey, type BfvSuiteNumber } from '@cipherlog/crypto/evaluate/bfv'
import { elgamalPop, generateElgamalKey, generateReaderKey, loadBfvClient } from '@cipherlog/crypto/seal'
import { publicKeyOf } from '@cipherlog/crypto/signature'
import { roles, suites, type KeysetMember, type KeyVersion, type Suite } from '@cipherlog/format'
import { possessionOf } from '@cipherlog/registry'
import { type Entry, type Keyring } from '../keyring.ts'
import { sealShare } from '../key-shares.ts'

/** A reader whose keyring is at hand, and its index among the members of a keyset. */
export interface LocalReader {
  readonly keyring: Keyring
  readonly member: number
}

/** The reader of a keyring: an entry that is made if there is none. */
export function readerOf(keyring: Keyring, cluster: Uint8Array, random: Random): Entry<'reader'> {
  const known = keyring.of('reader', cluster)[0]
  if (known !== undefined) return known
  const reader: Entry<'reader'> = { type: 'reader', cluster, signingKey: random.bytes(32), kemKey: random.bytes(32) }
  keyring.add(reader)
  return reader
}

/** What a keyset lists of a reader: public. Remote readers send this to the operator. */
export async function memberOf(keyring: Keyring, cluster: Uint8Array, random: Random): Promise<KeysetMember> {
  const { signingKey, kemKey } = readerOf(keyring, cluster, random)
  const { publicKey } = await generateReaderKey({ bytes: () => kemKey.slice() })
  return {
    signingKey: publicKeyOf(signingKey),
    possession: possessionOf(signingKey, roles.reader, cluster),
    kemKey: publicKey,
  }
}

/** Which of `keyrings` belong to members, by their signing keys. */
export function localReaders(
  keyrings: readonly Keyring[],
  cluster: Uint8Array,
  members: readonly KeysetMember[],
): LocalReader[] {
  return keyrings.flatMap((keyring) =>
    keyring.of('reader', cluster).flatMap(({ signingKey }) => {
      const publicKey = publicKeyOf(signingKey)
      const member = members.findIndex((candidate) => equalBytes(candidate.signingKey, publicKey))
      return member === -1 ? [] : [{ keyring, member }]
    }),
  )
}

/**
 * Makes a key version and puts its secrets into the keyrings of its readers.
 *
 * Of suite 1 every reader makes its own key, so only `readers` can read under it. Of the others the one secret goes
 * to `readers` directly, and to every member as a share if there is more than one.
 * @throws RangeError if the shares of a large BFV key would not fit an event.
 */
export async function makeKeyVersion(input: {
  readonly cluster: Uint8Array
  readonly keyset: Uint8Array
  readonly keyEpoch: number
  readonly suite: Suite
  readonly members: readonly KeysetMember[]
  readonly readers: readonly LocalReader[]
  readonly random: Random
}): Promise<KeyVersion> {
  const { cluster, keyset, keyEpoch, suite, members, readers, random } = input
  const keep = (keyring: Keyring, secret: Uint8Array) =>
    keyring.add({ type: 'keyVersion', cluster, keyset, keyEpoch, suite, secret })
  if (suite === suites.hpkeXwing) {
    const memberKeys = []
    for (const { keyring, member } of [...readers].sort((a, b) => a.member - b.member)) {
      const { secretKey, publicKey } = await generateReaderKey(random)
      keep(keyring, secretKey)
      memberKeys.push({ member, key: publicKey })
    }
    return { memberKeys }
  }
  const { secretKey, publicPart } = await makeSharedKey({ cluster, keyset, keyEpoch, suite, random })
  for (const { keyring } of readers) keep(keyring, secretKey)
  if (members.length === 1) return publicPart
  const shares = []
  for (const [member, { kemKey }] of members.entries()) {
    shares.push({
      member,
      ...(await sealShare({ cluster, keyset, keyEpoch, version: publicPart }, kemKey, secretKey)),
    })
  }
  return { ...publicPart, shares }
}

async function makeSharedKey(input: {
  readonly cluster: Uint8Array
  readonly keyset: Uint8Array
  readonly keyEpoch: number
  readonly suite: Exclude<Suite, 1>
  readonly random: Random
}): Promise<{ readonly secretKey: Uint8Array; readonly publicPart: KeyVersion }> {
  const { cluster, keyset, keyEpoch, suite, random } = input
  if (suite === suites.elgamalBjj) {
    const { secretKey, publicKey } = generateElgamalKey(random)
    const possession = elgamalPop({ secretKey, cluster, keyset, keyEpoch, random })
    return { secretKey, publicPart: { publicKey, possession } }
  }
  const bfvSuite: BfvSuiteNumber = suite
  const { secretKey, publicKey } = (await loadBfvClient(bfvSuite)).generateKey()
  inspectBfvPublicKey(bfvSuite, publicKey)
  return { secretKey, publicPart: { publicKey } }
}

/**
 * Secrets of shared key versions (ElGamal, BFV) on their way to the members of a keyset: each sealed to a member's
 * X-Wing key and written into the key event (docs/formats/key-event.md, `shares`).
 *
 * A share is bound to cluster, keyset, epoch and public part by the HPKE `info`, so none can be moved to another.
 */
import { encode, equalBytes, toHex, utf8 } from '@cipherlog/core'
import { sha256 } from '@cipherlog/crypto/hash'
import { generateReaderKey, openFromSender, readerKeyId, sealToReader } from '@cipherlog/crypto/seal'
import { keyVersionClaim, wrapInfo, type KeyVersion } from '@cipherlog/format'
import { keyVersionDigest, type Registry } from '@cipherlog/registry'
import { keyMissing } from './errors.ts'
import { type Keyring } from './keyring.ts'

const shareLabel = utf8('cipherlog/v1/share-info')

export interface SharedVersion {
  readonly cluster: Uint8Array
  readonly keyset: Uint8Array
  readonly keyEpoch: number
  readonly version: KeyVersion
}

/** Seals a version's secret to one member. @param kemKey - the member's X-Wing key, 1,216 bytes. */
export function sealShare(
  shared: SharedVersion,
  kemKey: Uint8Array,
  secret: Uint8Array,
): Promise<{ enc: Uint8Array; ciphertext: Uint8Array }> {
  return sealToReader({ publicKey: kemKey, info: shareInfo(shared, kemKey), plaintext: secret })
}

/**
 * The secret of a key version: from the keyring, else from a share for one of its readers, which is then added to
 * the keyring (call `save` to keep it).
 * @throws CipherlogError `ERR_KEY_MISSING`.
 */
export async function secretOfVersion(
  keyring: Keyring,
  registry: Registry,
  keyset: Uint8Array,
  keyEpoch: number,
): Promise<Uint8Array> {
  const { cluster } = registry
  const known = keyring.keyVersion(cluster, keyset, keyEpoch)
  if (known !== undefined) return known
  const entry = registry.keyset(keyset)
  const version = entry?.versions.get(keyEpoch)?.version
  for (const reader of keyring.of('reader', cluster)) {
    // X-Wing derives its public key from the seed; generating from that seed gives it back.
    const { publicKey } = await generateReaderKey({ bytes: () => reader.kemKey.slice() })
    const member = entry?.members.findIndex(({ kemKey }) => equalBytes(kemKey, publicKey))
    const share = version?.shares?.find((candidate) => candidate.member === member)
    if (entry === undefined || version === undefined || share === undefined) continue
    const secret = await openFromSender({
      secretKey: reader.kemKey,
      enc: share.enc,
      info: shareInfo({ cluster, keyset, keyEpoch, version }, publicKey),
      ciphertext: share.ciphertext,
    })
    keyring.add({ type: 'keyVersion', cluster, keyset, keyEpoch, suite: entry.suite, secret })
    return secret
  }
  throw keyMissing(`the secret of version ${keyEpoch} of keyset ${toHex(keyset)}`, { keyset, keyEpoch })
}

/** CBOR [label, SHA-256 of the version's claim, epoch, reader key id]. */
function shareInfo({ cluster, keyset, keyEpoch, version }: SharedVersion, kemKey: Uint8Array): Uint8Array {
  const claim = encode(keyVersionClaim, [cluster, keyset, keyEpoch, keyVersionDigest(version)])
  return encode(wrapInfo, [shareLabel, sha256(claim), keyEpoch, readerKeyId(kemKey)])
}

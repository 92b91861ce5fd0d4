/**
 * What is derived from a content key or a name key besides sealed values: the commitment that makes all readers of
 * an envelope agree on one key, and blinded names.
 */
import { CborWriter, emptyBytes, majorType } from '@cipherlog/core'
import { labelledMac, labels } from '../hash/index.ts'

/** The key itself. @throws RangeError unless it is 32 bytes. */
export function checkedContentKey(contentKey: Uint8Array): Uint8Array {
  if (contentKey.length !== 32) throw new RangeError(`a content key is 32 bytes, not ${contentKey.length}`)
  return contentKey
}

/**
 * `commit` of an envelope: HMAC(contentKey, label, CBOR[cluster, client, keyset, keyEpoch, subject or empty]), 32
 * bytes. AES-GCM alone does not commit: one ciphertext can open under two keys to two plaintexts, so a reader
 * compares this after opening a wrap.
 * @throws RangeError if the content key is not 32 bytes.
 */
export function commitContentKey(input: {
  readonly contentKey: Uint8Array
  /** 32 bytes. */
  readonly cluster: Uint8Array
  /** 16 bytes. */
  readonly client: Uint8Array
  /** 16 bytes. */
  readonly keyset: Uint8Array
  readonly keyEpoch: number
  /** The unit of erasure, 1 to 64 bytes; absent means empty. */
  readonly subject?: Uint8Array | undefined
}): Uint8Array {
  const writer = new CborWriter(192)
  writer.head(majorType.array, 5)
  writer.bytes(input.cluster)
  writer.bytes(input.client)
  writer.bytes(input.keyset)
  writer.uint(input.keyEpoch)
  writer.bytes(input.subject ?? emptyBytes)
  return labelledMac(checkedContentKey(input.contentKey), labels.commit, writer.finish())
}

/**
 * The stored key of a name: version ‖ HMAC(nameKey, label, CBOR[cluster, namespace, name]), 33 bytes. Equal names
 * give equal bytes: it hides names from servers, not equality or frequency.
 * @throws RangeError if the name key is not 32 bytes or the version not 0 to 255.
 */
export function blindName(input: {
  readonly nameKey: Uint8Array
  readonly nameKeyVersion: number
  readonly cluster: Uint8Array
  readonly namespace: string
  readonly name: string
}): Uint8Array {
  const { nameKey, nameKeyVersion } = input
  if (nameKey.length !== 32) throw new RangeError(`a name key is 32 bytes, not ${nameKey.length}`)
  if (!Number.isInteger(nameKeyVersion) || nameKeyVersion < 0 || nameKeyVersion > 255)
    throw new RangeError(`a name key version is 0 to 255, not ${nameKeyVersion}`)
  const writer = new CborWriter()
  writer.head(majorType.array, 3)
  writer.bytes(input.cluster)
  writer.text(input.namespace)
  writer.text(input.name)
  const out = new Uint8Array(33)
  out[0] = nameKeyVersion
  out.set(labelledMac(nameKey, labels.name, writer.finish()), 1)
  return out
}

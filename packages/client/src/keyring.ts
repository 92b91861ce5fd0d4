/**
 * The secrets of a person or application: signing keys, name keys, decryption keys (docs/formats/keyring.md).
 *
 * In memory, or kept in a file by {@link file://./node/keyring-file.ts}. Invariant: two entries never answer the
 * same question, so a lookup has one answer.
 */
import { decode, encode, equalBytes, toHex, type Random } from '@cipherlog/core'
import { keyringContent, type KeyringEntry } from '@cipherlog/format'
import { type OperatorSigner } from '@cipherlog/registry'
import { type Identity } from './identity.ts'

/** One kind of entry. */
export type Entry<T extends KeyringEntry['type']> = Extract<KeyringEntry, { type: T }>

export const keyringEntriesMax = 4096
/** Bytes of an encoded keyring. */
export const keyringBytesMax = 60 * 1024 * 1024

/** Keeps an encoded keyring; resolves when it is durable. */
export type SaveKeyring = (content: Uint8Array) => Promise<void>

export class Keyring {
  readonly label: string
  readonly #save: SaveKeyring | undefined
  /** By what they are the answer to, oldest first. */
  readonly #entries = new Map<string, KeyringEntry>()

  /** @param options.save - where {@link Keyring.save} puts it; without it, nowhere. */
  constructor(
    entries: readonly KeyringEntry[] = [],
    options: { readonly label?: string; readonly save?: SaveKeyring } = {},
  ) {
    this.label = options.label ?? ''
    this.#save = options.save
    for (const entry of entries) this.add(entry)
  }

  /** @throws DecodeError on anything but an encoded keyring. */
  static fromBytes(content: Uint8Array, save?: SaveKeyring): Keyring {
    const { entries, label } = decode(keyringContent, content, keyringBytesMax)
    return new Keyring(entries, { label, ...(save === undefined ? {} : { save }) })
  }

  /** CBOR with every secret in the clear: for a file sealed under a passphrase. */
  toBytes(): Uint8Array {
    return encode(keyringContent, { version: 1, entries: [...this.entries], label: this.label })
  }

  /** Keeps the keyring as it is now; does nothing for one that lives in memory. */
  async save(): Promise<void> {
    await this.#save?.(this.toBytes())
  }

  get entries(): readonly KeyringEntry[] {
    return [...this.#entries.values()]
  }

  /** Adds a secret, in place of one for the same purpose. @throws RangeError above 4,096 entries. */
  add(entry: KeyringEntry): void {
    const place = placeOf(entry)
    if (!this.#entries.has(place) && this.#entries.size >= keyringEntriesMax) {
      // Losing a content key costs a new envelope; every other entry is somebody's only copy.
      const oldest = this.entries.find(({ type }) => type === 'contentKey')
      if (oldest === undefined) throw new RangeError(`a keyring has at most ${keyringEntriesMax} entries`)
      this.#entries.delete(placeOf(oldest))
    }
    this.#entries.set(place, entry)
  }

  of<T extends KeyringEntry['type']>(type: T, cluster: Uint8Array): Entry<T>[] {
    return this.entries.filter((entry): entry is Entry<T> => entry.type === type && equalBytes(entry.cluster, cluster))
  }

  /** The identity of a writer, if the keyring has exactly one for this cluster (or the one named). */
  identity(cluster: Uint8Array, client?: Uint8Array): Identity | undefined {
    const found = this.of('client', cluster).filter((entry) => client === undefined || equalBytes(entry.client, client))
    return found.length === 1 ? { client: found[0]!.client, secretKey: found[0]!.secretKey } : undefined
  }

  /** Operator keys, by index. */
  operators(cluster: Uint8Array): OperatorSigner[] {
    return this.of('operator', cluster).sort((a, b) => a.index - b.index)
  }

  /** The newest name key: what new names are hidden under. */
  nameKey(cluster: Uint8Array): Entry<'nameKey'> | undefined {
    return this.of('nameKey', cluster).sort((a, b) => b.version - a.version)[0]
  }

  /** A fresh name key, one version above the last. Every writer and reader of the cluster needs it. */
  addNameKey(cluster: Uint8Array, random: Random): Entry<'nameKey'> {
    const version = (this.nameKey(cluster)?.version ?? 0) + 1
    const entry: Entry<'nameKey'> = { type: 'nameKey', cluster, version, key: random.bytes(32) }
    this.add(entry)
    return entry
  }

  /** The secret of a key version. */
  keyVersion(cluster: Uint8Array, keyset: Uint8Array, keyEpoch: number): Uint8Array | undefined {
    return this.of('keyVersion', cluster).find(
      (entry) => entry.keyEpoch === keyEpoch && equalBytes(entry.keyset, keyset),
    )?.secret
  }

  /** The content key of an envelope. */
  contentKey(cluster: Uint8Array, envelope: Uint8Array): Uint8Array | undefined {
    return this.of('contentKey', cluster).find((entry) => equalBytes(entry.envelope, envelope))?.key
  }

  /** Takes out the content key of an envelope that the log does not have. */
  removeContentKey(cluster: Uint8Array, envelope: Uint8Array): void {
    this.#entries.delete(contentKeyPlace(cluster, envelope))
  }
}

/** What an entry is the answer to. */
function placeOf(entry: KeyringEntry): string {
  const cluster = toHex(entry.cluster)
  switch (entry.type) {
    case 'client':
      return `client ${cluster} ${toHex(entry.client)}`
    case 'operator':
      return `operator ${cluster} ${entry.index}`
    case 'reader':
      return `reader ${cluster} ${toHex(entry.signingKey)}`
    case 'nameKey':
      return `nameKey ${cluster} ${entry.version}`
    case 'keyVersion':
      return `keyVersion ${cluster} ${toHex(entry.keyset)} ${entry.keyEpoch}`
    case 'contentKey':
      return contentKeyPlace(entry.cluster, entry.envelope)
  }
}

function contentKeyPlace(cluster: Uint8Array, envelope: Uint8Array): string {
  return `contentKey ${toHex(cluster)} ${toHex(envelope)}`
}

/**
 * Key sessions (DESIGN §6 "Envelopes"): one content key for each keyset and epoch, wrapped once to every reader and
 * put on the log before its first use; and the way back, from an envelope's id to its content key.
 *
 * Invariants: a content key goes into the keyring only once its envelope is applied; a key that was opened from a
 * wrap fits the envelope's commitment, so that all readers open the same plaintexts.
 */
import { decode, encode, equalBytes, PolicyError, toHex, utf8, VerificationError, type Random } from '@cipherlog/core'
import { labelledHash, labels } from '@cipherlog/crypto/hash'
import { commitContentKey, generateReaderKey, openFromSender, readerKeyId, sealToReader } from '@cipherlog/crypto/seal'
import {
  keyEnvelope,
  wrapInfo,
  wraps as wrapsCodec,
  type KeyEnvelope,
  type NamespaceDefinition,
  type Wrap,
} from '@cipherlog/format'
import { keyMissing } from './errors.ts'
import { type Keyring } from './keyring.ts'
import { type ActiveVersion } from './namespaces.ts'
import { type ProvenView, type RegistryView } from './registry-view.ts'
import { type Replicas } from './replicas.ts'
import { envelopeCommand } from './seal-command.ts'
import { type SealedCommand } from './session.ts'

/** 64 wraps of 1.2 KB. */
const wrapsBytesMax = 131_072
/** Opened envelopes kept: 32 bytes each and an id. */
const openedMax = 4096

/** A content key to seal under. */
export interface ContentKey {
  /** Envelope id, 32 bytes. */
  readonly envelope: Uint8Array
  readonly key: Uint8Array
  /**
   * The command that puts the envelope on the log; undefined if it is there or under way. Whoever takes it hands it
   * in before anything that names the envelope, without waiting in between.
   */
  takeCommand(): SealedCommand | undefined
}

export interface EnvelopesOptions {
  readonly cluster: Uint8Array
  readonly keyring: Keyring
  readonly replicas: Replicas
  readonly view: RegistryView
  readonly random: Random
}

export class Envelopes {
  readonly #options: EnvelopesOptions
  /** For sealing, by keyset and epoch. */
  readonly #current = new Map<string, Promise<ContentKey>>()
  /** Content keys by hex of the envelope id; the oldest goes first. */
  readonly #opened = new Map<string, Promise<Uint8Array>>()
  /** Reader key ids of own X-Wing secrets, by hex of the secret's place. */
  readonly #readerKeys = new Map<string, Promise<Uint8Array>>()

  constructor(options: EnvelopesOptions) {
    this.#options = options
  }

  /** The content key of this client for an active version: from the keyring, or a fresh one wrapped to its readers. */
  forSealing(client: Uint8Array, namespace: NamespaceDefinition, active: ActiveVersion): Promise<ContentKey> {
    const place = placeOf(active.keyset, active.keyEpoch)
    let current = this.#current.get(place)
    if (current === undefined) {
      const known = this.#fromKeyring(client, active)
      current = known === undefined ? this.#create(client, namespace, active) : Promise.resolve(known)
      this.#current.set(place, current)
      current.catch(() => this.#current.delete(place))
    }
    return current
  }

  /** The envelope is on the log: its key is kept for later processes. */
  applied(keyset: Uint8Array, keyEpoch: number, { envelope, key }: ContentKey): void {
    const { keyring, cluster } = this.#options
    keyring.add({ type: 'contentKey', cluster, keyset, keyEpoch, envelope, key })
  }

  /** The envelope is not on the log, or nobody knows: the next seal makes another. */
  forget(keyset: Uint8Array, keyEpoch: number, envelope: Uint8Array): void {
    this.#options.keyring.removeContentKey(this.#options.cluster, envelope)
    const place = placeOf(keyset, keyEpoch)
    const current = this.#current.get(place)
    if (current === undefined) return
    void current.then(
      (known) => {
        if (equalBytes(known.envelope, envelope) && this.#current.get(place) === current) this.#current.delete(place)
      },
      () => undefined,
    )
  }

  /**
   * The content key of an envelope, as a reader or as its writer.
   * @throws CipherlogError `ERR_KEY_MISSING` if no wrap is for a key of this keyring; `ERR_NOT_FOUND`.
   * @throws VerificationError `ERR_VERIFY_ENVELOPE` if a replica hands out another envelope, `ERR_VERIFY_COMMIT` if
   * its writer wrapped different keys to different readers.
   */
  open(id: Uint8Array): Promise<Uint8Array> {
    const { keyring, cluster, replicas } = this.#options
    const own = keyring.contentKey(cluster, id)
    if (own !== undefined) return Promise.resolve(own)
    const name = toHex(id)
    let opened = this.#opened.get(name)
    if (opened === undefined) {
      opened = replicas
        .read(async (connection) => checkedEnvelope(id, await connection.envelope(id)))
        .then(({ envelope, wraps }) => this.#unwrap(id, envelope, wraps))
      this.#opened.set(name, opened)
      // Failures are not remembered: a key may be added to the keyring.
      opened.catch(() => this.#opened.delete(name))
      if (this.#opened.size > openedMax) this.#opened.delete(this.#opened.keys().next().value!)
    }
    return opened
  }

  /** An entry does not name its client, but the id is the hash of a fixed part that does. */
  #fromKeyring(client: Uint8Array, { keyset, keyEpoch }: ActiveVersion): ContentKey | undefined {
    const { keyring, cluster } = this.#options
    const found = keyring
      .of('contentKey', cluster)
      .filter((entry) => entry.keyEpoch === keyEpoch && equalBytes(entry.keyset, keyset))
      .find(({ key, envelope }) => equalBytes(idOf(fixedPart(cluster, client, keyset, keyEpoch, key)), envelope))
    return found === undefined ? undefined : { envelope: found.envelope, key: found.key, takeCommand: () => undefined }
  }

  async #create(
    client: Uint8Array,
    namespace: NamespaceDefinition,
    { keyset, keyEpoch, version }: ActiveVersion,
  ): Promise<ContentKey> {
    const { cluster, random, view } = this.#options
    const commandNamespace = await envelopeNamespace(client, namespace, view)
    const key = random.bytes(32)
    const fixed = fixedPart(cluster, client, keyset, keyEpoch, key)
    const id = idOf(fixed)
    const list: Wrap[] = []
    for (const { key: publicKey } of version.memberKeys ?? []) {
      const readerKey = readerKeyId(publicKey)
      const info = infoOf(id, keyEpoch, readerKey)
      const { enc, ciphertext } = await sealToReader({ publicKey, info, plaintext: key })
      list.push({ wrapEpoch: keyEpoch, readerKeyId: readerKey, enc, ciphertext })
    }
    let command: SealedCommand | undefined = envelopeCommand({
      namespace: commandNamespace,
      keyset,
      keyEpoch,
      fixed,
      wraps: encode(wrapsCodec, list),
      random,
    })
    return {
      envelope: id,
      key,
      takeCommand() {
        const taken = command
        command = undefined
        return taken
      },
    }
  }

  async #unwrap(id: Uint8Array, envelope: KeyEnvelope, wraps: readonly Wrap[]): Promise<Uint8Array> {
    const { keyring, cluster } = this.#options
    const { client, keyset, keyEpoch, commit, subject } = envelope
    for (const wrap of wraps) {
      const secretKey = keyring.keyVersion(cluster, keyset, wrap.wrapEpoch)
      if (secretKey === undefined) continue
      if (!equalBytes(await this.#readerKeyOf(keyset, wrap.wrapEpoch, secretKey), wrap.readerKeyId)) continue
      const info = infoOf(id, wrap.wrapEpoch, wrap.readerKeyId)
      const contentKey = await openFromSender({ secretKey, enc: wrap.enc, info, ciphertext: wrap.ciphertext })
      const fits =
        contentKey.length === 32 &&
        equalBytes(commitContentKey({ contentKey, cluster, client, keyset, keyEpoch, subject }), commit)
      if (!fits) {
        throw new VerificationError(
          'ERR_VERIFY_COMMIT',
          'The envelope holds another key for this reader than it commits to; its writer is faulty. Tell an operator.',
          { details: { envelope: id, client } },
        )
      }
      return contentKey
    }
    throw keyMissing(`a key of keyset ${toHex(keyset)} that the envelope is wrapped to`, {
      keyset,
      wrapEpochs: wraps.map(({ wrapEpoch }) => wrapEpoch),
    })
  }

  /** X-Wing derives its public key from the seed; generating from that seed gives it back. */
  #readerKeyOf(keyset: Uint8Array, keyEpoch: number, secretKey: Uint8Array): Promise<Uint8Array> {
    const place = placeOf(keyset, keyEpoch)
    let id = this.#readerKeys.get(place)
    if (id === undefined) {
      id = generateReaderKey({ bytes: () => secretKey.slice() }).then(({ publicKey }) => readerKeyId(publicKey))
      this.#readerKeys.set(place, id)
    }
    return id
  }
}

function fixedPart(
  cluster: Uint8Array,
  client: Uint8Array,
  keyset: Uint8Array,
  keyEpoch: number,
  contentKey: Uint8Array,
): Uint8Array {
  const commit = commitContentKey({ contentKey, cluster, client, keyset, keyEpoch })
  return encode(keyEnvelope, { cluster, client, keyset, keyEpoch, commit })
}

function idOf(fixed: Uint8Array): Uint8Array {
  return labelledHash(labels.envelopeId, fixed)
}

function infoOf(id: Uint8Array, wrapEpoch: number, readerKey: Uint8Array): Uint8Array {
  return encode(wrapInfo, [utf8(labels.envelopeInfo), id, wrapEpoch, readerKey])
}

function placeOf(keyset: Uint8Array, keyEpoch: number): string {
  return `${toHex(keyset)}/${keyEpoch}`
}

/** What a replica hands out is the envelope asked for: the id is its hash. Wraps prove themselves when opened. */
function checkedEnvelope(
  id: Uint8Array,
  { fixed, wraps }: { readonly fixed: Uint8Array; readonly wraps: Uint8Array },
): { readonly envelope: KeyEnvelope; readonly wraps: readonly Wrap[] } {
  if (!equalBytes(idOf(fixed), id)) {
    throw new VerificationError('ERR_VERIFY_ENVELOPE', 'The replica hands out another envelope; ask another one.')
  }
  return { envelope: decode(keyEnvelope, fixed, 1024), wraps: decode(wrapsCodec, wraps, wrapsBytesMax) }
}

/**
 * The namespace itself, or another of its keyset, where the client may write envelopes. A new grant may not be known
 * yet: the registry is proven anew once.
 */
async function envelopeNamespace(
  client: Uint8Array,
  namespace: NamespaceDefinition,
  view: RegistryView,
): Promise<string> {
  const find = ({ registry, batchRecord }: ProvenView) =>
    [namespace, ...registry.namespaces()]
      .filter(({ keyset }) => equalBytes(keyset, namespace.keyset))
      .find(({ name }) => registry.grantFor(client, name, 'envelope', batchRecord.logTime) !== undefined)
  const found = find(view.current) ?? find(await view.refresh())
  if (found !== undefined) return found.name
  throw new PolicyError(
    'ERR_POLICY_GRANT',
    `No grant allows this client the operation envelope in ${namespace.name}; values need it. Ask an operator.`,
    { details: { namespace: namespace.name, operation: 'envelope' } },
  )
}

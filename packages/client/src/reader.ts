/** Reading: values opened only after their command is proven, names compared after opening. */
import { decode, equalBytes, VerificationError } from '@cipherlog/core'
import { openValue, blindName } from '@cipherlog/crypto/seal'
import { receipt as receiptCodec, verdicts, type CommandHead } from '@cipherlog/format'
import { receiptBytesMax } from '@cipherlog/registry'
import { type Connection, type StoredValue } from './connection.ts'
import { decodeContent, type Value } from './content.ts'
import { type Envelopes } from './envelopes.ts'
import { keyMissing } from './errors.ts'
import { isBefore } from './history.ts'
import { type Keyring } from './keyring.ts'
import { findNamespace } from './namespaces.ts'
import { type RegistryView } from './registry-view.ts'
import { BehindError, type Replicas } from './replicas.ts'
import { contextOf } from './seal-command.ts'
import { bodyOf, openBundle, proveLeaf } from './stored-command.ts'

/** How long a value's leaf may take to be published. */
const publishedMsMax = 5_000

export interface ReaderOptions {
  readonly cluster: Uint8Array
  readonly keyring: Keyring
  readonly view: RegistryView
  readonly replicas: Replicas
  readonly envelopes: Envelopes
}

/** A value with what is known about it. */
export interface Read {
  readonly value: Value
  /** Where it was written: proven. */
  readonly position: string
  readonly leaf: number
  readonly command: number
  /** Who wrote it, 16 bytes: proven by the client's signature. */
  readonly client: Uint8Array
  /** That nothing newer exists is the replica's word. */
  readonly newest: 'claimed'
  /** Size of the checkpoint that proves it. */
  readonly treeSize: number
}

export class Reader {
  readonly #options: ReaderOptions

  constructor(options: ReaderOptions) {
    this.#options = options
  }

  /** The stored key of a name, 33 bytes. @throws CipherlogError `ERR_KEY_MISSING` without a name key. */
  keyOf(namespace: string, name: string): Uint8Array {
    const { keyring, cluster } = this.#options
    const nameKey = keyring.nameKey(cluster)
    if (nameKey === undefined) throw keyMissing('a name key of this cluster')
    return blindName({ nameKey: nameKey.key, nameKeyVersion: nameKey.version, cluster, namespace, name })
  }

  /** The newest value under a name that a replica knows, proven written. */
  async read(namespace: string, name: string, linearizable: boolean): Promise<Read | undefined> {
    const { replicas, view } = this.#options
    await findNamespace(view, namespace, 'kv')
    const key = this.keyOf(namespace, name)
    const known = view.history.position(namespace, key)
    const stored = await replicas.read(async (connection) => {
      const { value, appliedLeafCount } = await connection.value({ namespace, key, linearizable })
      const behind = value === undefined ? known !== undefined && appliedLeafCount <= known.leaf : false
      if (behind || (value !== undefined && known !== undefined && isBefore(value, known))) {
        throw new BehindError(`The replica has an older state of ${namespace} than this client has seen.`)
      }
      if (value === undefined) return undefined
      const proven = await this.#prove(connection, namespace, key, value)
      if (known !== undefined && proven.origin !== view.history.origin) {
        throw new BehindError(
          `The replica has a value of ${namespace} from before the restore, this client a newer one.`,
        )
      }
      return proven
    })
    if (stored === undefined) return undefined
    const { head, client, leaf, command, ciphertext, treeSize, origin } = stored
    const content = await this.open(client, head, ciphertext)
    if (content.name !== name) {
      throw new VerificationError(
        'ERR_VERIFY_NAME',
        'The value was sealed under another name than it is stored under; its writer is faulty. Tell an operator.',
        { details: { client, leaf, command } },
      )
    }
    // Positions of two generations cannot be compared.
    if (origin === view.history.origin) view.history.note(namespace, key, { leaf, command })
    const position = `${origin}#${leaf}.${command}`
    return { value: content.value, position, leaf, command, client, newest: 'claimed', treeSize }
  }

  /** Opens the ciphertext of a command whose head is known to be its writer's. */
  async open(
    client: Uint8Array,
    head: CommandHead,
    ciphertext: Uint8Array,
  ): Promise<{ readonly name: string; readonly value: Value }> {
    const { envelopes, cluster } = this.#options
    if (head.envelope === undefined) throw keyMissing('anything to open a command without an envelope')
    const contentKey = await envelopes.open(head.envelope)
    return decodeContent(openValue({ contentKey, context: contextOf(cluster, client, head), sealed: ciphertext }))
  }

  async #prove(connection: Connection, namespace: string, key: Uint8Array, value: StoredValue) {
    const { view } = this.#options
    const { leaf, command } = value
    const { record, tlogProof } = value.tlogProof === '' ? await published(connection, leaf) : value
    const checkpoint = await proveLeaf(view, connection, { index: leaf, record, tlogProof })
    const stored = await openBundle(view, { record, signed: value.signed })
    const head = stored?.bundle.heads[command]
    const right =
      head !== undefined &&
      head.namespace === namespace &&
      head.op === 'put' &&
      head.key !== undefined &&
      equalBytes(head.key, key) &&
      stored?.record.verdicts?.[command] === verdicts.applied
    if (!right || head.ciphertext === undefined) {
      throw new VerificationError(
        'ERR_VERIFY_VALUE',
        'The replica hands out another command as the value; ask another.',
      )
    }
    const ciphertext = bodyOf(value.ciphertext, head.ciphertext.sha256)
    const { size: treeSize, origin } = checkpoint
    return { head, client: stored.bundle.client, leaf, command, ciphertext, treeSize, origin }
  }
}

/** Record and proof of a leaf that is not published yet. */
async function published(connection: Connection, leaf: number) {
  const { leafRecord, tlogProof } = decode(
    receiptCodec,
    await connection.receipt(leaf, publishedMsMax),
    receiptBytesMax,
  )
  return { record: leafRecord, tlogProof }
}

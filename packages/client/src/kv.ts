/** `kv`: the newest sealed value of each name. Servers see equal names as equal, and nothing of what they say. */
import { checkedName, encodeContent, type Value } from './content.ts'
import { type Read, type Reader } from './reader.ts'
import { type Done, type Writer } from './writer.ts'

export class Kv {
  readonly namespace: string
  readonly #reader: Reader
  readonly #writer: Writer

  constructor(namespace: string, reader: Reader, writer: Writer) {
    this.namespace = namespace
    this.#reader = reader
    this.#writer = writer
  }

  /**
   * Seals a value under a name.
   * @param name - 1 to 1,024 bytes of UTF-8.
   * @param value - sealed with its name, padded; above 8 MiB it fits no bundle.
   * @returns once a replica has applied it; `receipt()` waits for the proof.
   * @throws TypeError, RangeError on a name or value that can't be sealed, before anything is sent.
   * @throws RejectedError `ERR_REJECTED_*`; RefusedError; PolicyError; ProposalOutcomeUnknownError after the deadline.
   */
  async put(name: string, value: Value): Promise<Done> {
    const content = encodeContent(checkedName(name), value)
    return this.#write('put', name, content)
  }

  /**
   * The newest value of a name, opened; undefined if the replica knows none.
   * @param options.linearizable - default true: a quorum confirms that nothing newer was acknowledged before.
   * @throws CipherlogError `ERR_KEY_MISSING`, `ERR_OPEN_FAILED`; `ERR_REPLICA_BEHIND` if every replica has an older
   * state than this client wrote or read; VerificationError, PolicyError on what does not check out.
   */
  async get(name: string, options: { readonly linearizable?: boolean } = {}): Promise<Read | undefined> {
    return this.#reader.read(this.namespace, checkedName(name), options.linearizable ?? true)
  }

  /** Deletes a name: a command like any other, so its history stays in the log. Throws as {@link Kv.put}. */
  async delete(name: string): Promise<Done> {
    // The name inside shows readers which one was meant.
    return this.#write('delete', name, encodeContent(checkedName(name), null))
  }

  #write(op: 'put' | 'delete', name: string, content: Uint8Array): Promise<Done> {
    const key = this.#reader.keyOf(this.namespace, name)
    return this.#writer.writeContent({ namespace: this.namespace, machine: 'kv', op, key }, content)
  }
}

/**
 * Bundles by hand: seal now, look at the bytes, change them, send them, send them again. For tests, tools and demos
 * of what the log does about forged, altered and repeated bytes; applications have no need of it.
 *
 * It uses sessions of its own, so that nothing sealed here holds up what goes the ordinary way.
 */
import { CipherlogError } from '@cipherlog/core'
import { entryKinds, verdictName, type CommandBodies, type CommandHead } from '@cipherlog/format'
import { checkedName, encodeContent, type Value } from './content.ts'
import { deliver } from './delivery.ts'
import { type Reader } from './reader.ts'
import { ClientSession, type SealedBundle, type SealedCommand, type SessionOptions } from './session.ts'
import { withBodies } from './seal-command.ts'
import { type Writer } from './writer.ts'

export { type SealedBundle, type SealedCommand } from './session.ts'

/** The log's answer to a bundle, verdicts and all. */
export interface BundleAnswer {
  readonly leaf: number
  /** One for each command: 0 is applied. */
  readonly verdicts: readonly number[]
  readonly verdictNames: readonly string[]
  /** The log had these bytes before: this is the first answer. */
  readonly duplicate: boolean
  /** CBOR [applied, signature]. */
  readonly signedAnswer: Uint8Array
}

export interface LowLevelOptions {
  readonly session: SessionOptions | undefined
  readonly reader: Reader
  readonly writer: Writer
}

export class LowLevel {
  readonly #options: LowLevelOptions
  #session: ClientSession | undefined
  /** Signed bytes of the bundles sealed for the session's next sequence: an answer to one uses that sequence up. */
  #sealed = new Set<Uint8Array>()

  constructor(options: LowLevelOptions) {
    this.#options = options
  }

  /** Seals a put, after the command of its envelope if there is none on the log yet. */
  async sealPut(namespace: string, name: string, value: Value): Promise<SealedCommand[]> {
    const content = encodeContent(checkedName(name), value)
    const key = this.#options.reader.keyOf(namespace, name)
    return this.#options.writer.sealOnly({ namespace, machine: 'kv', op: 'put', key }, content)
  }

  /** Seals an append, after the command of its envelope if there is none on the log yet. */
  async sealAppend(namespace: string, value: Value): Promise<SealedCommand[]> {
    return this.#options.writer.sealOnly({ namespace, machine: 'log', op: 'append' }, encodeContent('', value))
  }

  /** The command with other bodies, its head naming their digests. */
  replaceBodies({ head }: SealedCommand, bodies: CommandBodies): SealedCommand {
    const { ciphertext: _ciphertext, proof: _proof, wraps: _wraps, ...start }: CommandHead = head
    return withBodies(start, bodies)
  }

  /** Signs commands as the next bundle of a session of its own, opened if need be. Sends no bundle. */
  async sealBundle(
    commands: readonly SealedCommand[],
    options: { readonly atomic?: boolean } = {},
  ): Promise<SealedBundle> {
    this.#session ??= await ClientSession.open(this.#sessionOptions())
    const bundle = this.#session.seal(commands, options)
    this.#sealed.add(bundle.signed)
    return bundle
  }

  /**
   * Sends a bundle until it is answered. The same bytes again get the first answer.
   * @throws RefusedError and others if it is refused, as it has then no effect.
   */
  async proposeBundle({ signed, body, heads }: SealedBundle): Promise<BundleAnswer> {
    const proposal = { kind: entryKinds.commandBundle, signed, body, receipt: false }
    const answer = await deliver(proposal, heads.length, this.#sessionOptions())
    // An answer that the log had already may still be the first one that comes here: the bytes were sent twice.
    const isNew = this.#sealed.has(signed) || !answer.duplicate
    if (isNew && this.#session !== undefined) {
      this.#session.nextSequence += heads.length
      this.#sealed = new Set()
    }
    const { leaf, verdicts, duplicate, signedAnswer } = answer
    return { leaf, verdicts, verdictNames: verdicts.map(verdictName), duplicate, signedAnswer }
  }

  #sessionOptions(): SessionOptions {
    if (this.#options.session === undefined) {
      throw new CipherlogError('ERR_IDENTITY_MISSING', 'This log was opened for reading; connect with an identity.')
    }
    return this.#options.session
  }
}

/**
 * A client session on the log (DESIGN §5 "Client sessions"): opened by a signed leaf, then one bundle after another.
 *
 * Invariants: a number is kept before it is sent, and never used twice; `nextSequence` moves only when a bundle was
 * applied. A session is used by one sender.
 */
import { CipherlogError, encode, PolicyError, type Clock } from '@cipherlog/core'
import { labels } from '@cipherlog/crypto/hash'
import { signLabelled } from '@cipherlog/crypto/signature'
import {
  commandBundle,
  entryKinds,
  formatVersion,
  group0,
  joinBodies,
  sessionOpening,
  signedCommandBundle,
  signedSessionOpening,
  verdicts,
  type CommandBodies,
  type CommandHead,
} from '@cipherlog/format'
import { deliver, type DeliveryOptions } from './delivery.ts'
import { RejectedError } from './errors.ts'
import { checkMayWrite, type Identity } from './identity.ts'

/** An opening is applied at once or not at all. */
const openingMsMax = 600_000
/** Numbers are taken by other processes of the same client, now and then. */
const attemptsMax = 5
/** A replica may name any high-water mark; a jump beyond this is a lie that would use the numbers up. */
const jumpMax = 2 ** 32

export interface SealedCommand {
  readonly head: CommandHead
  readonly bodies: CommandBodies
}

export interface SealedBundle {
  /** The signed CBOR array. */
  readonly signed: Uint8Array
  /** Bodies of all commands in turn. */
  readonly body: Uint8Array
  readonly heads: readonly CommandHead[]
}

export interface SessionOptions extends DeliveryOptions {
  readonly identity: Identity
}

export class ClientSession {
  readonly number: number
  readonly #options: SessionOptions
  nextSequence = 1

  private constructor(number: number, options: SessionOptions) {
    this.number = number
    this.#options = options
  }

  /**
   * Opens a session above every number that this client ever used.
   * @throws PolicyError `ERR_POLICY_CLIENT`, `ERR_POLICY_REVOKED`, `ERR_POLICY_SESSION_NUMBER`; RejectedError
   * `ERR_REJECTED_SEEN` if the log does not know what this client has verified; as {@link deliver}.
   */
  static async open(options: SessionOptions): Promise<ClientSession> {
    const { view, replicas, identity, clock } = options
    for (let attempt = 1; ; attempt++) {
      const proven = await view.fresh()
      checkMayWrite(identity, proven)
      const { highWaterMark } = await replicas.read((connection) => connection.session(identity.client))
      const number = numberAfter(highWaterMark, view.history.session)
      await view.history.setSession(number)
      const signed = signOpening(number, options)
      try {
        const { verdicts: answer, leaf } = await deliver(
          { kind: entryKinds.sessionOpening, signed, body: new Uint8Array(0), receipt: false },
          1,
          options,
        )
        const verdict = answer[0]!
        if (verdict === verdicts.applied) return new ClientSession(number, options)
        // The log keeps the newest checkpoints only: a newer one may do.
        const again = verdict === verdicts.seen && attempt === 1
        if (!again) throw new RejectedError(verdict, `${view.history.origin}#${leaf}`)
        await view.refresh()
      } catch (error) {
        const taken = error instanceof CipherlogError && error.code === 'ERR_SESSION_EXPIRED'
        if (!taken || attempt >= attemptsMax) throw error
        await new Promise((resolve) => setTimeout(resolve, jitterMs(attempt, clock)))
      }
    }
  }

  /** Signs commands as the session's next bundle; sends nothing and uses nothing up. */
  seal(commands: readonly SealedCommand[], options: { readonly atomic?: boolean } = {}): SealedBundle {
    const { identity, view } = this.#options
    const heads = commands.map(({ head }) => head)
    const { registry } = view.current
    const bundle = encode(commandBundle, {
      version: formatVersion,
      cluster: registry.cluster,
      group: group0,
      generation: registry.generation,
      registry: registry.head.number,
      client: identity.client,
      session: this.number,
      firstSequence: this.nextSequence,
      auth: 1,
      heads,
      ...(options.atomic === undefined ? {} : { atomic: options.atomic }),
    })
    return {
      signed: encode(signedCommandBundle, [bundle, signLabelled(identity.secretKey, labels.bundle, bundle)]),
      body: joinBodies(commands.map(({ bodies }) => bodies)),
      heads,
    }
  }
}

function numberAfter(claimed: number, remembered: number): number {
  if (claimed - remembered > jumpMax) {
    throw new PolicyError(
      'ERR_POLICY_SESSION_NUMBER',
      `The replica says that this client used session ${claimed}, it remembers ${remembered}; ask another replica.`,
      { details: { claimed, remembered } },
    )
  }
  return Math.max(claimed, remembered) + 1
}

function signOpening(number: number, { view, identity, clock }: SessionOptions): Uint8Array {
  const { registry, batchRecord } = view.current
  const { treeSize, rootHash } = view.history.head!
  const opening = encode(sessionOpening, {
    version: formatVersion,
    cluster: registry.cluster,
    group: group0,
    generation: registry.generation,
    client: identity.client,
    number,
    seen: { treeSize, rootHash },
    notAfter: Math.max(clock.now(), batchRecord.logTime) + openingMsMax,
  })
  return encode(signedSessionOpening, [opening, signLabelled(identity.secretKey, labels.openSession, opening)])
}

function jitterMs(attempt: number, clock: Clock): number {
  return attempt * (10 + (clock.monotonic() % 20))
}

/**
 * From single commands to bundles: one in flight per session, everything that comes meanwhile goes into the next, up
 * to 256 commands and the cluster's byte limits.
 *
 * Invariants: commands keep the order in which they were handed in, and those handed in together stay together; a
 * command is sent under one sequence until it is known not to have been applied; the next bundle is on its way
 * before anybody hears of the last.
 */
import { CipherlogError, encode } from '@cipherlog/core'
import { commandHead, commandsPerBundleMax, entryKinds, type Verdict } from '@cipherlog/format'
import { deliver, type Delivered } from './delivery.ts'
import { ClientSession, type SealedBundle, type SealedCommand, type SessionOptions } from './session.ts'

/** A bundle without its heads: ids, numbers, signature and what CBOR puts around them. */
const bundleOverheadBytes = 512
/** Sessions opened in a row without an answer to a bundle. */
const reopenedMax = 3

/** What the log said of one command. */
export interface CommandOutcome {
  readonly leaf: number
  readonly command: number
  readonly verdict: Verdict
  readonly duplicate: boolean
  /** The signed bundle: with a receipt, evidence of the command. */
  readonly signed: Uint8Array
  /** CBOR [applied, signature]. */
  readonly signedAnswer: Uint8Array
}

/** Commands that stay together. */
interface Unit {
  readonly commands: readonly SealedCommand[]
  readonly headBytes: number
  readonly bodyBytes: number
  readonly resolve: (outcomes: CommandOutcome[]) => void
  readonly reject: (error: unknown) => void
}

export class Bundles {
  readonly #options: SessionOptions
  #queue: Unit[] = []
  #session: ClientSession | undefined
  #running = false
  #closed = false

  constructor(options: SessionOptions) {
    this.#options = options
  }

  /**
   * Hands in commands that go into one bundle, in this order.
   * @returns one outcome each, whatever the verdict.
   * @throws RangeError if they cannot fit a bundle; as {@link deliver} and {@link ClientSession.open}.
   */
  add(commands: readonly SealedCommand[]): Promise<CommandOutcome[]> {
    if (this.#closed) return Promise.reject(closed())
    const headBytes = commands.reduce((sum, { head }) => sum + encode(commandHead, head).length, 0)
    const bodyBytes = commands.reduce(
      (sum, { head }) => sum + (head.ciphertext?.bytes ?? 0) + (head.proof?.bytes ?? 0) + (head.wraps?.bytes ?? 0),
      0,
    )
    const { bundleBytes, bodiesBytes } = this.#limits()
    if (commands.length > commandsPerBundleMax || headBytes > bundleBytes || bodyBytes > bodiesBytes) {
      return Promise.reject(
        new RangeError(`a bundle takes ${commandsPerBundleMax} commands and ${bodiesBytes} bytes of bodies; send less`),
      )
    }
    return new Promise((resolve, reject) => {
      this.#queue.push({ commands, headBytes, bodyBytes, resolve, reject })
      if (!this.#running) void this.#run()
    })
  }

  /** What was not sent is rejected with `ERR_CLOSED`. */
  close(): void {
    this.#closed = true
    for (const unit of this.#queue.splice(0)) unit.reject(closed())
  }

  #limits(): { readonly bundleBytes: number; readonly bodiesBytes: number } {
    const { bundleBytesMax, bodiesBytesMax } = this.#options.view.current.registry.genesis.limits
    return { bundleBytes: bundleBytesMax - bundleOverheadBytes, bodiesBytes: bodiesBytesMax }
  }

  async #run(): Promise<void> {
    this.#running = true
    let tell = (): void => undefined
    let reopened = 0
    while (this.#queue.length > 0) {
      let session: ClientSession
      try {
        session = this.#session ??= await ClientSession.open(this.#options)
      } catch (error) {
        tell()
        tell = () => undefined
        // Nothing of them was sent.
        for (const unit of this.#queue.splice(0)) unit.reject(error)
        break
      }
      const units = this.#take()
      const bundle = session.seal(units.flatMap(({ commands }) => commands))
      const sent = this.#deliver(bundle)
      tell()
      tell = () => undefined
      try {
        const delivered = await sent
        reopened = 0
        session.nextSequence += bundle.heads.length
        tell = () => resolveAll(units, bundle, delivered)
      } catch (error) {
        const code = error instanceof CipherlogError ? error.code : undefined
        if (code !== undefined && gone.has(code) && reopened < reopenedMax) {
          // Refused and never applied: the commands are as good as unsent.
          reopened++
          this.#session = undefined
          this.#queue.unshift(...units)
        } else {
          this.#refused(units, error)
        }
      }
    }
    tell()
    this.#running = false
    // Promises that were just settled may have handed in more.
    if (this.#queue.length > 0) void this.#run()
  }

  /** A refusal that names a command is about that one alone: its neighbours go on, under the same sequence. */
  #refused(units: readonly Unit[], error: unknown): void {
    const named = error instanceof CipherlogError ? error.details['command'] : undefined
    const command = typeof named === 'string' && /^\d{1,3}$/.test(named) ? Number(named) : named
    if (typeof command === 'number' && error instanceof CipherlogError && ofOneCommand.has(error.code)) {
      let first = 0
      const guilty = units.find(({ commands }) => (first += commands.length) > command)
      if (guilty !== undefined) {
        guilty.reject(error)
        this.#queue.unshift(...units.filter((unit) => unit !== guilty))
        return
      }
    }
    // The sequence may be used up, or the session be gone: the next bundle starts a new one.
    this.#session = undefined
    for (const unit of units) unit.reject(error)
  }

  #take(): Unit[] {
    const { bundleBytes, bodiesBytes } = this.#limits()
    let [commands, heads, bodies, count] = [0, 0, 0, 0]
    for (const unit of this.#queue) {
      commands += unit.commands.length
      heads += unit.headBytes
      bodies += unit.bodyBytes
      if (commands > commandsPerBundleMax || heads > bundleBytes || bodies > bodiesBytes) break
      count++
    }
    return this.#queue.splice(0, Math.max(1, count))
  }

  #deliver({ signed, body, heads }: SealedBundle): Promise<Delivered> {
    return deliver({ kind: entryKinds.commandBundle, signed, body, receipt: false }, heads.length, this.#options)
  }
}

/** The session is over, and these bytes were not applied in it. */
const gone: ReadonlySet<string> = new Set(['ERR_SESSION_EXPIRED', 'ERR_SESSION_UNKNOWN', 'ERR_SEQUENCE_CONFLICT'])
const ofOneCommand: ReadonlySet<string> = new Set(['ERR_PROOF', 'ERR_GATE', 'ERR_BODY_DIGEST'])

function resolveAll(units: readonly Unit[], { signed }: SealedBundle, delivered: Delivered): void {
  const { leaf, verdicts, duplicate, signedAnswer } = delivered
  let command = 0
  for (const { commands, resolve } of units) {
    resolve(
      commands.map(() => {
        const outcome = { leaf, command, verdict: verdicts[command]!, duplicate, signed, signedAnswer }
        command++
        return outcome
      }),
    )
  }
}

function closed(): CipherlogError {
  return new CipherlogError('ERR_CLOSED', 'This log handle is closed; nothing was sent. Connect again.')
}

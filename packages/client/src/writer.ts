/**
 * The way of a command from an application's call to its verdict.
 *
 * Sealing anew is a new command, so it happens only when the old one is final and changed nothing: a command rejected
 * because its key version no longer takes writes, or because its envelope is not on the log, is sealed once more under
 * what the registry says now. Every other rejection is the caller's to decide about.
 */
import { CipherlogError, type Random } from '@cipherlog/core'
import { verdicts, type NamespaceDefinition, type TrustPolicy } from '@cipherlog/format'
import { type Bundles, type CommandOutcome } from './bundles.ts'
import { type ContentKey, type Envelopes } from './envelopes.ts'
import { RejectedError } from './errors.ts'
import { checkMayWrite, type Identity } from './identity.ts'
import { activeVersion, checkGrant, findNamespace, type ActiveVersion, type MachineName } from './namespaces.ts'
import { fetchReceipt, type Receipt } from './receipt.ts'
import { type ProvenView, type RegistryView } from './registry-view.ts'
import { type Replicas } from './replicas.ts'
import { sealContent, startHead } from './seal-command.ts'
import { type SealedCommand } from './session.ts'

/** A command that was applied. */
export interface Done {
  /** `origin#leaf.command`: the public address, as the replica signed it; proven by the receipt. */
  readonly position: string
  readonly leaf: number
  /** In its bundle, from 0. */
  readonly command: number
  readonly verdict: 'applied'
  /** The log had the same bytes before: an earlier sending had arrived. */
  readonly duplicate: boolean
  /**
   * Waits until a published checkpoint covers the command, and verifies it.
   * @throws as {@link fetchReceipt}; CipherlogError `ERR_NOT_PUBLISHED` if no quorum signs in time: ask again.
   */
  receipt(): Promise<Receipt>
}

/** What is needed to seal one command. */
export interface Sealing {
  readonly identity: Identity
  readonly proven: ProvenView
  readonly namespace: NamespaceDefinition
  readonly active: ActiveVersion
}

interface Prepared {
  readonly command: SealedCommand
  /** The command that puts the envelope on the log, if this one is first. */
  readonly envelopeCommand?: SealedCommand | undefined
  readonly contentKey?: ContentKey
}

export interface WriterOptions {
  readonly identity: Identity | undefined
  readonly view: RegistryView
  readonly replicas: Replicas
  readonly envelopes: Envelopes
  readonly bundles: Bundles | undefined
  readonly trustPolicy: TrustPolicy
  readonly random: Random
}

export interface CommandPlace {
  readonly namespace: string
  readonly machine: MachineName
  readonly op: string
  /** The stored key, if the command has one: remembered, so that no older state of it is accepted later. */
  readonly key?: Uint8Array | undefined
}

export class Writer {
  readonly #options: WriterOptions

  constructor(options: WriterOptions) {
    this.#options = options
  }

  /** Seals `content` under the content key of this client and proposes it. */
  writeContent(place: CommandPlace, content: Uint8Array): Promise<Done> {
    return this.#write(place, (sealing) => this.#sealContent(place, content, sealing))
  }

  /** Proposes what `seal` makes: a command that needs no envelope. */
  write(place: CommandPlace, seal: (sealing: Sealing) => Promise<SealedCommand>): Promise<Done> {
    return this.#write(place, async (sealing) => ({ command: await seal(sealing) }))
  }

  /** Seals without proposing: the envelope's command first if there is none on the log. */
  async sealOnly(place: CommandPlace, content: Uint8Array): Promise<SealedCommand[]> {
    const { command, envelopeCommand } = await this.#sealContent(place, content, await this.sealing(place))
    return envelopeCommand === undefined ? [command] : [envelopeCommand, command]
  }

  /** Everything checked that can be checked before sealing. */
  async sealing({ namespace: name, machine, op }: CommandPlace): Promise<Sealing> {
    const { view } = this.#options
    const identity = this.#identity()
    const { namespace } = await findNamespace(view, name, machine)
    checkMayWrite(identity, view.current)
    await checkGrant(view, identity.client, name, op)
    return { identity, proven: view.current, namespace, active: activeVersion(view.current, namespace.keyset) }
  }

  #identity(): Identity {
    const { identity } = this.#options
    if (identity === undefined) {
      throw new CipherlogError('ERR_IDENTITY_MISSING', 'This log was opened for reading; connect with an identity.')
    }
    return identity
  }

  async #sealContent({ op, key }: CommandPlace, content: Uint8Array, sealing: Sealing): Promise<Prepared> {
    const { envelopes, random } = this.#options
    const { identity, namespace, active, proven } = sealing
    const contentKey = await envelopes.forSealing(identity.client, namespace, active)
    // No await from here until the commands are handed in: nobody may name the envelope before its own command.
    const { keyEpoch } = active
    const head = startHead({ namespace, op, keyEpoch, random, key, envelope: contentKey.envelope })
    const { cluster } = proven.registry
    const command = sealContent({
      cluster,
      client: identity.client,
      head,
      contentKey: contentKey.key,
      content,
      random,
    })
    return { command, contentKey, envelopeCommand: contentKey.takeCommand() }
  }

  async #write(place: CommandPlace, prepare: (sealing: Sealing) => Promise<Prepared>): Promise<Done> {
    const { view } = this.#options
    for (let attempt = 1; ; attempt++) {
      const sealing = await this.sealing(place)
      const { keyEpoch, keyset } = sealing.active
      const outcome = await this.#send(sealing, await prepare(sealing))
      const { verdict, leaf, command } = outcome
      if (verdict === verdicts.applied) return this.#done(place, outcome)
      const sealAgain =
        attempt === 1 &&
        (verdict === verdicts.envelope ||
          (verdict === verdicts.epoch && (await view.past(leaf)).registry.activeEpoch(keyset) !== keyEpoch))
      if (!sealAgain) throw new RejectedError(verdict, this.#positionOf(leaf, command))
    }
  }

  async #send({ active }: Sealing, { command, envelopeCommand, contentKey }: Prepared): Promise<CommandOutcome> {
    const { envelopes } = this.#options
    const bundles = this.#options.bundles!
    const { keyset, keyEpoch } = active
    if (contentKey === undefined) return (await bundles.add([command]))[0]!
    let sent = false
    try {
      const outcomes = await bundles.add(envelopeCommand === undefined ? [command] : [envelopeCommand, command])
      const own = outcomes.at(-1)!
      const envelopeVerdict = envelopeCommand === undefined ? verdicts.applied : outcomes[0]!.verdict
      sent = envelopeVerdict === verdicts.applied && own.verdict !== verdicts.envelope
      if (sent && envelopeCommand !== undefined) envelopes.applied(keyset, keyEpoch, contentKey)
      return own
    } finally {
      // An envelope that may not be on the log is not named again.
      if (!sent) envelopes.forget(keyset, keyEpoch, contentKey.envelope)
    }
  }

  #positionOf(leaf: number, command: number): string {
    return `${this.#options.view.history.origin}#${leaf}.${command}`
  }

  #done({ namespace, key }: CommandPlace, outcome: CommandOutcome): Done {
    const { leaf, command, duplicate } = outcome
    if (key !== undefined) this.#options.view.history.note(namespace, key, { leaf, command })
    return {
      position: this.#positionOf(leaf, command),
      leaf,
      command,
      verdict: 'applied',
      duplicate,
      receipt: () => fetchReceipt(this.#options, outcome),
    }
  }
}

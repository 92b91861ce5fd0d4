/**
 * Heads and bodies of commands (DESIGN §5 "Command head"): what each operation carries, and what its content and
 * proof are bound to.
 */
import { type Random } from '@cipherlog/core'
import { labelledHash, labels, sha256 } from '@cipherlog/crypto/hash'
import { sealValue } from '@cipherlog/crypto/seal'
import {
  contextBytes,
  suites,
  type BodyRef,
  type CommandBodies,
  type CommandHead,
  type NamespaceDefinition,
} from '@cipherlog/format'
import { type SealedCommand } from './session.ts'

/** The head without what is known only once the content is sealed. */
export type HeadStart = Omit<CommandHead, 'ciphertext' | 'proof' | 'wraps'>

/** The parts of a head that say to whom and under what. */
export function startHead(parts: {
  readonly namespace: NamespaceDefinition
  readonly op: string
  readonly keyEpoch: number
  readonly random: Random
  readonly key?: Uint8Array | undefined
  readonly envelope?: Uint8Array | undefined
  readonly circuit?: string | undefined
}): HeadStart {
  const { namespace, op, keyEpoch, random, key, envelope, circuit } = parts
  return {
    namespace: namespace.name,
    op,
    keyset: namespace.keyset,
    keyEpoch,
    suite: namespace.suite,
    commandId: random.bytes(16),
    ...(key === undefined ? {} : { key }),
    ...(envelope === undefined ? {} : { envelope }),
    ...(circuit === undefined ? {} : { circuit }),
  }
}

/** H: what the command's ciphertext and proof are bound to, 32 bytes. */
export function contextOf(cluster: Uint8Array, client: Uint8Array, head: HeadStart): Uint8Array {
  return labelledHash(labels.context, contextBytes(cluster, client, head))
}

/** A command whose head names the digest of each of its bodies. */
export function withBodies(head: HeadStart, bodies: CommandBodies): SealedCommand {
  return {
    head: {
      ...head,
      ...(bodies.ciphertext === undefined ? {} : { ciphertext: refOf(bodies.ciphertext) }),
      ...(bodies.proof === undefined ? {} : { proof: refOf(bodies.proof) }),
      ...(bodies.wraps === undefined ? {} : { wraps: refOf(bodies.wraps) }),
    },
    bodies,
  }
}

/** A command of suite 1: `content` sealed under the envelope's content key. */
export function sealContent(parts: {
  readonly cluster: Uint8Array
  readonly client: Uint8Array
  readonly head: HeadStart
  readonly contentKey: Uint8Array
  readonly content: Uint8Array
  readonly random: Random
}): SealedCommand {
  const { cluster, client, head, contentKey, content, random } = parts
  const context = contextOf(cluster, client, head)
  return withBodies(head, { ciphertext: sealValue({ contentKey, context, content, random }) })
}

/** The command that puts an envelope on the log. */
export function envelopeCommand(parts: {
  /** Any namespace of the keyset where the client may write envelopes. */
  readonly namespace: string
  readonly keyset: Uint8Array
  readonly keyEpoch: number
  /** Encoded key envelope. */
  readonly fixed: Uint8Array
  /** Encoded wraps. */
  readonly wraps: Uint8Array
  readonly random: Random
}): SealedCommand {
  const { namespace, keyset, keyEpoch, fixed, wraps, random } = parts
  const head: HeadStart = {
    namespace,
    op: 'envelope',
    keyset,
    keyEpoch,
    suite: suites.hpkeXwing,
    commandId: random.bytes(16),
    args: fixed,
  }
  return withBodies(head, { wraps })
}

function refOf(body: Uint8Array): BodyRef {
  return { sha256: sha256(body), bytes: body.length }
}

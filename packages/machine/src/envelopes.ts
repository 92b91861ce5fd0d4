/** Key envelopes on the log: who may name which, and what readers are served. */
import { decode, DecodeError, encode, equalBytes } from '@cipherlog/core'
import { labelledHash, labels } from '@cipherlog/crypto/hash'
import {
  keyEnvelope,
  storedEnvelope,
  suites,
  verdicts,
  wraps as wrapsCodec,
  type CommandBodies,
  type CommandHead,
  type StoredEnvelope,
  type Verdict,
} from '@cipherlog/format'
import { hasExactly } from './head-parts.ts'
import { stateKeys, statePrefixes } from './state-keys.ts'
import { decodeStored, type State, type Transaction } from './state.ts'

/** The operation that writes an envelope, in any namespace of its keyset. */
export const envelopeOperation = 'envelope'

export function envelope(
  state: { get(key: Uint8Array): Uint8Array | undefined },
  id: Uint8Array,
): StoredEnvelope | undefined {
  const bytes = state.get(stateKeys.envelope(id))
  return bytes === undefined ? undefined : decodeStored(storedEnvelope, bytes)
}

/** Whether the head of an envelope command has the right parts: pure. */
export function acceptsEnvelope(cluster: Uint8Array, client: Uint8Array, head: CommandHead): boolean {
  if (head.suite !== suites.hpkeXwing || !hasExactly(head, ['args', 'wraps'])) return false
  try {
    const fixed = decode(keyEnvelope, head.args!)
    return (
      equalBytes(fixed.cluster, cluster) &&
      equalBytes(fixed.client, client) &&
      equalBytes(fixed.keyset, head.keyset) &&
      fixed.keyEpoch === head.keyEpoch
    )
  } catch (error) {
    if (error instanceof DecodeError) return false
    throw error
  }
}

/** Stores an envelope; a second one of the same id is rejected, so wraps cannot be replaced. */
export function applyEnvelope(state: Transaction, head: CommandHead, bodies: CommandBodies, leaf: number): Verdict {
  const id = labelledHash(labels.envelopeId, head.args!)
  if (envelope(state, id) !== undefined) return verdicts.envelope
  state.put(
    stateKeys.envelope(id),
    encode(storedEnvelope, {
      envelope: decode(keyEnvelope, head.args!),
      // A replay from a trail has no wraps: they decide no verdict.
      wraps: bodies.wraps ?? new Uint8Array(0),
      leaf,
    }),
  )
  return verdicts.applied
}

/** Whether `head` may name its envelope: made by the same client under the same keyset and epoch. */
export function mayUseEnvelope(state: Transaction, client: Uint8Array, head: CommandHead): boolean {
  if (head.envelope === undefined) return false
  const stored = envelope(state, head.envelope)
  return (
    stored !== undefined &&
    equalBytes(stored.envelope.client, client) &&
    equalBytes(stored.envelope.keyset, head.keyset) &&
    stored.envelope.keyEpoch === head.keyEpoch
  )
}

/** Strict check of the wraps body, on decoding: count, lengths, canonical form. @throws DecodeError */
export function checkWraps(bytes: Uint8Array): void {
  decode(wrapsCodec, bytes, 131_072)
}

/** Every envelope of a state with its id and wraps: what a backup keeps beside the trail. */
export async function* storedEnvelopes(
  state: Pick<State, 'iterate'>,
): AsyncGenerator<{ readonly id: Uint8Array; readonly wraps: Uint8Array }> {
  for await (const [key, value] of state.iterate(statePrefixes.envelopes)) {
    yield { id: key.slice(statePrefixes.envelopes.length), wraps: decodeStored(storedEnvelope, value).wraps }
  }
}

/**
 * Gives the envelopes of a state that was computed from a trail their wraps.
 * @param wrapsOf - by id; to be checked by the caller against what their writer signed.
 */
export async function fillWraps(state: State, wrapsOf: (id: Uint8Array) => Promise<Uint8Array>): Promise<void> {
  const found: [Uint8Array, Uint8Array][] = []
  for await (const pair of state.iterate(statePrefixes.envelopes)) found.push(pair)
  for (const [key, value] of found) {
    const wraps = await wrapsOf(key.slice(statePrefixes.envelopes.length))
    checkWraps(wraps)
    state.put(key, encode(storedEnvelope, { ...decodeStored(storedEnvelope, value), wraps }))
  }
}

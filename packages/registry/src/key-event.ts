/**
 * Key events by themselves: make them, sign them, open them, and check their place in the chain and their
 * signatures (DESIGN §4 "Key events"). What an event may do is checked in {@link file://./check-operation.ts}.
 *
 * Invariant: `previous` ties every event to all before it, so k signatures over one event vouch for the chain.
 */
import { CipherlogError, decode, encode, equalBytes } from '@cipherlog/core'
import { labels, sha256 } from '@cipherlog/crypto/hash'
import {
  formatVersion,
  keyEvent as keyEventCodec,
  keyEventBytesMax,
  signedKeyEvent,
  type KeyEvent,
  type KeyOperation,
  type KeyQuorum,
  type RegistryHead,
  type Seen,
  type SignedKeyEvent,
} from '@cipherlog/format'
import {
  checkSignedByOperators,
  signAsOperator,
  type OperatorSignature,
  type OperatorSigner,
} from './operator-signatures.ts'
import { refuse } from './refusal.ts'

/** Bytes of a signed key event: the event and at most 16 signatures. */
export const signedKeyEventBytesMax = keyEventBytesMax + 4096

/** Where a chain ends: what the next event must name. A `Registry` is one. */
export interface ChainPosition {
  readonly cluster: Uint8Array
  /** Number of the key event that set the operators; 0: genesis. */
  readonly operatorSetVersion: number
  readonly head: RegistryHead
}

export interface OpenedKeyEvent {
  readonly event: KeyEvent
  /** What the operators signed. */
  readonly eventBytes: Uint8Array
  /** SHA-256 of `eventBytes`: the `previous` of the next event. */
  readonly digest: Uint8Array
  /** A copy of what was opened: the bytes of the leaf. */
  readonly signed: Uint8Array
  readonly signatures: SignedKeyEvent[1]
}

/** The bytes that operators sign. */
export function buildKeyEvent(parts: {
  /** A `Registry`, or {@link positionAfter} an event built before, to sign a chain in one sitting. */
  readonly after: ChainPosition
  readonly operation: KeyOperation
  /** The newest checkpoint that the signers have verified. */
  readonly seen: Seen
  /** Log time, milliseconds. */
  readonly notAfter: number
}): Uint8Array {
  const { cluster, operatorSetVersion, head } = parts.after
  return encode(keyEventCodec, {
    version: formatVersion,
    cluster,
    operatorSetVersion,
    number: head.number + 1,
    previous: head.digest,
    notAfter: parts.notAfter,
    seen: parts.seen,
    operation: parts.operation,
  })
}

/** The chain's end once this event is applied. No event of this version changes the operators. */
export function positionAfter(eventBytes: Uint8Array): ChainPosition {
  const { cluster, operatorSetVersion, number } = decode(keyEventCodec, eventBytes, keyEventBytesMax)
  return { cluster, operatorSetVersion, head: { number, digest: sha256(eventBytes) } }
}

/** A signed key event. Operators elsewhere sign by {@link operatorSignature}; {@link assembleKeyEvent} joins. */
export function signKeyEvent(eventBytes: Uint8Array, signers: readonly OperatorSigner[]): Uint8Array {
  return assembleKeyEvent(
    eventBytes,
    signers.map((signer) => operatorSignature(eventBytes, signer)),
  )
}

/** One operator's signature over an event, with its place. */
export function operatorSignature(eventBytes: Uint8Array, signer: OperatorSigner): OperatorSignature {
  return signAsOperator(labels.keyEvent, eventBytes, signer)
}

/** CBOR [event bytes, signatures]. Nothing is checked here. */
export function assembleKeyEvent(eventBytes: Uint8Array, signatures: SignedKeyEvent[1]): Uint8Array {
  return encode(signedKeyEvent, [eventBytes, signatures])
}

/**
 * Decodes a signed key event, which is attacker-controlled; checks nothing but its form.
 * @throws {@link RefusedError} `ERR_REGISTRY_UNDECODABLE`.
 */
export function decodeKeyEvent(signed: Uint8Array): OpenedKeyEvent {
  if (signed.length > signedKeyEventBytesMax) {
    refuse('ERR_REGISTRY_UNDECODABLE', `A signed key event has at most ${signedKeyEventBytesMax} bytes.`)
  }
  const copy = new Uint8Array(signed)
  try {
    const [eventBytes, signatures] = decode(signedKeyEvent, copy, signedKeyEventBytesMax)
    const event = decode(keyEventCodec, eventBytes, keyEventBytesMax)
    return { event, eventBytes, digest: sha256(eventBytes), signed: copy, signatures }
  } catch (cause) {
    if (!(cause instanceof CipherlogError)) throw cause
    refuse('ERR_REGISTRY_UNDECODABLE', `The bytes are not a signed key event: ${cause.message}`, cause)
  }
}

/**
 * Checks that an event is the next of its chain.
 * @throws {@link RefusedError} `ERR_REGISTRY_CLUSTER`, `ERR_REGISTRY_NUMBER`, `ERR_REGISTRY_PREVIOUS`,
 * `ERR_REGISTRY_OPERATOR_SET`.
 */
export function checkFollows({ event }: OpenedKeyEvent, { cluster, operatorSetVersion, head }: ChainPosition): void {
  checkCluster(event, cluster)
  if (event.number !== head.number + 1) {
    refuse(
      'ERR_REGISTRY_NUMBER',
      `The key event has number ${event.number}, the next is ${head.number + 1}; fetch the newest event and sign again.`,
    )
  }
  if (!equalBytes(event.previous, head.digest)) {
    refuse('ERR_REGISTRY_PREVIOUS', `The key event follows another event ${head.number}; fetch it and sign again.`)
  }
  checkOperatorSet(event, operatorSetVersion)
}

/** @throws {@link RefusedError} `ERR_REGISTRY_CLUSTER`. */
export function checkCluster(event: KeyEvent, cluster: Uint8Array): void {
  if (!equalBytes(event.cluster, cluster)) {
    refuse('ERR_REGISTRY_CLUSTER', 'The key event is for another cluster; send it there.')
  }
}

/** @throws {@link RefusedError} `ERR_REGISTRY_OPERATOR_SET`. */
export function checkOperatorSet(event: KeyEvent, operatorSetVersion: number): void {
  if (event.operatorSetVersion !== operatorSetVersion) {
    refuse(
      'ERR_REGISTRY_OPERATOR_SET',
      `The key event is signed for operator set ${event.operatorSetVersion}, in force is ${operatorSetVersion}; have the present operators sign.`,
    )
  }
}

/**
 * Checks that k distinct operators signed the event, and nobody else.
 * @throws {@link RefusedError} `ERR_REGISTRY_SIGNATURES`.
 */
export function checkOperatorSignatures({ eventBytes, signatures }: OpenedKeyEvent, operators: KeyQuorum): void {
  checkSignedByOperators('key event', labels.keyEvent, eventBytes, signatures, operators)
}

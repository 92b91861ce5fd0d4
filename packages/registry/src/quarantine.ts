/**
 * Quarantines (DESIGN §3 "Resource failures are no verdicts"): k operators set aside one entry of a group's log, by
 * index and digest. What one means for the entry, the ledger decides; here it is made, opened and its signatures
 * checked, which depends on nothing but the registry's operators.
 */
import { decode, encode, equalBytes, RefusedError } from '@cipherlog/core'
import { labels } from '@cipherlog/crypto/hash'
import {
  formatVersion,
  quarantine as quarantineCodec,
  signedQuarantine,
  type KeyQuorum,
  type Quarantine,
} from '@cipherlog/format'
import {
  checkSignedByOperators,
  signAsOperator,
  type OperatorSignature,
  type OperatorSigner,
} from './operator-signatures.ts'
import { refuse } from './refusal.ts'

/** A group's log, and who may set its entries aside. A `Registry` has the latter. */
export interface QuarantineContext {
  readonly cluster: Uint8Array
  readonly group: Uint8Array
  readonly generation: number
  readonly operatorSetVersion: number
  readonly operators: KeyQuorum
}

/** The bytes that operators sign. */
export function buildQuarantine(
  context: Omit<QuarantineContext, 'operators'>,
  entry: {
    /** Log index. */
    readonly index: number
    /** SHA-256 of the entry's signed CBOR array, 32 bytes. */
    readonly digest: Uint8Array
  },
): Uint8Array {
  const { cluster, group, generation, operatorSetVersion } = context
  const { index, digest } = entry
  return encode(quarantineCodec, {
    version: formatVersion,
    cluster,
    group,
    generation,
    index,
    digest,
    operatorSetVersion,
  })
}

/** One operator's signature over a quarantine, with its place. */
export function quarantineSignature(quarantineBytes: Uint8Array, signer: OperatorSigner): OperatorSignature {
  return signAsOperator(labels.quarantine, quarantineBytes, signer)
}

/** CBOR [quarantine bytes, signatures]. Nothing is checked here. */
export function assembleQuarantine(quarantineBytes: Uint8Array, signatures: readonly OperatorSignature[]): Uint8Array {
  return encode(signedQuarantine, [quarantineBytes, [...signatures]])
}

/** A quarantine signed by operators whose keys are at hand. */
export function signQuarantine(quarantineBytes: Uint8Array, signers: readonly OperatorSigner[]): Uint8Array {
  return assembleQuarantine(
    quarantineBytes,
    signers.map((signer) => quarantineSignature(quarantineBytes, signer)),
  )
}

/**
 * Opens a signed quarantine, which is attacker-controlled: of this log, signed by k operators.
 * @throws {@link DecodeError}; {@link RefusedError} `ERR_OTHER_CLUSTER`, `ERR_OTHER_GROUP`,
 * `ERR_REGISTRY_OPERATOR_SET`, `ERR_REGISTRY_SIGNATURES`.
 */
export function openQuarantine(signed: Uint8Array, context: QuarantineContext): Quarantine {
  const [bytes, signatures] = decode(signedQuarantine, signed)
  const quarantine = decode(quarantineCodec, bytes)
  if (!equalBytes(quarantine.cluster, context.cluster)) {
    throw new RefusedError('ERR_OTHER_CLUSTER', 'The quarantine is for another cluster; send it there.')
  }
  if (!equalBytes(quarantine.group, context.group) || quarantine.generation !== context.generation) {
    throw new RefusedError('ERR_OTHER_GROUP', 'The quarantine is for another group or generation; sign one for this.')
  }
  if (quarantine.operatorSetVersion !== context.operatorSetVersion) {
    refuse(
      'ERR_REGISTRY_OPERATOR_SET',
      `The quarantine is signed for operator set ${quarantine.operatorSetVersion}, in force is ${context.operatorSetVersion}; have the present operators sign.`,
    )
  }
  checkSignedByOperators('quarantine', labels.quarantine, bytes, signatures, context.operators)
  return quarantine
}

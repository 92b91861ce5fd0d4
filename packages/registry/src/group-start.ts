/**
 * Group starts (DESIGN §4 "Restore"): k operators let a log go on as the next generation from the end of a backup.
 * Here one is made, opened and held against the log that it continues.
 *
 * What it cannot show: that the old log ended there. Whoever saw more of it notices (a client's stored state, a
 * receipt), and an audit with the old trail checks everything up to the end.
 */
import { CipherlogError, decode, encode, equalBytes, toHex, VerificationError } from '@cipherlog/core'
import { labels, sha256 } from '@cipherlog/crypto/hash'
import {
  formatVersion,
  groupStart as groupStartCodec,
  groupStartBytesMax,
  signedGroupStart,
  type CosignerSet,
  type GroupStart,
  type KeyQuorum,
  type RegistryHead,
  type Seen,
  type SignedGroupStart,
} from '@cipherlog/format'
import { checkNewCosigners } from './check-cosigner-set.ts'
import {
  checkSignedByOperators,
  signAsOperator,
  type OperatorSignature,
  type OperatorSigner,
} from './operator-signatures.ts'
import { usesOfCosignerSet } from './key-uses.ts'
import { ownCopy } from './own-copy.ts'
import { type RegistryState } from './registry-state.ts'

/** Bytes of a signed group start. */
export const signedGroupStartBytesMax = groupStartBytesMax + 4096

export interface OpenedGroupStart {
  readonly start: GroupStart
  /** What the operators signed. */
  readonly startBytes: Uint8Array
  /** SHA-256 of `startBytes`. */
  readonly digest: Uint8Array
  /** A copy of what was opened: the bytes of leaf 0. */
  readonly signed: Uint8Array
  readonly signatures: SignedGroupStart[1]
}

/** The log that a group start continues. */
export interface ContinuedLog extends Pick<RegistryState, 'cluster' | 'keyUses'> {
  readonly group: Uint8Array
  readonly generation: number
  readonly origin: string
  readonly operatorSetVersion: number
  readonly operators: KeyQuorum
}

/** The bytes that operators sign. */
export function buildGroupStart(parts: {
  /** The log as the backup has it. */
  readonly log: Pick<ContinuedLog, 'cluster' | 'group' | 'generation' | 'origin' | 'operatorSetVersion'>
  /** Default: the one after; above every generation that ever was, even one that is lost as a whole. */
  readonly generation?: number
  /** Size and root of the backup's checkpoint. */
  readonly end: Seen
  /** Of the batch record that ends it. */
  readonly registryHead: RegistryHead
  /** The new replicas, with keys that nothing ever had. */
  readonly cosigners: CosignerSet
  /** [index of the replica, signature by its answer key], `possessionOf` each. */
  readonly possessions: GroupStart['possessions']
  /** Log time, milliseconds: at least the old log's last. */
  readonly startedAt: number
}): Uint8Array {
  const { log, end, registryHead, cosigners, possessions, startedAt } = parts
  return encode(groupStartCodec, {
    version: formatVersion,
    cluster: log.cluster,
    group: log.group,
    generation: parts.generation ?? log.generation + 1,
    oldOrigin: log.origin,
    end,
    registryHead,
    operatorSetVersion: log.operatorSetVersion,
    cosigners,
    possessions,
    startedAt,
  })
}

/** One operator's signature over a group start, with its place. */
export function groupStartSignature(startBytes: Uint8Array, signer: OperatorSigner): OperatorSignature {
  return signAsOperator(labels.groupStart, startBytes, signer)
}

/** CBOR [group start bytes, signatures]. Nothing is checked here. */
export function assembleGroupStart(startBytes: Uint8Array, signatures: readonly OperatorSignature[]): Uint8Array {
  return encode(signedGroupStart, [startBytes, [...signatures]])
}

/** A group start signed by operators whose keys are at hand. */
export function signGroupStart(startBytes: Uint8Array, signers: readonly OperatorSigner[]): Uint8Array {
  return assembleGroupStart(
    startBytes,
    signers.map((signer) => groupStartSignature(startBytes, signer)),
  )
}

/** Decodes a signed group start, which is attacker-controlled; checks nothing but its form. @throws DecodeError. */
export function openGroupStart(bytes: Uint8Array): OpenedGroupStart {
  const signed = ownCopy(bytes, signedGroupStartBytesMax, 'signed group start')
  const [startBytes, signatures] = decode(signedGroupStart, signed)
  return { start: decode(groupStartCodec, startBytes), startBytes, digest: sha256(startBytes), signed, signatures }
}

/**
 * Checks that operators let this very log go on so.
 * @throws VerificationError `ERR_VERIFY_GROUP_START`.
 */
export function checkGroupStart(opened: OpenedGroupStart, log: ContinuedLog): void {
  const { start, startBytes, signatures } = opened
  if (!equalBytes(start.cluster, log.cluster)) throw badStart('It is for another cluster')
  if (!equalBytes(start.group, log.group)) throw badStart('It is for another group')
  if (start.oldOrigin !== log.origin) throw badStart(`It continues ${start.oldOrigin}, not ${log.origin}`)
  if (start.generation <= log.generation) {
    throw badStart(`Generation ${start.generation} does not follow generation ${log.generation}`)
  }
  if (start.operatorSetVersion !== log.operatorSetVersion) throw badStart('It is signed for another operator set')
  // A replica that lives on from the old log would take part in both.
  if (usesOfCosignerSet(start.cosigners).some(({ publicKey }) => log.keyUses.has(toHex(publicKey)))) {
    throw badStart('It names a key that an earlier replica had, and restored replicas have new ones')
  }
  try {
    checkSignedByOperators('group start', labels.groupStart, startBytes, signatures, log.operators)
    checkNewCosigners(log, { set: start.cosigners, possessions: start.possessions })
  } catch (cause) {
    if (!(cause instanceof CipherlogError)) throw cause
    throw badStart(cause.message.replace(/\.$/, ''), cause)
  }
}

/** A group start that does not hold. */
export function badStart(what: string, cause?: CipherlogError): VerificationError {
  return new VerificationError(
    'ERR_VERIFY_GROUP_START',
    `The group start does not hold: ${what}; have the operators sign one for this backup.`,
    { cause, details: cause === undefined ? {} : { cause: cause.code } },
  )
}

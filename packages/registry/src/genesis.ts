/**
 * Genesis: the root of all trust, leaf 0 of group 0 (DESIGN §4). Its SHA-256 is the cluster's name.
 *
 * It stands when every operator, recovery and answer key listed in it has proven possession; log and cosigner keys
 * prove themselves by the first checkpoint.
 */
import { decode, encode, toHex, VerificationError } from '@cipherlog/core'
import { sha256 } from '@cipherlog/crypto/hash'
import { publicKeyOf } from '@cipherlog/crypto/signature'
import {
  genesis as genesisCodec,
  roles,
  signedGenesis as signedGenesisCodec,
  type Genesis,
  type KeyQuorum,
  type SignedGenesis,
} from '@cipherlog/format'
import { possessionOf, provesPossession } from './claims.ts'
import { problemOfCosignerSet } from './cosigner-sets.ts'
import { problemOfKeyUses, usesOfGenesis } from './key-uses.ts'
import { ownCopy } from './own-copy.ts'
import { knowsRules, problemOfCircuits, unknownRules } from './rules.ts'

/** Bytes of a signed genesis, as in policy chains. */
export const signedGenesisBytesMax = 270_000

export type Possession = SignedGenesis[1][number]

export interface OpenedGenesis {
  readonly genesis: Genesis
  readonly genesisBytes: Uint8Array
  /** SHA-256 of `genesisBytes`. */
  readonly cluster: Uint8Array
  /** A copy of what was opened. */
  readonly signed: Uint8Array
}

/**
 * Opens and checks a signed genesis. Whether it is the pinned one is for the caller to compare.
 * @throws {@link DecodeError} `ERR_DECODE_*`.
 * @throws {@link VerificationError} `ERR_VERIFY_GENESIS_QUORUM`, `ERR_VERIFY_GENESIS_KEYS`,
 * `ERR_VERIFY_GENESIS_POSSESSION`, `ERR_VERIFY_GENESIS_CIRCUITS`, `ERR_VERIFY_GENESIS_CEREMONY`.
 * @throws {@link CipherlogError} `ERR_RULES_UNKNOWN` if this software does not know its rules.
 */
export function openGenesis(signedGenesis: Uint8Array): OpenedGenesis {
  const signed = ownCopy(signedGenesis, signedGenesisBytesMax, 'signed genesis')
  const [genesisBytes, possessions] = decode(signedGenesisCodec, signed)
  const genesis = decode(genesisCodec, genesisBytes)
  const cluster = sha256(genesisBytes)
  if (!knowsRules(genesis.rulesVersion)) {
    throw unknownRules(`The genesis asks for rules ${genesis.rulesVersion}`, genesis.rulesVersion)
  }
  checkQuorums(genesis)
  checkCircuits(genesis)
  const problem = problemOfKeyUses(new Map(), usesOfGenesis(genesis))
  if (problem !== undefined) throw invalid('ERR_VERIFY_GENESIS_KEYS', problem.message, problem.cause)
  checkPossessions(genesis, cluster, possessions)
  return { genesis, genesisBytes, cluster, signed }
}

/** The cluster's name: SHA-256 of the genesis. */
export function clusterOf(genesis: Genesis): Uint8Array {
  return sha256(encode(genesisCodec, genesis))
}

/** The cluster that a signed genesis would found; nothing else is checked. @throws {@link DecodeError}. */
export function clusterOfSigned(signedGenesis: Uint8Array): Uint8Array {
  return sha256(decode(signedGenesisCodec, signedGenesis, signedGenesisBytesMax)[0])
}

/**
 * A signed genesis from its parts, for keys on different machines: each holder hands in `[role, index, signature]`,
 * the signature by {@link possessionOf} with {@link clusterOf} the genesis. Nothing is checked here.
 */
export function assembleGenesis(genesis: Genesis, possessions: readonly Possession[]): Uint8Array {
  return encode(signedGenesisCodec, [encode(genesisCodec, genesis), [...possessions]])
}

/**
 * Signs a genesis whose keys are all at hand.
 * @param secretKeys - 32-byte seeds of every operator, recovery and answer key, in any order.
 * @throws RangeError if one is missing.
 */
export function signGenesis(genesis: Genesis, secretKeys: readonly Uint8Array[]): Uint8Array {
  const cluster = clusterOf(genesis)
  const secretOf = new Map(secretKeys.map((secretKey) => [toHex(publicKeyOf(secretKey)), secretKey]))
  const possessions = possessionsNeeded(genesis).map(({ role, index, publicKey }): Possession => {
    const secretKey = secretOf.get(toHex(publicKey))
    if (secretKey === undefined) throw new RangeError(`the secret of key ${index} of role ${role} is missing`)
    return [role, index, possessionOf(secretKey, role, cluster)]
  })
  return assembleGenesis(genesis, possessions)
}

/** The keys that must prove themselves beside the genesis, with their place in it. */
function possessionsNeeded({ operators, recovery, cosigners }: Genesis) {
  return [
    ...operators.keys.map((publicKey, index) => ({ role: roles.operator, index, publicKey })),
    ...(recovery?.keys.keys ?? []).map((publicKey, index) => ({ role: roles.recovery, index, publicKey })),
    ...cosigners.members.map(({ answerKey }, index) => ({ role: roles.answer, index, publicKey: answerKey })),
  ]
}

function checkPossessions(genesis: Genesis, cluster: Uint8Array, possessions: readonly Possession[]): void {
  const needed = possessionsNeeded(genesis)
  if (possessions.length !== needed.length) {
    throw invalid('ERR_VERIFY_GENESIS_POSSESSION', `Expected ${needed.length} proofs of possession, one for each key.`)
  }
  for (const { role, index, publicKey } of needed) {
    const proof = possessions.find(([proofRole, proofIndex]) => proofRole === role && proofIndex === index)
    if (proof === undefined || !provesPossession(publicKey, role, cluster, proof[2])) {
      throw invalid(
        'ERR_VERIFY_GENESIS_POSSESSION',
        `Key ${index} of role ${role} has not proven possession; have its holder sign this genesis.`,
      )
    }
  }
}

function checkQuorums({ operators, recovery, cosigners }: Genesis): void {
  const problem =
    problemOfQuorum('operators', operators) ??
    (recovery === undefined ? undefined : problemOfQuorum('recovery keys', recovery.keys)) ??
    problemOfCosignerSet(cosigners)
  if (problem !== undefined) throw invalid('ERR_VERIFY_GENESIS_QUORUM', problem)
}

function problemOfQuorum(what: string, { threshold, keys }: KeyQuorum): string | undefined {
  if (threshold <= keys.length) return undefined
  return `${threshold} of ${keys.length} ${what} can never sign; lower the threshold.`
}

function checkCircuits({ mode, circuits }: Genesis): void {
  const problem = problemOfCircuits(mode, circuits)
  if (problem === undefined) return
  throw invalid(
    problem.kind === 'twice' ? 'ERR_VERIFY_GENESIS_CIRCUITS' : 'ERR_VERIFY_GENESIS_CEREMONY',
    problem.message,
  )
}

function invalid(code: string, message: string, cause?: unknown): VerificationError {
  return new VerificationError(code, message, { cause })
}

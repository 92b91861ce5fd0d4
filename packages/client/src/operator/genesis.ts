/**
 * Making a cluster: the genesis, signed by the holders of its keys, and the trust policy that pins it.
 *
 * Answer keys stay on their replicas: each proves possession for this very genesis, here or elsewhere.
 */
import { systemClock, type Clock } from '@cipherlog/core'
import { publicKeyOf } from '@cipherlog/crypto/signature'
import {
  formatVersion,
  group0,
  modes,
  roles,
  type Circuit,
  type CosignerMember,
  type Genesis,
  type Limits,
  type TrustPolicy,
} from '@cipherlog/format'
import {
  assembleGenesis,
  clusterOf,
  majorityOf,
  openGenesis,
  possessionOf,
  rulesVersionMax,
  type Possession,
} from '@cipherlog/registry'

/** What a cluster gets unless it says otherwise. */
export const defaultLimits: Limits = {
  sessionsPerClientMax: 16,
  bundleBytesMax: 1_048_576,
  bodiesBytesMax: 8_388_608,
  slicesPerCellMax: 16,
  maxClockErrorMs: 500,
  batchIntervalMs: 80,
  snapshotEveryLeaves: 50_000,
}

export interface GenesisOptions {
  /** `[a-z0-9.-]+(/[a-z0-9.-]+)*`, at most 128 bytes: names the log for ever, publicly. */
  readonly name: string
  readonly mode: keyof typeof modes
  /** The replicas' public keys, 1 to 7, from `cipherlog-node keygen`. */
  readonly members: readonly CosignerMember[]
  /** Replicas whose cosignatures make a checkpoint count; default: a majority. */
  readonly quorum?: number
  /**
   * A replica's proof of possession of its answer key: `possessionOf(answerSecret, roles.answer, cluster)`, 64 bytes.
   * Called once for each member.
   */
  readonly answerPossession: (claim: {
    readonly cluster: Uint8Array
    readonly member: CosignerMember
    readonly index: number
  }) => Uint8Array | Promise<Uint8Array>
  /** Ed25519 seeds of the operators, in the order of their indexes, and how many must sign. */
  readonly operators: { readonly threshold: number; readonly secretKeys: readonly Uint8Array[] }
  /** Offline keys that may replace the operators after a delay of log time. */
  readonly recovery?: {
    readonly threshold: number
    readonly secretKeys: readonly Uint8Array[]
    readonly delayMs: number
  }
  /** Circuits whose proofs are accepted; `production` refuses those without a ceremony. */
  readonly circuits?: readonly Circuit[]
  readonly limits?: Partial<Limits>
  /** Default: the newest that this software knows. */
  readonly rulesVersion?: number
  readonly clock?: Clock
}

export interface CreatedGenesis {
  /** CBOR [genesis, possessions]: the file that every replica starts from. */
  readonly signedGenesis: Uint8Array
  readonly genesis: Genesis
  /** SHA-256 of the genesis, 32 bytes: the cluster's id. */
  readonly cluster: Uint8Array
  /** Pins the genesis, without outside witnesses; add them before handing it out, if there are any. */
  readonly trustPolicy: TrustPolicy
}

/**
 * Makes and checks a genesis.
 * @throws RangeError on values that the format does not take; VerificationError `ERR_VERIFY_GENESIS_*` if it would
 * be refused: keys used twice, a quorum below a majority, a bad proof of possession, a development circuit.
 */
export async function createGenesis(options: GenesisOptions): Promise<CreatedGenesis> {
  const { members, operators, recovery, clock = systemClock } = options
  const genesis: Genesis = {
    version: formatVersion,
    createdAt: clock.now(),
    mode: modes[options.mode],
    name: options.name,
    rulesVersion: options.rulesVersion ?? rulesVersionMax,
    limits: { ...defaultLimits, ...options.limits },
    operators: { threshold: operators.threshold, keys: operators.secretKeys.map(publicKeyOf) },
    cosigners: { members: [...members], quorum: options.quorum ?? majorityOf(members.length) },
    circuits: [...(options.circuits ?? [])],
    ...(recovery === undefined
      ? {}
      : {
          recovery: {
            keys: { threshold: recovery.threshold, keys: recovery.secretKeys.map(publicKeyOf) },
            delayMs: recovery.delayMs,
          },
        }),
  }
  const cluster = clusterOf(genesis)
  const ownPossessions = (role: 1 | 2, secretKeys: readonly Uint8Array[]) =>
    secretKeys.map((secretKey, index): Possession => [role, index, possessionOf(secretKey, role, cluster)])
  const answers = await Promise.all(
    members.map(async (member, index): Promise<Possession> => [
      roles.answer,
      index,
      await options.answerPossession({ cluster, member, index }),
    ]),
  )
  const signedGenesis = assembleGenesis(genesis, [
    ...ownPossessions(roles.operator, operators.secretKeys),
    ...ownPossessions(roles.recovery, recovery?.secretKeys ?? []),
    ...answers,
  ])
  openGenesis(signedGenesis)
  const trustPolicy: TrustPolicy = {
    version: formatVersion,
    cluster,
    group: group0,
    generation: 0,
    witnesses: [],
    witnessesRequired: 0,
  }
  return { signedGenesis, genesis, cluster, trustPolicy }
}

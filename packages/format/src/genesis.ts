/**
 * Genesis: leaf 0 of group 0, the root of all trust. `cluster` = SHA-256 of its bytes.
 *
 * It is stored and published as CBOR [genesis bytes, proofs of possession]: each proof is a signature under
 * label `pop` over CBOR [cluster, role, key] by an operator, recovery or answer key that the genesis lists.
 * They stand beside the genesis because they sign its hash.
 */
import { array, bytes, constant, enumeration, record, text, tuple, uint, type TypeOf } from '@cipherlog/core'
import { circuitId, cosignerSet, digest, formatVersion, keyQuorum, signature, timeMs } from './common.ts'

export const modes = { development: 1, production: 2 } as const

/** Cluster and origin names: a C2SP origin without a scheme. */
export const clusterName = text(128, /^[a-z0-9.-]+(\/[a-z0-9.-]+)*$/)

/** Limits are facts of the log, never of a node's configuration: every replica must decide alike. */
export const limits = record('limits', {
  /** Open sessions of one client; the one whose last bundle is oldest is evicted. */
  sessionsPerClientMax: [1, uint(1024, 1)],
  /** Signed bundle bytes; at most 1 MiB. */
  bundleBytesMax: [2, uint(1_048_576, 1024)],
  /** Bodies of one bundle together; at most 8 MiB, so that 256 leaves stay addressable by u32 offsets. */
  bodiesBytesMax: [3, uint(8_388_608, 1024)],
  /** Slices (key epochs) of one cell. */
  slicesPerCellMax: [4, uint(256, 1)],
  /** How far a leader's clock may stand from the quorum's lower median before log time stops following it. */
  maxClockErrorMs: [5, uint(60_000)],
  /** A writer awaiting a receipt makes a mark at most this often. */
  batchIntervalMs: [6, uint(60_000, 1)],
  /** A snapshot is due at the first batch record after each multiple of this many leaves. */
  snapshotEveryLeaves: [7, uint(1_000_000_000, 1)],
})
export type Limits = TypeOf<typeof limits>

/** A circuit that proofs may use: its verification key and where its proving key came from. */
export const circuit = record(
  'circuit',
  {
    id: [1, circuitId],
    r1cs: [2, digest],
    /** alpha ‖ beta ‖ gamma ‖ delta ‖ IC, compressed; 288 bytes for one public signal. */
    verificationKey: [3, bytes(288, 16_384)],
  },
  {
    /** SHA-256 of the ceremony's transcript; absent: a development ceremony, which `production` refuses. */
    ceremony: [4, digest],
  },
)
export type Circuit = TypeOf<typeof circuit>

export const genesis = record(
  'genesis',
  {
    version: [0, constant(formatVersion)],
    createdAt: [1, timeMs],
    mode: [2, enumeration(modes)],
    name: [3, clusterName],
    rulesVersion: [4, uint(0xffff, 1)],
    limits: [5, limits],
    operators: [6, keyQuorum],
    cosigners: [8, cosignerSet],
    circuits: [9, array(circuit, 64)],
  },
  { recovery: [7, record('recovery', { keys: [1, keyQuorum], delayMs: [2, uint(31_536_000_000)] })] },
)
export type Genesis = TypeOf<typeof genesis>

/** [role, index of the key in its list, signature]. */
export const roleSignature = tuple(uint(2, 1), uint(15), signature)
export const possession = tuple(uint(3, 1), uint(15), signature)

export const signedGenesis = tuple(bytes(1, 262_144), array(possession, 64))
export type SignedGenesis = TypeOf<typeof signedGenesis>

/** What a key signs to prove that its holder has the secret: CBOR [cluster, role, key], label `pop`. */
export const possessionClaim = tuple(digest, uint(5, 1), bytes(32))

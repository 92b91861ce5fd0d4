/**
 * Who must have signed a checkpoint: the log key and the quorum of each set that governs its size, and as many
 * outside witnesses as the trust policy asks for.
 *
 * Thresholds count distinct keys; the note's reader counts each key once.
 */
import { PolicyError, toHex } from '@cipherlog/core'
import { type CosignerSet } from '@cipherlog/format'
import {
  cosignatureKeyType,
  cosignerName,
  ed25519KeyType,
  formatVkey,
  type NoteSignature,
  openCheckpoint,
  type OpenedCheckpoint,
  type VerifierKey,
} from '@cipherlog/merkle/verify'

/** Times at which a set's replicas say they cosigned. */
export interface SetCosignatures {
  readonly quorum: number
  /** Whole seconds since the Unix epoch, newest first; one for each replica that signed, at least `quorum`. */
  readonly timesSeconds: readonly number[]
}

export interface VerifiedCheckpoint {
  readonly origin: string
  readonly size: number
  /** 32 bytes. */
  readonly rootHash: Uint8Array
  /** The q-th newest cosignature time, whole seconds; of two sets the older. */
  readonly cosignedAtSeconds: number
  /** Of each set that governs the size: one, or two up to a transition size. */
  readonly cosignatures: readonly SetCosignatures[]
  /** How many outside witnesses of the trust policy have signed. */
  readonly witnesses: number
  /** Lines by keys that nothing is known of: not checked, they mean nothing. */
  readonly unknownLines: readonly NoteSignature[]
}

/** What a checkpoint is held against. */
export interface CheckpointDemand {
  /** The origin, which names the log keys. */
  readonly origin: string
  /** Names the cosigners. */
  readonly clusterName: string
  /** All must hold. */
  readonly sets: readonly CosignerSet[]
  readonly witnesses: readonly VerifierKey[]
  readonly witnessesRequired: number
}

/**
 * Opens a checkpoint note and holds it against a demand.
 * @throws {@link DecodeError}, {@link VerificationError} `ERR_VERIFY_NOTE_*`.
 * @throws {@link PolicyError} `ERR_POLICY_ORIGIN` (no log key signed it), `ERR_POLICY_LOG_KEY`,
 * `ERR_POLICY_QUORUM`, `ERR_POLICY_WITNESSES`.
 */
export function verifyCheckpoint(note: string, demand: CheckpointDemand): VerifiedCheckpoint {
  const sets = demand.sets.map((set) => ({ quorum: set.quorum, ...noteKeysOf(set, demand) }))
  const opened = openCheckpoint(note, {
    log: sets.flatMap(({ log }) => log),
    cosigners: [...sets.flatMap(({ cosigners }) => cosigners), ...demand.witnesses],
  })
  const cosignatures = sets.map(({ quorum, log, cosigners }): SetCosignatures => {
    if (!opened.logSignatures.some(({ key }) => includesKey(log, key))) {
      throw new PolicyError(
        'ERR_POLICY_LOG_KEY',
        'The checkpoint lacks a log signature by each cosigner set of its size; fetch a complete one.',
        { details: { size: opened.checkpoint.size } },
      )
    }
    const timesSeconds = timesOf(opened, cosigners)
    if (timesSeconds.length < quorum) {
      throw new PolicyError(
        'ERR_POLICY_QUORUM',
        `${timesSeconds.length} replicas have cosigned the checkpoint, ${quorum} of its set must; fetch a complete one.`,
        { details: { size: opened.checkpoint.size, cosigned: timesSeconds.length, quorum } },
      )
    }
    return { quorum, timesSeconds }
  })
  const witnesses = timesOf(opened, demand.witnesses).length
  if (witnesses < demand.witnessesRequired) {
    throw new PolicyError(
      'ERR_POLICY_WITNESSES',
      `${witnesses} outside witnesses have signed the checkpoint, ${demand.witnessesRequired} must; fetch checkpoint.witnessed.`,
      { details: { size: opened.checkpoint.size, witnesses, required: demand.witnessesRequired } },
    )
  }
  const { origin, size, rootHash } = opened.checkpoint
  return {
    origin,
    size,
    rootHash,
    cosignedAtSeconds: Math.min(...cosignatures.map(({ quorum, timesSeconds }) => timesSeconds[quorum - 1]!)),
    cosignatures,
    witnesses,
    unknownLines: opened.unknownLines,
  }
}

/**
 * The demand as C2SP tlog-policies (https://c2sp.org/tlog-policy), one text for each set: at a transition size both
 * must hold.
 */
export function formatTlogPolicies(demand: CheckpointDemand): string[] {
  return demand.sets.map((set) => {
    const { log, cosigners } = noteKeysOf(set, demand)
    const replicas = cosigners.map((key, i) => ({ name: `replica-${i}`, key }))
    const outside = demand.witnesses.map((key, i) => ({ name: `outside-${i}`, key }))
    const asked = demand.witnessesRequired > 0
    return [
      ...log.map((key) => `log ${formatVkey(key)}`),
      ...[...replicas, ...(asked ? outside : [])].map(({ name, key }) => `witness ${name} ${formatVkey(key)}`),
      `group replicas ${set.quorum} ${replicas.map(({ name }) => name).join(' ')}`,
      ...(asked
        ? [
            `group outside ${demand.witnessesRequired} ${outside.map(({ name }) => name).join(' ')}`,
            'group both all replicas outside',
            'quorum both',
          ]
        : ['quorum replicas']),
      '',
    ].join('\n')
  })
}

/** The note keys of a set's replicas, in order: log keys are named by the origin, cosigners by cluster and peer id. */
export function noteKeysOf(
  { members }: CosignerSet,
  { origin, clusterName }: { readonly origin: string; readonly clusterName: string },
): { readonly log: VerifierKey[]; readonly cosigners: VerifierKey[] } {
  return {
    log: members.map(({ logKey }) => ({ name: origin, type: ed25519KeyType, publicKey: logKey })),
    cosigners: members.map(({ peerId, cosignerKey }) => ({
      name: cosignerName(clusterName, toHex(peerId)),
      type: cosignatureKeyType,
      publicKey: cosignerKey,
    })),
  }
}

/** Times at which these keys signed, newest first. */
function timesOf({ cosignatures }: OpenedCheckpoint, keys: readonly VerifierKey[]): number[] {
  return cosignatures
    .filter(({ key }) => includesKey(keys, key))
    .map(({ timeSeconds }) => timeSeconds)
    .sort((a, b) => b - a)
}

function includesKey(keys: readonly VerifierKey[], { name, publicKey }: VerifierKey): boolean {
  return keys.some((key) => key.name === name && toHex(key.publicKey) === toHex(publicKey))
}

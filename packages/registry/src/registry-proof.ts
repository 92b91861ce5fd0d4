/**
 * Registry proofs (DESIGN §4): before sealing, a client makes sure that it knows the registry up to now, without
 * believing the server that hands it out.
 *
 * Inclusion would show that an event is there, not that none follows. So the chain is folded up to the `registryHead`
 * of the batch record that is the last leaf of a fresh checkpoint. Later events can only stop the client.
 */
import {
  CipherlogError,
  decode,
  equalBytes,
  InvariantViolation,
  PolicyError,
  toHex,
  VerificationError,
} from '@cipherlog/core'
import { batchRecord as batchRecordCodec, type BatchRecord, type Seen, type TrustPolicy } from '@cipherlog/format'
import { leafHash, verifyConsistency, verifyInclusion } from '@cipherlog/merkle/verify'
import { type VerifiedCheckpoint } from './checkpoint-policy.ts'
import { clusterOfSigned } from './genesis.ts'
import { type ChainPosition, checkFollows, checkOperatorSignatures, decodeKeyEvent } from './key-event.ts'
import { ownCopy } from './own-copy.ts'
import { openPolicyChain, type PolicyView, splitView } from './policy.ts'
import { Registry } from './registry.ts'
import { knowsRules } from './rules.ts'

/** Bytes of an encoded batch record. */
const batchRecordBytesMax = 1024

/** Which step failed: `details.reason` of `ERR_KEY_UNPROVEN`. */
export type UnprovenReason =
  /** Policy chain or checkpoint does not hold under the trust policy. */
  | 'checkpoint'
  /** Too few of the quorum's cosignatures are recent. */
  | 'stale'
  /** The batch record is not the checkpoint's last leaf, or not of this group. */
  | 'batch-record'
  /** The batch record was made under rules that this software does not know. */
  | 'rules'
  /** An event does not check out. */
  | 'events'
  /** Fewer events than the head counts. */
  | 'shortened'
  /** The last event is not the head that the batch record names. */
  | 'head'
  /** The cosigner sets of the policy chain are not those of the events. */
  | 'policy-chain'
  /** Older than what was remembered. */
  | 'went-back'
  /** The tree does not extend the remembered one. */
  | 'consistency'

/** What a client stores per origin, so of one generation, after each proof. */
export interface RememberedRegistry extends Seen {
  /** Number of the newest event. */
  readonly number: number
  /** SHA-256 of its bytes without signatures. */
  readonly digest: Uint8Array
}

export interface RegistryProof {
  /** The signed genesis, then every signed key event in order. */
  readonly events: readonly Uint8Array[]
  /** The note. */
  readonly checkpoint: string
  /** Encoded. */
  readonly policyChain: Uint8Array
  /** Encoded: the last leaf of the checkpoint. */
  readonly batchRecord: Uint8Array
  /** Of that leaf, 32 bytes each. */
  readonly inclusionProof: readonly Uint8Array[]
  readonly trustPolicy: TrustPolicy
  /** The client's clock, milliseconds. */
  readonly now: number
  /** How far the quorum's cosignature times may lie from the clock, milliseconds; 60,000 online. */
  readonly registryMaxAgeMs: number
  readonly remembered?: RememberedRegistry
  /**
   * From the remembered tree to the checkpoint's. Without it a larger tree is taken as it comes: only number, digest
   * and size are held against what was remembered, and comparing trees is left to the caller.
   */
  readonly consistencyProof?: readonly Uint8Array[]
}

/** What events beyond the head say: signed by the operators, but not yet proven to be on the log. */
export interface LaterEvents {
  /** Number of the newest; the head's if there are none. */
  readonly number: number
  readonly revokedClients: readonly Uint8Array[]
  readonly compromisedVersions: readonly { readonly keyset: Uint8Array; readonly keyEpoch: number }[]
}

export interface ProvenRegistry {
  /** Folded up to the proven head; it knows no leaf or time of single events. */
  readonly registry: Registry
  readonly checkpoint: VerifiedCheckpoint
  /** Its `logTime` is the newest log time known. */
  readonly batchRecord: BatchRecord
  /** Reasons to stop, never to go on. */
  readonly laterEvents: LaterEvents
  /** To be stored before the registry is used. */
  readonly remember: RememberedRegistry
}

/**
 * Verifies a registry proof.
 * @throws {@link PolicyError} `ERR_KEY_UNPROVEN`; `details.reason` is an {@link UnprovenReason}, `cause` the error
 * behind it.
 * @throws {@link VerificationError} `ERR_VERIFY_SPLIT_VIEW` if what quorum or operators signed contradicts what was
 * remembered, with the evidence: do not go on, and do not forget.
 */
export function verifyRegistryProof(proof: RegistryProof): ProvenRegistry {
  const { view, checkpoint } = step('checkpoint', () => {
    const view = openPolicyChain(proof.policyChain, proof.trustPolicy)
    const checkpoint = view.verifyCheckpoint(proof.checkpoint)
    if (checkpoint.origin !== view.origin) {
      throw unproven('checkpoint', 'The checkpoint is of a generation before the newest')
    }
    return { view, checkpoint }
  })
  checkFresh(checkpoint, proof)
  const batchRecord = openLastLeaf(checkpoint, proof)
  const { number, digest } = batchRecord.registryHead
  const registry = foldTo(number, view, proof)
  if (!equalBytes(registry.head.digest, digest)) {
    throw unproven('head', `Event ${number} is not the one that the batch record names`)
  }
  if (batchRecord.rulesVersion !== registry.rulesVersion) {
    throw unproven('rules', `Rules ${batchRecord.rulesVersion} are named, the key events set ${registry.rulesVersion}`)
  }
  checkLeaves(number, view, checkpoint.size)
  checkRemembered(registry, checkpoint, proof)
  return {
    registry,
    checkpoint,
    batchRecord,
    laterEvents: step('events', () => readLater(registry, proof.events.slice(number + 1))),
    remember: { number, digest, treeSize: checkpoint.size, rootHash: checkpoint.rootHash },
  }
}

/**
 * Every governing set's q-th newest time is recent; times too far ahead count as none. A time names a whole second,
 * so its age is taken from that second's start.
 */
function checkFresh({ cosignatures }: VerifiedCheckpoint, { now, registryMaxAgeMs }: RegistryProof): void {
  for (const { quorum, timesSeconds } of cosignatures) {
    const times = timesSeconds.map((seconds) => seconds * 1000).filter((time) => time <= now + registryMaxAgeMs)
    const time = times[quorum - 1]
    if (time === undefined || time < now - registryMaxAgeMs) {
      throw unproven('stale', `No quorum has cosigned within ${registryMaxAgeMs} ms of this clock`)
    }
  }
}

/** The batch record as the very last leaf: one further inside would hide what came after it. */
function openLastLeaf({ size, rootHash }: VerifiedCheckpoint, proof: RegistryProof): BatchRecord {
  return step('batch-record', () => {
    verifyInclusion({
      leafIndex: size - 1,
      treeSize: size,
      rootHash,
      leafHash: leafHash(proof.batchRecord),
      proof: proof.inclusionProof,
    })
    const record = decode(batchRecordCodec, ownCopy(proof.batchRecord, batchRecordBytesMax, 'batch record'))
    if (!equalBytes(record.group, proof.trustPolicy.group) || record.firstLeaf + record.leafCount !== size - 1) {
      throw unproven('batch-record', 'The last leaf closes another batch than the checkpoint')
    }
    if (!knowsRules(record.rulesVersion)) {
      throw unproven('rules', `Rules ${record.rulesVersion} are in force, install software that knows them`)
    }
    return record
  })
}

/**
 * The chain up to `number`. A cosigner set takes its leaf from the policy chain, whose event must be the same one;
 * a set that only one of them knows means that the checkpoint was held against the wrong signers.
 */
function foldTo(number: number, view: PolicyView, { events }: RegistryProof): Registry {
  if (events.length < number + 1) {
    throw unproven('shortened', `${events.length} events came, genesis included; the log has ${number} after it`)
  }
  return step('events', () => {
    // Same hash, same genesis: what the policy chain has shown of it need not be shown again.
    if (!equalBytes(clusterOfSigned(events[0]!), view.cluster)) throw unproven('events', 'It is another genesis')
    const registry = new Registry(view.openedGenesis)
    const starts = [...view.groupStarts]
    const startHere = (): void => {
      while (starts[0]?.start.registryHead.number === registry.head.number) {
        const opened = starts.shift()!
        if (!equalBytes(opened.start.registryHead.digest, registry.head.digest)) {
          throw unproven('policy-chain', `Generation ${opened.start.generation} starts after other events`)
        }
        registry.startGeneration(opened)
      }
    }
    startHere()
    for (const signed of events.slice(1, number + 1)) {
      const checked = registry.checkUnplaced(signed)
      if (checked.kind === 'duplicate') throw unproven('events', `Event ${checked.number} came twice`)
      const { event, digest } = checked
      const policySet = view.cosignerSets.find(
        ({ eventNumber, groupStart }) => eventNumber === event.number && groupStart === undefined,
      )
      const sameEvent = policySet !== undefined && equalBytes(policySet.digest, digest)
      if (sameEvent !== (event.operation.type === 'cosignerSet') || (policySet !== undefined && !sameEvent)) {
        throw unproven('policy-chain', `The policy chain does not have the cosigner set of event ${event.number}`)
      }
      registry.applyUnplaced(checked, policySet?.eventLeaf)
      if (policySet !== undefined) registry.noteTransition(policySet.transitionSize!)
      startHere()
    }
    if (starts.length > 0) throw unproven('shortened', 'The head lies before the start of its generation')
    return registry
  })
}

/** Sets up to the head stand in the checkpoint's tree, later ones do not. */
function checkLeaves(head: number, { cosignerSets, generation }: PolicyView, size: number): void {
  for (const { eventNumber, eventLeaf, ...set } of cosignerSets) {
    // The trees of older generations are whole.
    if (eventNumber <= head !== (set.generation < generation || eventLeaf < size)) {
      throw unproven('policy-chain', `The policy chain misplaces event ${eventNumber}, it cannot stand at ${eventLeaf}`)
    }
  }
}

/** Never back: neither registry nor tree. */
function checkRemembered(
  registry: Registry,
  checkpoint: VerifiedCheckpoint,
  { remembered, trustPolicy, consistencyProof, checkpoint: note, events }: RegistryProof,
): void {
  if (remembered !== undefined) {
    if (registry.head.number < remembered.number) {
      throw unproven(
        'went-back',
        `Event ${remembered.number} was proven before, now the newest is ${registry.head.number}`,
      )
    }
    if (!equalBytes(registry.eventDigest(remembered.number)!, remembered.digest)) {
      throw new VerificationError(
        'ERR_VERIFY_SPLIT_VIEW',
        `Event ${remembered.number} is another than the one proven before; keep both: they show a fork.`,
        {
          details: {
            number: remembered.number,
            knownDigest: toHex(remembered.digest),
            event: toHex(events[remembered.number]!),
            note,
          },
        },
      )
    }
  }
  const known = remembered ?? (registry.generation === trustPolicy.generation ? trustPolicy.start : undefined)
  if (known === undefined) return
  if (checkpoint.size < known.treeSize) {
    throw unproven(
      'went-back',
      `A tree of ${known.treeSize} leaves was verified before, this one has ${checkpoint.size}`,
    )
  }
  if (checkpoint.size === known.treeSize && !equalBytes(checkpoint.rootHash, known.rootHash)) {
    throw splitView(note, checkpoint, known.rootHash)
  }
  if (consistencyProof === undefined) return
  step('consistency', () =>
    verifyConsistency({
      size1: known.treeSize,
      root1: known.rootHash,
      size2: checkpoint.size,
      root2: checkpoint.rootHash,
      proof: consistencyProof,
    }),
  )
}

/** The rest of the chain: order and signatures, nothing is applied. */
function readLater(registry: Registry, events: readonly Uint8Array[]): LaterEvents {
  const { cluster, operatorSetVersion, operators } = registry
  let position: ChainPosition = registry
  const revokedClients: Uint8Array[] = []
  const compromisedVersions: { keyset: Uint8Array; keyEpoch: number }[] = []
  for (const signed of events) {
    const opened = decodeKeyEvent(signed)
    checkFollows(opened, position)
    checkOperatorSignatures(opened, operators)
    const { number, operation } = opened.event
    if (operation.type === 'revokeClient') revokedClients.push(operation.client)
    if (operation.type === 'compromiseKeyVersion') {
      compromisedVersions.push({ keyset: operation.keyset, keyEpoch: operation.keyEpoch })
    }
    position = { cluster, operatorSetVersion, head: { number, digest: opened.digest } }
  }
  return { number: position.head.number, revokedClients, compromisedVersions }
}

/** Runs a step of the proof; what is wrong in it makes the registry unproven for that reason. */
function step<T>(reason: UnprovenReason, action: () => T): T {
  try {
    return action()
  } catch (cause) {
    if (!(cause instanceof CipherlogError) || cause instanceof InvariantViolation) throw cause
    // A fork is more than an unproven registry: it carries evidence and is not to be retried.
    if (cause.code === 'ERR_KEY_UNPROVEN' || cause.code === 'ERR_VERIFY_SPLIT_VIEW') throw cause
    throw unproven(reason, cause.message.replace(/\.$/, ''), cause)
  }
}

function unproven(reason: UnprovenReason, what: string, cause?: CipherlogError): PolicyError {
  return new PolicyError(
    'ERR_KEY_UNPROVEN',
    `The registry is not proven: ${what}. Nothing was sealed; ask another replica.`,
    { cause, details: { reason, ...(cause === undefined ? {} : { cause: cause.code }) } },
  )
}

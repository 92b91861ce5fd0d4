/**
 * The policy chain opened: from a pinned genesis to the cosigner set of every size (DESIGN §4 "Cosigner sets").
 *
 * Each set follows the one before by k operators' signatures and by a transition note that carries the quorums of
 * both; the first set of a generation by k operators' signatures alone, for the old quorum may be lost. What a chain alone cannot show: that no later set governed. That shows an audit, or what a client stored.
 */
import { CipherlogError, decode, equalBytes, PolicyError, toHex, VerificationError } from '@cipherlog/core'
import {
  group0,
  policyChain as policyChainCodec,
  type CosignerSet,
  type Genesis,
  type PolicyChainLink,
  type TrustPolicy,
} from '@cipherlog/format'
import { origin, parseCheckpoint, parseNote, type VerifierKey } from '@cipherlog/merkle/verify'
import { checkCosignerSet } from './check-cosigner-set.ts'
import {
  type CheckpointDemand,
  formatTlogPolicies,
  type VerifiedCheckpoint,
  verifyCheckpoint,
} from './checkpoint-policy.ts'
import { type CosignerSetEntry, isTransitionSize, setsFor } from './cosigner-sets.ts'
import { openGenesis, type OpenedGenesis } from './genesis.ts'
import { checkGroupStart, openGroupStart, type OpenedGroupStart } from './group-start.ts'
import { checkCluster, checkOperatorSet, checkOperatorSignatures, decodeKeyEvent } from './key-event.ts'
import { usesOfCosignerSet, usesOfGenesis } from './key-uses.ts'
import { ownCopy } from './own-copy.ts'
import { badWitnesses, witnessKeys } from './trust-policy.ts'

/** Bytes of an encoded policy chain, as in receipts. */
export const policyChainBytesMax = 4_194_304

/** A cosigner set of the chain, with the digest of its event. */
export interface PolicySet extends CosignerSetEntry {
  /** SHA-256 of the event without signatures; of the first set `cluster`. */
  readonly digest: Uint8Array
  /** Root at the transition size. */
  readonly transitionRoot?: Uint8Array
  /** The group start that set it. */
  readonly groupStart?: OpenedGroupStart
}

/**
 * Opens a policy chain under a trust policy.
 * @throws {@link DecodeError} `ERR_DECODE_*`.
 * @throws {@link PolicyError} `ERR_POLICY_GENESIS` (not the pinned one), `ERR_POLICY_ORIGIN`,
 * `ERR_POLICY_GENERATION`, `ERR_POLICY_WITNESSES`.
 * @throws {@link VerificationError} `ERR_VERIFY_GENESIS_*`, `ERR_VERIFY_POLICY_CHAIN` naming the link.
 */
export function openPolicyChain(bytes: Uint8Array, trustPolicy: TrustPolicy): PolicyView {
  const witnesses = witnessKeys(trustPolicy)
  const [signedGenesis, links] = decode(policyChainCodec, ownCopy(bytes, policyChainBytesMax, 'policy chain'))
  const openedGenesis = openGenesis(signedGenesis)
  const { genesis, cluster } = openedGenesis
  if (!equalBytes(cluster, trustPolicy.cluster)) {
    throw new PolicyError(
      'ERR_POLICY_GENESIS',
      `The policy chain is of cluster ${toHex(cluster)}, trusted is ${toHex(trustPolicy.cluster)}; ask the right cluster.`,
    )
  }
  if (!equalBytes(trustPolicy.group, group0)) {
    throw new PolicyError('ERR_POLICY_ORIGIN', 'Only group 0 exists; set the group of the trust policy to zeros.')
  }
  const { name } = genesis
  const sets: PolicySet[] = [
    { set: genesis.cosigners, generation: 0, first: true, eventNumber: 0, eventLeaf: 0, digest: cluster },
  ]
  const keyUses = new Map(usesOfGenesis(genesis).map(({ publicKey, use }) => [toHex(publicKey), use]))
  for (const [i, link] of links.entries()) {
    const { generation } = sets.at(-1)!
    const log = { generation, origin: origin({ name, cluster, group: group0, generation }) }
    try {
      const context = { cluster, genesis, keyUses, sets, clusterName: name, ...log }
      sets.push(link.transitionCheckpoint === undefined ? openStart(link, context) : openLink(link, context))
    } catch (cause) {
      if (!(cause instanceof CipherlogError)) throw cause
      throw new VerificationError(
        'ERR_VERIFY_POLICY_CHAIN',
        `Link ${i} of the policy chain does not hold: ${cause.message}`,
        { cause, details: { link: i, cause: cause.code } },
      )
    }
    for (const { publicKey, use } of usesOfCosignerSet(sets.at(-1)!.set)) keyUses.set(toHex(publicKey), use)
  }
  const { generation } = sets.at(-1)!
  if (generation < trustPolicy.generation) throw wrongGeneration(generation, trustPolicy.generation, generation)
  for (const { name, publicKey } of witnesses) {
    if (keyUses.has(toHex(publicKey))) throw badWitnesses(`has ${name} as witness, which belongs to the cluster itself`)
  }
  return new PolicyView({ openedGenesis, trustPolicy, cosignerSets: sets, witnesses })
}

/** Whose word a checkpoint needs, for every size. Made by {@link openPolicyChain} only. */
export class PolicyView {
  readonly openedGenesis: OpenedGenesis
  readonly trustPolicy: TrustPolicy
  /** The newest generation that the chain leads to. */
  readonly generation: number
  /** Of the newest generation. */
  readonly origin: string
  /** In order, genesis first, of all generations: one more than the chain has links. */
  readonly cosignerSets: readonly PolicySet[]
  readonly #witnesses: readonly VerifierKey[]

  constructor(parts: {
    readonly openedGenesis: OpenedGenesis
    readonly trustPolicy: TrustPolicy
    readonly cosignerSets: readonly PolicySet[]
    readonly witnesses: readonly VerifierKey[]
  }) {
    this.openedGenesis = parts.openedGenesis
    this.trustPolicy = parts.trustPolicy
    this.cosignerSets = parts.cosignerSets
    this.generation = parts.cosignerSets.at(-1)!.generation
    this.origin = this.originOf(this.generation)
    this.#witnesses = parts.witnesses
  }

  get cluster(): Uint8Array {
    return this.openedGenesis.cluster
  }

  get genesis(): Genesis {
    return this.openedGenesis.genesis
  }

  originOf(generation: number): string {
    return origin({ name: this.genesis.name, cluster: this.cluster, group: this.trustPolicy.group, generation })
  }

  /** Group starts in order. */
  get groupStarts(): readonly OpenedGroupStart[] {
    return this.cosignerSets.flatMap(({ groupStart }) => groupStart ?? [])
  }

  /** The group start that continues a generation; undefined if it is the newest, or none. */
  endOf(generation: number): OpenedGroupStart | undefined {
    const oldOrigin = this.originOf(generation)
    return this.groupStarts.find(({ start }) => start.oldOrigin === oldOrigin)
  }

  /** One set, or old and new up to a transition size. @param generation - default: the newest. */
  setsFor(size: number, generation: number = this.generation): readonly CosignerSet[] {
    return setsFor(this.cosignerSets, size, generation)
  }

  /**
   * Verifies a checkpoint note: right log, right signers for its size, no root but the known one. It may be of an
   * older generation, down to the one that the trust policy asks for: compare its origin where only the newest will do.
   * @throws {@link DecodeError} `ERR_DECODE_NOTE`, `ERR_DECODE_CHECKPOINT`, `ERR_DECODE_LIMIT`.
   * @throws {@link VerificationError} `ERR_VERIFY_NOTE_SIGNATURE`, `ERR_VERIFY_NOTE_UNSIGNED`,
   * `ERR_VERIFY_SPLIT_VIEW` if the trust policy's start, a transition note or a group start has another root for this
   * size.
   * @throws {@link PolicyError} `ERR_POLICY_ORIGIN`, `ERR_POLICY_GENERATION`, `ERR_POLICY_LOG_KEY`,
   * `ERR_POLICY_QUORUM`, `ERR_POLICY_WITNESSES`.
   */
  verifyCheckpoint(note: string): VerifiedCheckpoint {
    // Attacker-controlled until verified below: it only says which signers to ask for.
    const claimed = parseCheckpoint(parseNote(note).text)
    const generation = this.#generationOf(claimed.origin)
    const checkpoint = verifyCheckpoint(note, this.#demandFor(claimed.size, generation))
    const { size, rootHash } = checkpoint
    const { start, generation: least } = this.trustPolicy
    const end = this.endOf(generation)?.start.end
    const knownRoots = [
      generation === least && start?.treeSize === size ? start.rootHash : undefined,
      end?.treeSize === size ? end.rootHash : undefined,
      this.cosignerSets.find((set) => set.generation === generation && set.transitionSize === size)?.transitionRoot,
    ]
    const other = knownRoots.find((known) => known !== undefined && !equalBytes(known, rootHash))
    if (other !== undefined) throw splitView(note, checkpoint, other)
    return checkpoint
  }

  /** C2SP tlog-policies for a size; at a transition size two, and both must hold. @param generation - default: the newest. */
  tlogPolicies(size: number, generation: number = this.generation): string[] {
    return formatTlogPolicies(this.#demandFor(size, generation))
  }

  #demandFor(size: number, generation: number): CheckpointDemand {
    return {
      origin: this.originOf(generation),
      clusterName: this.genesis.name,
      sets: this.setsFor(size, generation),
      witnesses: this.#witnesses,
      witnessesRequired: this.trustPolicy.witnessesRequired,
    }
  }

  #generationOf(claimed: string): number {
    const generationAt = this.origin.lastIndexOf('/') + 1
    const digits = claimed.slice(generationAt)
    if (claimed.startsWith(this.origin.slice(0, generationAt)) && /^(0|[1-9][0-9]{0,15})$/.test(digits)) {
      const generation = Number(digits)
      const known = this.cosignerSets.some((set) => set.generation === generation)
      if (known && generation >= this.trustPolicy.generation) return generation
      throw wrongGeneration(generation, this.trustPolicy.generation, this.generation)
    }
    throw new PolicyError(
      'ERR_POLICY_ORIGIN',
      'The checkpoint is of another log; fetch the one of the log you trust.',
      {
        details: { origin: claimed, trusted: this.origin },
      },
    )
  }
}

/** Two roots of one size under the signatures of one cluster: evidence that history was forked. */
export function splitView(note: string, checkpoint: VerifiedCheckpoint, knownRoot: Uint8Array): VerificationError {
  return new VerificationError(
    'ERR_VERIFY_SPLIT_VIEW',
    `The checkpoint of size ${checkpoint.size} has another root than the one known; keep both: they show a fork.`,
    { details: { size: checkpoint.size, rootHash: toHex(checkpoint.rootHash), knownRootHash: toHex(knownRoot), note } },
  )
}

/** Below what the trust policy asks for, or beyond what the chain leads to. */
function wrongGeneration(generation: number, least: number, newest: number): PolicyError {
  const message =
    generation < least
      ? `Generation ${generation} is below the trusted ${least}: the cluster was restored since; fetch the newer log.`
      : `No group start of the policy chain leads to generation ${generation}; it ends with ${newest}. Fetch the newer chain.`
  return new PolicyError('ERR_POLICY_GENERATION', message, { details: { generation, least, newest } })
}

interface LinkContext {
  readonly cluster: Uint8Array
  readonly genesis: Genesis
  readonly keyUses: ReadonlyMap<string, string>
  readonly sets: readonly PolicySet[]
  readonly generation: number
  readonly origin: string
  readonly clusterName: string
}

/** Checks the link of a group start against all before it. */
function openStart(link: PolicyChainLink, context: LinkContext): PolicySet {
  const { cluster, genesis, keyUses, generation, clusterName: name } = context
  const last = context.sets.at(-1)!
  const opened = openGroupStart(link.event)
  const { start } = opened
  checkGroupStart(opened, {
    cluster,
    group: group0,
    generation,
    origin: context.origin,
    operatorSetVersion: 0,
    operators: genesis.operators,
    keyUses,
  })
  if (link.origin !== origin({ name, cluster, group: group0, generation: start.generation })) {
    throw badLink('Its origin is not that of its generation')
  }
  if (link.leafIndex !== 0) throw badLink('A group start is leaf 0')
  if (start.registryHead.number < last.eventNumber || start.end.treeSize < (last.transitionSize ?? 2)) {
    throw badLink('It continues the log from before the link before')
  }
  const isEvent = !last.first || last.eventNumber === 0
  if (
    isEvent &&
    start.registryHead.number === last.eventNumber &&
    !equalBytes(start.registryHead.digest, last.digest)
  ) {
    throw badLink('It follows another event than that of the link before')
  }
  return {
    set: start.cosigners,
    generation: start.generation,
    first: true,
    eventNumber: start.registryHead.number,
    eventLeaf: 0,
    digest: opened.digest,
    groupStart: opened,
  }
}

/** Checks one link against all before it. What it refuses is whatever no honest cluster publishes. */
function openLink(link: PolicyChainLink, context: LinkContext): PolicySet {
  const opened = decodeKeyEvent(link.event)
  const { event, digest } = opened
  const last = context.sets.at(-1)!
  checkCluster(event, context.cluster)
  checkOperatorSet(event, 0)
  checkOperatorSignatures(opened, context.genesis.operators)
  if (event.operation.type !== 'cosignerSet') throw badLink('The event sets no cosigners')
  if (event.number <= last.eventNumber) throw badLink('Its number is not above that of the link before')
  const previous = last.groupStart?.start.registryHead.digest ?? last.digest
  if (event.number === last.eventNumber + 1 && !equalBytes(event.previous, previous)) {
    throw badLink('It follows another event than that of the link before')
  }
  if (link.origin !== context.origin) throw badLink('Its origin is that of another log')
  // The event was signed after `seen` and applied after the last transition was recorded, so its leaf lies behind both.
  if (link.leafIndex < Math.max(event.seen.treeSize, last.transitionSize ?? 0)) {
    throw badLink(`Leaf ${link.leafIndex} lies before what its signers had seen`)
  }
  checkCosignerSet({ cluster: context.cluster, keyUses: context.keyUses, cosignerSets: context.sets }, event.operation)
  const note = link.transitionCheckpoint!
  const { size, rootHash } = verifyCheckpoint(note, {
    origin: context.origin,
    clusterName: context.clusterName,
    sets: [last.set, event.operation.set],
    witnesses: [],
    witnessesRequired: 0,
  })
  if (!isTransitionSize(size, link.leafIndex)) {
    throw badLink(`Size ${size} is not the first batch after leaf ${link.leafIndex}`)
  }
  return {
    set: event.operation.set,
    generation: context.generation,
    first: false,
    eventNumber: event.number,
    eventLeaf: link.leafIndex,
    transitionSize: size,
    transitionRoot: rootHash,
    digest,
  }
}

function badLink(what: string): VerificationError {
  return new VerificationError('ERR_VERIFY_POLICY_CHAIN', `${what}; fetch the policy chain from another replica.`)
}

/**
 * The registry as this client has proven it (DESIGN §4 "Registry proof"): keys, grants and cosigners are taken from
 * here and never from a server's answer.
 *
 * A view is proven before the first seal and again when it is older than `registryMaxAgeMs`. Whatever it is proven
 * by extends what was verified before, tile by tile, and is kept before it is used; so a shrunk, forked or rewritten
 * log is noticed by the first client that remembers more.
 */
import {
  CipherlogError,
  DecodeError,
  decode,
  equalBytes,
  PolicyError,
  toHex,
  VerificationError,
  type Clock,
} from '@cipherlog/core'
import { batchRecord as batchRecordCodec, type BatchRecord, type TrustPolicy } from '@cipherlog/format'
import { consistencyProof } from '@cipherlog/merkle/tree'
import { tilePath, verifyConsistency } from '@cipherlog/merkle/verify'
import {
  openPolicyChain,
  verifyRegistryProof,
  type LaterEvents,
  type OpenedGroupStart,
  type PolicyView,
  type Registry,
  type VerifiedCheckpoint,
} from '@cipherlog/registry'
import { type Connection } from './connection.ts'
import { History, type ClientMemory, type ProvenHead } from './history.ts'
import { BehindError, type Replicas } from './replicas.ts'

/** Key events asked for at once: with BFV keys they have a megabyte each. */
const eventsPerAnswerMax = 32
/** All key events together, as they are held in memory. */
const eventsBytesMax = 268_435_456
/** Events beyond the proven head that are looked at. */
const laterEventsMax = 1024
const receiptWaitMs = 5_000

export interface ProvenView {
  readonly registry: Registry
  readonly policy: PolicyView
  readonly checkpoint: VerifiedCheckpoint
  /** The note of the checkpoint. */
  readonly note: string
  /** The checkpoint's last leaf; its `logTime` is the newest log time known. */
  readonly batchRecord: BatchRecord
  /** Reasons to stop. */
  readonly laterEvents: LaterEvents
}

export interface RegistryViewOptions {
  readonly replicas: Replicas
  readonly trustPolicy: TrustPolicy
  readonly memory: ClientMemory
  /** How old a quorum's newest cosignatures may be, milliseconds. */
  readonly registryMaxAgeMs: number
  /** How long to wait for a checkpoint that covers a leaf, milliseconds. */
  readonly readMsMax: number
  readonly clock: Clock
}

export class RegistryView {
  readonly #options: RegistryViewOptions
  /** Signed events that were proven, genesis first. */
  #events: readonly Uint8Array[] = []
  #history: History | undefined
  #view: ProvenView | undefined
  #policyChain: { readonly bytes: Uint8Array; readonly policy: PolicyView } | undefined
  #refreshing: Promise<ProvenView> | undefined

  constructor(options: RegistryViewOptions) {
    this.#options = options
  }

  /** What was proven last. @throws CipherlogError `ERR_KEY_UNPROVEN` before the first proof. */
  get current(): ProvenView {
    if (this.#view === undefined) {
      throw new PolicyError('ERR_KEY_UNPROVEN', 'The registry is not proven yet; connect first.')
    }
    return this.#view
  }

  /** What was seen before, of the same origin. Exists once something was proven. */
  get history(): History {
    if (this.#history === undefined) {
      throw new PolicyError('ERR_KEY_UNPROVEN', 'The registry is not proven yet; connect first.')
    }
    return this.#history
  }

  /** A view that is young enough to seal by. */
  async fresh(): Promise<ProvenView> {
    const { clock, registryMaxAgeMs } = this.#options
    const view = this.#view
    if (view !== undefined && clock.now() - view.checkpoint.cosignedAtSeconds * 1000 <= registryMaxAgeMs) return view
    return this.refresh()
  }

  /**
   * Proves the registry anew.
   * @throws PolicyError `ERR_KEY_UNPROVEN` (details.reason says why), `ERR_POLICY_ROLLED_BACK` if the newest
   * checkpoint of every replica is smaller than one this client has verified.
   * @throws VerificationError `ERR_VERIFY_CONSISTENCY`, `ERR_VERIFY_SPLIT_VIEW`: evidence of a fork; do not go on.
   */
  refresh(): Promise<ProvenView> {
    this.#refreshing ??= this.#refresh().finally(() => (this.#refreshing = undefined))
    return this.#refreshing
  }

  /** A view whose checkpoint covers `leaf`: what was applied there is in its registry. */
  async past(leaf: number): Promise<ProvenView> {
    const { replicas, clock, readMsMax } = this.#options
    const deadline = clock.monotonic() + readMsMax
    let view = await this.refresh()
    while (view.checkpoint.size <= leaf) {
      if (clock.monotonic() > deadline) {
        throw new CipherlogError('ERR_NOT_PUBLISHED', `No published checkpoint covers leaf ${leaf} yet; try again.`)
      }
      // Asking for a receipt has the batch closed.
      await replicas.read((connection) => connection.receipt(leaf, receiptWaitMs))
      view = await this.refresh()
    }
    return view
  }

  /**
   * Verifies a checkpoint that came with a proof: signed by whom the policy asks for, and one with all seen before.
   * @param connection - whose tiles show that the two trees are one.
   */
  async accept(connection: Connection, note: string): Promise<VerifiedCheckpoint> {
    const checkpoint = await this.#verifyNote(note)
    if (checkpoint.origin !== this.current.policy.origin) {
      throw new PolicyError(
        'ERR_POLICY_GENERATION',
        'The checkpoint is of a generation that has ended; ask another replica.',
      )
    }
    const known = this.history.head!
    const offered = { treeSize: checkpoint.size, rootHash: checkpoint.rootHash, checkpoint: note }
    if (checkpoint.size >= known.treeSize) {
      await checkConsistency(connection, known, offered)
      this.history.setCheckpoint(offered)
    } else {
      await checkConsistency(connection, offered, known)
    }
    return checkpoint
  }

  /**
   * Verifies a checkpoint that ended an older generation: the very one from which the next goes on.
   * @throws PolicyError, VerificationError, DecodeError.
   */
  acceptEnd(note: string): VerifiedCheckpoint {
    const { policy } = this.current
    const checkpoint = policy.verifyCheckpoint(note)
    const next = policy.groupStarts.find(({ start }) => start.oldOrigin === checkpoint.origin)
    if (next?.start.end.treeSize === checkpoint.size) return checkpoint
    throw new PolicyError(
      'ERR_POLICY_GENERATION',
      'The checkpoint is not the one from which the cluster was restored; ask another replica.',
    )
  }

  async #verifyNote(note: string): Promise<VerifiedCheckpoint> {
    const { policy } = this.current
    try {
      return policy.verifyCheckpoint(note)
    } catch (error) {
      if (!(error instanceof CipherlogError) || error instanceof DecodeError) throw error
      if (error.code === 'ERR_VERIFY_SPLIT_VIEW') throw error
      // Perhaps signed by a cosigner set that is newer than this view.
      const renewed = await this.refresh()
      if (renewed.policy === policy) throw error
      return renewed.policy.verifyCheckpoint(note)
    }
  }

  async #refresh(): Promise<ProvenView> {
    const { replicas } = this.#options
    try {
      return await replicas.read((connection) => this.#prove(connection))
    } catch (error) {
      if (error instanceof BehindError && error.details['note'] !== undefined) {
        throw new PolicyError(
          'ERR_POLICY_ROLLED_BACK',
          'Every replica offers an older log than this client has verified: it was rolled back. Keep both checkpoints.',
          { cause: error, details: error.details },
        )
      }
      throw error
    }
  }

  async #prove(connection: Connection): Promise<ProvenView> {
    const { trustPolicy, clock, registryMaxAgeMs, replicas } = this.#options
    const published = await connection.checkpoint()
    const policy = this.#policyOf(published.policyChain)
    this.#checkGeneration(policy)
    const events = await this.#fetchEvents(connection, published.lastLeaf)
    const { history, older } = await this.#historyOf(policy)
    const known = history.head
    let proven
    try {
      proven = verifyRegistryProof({
        events,
        checkpoint: published.checkpoint,
        policyChain: published.policyChain,
        batchRecord: published.lastLeaf,
        inclusionProof: published.proof,
        trustPolicy,
        now: clock.now(),
        registryMaxAgeMs,
        ...(known === undefined ? {} : { remembered: known }),
      })
    } catch (error) {
      if (error instanceof PolicyError && error.details['reason'] === 'went-back') {
        throw new BehindError(error.message, { note: published.checkpoint, knownNote: known?.checkpoint ?? '' })
      }
      throw error
    }
    const { registry, checkpoint, batchRecord, laterEvents, remember } = proven
    const head = { ...remember, checkpoint: published.checkpoint }
    for (const { head: before } of older) checkSameEvent(registry, before, events, published.checkpoint)
    const pinned = policy.generation === trustPolicy.generation ? trustPolicy.start : undefined
    const start = known ?? (pinned === undefined ? undefined : { ...pinned, checkpoint: '' })
    if (start !== undefined) await checkConsistency(connection, start, head)
    // Before anything of the new generation is used: whoever offers the old one again is found out.
    for (const { history: ended, next } of older) await ended.setNext(next)
    await history.setHead(head)
    replicas.pin(tlsKeysOf(registry))
    this.#history = history
    this.#events = events.slice(0, registry.head.number + 1)
    this.#view = { registry, policy, checkpoint, note: published.checkpoint, batchRecord, laterEvents }
    return this.#view
  }

  /** Proven events and whatever the replica has after them: at least those that its batch record counts. */
  async #fetchEvents(connection: Connection, lastLeaf: Uint8Array): Promise<Uint8Array[]> {
    // Attacker-controlled until proven; it only bounds how much is fetched.
    const { number } = decode(batchRecordCodec, lastLeaf, 1024).registryHead
    const events = [...this.#events]
    let bytes = events.reduce((sum, event) => sum + event.length, 0)
    while (events.length <= number + laterEventsMax) {
      const more = await connection.keyEvents(events.length, eventsPerAnswerMax)
      if (more.length === 0) break
      bytes += more.reduce((sum, event) => sum + event.length, 0)
      if (bytes > eventsBytesMax) {
        throw new DecodeError(
          'ERR_DECODE_LIMIT',
          `The key events have over ${eventsBytesMax} bytes; ask another replica.`,
        )
      }
      events.push(...more)
    }
    return events
  }

  /** One handle is for one generation: sessions, positions and bundles belong to it. */
  #checkGeneration({ generation }: PolicyView): void {
    const current = this.#view?.policy.generation ?? generation
    if (generation < current) throw new BehindError(`The replica serves generation ${generation}, which has ended.`)
    if (generation === current) return
    throw new PolicyError(
      'ERR_POLICY_GENERATION',
      `The cluster was restored from a backup: generation ${generation} goes on from ${current}. Connect again.`,
      { details: { generation, current } },
    )
  }

  /** What was seen of the newest generation, and of those before it, which must not have held more than was restored. */
  async #historyOf(policy: PolicyView): Promise<{ history: History; older: OlderHistory[] }> {
    const { memory, trustPolicy } = this.#options
    if (this.#history !== undefined) return { history: this.#history, older: [] }
    const older: OlderHistory[] = []
    let session = 0
    for (const opened of policy.groupStarts) {
      const { start } = opened
      const ended = await History.load(start.oldOrigin, memory)
      session = Math.max(session, ended.session)
      // Who raises the policy's generation has looked at what was lost.
      if (start.generation > trustPolicy.generation) checkNothingLost(ended, opened)
      const acknowledged = start.generation <= trustPolicy.generation
      older.push({ history: ended, next: start.generation, head: acknowledged ? undefined : ended.head })
    }
    const history = await History.load(policy.origin, memory)
    if (history.next !== undefined) {
      throw new PolicyError(
        'ERR_POLICY_GENERATION',
        `This client has verified that generation ${history.next} goes on from ${policy.generation}; ask a replica of that one.`,
        { details: { generation: policy.generation, next: history.next } },
      )
    }
    // The log forgets no session number; neither does its client.
    if (history.session < session) await history.setSession(session)
    return { history, older }
  }

  #policyOf(bytes: Uint8Array): PolicyView {
    if (this.#policyChain === undefined || !equalBytes(this.#policyChain.bytes, bytes)) {
      this.#policyChain = { bytes, policy: openPolicyChain(bytes, this.#options.trustPolicy) }
    }
    return this.#policyChain.policy
  }
}

/** What a client remembers of a generation that has ended. */
interface OlderHistory {
  readonly history: History
  /** The generation that followed. */
  readonly next: number
  /** Undefined: nothing, or somebody has looked at what the restore took back. */
  readonly head: ProvenHead | undefined
}

/**
 * A restore takes back what came after its backup: whoever saw that must not go on as if nothing had happened.
 * @throws PolicyError `ERR_POLICY_RESTORED`, VerificationError `ERR_VERIFY_SPLIT_VIEW`, each with the evidence.
 */
function checkNothingLost({ head, origin }: History, { start, signed }: OpenedGroupStart): void {
  if (head === undefined) return
  const { end, registryHead, generation } = start
  const details = {
    origin,
    generation,
    knownSize: head.treeSize,
    knownCheckpoint: head.checkpoint,
    restoredSize: end.treeSize,
    groupStart: signed,
  }
  if (head.treeSize > end.treeSize || head.number > registryHead.number) {
    throw new PolicyError(
      'ERR_POLICY_RESTORED',
      `The cluster was restored from a backup of ${end.treeSize} leaves, this client has verified ${head.treeSize}: what came after is lost. Keep both; to go on, set the generation of the trust policy to ${generation}.`,
      { details },
    )
  }
  if (head.treeSize === end.treeSize && !equalBytes(head.rootHash, end.rootHash)) {
    throw new VerificationError(
      'ERR_VERIFY_SPLIT_VIEW',
      `The cluster was restored from another log of ${end.treeSize} leaves than this client has verified; keep both: they show a fork.`,
      { details },
    )
  }
}

/** Key events go on across generations: the one that was newest before must still stand where it stood. */
function checkSameEvent(
  registry: Registry,
  before: ProvenHead | undefined,
  events: readonly Uint8Array[],
  note: string,
): void {
  const digest = before && registry.eventDigest(before.number)
  if (before === undefined || digest === undefined || equalBytes(digest, before.digest)) return
  throw new VerificationError(
    'ERR_VERIFY_SPLIT_VIEW',
    `Event ${before.number} is another than the one proven before the restore; keep both: they show a fork.`,
    {
      details: { number: before.number, knownDigest: toHex(before.digest), event: toHex(events[before.number]!), note },
    },
  )
}

interface KnownTree {
  readonly treeSize: number
  readonly rootHash: Uint8Array
  /** The note; empty if only a policy names it. */
  readonly checkpoint: string
}

/**
 * Shows that the larger tree starts with the smaller one, by tiles of the replica: a proof is only as good as what
 * it proves, so nobody needs to be believed.
 * @throws VerificationError `ERR_VERIFY_CONSISTENCY` with both notes.
 */
async function checkConsistency(connection: Connection, smaller: KnownTree, larger: KnownTree): Promise<void> {
  if (smaller.treeSize === larger.treeSize && equalBytes(smaller.rootHash, larger.rootHash)) return
  const proof = await consistencyProof(smaller.treeSize, larger.treeSize, async (level, index, width) => {
    // What was partial once may be full by now.
    const tile =
      (await connection.tile(tilePath(level, index, width))) ?? (await connection.tile(tilePath(level, index)))
    if (tile === undefined) throw new BehindError(`The replica lacks tile ${level}/${index}; ask another one.`)
    return tile
  })
  try {
    verifyConsistency({
      size1: smaller.treeSize,
      root1: smaller.rootHash,
      size2: larger.treeSize,
      root2: larger.rootHash,
      proof,
    })
  } catch (cause) {
    if (!(cause instanceof VerificationError)) throw cause
    throw new VerificationError(
      'ERR_VERIFY_CONSISTENCY',
      `The log of ${larger.treeSize} leaves does not extend the one of ${smaller.treeSize}; keep both checkpoints.`,
      { cause, details: { smaller: smaller.checkpoint, larger: larger.checkpoint } },
    )
  }
}

/** Of the newest set and the one before, whose replicas may still serve. */
function tlsKeysOf(registry: Registry): Uint8Array[] {
  return registry.cosignerSets.slice(-2).flatMap(({ set }) => set.members.map(({ tlsKey }) => tlsKey))
}

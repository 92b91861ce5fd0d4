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
  emptyBytes,
  equalBytes,
  PolicyError,
  toHex,
  VerificationError,
  type Clock,
} from '@cipherlog/core'
import { batchRecord as batchRecordCodec, group0, type BatchRecord, type TrustPolicy } from '@cipherlog/format'
import { consistencyProof } from '@cipherlog/merkle/tree'
import { origin as originOf, tilePath, verifyConsistency } from '@cipherlog/merkle/verify'
import {
  openGenesis,
  openPolicyChain,
  verifyRegistryProof,
  type LaterEvents,
  type PolicyView,
  type Registry,
  type VerifiedCheckpoint,
} from '@cipherlog/registry'
import { type Connection } from './connection.ts'
import { History, type ClientMemory } from './history.ts'
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
    const events = await this.#fetchEvents(connection, published.lastLeaf)
    const history = await this.#historyOf(events[0])
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
    const start = known ?? (trustPolicy.start === undefined ? undefined : { ...trustPolicy.start, checkpoint: '' })
    if (start !== undefined) await checkConsistency(connection, start, head)
    const policy = this.#policyOf(published.policyChain)
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

  /** By origin, which the pinned genesis names. */
  async #historyOf(signedGenesis: Uint8Array | undefined): Promise<History> {
    if (this.#history !== undefined) return this.#history
    const { trustPolicy, memory } = this.#options
    const { genesis, cluster } = openGenesis(signedGenesis ?? emptyBytes)
    if (!equalBytes(cluster, trustPolicy.cluster)) {
      throw new PolicyError(
        'ERR_POLICY_GENESIS',
        `The endpoint serves cluster ${toHex(cluster)}, trusted is ${toHex(trustPolicy.cluster)}; connect to the right one.`,
      )
    }
    return History.load(originOf({ name: genesis.name, cluster, group: group0, generation: 0 }), memory)
  }

  #policyOf(bytes: Uint8Array): PolicyView {
    if (this.#policyChain === undefined || !equalBytes(this.#policyChain.bytes, bytes)) {
      this.#policyChain = { bytes, policy: openPolicyChain(bytes, this.#options.trustPolicy) }
    }
    return this.#policyChain.policy
  }
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

/**
 * What a replica answers to readers. Nothing here is to be believed: every answer carries what proves it, or says
 * that it is this replica's word.
 *
 * Invariants: a proof is against the published checkpoint that comes with it; a cell is of the same batch record as
 * its proof; contents of a namespace that is not public leave the replica with nobody's request.
 *
 * Whatever is decoded here this replica wrote itself: a {@link DecodeError} means that its disk is damaged.
 */
import { CipherlogError, concatBytes, decode, encode, PolicyError, equalBytes, type Clock } from '@cipherlog/core'
import { labelledHash, labels } from '@cipherlog/crypto/hash'
import {
  cellProof,
  commandBundle,
  keyEnvelope,
  leafKinds,
  leafRecord,
  readPolicies,
  receipt,
  signedCommandBundle,
  storedValue,
  type CommandBundle,
} from '@cipherlog/format'
import { type ClosedBatch, type Ledger } from '@cipherlog/machine'
import { formatTlogProof, parseCheckpoint, parseNote } from '@cipherlog/merkle/verify'
import { inclusionProof } from '@cipherlog/merkle/tree'
import { type TrailFile, type TrailStore } from '@cipherlog/storage'
import {
  type ProvenCell,
  type PublishedCheckpoint,
  type StoredLeaf,
  type StoredValue,
  type WatchedLeaf,
} from '../node-api.ts'
import { type Publisher } from './publisher.ts'
import { type Signal } from './signal.ts'

/** Longest wait of a cell read for its batch record, and again for its checkpoint. */
const cellMsMax = 10_000
/** A reader that waits for a leaf looks up this often, should a wake-up be missed. */
const watchMsMax = 1_000

const nothing = new Uint8Array(0)

export interface ReadsOptions {
  readonly ledger: Ledger
  readonly trail: TrailStore
  readonly publisher: Pick<Publisher, 'published' | 'publishedSize'>
  readonly clock: Clock
  /** Wakes with every leaf and batch record. */
  readonly leaves: Signal
  readonly stopped: () => boolean
  readonly lastClosed: () => ClosedBatch | undefined
  readonly policyChain: () => Uint8Array
  /** By generation: whole, up to the checkpoint that the next one goes on from. */
  readonly olderTrails: ReadonlyMap<number, TrailStore>
  /** Resolves once everything acknowledged before the call is applied here. @throws NotLeaderError, … */
  readonly caughtUp: () => Promise<void>
  /** Closes a batch soon, if this replica leads. */
  readonly wantMark: () => void
}

export class Reads {
  readonly #options: ReadsOptions

  constructor(options: ReadsOptions) {
    this.#options = options
  }

  keyEvents(from: number, max: number): Uint8Array[] {
    const { registry } = this.#options.ledger
    const out: Uint8Array[] = []
    for (let number = from; number <= registry.head.number && out.length < max; number++) {
      out.push(number === 0 ? registry.signedGenesis : registry.event(number)!.signed)
    }
    return out
  }

  async checkpoint(): Promise<PublishedCheckpoint> {
    const { note, size } = this.#published()
    const policyChain = this.#options.policyChain()
    return {
      checkpoint: note,
      policyChain,
      lastLeaf: await this.#options.trail.readEntry(size - 1),
      proof: await this.#proof(size - 1, size),
    }
  }

  /** @throws CipherlogError `ERR_NOT_PUBLISHED`; `ERR_UNAVAILABLE` while the trail does not reach it again. */
  #published(): { readonly note: string; readonly size: number } {
    const { trail } = this.#options
    const note = trail.checkpoint()
    if (note === undefined) {
      throw new CipherlogError('ERR_NOT_PUBLISHED', 'No checkpoint has its quorum of signatures yet; try again soon.')
    }
    const { size } = parseCheckpoint(parseNote(note).text)
    if (size > trail.size) throw replaying()
    return { note, size }
  }

  #proof(leafIndex: number, treeSize: number): Promise<Uint8Array[]> {
    const { trail } = this.#options
    return inclusionProof(leafIndex, treeSize, (level, index, width) => trail.readTile(level, index, width))
  }

  /** A proof of `leaf` in the newest published checkpoint, which must cover it. */
  async #tlogProof(leaf: number): Promise<string> {
    const { note, size } = this.#published()
    return formatTlogProof({ index: leaf, proof: await this.#proof(leaf, size), checkpoint: note })
  }

  #requireLeaf(leaf: number): void {
    if (leaf < this.#options.trail.size) return
    throw new CipherlogError('ERR_NOT_FOUND', `There is no leaf ${leaf} yet.`, { details: { leaf } })
  }

  async receipt(leaf: number, waitMs: number, signal?: AbortSignal): Promise<Uint8Array> {
    const { publisher, trail, lastClosed, wantMark, policyChain } = this.#options
    this.#requireLeaf(leaf)
    if ((lastClosed()?.size ?? 0) <= leaf) wantMark()
    if (!(await publisher.published(leaf + 1, waitMs, signal))) {
      throw new CipherlogError(
        'ERR_NOT_PUBLISHED',
        `Leaf ${leaf} is applied, but no checkpoint covers it yet; ask again.`,
        { details: { leaf } },
      )
    }
    const record = await trail.readEntry(leaf)
    const tlogProof = await this.#tlogProof(leaf)
    // The chain is taken last: it may reach further than the checkpoint, never less far.
    return encode(receipt, { version: 1, leafRecord: record, tlogProof, policyChain: policyChain() })
  }

  async leaf(index: number): Promise<StoredLeaf> {
    this.#requireLeaf(index)
    const { trail } = this.#options
    const signed = await trail.readSigned(index)
    const record = await trail.readEntry(index)
    const bundle = bundleOf(record, signed)
    if (bundle === undefined) return { record, signed, body: nothing, wraps: nothing }
    if (!this.#servesBodies(bundle)) return { record, signed, body: nothing, wraps: nothing }
    return { record, signed, body: await trail.readBody(index), wraps: this.#wraps(bundle) }
  }

  /** Wraps of the envelopes that a bundle wrote, from state: the trail does not keep them. */
  #wraps(bundle: CommandBundle): Uint8Array {
    const parts: Uint8Array[] = []
    for (const head of bundle.heads) {
      if (head.wraps === undefined || head.args === undefined) continue
      const stored = this.#options.ledger.envelope(labelledHash(labels.envelopeId, head.args))
      if (stored !== undefined) parts.push(stored.wraps)
    }
    return concatBytes(...parts)
  }

  async value(query: {
    readonly namespace: string
    readonly key: Uint8Array
    readonly linearizable: boolean
  }): Promise<{ readonly value: StoredValue | undefined; readonly appliedLeafCount: number }> {
    const { ledger, trail, publisher, caughtUp } = this.#options
    this.#requirePublic(query.namespace)
    if (query.linearizable) await caughtUp()
    const appliedLeafCount = ledger.treeSize
    const bytes = ledger.value(query.namespace, query.key)
    if (bytes === undefined) return { value: undefined, appliedLeafCount }
    const { leaf, command, ciphertext, generation = 0 } = decode(storedValue, bytes)
    if (generation !== ledger.generation) {
      const written = await this.#writtenBefore(generation, leaf)
      return { appliedLeafCount, value: { leaf, command, ciphertext, ...written } }
    }
    const covered = leaf < publisher.publishedSize && publisher.publishedSize <= trail.size
    return {
      appliedLeafCount,
      value: {
        leaf,
        command,
        ciphertext,
        record: await trail.readEntry(leaf),
        signed: await trail.readSigned(leaf),
        tlogProof: covered ? await this.#tlogProof(leaf) : '',
      },
    }
  }

  /** What proves a leaf of a generation before a restore: its trail, and the checkpoint from which the next goes on. */
  async #writtenBefore(
    generation: number,
    leaf: number,
  ): Promise<Pick<StoredValue, 'record' | 'signed' | 'tlogProof'>> {
    const trail = this.#options.olderTrails.get(generation)
    const checkpoint = trail?.checkpoint()
    if (trail === undefined || checkpoint === undefined) {
      throw new CipherlogError(
        'ERR_TRAIL_NOT_HERE',
        `The value was written in generation ${generation}, whose trail this replica has not got; ask another one.`,
        { details: { generation, leaf } },
      )
    }
    const proof = await inclusionProof(leaf, trail.size, (level, index, width) => trail.readTile(level, index, width))
    return {
      record: await trail.readEntry(leaf),
      signed: await trail.readSigned(leaf),
      tlogProof: formatTlogProof({ index: leaf, proof, checkpoint }),
    }
  }

  /** As of the first batch record that covers everything applied when the read was confirmed. */
  async cell(query: { readonly namespace: string; readonly key: Uint8Array }): Promise<ProvenCell | undefined> {
    const { ledger, publisher, clock, leaves, caughtUp, wantMark, stopped } = this.#options
    this.#requirePublic(query.namespace)
    await caughtUp()
    const wanted = ledger.treeSize
    const deadline = clock.monotonic() + cellMsMax
    let closed = this.#batchOfCells()
    while (closed === undefined || closed.size < wanted) {
      if (stopped() || clock.monotonic() > deadline) {
        throw new CipherlogError('ERR_NOT_PUBLISHED', 'No batch was closed in time; try again.')
      }
      wantMark()
      await leaves.wait(100)
      closed = this.#batchOfCells()
    }
    // The same synchronous step in which the batch was found to be the one of the cells.
    const proven = ledger.cell(query.namespace, query.key)
    if (proven === undefined) return undefined
    const cell = encode(cellProof, proven)
    if (!(await publisher.published(closed.size, cellMsMax))) {
      throw new CipherlogError('ERR_NOT_PUBLISHED', 'The batch record has no quorum of signatures yet; try again.')
    }
    const { record, leafIndex } = closed.leaf
    return { cellProof: cell, batchRecord: record, tlogProof: await this.#tlogProof(leafIndex) }
  }

  /**
   * The newest batch record, if it is the one of which the ledger shows its cells. While a batch closes, the ledger is
   * one step ahead of us for a moment.
   */
  #batchOfCells(): ClosedBatch | undefined {
    const { ledger, lastClosed } = this.#options
    const closed = lastClosed()
    return closed?.size === ledger.treeSize - ledger.openLeaves ? closed : undefined
  }

  envelope(id: Uint8Array): { readonly fixed: Uint8Array; readonly wraps: Uint8Array } {
    const { ledger } = this.#options
    const stored = ledger.envelope(id)
    if (stored === undefined) throw new CipherlogError('ERR_NOT_FOUND', 'There is no such key envelope.')
    const { keyset } = stored.envelope
    const served = ledger.registry
      .namespaces()
      .some((namespace) => equalBytes(namespace.keyset, keyset) && namespace.readPolicy === readPolicies.public)
    if (!served) throw notPublic('The key envelope')
    return { fixed: encode(keyEnvelope, stored.envelope), wraps: stored.wraps }
  }

  async *watch(
    query: { readonly fromLeaf: number; readonly namespace: string | undefined },
    signal: AbortSignal,
  ): AsyncGenerator<WatchedLeaf> {
    const { trail, leaves, stopped } = this.#options
    for (let leaf = query.fromLeaf; !signal.aborted && !stopped();) {
      if (leaf >= trail.size) {
        await leaves.wait(watchMsMax, signal)
        continue
      }
      const record = await trail.readEntry(leaf)
      const signed = await trail.readSigned(leaf)
      const bundle = bundleOf(record, signed)
      if (query.namespace === undefined || bundle?.heads.some((head) => head.namespace === query.namespace) === true) {
        const body = bundle !== undefined && this.#servesBodies(bundle) ? await trail.readBody(leaf) : nothing
        yield { leaf, record, signed, body }
      }
      leaf++
    }
  }

  /** No checkpoint while the trail does not reach it again: its tiles are not all there. */
  async trailFile(path: string): Promise<TrailFile | undefined> {
    const { trail, publisher } = this.#options
    return path === 'checkpoint' && publisher.publishedSize > trail.size ? undefined : trail.file(path)
  }

  bodiesArePublic(): boolean {
    return this.#options.ledger.registry.namespaces().every((namespace) => namespace.readPolicy === readPolicies.public)
  }

  /** Whether everything in a bundle may be read by anyone. What is in no namespace was rejected. */
  #servesBodies(bundle: CommandBundle): boolean {
    return bundle.heads.every((head) => this.#isPublic(head.namespace))
  }

  #isPublic(name: string): boolean {
    const namespace = this.#options.ledger.registry.namespace(name)
    return namespace === undefined || namespace.readPolicy === readPolicies.public
  }

  #requirePublic(namespace: string): void {
    if (!this.#isPublic(namespace)) throw notPublic(`The namespace ${namespace}`)
  }
}

function replaying(): CipherlogError {
  return new CipherlogError(
    'ERR_UNAVAILABLE',
    'The replica is still replaying its log up to its checkpoint; ask again soon, or another one.',
  )
}

function notPublic(what: string): PolicyError {
  return new PolicyError('ERR_POLICY_READ', `${what} is not public, and this version answers no signed requests.`)
}

/** The bundle in a leaf's slot, or undefined if the leaf is of another kind. */
function bundleOf(record: Uint8Array, signed: Uint8Array): CommandBundle | undefined {
  if (signed.length === 0 || decode(leafRecord, record).kind !== leafKinds.commandBundle) return undefined
  return decode(commandBundle, decode(signedCommandBundle, signed)[0])
}

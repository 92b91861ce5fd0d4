/**
 * What can be checked of leaves whose bodies are not at hand, as in the public trail of a private cluster: signatures
 * of clients and operators, the key-event chain, the order of sessions, and that every record and batch record says
 * what was signed. Verdicts, `seen` and state roots stay the word of the quorum that cosigned them.
 */
import { decode, encode, equalBytes, toHex } from '@cipherlog/core'
import { labels, sha256 } from '@cipherlog/crypto/hash'
import { verifyLabelled } from '@cipherlog/crypto/signature'
import {
  batchRecord,
  commandBundle,
  group0,
  leafKinds,
  leafRecord,
  sessionOpening,
  signedCommandBundle,
  signedSessionOpening,
  verdicts,
  type LeafRecord,
} from '@cipherlog/format'
import { batchLeavesMax, type EntryPlace, type Ledger } from '@cipherlog/machine'
import { leafHash } from '@cipherlog/merkle/verify'
import { describeDifference } from './difference.ts'
import { kindOf } from './leaf-check.ts'
import { byTheRules, LeafProblem } from './leaf-problem.ts'
import { placeOf } from './replay-place.ts'
import { rootOfBatch } from './root-of-batch.ts'
import { type TrailLeaf } from './trail-leaves.ts'

export class WithoutBodies {
  /** As the replay left it; its registry goes on, its state does not. */
  readonly #ledger: Ledger
  /** Leaf hashes of the open batch. */
  #batch: Uint8Array[]
  #place: { appliedIndex: number; logTime: number }
  /** Last session number by client, and next sequence by client and session, where they differ from the ledger's. */
  readonly #sessions = new Map<string, number>()
  readonly #sequences = new Map<string, number>()

  /** @param batch - leaf hashes since the last batch record. */
  constructor(ledger: Ledger, batch: readonly Uint8Array[]) {
    this.#ledger = ledger
    this.#batch = [...batch]
    this.#place = { appliedIndex: ledger.appliedIndex, logTime: ledger.logTime }
  }

  /** Checks the next leaf. @throws {@link LeafProblem}. */
  async step(leaf: TrailLeaf): Promise<void> {
    const isBatchRecord = kindOf(leaf.record) === leafKinds.batchRecord
    if (this.#batch.length >= batchLeavesMax && !isBatchRecord) {
      throw new LeafProblem('The batch is full, so a batch record must stand here.')
    }
    const expected = await byTheRules(() => (isBatchRecord ? this.#closeBatch(leaf) : this.#checkLeaf(leaf)))
    if (!equalBytes(expected, leaf.record))
      throw new LeafProblem(await byTheRules(() => describeDifference(expected, leaf.record)))
    if (isBatchRecord) this.#batch = []
    else this.#batch.push(leafHash(leaf.record))
  }

  #closeBatch({ index, record }: TrailLeaf): Uint8Array {
    const recorded = decode(batchRecord, record)
    // Closed by rule, a batch record shares the place of its last leaf.
    const place = this.#batch.length >= batchLeavesMax ? this.#placeAsBefore() : this.#next(recorded)
    if (this.#batch.length === 0) throw new LeafProblem('The batch record closes a batch without leaves.')
    const { registry } = this.#ledger
    if (registry.transitionPending) registry.noteTransition(index + 1)
    return encode(batchRecord, {
      kind: leafKinds.batchRecord,
      group: group0,
      ...place,
      firstLeaf: index - this.#batch.length,
      leafCount: this.#batch.length,
      batchRoot: rootOfBatch(this.#batch),
      stateRoot: recorded.stateRoot,
      registryHead: registry.head,
      rulesVersion: registry.rulesVersion,
    })
  }

  #checkLeaf(leaf: TrailLeaf): Uint8Array {
    const recorded = decode(leafRecord, leaf.record)
    const place = this.#next(recorded)
    const common = { kind: recorded.kind, group: group0, ...place, digest: sha256(leaf.signed) }
    switch (recorded.kind) {
      case leafKinds.keyEvent:
        if (recorded.verdicts?.[0] === verdicts.quarantined) {
          return encode(leafRecord, { ...common, verdicts: [verdicts.quarantined] })
        }
        this.#applyKeyEvent(leaf, place.logTime)
        return encode(leafRecord, common)
      case leafKinds.quarantine:
        this.#ledger.openQuarantine(leaf.signed)
        return encode(leafRecord, common)
      case leafKinds.sessionOpening:
        return encode(leafRecord, { ...common, ...this.#checkOpening(leaf.signed, recorded) })
      case leafKinds.commandBundle:
        return encode(leafRecord, { ...common, ...this.#checkBundle(leaf.signed, recorded) })
      default:
        throw new LeafProblem(`Leaves of kind ${recorded.kind} cannot stand here.`)
    }
  }

  #applyKeyEvent({ signed, index }: TrailLeaf, logTime: number): void {
    const { registry } = this.#ledger
    const checked = registry.check(signed, { logTime, knowsSeen: () => true })
    if (checked.kind === 'duplicate') throw new LeafProblem(`The leaf repeats key event ${checked.number}.`)
    registry.apply(checked, { leafIndex: index, logTime })
  }

  #checkOpening(signed: Uint8Array, { verdicts: recorded = [] }: LeafRecord): Partial<LeafRecord> {
    const [bytes, signature] = decode(signedSessionOpening, signed)
    const opening = decode(sessionOpening, bytes)
    this.#checkSigner(opening, labels.openSession, bytes, signature)
    const client = toHex(opening.client)
    const mark = this.#sessions.get(client) ?? this.#ledger.sessions(opening.client).highWaterMark
    if (opening.number <= mark) throw new LeafProblem(`Session ${opening.number} does not follow session ${mark}.`)
    this.#sessions.set(client, opening.number)
    if (recorded[0] === verdicts.applied) this.#sequences.set(`${client} ${opening.number}`, 1)
    if (recorded.length !== 1) throw new LeafProblem('An opening has one verdict.')
    return {
      client: opening.client,
      session: opening.number,
      firstSequence: 0,
      sequenceCount: 1,
      verdicts: recorded,
    }
  }

  #checkBundle(signed: Uint8Array, { verdicts: recorded = [] }: LeafRecord): Partial<LeafRecord> {
    const [bytes, signature] = decode(signedCommandBundle, signed)
    const bundle = decode(commandBundle, bytes)
    this.#checkSigner(bundle, labels.bundle, bytes, signature)
    const { client, session, firstSequence, heads } = bundle
    const name = `${toHex(client)} ${session}`
    const next = this.#sequences.get(name) ?? this.#nextSequence(client, session)
    if (next === undefined) throw new LeafProblem(`Session ${session} of client ${toHex(client)} is not open.`)
    if (firstSequence !== next) throw new LeafProblem(`Sequence ${firstSequence} stands where ${next} must.`)
    this.#sequences.set(name, firstSequence + heads.length)
    if (recorded.length !== heads.length)
      throw new LeafProblem(`${heads.length} commands have ${recorded.length} verdicts.`)
    return {
      client,
      session,
      firstSequence,
      sequenceCount: heads.length,
      epochs: heads.map(({ keyEpoch }) => keyEpoch),
      verdicts: recorded,
    }
  }

  #nextSequence(client: Uint8Array, session: number): number | undefined {
    const open = this.#ledger.sessions(client).open.find(({ number }) => number === session)
    return open && open.lastSequence + 1
  }

  #checkSigner(
    {
      cluster,
      group,
      generation,
      client,
    }: { cluster: Uint8Array; group: Uint8Array; generation: number; client: Uint8Array },
    label: typeof labels.openSession | typeof labels.bundle,
    bytes: Uint8Array,
    signature: Uint8Array,
  ): void {
    const { registry } = this.#ledger
    if (
      !equalBytes(cluster, registry.cluster) ||
      !equalBytes(group, group0) ||
      generation !== this.#ledger.generation
    ) {
      throw new LeafProblem('It was signed for another cluster, group or generation.')
    }
    const publicKey = registry.client(client)?.publicKey
    if (publicKey === undefined || !verifyLabelled(publicKey, label, bytes, signature)) {
      throw new LeafProblem(`The signature is not that of client ${toHex(client)}.`)
    }
  }

  #placeAsBefore(): EntryPlace {
    return { logIndex: this.#place.appliedIndex, logTime: this.#place.logTime }
  }

  #next(place: EntryPlace): EntryPlace {
    const next = placeOf(this.#place, place)
    this.#place = { appliedIndex: next.logIndex, logTime: next.logTime }
    return next
  }
}

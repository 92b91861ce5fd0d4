/**
 * Checkpoints: signs every batch record's size, exchanges cosignatures with the other replicas and publishes
 * what a quorum signed.
 *
 * Invariants: one root per origin, size and key, for ever: what was signed is durable before a signature leaves
 * ({@link SignedHead}); sizes are signed in increasing order; a replica whose own root differs from one that a
 * quorum signed stops.
 */
import { equalBytes, invariant, InvariantViolation, toHex, type Clock, type Logger } from '@cipherlog/core'
import { type CosignerMember, type CosignerSet } from '@cipherlog/format'
import { type ClosedBatch } from '@cipherlog/machine'
import { cosignerName, formatCheckpoint, openCheckpoint, type VerifierKey } from '@cipherlog/merkle/verify'
import { assembleNote, cosignCheckpoint, signCheckpoint } from '@cipherlog/merkle/tree'

/** Newest size and root that this replica's keys have signed; survives everything but the loss of the keys. */
export interface SignedHead {
  read(): { readonly size: number; readonly rootHash: Uint8Array } | undefined
  /** Durable when it resolves. */
  write(size: number, rootHash: Uint8Array): Promise<void>
}

/** One replica's signatures of a size, as they travel between peers. */
export interface SignatureLines {
  readonly size: number
  readonly rootHash: Uint8Array
  /** Note lines: the log's, then the cosigner's. */
  readonly logLine: string
  readonly cosignerLine: string
}

export interface PublisherOptions {
  readonly origin: string
  readonly clusterName: string
  readonly self: { readonly peerId: Uint8Array; readonly logKey: Uint8Array; readonly cosignerKey: Uint8Array }
  readonly setsFor: (size: number) => readonly CosignerSet[]
  readonly signedHead: SignedHead
  readonly clock: Clock
  readonly logger: Logger
  /** Compares the tree with a second computation before a size is signed; throws if they differ. */
  readonly crossCheck: (closed: ClosedBatch) => void
  readonly broadcast: (lines: SignatureLines) => void
  /** Writes the checkpoint and all files it covers. */
  readonly publish: (size: number, note: string) => Promise<void>
  readonly onFatal: (error: unknown) => void
}

interface PeerSignature {
  readonly lines: SignatureLines
  readonly timeSeconds: number
}

/** Sizes a peer may be ahead of or behind us and still be remembered. */
const sizesMax = 1024
/** Further behind than this, only the newest size and transition sizes are signed. */
const signBehindMax = 64

export class Publisher {
  readonly #options: PublisherOptions
  readonly #queue: ClosedBatch[] = []
  /** Own closed batches that may still be published, by size. */
  readonly #own = new Map<number, { rootHash: Uint8Array; transition: boolean }>()
  /** Signatures by size, then by peer id. Those of peers may come before the own root is known. */
  readonly #signatures = new Map<number, Map<string, PeerSignature>>()
  #working: Promise<void> | undefined
  #newestOwn: SignatureLines | undefined
  #publishedSize = 0
  #publishedTime = 0
  #waiting: { size: number; resolve: () => void }[] = []

  constructor(options: PublisherOptions) {
    this.#options = options
  }

  get publishedSize(): number {
    return this.#publishedSize
  }

  /** What is on disk from before a restart. */
  resume(size: number): void {
    this.#publishedSize = size
  }

  /** A batch of the own ledger was closed. */
  closed(batch: ClosedBatch): void {
    this.#queue.push(batch)
    this.#work()
  }

  /** Signatures that a peer sent; bad ones are dropped. @throws InvariantViolation with the evidence of a fork. */
  received(from: Uint8Array, lines: SignatureLines): void {
    const { size, rootHash } = lines
    if (size < this.#publishedSize || this.#isFar(size)) return
    const verified = this.#verify(from, lines)
    if (verified === undefined) {
      this.#options.logger.warn({ peer: toHex(from), size }, 'a peer sent signatures that do not verify')
      return
    }
    this.#keep(from, verified)
    this.#checkForFork(size, rootHash)
    this.#work()
  }

  /** Sends the newest own signatures again: a peer connected, or the last ones may have been lost. */
  repeat(): void {
    if (this.#newestOwn !== undefined) this.#options.broadcast(this.#newestOwn)
  }

  /** Signs the newest size again with a new time, so that its age shows that the replica is alive. */
  async refresh(): Promise<void> {
    const newest = this.#newestOwn
    if (newest === undefined || this.#queue.length > 0) return
    this.#sign(newest.size, newest.rootHash)
    this.#work()
    await this.#working
  }

  /** Resolves once a checkpoint of at least `size` is published; false after `waitMs`. */
  async published(size: number, waitMs: number): Promise<boolean> {
    if (this.#publishedSize >= size) return true
    await new Promise<void>((resolve) => {
      const entry = {
        size,
        resolve: () => {
          clearTimeout(timer)
          resolve()
        },
      }
      const timer = setTimeout(() => {
        this.#waiting = this.#waiting.filter((other) => other !== entry)
        resolve()
      }, waitMs)
      this.#waiting.push(entry)
    })
    return this.#publishedSize >= size
  }

  /** Resolves when nothing is being signed or published. */
  async idle(): Promise<void> {
    while (this.#working !== undefined) await this.#working
  }

  #work(): void {
    this.#working ??= this.#run()
      .catch((error: unknown) => this.#options.onFatal(error))
      .finally(() => {
        this.#working = undefined
      })
  }

  async #run(): Promise<void> {
    do {
      while (this.#queue.length > 0) await this.#signNext()
    } while (await this.#publishNewest())
  }

  async #signNext(): Promise<void> {
    const { signedHead, crossCheck } = this.#options
    const behind = this.#queue.length > signBehindMax
    const batch = this.#queue.shift()!
    const { size, rootHash, transition } = batch
    this.#own.set(size, { rootHash, transition })
    for (const old of this.#own.keys()) {
      if (this.#own.size <= sizesMax) break
      this.#own.delete(old)
    }
    this.#checkForFork(size, rootHash)
    if (behind && !transition) return

    const before = signedHead.read()
    if (before !== undefined && size < before.size) return
    if (before?.size === size) {
      invariant(equalBytes(before.rootHash, rootHash), 'This replica signed another root for this size before.', {
        size,
        signed: toHex(before.rootHash),
        computed: toHex(rootHash),
      })
    } else {
      crossCheck(batch)
      await signedHead.write(size, rootHash)
    }
    this.#sign(size, rootHash)
  }

  #sign(size: number, rootHash: Uint8Array): void {
    const { origin, clusterName, self, clock, broadcast } = this.#options
    const text = formatCheckpoint({ origin, size, rootHash })
    const timeSeconds = Math.floor(clock.now() / 1000)
    const lines: SignatureLines = {
      size,
      rootHash,
      logLine: signCheckpoint(text, { name: origin, secretKey: self.logKey }),
      cosignerLine: cosignCheckpoint(text, {
        name: cosignerName(clusterName, toHex(self.peerId)),
        secretKey: self.cosignerKey,
        timeSeconds,
      }),
    }
    this.#newestOwn = lines
    this.#keep(self.peerId, { lines, timeSeconds })
    broadcast(lines)
  }

  /** A peer signed another root: a quorum of such signatures means that this replica is wrong, or all of them. */
  #checkForFork(size: number, rootHash: Uint8Array): void {
    const own = this.#own.get(size)
    const signatures = this.#signatures.get(size)
    if (own === undefined || signatures === undefined) return
    const differing = [...signatures.values()].filter(
      (signature) => !equalBytes(signature.lines.rootHash, own.rootHash),
    )
    if (differing.length === 0) return
    for (const set of this.#options.setsFor(size)) {
      const members = new Set(set.members.map((member) => toHex(member.peerId)))
      const byRoot = new Map<string, SignatureLines[]>()
      for (const [peer, { lines }] of signatures) {
        if (!members.has(peer) || equalBytes(lines.rootHash, own.rootHash)) continue
        const root = toHex(lines.rootHash)
        byRoot.set(root, [...(byRoot.get(root) ?? []), lines])
      }
      for (const [root, evidence] of byRoot) {
        if (evidence.length < set.quorum) continue
        throw new InvariantViolation(
          'A quorum signed another root than this replica computed. Keep its disk as evidence.',
          {
            size,
            own: toHex(own.rootHash),
            signed: root,
            signatures: evidence.map((lines) => lines.cosignerLine),
          },
        )
      }
    }
    this.#options.logger.error(
      { size, root: toHex(rootHash), peers: differing.map(({ lines }) => lines.cosignerLine) },
      'a peer signed another root; this size is not published with its signature',
    )
  }

  #isFar(size: number): boolean {
    const newest = this.#newestOwn?.size ?? this.#publishedSize
    return this.#signatures.size >= sizesMax && size > newest
  }

  #keep(peerId: Uint8Array, signature: PeerSignature): void {
    const { size } = signature.lines
    const bySize = this.#signatures.get(size) ?? new Map<string, PeerSignature>()
    const before = bySize.get(toHex(peerId))
    if (before === undefined || before.timeSeconds <= signature.timeSeconds) bySize.set(toHex(peerId), signature)
    this.#signatures.set(size, bySize)
  }

  #member(peerId: Uint8Array, size: number): CosignerMember | undefined {
    for (const set of this.#options.setsFor(size)) {
      const member = set.members.find((candidate) => equalBytes(candidate.peerId, peerId))
      if (member !== undefined) return member
    }
    return undefined
  }

  #verify(from: Uint8Array, lines: SignatureLines): PeerSignature | undefined {
    const { origin, clusterName } = this.#options
    const member = this.#member(from, lines.size)
    if (member === undefined) return undefined
    const log: VerifierKey = { name: origin, type: 0x01, publicKey: member.logKey }
    const cosigner: VerifierKey = {
      name: cosignerName(clusterName, toHex(from)),
      type: 0x04,
      publicKey: member.cosignerKey,
    }
    try {
      const text = formatCheckpoint({ origin, size: lines.size, rootHash: lines.rootHash })
      const opened = openCheckpoint(assembleNote(text, [lines.logLine, lines.cosignerLine]), {
        log: [log],
        cosigners: [cosigner],
      })
      const [cosignature] = opened.cosignatures
      if (opened.logSignatures.length !== 1 || cosignature === undefined) return undefined
      return { lines, timeSeconds: cosignature.timeSeconds }
    } catch (error) {
      this.#options.logger.debug({ err: error, peer: toHex(from) }, 'bad signature lines')
      return undefined
    }
  }

  /** Publishes the newest size that has its quorum, or the last one with newer times. True if it did. */
  async #publishNewest(): Promise<boolean> {
    const transition = [...this.#own].find(([size, own]) => own.transition && size > this.#publishedSize)
    const sizes = [...this.#own.keys()]
      // Nothing larger than a transition size is published before it.
      .filter((size) => size >= this.#publishedSize && (transition === undefined || size <= transition[0]))
      .sort((a, b) => b - a)
    for (const size of sizes) {
      const note = this.#assemble(size)
      if (note === undefined) continue
      if (size === this.#publishedSize && note.timeSeconds <= this.#publishedTime) return false
      await this.#options.publish(size, note.text)
      this.#publishedSize = size
      this.#publishedTime = note.timeSeconds
      for (const old of [...this.#own.keys(), ...this.#signatures.keys()]) {
        if (old >= size) continue
        this.#own.delete(old)
        this.#signatures.delete(old)
      }
      const ready = this.#waiting.filter((waiter) => waiter.size <= size)
      this.#waiting = this.#waiting.filter((waiter) => waiter.size > size)
      for (const { resolve } of ready) resolve()
      return true
    }
    return false
  }

  /** The note of a size, if every set that governs it has its quorum; `timeSeconds` is the oldest counted time. */
  #assemble(size: number): { readonly text: string; readonly timeSeconds: number } | undefined {
    const own = this.#own.get(size)!
    const signatures = this.#signatures.get(size)
    if (signatures === undefined) return undefined
    const logLines: string[] = []
    const cosignerLines = new Set<string>()
    let oldest = Number.MAX_SAFE_INTEGER
    for (const set of this.#options.setsFor(size)) {
      const counted = set.members
        .map((member) => signatures.get(toHex(member.peerId)))
        .filter((signature) => signature !== undefined && equalBytes(signature.lines.rootHash, own.rootHash))
        .map((signature) => signature!)
        .sort((a, b) => b.timeSeconds - a.timeSeconds)
      if (counted.length < set.quorum) return undefined
      oldest = Math.min(oldest, counted[set.quorum - 1]!.timeSeconds)
      if (!logLines.some((line) => counted.some(({ lines }) => lines.logLine === line)))
        logLines.push(counted[0]!.lines.logLine)
      for (const { lines } of counted) cosignerLines.add(lines.cosignerLine)
    }
    const text = formatCheckpoint({ origin: this.#options.origin, size, rootHash: own.rootHash })
    return { text: assembleNote(text, [...logLines, ...[...cosignerLines].slice(0, 10)]), timeSeconds: oldest }
  }
}

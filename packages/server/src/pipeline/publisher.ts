/**
 * Checkpoints: signs every batch record's size, exchanges cosignatures with the other replicas and publishes
 * what a quorum signed (DESIGN §3 "Batches and checkpoints").
 *
 * Invariants:
 * - One root per origin, size and key, for ever: what was signed is durable before a signature leaves
 *   ({@link SignedHead}), sizes are signed in increasing order, and a log that does not pass through the size and
 *   root signed last is not signed at all.
 * - Nothing is published that is not in the database: a crash never leaves a checkpoint whose files are cut back.
 * - Nothing above a transition size is signed or published before it is published, so that a crash of all replicas
 *   finds it still to be signed.
 * - A replica whose own root differs from one that a quorum signed stops.
 */
import {
  CipherlogError,
  equalBytes,
  invariant,
  InvariantViolation,
  toHex,
  type Clock,
  type Logger,
} from '@cipherlog/core'
import { type CosignerSet } from '@cipherlog/format'
import { formatCheckpoint, openCheckpoint, parseCheckpoint, parseNote, ed25519KeyType } from '@cipherlog/merkle/verify'
import { assembleNote } from '@cipherlog/merkle/tree'
import {
  cosignerKeyOf,
  Cosignatures,
  noteOf,
  signLines,
  type Cosignature,
  type CosigningNames,
  type SignatureLines,
} from './cosignatures.ts'
import { openPublishedNote, type PublishedNote } from './published-note.ts'

/** Newest size and root that this replica's keys have signed; survives everything but the loss of the keys. */
export interface SignedHead {
  read(): { readonly size: number; readonly rootHash: Uint8Array } | undefined
  /** Durable when it resolves. */
  write(size: number, rootHash: Uint8Array): Promise<void>
}

/** What replicas tell each other about checkpoints. */
export type CosigningMessage =
  | ({ readonly type: 'cosignatures' } & SignatureLines)
  /**
   * Asks for the checkpoint of the transition size `size` if the receiver has published it, else for its newest
   * signatures.
   */
  | { readonly type: 'cosignatureRequest'; readonly size: number }
  /** A published checkpoint of a transition size: who comes later may find too few of its signers. */
  | { readonly type: 'transitionCheckpoint'; readonly note: string }

/** The tree at a batch record. */
export interface ClosedTree {
  readonly size: number
  readonly rootHash: Uint8Array
  /** Old and new cosigner set must sign this size. */
  readonly transition: boolean
}

export interface PublisherOptions extends CosigningNames {
  readonly self: { readonly peerId: Uint8Array; readonly logKey: Uint8Array; readonly cosignerKey: Uint8Array }
  readonly setsFor: (size: number) => readonly CosignerSet[]
  /** Published checkpoint of a transition size. */
  readonly transitionNote: (size: number) => string | undefined
  readonly signedHead: SignedHead
  readonly clock: Clock
  readonly logger: Logger
  readonly broadcast: (message: CosigningMessage) => void
  readonly send: (to: Uint8Array, message: CosigningMessage) => void
  /** Writes the checkpoint and all files it covers. */
  readonly publish: (size: number, note: string) => Promise<void>
  readonly onFatal: (error: unknown) => void
}

/** What a restart found. */
export interface PublisherStart {
  /** Size of the tree that the database holds: what was closed before comes no more. */
  readonly treeSize: number
  /** The published checkpoint. */
  readonly checkpoint: string | undefined
}

interface Own {
  readonly size: number
  readonly rootHash: Uint8Array
  readonly transition: boolean
}

/** Own sizes that may still be published; with more waiting, the oldest give way, transition sizes never. */
const ownSizesMax = 1024
/** Further behind than this, only the newest size and transition sizes are signed. */
const signBehindMax = 64
/** An unchanged size is signed again after this time, so that its age shows that the replica is alive. */
const refreshMs = 20_000

export class Publisher {
  readonly #options: PublisherOptions
  readonly #signatures: Cosignatures
  /** Own batch records by size, ascending. */
  readonly #own = new Map<number, Own>()
  /** Those that are still to be signed, ascending. */
  #unsigned: Own[] = []
  #closedSize = 0
  #persistedSize = 0
  #newest: SignatureLines | undefined
  #newestSignedAt = 0
  /** The checkpoint of the transition size that is due, from a peer that published it. */
  #takenOver: PublishedNote | undefined
  #publishedSize = 0
  /** The q-th newest cosignature time of the published note, in seconds. */
  #publishedTime = 0
  readonly #waiting = new Set<{ readonly size: number; readonly resolve: () => void }>()
  #working: Promise<void> | undefined
  #halted = false

  constructor(options: PublisherOptions) {
    this.#options = options
    this.#signatures = new Cosignatures(options, options.setsFor)
  }

  get publishedSize(): number {
    return this.#publishedSize
  }

  /** Goes on from what is on disk; called once, before anything else. */
  resume({ treeSize, checkpoint }: PublisherStart): void {
    this.#persistedSize = treeSize
    if (checkpoint !== undefined) {
      this.#publishedSize = parseCheckpoint(parseNote(checkpoint).text).size
      // Above the tree it is not known which sets govern: the database was lost, and the log is replayed.
      if (this.#publishedSize <= treeSize) this.#publishedTime = this.#quorumTimeOf(checkpoint)
    }
  }

  /** A batch record of the own ledger, in order. @throws InvariantViolation if the log is not the one signed before. */
  closed(tree: ClosedTree): void {
    if (this.#halted) return
    const { size, rootHash, transition } = tree
    const head = this.#options.signedHead.read()
    invariant(
      head === undefined || size !== head.size || equalBytes(rootHash, head.rootHash),
      'This replica signed another root for this size before. Keep its disk as evidence.',
      { size, signed: head === undefined ? '' : toHex(head.rootHash), computed: toHex(rootHash) },
    )
    invariant(
      head === undefined || this.#closedSize === 0 || size <= head.size || this.#closedSize >= head.size,
      'This replica signed a size at which the log has no batch record. Keep its disk as evidence.',
      { signed: head?.size, before: this.#closedSize, size },
    )
    this.#closedSize = size
    const own = { size, rootHash, transition }
    this.#own.set(size, own)
    this.#unsigned.push(own)
    if (this.#unsigned.length > signBehindMax) {
      this.#unsigned = this.#unsigned.filter((other) => other === own || other.transition)
    }
    for (const old of this.#own.values()) {
      if (this.#own.size <= ownSizesMax) break
      if (!this.#isPinned(old.size)) this.#own.delete(old.size)
    }
    this.#checkForFork(own)
    this.#work()
  }

  /** State and trail of this tree size are on disk. */
  persisted(treeSize: number): void {
    this.#persistedSize = treeSize
    this.#work()
  }

  /** Signatures that a peer sent; bad ones are dropped. Evidence of a fork stops the node. */
  received(from: Uint8Array, lines: SignatureLines): void {
    if (this.#halted) return
    const { size } = lines
    const peer = toHex(from)
    if (size < this.#publishedSize || this.#signatures.has(peer, lines)) return
    const { logger, clock } = this.#options
    if (size <= this.#closedSize && !this.#own.has(size)) {
      logger.debug({ peer, size }, 'a peer signed a size that is not a batch record here, or long gone')
      return
    }
    let cosignature: Cosignature
    try {
      cosignature = this.#signatures.verify(from, lines)
    } catch (error) {
      if (!(error instanceof CipherlogError)) throw error
      logger.warn({ err: error, peer, size }, 'a peer sent signatures that do not verify')
      return
    }
    const other = this.#signatures.add(cosignature, (each) => this.#isPinned(each), clock.now() / 1000)
    if (other !== undefined) {
      logger.error(
        { peer, size, notes: [noteOf(this.#options, other.lines), noteOf(this.#options, lines)] },
        'a peer signed two roots for one size: keep these notes as evidence',
      )
    }
    try {
      const own = this.#own.get(size)
      if (own !== undefined) this.#checkForFork(own)
    } catch (error) {
      this.#fail(error)
      return
    }
    this.#work()
  }

  /**
   * The checkpoint of a transition size, as a peer published it. Of use only while that size is due here, so that no
   * more than one is ever kept; then its quorums are as good as if they had been collected here.
   */
  transitionPublished(from: Uint8Array, note: string): void {
    const own = this.#transitionDue()
    if (this.#halted || own === undefined || this.#takenOver !== undefined) return
    const { setsFor, logger } = this.#options
    let published: PublishedNote
    try {
      if (parseCheckpoint(parseNote(note).text).size !== own.size) return
      published = openPublishedNote(note, this.#options, setsFor(own.size))
    } catch (error) {
      if (!(error instanceof CipherlogError)) throw error
      logger.warn({ err: error, peer: toHex(from), size: own.size }, 'a peer sent a checkpoint that does not verify')
      return
    }
    if (!equalBytes(published.rootHash, own.rootHash)) {
      const [ownRoot, signed] = [toHex(own.rootHash), toHex(published.rootHash)]
      this.#fail(anotherRoot({ size: own.size, own: ownRoot, signed, notes: [published.text] }))
      return
    }
    this.#takenOver = published
    this.#work()
  }

  /** A peer asks for the checkpoint of a transition size, or for the newest own signatures. */
  requested(from: Uint8Array, size: number): void {
    if (this.#halted) return
    const note = this.#options.transitionNote(size)
    if (note !== undefined) this.#options.send(from, { type: 'transitionCheckpoint', note })
    else if (this.#newest !== undefined) this.#options.send(from, { type: 'cosignatures', ...this.#newest })
  }

  /** Sends the newest own signatures again: a peer connected, or the last ones may have been lost. */
  repeat(): void {
    if (this.#newest !== undefined && !this.#halted) {
      this.#options.broadcast({ type: 'cosignatures', ...this.#newest })
    }
  }

  /** To be called every half second or so: repeats and asks while something waits for its quorum, refreshes. */
  tick(): void {
    if (this.#halted) return
    const { clock } = this.#options
    const wanted = this.#transitionDue()?.size ?? this.#closedSize
    if (wanted > this.#publishedSize) {
      this.repeat()
      this.#ask(wanted)
    }
    // While a larger size is being recorded, this one is not signed again.
    const newest = this.#newest
    if (newest === undefined || clock.monotonic() - this.#newestSignedAt < refreshMs) return
    if (this.#options.signedHead.read()?.size !== newest.size) return
    this.#sign(newest)
    this.#work()
  }

  #ask(size: number): void {
    this.#options.broadcast({ type: 'cosignatureRequest', size })
  }

  /** Resolves to true once a checkpoint of at least `size` is published; to false after `waitMs` or an abort. */
  async published(size: number, waitMs: number, signal?: AbortSignal): Promise<boolean> {
    if (this.#publishedSize < size && !this.#halted && signal?.aborted !== true) {
      await new Promise<void>((resolve) => {
        const done = (): void => {
          clearTimeout(timer)
          signal?.removeEventListener('abort', done)
          this.#waiting.delete(waiter)
          resolve()
        }
        const waiter = { size, resolve: done }
        const timer = setTimeout(done, waitMs)
        signal?.addEventListener('abort', done)
        this.#waiting.add(waiter)
      })
    }
    return this.#publishedSize >= size
  }

  /** Signs and publishes nothing from now on. */
  halt(): void {
    this.#halted = true
    for (const { resolve } of [...this.#waiting]) resolve()
  }

  /** Resolves when nothing is being signed or published. */
  async idle(): Promise<void> {
    while (this.#working !== undefined) await this.#working
  }

  #fail(error: unknown): void {
    this.halt()
    this.#options.onFatal(error)
  }

  #work(): void {
    if (this.#halted) return
    this.#working ??= this.#run()
      .catch((error: unknown) => this.#fail(error))
      .finally(() => {
        this.#working = undefined
      })
  }

  async #run(): Promise<void> {
    while ((await this.#signNext()) || (await this.#publishNewest()));
  }

  // Signing

  /** The smallest transition size that is not published yet. */
  #transitionDue(): Own | undefined {
    for (const own of this.#own.values()) if (own.transition && own.size > this.#publishedSize) return own
    return undefined
  }

  #isPinned(size: number): boolean {
    return size > this.#publishedSize && this.#own.get(size)?.transition === true
  }

  /** False if there is nothing to sign now. */
  async #signNext(): Promise<boolean> {
    const { signedHead, self } = this.#options
    const next = this.#unsigned[0]
    const transition = this.#transitionDue()
    if (this.#halted || next === undefined || (transition !== undefined && next.size > transition.size)) return false
    this.#unsigned.shift()
    // What is published, or was signed before a restart and followed by a larger size, is not signed again.
    const head = signedHead.read()
    if (head !== undefined && next.size < head.size) return true
    if (this.#signatures.members(self.peerId, next.size).length === 0) return true
    if (head === undefined || head.size < next.size) await signedHead.write(next.size, next.rootHash)
    this.#sign(next)
    return true
  }

  /** Signs what the signed head says was signed. */
  #sign({ size, rootHash }: { readonly size: number; readonly rootHash: Uint8Array }): void {
    if (this.#halted) return
    const { self, clock, signedHead } = this.#options
    const head = signedHead.read()
    invariant(head?.size === size && equalBytes(head.rootHash, rootHash), 'A size is recorded before it is signed.', {
      size,
      recorded: head?.size,
    })
    const timeSeconds = Math.floor(clock.now() / 1000)
    const lines = signLines(this.#options, self, { size, rootHash }, timeSeconds)
    this.#newest = lines
    this.#newestSignedAt = clock.monotonic()
    for (const member of this.#signatures.members(self.peerId, size).slice(0, 1)) {
      const cosignature = { peerId: toHex(self.peerId), lines, member, timeSeconds }
      this.#signatures.add(cosignature, (each) => this.#isPinned(each), timeSeconds)
    }
    this.repeat()
  }

  // Forks

  /** Roots that peers signed for an own size: a quorum for another one means that this replica is wrong, or they are. */
  #checkForFork(own: Own): void {
    const { setsFor, logger } = this.#options
    for (const set of setsFor(own.size)) {
      const byRoot = new Map<string, Cosignature[]>()
      for (const cosignature of this.#signatures.by(set, own.size)) {
        if (equalBytes(cosignature.lines.rootHash, own.rootHash)) continue
        const root = toHex(cosignature.lines.rootHash)
        byRoot.set(root, [...(byRoot.get(root) ?? []), cosignature])
      }
      for (const [root, signatures] of byRoot) {
        const evidence = {
          size: own.size,
          own: toHex(own.rootHash),
          signed: root,
          notes: signatures.map(({ lines }) => noteOf(this.#options, lines)),
        }
        if (signatures.length >= set.quorum) throw anotherRoot(evidence)
        logger.error(evidence, 'a peer signed another root than this replica computed: its signature does not count')
      }
    }
  }

  // Publishing

  /** Publishes the newest size that has its quorum, or the last one with newer times. False if there is none. */
  async #publishNewest(): Promise<boolean> {
    if (this.#halted) return false
    const transition = this.#transitionDue()?.size ?? Infinity
    const sizes = [...this.#own.keys()]
      .filter((size) => size >= this.#publishedSize && size <= this.#persistedSize && size <= transition)
      .reverse()
    for (const size of sizes) {
      const takenOver = size === this.#takenOver?.size ? this.#takenOver : undefined
      const note = this.#assemble(this.#own.get(size)!) ?? takenOver
      if (note === undefined) continue
      if (size === this.#publishedSize && note.timeSeconds <= this.#publishedTime) return false
      await this.#options.publish(size, note.text)
      this.#publishedSize = size
      this.#publishedTime = note.timeSeconds
      for (const old of [...this.#own.keys()]) if (old < size) this.#own.delete(old)
      this.#signatures.forgetBelow(size)
      this.#takenOver = undefined
      // A newcomer has a row of them to take over.
      const due = this.#transitionDue()
      if (due !== undefined) this.#ask(due.size)
      for (const waiter of [...this.#waiting]) if (waiter.size <= size) waiter.resolve()
      return true
    }
    return false
  }

  /** The note of a size, if every set that governs it has its quorum; of two sets the older q-th newest time. */
  #assemble({ size, rootHash }: Own): { readonly text: string; readonly timeSeconds: number } | undefined {
    const logLines: string[] = []
    const cosignerLines = new Set<string>()
    let timeSeconds = Infinity
    for (const set of this.#options.setsFor(size)) {
      const counted = this.#signatures
        .by(set, size)
        .filter(({ lines }) => equalBytes(lines.rootHash, rootHash))
        .sort((a, b) => b.timeSeconds - a.timeSeconds)
      if (counted.length < set.quorum) return undefined
      timeSeconds = Math.min(timeSeconds, counted[set.quorum - 1]!.timeSeconds)
      // A log key that is in both sets counts for both.
      if (!counted.some(({ lines }) => logLines.includes(lines.logLine))) logLines.push(counted[0]!.lines.logLine)
      for (const { lines } of counted) cosignerLines.add(lines.cosignerLine)
    }
    const text = formatCheckpoint({ origin: this.#options.origin, size, rootHash })
    return { text: assembleNote(text, [...logLines, ...cosignerLines]), timeSeconds }
  }

  /** The q-th newest time of a note that was published here; of two sets the older. */
  #quorumTimeOf(note: string): number {
    const { setsFor, origin } = this.#options
    const times = setsFor(this.#publishedSize).map((set) => {
      const { cosignatures } = openCheckpoint(note, {
        log: set.members.map(({ logKey }) => ({ name: origin, type: ed25519KeyType, publicKey: logKey })),
        cosigners: set.members.map((member) => cosignerKeyOf(this.#options, member)),
      })
      return cosignatures.map(({ timeSeconds }) => timeSeconds).sort((a, b) => b - a)[set.quorum - 1] ?? 0
    })
    return Math.min(...times)
  }
}

function anotherRoot(evidence: {
  readonly size: number
  readonly own: string
  readonly signed: string
  readonly notes: readonly string[]
}): InvariantViolation {
  return new InvariantViolation(
    'A quorum signed another root than this replica computed. Keep its disk as evidence.',
    evidence,
  )
}

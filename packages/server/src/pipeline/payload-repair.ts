/**
 * Fetches payloads that are damaged on this disk from peers, by (index, term, digest): those three decide the bytes,
 * so anybody may answer, and an answer is good or thrown away.
 *
 * Invariant: nothing is written that has not the length and SHA-256 of its entry.
 */
import { CipherlogError, errorCode, type Logger } from '@cipherlog/core'
import { type EntryRef } from '@cipherlog/raft'
import { type Wal } from '@cipherlog/storage'

/** Ticks without an answer after which the next peer is asked. */
const retryTicks = 5
/** Entries asked for at once. */
const requestEntriesMax = 64
/** Payload bytes asked for at once; a single larger one still is. */
const requestBytesMax = 4 * 1024 * 1024

/** Names one entry for ever. */
export interface EntryName {
  readonly index: number
  readonly term: number
  /** SHA-256 of the payload, 32 bytes. */
  readonly digest: Uint8Array
}

export interface PayloadRepairOptions {
  readonly group: Uint8Array
  readonly wal: Pick<Wal, 'holes' | 'repair'>
  /** Who may be asked, in any order. */
  readonly peers: () => readonly string[]
  /** @returns false if the request was not sent. */
  readonly request: (to: string, entries: readonly EntryName[]) => boolean
  readonly logger: Logger
  /** A payload was fetched and written. */
  readonly onRepaired: (bytes: number) => void
  /** The disk failed: the node must stop. */
  readonly onFatal: (error: unknown) => void
}

export class PayloadRepair {
  readonly #options: PayloadRepairOptions
  #waiting: { readonly index: number; readonly resolve: () => void }[] = []
  /** Ticks since the last request; undefined: none is out. */
  #sinceRequest: number | undefined
  #asked = 0
  #stopped = false
  /** Holes are logged once, when they are first seen. */
  #announced = 0

  constructor(options: PayloadRepairOptions) {
    this.#options = options
  }

  /** Resolves once the payload of entry `index` is whole, or this was stopped. */
  filled(index: number): Promise<void> {
    if (this.#stopped || !this.#isHole(index)) return Promise.resolve()
    const waiting = new Promise<void>((resolve) => this.#waiting.push({ index, resolve }))
    this.#ask()
    return waiting
  }

  /** To be called at a steady rate. */
  tick(): void {
    if (this.#sinceRequest !== undefined && ++this.#sinceRequest < retryTicks) return
    this.#sinceRequest = undefined
    this.#ask()
  }

  /**
   * Payloads that a peer sent, checked and written.
   * @throws CipherlogError `ERR_PEER_PAYLOAD`: one is not what its entry states.
   */
  async received(from: string, refs: readonly EntryRef[], payloads: readonly Uint8Array[]): Promise<void> {
    const { group, wal, logger, onRepaired, onFatal } = this.#options
    this.#sinceRequest = undefined
    for (const [i, { index, term }] of refs.entries()) {
      if (this.#stopped || !this.#isHole(index, term)) continue
      try {
        await wal.repair(group, index, payloads[i]!)
      } catch (error) {
        if (errorCode(error) === 'ERR_WAL_REPAIR_MISMATCH') {
          throw new CipherlogError('ERR_PEER_PAYLOAD', 'A payload does not have the length and digest of its entry.', {
            cause: error,
            details: { index, term },
          })
        }
        onFatal(error)
        return
      }
      logger.info({ index, from }, 'a damaged payload was fetched from a peer')
      onRepaired(payloads[i]!.length)
    }
    this.#wake()
    this.#ask()
  }

  stop(): void {
    this.#stopped = true
    this.#wake()
  }

  #isHole(index: number, term?: number): boolean {
    const { wal, group } = this.#options
    return wal.holes(group).some((hole) => hole.index === index && (term === undefined || hole.term === term))
  }

  #wake(): void {
    const ready = this.#waiting.filter(({ index }) => this.#stopped || !this.#isHole(index))
    this.#waiting = this.#waiting.filter((each) => !ready.includes(each))
    for (const { resolve } of ready) resolve()
  }

  #ask(): void {
    const { group, wal, peers, request, logger } = this.#options
    if (this.#stopped || this.#sinceRequest !== undefined) return
    const holes = wal.holes(group)
    if (holes.length > this.#announced) {
      logger.warn({ entries: holes.length, first: holes[0]!.index }, 'payloads of the log are damaged on this disk')
    }
    this.#announced = holes.length
    const candidates = peers()
    if (holes.length === 0 || candidates.length === 0) return
    const names: EntryName[] = []
    let bytes = 0
    for (const { index, term, digest, bytes: size } of this.#urgentFirst(holes)) {
      bytes += size
      if (names.length > 0 && (bytes > requestBytesMax || names.length === requestEntriesMax)) break
      names.push({ index, term, digest })
    }
    for (let tries = 0; tries < candidates.length; tries++) {
      const to = candidates[this.#asked++ % candidates.length]!
      if (!request(to, names)) continue
      this.#sinceRequest = 0
      return
    }
  }

  /** Those that somebody waits for, then the others, each in order. */
  #urgentFirst(holes: readonly EntryRef[]): readonly EntryRef[] {
    const wanted = new Set(this.#waiting.map(({ index }) => index))
    return [...holes.filter(({ index }) => wanted.has(index)), ...holes.filter(({ index }) => !wanted.has(index))]
  }
}

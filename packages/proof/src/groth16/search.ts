/**
 * Checks under one verification key, in batches, with an answer for each proof that is what it would be alone.
 *
 * A batch that fails is halved, first half first. One bad proof among n costs at most about 3n pairings, n
 * bad ones n·log n, and for a caller that needs only the first failure (DESIGN §3) about 2n.
 */
import { DecodeError } from '@cipherlog/core'
import { decodeSignals } from './encoding.ts'
import { batchProofsMax, batchWeights, verificationKeyDigest, type BatchItem, type Groth16Engine } from './engine.ts'

export interface SearchOptions {
  /** Stop after the first proof that fails: the answer then ends with it. */
  readonly stopAtFirstFailure: boolean
  /**
   * Asked before a proof is called bad, with false for a proof that does not decode: a second implementation
   * throws here if it disagrees.
   */
  readonly confirmFailure: (item: BatchItem) => void
}

/**
 * One boolean for each item, in order (fewer with `stopAtFirstFailure`). Proof bytes that do not decode are false.
 * @throws {@link DecodeError} `ERR_PROOF_*` if the key or a statement, which the caller made itself, is malformed.
 */
export function checkEach<Key, Proof>(
  engine: Groth16Engine<Key, Proof>,
  verificationKey: Uint8Array,
  items: readonly BatchItem[],
  options: SearchOptions,
): boolean[] {
  const key = engine.decodeKey(verificationKey)
  const digest = verificationKeyDigest(verificationKey)
  const signalCount = engine.signalCount(key)
  const decoded = items.map((item) => ({
    item,
    signals: decodeSignals(item.statement, signalCount),
    proof: decodeOrUndefined(engine, item.proof),
  }))
  const holds = (from: number, to: number): boolean => {
    const part = decoded.slice(from, to)
    if (part.some(({ proof }) => proof === undefined)) return false
    const checks = part.map(({ signals, proof }) => ({ signals, proof: proof! }))
    return engine.holds(
      key,
      checks,
      batchWeights(
        digest,
        part.map(({ item }) => item),
      ),
    )
  }

  const answers: boolean[] = []
  /** Answers items [from, to), one of which fails if `someFails`; returns whether all hold. */
  const answer = (from: number, to: number, someFails: boolean): boolean => {
    if (!someFails && holds(from, to)) {
      for (let i = from; i < to; i++) answers.push(true)
      return true
    }
    if (to - from === 1) {
      options.confirmFailure(items[from]!)
      answers.push(false)
      return false
    }
    const middle = (from + to) >> 1
    const leftHolds = answer(from, middle, false)
    if (leftHolds || !options.stopAtFirstFailure) answer(middle, to, leftHolds)
    return false
  }
  for (let from = 0; from < items.length; from += batchProofsMax) {
    const allHold = answer(from, Math.min(items.length, from + batchProofsMax), false)
    if (!allHold && options.stopAtFirstFailure) break
  }
  return answers
}

function decodeOrUndefined<Key, Proof>(engine: Groth16Engine<Key, Proof>, bytes: Uint8Array): Proof | undefined {
  try {
    return engine.decodeProof(bytes)
  } catch (error) {
    if (error instanceof DecodeError) return undefined
    throw error
  }
}
